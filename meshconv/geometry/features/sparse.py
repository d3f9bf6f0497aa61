"""Direct solution of sparse symmetric systems on surfaces: nested dissection, then SuperLU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import splu

from meshconv.blas import single_threaded_blas
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray

T = TypeVar("T")
S = TypeVar("S")

# Size of parts that are not bisected further: SuperLU is as fast on them in any order.
_LEAF = 64


def dissection_order(points: FloatArray, matrix: csr_array) -> IntArray:
    r"""Elimination order of a matrix between points of a surface: nested dissection by recursive bisection in space.

    Each part is bisected at the median along its longest axis; points adjacent to the other half are the separator and
    come after both. On a surface separators have :math:`O(\sqrt n)` points, so that a factor has :math:`O(n \log n)`
    entries and takes :math:`O(n^{3/2})` operations; column orderings without geometry have several times as many. The
    solution is independent of the order, so the points may be arbitrary.

    Parameters
    ----------
    points : float64 [V, dim]
        In space, or in space and time.
    matrix : csr_array [V, V]
        Of which only the pattern counts, in either triangle or both.

    Returns
    -------
    int64 [V]
        Point at each place of the order.

    References
    ----------
    George, "Nested dissection of a regular finite element mesh", 1973.
    """
    count, pairs = len(points), matrix.tocoo()
    rows, cols = pairs.row.astype(np.int64), pairs.col.astype(np.int64)
    # One digit per bisection, 0 and 1 for the halves and 2 for the separator: sorting by digits gives the order.
    digits = np.zeros(count, dtype=np.int64)
    active, part, num_parts = np.arange(count), np.zeros(count, dtype=np.int64), 1
    here = np.empty(count, dtype=np.int64)
    while len(active) > _LEAF * num_parts:
        size = np.bincount(part, minlength=num_parts)
        start = np.cumsum(size) - size
        order = np.argsort(part, kind="stable")
        inside = points[active[order]]
        extent = np.maximum.reduceat(inside, start) - np.minimum.reduceat(inside, start)
        along = points[active, extent.argmax(axis=1)[part]]
        rank = np.empty(len(active), dtype=np.int64)
        rank[np.lexsort((along, part))] = np.arange(len(active))
        right = rank - start[part] >= size[part] // 2

        here[active] = 2 * part + right
        cut = here[rows] != here[cols]
        ends = np.unique(np.concatenate([rows[cut], cols[cut]]))
        ends_part, side = np.divmod(here[ends], 2)
        # Either side of the cut separates; the smaller one is taken.
        balance = np.bincount(ends_part, weights=2 * side - 1, minlength=num_parts)
        separator = np.zeros(count, dtype=bool)
        separator[ends[side == (balance < 0)[ends_part]]] = True

        digits *= 3
        digits[active] += np.where(separator[active], 2, right)
        stays = ~separator[active]
        active, part = active[stays], here[active[stays]]
        inner = ~(cut | separator[rows] | separator[cols])
        rows, cols = rows[inner], cols[inner]
        filled, part = np.unique(part, return_inverse=True)
        num_parts = len(filled)
    return np.argsort(digits, kind="stable")


class SymmetricFactor:
    """Factorisation of a sparse symmetric positive definite matrix whose rows are points of a surface.

    Parameters
    ----------
    matrix : csr_array [V, V]
        Not pivoted: diagonally dominant or positive definite.
    order : int64 [V]
        From :func:`dissection_order`.

    Notes
    -----
    ``tests/test_sparse.py`` compares with dense solutions, also for points that coincide.
    """

    @single_threaded_blas()
    def __init__(self, matrix: csr_array, order: IntArray):
        self._order = order
        permuted = csc_array(matrix[order][:, order])
        self._factor = splu(permuted, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    @property
    def log_determinant(self) -> float:
        """Of the matrix: the sum of the logarithms of the pivots."""
        return float(np.log(np.abs(self._factor.U.diagonal())).sum())

    @single_threaded_blas()
    def solve(self, right: FloatArray) -> FloatArray:
        """Solution of ``matrix @ x = right`` for ``right [V]`` or ``[V, C]``."""
        rows = right.T[..., self._order]  # columns one after another are what SuperLU takes
        solution = np.empty_like(rows)
        solution[..., self._order] = self._factor.solve(rows.T).T
        return solution.T


def in_threads(function: Callable[[S], T], items: Sequence[S]) -> Iterator[T]:
    """``map(function, items)`` in as many threads as torch has: SuperLU factorises without the interpreter's lock.

    With one thread each result is computed when it is asked for, so that factors need not be there at once.
    """
    if torch.get_num_threads() == 1:
        yield from map(function, items)
        return
    with single_threaded_blas(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(function, items)
