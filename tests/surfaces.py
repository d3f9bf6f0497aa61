"""Comparison of graphs and poolings that were computed in different ways."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch


def assert_same_surface(a: Any, b: Any, leave: tuple[str, ...] = ()) -> None:
    """Log maps and transporters up to rounding, where half a turn to the left is one to the right; all else equal.

    Areas are sums, here and there in another order.
    """
    for field in fields(a):
        values = getattr(a, field.name), getattr(b, field.name)
        if field.name in leave or values[0] is values[1] is None:
            continue
        if "angle" in field.name or "transporter" in field.name:
            values = tuple(torch.polar(torch.ones_like(v), v) for v in values)
        rounding = 1e-12 if "log_" in field.name or "transporter" in field.name else 0
        relative = 1e-14 if "areas" in field.name else rounding
        torch.testing.assert_close(*values, rtol=relative, atol=rounding, msg=field.name)
