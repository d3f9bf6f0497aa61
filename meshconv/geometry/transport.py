"""Log maps and transporters along the edges of a mesh: discrete Levi-Civita, and normal-aligning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.halfedges import HalfEdges, IntArray

FloatArray = NDArray[np.float64]


class Edges(NamedTuple):
    """Directed edges with what :class:`~meshconv.geometry.gauge_graph.GaugeGraph` wants to know of them."""

    src: IntArray
    dst: IntArray
    log_radius: FloatArray
    log_angle: FloatArray
    transporter: FloatArray


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


def levi_civita(
    points: FloatArray, frames: FloatArray, half_edges: HalfEdges, corners: FloatArray, fans: VertexFans
) -> Edges:
    r"""Both directions of every edge with the discrete Levi-Civita transport.

    With :math:`\varphi_{ij}` the scaled angle of the half-edge i -> j from the reference half-edge of i,

    .. math:: \log_j(i) = (\ell_{ij}, \varphi_{ji}), \qquad g_{i \to j} = \varphi_{ji} + \pi - \varphi_{ij}.

    A vertex whose corners are not one disc or half disc (bow-tie, three faces on an edge, the seam of a
    Moebius strip) has no such angles: there :math:`\varphi` is the direction of the edge projected on
    the tangent plane, which needs no order of the faces. The transporter is the same formula, so that the edge
    vector is always carried to minus its twin's.

    Parameters
    ----------
    points : float64 [V, 3]
    frames : float64 [V, 3, 3]
        e1 along the reference half-edge.
    half_edges : HalfEdges
    corners : float64 [H]
    fans : VertexFans

    Returns
    -------
    Edges
        2 E of them, angles in no particular branch.

    References
    ----------
    Knoppel, Crane, Pinkall, Schroeder, "Globally optimal direction fields", 2013.
    Sharp, Soliman, Crane, "The vector heat method", 2019.
    """
    out = half_edges.edge_halfedge
    i, j = half_edges.origin[out], half_edges.tip[out]
    twin, following = half_edges.twin[out], half_edges.next(out)
    # On a boundary j -> i is no half-edge of a face: it closes the fan of j, one corner after the last.
    last = fans.angle[following] + corners[following]
    angle_ij = fans.scale[i] * fans.angle[out]
    angle_ji = fans.scale[j] * np.where(twin >= 0, fans.angle[twin], last)

    vector = points[j] - points[i]
    for angle, base, sign in ((angle_ij, i, 1.0), (angle_ji, j, -1.0)):
        loose = np.flatnonzero(~fans.regular[base])
        angle[loose] = direction_angle(frames[base[loose]], sign * vector[loose])
    transporter = angle_ji + np.pi - angle_ij
    radius = np.sqrt(dot(vector, vector))
    return Edges(
        np.concatenate([i, j]),
        np.concatenate([j, i]),
        np.concatenate([radius, radius]),
        np.concatenate([angle_ji, angle_ij]),
        np.concatenate([transporter, -transporter]),
    )


def normal_aligning(points: FloatArray, frames: FloatArray, src: IntArray, dst: IntArray) -> Edges:
    r"""Log map by projecting the chord, transport by the smallest rotation of one normal onto the other.

    The choice of GEM-CNN's code; it needs no faces, only points with frames. Of that rotation only the turn in the
    plane matters, and with :math:`P_{ab} = e_a^{dst} \cdot e_b^{src}` it has the closed form

    .. math:: g = \operatorname{atan2}(P_{21} - P_{12},\; P_{11} + P_{22}),

    exactly antisymmetric, and 0 in the undefined case of opposite normals. The radius is the length
    of the chord, not of its projection.

    Parameters
    ----------
    points : float64 [V, 3]
    frames : float64 [V, 3, 3]
        Rows e1, e2, n.
    src, dst : int64 [E]

    Returns
    -------
    Edges
        ``src`` and ``dst`` as given; coincident points have radius 0 and angle 0.

    References
    ----------
    de Haan, Weiler, Cohen, Welling, "Gauge equivariant mesh CNNs", 2021.
    """
    vector = points[src] - points[dst]
    there, here = frames[src], frames[dst]
    sine = dot(here[:, 1], there[:, 0]) - dot(here[:, 0], there[:, 1])
    cosine = dot(here[:, 0], there[:, 0]) + dot(here[:, 1], there[:, 1])
    return Edges(
        src,
        dst,
        np.sqrt(dot(vector, vector)),
        direction_angle(here, vector),
        np.arctan2(sine, cosine),
    )


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
