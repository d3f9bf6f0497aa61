"""Largest eigenvalues of a symmetric operator by block Lanczos steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigh, qr, solve_triangular

from meshconv.blas import single_threaded_blas
from meshconv.geometry.mesh.measures import FloatArray

# Larger blocks solve faster and converge later; an eigenvalue is found at most this many times.
_BLOCK = 16
# Residuals, as a share of the eigenvalue; its own error is about the square of that.
_TOLERANCE = 1e-4
# What is left of an image beyond the space, as a share of the image, that rounding leaves orthogonal to the space.
_DEPENDENT = 1e-4
# Cosines between a block and the blocks before it, as far as rounding may have made them.
_ORTHOGONAL = 1e-9


@single_threaded_blas()
def largest_eigenpairs(
    apply: Callable[[FloatArray], FloatArray], known: FloatArray, bound: float, most: int, guess: int
) -> tuple[FloatArray, FloatArray]:
    r"""All eigenvalues of a symmetric operator from ``bound`` on, at most ``most``, largest first.

    Krylov spaces of blocks :math:`X, AX, A^2X, \dots` from a fixed start, each block orthogonal to all before it:
    several columns are solved for in little more than the time of one, and products of whole blocks take the place of
    products of vectors.

    Parameters
    ----------
    apply
        The operator, of rows ``[block, N]``.
    known : float64 [N]
        An eigenvector of length 1, which is left out.
    bound : float
        Above 0.
    most : int
    guess : int
        Expected number; the answer does not depend on it.

    Returns
    -------
    values : float64 [K]
    vectors : float64 [N, K]
        Orthonormal. Residuals :math:`|A v - \mu v|` are below 1e-4 of :math:`\mu`.

    Notes
    -----
    ``tests/test_lanczos.py`` compares with dense solutions. ``scipy.sparse.linalg.eigsh`` takes 2.7 to 3.4
    times as long (``benchmarks/geometry.py``).

    References
    ----------
    Golub, Underwood, "The block Lanczos method for computing eigenvalues", 1977.
    """
    size = len(known)
    space = _KrylovSpace(known, 3 * guess)
    rows = np.random.default_rng(0).normal(size=(_BLOCK, size))
    rows, _ = space.beyond(rows, rows @ space.basis.T)
    check = 3 * guess // 2
    while space.filled + len(rows) <= size:
        images = apply(rows)
        rows, lower = space.beyond(images, space.add(rows, images))
        if space.filled >= check:
            kept, values, vectors = _above(bound, most, space.projected)
            last = slice(0, kept + 1)  # the one beyond the bound says that none before it is missing
            residuals = np.linalg.norm(lower.T @ vectors[-len(rows) :, last], axis=0)
            if (residuals <= _TOLERANCE * values[last]).all():
                return values[:kept], space.basis[1:].T @ vectors[:, :kept]
            check = space.filled + 2 * len(rows)
    whole = apply(np.eye(size))
    kept, values, vectors = _above(bound, most, whole - (known @ whole @ known) * np.outer(known, known))
    return values[:kept], vectors[:, :kept]


def _above(bound: float, most: int, matrix: FloatArray) -> tuple[int, FloatArray, FloatArray]:
    """The number of eigenvalues from the bound on, all eigenvalues, largest first, and eigenvectors."""
    values, vectors = eigh(matrix)
    return min(int((values >= bound).sum()), most), values[::-1], vectors[:, ::-1]


class _KrylovSpace:
    """Orthonormal rows of which the first is a known eigenvector, and the operator between the others."""

    def __init__(self, known: FloatArray, capacity: int):
        self._rows = np.empty((capacity + 1, len(known)))
        self._rows[0] = known
        self._projected = np.zeros((capacity + 1, capacity + 1))
        self.filled = 1
        self._cosines, self._again = 0.0, False

    @property
    def basis(self) -> FloatArray:
        return self._rows[: self.filled]

    @property
    def projected(self) -> FloatArray:
        return self._projected[1 : self.filled, 1 : self.filled]

    def add(self, rows: FloatArray, images: FloatArray) -> FloatArray:
        """Rows join the space; products of their images with it."""
        start, stop = self.filled, self.filled + len(rows)
        if stop > len(self._rows):
            grown = np.empty((3 * stop // 2, self._rows.shape[1]))
            grown[:start] = self._rows[:start]
            self._rows, self._projected = grown, np.pad(self._projected, (0, len(grown) - len(self._projected)))
        self._rows[start:stop], self.filled = rows, stop
        products = images @ self.basis.T
        self._projected[start:stop, :stop] = products
        self._projected[:stop, start:stop] = products.T
        return products

    def beyond(self, rows: FloatArray, products: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Orthonormal rows orthogonal to the space, and the matrix that makes of them what the rows have beyond it."""
        rest = rows - products @ self.basis
        try:
            first = cholesky(rest @ rest.T, lower=True)
            lost = np.linalg.norm(rows, axis=1).max() / first.diagonal().min()
            small = lost * _DEPENDENT > 1
        except LinAlgError:
            small = True
        if small:  # as good as dependent: any other directions take the place of those that lack
            found, upper = qr(rest.T, mode="economic")
            found, again = qr(found - self.basis.T @ (self.basis @ found), mode="economic")
            return np.ascontiguousarray(found.T), (again @ upper).T
        rest = solve_triangular(first, rest, lower=True)
        # Cosines that rounding leaves grow from block to block, until the space has vectors twice. Each block inherits
        # those of two, so two blocks in succession are made orthogonal again.
        self._cosines = lost * (self._cosines + np.finfo(float).eps)
        grown = self._cosines > _ORTHOGONAL
        if grown or self._again:
            rest -= (rest @ self.basis.T) @ self.basis
            self._cosines = lost * np.finfo(float).eps
        self._again = grown
        second = cholesky(rest @ rest.T, lower=True)
        return solve_triangular(second, rest, lower=True), first @ second
