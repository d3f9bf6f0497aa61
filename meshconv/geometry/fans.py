"""The angles round every vertex: corners, fans unfolded to a full turn, the direction of each edge in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.halfedges import HalfEdges, IntArray

FloatArray = NDArray[np.float64]


def dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Inner product along the last axis."""
    return np.einsum("...i,...i->...", a, b)


def sum_at(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sum of the ``values`` that go to each of ``size`` places, in a fixed order."""
    return np.asarray(np.bincount(index, weights=values, minlength=size), dtype=np.float64)


def corner_angles(points: FloatArray, faces: IntArray) -> FloatArray:
    r"""Interior angle at every corner of every face.

    .. math:: \alpha = \operatorname{atan2}(|u \times v|,\; u \cdot v)

    which is as accurate for slivers as for equilateral triangles (an arc cosine loses half of the digits).
    A zero-length edge counts as the limit of an isosceles needle: pi/2 at its ends, 0 opposite; a point as
    the limit of an equilateral triangle: pi/3. So the angles of every face add up to pi.

    Parameters
    ----------
    points : float64 [V, 3]
    faces : int64 [F, 3]

    Returns
    -------
    float64 [F, 3]
        Radians in [0, pi].
    """
    corner = points[faces]
    edge = corner[:, [1, 2, 0]] - corner
    angles = np.empty(faces.shape)
    for k in range(3):
        u, v = edge[:, k], -edge[:, k - 1]
        x = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
        y = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
        z = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        angles[:, k] = np.arctan2(np.sqrt(x * x + y * y + z * z), dot(u, v))
    zero = (edge == 0).all(axis=2)
    if zero.any():
        touching = zero | zero[:, [2, 0, 1]]
        angles[touching] = np.pi / 2
        angles[zero.any(axis=1)[:, None] & ~touching] = 0.0
        angles[zero.all(axis=1)] = np.pi / 3
    return angles


@dataclass(frozen=True, eq=False)
class VertexFans:
    """The half-edges of each vertex laid out counter-clockwise.

    Attributes
    ----------
    reference : int64 [V]
        Half-edge at angle 0: the first of an open fan, else the one of lowest number; -1 without faces.
    angle : float64 [H]
        Corner angles summed from the reference half-edge to this one, unscaled.
    total : float64 [V]
        Sum of all corner angles.
    scale : float64 [V]
        Factor that brings the total to 2 pi, on a boundary to pi.
    regular : bool [V]
        Whether the corners form one disc or one half disc with a positive angle.
    is_boundary : bool [V]
    """

    reference: IntArray
    angle: FloatArray
    total: FloatArray
    scale: FloatArray
    regular: NDArray[np.bool_]
    is_boundary: NDArray[np.bool_]


def unfold_fans(half_edges: HalfEdges, corners: FloatArray) -> VertexFans:
    """Sum the corner angles round each vertex.

    A fan is a linked list (the counter-clockwise predecessor of a half-edge is the one after its twin); pointer
    doubling sums all lists at once in log2(largest number of corners) rounds.

    Parameters
    ----------
    half_edges : HalfEdges
    corners : float64 [H]
        Angle at the origin of each half-edge, in its face.

    Returns
    -------
    VertexFans
    """
    h, v = len(half_edges.origin), half_edges.num_vertices
    origin, twin = half_edges.origin, half_edges.twin
    ids = np.arange(h)
    num_corners = np.bincount(origin, minlength=v)
    total = sum_at(origin, corners, v)

    # Of several values assigned to one place the last one stays: reversed, that is the lowest number.
    reference = np.full(v, -1, dtype=np.int64)
    reference[origin[::-1]] = ids[::-1]
    unpaired = np.flatnonzero(twin < 0)[::-1]
    reference[origin[unpaired]] = unpaired
    num_starts = np.bincount(origin[unpaired], minlength=v)

    pointer = np.append(half_edges.next(twin), h)
    pointer[unpaired] = h
    pointer[reference[(num_corners > 0) & (num_starts == 0)]] = h
    angle = np.append(corners, 0.0)[pointer]
    for _ in range(int(num_corners.max(initial=0)).bit_length()):
        angle += angle[pointer]
        pointer = pointer[pointer]

    regular = (num_corners > 0) & (total > 0) & (num_starts <= 1) & ~half_edges.irregular
    regular[origin[pointer[:h] != h]] = False
    is_boundary = num_starts > 0
    scale = np.where(is_boundary, np.pi, 2 * np.pi) / np.where(total > 0, total, 1.0)
    return VertexFans(reference, angle[:h], total, scale, regular, is_boundary)


def fan_directions(half_edges: HalfEdges, corners: FloatArray, fans: VertexFans) -> tuple[FloatArray, FloatArray]:
    r"""Scaled angles of every edge at its two ends, from the reference half-edges there.

    Parameters
    ----------
    half_edges : HalfEdges
    corners : float64 [H]
    fans : VertexFans

    Returns
    -------
    float64 [E], float64 [E]
        :math:`\varphi_{ij}` and :math:`\varphi_{ji}` of the half-edges i -> j in ``half_edges.edge_halfedge``;
        without meaning at vertices that are not regular.
    """
    out = half_edges.edge_halfedge
    i, j = half_edges.origin[out], half_edges.tip[out]
    twin, following = half_edges.twin[out], half_edges.next(out)
    # On a boundary j -> i is no half-edge of a face: it closes the fan of j, one corner after the last.
    last = fans.angle[following] + corners[following]
    return fans.scale[i] * fans.angle[out], fans.scale[j] * np.where(twin >= 0, fans.angle[twin], last)
