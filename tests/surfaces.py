"""Comparison of graphs and poolings that were computed in different ways."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch


def assert_same_surface(a: Any, b: Any, leave: tuple[str, ...] = ()) -> None:
    """Equal indices, and numbers up to rounding; half a turn to the left is one to the right."""
    for field in fields(a):
        values = getattr(a, field.name), getattr(b, field.name)
        if field.name in leave or values[0] is values[1] is None:
            continue
        if "angle" in field.name or "transporter" in field.name:
            values = tuple(torch.polar(torch.ones_like(v), v) for v in values)
        bound = 0 if values[0].dtype in (torch.int64, torch.bool) else 1e-12
        torch.testing.assert_close(*values, rtol=bound, atol=bound, msg=field.name)
