"""Geodesic neighbourhoods of a mesh: polar coordinates and transporters beyond the one-ring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.halfedges import HalfEdges
from meshconv.geometry.mesh.measures import FloatArray, VertexFans
from meshconv.geometry.mesh.transport import normal_aligning
from meshconv.ops.geodesics import BOUNDARY, INTERIOR, IRREGULAR, GeodesicSurface, Neighbourhoods, geodesics

if TYPE_CHECKING:
    from meshconv.geometry.mesh.triangle_mesh import TriangleMesh


def geodesic_neighbourhoods(
    points: FloatArray,
    half_edges: HalfEdges,
    corners: FloatArray,
    fans: VertexFans,
    ring: GaugeGraph,
    unit: float,
    *,
    rings: int = 0,
    radius: float = math.inf,
    nearest: int = 0,
) -> Neighbourhoods:
    r"""Log maps and transporters along shortest paths to the vertices near each vertex.

    A path leaves the centre p at the scaled angle :math:`\varphi_p` and arrives at the member q from the scaled angle
    :math:`\varphi_q`, so that, as along an edge,

    .. math:: \log_p(q) = (d(p, q), \varphi_p), \qquad g_{q \to p} = \varphi_p + \pi - \varphi_q,

    which is exact for straight lines; where a path bends at a vertex, its two parts compose.

    Parameters
    ----------
    points : float64 [V, 3]
    half_edges : HalfEdges
    corners : float64 [H]
    fans : VertexFans
    ring : GaugeGraph
        Levi-Civita one-ring graph of the same mesh, whose gauge the result has.
    unit : float
        What 1 in ``points`` is in ``ring``; a power of two is exact.
    rings, radius, nearest
        Exactly one; ``radius`` in the unit of ``ring.log_radius``.

    Returns
    -------
    Neighbourhoods
        Radii in the unit of ``ring.log_radius``. A vertex without faces has no members.

    Notes
    -----
    Distances are exact on the polyhedron and symmetric; on icospheres radii are off by 0.004 % and angles by 0.005
    degrees (medians at level 6). Checked by ``tests/test_geodesics.py``.
    """
    found = geodesics(
        geodesic_surface(points, half_edges, corners, fans, ring, unit),
        rings=rings,
        radius=radius / unit,
        nearest=nearest,
    )
    return found._replace(log_radius=found.log_radius * unit)


def geodesic_surface(
    points: FloatArray, half_edges: HalfEdges, corners: FloatArray, fans: VertexFans, ring: GaugeGraph, unit: float
) -> GeodesicSurface:
    """What the geodesic operators want to know of a mesh, see :func:`geodesic_neighbourhoods`."""

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    kind = np.where(fans.regular, np.where(fans.is_boundary, BOUNDARY, INTERIOR), IRREGULAR)
    return GeodesicSurface(
        points=tensor(points),
        frames=ring.frames,
        origin=tensor(half_edges.origin),
        twin=tensor(half_edges.twin),
        corner=tensor(corners),
        fan_angle=tensor(fans.angle),
        total=tensor(fans.total),
        scale=tensor(fans.scale),
        kind=tensor(kind),
        ring_ptr=ring.dst_ptr,
        ring_src=ring.src,
        ring_radius=ring.log_radius / unit,
        ring_angle=ring.log_angle,
        ring_transporter=ring.transporter,
    )


def geodesic_graph(mesh: TriangleMesh, transport: str, rings: int, radius: float, nearest: int) -> GaugeGraph:
    """Gauge graph of geodesic neighbourhoods, see
    :meth:`~meshconv.geometry.mesh.triangle_mesh.TriangleMesh.gauge_graph`.

    Parameters
    ----------
    mesh : TriangleMesh
    transport : "levi_civita" | "normal_aligning"
    rings, radius, nearest
        One of them, the others 0, infinity, 0; ``radius`` in units of the square root of the area.
    """
    if transport not in ("levi_civita", "normal_aligning"):
        raise ValueError(f"transport {transport!r} is not known; use 'levi_civita' or 'normal_aligning'")
    ring = mesh.gauge_graph()
    points, unit, size = mesh._points, mesh._unit, math.sqrt(mesh.area)
    corners = mesh.corner_angles.ravel()
    found = geodesic_neighbourhoods(
        points, mesh.half_edges, corners, mesh.fans, ring, unit, rings=rings, radius=radius * size, nearest=nearest
    )
    if rings:
        scale = rings * float(ring.scale[0])
    elif nearest:
        scale = math.sqrt((nearest + 1) / math.pi) / 2 * float(ring.scale[0])
    else:
        scale = radius * size / 2
    log_radius, log_angle, transporter = found[2:]
    if transport == "normal_aligning":
        dst = np.repeat(np.arange(mesh.num_vertices), found.ptr.diff().numpy())
        log_radius, log_angle, transporter = map(
            torch.from_numpy, normal_aligning(points, mesh.frames, found.src.numpy(), dst)
        )
        log_radius = log_radius * unit
    return GaugeGraph.from_rows(
        found.ptr,
        found.src,
        log_radius,
        log_angle,
        transporter,
        frames=ring.frames,
        positions=ring.positions,
        areas=ring.areas,
        scale=scale,
    )
