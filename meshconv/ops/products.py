"""Products over all points, with the same bits for any number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 256


def sum_of_products(x: Tensor, y: Tensor) -> Tensor:
    """:math:`x^T y` of rows, ``[N, C]`` and ``[N, D]`` to ``[C, D]``.

    Blocks of rows are multiplied each by one thread and added in their order: a library that divides one long product
    among threads adds in another order for each number of them.
    """
    count = x.shape[0] // _ROWS
    whole = count * _ROWS
    blocks = (t[:whole].reshape(count, _ROWS, t.shape[1]) for t in (x, y))
    return torch.bmm(next(blocks).mT, next(blocks)).sum(0) + x[whole:].T @ y[whole:]
