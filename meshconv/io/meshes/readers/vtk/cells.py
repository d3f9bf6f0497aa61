"""The flat cells of VTK's unstructured grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
#: Sizes and corners of cells.
Cells = tuple[IntArray, IntArray]

# Types that hold no surface; then triangle, strip, polygon, pixel, quadrilateral.
_LOOSE, _STRIP, _PIXEL = (0, 1, 2, 3, 4), 6, 8
_FLAT = (5, _STRIP, 7, _PIXEL, 9)


def flat_cells(cells: Cells, types: IntArray) -> tuple[Cells, NDArray[np.bool_], NDArray[np.bool_]]:
    """Cells that are polygons, which of these are strips, and which of the grid's cells they are.

    Loose points and lines are left out; ``ValueError`` for volumes and curved cells.
    """
    sizes, corners = cells
    if len(types) != len(sizes):
        raise ValueError(f"{len(types)} cell types for {len(sizes)} cells")
    flat, loose = np.isin(types, _FLAT), np.isin(types, _LOOSE)
    if not (flat | loose).all():
        kinds = sorted(set(types[~(flat | loose)].tolist()))
        raise ValueError(f"cells of type {', '.join(map(str, kinds))} are volumes or curved; extract the surface")
    start = np.cumsum(sizes) - sizes
    pixels = np.flatnonzero((types == _PIXEL) & (sizes == 4))
    corners = corners.copy()
    last = start[pixels] + 2  # the corners of a pixel go row by row, not round
    corners[last], corners[last + 1] = corners[last + 1], corners[last]
    return (sizes[flat], corners[np.repeat(flat, sizes)]), types[flat] == _STRIP, flat
