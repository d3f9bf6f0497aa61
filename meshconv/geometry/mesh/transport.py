"""Log maps and transporters along the edges of a mesh: discrete Levi-Civita, and normal-aligning."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from meshconv.errors import InputError
from meshconv.geometry.mesh.halfedges import HalfEdges
from meshconv.geometry.mesh.measures import VertexFans
from meshconv.ops import surface
from meshconv.ops.references.surface import FloatArray, IntArray, tangent_frames as tangent_frames

Transport = Literal["levi_civita", "normal_aligning"]
"""Parallel transport, see :func:`levi_civita` and :func:`normal_aligning`."""


def check_transport(transport: str) -> None:
    """Raise ``InputError`` unless the name is one of :data:`Transport`."""
    if transport not in get_args(Transport):
        raise InputError(f"transport {transport!r} is not known; use one of {', '.join(get_args(Transport))}")


class OneRing(NamedTuple):
    """One-ring: both directions of every edge, sorted by target and then source, with directions at the target.

    Attributes
    ----------
    ptr : int64 [V + 1]
        Edges of target ``v`` are ``ptr[v]:ptr[v + 1]``.
    src : int64 [E]
    reverse : int64 [E]
        The other direction of each edge. So the edges that leave ``v`` are ``reverse[ptr[v]:ptr[v + 1]]``.
    direction : float64 [E]
        Scaled angle of the source from the target's reference half-edge, in [0, 2 pi]; undefined at vertices
        that are not regular.
    """

    ptr: IntArray
    src: IntArray
    reverse: IntArray
    direction: FloatArray


class LogMaps(NamedTuple):
    """Log maps and transporters of edges, as in :class:`~meshconv.geometry.graph.gauge_graph.GaugeGraph`."""

    log_radius: FloatArray
    log_angle: FloatArray
    transporter: FloatArray


def one_ring(half_edges: HalfEdges, corners: FloatArray, fans: VertexFans) -> OneRing:
    """Edges and their scaled directions at their targets.

    Parameters
    ----------
    half_edges : HalfEdges
    corners : float64 [H]
    fans : VertexFans

    Returns
    -------
    OneRing
    """
    h = half_edges
    return OneRing(*surface.one_ring(h.faces, h.twin, h.edge_halfedge, corners, fans.angle, fans.scale))


def align_frames(
    points: FloatArray, normals: FloatArray, half_edges: HalfEdges, ring: OneRing, fans: VertexFans
) -> FloatArray:
    r"""Tangent frames, rotated so that intrinsic angles and projected edges agree in the mean.

    Initially e1 is along the reference half-edge (where that is zero or parallel to the normal, along the coordinate
    axis farthest from it). The rotation is the mean of the difference, :math:`\arg \sum_j z_{ij} e^{-i\varphi_{ij}}`
    with the projected edges :math:`z_{ij}` as complex numbers. So the relation of frames and intrinsic angles is
    independent of the reference half-edge.

    Parameters
    ----------
    points, normals : float64 [V, 3]
    half_edges : HalfEdges
    ring : OneRing
    fans : VertexFans
        Frames of vertices that are not regular are not rotated.

    Returns
    -------
    float64 [V, 3, 3]
        Rows e1, e2, n; right-handed.
    """
    return surface.aligned_frames(
        points, normals, half_edges.faces, fans.reference, fans.regular, ring.ptr, ring.src, ring.direction
    )


def levi_civita(points: FloatArray, frames: FloatArray, ring: OneRing, fans: VertexFans) -> LogMaps:
    r"""The discrete Levi-Civita transport along every edge.

    With :math:`\varphi_{ij}` the scaled angle of the half-edge i -> j from the reference half-edge of i,

    .. math:: \log_j(i) = (\ell_{ij}, \varphi_{ji}), \qquad g_{i \to j} = \varphi_{ji} + \pi - \varphi_{ij}.

    A vertex whose corners are not one disc or half disc (bow-tie, three faces on an edge, the seam of a
    Moebius strip) has no such angles: there :math:`\varphi` is the direction of the edge projected on
    the tangent plane. The transporter has the same formula, so that the edge
    vector is always transported to minus that of its twin.

    Parameters
    ----------
    points : float64 [V, 3]
    frames : float64 [V, 3, 3]
        From :func:`align_frames`.
    ring : OneRing
    fans : VertexFans

    Returns
    -------
    LogMaps
        Of the edges of ``ring``.

    References
    ----------
    Knoppel, Crane, Pinkall, Schroeder, "Globally optimal direction fields", 2013.
    Sharp, Soliman, Crane, "The vector heat method", 2019.
    """
    return LogMaps(*surface.levi_civita(points, frames, fans.regular, *ring))


def normal_aligning(points: FloatArray, frames: FloatArray, src: IntArray, dst: IntArray) -> LogMaps:
    r"""Log map by projecting the chord, transport by the smallest rotation of one normal onto the other.

    As in GEM-CNN's code; it needs no faces, only points with frames. Only the in-plane angle of that rotation
    matters, and with :math:`P_{ab} = e_a^{dst} \cdot e_b^{src}` it has the closed form

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
    LogMaps
        Of the pairs given; coincident points have radius 0 and angle 0.

    References
    ----------
    de Haan, Weiler, Cohen, Welling, "Gauge equivariant mesh CNNs", 2021.
    """
    return LogMaps(*surface.normal_aligning(points, frames, src, dst))
