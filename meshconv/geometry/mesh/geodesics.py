"""Geodesic neighbourhoods of a surface: polar coordinates and transporters beyond the one-ring."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.edge_graph import edge_graph
from meshconv.geometry.mesh.neighbourhood import EDGES, Neighbourhood
from meshconv.geometry.mesh.surface import Surface
from meshconv.geometry.mesh.transport import Transport, check_transport, normal_aligning
from meshconv.ops.geodesics import BOUNDARY, INTERIOR, IRREGULAR, GeodesicSurface, Neighbourhoods, geodesics

_FLAT = 1e-9


def geodesic_neighbourhoods(surface: Surface, ring: GaugeGraph, neighbourhood: Neighbourhood) -> Neighbourhoods:
    r"""Log maps and transporters along shortest paths to the vertices near each vertex.

    A path leaves the centre p at the scaled angle :math:`\varphi_p` and arrives at the member q from the scaled angle
    :math:`\varphi_q`, so that, as along an edge,

    .. math:: \log_p(q) = (d(p, q), \varphi_p), \qquad g_{q \to p} = \varphi_p + \pi - \varphi_q,

    which is exact for straight lines; where a path bends at a vertex, its two parts compose.

    Parameters
    ----------
    surface : Surface
    ring : GaugeGraph
        Its Levi-Civita edge graph, whose gauge the result has.
    neighbourhood : Neighbourhood
        Not of edges.

    Returns
    -------
    Neighbourhoods
        Radii in the unit of ``ring.log_radius``. A vertex without faces has no members.

    Notes
    -----
    Distances are exact on the polyhedron and symmetric; on icospheres radii are off by 0.004 % and angles by 0.005
    degrees (medians at level 6). Checked by ``tests/test_geodesics.py``.
    """
    radius = math.inf if neighbourhood.radius is None else neighbourhood.radius * math.sqrt(surface.area)
    found = geodesics(
        geodesic_surface(surface, ring),
        rings=neighbourhood.rings or 0,
        radius=radius / surface.unit,
        nearest=neighbourhood.nearest or 0,
    )
    return found._replace(log_radius=found.log_radius * surface.unit)


def geodesic_surface(surface: Surface, ring: GaugeGraph) -> GeodesicSurface:
    """A surface and its Levi-Civita edge graph as the geodesic operators take them."""

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    fans, half_edges = surface.fans, surface.half_edges
    kind = np.where(fans.regular, np.where(fans.is_boundary, BOUNDARY, INTERIOR), IRREGULAR)
    # Where faces are flat, rounding makes no saddle: every one would send rays of its own.
    full = np.where(fans.is_boundary, np.pi, 2 * np.pi)
    total = np.where(np.abs(fans.total - full) < _FLAT, full, fans.total)
    return GeodesicSurface(
        points=tensor(surface.points),
        frames=ring.frames,
        origin=tensor(half_edges.origin),
        twin=tensor(half_edges.twin),
        corner=tensor(surface.corner_angles.ravel()),
        fan_angle=tensor(fans.angle),
        total=tensor(total),
        scale=tensor(fans.scale),
        kind=tensor(kind),
        ring_ptr=ring.dst_ptr,
        ring_src=ring.src,
        ring_radius=ring.log_radius / surface.unit,
        ring_angle=ring.log_angle,
        ring_transporter=ring.transporter,
    )


def surface_graph(
    surface: Surface, neighbourhood: Neighbourhood = EDGES, transport: Transport = "levi_civita"
) -> GaugeGraph:
    """Gauge graph of edges or of geodesic neighbourhoods, see
    :meth:`~meshconv.geometry.mesh.triangle_mesh.TriangleMesh.gauge_graph`.
    """
    check_transport(transport)
    if neighbourhood.is_edges:
        return edge_graph(surface, transport)
    ring = edge_graph(surface)
    found = geodesic_neighbourhoods(surface, ring, neighbourhood)
    log_radius, log_angle, transporter = found[2:]
    if transport == "normal_aligning":
        dst = np.repeat(np.arange(surface.num_vertices), found.ptr.diff().numpy())
        chords = normal_aligning(surface.points, surface.frames, found.src.numpy(), dst)
        log_radius, log_angle, transporter = map(torch.from_numpy, chords)
        log_radius = log_radius * surface.unit
    return GaugeGraph.from_rows(
        found.ptr,
        found.src,
        log_radius,
        log_angle,
        transporter,
        frames=ring.frames,
        positions=ring.positions,
        areas=ring.areas,
        scale=_scale(surface, neighbourhood, float(ring.scale[0])),
    )


def _scale(surface: Surface, neighbourhood: Neighbourhood, spacing: float) -> float:
    """Half of the neighbourhood's radius, for vertices at distances of ``spacing``."""
    if neighbourhood.rings is not None:
        return neighbourhood.rings * spacing
    if neighbourhood.nearest is not None:
        return math.sqrt((neighbourhood.nearest + 1) / math.pi) / 2 * spacing
    assert neighbourhood.radius is not None
    return neighbourhood.radius * math.sqrt(surface.area) / 2
