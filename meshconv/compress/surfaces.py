"""A surface on which any network runs, for what does not depend on data."""

from __future__ import annotations

import torch
from torch import nn

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.nn.convolution.conv import GaugeConv

_NSIDE = 8


def sphere_for(network: nn.Module) -> GaugeGraph | Hierarchy:
    """A sphere in float64 with the levels of a network (``num_levels``) and the neighbours of its aggregation."""
    levels = getattr(network, "num_levels", None)
    by_quadrature = any(isinstance(m, GaugeConv) and m.aggregation == "quadrature" for m in network.modules())
    sphere = HealpixSphere(max(_NSIDE, 2 ** (levels or 1)))
    radius = 2.7 * sphere.spacing if by_quadrature else None
    surface = sphere.gauge_graph(radius) if levels is None else sphere.hierarchy(levels, radius)
    return surface.to(torch.float64)
