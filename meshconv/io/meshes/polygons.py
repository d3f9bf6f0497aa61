"""Polygon files, the result of readers: vertices, polygons and their data; conversion to triangles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.extras import is_installed
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.defects import places
from meshconv.geometry.repair.origin import Changes, Origin, first_of
from meshconv.io.meshes.strips import strip_triangles
from meshconv.io.meshes.triangulation import triangulate

IntArray = NDArray[np.int64]


class Volumes(NamedTuple):
    """Volume cells of a file: what they are in words, and their surface."""

    says: str
    surface: Callable[[], PolygonFile]


@dataclass(frozen=True, eq=False)
class PolygonFile:
    """The content of a mesh file, polygons of any size.

    Attributes
    ----------
    vertices : float64 [V, 3]
    corners : int64 [sum of sizes]
        Vertices of all polygons one after the other, not checked against ``V``.
    sizes : int64 [P]
        Corners of each polygon; those with fewer than three have no triangle.
    vertex_data, polygon_data : dict of arrays [V, ...] and [P, ...]
    strips : bool [P], optional
        Which polygons are strips of triangles, see :func:`~meshconv.io.meshes.strips.strip_triangles`; None: none.
    pieces : int64 [V], optional
        Which part of the file each vertex belongs to; None: all to one.
    cells : int64 [P], optional
        Of the surface of volume cells, the cell of each polygon, ascending; vertices without polygons are inside then,
        and left out. None: polygons are the cells themselves.
    num_cells : int
        How many cells there are then.
    volumes : Volumes, optional
        The file's volume cells, where no polygons are read; None: there are none.
    """

    vertices: NDArray[np.float64]
    corners: IntArray
    sizes: IntArray
    vertex_data: dict[str, NDArray] = field(default_factory=dict)
    polygon_data: dict[str, NDArray] = field(default_factory=dict)
    strips: NDArray[np.bool_] | None = None
    pieces: IntArray | None = None
    cells: IntArray | None = None
    num_cells: int = 0
    volumes: Volumes | None = None

    def triangles(self, name: str, weld: bool = False) -> TriangleMesh:
        """Every polygon cut into triangles, see :func:`~meshconv.io.meshes.triangulation.triangulate`.

        Parameters
        ----------
        name : str
        weld : bool
            Vertices in the same place of a part become one, in formats that store a vertex once for each of its faces.

        Returns
        -------
        TriangleMesh
            Its ``origin`` leads to the file's vertices and from each triangle to its polygon, and counts polygons of
            fewer than three corners. A vertex without polygons needs no place: if its coordinates are not finite it is
            put in the middle of the others.
        """
        faces, row = self.cut()
        polygon, count = (row, len(self.sizes)) if self.cells is None else (self.cells[row], self.num_cells)
        small = int((self.sizes < 3).sum())
        vertices, placed = self._placed(name)
        kept = number = np.arange(len(vertices))
        if weld:
            place = places(vertices if self.pieces is None else np.column_stack([vertices, self.pieces]))
            kept = np.flatnonzero(place == number)
            number = np.searchsorted(kept, place)
            inside = (faces >= 0) & (faces < len(vertices))
            faces = np.where(inside, number[np.where(inside, faces, 0)], faces)
        welded = len(vertices) - len(kept)
        if self.cells is not None:
            used = np.zeros(len(kept), bool)
            used[faces] = True
            number = np.append(np.where(used, np.cumsum(used) - 1, -1), -1)[number]
            kept, faces = kept[used], (np.cumsum(used) - 1)[faces]
        origin = None
        if len(kept) != len(vertices) or len(polygon) != count or self.cells is not None or small or placed:
            counted = Changes(welded_vertices=welded, small_polygons=small, placed_vertices=placed)
            origin = Origin(kept, number, polygon, first_of(polygon, count), counted)
        return TriangleMesh(
            vertices[kept],
            faces,
            name,
            {key: values[kept] for key, values in self.vertex_data.items()},
            {key: values[row] for key, values in self.polygon_data.items()},
            origin,
        )

    def cut(self) -> tuple[IntArray, IntArray]:
        """Triangles, and the polygon of each, ascending."""
        if self.strips is None or not self.strips.any():
            return triangulate(self.vertices, self.corners, self.sizes)
        in_strip = np.repeat(self.strips, self.sizes)
        faces, polygon = triangulate(self.vertices, self.corners[~in_strip], self.sizes[~self.strips])
        strip_faces, strip = strip_triangles(self.corners[in_strip], self.sizes[self.strips])
        polygon = np.concatenate([np.flatnonzero(~self.strips)[polygon], np.flatnonzero(self.strips)[strip]])
        order = np.argsort(polygon, kind="stable")
        return np.concatenate([faces, strip_faces])[order], polygon[order]

    def _placed(self, name: str) -> tuple[NDArray[np.float64], int]:
        """The vertices with all that no polygon uses in a finite place, and how many were moved there."""
        lost: NDArray[np.bool_] = np.asarray(~np.isfinite(self.vertices).all(axis=1))
        if not lost.any() or not len(self.sizes):  # points without faces are themselves what counts
            return self.vertices, 0
        named = self.corners[(self.corners >= 0) & (self.corners < len(lost))]
        free = lost.copy()
        free[named] = False
        if lost.all() or not free.any():
            return self.vertices, 0
        vertices = self.vertices.copy()
        finite = vertices[~lost]
        vertices[free] = finite.min(axis=0) / 2 + finite.max(axis=0) / 2
        return vertices, int(free.sum())


def join_pieces(pieces: Sequence[PolygonFile], name: str) -> PolygonFile:
    """Pieces of a file as one; data that some piece lacks, or has in another shape, are left out.

    Raises
    ------
    InputError
        A corner that is no vertex of its own piece; it could be one of the next.
    """
    for piece in pieces:
        wrong = (piece.corners < 0) | (piece.corners >= len(piece.vertices))
        if wrong.any():
            raise InputError(
                f"{name}: {int(wrong.sum())} corners of faces name a vertex that does not exist, e.g. "
                f"{piece.corners[wrong][0]}; indices run from 0 to {len(piece.vertices) - 1}"
            )
    if len(pieces) == 1:
        return pieces[0]
    starts = np.cumsum([0, *(len(p.vertices) for p in pieces)])
    return PolygonFile(
        np.concatenate([p.vertices for p in pieces]),
        np.concatenate([p.corners + start for p, start in zip(pieces, starts[:-1], strict=True)]),
        np.concatenate([p.sizes for p in pieces]),
        _common([p.vertex_data for p in pieces]),
        _common([p.polygon_data for p in pieces]),
        np.concatenate([np.zeros(len(p.sizes), bool) if p.strips is None else p.strips for p in pieces]),
        np.repeat(np.arange(len(pieces)), [len(p.vertices) for p in pieces]),
    )


def _common(data: list[dict[str, NDArray]]) -> dict[str, NDArray]:
    shared = [key for key in data[0] if len({d[key].shape[1:] if key in d else None for d in data}) == 1]
    return {key: np.concatenate([d[key] for d in data]) for key in shared}


class MeshFormat(NamedTuple):
    """One format; each module of :mod:`meshconv.io.meshes.readers` lists its own as ``FORMATS``.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        With the dot, in lower case.
    read : callable (Path) -> PolygonFile
        Raises ``InputError`` for whatever is wrong with a file.
    splits_vertices : bool
        The format stores a vertex once for each face, or for each normal and texture coordinate.
    package : str
        Module of the extra ``formats`` that reads it; "": none is needed.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], PolygonFile]
    splits_vertices: bool = False
    package: str = ""

    @property
    def available(self) -> bool:
        """Whether the package is installed."""
        return not self.package or is_installed(self.package)
