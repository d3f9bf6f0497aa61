"""Triangle strips and fans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def strip_triangles(corners: IntArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Triangles of strips: each corner makes one with the two before it, every other one turned to agree.

    Parameters
    ----------
    corners : int64 [sum of sizes]
        Vertices of all strips one after the other. A -1 ends a strip and begins another within the same row.
    sizes : int64 [S]
        Corners of each row, -1 included.

    Returns
    -------
    faces : int64 [T, 3]
        Without those that name a vertex twice: they lead from one part of a strip to the next.
    strip : int64 [T]
        Row of each, ascending.

    Examples
    --------
    >>> strip_triangles(np.array([0, 1, 2, 3, -1, 4, 5, 6]), np.array([8]))[0].tolist()
    [[0, 1, 2], [3, 2, 1], [4, 5, 6]]
    """
    row = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.zeros(len(corners), dtype=bool)
    begins[(np.cumsum(sizes) - sizes)[sizes > 0]] = True
    begins[1:] |= corners[:-1] == -1
    place = np.arange(len(corners))
    place -= np.maximum.accumulate(np.where(begins, place, 0))
    last = np.flatnonzero((place >= 2) & (corners != -1))
    a, b, c = corners[last - 2], corners[last - 1], corners[last]
    odd = place[last] % 2 == 1
    faces = np.stack([np.where(odd, c, a), b, np.where(odd, a, c)], axis=1)
    proper = (a != b) & (b != c) & (c != a)
    return faces[proper], row[last][proper]


def fan_triangles(corners: IntArray) -> IntArray:
    """Triangles round the first corner, int64 ``[n - 2, 3]``."""
    rim = np.stack([corners[1:-1], corners[2:]], axis=1)
    return np.insert(rim, 0, corners[0], axis=1) if len(rim) else np.zeros((0, 3), dtype=np.int64)
