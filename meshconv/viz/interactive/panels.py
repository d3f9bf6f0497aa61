"""Surfaces of a view: what a mesh or a grid of the sphere is on the page, with arrows and lines."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.viz.coastlines import Line, coastlines
from meshconv.viz.interactive.page_text import pack
from meshconv.viz.mesh import MeshView
from meshconv.viz.projections import compass
from meshconv.viz.relief import Mesh, vertex_normals

__all__ = ["Arrows", "GlobeSurface", "MeshSurface", "Surface"]

#: Arrows of a field, and frames, that are drawn at most: more hide each other.
_ARROWS, _FRAMES = 900, 250
_E1, _E2 = (204, 20, 26), (13, 77, 191)  # of frames, as in pictures of geodesic coordinates
_INK, _PAPER = (20, 24, 32), (255, 255, 255)
_PIXELS = 4  # across a cell of a grid
_MAX_ROWS = 720  # of the picture of a globe: a quarter of a degree
# Of a grid with more points than that only those are kept that have a pixel of a picture of half degrees.
_MANY, _ROWS_OF_MANY = 262_144, 360


class Arrows(NamedTuple):
    """Arrows in the page's units.

    Attributes
    ----------
    start : [n, 3]
    along : [steps, n, 3]
    colors : uint8 [steps, n, 3]
    thick : float
        Length of the arrow that has the usual thickness.
    """

    start: NDArray
    along: NDArray
    colors: NDArray
    thick: float

    @property
    def content(self) -> dict[str, Any]:
        return {"start": pack(self.start), "along": pack(self.along), "colors": pack(self.colors), "thick": self.thick}


class Surface(Protocol):
    """A surface with its elements, in the units of the page: within the unit sphere."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of elements by their kind, those with frames first."""

    @property
    def frames(self) -> NDArray:
        """Tangent frames ``[n, 3, 3]`` of the first kind of elements."""

    @property
    def pose(self) -> NDArray:
        """Rows right, up and towards the eye."""

    @property
    def content(self) -> dict[str, Any]:
        """What the page draws."""

    @property
    def kept(self) -> NDArray[np.int64] | None:
        """Elements whose values are on the page; None: all."""

    def places(self, at: str) -> tuple[NDArray, NDArray]:
        """Where arrows of elements start, in the page's units, and outward normals, ``[n, 3]`` each."""


class MeshSurface:
    """A triangle mesh.

    Parameters
    ----------
    mesh
    """

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        self.vertices, self.faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
        if not len(self.faces):
            raise InputError(f"{getattr(mesh, 'name', '') or 'the mesh'}: no faces to show; points can be no surface")
        has_face = np.zeros(len(self.vertices), dtype=bool)
        has_face[self.faces] = True
        used = self.vertices[has_face]
        self.middle = (used.min(axis=0) + used.max(axis=0)) / 2
        self.radius = max(float(np.linalg.norm(used - self.middle, axis=1).max()), 1e-300)

    @property
    def counts(self) -> dict[str, int]:
        return {"vertices": len(self.vertices), "faces": len(self.faces)}

    @property
    def frames(self) -> NDArray:
        found = getattr(self.mesh, "frames", None)
        if found is None:
            raise InputError("frames: this mesh has none; give a TriangleMesh")
        return np.asarray(found)

    @property
    def pose(self) -> NDArray:
        return MeshView().of(self.vertices, self.faces)

    @functools.cached_property
    def content(self) -> dict[str, Any]:
        mesh = {"positions": pack(self._placed(self.vertices)), "faces": pack(self.faces), "closed": self._closed}
        return {"mesh": mesh, "lines": []}

    @property
    def _closed(self) -> bool:
        """Whether nobody sees faces from behind: each edge has a face on either side, oriented alike."""
        start, end = self.faces.astype(np.int64).ravel(), np.roll(self.faces, -1, axis=1).astype(np.int64).ravel()
        count = len(self.vertices)
        one_way, other_way = np.sort(start * count + end), np.sort(end * count + start)
        open_edges = (one_way[1:] == one_way[:-1]).any() or not np.array_equal(one_way, other_way)
        a, b, c = self.vertices[self.faces].transpose(1, 0, 2) - self.middle
        return bool(not open_edges and np.einsum("fi,fi->", a, np.cross(b, c)) > 0)

    kept = None  # of its elements all are on the page

    @functools.cached_property
    def _normals(self) -> NDArray:
        return vertex_normals(self._placed(self.vertices), self.faces)[0]

    def _placed(self, points: NDArray) -> NDArray:
        return (points - self.middle) / self.radius

    def places(self, at: str) -> tuple[NDArray, NDArray]:
        points, normals = self._placed(self.vertices), self._normals
        if at == "faces":
            points, normals = points[self.faces].mean(axis=1), normals[self.faces].mean(axis=1)
        return points, normals


class GlobeSurface:
    """A grid on the sphere, painted cell by cell: each pixel of a picture of latitudes and longitudes has its cell.

    Parameters
    ----------
    grid
    coast
        Lines of latitudes and longitudes in degrees; None: coastlines where cartopy is installed.
    """

    def __init__(self, grid: SphereGrid, coast: Sequence[Line] | None = None):
        self.grid = grid
        self.coast = coastlines() if coast is None else coast

    @property
    def counts(self) -> dict[str, int]:
        return {"points": self.grid.num_points}

    @property
    def frames(self) -> NDArray:
        return self.grid.frames

    @property
    def pose(self) -> NDArray:
        """The middle of what the grid covers is in front; of a whole sphere 20 degrees north, 10 east."""
        x, y, z = self.grid.xyz.mean(axis=0)
        if np.hypot(np.hypot(x, y), z) < 0.2:
            return compass((20.0, 10.0))
        return compass((float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))))

    @functools.cached_property
    def content(self) -> dict[str, Any]:
        index, rows = self._raster
        points = self.grid.num_points if self.kept is None else len(self.kept)
        if self.kept is not None:
            index = np.where(index < 0, -1, np.searchsorted(self.kept, index))
        globe = {"rows": rows, "columns": 2 * rows, "points": points, "index": pack(index)}
        lines = [_lines(_graticule(), "#4b5563", 0.28)]
        if self.coast:
            lines.append(_lines(self.coast, "#111827", 0.9))
        return {"globe": globe, "lines": lines}

    @functools.cached_property
    def _raster(self) -> tuple[NDArray[np.int64], int]:
        """Cell of each pixel, row by row from the north, and the number of rows."""
        many = self.grid.num_points > _MANY
        rows = int(np.clip(round(_PIXELS * np.pi / self.grid.spacing), 90, _ROWS_OF_MANY if many else _MAX_ROWS))
        lat = np.pi * (0.5 - (np.arange(rows) + 0.5) / rows)[:, None]
        lon = np.pi * ((np.arange(2 * rows) + 0.5) / rows - 1)
        flat = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.broadcast_to(np.sin(lat), (rows, 2 * rows))
        return self.grid.locate(np.stack(flat, axis=-1).reshape(-1, 3)), rows

    @functools.cached_property
    def kept(self) -> NDArray[np.int64] | None:
        """Points of a large grid whose cells have a pixel, ascending; None: all."""
        if self.grid.num_points <= _MANY:
            return None
        index = np.unique(self._raster[0])
        return index[index >= 0]

    def places(self, at: str) -> tuple[NDArray, NDArray]:
        return self.grid.xyz, self.grid.xyz


def _graticule() -> list[Line]:
    turn, span = np.linspace(-180, 180, 181), np.linspace(-90, 90, 91)
    parallels = [np.stack([np.full(181, p), turn], axis=1) for p in range(-60, 90, 30)]
    return parallels + [np.stack([span, np.full(91, m)], axis=1) for m in range(-180, 180, 30)]


def _lines(lines: Sequence[Line], color: str, opacity: float) -> dict[str, Any]:
    """Segments a little above the ground."""
    ends = []
    for line in lines:
        lat, lon = np.radians(line.T)
        xyz = 1.003 * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        ends.append(np.stack([xyz[:-1], xyz[1:]], axis=1))
    return {"ends": pack(np.concatenate(ends)), "color": color, "opacity": opacity}


def spread(points: NDArray, count: int) -> NDArray[np.int64]:
    """About ``count`` of the points, spread evenly: the one nearest to the middle of each cell of a lattice that fits.

    Example
    -------
    >>> spread(np.eye(3), 10)
    array([0, 1, 2])
    """
    if len(points) <= count:
        return np.arange(len(points))
    width, chosen = 2.0, np.arange(0)
    for _ in range(40):
        cell = np.floor(points / width)
        far = np.linalg.norm(points / width - cell - 0.5, axis=1)
        order = np.argsort(far, kind="stable")
        # One number for a cell, 21 bits an axis: numpy is slow at unique rows.
        x, y, z = (np.clip(cell, -(1 << 20), (1 << 20) - 1).astype(np.int64) + (1 << 20)).T
        finer = np.sort(order[np.unique((x << 42 | y << 21 | z)[order], return_index=True)[1]])
        if len(finer) > count:
            break
        chosen, width = finer, 0.85 * width
    return chosen


def arrows_of(surface: Surface, at: str, vectors: NDArray, table: NDArray, longest: float) -> Arrows:
    """Arrows of a field of vectors ``[steps, n, 3]``, dark on light ground and light on dark.

    Parameters
    ----------
    surface, at
    vectors
    table : uint8 [colours, 3]
        Colours of the ground by length, from 0 to ``longest``.
    longest : float
    """
    places, normals = surface.places(at)
    chosen = spread(places, _ARROWS)
    vectors = np.nan_to_num(vectors[:, chosen])
    reach = 1.7 / np.sqrt(max(len(chosen), 4))  # about the distance of arrows on a surface of the unit sphere's size
    share = np.linalg.norm(vectors, axis=-1, keepdims=True) / max(longest, 1e-300)
    # An arrow longer than the longest that has a colour is cut to its length.
    along = vectors / max(longest, 1e-300) / np.maximum(share, 1.0) * 1.5 * reach
    ground = table[np.round(np.clip(share[..., 0], 0, 1) * (len(table) - 1)).astype(int)] @ [0.299, 0.587, 0.114]
    colors = np.where(ground[..., None] > 118, _INK, _PAPER).astype(np.uint8)
    return Arrows(places[chosen] + 0.012 * normals[chosen], along, colors, reach)


def frames_of(surface: Surface) -> list[Arrows]:
    """Frames as arrows, e1 red and e2 blue."""
    places, normals = surface.places(next(iter(surface.counts)))
    chosen = spread(places, _FRAMES)
    reach = 1.1 / np.sqrt(max(len(chosen), 4))
    start = places[chosen] + 0.012 * normals[chosen]
    colors = [np.tile(np.array(color, dtype=np.uint8), (1, len(chosen), 1)) for color in (_E1, _E2)]
    return [Arrows(start, reach * surface.frames[None, chosen, k], colors[k], reach) for k in (0, 1)]
