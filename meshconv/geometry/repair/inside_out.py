"""Closed parts of a surface that are inside out, with parts inside others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.ops.surface import signed_volume

BoolArray = NDArray[np.bool_]

# A volume below this share of its bounding box's diagonal cubed has no sign: the part is flat, or balanced.
_FLAT = 1e-9
# Number of parts above which boxes are not compared first.
_MOST_BOXES = 20_000
# Pairs of a point and a face looked at together, and at most: beyond that no part is taken to lie inside another.
_BLOCK, _MOST_PAIRS = 2**20, 2**28
# The ray is along no axis, since edges and corners of real meshes are aligned with axes.
_TILT = np.linalg.qr(np.array([[3.0, 1.0, -2.0], [0.7, 2.9, 1.3], [1.9, -0.6, 2.3]]))[0]


class InsideOut(NamedTuple):
    """Faces of the parts to turn, bool ``[F]``, and how many parts these are."""

    faces: BoolArray
    parts: int


def inside_out(points: FloatArray, half_edges: HalfEdges) -> InsideOut:
    """Find the closed parts whose normals point inward and should not.

    A part is a component connected across edges; one with an open or non-manifold edge has no inside and is skipped.

    - Outside of all others, and in a cavity of another, its normals should point outward (its signed volume is
      positive).
    - In the material of another both can be right and it is kept as it is: inward, it bounds a cavity; outward, it is
      a body in a body, as eyes are in a head. If what it lies in is turned, it should point inward: then the whole is
      a shell that was written inside out.

    Parameters
    ----------
    points : float64 [V, 3]
    half_edges : HalfEdges
        Of faces that agree with their neighbours.

    Notes
    -----
    A part lies in another if the other winds round one of its vertices: faces crossed by a ray from there, counted by
    the side they are crossed from, do not sum to zero.
    """
    faces, twin = half_edges.faces, half_edges.twin
    nothing = InsideOut(np.zeros(len(faces), dtype=bool), 0)
    if len(faces) == 0:
        return nothing
    part, count = _parts(twin)
    if count == 1:  # as nearly always
        turn = half_edges.is_closed and signed_volume(points, faces) < -_FLAT
        return InsideOut(np.full(len(faces), turn), int(turn))
    closed = np.ones(count, dtype=bool)
    closed[part[np.flatnonzero(twin < 0) // 3]] = False
    if not closed.any():
        return nothing
    boxes, volume = _measure(points, faces, part, count)
    diagonal = np.sqrt(((boxes[1] - boxes[0]) ** 2).sum(axis=1))
    sign = np.where(closed & (np.abs(volume) > _FLAT * diagonal**3), np.sign(volume), 0).astype(np.int64)
    turned = sign < 0
    if turned.any():
        inner, outer = _inside(points, faces, part, boxes, sign)
        turned = _decide(sign, inner, outer)
    return InsideOut(turned[part], int(turned.sum()))


def _parts(twin: IntArray) -> tuple[IntArray, int]:
    """Part of each face. Neighbours are mutual, so that strongly connected is connected, and rows need no sorting."""
    num_faces = len(twin) // 3
    own = np.arange(num_faces)
    neighbour = np.where(twin < 0, np.repeat(own, 3), twin // 3).astype(np.int32)
    rows = np.arange(0, len(twin) + 1, 3, dtype=np.int32)
    graph = csr_array((np.ones(len(twin)), neighbour, rows), shape=(num_faces, num_faces))
    if len(breadth_first_order(graph, 0, return_predecessors=False)) == num_faces:  # a fraction of the work
        return np.zeros(num_faces, dtype=np.int64), 1
    count, part = connected_components(graph, directed=True, connection="strong")
    return part.astype(np.int64), count


def _measure(points: FloatArray, faces: IntArray, part: IntArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest corner of each part's box, ``[2, count, 3]``, and its signed volume, ``[count]``."""
    corner = points[faces]
    order = np.argsort(part, kind="stable")
    starts = np.searchsorted(part[order], np.arange(count))
    low = np.minimum.reduceat(corner.min(axis=1)[order], starts)
    high = np.maximum.reduceat(corner.max(axis=1)[order], starts)
    # From the middle of the part: far away the terms would cancel.
    corner -= (low / 2 + high / 2)[part][:, None]
    a, b, c = corner.transpose(1, 0, 2)
    volume = np.bincount(part, weights=np.einsum("ij,ij->i", a, np.cross(b, c)), minlength=count) / 6
    return np.stack([low, high]), volume


def _decide(sign: IntArray, inner: IntArray, outer: IntArray) -> BoolArray:
    """Which parts to turn, from the outermost to the innermost; ``inner[k]`` lies in ``outer[k]``."""
    turned = sign < 0
    depth = np.bincount(inner, minlength=len(sign))
    for p in np.flatnonzero((depth > 0) & (sign != 0))[np.argsort(depth[(depth > 0) & (sign != 0)], kind="stable")]:
        around = outer[inner == p]
        winding = np.where(turned[around], -sign[around], sign[around]).sum()
        parent = around[depth[around].argmax()]
        if winding > 0:
            turned[p] = turned[parent] and sign[p] > 0
    return turned


def _inside(
    points: FloatArray, faces: IntArray, part: IntArray, boxes: FloatArray, sign: IntArray
) -> tuple[IntArray, IntArray]:
    """Pairs of parts of which the first lies in the second."""
    solid = np.flatnonzero(sign)
    holds = np.zeros(len(sign), dtype=bool)
    holds[solid] = _holds_a_box(boxes[:, solid]) if len(solid) <= _MOST_BOXES else True
    face = np.flatnonzero(holds[part])
    first = np.full(len(sign), -1)
    first[part[::-1]] = faces[::-1, 0]
    tilted = points @ _TILT.T
    seeds = tilted[first[solid]]
    order = np.argsort(seeds[:, 0])
    seeds, solid = seeds[order], solid[order]
    corner = tilted[faces[face]]
    begin = np.searchsorted(seeds[:, 0], corner[:, :, 0].min(axis=1))
    size = np.searchsorted(seeds[:, 0], corner[:, :, 0].max(axis=1), side="right") - begin
    low, high, top = corner[:, :, 1].min(axis=1), corner[:, :, 1].max(axis=1), corner[:, :, 2].max(axis=1)
    total = int(size.sum())
    pairs: list[IntArray] = []
    crossings: list[IntArray] = []
    if total <= _MOST_PAIRS:
        ends = np.cumsum(size)
        for stop in range(_BLOCK, total + _BLOCK + 1, _BLOCK):
            among = np.arange(*np.searchsorted(ends, [stop - _BLOCK, stop]))
            row = np.repeat(among, size[among])
            seed = np.arange(len(row)) - np.repeat(np.cumsum(size[among]) - size[among], size[among]) + begin[row]
            y, z = seeds[seed, 1], seeds[seed, 2]
            near = (low[row] <= y) & (y <= high[row]) & (z <= top[row]) & (part[face[row]] != solid[seed])
            seed, row = seed[near], row[near]
            pairs.append(solid[seed] * len(sign) + part[face[row]])
            crossings.append(_crossings(seeds[seed], corner[row], faces[face[row]]))
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys, place = np.unique(np.concatenate(pairs), return_inverse=True)
    winding = np.bincount(place, weights=np.concatenate(crossings), minlength=len(keys))
    inner, outer = np.divmod(keys[np.abs(winding) > 0.5], len(sign))
    # Of two in the same place neither lies in the other.
    within = ((boxes[0, inner] > boxes[0, outer]) & (boxes[1, inner] < boxes[1, outer])).all(axis=1)
    return inner[within], outer[within]


def _holds_a_box(boxes: FloatArray) -> BoolArray:
    low, high = boxes
    holds = np.zeros(len(low), dtype=bool)
    for i in range(0, len(low), 512):
        some = slice(i, i + 512)
        within = np.ones((len(low), len(low[some])), dtype=bool)
        for axis in range(3):
            within &= low[:, axis, None] > low[some, axis]
            within &= high[:, axis, None] < high[some, axis]
        holds[some] = within.any(axis=0)
    return holds


def _crossings(seed: FloatArray, corner: FloatArray, face: IntArray) -> IntArray:
    """1 where the ray upward from a point leaves through a face, -1 where it enters, else 0."""
    relative = corner - seed[:, None]
    left = np.empty((len(seed), 3), dtype=bool)
    for k in range(3):
        # The same number for both faces of an edge, whatever rounding does to it.
        low = np.where(face[:, k] < face[:, (k + 1) % 3], k, (k + 1) % 3)
        rows = np.arange(len(seed))
        p, q = relative[rows, low], relative[rows, k + (k + 1) % 3 - low]
        left[:, k] = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0] > 0) ^ (low != k)
    up, down = left.all(axis=1), ~left.any(axis=1)
    a, b, c = relative.transpose(1, 0, 2)
    above = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) > 0
    return (up & above).astype(np.int64) - (down & ~above).astype(np.int64)
