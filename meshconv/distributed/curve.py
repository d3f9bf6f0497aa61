"""Space-filling curve: an order of points in which neighbours in the order are neighbours in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BITS = 20


def hilbert_order(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order ``[V]`` of points ``[V, 3]`` along a Hilbert curve of their bounding cube; equal places keep their order.

    References
    ----------
    Skilling: Programming the Hilbert curve, AIP Conference Proceedings 707, 2004.

    Examples
    --------
    >>> corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    >>> np.abs(np.diff(corners[hilbert_order(corners)], axis=0)).sum(1)   # a path along edges of the cube
    array([1., 1., 1., 1., 1., 1., 1.])
    """
    low = points.min(axis=0, initial=np.inf)
    size = float((points - low).max(initial=0)) or 1.0
    x = ((points - low) / size * (2**_BITS - 1)).astype(np.uint64).T
    axes = list(np.ascontiguousarray(x))
    # From coordinates to the transposed index: reflections and exchanges of axes, from the coarsest bit down.
    for bit in range(_BITS - 1, 0, -1):
        top = np.uint64(1 << bit)
        rest = top - np.uint64(1)
        for k in range(3):
            far = (axes[k] & top) > 0
            swap = np.where(far, 0, (axes[0] ^ axes[k]) & rest)
            axes[0] = np.where(far, axes[0] ^ rest, axes[0] ^ swap)
            axes[k] = axes[k] ^ swap
    # Gray code.
    for k in (1, 2):
        axes[k] = axes[k] ^ axes[k - 1]
    flip = np.zeros_like(axes[0])
    for bit in range(_BITS - 1, 0, -1):
        flip = np.where((axes[2] & np.uint64(1 << bit)) > 0, flip ^ np.uint64((1 << bit) - 1), flip)
    key = np.zeros_like(axes[0])
    for bit in range(_BITS - 1, -1, -1):
        for axis in axes:
            key = (key << np.uint64(1)) | ((axis ^ flip) >> np.uint64(bit)) & np.uint64(1)
    return np.argsort(key, kind="stable").astype(np.int64)
