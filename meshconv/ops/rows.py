"""Sparse rows: edges sorted by target, and the same edges by source."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.ops.backend import is_compiled


def compressed_rows(index: Tensor, num_rows: int) -> Tensor:
    """Row pointers ``[num_rows + 1]`` of a sorted ``index``: row r owns ``ptr[r]:ptr[r + 1]``."""
    counts = torch.bincount(index, minlength=num_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def sorted_into_rows(index: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """Row pointers ``[num_rows + 1]``, and the places ``[E]`` of an ``index`` in a stable order by its values."""
    _, ptr, order = transposed_rows(index.new_tensor([0, index.shape[0]]), index, num_rows)
    return ptr, order


def transposed_rows(ptr: Tensor, column: Tensor, num_columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row of each edge ``[E]``; row pointers ``[num_columns + 1]`` and edge numbers ``[E]`` of the transpose."""
    if is_compiled(ptr.device):
        row, column_ptr, edge = torch.ops.meshconv.transposed_rows(ptr.cpu(), column.cpu(), num_columns)
        return row.to(ptr.device), column_ptr.to(ptr.device), edge.to(ptr.device)
    rows = torch.arange(ptr.shape[0] - 1, device=ptr.device)
    row = torch.repeat_interleave(rows, ptr.diff(), output_size=column.shape[0])
    edge = torch.argsort(column, stable=True)
    return row, compressed_rows(column, num_columns), edge
