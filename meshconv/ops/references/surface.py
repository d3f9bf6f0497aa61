"""References of the operators on triangle meshes, in numpy: connectivity, angles, frames, transport along edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
VertexGeometry = tuple[
    IntArray, FloatArray, FloatArray, FloatArray, BoolArray, BoolArray, FloatArray, FloatArray
]  # see vertex_geometry


def dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Inner product along the last axis."""
    return np.einsum("...i,...i->...", a, b)


def sum_at(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sum of the ``values`` that go to each of ``size`` places, in a fixed order."""
    return np.asarray(np.bincount(index, weights=values, minlength=size), dtype=np.float64)


def wrap_angle(angle: FloatArray) -> FloatArray:
    return angle - 2 * np.pi * np.round(angle / (2 * np.pi))


def following(half_edge: IntArray) -> IntArray:
    return half_edge + np.where(half_edge % 3 == 2, -2, 1)


def half_edges(
    faces: IntArray, num_vertices: int
) -> tuple[IntArray, IntArray, BoolArray, IntArray, IntArray, bool]:
    origin, tip = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    key = np.minimum(origin, tip) * num_vertices + np.maximum(origin, tip)
    order = np.argsort(key, kind="stable")
    order = order[(origin != tip)[order]]
    key = key[order]
    start = np.flatnonzero(np.diff(key, prepend=-1))
    count = np.diff(start, append=len(key))
    first = order[start]
    second = order[np.minimum(start + 1, len(key) - 1)] if len(key) else first
    matched = (count == 2) & (origin[first] == tip[second])
    twin = np.full(len(origin), -1, dtype=np.int64)
    twin[first[matched]] = second[matched]
    twin[second[matched]] = first[matched]
    bad = first[~matched & (count > 1)]
    irregular = np.zeros(num_vertices, dtype=bool)
    irregular[origin[bad]] = irregular[tip[bad]] = True
    ptr = np.append(0, np.cumsum(np.bincount(origin, minlength=num_vertices)))
    corners = np.sort(faces, axis=1)
    corners = corners[np.lexsort(corners.T)]
    same = (corners[1:] == corners[:-1]).all(axis=1)
    proper = not ((corners[:, 1:] == corners[:, :-1]).any() or same.any())
    return twin, first, irregular, ptr, np.argsort(origin, kind="stable"), proper


def signed_volume(points: FloatArray, faces: IntArray) -> float:
    a, b, c = (points - points.mean(axis=0))[faces.T]
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6


def face_geometry(points: FloatArray, faces: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    corner = points[faces]
    edge = corner[:, [1, 2, 0]] - corner
    angles = np.empty(faces.shape)
    for k in range(3):
        u, v = edge[:, k], -edge[:, k - 1]
        normal = np.cross(u, v)
        angles[:, k] = np.arctan2(np.sqrt(dot(normal, normal)), dot(u, v))
    zero = (edge == 0).all(axis=2)
    if zero.any():
        touching = zero | zero[:, [2, 0, 1]]
        angles[touching] = np.pi / 2
        angles[zero.any(axis=1)[:, None] & ~touching] = 0.0
        angles[zero.all(axis=1)] = np.pi / 3
    vectors = 0.5 * np.cross(edge[:, 0], -edge[:, 2])
    areas = np.sqrt(dot(vectors, vectors))
    return angles, vectors / np.where(areas > 0, areas, 1.0)[:, None], areas


def vertex_geometry(
    twin: IntArray,
    irregular: BoolArray,
    ptr: IntArray,
    outgoing: IntArray,
    corner: FloatArray,
    face_normal: FloatArray,
    face_area: FloatArray,
) -> VertexGeometry:
    h, v = len(twin), len(ptr) - 1
    num_corners = np.diff(ptr)
    origin = np.empty(h, dtype=np.int64)
    origin[outgoing] = np.repeat(np.arange(v), num_corners)
    ids = np.arange(h)
    total = sum_at(origin, corner, v)

    # Of several values assigned to one place the last one stays: reversed, that is the lowest number.
    reference = np.full(v, -1, dtype=np.int64)
    reference[origin[::-1]] = ids[::-1]
    unpaired = np.flatnonzero(twin < 0)[::-1]
    reference[origin[unpaired]] = unpaired
    num_starts = np.bincount(origin[unpaired], minlength=v)

    # A fan is a linked list (the counter-clockwise predecessor of a half-edge is the one after its twin); pointer
    # doubling sums all lists at once in log2(largest number of corners) rounds.
    pointer = np.append(following(twin), h)
    pointer[unpaired] = h
    pointer[reference[(num_corners > 0) & (num_starts == 0)]] = h
    angle = np.append(corner, 0.0)[pointer]
    for _ in range(int(num_corners.max(initial=0)).bit_length()):
        angle += angle[pointer]
        pointer = pointer[pointer]

    regular = (num_corners > 0) & (total > 0) & (num_starts <= 1) & ~irregular
    regular[origin[pointer[:h] != h]] = False
    is_boundary = num_starts > 0
    scale = np.where(is_boundary, np.pi, 2 * np.pi) / np.where(total > 0, total, 1.0)
    normals, areas = _vertex_normals(face_normal, face_area, corner, ptr, outgoing)
    return reference, angle[:h], total, scale, regular, is_boundary, normals, areas


def _vertex_normals(
    unit: FloatArray, area: FloatArray, corner: FloatArray, ptr: IntArray, outgoing: IntArray
) -> tuple[FloatArray, FloatArray]:
    v = len(ptr) - 1
    vertex = np.repeat(np.arange(v), np.diff(ptr))
    face = outgoing // 3
    weighted = corner[outgoing, None] * unit[face]
    total = np.stack([sum_at(vertex, w, v) for w in weighted.T], axis=1)
    norm = np.sqrt(dot(total, total))
    lost = np.flatnonzero(norm < 1e-12)
    if len(lost):
        stand_in = np.tile([0.0, 0.0, 1.0], (v, 1))
        solid = area[face] > 0
        stand_in[vertex[solid]] = unit[face[solid]]
        total[lost] = stand_in[lost]
        norm[lost] = 1.0
    return total / norm[:, None], sum_at(vertex, area[face] / 3, v)


def one_ring(
    faces: IntArray, twin: IntArray, edge: IntArray, corner: FloatArray, fan_angle: FloatArray, scale: FloatArray
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    corner = corner.ravel()
    origin, after, twin = faces.ravel(), following(edge), twin[edge]
    i, j = origin[edge], origin[after]
    # On a boundary j -> i is no half-edge of a face: it closes the fan of j, one corner after the last.
    angle_ji = np.where(twin >= 0, fan_angle[twin], fan_angle[after] + corner[after])
    dst, src = np.concatenate([i, j]), np.concatenate([j, i])
    direction = np.concatenate([scale[i] * fan_angle[edge], scale[j] * angle_ji])
    order = np.lexsort((src, dst))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    ptr = np.append(0, np.cumsum(np.bincount(dst, minlength=len(scale))))
    return ptr, src[order], np.roll(place, -len(edge))[order], direction[order]


def direction_angle(frames: FloatArray, vectors: FloatArray) -> FloatArray:
    """Angle of the projection of each vector on its frame's tangent plane; 0 where nothing is left."""
    return np.arctan2(dot(frames[:, 1], vectors), dot(frames[:, 0], vectors))


def tangent_frames(normals: FloatArray, directions: FloatArray) -> FloatArray:
    """Right-handed frames with e1 along the projection of ``directions``.

    Parameters
    ----------
    normals : float64 [V, 3]
        Of unit length.
    directions : float64 [V, 3]
        Of any length; where one is zero or parallel to the normal, the coordinate axis farthest from the normal
        takes its place.

    Returns
    -------
    float64 [V, 3, 3]
        Rows e1, e2, n.
    """
    length = np.sqrt(dot(directions, directions))
    e1 = directions / np.where(length > 0, length, 1.0)[:, None]
    e1 -= dot(e1, normals)[:, None] * normals
    lost = np.flatnonzero(dot(e1, e1) < 1e-16)
    e1[lost] = np.eye(3)[np.abs(normals[lost]).argmin(axis=1)]
    # Twice is enough: the second projection removes the first one's rounding error.
    for _ in range(2):
        e1 -= dot(e1, normals)[:, None] * normals
        e1 /= np.sqrt(dot(e1, e1))[:, None]
    return np.stack([e1, np.cross(normals, e1), normals], axis=1)


def aligned_frames(
    points: FloatArray,
    normals: FloatArray,
    faces: IntArray,
    reference: IntArray,
    regular: BoolArray,
    ring_ptr: IntArray,
    src: IntArray,
    direction: FloatArray,
) -> FloatArray:
    v = len(points)
    along = np.zeros((v, 3))
    has_face = np.flatnonzero(reference >= 0)
    along[has_face] = points[faces.ravel()[following(reference[has_face])]] - points[has_face]
    frames = tangent_frames(normals, along)
    dst = np.repeat(np.arange(v), np.diff(ring_ptr))
    chord = points[src] - points[dst]
    x, y = dot(frames[dst, 0], chord), dot(frames[dst, 1], chord)
    cos, sin = np.cos(direction), np.sin(direction)
    turn = np.arctan2(sum_at(dst, y * cos - x * sin, v), sum_at(dst, x * cos + y * sin, v))
    turn[~regular] = 0.0
    c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
    e1, e2, n = frames[:, 0], frames[:, 1], frames[:, 2]
    return np.stack([c * e1 + s * e2, c * e2 - s * e1, n], axis=1)


def levi_civita(
    points: FloatArray,
    frames: FloatArray,
    regular: BoolArray,
    ring_ptr: IntArray,
    src: IntArray,
    reverse: IntArray,
    direction: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    dst = np.repeat(np.arange(len(points)), np.diff(ring_ptr))
    chord = points[src] - points[dst]
    angle = direction.copy()
    loose = np.flatnonzero(~regular[dst])
    angle[loose] = direction_angle(frames[dst[loose]], chord[loose])
    there = angle[reverse]
    transporter = np.where(dst > src, angle + np.pi - there, -(there + np.pi - angle))
    return np.sqrt(dot(chord, chord)), wrap_angle(angle), wrap_angle(transporter)


def normal_aligning(
    points: FloatArray, frames: FloatArray, src: IntArray, dst: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    chord = points[src] - points[dst]
    there, here = frames[src], frames[dst]
    sine = dot(here[:, 1], there[:, 0]) - dot(here[:, 0], there[:, 1])
    cosine = dot(here[:, 0], there[:, 0]) + dot(here[:, 1], there[:, 1])
    return np.sqrt(dot(chord, chord)), direction_angle(here, chord), np.arctan2(sine, cosine)
