r"""Quadrature weights of convolutions, by matched moments.

A convolution stands for an integral over the geodesic disc of radius R round each point,

.. math:: \frac{1}{\pi R^2} \int_{disc} R_b(r / R) \; K_b(\theta) \, \rho(g_{q \to p}) f_q \, dA .

With equal weights the error depends on the positions of the neighbours and does not decrease with their spacing.
With factors of the areas by :func:`~meshconv.ops.quadrature.matched_weights` it is of second order.
"""

from __future__ import annotations

import math
import weakref
from typing import NamedTuple

import torch
from torch import Tensor, nn

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.radial import relative_radius
from meshconv.ops import matched_weights

MOMENTS = 2
"""Fields are integrated exactly up to first order in normal coordinates: the error is of second order."""

_NODES = 32


class Measure(NamedTuple):
    """Quadrature weights of a graph.

    Attributes
    ----------
    edges : Tensor [E, B]
        Weight of every neighbour for every radial function, the function included.
    centre : list of Tensor [V]
        Weights of the point itself, for the radial functions up to the last that does not vanish there.
    residual : Tensor [V, B]
        Largest error of a moment, relative to the mass of the disc (:func:`~meshconv.ops.quadrature.matched_weights`).
    """

    edges: Tensor
    centre: list[Tensor]
    residual: Tensor


def check_fixed(radial: nn.Module) -> None:
    """Raise ``ValueError`` for radial functions with parameters: their moments would change with every step."""
    if any(True for _ in radial.parameters()):
        raise ValueError("quadrature takes radial functions without parameters, such as 'smooth'")


_kept: weakref.WeakKeyDictionary[GaugeGraph, dict[tuple, Measure]] = weakref.WeakKeyDictionary()


def quadrature(graph: GaugeGraph, radial: nn.Module, cutoff: float, max_frequency: int) -> Measure:
    """Quadrature weights of discs of radius ``cutoff`` times the graph's ``scale``, cached per graph and rule.

    Parameters
    ----------
    graph : GaugeGraph
    radial : Module
        Without parameters; it should vanish at relative radius 1, where neighbours enter and leave.
    cutoff
        Radius of the disc in units of ``graph.scale``.
    max_frequency
        Highest frequency of the kernels.
    """
    # By values, not by name: modules of one's own may differ where their text does not.
    with torch.no_grad():
        values = tuple(radial(torch.linspace(0, 1, _NODES, dtype=torch.float64)).flatten().tolist())
    rule = (values, cutoff, max_frequency)
    measures = _kept.setdefault(graph, {})
    if rule not in measures:
        measures[rule] = _measure(graph, radial, cutoff, max_frequency)
    return measures[rule]


@torch.no_grad()
def _measure(graph: GaugeGraph, radial: nn.Module, cutoff: float, max_frequency: int) -> Measure:
    relative = relative_radius(graph, cutoff).double().cpu()
    disc = (cutoff * graph.scale).double().cpu().square()
    areas = graph.areas.double().cpu()
    share = radial(relative) * areas[graph.src.cpu()][:, None]
    centre = radial(relative.new_zeros(1)) * areas[:, None]
    target = disc[:, None, None] * disc_moments(radial, MOMENTS)
    target[..., 0] -= centre
    angle = graph.log_angle.double().cpu()
    factor, residual = matched_weights(graph.dst_ptr.cpu(), relative, angle, share, target, max_frequency)
    unit = 1 / (math.pi * disc)

    def like_graph(values: Tensor) -> Tensor:
        return values.to(graph.device, graph.dtype)

    there = 1 + max((b for b in range(centre.shape[1]) if bool(centre[:, b].any())), default=-1)
    return Measure(
        like_graph(factor * share * unit[graph.dst.cpu()][:, None]),
        [like_graph(centre[:, b] * unit) for b in range(there)],
        like_graph(residual),
    )


def disc_moments(radial: nn.Module, moments: int) -> Tensor:
    r""":math:`2 \pi \int_0^1 R_b(t) \, t^j \, t \, dt` for j below ``moments``, float64 ``[B, moments]``."""
    # Gauss-Legendre nodes on [0, 1], from the eigenvalues of the recurrence (Golub, Welsch 1969).
    k = torch.arange(1, _NODES, dtype=torch.float64)
    beta = k / (4 * k * k - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(beta, 1) + torch.diag(beta, -1))
    t, weight = (values + 1) / 2, vectors[0].square()
    powers = t[:, None] ** torch.arange(1, moments + 1)
    return 2 * math.pi * torch.einsum("t,tb,tj->bj", weight, radial(t), powers)
