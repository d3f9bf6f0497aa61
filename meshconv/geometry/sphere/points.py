"""Point sets on the sphere: neighbours by Delaunay triangulation or distance, Voronoi areas."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull

from meshconv.errors import InputError
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.delaunay import DelaunayPoints, IcosahedralPoints
from meshconv.geometry.sphere.frames import Array, Index
from meshconv.geometry.sphere.grid import SphereGrid

# Coordinates in float32, or one copy at 433 degrees and one at 73, put copies this far apart, 13 m on the Earth.
_COPIES = 2e-6


def distinct_points(xyz: Array) -> tuple[Index, Index]:
    """Distinct points of a grid, and the map of every point to its representative.

    Ocean models repeat columns where the grid closes and a row where it folds, up to rounding: points within 2e-6
    radians, and within a hundredth of the typical spacing, are duplicates. The first one is the representative.

    Parameters
    ----------
    xyz : [N, 3]
        Unit vectors.

    Returns
    -------
    first : int64 [V]
        Ascending.
    point : int64 [N]
        Places in ``first``.
    """
    # Exact copies first: a thousand points at a pole are a million pairs.
    _, once, copy = np.unique(xyz.round(9) + 0.0, axis=0, return_index=True, return_inverse=True)
    tree = tree_of(xyz[once])
    # The second neighbour: the first one may be a copy.
    spacing = np.median(tree.query(xyz[once], k=min(3, len(once)))[0][:, -1]) if len(once) > 1 else 0.0
    pairs = tree.query_pairs(min(_COPIES, 0.01 * spacing), output_type="ndarray")
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(len(once),) * 2)
    cluster = connected_components(links, directed=False)[1][copy.ravel()]
    first = np.unique(cluster, return_index=True)[1]
    order = np.argsort(first)
    return first[order].astype(np.int64), np.argsort(order)[cluster].astype(np.int64)


class PointSphere(SphereGrid):
    """Points on the unit sphere, such as model grids or stations; frames (south, east, outward).

    Parameters
    ----------
    xyz : [V, 3]
        Any length but zero; they are normalised.

    Raises
    ------
    InputError
        Not ``[V, 3]``, not finite, zero vectors, fewer than four points or two in the same place.

    Examples
    --------
    >>> sphere = icosahedral_sphere(2)
    >>> sphere.num_points, sphere.gauge_graph().num_edges, round(float(sphere.areas.sum() / np.pi), 6)
    (162, 960, 4.0)
    """

    _kind: type[DelaunayPoints] = DelaunayPoints

    def __init__(self, xyz: ArrayLike):
        points = np.array(xyz, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
            raise InputError(f"points have shape {points.shape}; give at least four rows x, y, z")
        length = np.linalg.norm(points, axis=1)
        if not (np.isfinite(length) & (length > 0)).all():
            bad = int((~(np.isfinite(length) & (length > 0))).argmax())
            raise InputError(f"point {bad} is {points[bad].tolist()}, it has no direction")
        self._xyz: Array = points / length[:, None]
        self._delaunay = self._kind(self.xyz, self.frames)  # says so of points in the same place

    @classmethod
    def from_lat_lon(cls, lat_deg: ArrayLike, lon_deg: ArrayLike) -> PointSphere:
        """Points at latitudes and longitudes ``[V]`` in degrees."""
        lat, lon = np.radians(np.asarray(lat_deg, np.float64)), np.radians(np.asarray(lon_deg, np.float64))
        if lat.ndim != 1 or lat.shape != lon.shape:
            raise InputError(f"latitudes have shape {lat.shape}, longitudes {lon.shape}; give one of each per point")
        if len(lat) and np.abs(lat).max() > np.pi / 2 + 1e-8:
            raise InputError(f"latitude {np.degrees(lat)[np.abs(lat).argmax()]:g} is out of -90..90 degrees")
        return cls(np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1))

    @property
    def xyz(self) -> Array:
        """Unit vectors, ``[V, 3]``."""
        return self._xyz

    @property
    def content(self) -> tuple[str | Array, ...]:
        return "points", self.xyz

    @property
    def spacing(self) -> float:
        """Typical distance of neighbours, radians."""
        return self._delaunay.spacing

    @property
    def reach(self) -> float:
        return self._delaunay.reach

    @property
    def triangles(self) -> Index:
        """Spherical Delaunay triangles ``[T, 3]``, counter-clockwise from outside; none spans a gap in the data."""
        return self._delaunay.triangles

    @functools.cached_property
    def areas(self) -> Array:  # type: ignore[override]
        """Voronoi cells on the unit sphere, ``[V]``; on the rim of a gap no larger than the largest elsewhere."""
        rim = self._delaunay.rim  # says so of points without triangles
        cells = self._delaunay.cells
        inner = cells[~rim]
        limit = inner.max() if len(inner) else np.pi * self.spacing**2 / 4
        return np.where(rim, np.minimum(cells, limit), cells)

    def locate(self, xyz: Array) -> Index:
        """Nearest point, whose Voronoi cell contains the unit vector, ``[N]``; -1 in gaps."""
        bound = 2 * np.sin(min(self._delaunay.reach / 2, np.pi / 2))
        # A k-d tree has no good order for far points: a bound is a thousand times faster.
        distance, index = self._delaunay.tree.query(xyz, distance_upper_bound=bound * (1 + 1e-9))
        return np.where(distance <= bound, index, -1)

    def interpolation(self, xyz: Array) -> tuple[Index, Array]:
        """Linear in the Delaunay triangle: three points and their weights, ``[N, 3]`` each.

        Outside of all triangles it is the nearest point; -1 and 0 in gaps.
        """
        nearest = self.locate(xyz)
        index = np.stack([nearest] * 3, axis=1)
        weight = np.stack([nearest >= 0, *[np.zeros(len(xyz), bool)] * 2], axis=1).astype(np.float64)
        faces = self.triangles
        middle = self.xyz[faces].sum(axis=1)
        tree = tree_of(middle / np.linalg.norm(middle, axis=1, keepdims=True))
        open_ = np.flatnonzero(nearest >= 0)
        for count in (4, 16, 64):
            if not len(open_) or not len(faces):
                break
            near = tree.query(xyz[open_], k=min(count, len(faces)))[1].reshape(len(open_), -1)
            # x = w_a a + w_b b + w_c c with weights that are not negative: the ray through x meets the triangle.
            solved = np.linalg.solve(self.xyz[faces[near]].transpose(0, 1, 3, 2), xyz[open_, None, :, None])[..., 0]
            best = solved.min(axis=2).argmax(axis=1)
            rows = np.arange(len(open_))
            w = solved[rows, best]
            inside = w.min(axis=1) >= -1e-9
            w = np.maximum(w[inside], 0)
            index[open_[inside]] = faces[near[rows, best]][inside]
            weight[open_[inside]] = w / w.sum(axis=1, keepdims=True)
            open_ = open_[~inside]
        return index, weight


class _Icosahedral(PointSphere):
    _kind = IcosahedralPoints


def icosahedral_sphere(level: int) -> PointSphere:
    """Icosahedral sphere: ``level`` subdivisions of the icosahedron, ``10 * 4**level + 2`` points."""
    if level < 0 or level > 9:
        raise InputError(f"level {level} is not between 0 and 9")
    g = (1 + 5**0.5) / 2
    base = [(s, t * g, 0.0) for s in (1, -1) for t in (1, -1)]
    points = np.array([p for x, y, z in base for p in ((x, y, z), (z, x, y), (y, z, x))])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    faces = ConvexHull(points).simplices.astype(np.int64)
    for _ in range(level):
        sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
        edges, index = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)
        middle = points[edges].sum(axis=1)
        ab, bc, ca = (len(points) + index.reshape(-1, 3)).T
        points = np.concatenate([points, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        a, b, c = faces.T
        faces = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return _Icosahedral(points)
