"""Batches with a bounded number of vertices."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Any

from meshconv.datasets.loader import EpochBatches
from meshconv.errors import InputError

log = logging.getLogger(__name__)

_TRIES = 32


class VertexBudget(EpochBatches):
    """Batch sampler with a maximum number of vertices per batch.

    A mesh goes to the first batch that has room for it; one that is larger than the budget is a batch of its own.
    The number of batches is the same in every epoch, as schedules of the learning rate need it: an order that takes
    more is drawn again, and where it takes fewer, batches of many meshes are halved.

    Parameters
    ----------
    sizes : sequence of int
        Vertices of each mesh.
    budget : int
        Maximum number of vertices of a batch.
    shuffle : bool
        Another order in every epoch; else that of the meshes.
    seed : int
        Of the orders.
    names : sequence of str, optional
        Of the meshes, for the warning of those that are too large.

    Raises
    ------
    InputError
        A budget below 1.

    Notes
    -----
    ``tests/test_vertex_budget.py`` checks that every mesh comes once in every epoch, within the budget.

    Examples
    --------
    >>> list(VertexBudget([30, 60, 50, 20], budget=100))
    [[0, 1], [2, 3]]
    """

    def __init__(
        self, sizes: Sequence[int], budget: int, shuffle: bool = False, seed: int = 0, names: Sequence[str] = ()
    ):
        if budget < 1:
            raise InputError(f"batch_vertices {budget} has to be at least 1")
        self.sizes, self.budget, self.shuffle, self.seed = list(sizes), budget, shuffle, seed
        large = [i for i, size in enumerate(self.sizes) if size > budget]
        if large:
            worst = max(large, key=lambda i: self.sizes[i])
            named = f", the largest {names[worst]}" if names else ""
            log.warning(
                "%d of %d meshes have more vertices than batch_vertices %d%s with %d; each is a batch of its own",
                len(large), len(self.sizes), budget, named, self.sizes[worst],
            )  # fmt: skip
        self._first = self._pack(self._order(0, 0))

    def __len__(self) -> int:
        return len(self._first)

    def of_epoch(self, epoch: int) -> list[list[int]]:
        if not self.shuffle or epoch == 0:
            return self._first
        for attempt in range(_TRIES):
            batches = self._pack(self._order(epoch, attempt))
            if len(batches) <= len(self):
                break
        else:  # the meshes of the first epoch's batches, in another order
            batches = list(self._first)
        while len(batches) < len(self):
            most = max(range(len(batches)), key=lambda k: len(batches[k]))
            half = len(batches[most]) // 2
            batches += [batches[most][:half]]
            batches[most] = batches[most][half:]
        self._random(epoch, "batches").shuffle(batches)
        return batches

    def _random(self, *what: Any) -> random.Random:
        return random.Random("/".join(map(str, (self.seed, *what))))

    def _order(self, epoch: int, attempt: int) -> list[int]:
        order = list(range(len(self.sizes)))
        if self.shuffle:
            self._random(epoch, attempt).shuffle(order)
        return order

    def _pack(self, order: list[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        room: list[int] = []
        for i in order:
            place = next((k for k, left in enumerate(room) if self.sizes[i] <= left), None)
            if place is None:
                batches.append([i])
                room.append(self.budget - self.sizes[i])
            else:
                batches[place].append(i)
                room[place] -= self.sizes[i]
        return batches
