"""Edges in compressed rows against sorting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshconv.ops import rows
from meshconv.ops.rows import compressed_rows, transposed_rows


def test_pointers_of_rows_some_of_which_are_empty() -> None:
    assert compressed_rows(torch.tensor([0, 0, 2]), 4).tolist() == [0, 2, 2, 3, 3]


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("sizes", [(50, 30, 400), (1, 1, 3), (4, 9, 0), (0, 0, 0), (0, 3, 0)])
def test_the_transpose_has_each_edge_once_in_its_order(
    sizes: tuple[int, int, int], is_compiled: bool, monkeypatch: pytest.MonkeyPatch, compiled: None
) -> None:
    monkeypatch.setattr(rows, "is_compiled", lambda device: is_compiled)
    num_rows, num_columns, edges = sizes
    generator = np.random.default_rng(edges)
    dst = torch.from_numpy(np.sort(generator.integers(0, max(num_rows, 1), edges)))
    src = torch.from_numpy(generator.integers(0, max(num_columns, 1), edges))
    row, ptr, edge = transposed_rows(compressed_rows(dst, num_rows), src, num_columns)
    assert torch.equal(row, dst)
    assert len(ptr) == num_columns + 1
    expected = [e for c in range(num_columns) for e in range(edges) if src[e] == c]
    assert edge.tolist() == expected
    assert ptr.tolist() == [int((src < c).sum()) for c in range(num_columns + 1)]


@pytest.mark.parametrize(
    ("ptr", "column", "said"),
    [
        ([0, 2], [0, 3], r"column\[1\] is 3, expected 0 to 2"),
        ([0, 2], [-1, 0], r"column\[0\] is -1"),
        ([0, 3], [0, 1], "does not ascend from 0 to 2"),
        ([0, 2, 1, 2], [0, 1], "does not ascend"),
        ([], [], "does not ascend"),
    ],
)
def test_rows_that_lead_outside_are_refused(ptr: list[int], column: list[int], said: str, compiled: None) -> None:
    both = (torch.tensor(values, dtype=torch.int64) for values in (ptr, column))
    with pytest.raises(RuntimeError, match=said):
        torch.ops.meshconv.transposed_rows(*both, 3)
