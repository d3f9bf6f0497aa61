"""Defects of meshes: a mask or the places of each kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.ops.surface import face_geometry

BoolArray = NDArray[np.bool_]

# A face lower than this, in units of its longest edge, is a line to within rounding.
_FLAT = 1e-15

# Faces whose angles are all larger, in radians, are far from flat, and none of their edges has length zero.
WIDE = 1e-6


def repeated_corners(faces: IntArray) -> BoolArray:
    """Faces with a repeated vertex, bool ``[F]``."""
    a, b, c = faces.T
    return (a == b) | (b == c) | (c == a)


def duplicates(faces: IntArray) -> BoolArray:
    """All but the first of the faces on the same three vertices in any order, bool ``[F]``."""
    low, middle, high = np.sort(faces, axis=1).T
    order = np.lexsort((high, middle, low))
    same = np.zeros(len(faces), dtype=bool)
    same[order[1:]] = np.logical_and.reduce([a[order[1:]] == a[order[:-1]] for a in (low, middle, high)])
    return same


def zero_edges(points: FloatArray, faces: IntArray) -> BoolArray:
    """Edges from each corner to the next one whose ends are in the same place, bool ``[F, 3]``."""
    corner = points[faces]
    return (corner == corner[:, [1, 2, 0]]).all(axis=2)


def flat_faces(points: FloatArray, faces: IntArray) -> BoolArray:
    """Faces without area: their corners lie on a line or a point to within rounding, bool ``[F]``."""
    angles, _, areas = face_geometry(points, faces)
    flat = (np.minimum(np.minimum(*angles.T[:2]), angles[:, 2]) <= WIDE) | ~(areas > 0)
    flat[flat] = _height_vanishes(points, faces[flat])
    return flat


def _height_vanishes(points: FloatArray, faces: IntArray) -> BoolArray:
    corner = points[faces]
    edge = corner[:, [1, 2, 0]] - corner
    # The height over the longest edge, from the two shorter ones: no cancellation.
    longest = (edge**2).sum(axis=2).max(axis=1)
    k = (edge**2).sum(axis=2).argmax(axis=1)
    rows = np.arange(len(faces))
    normal = np.cross(edge[rows, (k + 1) % 3], edge[rows, (k + 2) % 3])
    return (normal**2).sum(axis=1) <= (_FLAT * longest) ** 2


def places(points: FloatArray) -> IntArray:
    """Lowest vertex with the same coordinates as each vertex, int64 ``[V]``."""
    key = points + 0.0  # -0.0 becomes 0.0
    order = np.lexsort(key.T)
    new = np.append(True, (key[order][1:] != key[order][:-1]).any(axis=1))[: len(points)]
    place = np.empty(len(points), dtype=np.int64)
    place[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    return place


class EdgeFaces(NamedTuple):
    """Half-edges grouped by undirected edge: those of edge ``e`` are ``order[start[e] : start[e] + size[e]]``."""

    order: IntArray
    start: IntArray
    size: IntArray

    @property
    def of_half_edge(self) -> IntArray:
        """Edge of each half-edge, int64 ``[3 F]``."""
        edge = np.empty(len(self.order), dtype=np.int64)
        edge[self.order] = np.repeat(np.arange(len(self.size)), self.size)
        return edge

    @property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """The two half-edges of every edge with exactly two faces."""
        start = self.start[self.size == 2]
        return self.order[start], self.order[start + 1]

    @property
    def single(self) -> IntArray:
        """The half-edge of every edge with one face."""
        return self.order[self.start[self.size == 1]]


def edge_faces(faces: IntArray, num_vertices: int) -> EdgeFaces:
    """Group the half-edges of faces without repeated corners."""
    origin, tip = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    key = np.minimum(origin, tip) * num_vertices + np.maximum(origin, tip)
    order = np.argsort(key, kind="stable")
    start = np.flatnonzero(np.diff(key[order], prepend=-1))
    return EdgeFaces(order, start, np.diff(start, append=len(key)))


def flaps(faces: IntArray, num_vertices: int) -> BoolArray:
    """Pairs of faces on the same vertices that are attached to a surface by one edge, bool ``[F]``.

    Mesh simplification creates them. Without both the surface continues across that edge; with one of them it would be
    a third face there.
    """
    copies = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    is_pair = copies[2][copies[1].reshape(-1)] == 2
    if not is_pair.any():
        return is_pair
    edges = edge_faces(faces, num_vertices)
    edge = edges.of_half_edge.reshape(-1, 3)
    others = np.bincount(edge[~is_pair].ravel(), minlength=len(edges.size))
    at_edge = np.sort(edges.size[edge], axis=1)
    return is_pair & (at_edge == [2, 2, 4]).all(axis=1) & (others[edge].max(axis=1) == 2)


def corner_fans(faces: IntArray, edges: EdgeFaces) -> IntArray:
    """Number of the fan that each corner belongs to, int64 ``[3 F]``.

    Corners at a vertex are in one fan if faces lead from one to the other across edges with exactly two faces.
    """
    one, two = edges.pairs
    origin, tip = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    following_one, following_two = HalfEdges.next(one), HalfEdges.next(two)
    opposite = origin[one] == tip[two]
    # Corner of either face at both ends of their edge, whichever way the faces run along it.
    at_origin = np.where(opposite, following_two, two)
    at_tip = np.where(opposite, two, following_two)
    return linked(np.concatenate([one, following_one]), np.concatenate([at_origin, at_tip]), faces.size)


def open_seams(place: IntArray, faces: IntArray, edges: EdgeFaces) -> tuple[IntArray, IntArray]:
    """Pairs of open half-edges that lie on each other, so that welding them closes the surface.

    Three or more in one place are ambiguous, and the sheets of a doubled face are meant to be two: both are left out.
    """
    single = edges.single
    there = place[faces]
    a, b = there.ravel()[single], there[:, [1, 2, 0]].ravel()[single]
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((high, low))
    new = np.append(True, (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0))[: len(order)]
    start = np.flatnonzero(new)
    start = start[np.diff(start, append=len(order)) == 2]
    one, two = single[order[start]], single[order[start + 1]]
    corner = np.sort(there, axis=1)
    proper = (low[order[start]] != high[order[start]]) & (corner[one // 3] != corner[two // 3]).any(axis=1)
    return one[proper], two[proper]


def linked(a: IntArray, b: IntArray, size: int) -> IntArray:
    """Component of each of ``size`` nodes joined by links ``a`` - ``b``, numbered by their lowest node."""
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(size, size)).tocsr()
    return connected_components(graph, directed=False)[1].astype(np.int64)
