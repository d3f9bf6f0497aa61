"""Sparse rows: edges sorted by target, and the same edges by source."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor


def compressed_rows(index: Tensor, num_rows: int) -> Tensor:
    """Row pointers ``[num_rows + 1]`` of a sorted ``index``: row r owns ``ptr[r]:ptr[r + 1]``."""
    counts = torch.bincount(index, minlength=num_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def transposed_rows(ptr: Tensor, column: Tensor, num_columns: int) -> tuple[Tensor, Tensor]:
    """Row pointers ``[num_columns + 1]`` and edge numbers ``[E]`` of the transpose, by counting sort in linear time."""
    values = np.arange(column.shape[0])
    rows = csr_array((values, column.cpu().numpy(), ptr.cpu().numpy()), shape=(ptr.shape[0] - 1, num_columns))
    columns = rows.tocsc()
    moved = (torch.from_numpy(a.astype(np.int64)).to(ptr.device) for a in (columns.indptr, columns.data))
    return next(moved), next(moved)
