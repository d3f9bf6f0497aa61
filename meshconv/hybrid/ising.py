"""Ising grids: their factor graph, and exact marginals by transfer matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.hybrid.arrays import check_shape, finite, like
from meshconv.hybrid.factor_graph import FactorGraph

_WIDEST = 20  # spins of a row: the vectors of transfer have 2 to this power entries


def ising_grid(field: Any, right: Any, down: Any) -> FactorGraph:
    r"""The factor graph of :math:`p(s) \propto \exp(\sum_i b_i s_i + \sum_{ij} J_{ij} s_i s_j)` on a grid, s = -1, +1.

    Variables are numbered row by row; state 0 is s = -1.

    Parameters
    ----------
    field : array [rows, columns]
        b.
    right : array [rows, columns - 1]
        J of each spin and the next one in its row.
    down : array [rows - 1, columns]
        J of each spin and the one below.

    Examples
    --------
    >>> import numpy as np
    >>> from meshconv.hybrid import belief_propagation
    >>> belief_propagation(ising_grid([[1.0, 0.0]], [[0.5]], np.zeros((0, 2)))).round(3)
    array([[0.119, 0.881],
           [0.324, 0.676]])
    """
    b, across, below = _checked(field, right, down)
    rows, columns = b.shape
    number = torch.arange(rows * columns).reshape(rows, columns)
    edges = torch.cat([torch.stack([number[:, :-1], number[:, 1:]], -1).reshape(-1, 2),
                       torch.stack([number[:-1], number[1:]], -1).reshape(-1, 2)])  # fmt: skip
    spin = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    couplings = torch.cat([across.flatten(), below.flatten()])
    graph = FactorGraph.pairwise(b.reshape(-1, 1) * spin, edges, couplings[:, None, None] * spin[:, None] * spin)
    graph.example = field
    return graph


def ising_marginals(field: Any, right: Any, down: Any) -> Any:
    """Exact marginals [rows * columns, 2] of :func:`ising_grid`, spin by spin over all states of a row's width.

    Memory grows with two to the power of the columns, at most 20.

    Examples
    --------
    >>> import numpy as np
    >>> ising_marginals([[1.0, 0.0]], [[0.5]], np.zeros((0, 2))).round(3)
    array([[0.119, 0.881],
           [0.324, 0.676]])
    """
    b, across, below = _checked(field, right, down)
    rows, columns = b.shape
    if columns > _WIDEST:
        raise InputError(f"field is {[rows, columns]}; exact marginals take at most {_WIDEST} columns, transpose it")
    spin = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    pair = spin[:, None] * spin

    def weigh(frontier: Tensor, i: int, j: int) -> Tensor:
        """With the factors of spin (i, j) and of the pair to its left, on the axes of the frontier."""
        frontier = frontier + _on(b[i, j] * spin, (j,), columns)
        return frontier + _on(across[i, j - 1] * pair, (j - 1, j), columns) if j else frontier

    # Frontiers: log weights of all that is above and to the left, by the latest spin of each column.
    frontier = torch.zeros([2] * columns, dtype=torch.float64)
    above = []
    for i in range(rows):
        for j in range(columns):
            if i:
                moved = frontier.movedim(j, -1)[..., None] + below[i - 1, j] * pair
                frontier = moved.logsumexp(-2).movedim(-1, j)
            frontier = weigh(frontier, i, j)
        above.append(frontier)
    # What is below, by the spins of each row.
    rest, found = torch.zeros_like(frontier), []
    for i in reversed(range(rows)):
        joint = (above[i] + rest).flatten().log_softmax(0).exp().reshape(frontier.shape)
        found.append(torch.stack([joint.movedim(j, 0).reshape(2, -1).sum(1) for j in range(columns)]))
        if i:
            for j in range(columns):
                rest = weigh(rest, i, j)
            for j in range(columns):
                moved = rest.movedim(j, -1)[..., None] + below[i - 1, j] * pair
                rest = moved.logsumexp(-2).movedim(-1, j)
    return like(torch.cat(found[::-1]), field)


def _on(values: Tensor, axes: tuple[int, ...], count: int) -> Tensor:
    return values.reshape([2 if k in axes else 1 for k in range(count)])


def _checked(field: Any, right: Any, down: Any) -> tuple[Tensor, Tensor, Tensor]:
    b, across, below = finite(field, "field"), finite(right, "right"), finite(down, "down")
    if b.dim() != 2 or not b.numel():
        raise InputError(f"field is {list(b.shape)}, expected [rows, columns]")
    rows, columns = b.shape
    check_shape(across, "right", (rows, columns - 1), f"field is {[rows, columns]}")
    check_shape(below, "down", (rows - 1, columns), f"field is {[rows, columns]}")
    return b, across, below
