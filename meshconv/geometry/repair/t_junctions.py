"""T-junctions and cracks: vertices on the inside of open edges, and the faces split there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray, dot
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.repair.defects import WIDE, BoolArray, duplicates, edge_faces, places, repeated_corners

# A vertex lies on an edge up to this distance, in units of the shorter of length and height of the faces on both sides.
_ON_EDGE = 1e-3
# The same where a whole edge faces a chain of others from end to end: cracks of curved surfaces are this wide.
_ON_CHAIN = 0.1
# Faces whose directions from their common edge have a larger cosine lie on each other.
_FOLDED = 1 - 1e-6
# Pieces of edges with more vertices around them are halved, down to the distance that counts as near.
_FEW = 16


class TJunctions(NamedTuple):
    """Vertices on the inside of open half-edges.

    Attributes
    ----------
    half_edge : int64 [N]
        ``3 f + k`` runs from corner ``k`` of face ``f`` to the next one; ascending.
    vertex : int64 [N]
        In the order along their half-edge.
    """

    half_edge: IntArray
    vertex: IntArray


def t_junctions(points: FloatArray, faces: IntArray) -> TJunctions:
    r"""Vertices on the inside of open edges, where the edges on the other side end.

    An edge is open if one face has it; vertices in the same place count as one. A vertex lies on it within
    :math:`10^{-3}\min(l, h)`, with the lengths l of the edges and the heights h of the faces on both sides. It is a
    T-junction if, with all such edges split, a part of the edge that ends there is also a part of exactly one other
    open edge: the two faces there are neighbours. Edges that merely pass a vertex are none, nor are
    those of faces that lie on each other. Where all parts of an edge are whole open edges of others, a chain from one
    end to the other, 0.1 takes the place of :math:`10^{-3}`: subdivision that puts new vertices on a curved surface
    leaves such cracks.

    Parameters
    ----------
    points : float64 [V, 3]
        Of a size near 1, so that squares stay in range.
    faces : int64 [F, 3]

    Returns
    -------
    TJunctions

    Notes
    -----
    Vertices near edges are searched for in a tree of the open vertices, :math:`O(n \log n)`.
    ``tests/test_t_junctions.py`` checks known numbers, boundaries without any, and that none is left after repair.

    Examples
    --------
    >>> points = np.array([[0.0, 0, 0], [2, 0, 0], [1, 2, 0], [1, 0, 0], [1, -2, 0]])
    >>> t_junctions(points, np.array([[0, 1, 2], [0, 4, 3], [3, 4, 1]]))
    TJunctions(half_edge=array([0]), vertex=array([3]))
    """
    edges = _open_edges(points, faces)
    if len(edges.half_edge) == 0:
        return TJunctions(edges.half_edge, edges.half_edge)
    near = _near(points, edges)
    found = [_lying_on(points, edges, near, share, whole) for share, whole in ((_ON_EDGE, False), (_ON_CHAIN, True))]
    # Chains only on edges without any other.
    own = ~np.isin(found[1].half_edge, found[0].half_edge)
    half_edge = np.concatenate([found[0].half_edge, found[1].half_edge[own]])
    order = np.argsort(half_edge, kind="stable")
    return TJunctions(half_edge[order], np.concatenate([found[0].vertex, found[1].vertex[own]])[order])


def split_faces(faces: IntArray, found: TJunctions) -> tuple[IntArray, IntArray]:
    """Faces split at T-junctions, at most along one edge each: fans around the opposite corner.

    Returns
    -------
    faces : int64 [F1, 3]
        Parts of a face stand in its place; the others are unchanged.
    face_from : int64 [F1]
    """
    face = found.half_edge // 3
    # The first half-edge of each face.
    first = np.full(len(faces), -1)
    first[face[::-1]] = found.half_edge[::-1]
    taken = first[face] == found.half_edge
    half_edge, vertex, face = found.half_edge[taken], found.vertex[taken], face[taken]
    parts = 1 + np.bincount(face, minlength=len(faces))
    face_from = np.repeat(np.arange(len(faces)), parts)
    last = np.cumsum(parts) - 1
    # From the split edge on: parts differ in their first two corners.
    side = np.where(first >= 0, first % 3, 0)
    rows = np.arange(len(faces))
    turned = np.stack([faces[rows, (side + k) % 3] for k in range(3)], axis=1)
    result = turned[face_from]
    place = (last - parts + 1)[face] + _rank(half_edge)
    result[place, 1] = vertex
    result[place + 1, 0] = vertex
    result[last[first < 0]] = faces[first < 0]
    return result, face_from


class _OpenEdges(NamedTuple):
    """Half-edges with one face, vertices in the same place being one.

    ``corners [E, 3]`` are origin, tip and the opposite corner, as the lowest vertex in their place; ``vertex [V]`` is
    an end of an open edge in each place; ``size [E]`` the shorter of length and height, ``side [E, 3]`` the direction
    of the face.
    """

    half_edge: IntArray
    corners: IntArray
    vertex: IntArray
    size: FloatArray
    side: FloatArray

    def segments(self, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Origin, vector to the tip, and its length."""
        start = points[self.corners[:, 0]]
        along = points[self.corners[:, 1]] - start
        return start, along, np.sqrt(dot(along, along))


def _open_edges(points: FloatArray, faces: IntArray) -> _OpenEdges:
    place = places(points)
    there = place[faces]
    usable = np.flatnonzero(~repeated_corners(there))
    usable = usable[~duplicates(there[usable])]
    single = edge_faces(there[usable], len(points)).single
    face, side = usable[single // 3], single % 3
    corners = np.stack([there[face, (side + k) % 3] for k in range(3)], axis=1)
    along, to_face = (points[corners[:, k]] - points[corners[:, 0]] for k in (1, 2))
    square = dot(along, along)
    up = to_face - (dot(along, to_face) / square)[:, None] * along
    length, height = np.sqrt(square), np.sqrt(dot(up, up))
    kept = height > WIDE * length
    half_edge, corners = (3 * face + side)[kept], corners[kept]
    size, up = np.minimum(length, height)[kept], (up / np.where(kept, height, 1.0)[:, None])[kept]
    vertex = place.copy()
    vertex[corners[:, 0]] = faces.ravel()[half_edge]
    vertex[corners[:, 1]] = faces[:, [1, 2, 0]].ravel()[half_edge]
    return _OpenEdges(half_edge, corners, vertex, size, up)


def _lying_on(
    points: FloatArray, edges: _OpenEdges, near: tuple[IntArray, IntArray], share: float, whole: bool
) -> TJunctions:
    """T-junctions within ``share`` of the edges' sizes; ``whole``: only chains from end to end."""
    edge, vertex = near
    start, along, length = edges.segments(points)
    offset = points[vertex] - start[edge]
    where = dot(offset, along[edge]) / length[edge]
    apart = offset - (where / length[edge])[:, None] * along[edge]
    distance = np.sqrt(dot(apart, apart))
    reach = share * edges.size[edge]
    on = (distance <= reach) & (where > reach) & (length[edge] - where > reach)
    on &= (vertex[:, None] != edges.corners[edge]).all(axis=1)
    if not on.any():
        return TJunctions(np.empty(0, np.int64), np.empty(0, np.int64))
    edge, vertex, where, distance = edge[on], vertex[on], where[on], distance[on]

    # All edges as chains of nodes: origin, what lies on it, tip.
    every = np.arange(len(edges.half_edge))
    owner = np.concatenate([every, edge, every])
    node = np.concatenate([edges.corners[:, 0], vertex, edges.corners[:, 1]])
    order = np.lexsort((np.concatenate([0 * length, where, length]), owner))
    owner, node = owner[order], node[order]
    off = np.concatenate([0 * length, distance, 0 * length])[order]
    goes_on = owner[1:] == owner[:-1]
    part = np.flatnonzero(goes_on)
    other = _partners(node[part], node[part + 1], owner[part], edges)
    partner = np.full(len(node), -1)
    partner[part] = other
    inside = 1 + np.flatnonzero(goes_on[1:] & goes_on[:-1])
    after, before = partner[inside], partner[inside - 1]
    close = [(p >= 0) & (off[inside] <= share * edges.size[p]) for p in (after, before)]
    if whole:
        pieces = np.bincount(owner[part], minlength=len(every))
        met = np.bincount(owner[part[other >= 0]], minlength=len(every))
        plain = np.ones(len(every), dtype=bool)
        plain[edge] = False
        kept = close[0] & close[1] & plain[after] & plain[before]
        good = np.bincount(owner[inside[kept]], minlength=len(every)) == pieces - 1
        kept = (good & (met == pieces))[owner[inside]]
    else:
        kept = close[0] | close[1]
    return TJunctions(edges.half_edge[owner[inside[kept]]], edges.vertex[node[inside[kept]]])


def _partners(a: IntArray, b: IntArray, owner: IntArray, edges: _OpenEdges) -> IntArray:
    """The edge of which each part ``a`` - ``b`` of an edge is a part too; -1 where none is, or several, or one folded
    onto it."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((high, low))
    new = np.append(True, (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0))[: len(order)]
    start = np.flatnonzero(new)
    start = start[np.diff(start, append=len(order)) == 2]
    one, two = order[start], order[start + 1]
    apart = dot(edges.side[owner[one]], edges.side[owner[two]]) < _FOLDED
    apart &= owner[one] != owner[two]
    partner = np.full(len(a), -1)
    partner[one[apart]], partner[two[apart]] = owner[two[apart]], owner[one[apart]]
    return partner


def _near(points: FloatArray, edges: _OpenEdges) -> tuple[IntArray, IntArray]:
    """Pairs of open edge and open vertex, among them all that may lie on each other."""
    vertex = np.unique(edges.corners[:, :2])
    tree = tree_of(points[vertex])
    start, along, length = edges.segments(points)
    edge, rank = np.arange(len(start)), np.zeros(len(start))
    pairs: list[tuple[IntArray, IntArray]] = []
    step = 1.0
    while len(edge):
        centre = start[edge] + ((rank + 0.5) * step)[:, None] * along[edge]
        half, reach = 0.5 * step * length[edge], 2 * _ON_CHAIN * edges.size[edge]
        count = np.asarray(tree.query_ball_point(centre, half + reach, return_length=True))
        few: BoolArray = (count <= _FEW) | (half <= reach)
        # A whole edge has its own ends.
        some = few & (count > (2 if step == 1 else 0))
        if some.any():
            found = tree.query_ball_point(centre[some], (half + reach)[some])
            rows = np.concatenate([np.asarray(row, np.int64) for row in found])
            pairs.append((np.repeat(edge[some], count[some]), vertex[rows]))
        edge, rank, step = np.repeat(edge[~few], 2), np.repeat(2 * rank[~few], 2), step / 2
        rank[1::2] += 1
    if not pairs:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    both = np.concatenate([np.stack(pair, axis=1) for pair in pairs])
    both = np.unique(both, axis=0)
    return both[:, 0], both[:, 1]


def _rank(groups: IntArray) -> IntArray:
    """Place of each entry in its group; equal ones stand together."""
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(first, np.diff(first, append=len(groups)))
