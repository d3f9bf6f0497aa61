r"""Quadrature weights of convolutions, by matched moments.

A convolution stands for an integral over the geodesic disc of radius R round each point,

.. math:: \frac{1}{\pi R^2} \int_{disc} R_b(r / R) \; K_b(\theta) \, \rho(g_{q \to p}) f_q \, dA .

With equal weights the error depends on the positions of the neighbours and does not decrease with their spacing.
With factors of the areas by :func:`~meshconv.ops.quadrature.matched_weights` it is of second order.
"""

from __future__ import annotations

import logging
import math
import weakref
from typing import NamedTuple

import torch
from torch import Tensor, nn

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.inference_mode import outside_inference_mode
from meshconv.nn.convolution.radial import relative_radius
from meshconv.ops import matched_weights

log = logging.getLogger(__name__)

MOMENTS = 2
"""Fields are integrated exactly up to first order in normal coordinates: the error is of second order."""

_NODES = 32
# Share of a disc's mass that may be missed: where bounded factors miss more, at boundaries, areas are better.
_SHORT = 0.01
# Of the points of a surface with the weights of areas; more of them is reported.
_USUAL = 0.1


class Measure(NamedTuple):
    """Quadrature weights of a graph.

    Attributes
    ----------
    edges : Tensor [E, B]
        Weight of every neighbour for every radial function, the function included.
    centre : list of Tensor [V]
        Weights of the point itself, for the radial functions up to the last that does not vanish there.
    residual : Tensor [V, B]
        Largest error of a moment, relative to the mass of the disc; 1 where the weights are those of areas.
    """

    edges: Tensor
    centre: list[Tensor]
    residual: Tensor


_kept: weakref.WeakKeyDictionary[GaugeGraph, dict[tuple, Measure]] = weakref.WeakKeyDictionary()
_said: set[tuple] = set()


class DiscQuadrature:
    r"""Quadrature over the discs of radius ``cutoff`` times the graph's ``scale`` about all points of a graph.

    Weights are computed once for each graph, in float64: those of a batch are those of its parts, and those of graphs
    that were moved to a device or read from a batch's process follow them (:attr:`GaugeGraph.parts
    <meshconv.GaugeGraph.parts>`). Where moments cannot be matched, at boundaries of the surface and with few neighbours
    (:func:`~meshconv.ops.quadrature.matched_weights`), or more than a hundredth of the disc's mass is missed, weights
    are the areas over their sum.

    Parameters
    ----------
    radial : Module
        Radial functions without parameters; they should vanish at relative radius 1, where neighbours enter and leave.
    cutoff
    max_frequency
        Highest frequency of the kernels.
    centre
        Take the point itself for a node of the quadrature, with its own area; else its neighbours stand for all of the
        disc.
    low
        Bound of the factors from below.

    Raises
    ------
    ValueError
        Radial functions with parameters: their moments would change with every step.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> from meshconv.nn.convolution.radial import SmoothBumps
    >>> sphere = HealpixSphere(8)
    >>> graph = sphere.gauge_graph(3.2 * sphere.spacing)
    >>> measure = DiscQuadrature(SmoothBumps(2), cutoff=2.0, max_frequency=2)(graph)
    >>> measure.edges.shape[1], bool(measure.residual.max() < 1e-6)
    (2, True)
    """

    def __init__(self, radial: nn.Module, cutoff: float, max_frequency: int, *, centre: bool = True, low: float = -1.0):
        if any(True for _ in radial.parameters()):
            raise ValueError("quadrature takes radial functions without parameters, such as 'smooth'")
        self.radial, self.cutoff, self.max_frequency, self.low = radial, cutoff, max_frequency, low
        at_zero = radial(torch.zeros(1, dtype=torch.float64))[0].tolist()
        self._at_zero = [value if centre else 0.0 for value in at_zero]
        self._moments = disc_moments(radial, MOMENTS).tolist()
        self._centres = 1 + max((b for b, value in enumerate(self._at_zero) if value), default=-1)
        # By values, not by name: modules of one's own may differ where their text does not.
        values = radial(torch.linspace(0, 1, _NODES, dtype=torch.float64))
        self._rule = (*values.flatten().tolist(), cutoff, max_frequency, centre, low)

    def __call__(self, graph: GaugeGraph) -> Measure:
        """Weights on a graph."""
        if torch.compiler.is_compiling():  # a program computes them from its arguments
            return self._measure(graph)
        measures = _kept.setdefault(graph, {})
        if self._rule not in measures:
            with outside_inference_mode():
                measures[self._rule] = self._joined(graph) if graph.parts else self._measure(graph)
        return measures[self._rule]

    def _joined(self, graph: GaugeGraph) -> Measure:
        edges, centres, residuals = zip(*map(self, graph.parts), strict=True)
        return Measure(
            torch.cat(edges).to(graph.device, graph.dtype),
            [torch.cat(centre).to(graph.device, graph.dtype) for centre in zip(*centres, strict=True)],
            torch.cat(residuals).to(graph.device, graph.dtype),
        )

    @torch.no_grad()
    def _measure(self, graph: GaugeGraph) -> Measure:
        relative = relative_radius(graph, self.cutoff).double().cpu()
        disc = (self.cutoff * graph.scale).double().cpu().square()
        areas, src, dst = graph.areas.double().cpu(), graph.src.cpu(), graph.dst.cpu()
        around = graph.source_areas.double().cpu()[src]
        share = self.radial(relative) * around[:, None]
        centre = torch.tensor(self._at_zero, dtype=torch.float64) * areas[:, None]
        target = disc[:, None, None] * torch.tensor(self._moments, dtype=torch.float64)
        target = torch.cat([target[..., :1] - centre[..., None], target[..., 1:]], dim=-1)
        angle = graph.log_angle.double().cpu()
        pointers = graph.dst_ptr.cpu()
        factor, residual = matched_weights(pointers, relative, angle, share, target, self.max_frequency, self.low)
        unmatched = residual >= 1
        if self.low < 0:  # sums of positive weights are for ratios, in which the mass cancels
            mass = torch.zeros_like(residual).index_add(0, dst, factor * share)
            unmatched = unmatched | ((mass - target[..., 0]).abs() > _SHORT * target[..., 0])
            factor, residual = torch.where(unmatched[dst], 1, factor), torch.where(unmatched, 1, residual)
        self._say(unmatched)
        there = areas.index_add(0, dst, torch.where(relative < 1, around, 0))
        there = there.clamp(min=torch.finfo(torch.float64).tiny)
        whole = torch.where(unmatched, there[:, None], math.pi * disc[:, None])

        def like_graph(values: Tensor) -> Tensor:
            return values.to(graph.device, graph.dtype)

        return Measure(
            like_graph(factor * share / whole[dst]),
            [like_graph(centre[:, b] / whole[:, b]) for b in range(self._centres)],
            like_graph(residual),
        )

    def _say(self, unmatched: Tensor) -> None:
        """Report once how many points have the weights of areas, where they are many."""
        if torch.compiler.is_compiling() or self._rule in _said or not unmatched.numel():
            return
        count, points = int(unmatched.any(1).sum()), len(unmatched)
        if count > _USUAL * points:
            _said.add(self._rule)
            log.warning(
                "quadrature up to frequency %d: %d of %d points have too few neighbours, or none on one side; areas "
                "weigh there. Larger neighbourhoods have enough (about 16 for orders 0 and 1, 30 for order 2)",
                self.max_frequency, count, points,
            )  # fmt: skip


def disc_moments(radial: nn.Module, moments: int) -> Tensor:
    r""":math:`2 \pi \int_0^1 R_b(t) \, t^j \, t \, dt` for j below ``moments``, float64 ``[B, moments]``."""
    # Gauss-Legendre nodes on [0, 1], from the eigenvalues of the recurrence (Golub, Welsch 1969).
    k = torch.arange(1, _NODES, dtype=torch.float64)
    beta = k / (4 * k * k - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(beta, 1) + torch.diag(beta, -1))
    t, weight = (values + 1) / 2, vectors[0].square()
    powers = t[:, None] ** torch.arange(1, moments + 1)
    return 2 * math.pi * torch.einsum("t,tb,tj->bj", weight, radial(t), powers)
