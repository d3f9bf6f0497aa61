"""Sparse symmetric systems that are solved many times."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import SuperLU, splu


class FactoredMatrix:
    """A symmetric positive semidefinite matrix, factored when first used; a copy or a pickle factors anew.

    Parameters
    ----------
    matrix : sparse [N, N]
    kernel : int [K]
        One member of each set of unknowns whose indicator function the matrix maps to zero. These functions span its
        kernel.
    """

    def __init__(self, matrix: csc_array, kernel: NDArray[np.int64]):
        self.matrix, self.kernel = matrix, kernel

    def solve(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The solution that is zero at the members ``kernel``, for right-hand sides ``[N, C]`` in the image."""
        return self._factors.solve(np.ascontiguousarray(values)) if values.size else np.zeros_like(values)

    @cached_property
    def _factors(self) -> SuperLU:
        # A right-hand side in the image adds up to zero over each set: then adding to the diagonal at one member makes
        # the solution zero there and changes nothing else.
        diagonal = self.matrix.diagonal()
        pin = np.zeros_like(diagonal)
        pin[self.kernel] = np.where(diagonal[self.kernel] > 0, diagonal[self.kernel], 1.0)
        # Positive, so that no pivots are needed.
        return splu((self.matrix + diags_array(pin)).tocsc(), permc_spec="COLAMD", diag_pivot_thresh=0.0)

    def __getstate__(self) -> dict[str, Any]:
        return {"matrix": self.matrix, "kernel": self.kernel}
