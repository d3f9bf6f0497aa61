"""Batches bounded by vertices: each mesh once an epoch, as many batches in each, within the budget."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from meshconv import InputError
from meshconv.datasets import VertexBudget


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [60, 100, 300, 10_000])
def test_every_mesh_once_within_the_budget_and_a_fixed_number_of_batches(seed: int, budget: int) -> None:
    sizes = np.random.default_rng(seed).integers(5, 90, 40).tolist()
    batches = VertexBudget(sizes, budget, shuffle=True, seed=seed)
    seen = []
    for _ in range(6):
        epoch = list(batches)
        seen.append(epoch)
        assert sorted(i for batch in epoch for i in batch) == list(range(40))
        assert all(sum(sizes[i] for i in batch) <= budget or len(batch) == 1 for batch in epoch)
        assert len(epoch) == len(batches)
        assert all(epoch)
    assert len({str(epoch) for epoch in seen}) == 6 or len(batches) == 1


def test_an_epoch_is_known_by_its_number_and_the_seed() -> None:
    sizes = list(range(1, 30))
    one, two = (VertexBudget(sizes, 60, shuffle=True, seed=5) for _ in range(2))
    first = [list(one) for _ in range(3)]
    assert two.of_epoch(2) == first[2]
    assert list(VertexBudget(sizes, 60, shuffle=True, seed=6)) != first[0]


def test_without_shuffling_order_stays() -> None:
    batches = VertexBudget([3, 3, 3, 3], 6)
    assert list(batches) == list(batches) == [[0, 1], [2, 3]]


def test_batches_are_filled() -> None:
    sizes = np.random.default_rng(0).integers(100, 2000, 300).tolist()
    assert len(VertexBudget(sizes, 8000, shuffle=True)) <= 1.1 * sum(sizes) / 8000 + 1


def test_a_mesh_beyond_the_budget_is_alone_and_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    batches = VertexBudget([10, 500, 10, 300], 100, names=["a.ply", "b.ply", "c.ply", "d.ply"])
    assert list(batches) == [[0, 2], [1], [3]]
    assert "2 of 4 meshes have more vertices than batch_vertices 100, the largest b.ply with 500" in caplog.text


def test_a_budget_of_nothing() -> None:
    with pytest.raises(InputError, match="batch_vertices 0"):
        VertexBudget([1], 0)
