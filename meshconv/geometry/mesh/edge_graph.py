"""The gauge graph of a surface's edges."""

from __future__ import annotations

import math

import numpy as np
import torch

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.surface import Surface
from meshconv.geometry.mesh.transport import Transport, check_transport, levi_civita, normal_aligning


def edge_graph(surface: Surface, transport: Transport = "levi_civita") -> GaugeGraph:
    """Both directions of every edge: log maps and transporters, float64.

    ``scale`` is the square root of the area over the number of vertices that have a face.
    """
    check_transport(transport)
    ring = surface.ring
    if transport == "levi_civita":
        maps = levi_civita(surface.points, surface.frames, ring, surface.fans)
    else:
        dst = np.repeat(np.arange(surface.num_vertices), np.diff(ring.ptr))
        maps = normal_aligning(surface.points, surface.frames, ring.src, dst)
    ptr, src, reverse, *values = map(torch.from_numpy, (*ring[:3], *maps, surface.frames, surface.vertex_areas))
    log_radius, log_angle, transporter, frames, areas = values
    return GaugeGraph.from_rows(
        ptr,
        src,
        log_radius.mul_(surface.unit),
        log_angle,
        transporter,
        frames=frames,
        positions=torch.from_numpy(surface.vertices),
        areas=areas,
        scale=math.sqrt(surface.area / int(surface.has_face.sum())),
        reverse=reverse,
    )
