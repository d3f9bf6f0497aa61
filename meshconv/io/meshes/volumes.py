"""The surface of volume cells: faces that one cell alone has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.io.meshes.polygons import IntArray, PolygonFile

_HEXAHEDRON = ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7))
# Faces of a cell of each kind by its corners, which all formats that are read number as VTK does.
_FACES: dict[str, tuple[tuple[int, ...], ...]] = {
    "tetra": ((0, 1, 3), (1, 2, 3), (2, 0, 3), (0, 2, 1)),
    "pyramid": ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
    "wedge": ((0, 2, 1), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    "hexahedron": _HEXAHEDRON,
}
#: Corners of a cell of each kind.
VOLUME_SIZES = {"tetra": 4, "pyramid": 5, "wedge": 6, "hexahedron": 8}


class VolumeCells(NamedTuple):
    """Volume cells of one kind.

    Attributes
    ----------
    kind : "tetra" | "pyramid" | "wedge" | "hexahedron"
    corners : int64 [n, k]
        Vertices of each, in VTK's order.
    rows : int64 [n]
        Number of each among all cells of the file.
    """

    kind: str
    corners: IntArray
    rows: IntArray


def surface_of_volumes(
    vertices: NDArray[np.float64],
    blocks: Sequence[VolumeCells],
    num_cells: int,
    vertex_data: dict[str, NDArray],
    cell_data: dict[str, NDArray],
    ghosts: NDArray[np.bool_] | None = None,
) -> PolygonFile:
    """Polygons that belong to one volume cell alone, outward.

    Parameters
    ----------
    vertices : float64 [V, 3]
    blocks : sequence of VolumeCells
    num_cells : int
        Cells in the file, of any kind.
    vertex_data, cell_data : dict of arrays [V, ...] and [num_cells, ...]
    ghosts : bool [num_cells], optional
        Cells of another piece: a face between one and a cell of this piece is inside, and their own are left out.

    Returns
    -------
    PolygonFile
        Data of a polygon are those of its cell, and ``cells`` names it. Vertices inside are left out.

    Raises
    ------
    ValueError
        A corner that is no vertex, or no surface at all.
    """
    quads, rows = [np.zeros((0, 4), np.int64)], [np.zeros(0, np.int64)]
    middles = [np.zeros((0, 3))]
    for kind, corners, numbers in blocks:
        if len(corners) and (corners.min() < 0 or corners.max() >= len(vertices)):
            raise ValueError(f"a {kind} has a corner that does not exist, of {len(vertices)} points")
        middle = vertices[corners].mean(axis=1)
        for face in _FACES[kind]:
            # A triangle repeats its last corner.
            quads.append(corners[:, [*face, face[-1]][:4]])
            rows.append(numbers)
            middles.append(middle)
    quad, row, centre = np.concatenate(quads), np.concatenate(rows), np.concatenate(middles)
    triangle = quad[:, 2] == quad[:, 3]
    key = np.sort(np.where(triangle[:, None] & (np.arange(4) == 3), -1, quad), axis=1)
    _, first, count = np.unique(key, axis=0, return_index=True, return_counts=True)
    outside = np.sort(first[count == 1])
    if ghosts is not None:
        outside = outside[~ghosts[row[outside]]]
    if not len(outside):
        raise ValueError("its volume cells have no surface")
    order = outside[np.argsort(row[outside], kind="stable")]
    quad, row, centre, triangle = quad[order], row[order], centre[order], triangle[order]
    # Programs disagree on the order of a wedge's corners: outward is away from the middle of the cell.
    a, b, c, d = (vertices[quad[:, k]] for k in range(4))
    normal = np.cross(c - a, d - b)
    normal[triangle] = np.cross(b - a, c - a)[triangle]
    inward = ((a + c) / 2 - centre) * normal
    turned = inward.sum(axis=1) < 0
    quad[turned] = np.where(triangle[turned, None], quad[turned][:, [1, 0, 2, 3]], quad[turned][:, ::-1])
    sizes = np.where(triangle, 3, 4)
    corners = quad[np.arange(4) < sizes[:, None]]
    of_faces = {name: values[row] for name, values in cell_data.items()}
    return PolygonFile(vertices, corners, sizes, vertex_data, of_faces, cells=row, num_cells=num_cells)
