"""Log maps and transporters along the edges of a mesh: discrete Levi-Civita, and normal-aligning."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from meshconv.geometry.fans import FloatArray, VertexFans, dot, sum_at
from meshconv.geometry.halfedges import HalfEdges, IntArray


class Edges(NamedTuple):
    """Directed edges with what :class:`~meshconv.geometry.gauge_graph.GaugeGraph` wants to know of them."""

    src: IntArray
    dst: IntArray
    log_radius: FloatArray
    log_angle: FloatArray
    transporter: FloatArray


def align_frames(
    points: FloatArray,
    frames: FloatArray,
    half_edges: HalfEdges,
    directions: tuple[FloatArray, FloatArray],
    fans: VertexFans,
) -> FloatArray:
    r"""Turn each frame so that intrinsic angles and projected edges agree as well as they can.

    The turn is the mean of the difference, :math:`\arg \sum_j z_{ij} e^{-i\varphi_{ij}}` with the projected edges
    :math:`z_{ij}` as complex numbers. So no edge is singled out, and what is computed from frames and
    what is computed from angles fit together the same way whichever half-edge is the reference.

    Parameters
    ----------
    points : float64 [V, 3]
    frames : float64 [V, 3, 3]
    half_edges : HalfEdges
    directions : pair of float64 [E]
        From :func:`fan_directions`.
    fans : VertexFans
        Vertices that are not regular keep their frames.

    Returns
    -------
    float64 [V, 3, 3]
    """
    v = half_edges.num_vertices
    one = half_edges.edge_halfedge
    ends = np.concatenate([half_edges.origin[one], half_edges.tip[one]])
    vector = points[half_edges.tip[one]] - points[half_edges.origin[one]]
    vector = np.concatenate([vector, -vector])
    angle = np.concatenate(directions)
    x, y = dot(frames[ends, 0], vector), dot(frames[ends, 1], vector)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.arctan2(sum_at(ends, y * cos - x * sin, v), sum_at(ends, x * cos + y * sin, v))
    turn[~fans.regular] = 0.0
    c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
    e1, e2, n = frames[:, 0], frames[:, 1], frames[:, 2]
    return np.stack([c * e1 + s * e2, c * e2 - s * e1, n], axis=1)


def levi_civita(
    points: FloatArray,
    frames: FloatArray,
    half_edges: HalfEdges,
    directions: tuple[FloatArray, FloatArray],
    fans: VertexFans,
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
        From :func:`align_frames`.
    half_edges : HalfEdges
    directions : pair of float64 [E]
        From :func:`fan_directions`.
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
    one = half_edges.edge_halfedge
    i, j = half_edges.origin[one], half_edges.tip[one]
    vector = points[j] - points[i]
    angle_ij, angle_ji = (angle.copy() for angle in directions)
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
