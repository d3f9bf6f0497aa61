"""Nearest points in space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


def tree_of(points: NDArray) -> cKDTree:
    """The k-d tree of points ``[V, D]``.

    It is imported here: of all that a prediction for a closed mesh imports after torch, ``scipy.spatial`` would be a
    fifth.

    Examples
    --------
    >>> import numpy as np
    >>> int(tree_of(np.eye(3)).query([0.0, 0.9, 0.0])[1])
    1
    """
    from scipy.spatial import cKDTree

    return cKDTree(points)
