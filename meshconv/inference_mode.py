"""Tensors that outlive inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Compute without derivatives what is kept for later, in training too.

    A surface that is first seen in validation or in a prediction is in inference mode of torch, whose tensors cannot be
    saved for a derivative.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield
