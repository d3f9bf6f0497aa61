"""Scalar fields on circles round the points of a surface, in polar coordinates of the log map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph

_BANDWIDTH = 0.8
_RIDGE = 1e-4
_LEAST_SUPPORT = 0.6


def reach(graph: GaugeGraph) -> float:
    """Radius of the neighbourhoods: of the disc with the second moment of the neighbours, the median over points."""
    return float(_discs(graph)[0].median())


def ring_samples(
    graph: GaugeGraph, x: Tensor, radii: Sequence[float], num_samples: int, turn: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Values of scalars at equal angles on circles round every point.

    At the position q in the tangent plane the value is that of the linear function which fits the neighbours and the
    point itself with Gaussian weights of their distances to q. It does not depend on the frame except by the angles at
    which it is read off: sample k lies at ``turn + 2 pi k / num_samples`` from e1.

    Parameters
    ----------
    graph : GaugeGraph
        One surface or a batch, with neighbourhoods as large as the circles.
    x : Tensor [V, C]
    radii
        Of the circles, in the surface's unit of length.
    num_samples
        On each circle.
    turn : Tensor [V], optional
        Radians.

    Returns
    -------
    rings : float64 Tensor [V, C, len(radii), num_samples]
    inside : bool Tensor [V]
        Points with neighbours near all samples; the values of others are extrapolations.
    """
    radius, angle = graph.log_radius.double(), graph.log_angle.double()
    discs, count = _discs(graph)
    width = _BANDWIDTH * float((discs * torch.sqrt(math.pi / count)).median())
    own = torch.arange(graph.num_vertices)
    dst = torch.cat([graph.dst, own])
    place = torch.cat([torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1),
                       torch.zeros(graph.num_vertices, 2, dtype=torch.float64)])  # fmt: skip
    values = torch.cat([x.double()[graph.src], x.double()])
    start = torch.zeros(graph.num_vertices, dtype=torch.float64) if turn is None else turn.double()
    rings = torch.empty(graph.num_vertices, x.shape[1], len(radii), num_samples, dtype=torch.float64)
    inside = torch.ones(graph.num_vertices, dtype=torch.bool)
    for i, r in enumerate(radii):
        for k in range(num_samples):
            at = start + 2 * math.pi * k / num_samples
            q = r * torch.stack([torch.cos(at), torch.sin(at)], -1)
            d = (place - q[dst]) / width
            weight = torch.exp(-0.5 * d.square().sum(-1))
            basis = torch.cat([torch.ones_like(weight)[:, None], d], -1)
            moments = weight[:, None] * torch.cat([(basis[:, :, None] * basis[:, None]).flatten(1),
                                                   (basis[:, :, None] * values[:, None]).flatten(1)], 1)  # fmt: skip
            total = torch.zeros(graph.num_vertices, moments.shape[1], dtype=torch.float64).index_add(0, dst, moments)
            matrix, right = total[:, :9].unflatten(1, (3, 3)), total[:, 9:].unflatten(1, (3, -1))
            # Neighbours in a line leave a slope open; a small one is taken.
            ridge = _RIDGE * matrix[:, 0, 0].clamp(min=1e-12)[:, None] * torch.tensor([0.0, 1, 1])
            rings[:, :, i, k] = torch.linalg.solve(matrix + torch.diag_embed(ridge + 1e-12), right)[:, 0]
            inside &= matrix[:, 0, 0] > _LEAST_SUPPORT
    return rings, inside


def _discs(graph: GaugeGraph) -> tuple[Tensor, Tensor]:
    """Radii of the discs of neighbours and their numbers of points, for points that have neighbours."""
    if not graph.num_edges:
        raise InputError("graph: it has no edges; rings need neighbours")
    square = graph.log_radius.double().square()
    total = torch.zeros(graph.num_vertices, dtype=torch.float64).index_add(0, graph.dst, square)
    degree = graph.dst_ptr.diff()
    count = (degree[degree > 0] + 1).double()
    return torch.sqrt(2 * total[degree > 0] / count), count
