"""Delaunay triangulation of points on the sphere: neighbours, triangles and levels."""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.spatial import ConvexHull, QhullError

from meshconv.errors import InputError
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.frames import Array, Index, sphere_edges
from meshconv.geometry.sphere.graph import radius_graph, sphere_graph
from meshconv.geometry.sphere.point_hierarchy import independent_points, nearest_chosen
from meshconv.progress import waiting

# Number of points of an octahedron, the fewest that enclose the centre of the sphere.
_FEWEST = 6
# Largest distance of neighbours, in typical spacings; longer edges span a gap in the data.
_GAP = 4.0
# Closer points have no triangulation in float64.
SAME_PLACE = 1e-8
# Thickness of a plane of points in float32 to their extent; of a region of a kilometre it is 4e-5.
_FLAT = 1e-6


class DelaunayPoints:
    """Points on the sphere with their Delaunay triangulation.

    Parameters
    ----------
    xyz, frames : [V, 3], [V, 3, 3]

    Raises
    ------
    InputError
        Fewer than four points, or two in the same place.
    """

    def __init__(self, xyz: Array, frames: Array):
        if len(xyz) < 4:
            raise InputError(f"{len(xyz)} points are too few for a surface; give at least four")
        self.xyz, self.frames, self.tree = xyz, frames, tree_of(xyz)
        distance, other = self.tree.query(xyz, k=min(7, len(xyz)))
        if distance[:, 1].min() < SAME_PLACE:
            one = int(distance[:, 1].argmin())
            two = int(other[one, 0] if other[one, 0] != one else other[one, 1])
            raise InputError(f"points {min(one, two)} and {max(one, two)} are in the same place; drop one")
        # The sixth neighbour's distance is about that of neighbours on regular grids and random points alike.
        self.spacing = float(2 * np.arcsin(np.median(distance[:, -1]) / 2))

    @property
    def num_points(self) -> int:
        return len(self.xyz)

    @property
    def reach(self) -> float:
        """Largest distance of neighbours, radians; unbounded for few points."""
        return np.pi if self.num_points < 64 else min(_GAP * self.spacing, np.pi)

    @functools.cached_property
    def _hull(self) -> tuple[Index, Array]:
        """Faces of the convex hull, counter-clockwise from outside, and the directions of their empty circles.

        Returns
        -------
        faces : int64 [T, 3]
        centres : float64 [T, 3]
            Unit vectors; more than 90 degrees away from a face that spans more than a hemisphere.
        """
        flat = InputError(
            f"all {self.num_points} points lie on one circle, they have no cells; give points that cover an area"
        )
        extent = np.linalg.svd(self.xyz - self.xyz.mean(axis=0), compute_uv=False)
        if extent[2] < _FLAT * extent[0]:
            raise flat
        try:
            with waiting(f"triangles of {self.num_points:,} points"):
                hull = ConvexHull(self.xyz)
        except QhullError as error:
            raise flat from error
        faces, centres = hull.simplices.astype(np.int64), hull.equations[:, :3]
        a, b, c = self.xyz[faces.T]
        inward = np.einsum("ti,ti->t", np.cross(b - a, c - a), centres) < 0
        faces[inward] = faces[inward][:, ::-1]
        return faces, centres

    @functools.cached_property
    def triangles(self) -> Index:
        """Spherical Delaunay triangles ``[T, 3]``: faces of the convex hull, counter-clockwise from outside.

        Triangles whose circumcircle has a radius of more than twice the typical spacing span a gap in the data and are
        left out.
        """
        faces, centres = self._hull
        # A face's plane cuts its empty circle out of the sphere; its distance is the cosine of the circle's radius.
        return faces[np.einsum("ti,ti->t", self.xyz[faces[:, 0]], centres) >= np.cos(self.reach / 2) - 1e-12]

    @functools.cached_property
    def cells(self) -> Array:
        """Areas of the Voronoi cells on the unit sphere, ``[V]``; they add up to 4 pi.

        A cell is cut along the lines from its point to the corners, the centres of the empty circles of the faces
        around it, and to the middles of the edges. Parts beyond an edge, of obtuse faces, are negative.
        """
        faces, centres = self._hull
        areas = np.zeros(self.num_points)
        for k in range(3):
            at, left, right = (self.xyz[faces[:, j]] for j in (k, (k + 1) % 3, (k + 2) % 3))
            part = _signed_area(at, self._between(at, left), centres)
            part += _signed_area(at, centres, self._between(at, right))
            areas += np.bincount(faces[:, k], part, self.num_points)
        return areas

    def _between(self, a: Array, b: Array) -> Array:
        """Middles of edges; of an edge from a point to its antipode the one away from all points."""
        middle = a + b
        opposite = (np.abs(middle) < 1e-9).all(axis=-1)
        away = -self.xyz.mean(axis=0)
        middle[opposite] = away - a[opposite] * (a[opposite] @ away)[:, None]
        return middle

    @functools.cached_property
    def neighbours(self) -> tuple[Index, Index]:
        """Rows of neighbours: pointers ``[V + 1]`` and points, ascending in each row."""
        faces = self.triangles
        i, j = faces.ravel(), faces[:, [1, 2, 0]].ravel()
        both = np.concatenate([i, j]), np.concatenate([j, i])  # rims have each edge in one direction only
        rows = coo_array((np.ones(2 * len(i)), both), shape=(self.num_points,) * 2).tocsr()
        rows.sum_duplicates()
        return rows.indptr.astype(np.int64), rows.indices.astype(np.int64)

    @property
    def rim(self) -> np.ndarray:
        """Points next to a gap, or beyond all triangles, bool ``[V]``."""
        faces, count = self.triangles, self.num_points
        i, j = faces.ravel(), faces[:, [1, 2, 0]].ravel()
        edges, uses = np.unique(np.minimum(i, j) * count + np.maximum(i, j), return_counts=True)
        rim = np.ones(count, dtype=bool)
        rim[i] = False
        rim[np.concatenate([edges[uses == 1] // count, edges[uses == 1] % count])] = True
        return rim

    def graph(self, areas: Array, radius: float | None) -> GaugeGraph:
        """Neighbours by Delaunay, or all within a geodesic ``radius``."""
        if radius is not None:
            return radius_graph(self.xyz, self.frames, areas, radius)
        return sphere_graph(self.xyz, self.frames, areas, *self.neighbours, float(np.sqrt(areas.mean())))

    def hierarchy(self, areas: Array, num_levels: int, radius: float | None) -> Hierarchy:
        """Levels of about a quarter of the points each; see :meth:`SphereGrid.hierarchy`."""
        if num_levels < 1:
            raise InputError(f"a hierarchy has at least one level, not {num_levels}")
        fine = self
        levels, pools = [], []
        for level in range(num_levels):
            levels.append(fine.graph(areas, radius and radius * 2**level))
            if level == num_levels - 1:
                break
            chosen = fine.coarse_points()
            if len(chosen) < _FEWEST:
                raise InputError(
                    f"{self.num_points} points have no {num_levels} levels: {len(chosen)} are left on level "
                    f"{level + 1}; use {level + 1} levels"
                )
            parent = nearest_chosen(fine.xyz, *fine.neighbours, chosen)
            coarse = type(fine)(fine.xyz[chosen], fine.frames[chosen])
            own = np.arange(fine.num_points)
            edges = sphere_edges(fine.xyz, fine.frames, coarse.xyz, coarse.frames, own, parent)
            pools.append(Pooling.from_parents(parent, len(chosen), *edges))
            fine, areas = coarse, np.bincount(parent, areas).astype(np.float64)
        return Hierarchy(levels, pools)

    def coarse_points(self) -> Index:
        """Points of the next coarser level, ascending."""
        return independent_points(self.xyz, *self.neighbours)

    def surface_complex(self, areas: Array) -> SurfaceComplex:
        """Points and :attr:`triangles`, for the layers of exact vector calculus."""
        return SurfaceComplex.from_faces(self.graph(areas, None), self.triangles)


class IcosahedralPoints(DelaunayPoints):
    """Points of an icosahedral sphere: those of coarser spheres are first."""

    def coarse_points(self) -> Index:
        return np.arange((self.num_points - 2) // 4 + 2) if self.num_points > 12 else np.arange(0)


def subset(hierarchy: Hierarchy, points: Index) -> Hierarchy:
    """Subset of a hierarchy by points of its finest level."""
    mask = torch.zeros(hierarchy.num_vertices, dtype=torch.bool)
    mask[torch.from_numpy(points)] = True
    return hierarchy.subset(mask)


def _signed_area(a: Array, b: Array, c: Array) -> Array:
    """Areas of spherical triangles of vectors of any length, ``[T]``; negative where clockwise from outside."""
    a, b, c = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b, c))
    volume = np.einsum("ti,ti->t", a, np.cross(b, c))
    ab, bc, ca = (np.einsum("ti,ti->t", one, other) for one, other in ((a, b), (b, c), (c, a)))
    return 2 * np.arctan2(volume, 1 + ab + bc + ca)
