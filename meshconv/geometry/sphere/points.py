"""Any points on the sphere: neighbours by Delaunay or by distance, areas by Voronoi."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError, SphericalVoronoi, cKDTree

from meshconv.errors import InputError
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.sphere.frames import Array, Index, polar_frames, sphere_edges
from meshconv.geometry.sphere.graph import radius_graph, sphere_graph
from meshconv.geometry.sphere.point_hierarchy import independent_points, nearest_chosen

# Fewer points than those of an octahedron go round no sphere.
_FEWEST = 6
# Neighbours lie at most this many times the usual spacing apart; what is longer spans a gap in the data.
_GAP = 4.0
# Closer points have no triangulation in float64.
_SAME_PLACE = 1e-8
# Thickness of a plane of points in float32 to their extent; of a region of a kilometre it is 4e-5.
_FLAT = 1e-6
# Coordinates in float32, or one copy at 433 degrees and one at 73, put copies this far apart, 13 m on the Earth.
_COPIES = 2e-6


def distinct_points(xyz: Array) -> tuple[Index, Index]:
    """The points of a grid that are no copies of earlier ones, and for every point the one that stands for it.

    Ocean models repeat columns where the grid closes and a row where it folds, up to rounding: what lies within 2e-6
    radians of another point, and within a hundredth of the usual spacing, is a copy. The first counts.

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
    tree = cKDTree(xyz[once])
    # The second neighbour: the first one may be a copy.
    spacing = np.median(tree.query(xyz[once], k=min(3, len(once)))[0][:, -1]) if len(once) > 1 else 0.0
    pairs = tree.query_pairs(min(_COPIES, 0.01 * spacing), output_type="ndarray")
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(len(once),) * 2)
    cluster = connected_components(links, directed=False)[1][copy.ravel()]
    first = np.unique(cluster, return_index=True)[1]
    order = np.argsort(first)
    return first[order].astype(np.int64), np.argsort(order)[cluster].astype(np.int64)


class PointSphere:
    """Points on the unit sphere in any arrangement: model grids, stations, a region; frames (south, east, outward).

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

    def __init__(self, xyz: ArrayLike):
        points = np.array(xyz, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
            raise InputError(f"points have shape {points.shape}; give at least four rows x, y, z")
        length = np.linalg.norm(points, axis=1)
        if not (np.isfinite(length) & (length > 0)).all():
            bad = int((~(np.isfinite(length) & (length > 0))).argmax())
            raise InputError(f"point {bad} is {points[bad].tolist()}, it has no direction")
        self.xyz: Array = points / length[:, None]
        distance, other = self._tree.query(self.xyz, k=min(7, len(points)))
        if distance[:, 1].min() < _SAME_PLACE:
            one = int(distance[:, 1].argmin())
            two = int(other[one, 0] if other[one, 0] != one else other[one, 1])
            raise InputError(f"points {min(one, two)} and {max(one, two)} are in the same place; drop one")
        # The sixth neighbour's distance is about that of neighbours on regular grids and random points alike.
        self.spacing = float(2 * np.arcsin(np.median(distance[:, -1]) / 2))

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
    def num_points(self) -> int:
        return len(self.xyz)

    @functools.cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.xyz)

    @property
    def theta(self) -> Array:
        """Colatitude, radians ``[V]``."""
        return np.arctan2(np.hypot(self.xyz[:, 0], self.xyz[:, 1]), self.xyz[:, 2])

    @property
    def phi(self) -> Array:
        """Longitude, radians ``[V]``; 0 at a pole."""
        return np.arctan2(self.xyz[:, 1], self.xyz[:, 0])

    @property
    def frames(self) -> Array:
        """Rows (south, east, outward), ``[V, 3, 3]``; at a pole along the meridian 0."""
        return polar_frames(self.theta, self.phi)

    @functools.cached_property
    def triangles(self) -> Index:
        """Spherical Delaunay triangles ``[T, 3]``: faces of the convex hull, counter-clockwise from outside.

        Those whose empty circle has a radius over twice the usual spacing lie in a gap of the data and are left out.
        """
        flat = InputError(
            f"all {self.num_points} points lie on one circle, they have no cells; give points that cover an area"
        )
        extent = np.linalg.svd(self.xyz - self.xyz.mean(axis=0), compute_uv=False)
        if extent[2] < _FLAT * extent[0]:
            raise flat
        try:
            hull = ConvexHull(self.xyz)
        except QhullError as error:
            raise flat from error
        # A face's plane cuts its empty circle out of the sphere; -offset is the cosine of the circle's radius.
        faces = hull.simplices[-hull.equations[:, 3] >= np.cos(self._reach / 2) - 1e-12].astype(np.int64)
        a, b, c = self.xyz[faces.T]
        inward = np.einsum("ti,ti->t", np.cross(b - a, c - a), a + b + c) < 0
        faces[inward] = faces[inward][:, ::-1]
        return faces

    @property
    def _reach(self) -> float:
        """Longest distance of neighbours, radians; nothing is a gap where points are few."""
        return np.pi if self.num_points < 64 else min(_GAP * self.spacing, np.pi)

    @functools.cached_property
    def areas(self) -> Array:
        """Voronoi cells on the unit sphere, ``[V]``; on the rim of a gap no larger than the largest elsewhere."""
        faces = self.triangles  # says so where there are none
        cells = SphericalVoronoi(self.xyz, threshold=_SAME_PLACE).calculate_areas()
        i, j = faces.ravel(), faces[:, [1, 2, 0]].ravel()
        low, high, count = np.minimum(i, j), np.maximum(i, j), self.num_points
        edges, uses = np.unique(low * count + high, return_counts=True)
        rim = np.ones(count, dtype=bool)
        rim[i] = False
        rim[np.concatenate([edges[uses == 1] // count, edges[uses == 1] % count])] = True
        inner = cells[~rim]
        limit = inner.max() if len(inner) else np.pi * self.spacing**2 / 4
        return np.where(rim, np.minimum(cells, limit), cells)

    def gauge_graph(self, radius: float | None = None) -> GaugeGraph:
        """Delaunay neighbours, or all within a geodesic ``radius`` in radians; log map and transport in closed form.

        Returns
        -------
        GaugeGraph
            float64; lengths in radians. ``scale`` is the root of the mean area, or half of ``radius``.

        Raises
        ------
        ValueError
            A radius that is not between 0 and pi.
        """
        return self._graph(self.areas, radius)

    def _graph(self, areas: Array, radius: float | None) -> GaugeGraph:
        if radius is not None:
            return radius_graph(self.xyz, self.frames, areas, radius)
        return sphere_graph(self.xyz, self.frames, areas, *self._neighbours, float(np.sqrt(areas.mean())))

    @functools.cached_property
    def _neighbours(self) -> tuple[Index, Index]:
        """Rows of Delaunay neighbours: pointers ``[V + 1]`` and points, ascending in each row."""
        faces = self.triangles
        i, j = faces.ravel(), faces[:, [1, 2, 0]].ravel()
        both = np.concatenate([i, j]), np.concatenate([j, i])  # rims have each edge in one direction only
        rows = coo_array((np.ones(2 * len(i)), both), shape=(self.num_points,) * 2).tocsr()
        rows.sum_duplicates()
        return rows.indptr.astype(np.int64), rows.indices.astype(np.int64)

    def hierarchy(self, num_levels: int, radius: float | None = None) -> Hierarchy:
        """Levels of about a quarter of the points each, which are points of the level before.

        A coarse point stands for the points nearest to it, itself and some of its neighbours, seen along great circles.
        On every level neighbours are as in :meth:`gauge_graph`, and ``areas`` are sums over the clusters. The levels of
        :func:`icosahedral_sphere` are the icosahedral spheres it came from.

        Parameters
        ----------
        num_levels
        radius : float, optional
            Of the neighbourhoods on the finest level, radians; twice as far on each coarser one.

        Raises
        ------
        InputError
            Too few points for that many levels.

        Examples
        --------
        >>> [level.num_vertices for level in icosahedral_sphere(3).hierarchy(3).levels]
        [642, 162, 42]
        """
        if num_levels < 1:
            raise InputError(f"a hierarchy has at least one level, not {num_levels}")
        sphere, areas = self, self.areas
        levels, pools = [], []
        for level in range(num_levels):
            wide = radius and radius * 2**level
            levels.append(sphere._graph(areas, wide))
            if level == num_levels - 1:
                break
            chosen = sphere._coarse_points()
            if len(chosen) < _FEWEST:
                raise InputError(
                    f"{self.num_points} points have no {num_levels} levels: {len(chosen)} are left on level "
                    f"{level + 1}; use {level + 1} levels"
                )
            parent = nearest_chosen(sphere.xyz, *sphere._neighbours, chosen)
            coarse = sphere._coarser(chosen)
            own = np.arange(sphere.num_points)
            edges = sphere_edges(sphere.xyz, sphere.frames, coarse.xyz, coarse.frames, own, parent)
            pools.append(Pooling.from_parents(parent, len(chosen), *edges))
            sphere, areas = coarse, np.bincount(parent, areas).astype(np.float64)
        return Hierarchy(levels, pools)

    def _coarse_points(self) -> Index:
        """Points of the next coarser level, ascending."""
        return independent_points(self.xyz, *self._neighbours)

    def _coarser(self, chosen: Index) -> PointSphere:
        return PointSphere(self.xyz[chosen])

    def surface_complex(self) -> SurfaceComplex:
        """Points and :attr:`triangles`, for the layers of exact vector calculus."""
        return SurfaceComplex.from_faces(self.gauge_graph(), self.triangles)

    def locate(self, xyz: Array) -> Index:
        """Nearest point, whose Voronoi cell contains the unit vector, ``[N]``; -1 farther off than a gap."""
        distance, index = self._tree.query(xyz)
        return np.where(distance <= 2 * np.sin(min(self._reach / 2, np.pi / 2)), index, -1)

    def interpolation(self, xyz: Array) -> tuple[Index, Array]:
        """Linear in the Delaunay triangle: three points and their weights, ``[N, 3]`` each.

        Outside of all triangles the nearest point alone counts; -1 and 0 farther off than a gap.
        """
        nearest = self.locate(xyz)
        index = np.stack([nearest] * 3, axis=1)
        weight = np.stack([nearest >= 0, *[np.zeros(len(xyz), bool)] * 2], axis=1).astype(np.float64)
        faces = self.triangles
        middle = self.xyz[faces].sum(axis=1)
        tree = cKDTree(middle / np.linalg.norm(middle, axis=1, keepdims=True))
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
    """The points of the spheres it was subdivided from come first."""

    def _coarse_points(self) -> Index:
        return np.arange((self.num_points - 2) // 4 + 2) if self.num_points > 12 else np.arange(0)

    def _coarser(self, chosen: Index) -> PointSphere:
        return _Icosahedral(self.xyz[chosen])


def icosahedral_sphere(level: int) -> PointSphere:
    """The icosahedron, every triangle cut in four ``level`` times: ``10 * 4**level + 2`` points."""
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
