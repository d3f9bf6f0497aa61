"""Nonlinear gauge-equivariant message passing: a small network per edge, in the frame of the edge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.neighbours import TYPICAL_VALENCE, Aggregation, NeighbourLayer, aggregation_weights
from meshconv.nn.convolution.quadrature import DiscQuadrature
from meshconv.nn.convolution.radial import Radial, SmoothBumps, probe_disc, radial_functions, relative_radius
from meshconv.nn.linear import Linear
from meshconv.ops import transport_dot, transport_sum


class EdgeUnits(nn.Module):
    r"""Linear functions of the features at both ends of an edge in the frame of the edge, and their adjoints.

    .. math:: z_{pq} = \mathrm{Re} \sum_m \big( \overline{u^m}\,(\rho(g_{q \to p} - \theta_{pq}) S f_q)^m
        + \overline{u^m}\,(\rho(-\theta_{pq}) T f_p)^m \big), \qquad
        F_p^m = \sum_q w_{pq} \, a_{pq} \, u^m e^{i m \theta_{pq}}

    with S and T linear, equivariant maps to one field of each order per unit. With u = 1 ("even") the reflection across
    the edge leaves z unchanged, with u = i and odd scalars it changes its sign; SO(2) needs even units only, since S
    and T then include i.

    Parameters
    ----------
    in_type, out_type : FieldType
    units
    odd
        Units that the reflection across the edge negates.
    """

    def __init__(self, in_type: FieldType, out_type: FieldType, units: int, odd: bool = False):
        super().__init__()
        self.units, self.odd = units, odd
        seen, sent = _per_unit(in_type, units, odd), _per_unit(out_type, units, odd)
        self.source = None if seen is None else Linear(in_type, seen, bias=False)
        self.target = None if seen is None else Linear(in_type, seen, bias=False)
        self.back = None if sent is None else Linear(sent, out_type, bias=False)

    def reset_parameters(self) -> None:
        for linear in (self.source, self.target, self.back):
            if linear is not None:
                linear.reset_parameters()

    def look(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Units z, ``[..., E, units]``, of unit variance for x of unit variance; zeros where x has no such fields."""
        if self.source is None or self.target is None:
            return x.new_zeros(*x.shape[:-2], graph.num_edges, self.units)
        kind, angle = self.source.out_type, graph.log_angle
        there, here = self.source(x), self.target(x)
        there, edges = graph.sources(there, kind)
        ahead = self._ahead(here, kind, graph.num_vertices)
        z = transport_dot(there, ahead, graph.transporter - angle, edges, kind, self.units)
        ahead = self._ahead(here, kind, graph.num_sources)
        z = z + transport_dot(ahead, here, angle, graph.edges, kind, self.units)
        return z * (2 * len(kind.orders)) ** -0.5

    def send(self, a: Tensor, x: Tensor, graph: GaugeGraph, out_type: FieldType) -> Tensor:
        """Sum ``a [..., E, units]``, weights included, over each point's edges as fields of ``out_type``."""
        if self.back is None:
            return x.new_zeros(*x.shape[:-1], out_type.dim)
        kind = self.back.in_type
        ahead = self._ahead(x, kind, graph.num_sources)
        return self.back(transport_sum(ahead, a, graph.log_angle, graph.edges, kind))

    def _ahead(self, x: Tensor, field_type: FieldType, points: int) -> Tensor:
        """The fields u at ``points`` for ``x``."""
        parity = field_type.parity(x)
        return ((1 - parity if self.odd else 1 + parity) / 2).expand(*x.shape[:-2], points, -1)

    def extra_repr(self) -> str:
        return f"{self.units}, odd={self.odd}"


def _per_unit(field_type: FieldType, units: int, odd: bool) -> FieldType | None:
    """Type with one field per unit for each order of ``field_type``, and one scalar of the parity; None if empty."""
    scalars = units * ((field_type.odd_scalars if odd else field_type.scalars) > 0)
    counts = [scalars, *(units * (c > 0) for c in field_type.multiplicities[1:])]
    return field_type.like(counts, scalars if odd else 0) if any(counts) else None


class GaugeMessage(NeighbourLayer):
    r"""Gauge-equivariant message passing with messages that are nonlinear in the features at both ends.

    .. math:: f'_p = K_{self} f_p + b + \sum_q w_{pq} \, \rho_{out}(\theta_{pq}) \, V
        \, \sigma\big(S \rho_{in}(g_{q \to p} - \theta_{pq}) f_q + T \rho_{in}(-\theta_{pq}) f_p + c(r_{pq})\big)

    The frame of the edge removes the gauge freedom: S, T and V are any matrices between all orders (angular
    frequencies) m, sigma is silu on each unit, and the layer is exactly equivariant; no angles are sampled. With enough
    units such messages approximate any continuous equivariant function of both ends and the edge. S and T act once per
    vertex and V on sums: only the units have a row per edge.

    For types of O(2) the units are pairs that the reflection across the edge exchanges, z + z' and z - z', with z'
    odd under reflection.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    units
        Hidden units of the message network; by default the most fields of one order in either type.
    num_radial, cutoff, radial, aggregation, self_interaction, bias
        As of :class:`~meshconv.nn.GaugeConv`; c is linear in the radial functions.

    Notes
    -----
    ``tests/test_message.py`` checks it against the network evaluated edge by edge.

    References
    ----------
    Park, Wong, Walters: Modeling Dynamics over Meshes with Gauge Equivariant Nonlinear Message Passing, NeurIPS 2023
    (there messages are made equivariant by a nonlinearity that samples angles).

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> graph = HealpixSphere(2).gauge_graph().to(torch.float32)
    >>> message = GaugeMessage("2x0", "8x0 + 8x1")
    >>> message(torch.randn(graph.num_vertices, 2), graph).shape
    torch.Size([48, 24])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        units: int | None = None,
        num_radial: int = 2,
        *,
        cutoff: float = 2.0,
        radial: Radial | nn.Module = "linear",
        aggregation: Aggregation = "mean",
        self_interaction: bool = True,
        bias: bool = True,
    ):
        super().__init__(in_type, out_type, num_radial, cutoff, aggregation)
        self.in_type.check_group(self.out_type)
        if units is None:
            units = max(self.in_type.multiplicities + self.out_type.multiplicities)
        if units < 1:
            raise ValueError(f"units {units} has to be >= 1")
        self.units = units
        self.radial = radial_functions(radial, num_radial)
        # Messages under quadrature vanish smoothly at the cutoff; there is none from the point to itself.
        frequency = self.in_type.max_order + self.out_type.max_order
        by_quadrature = aggregation == "quadrature"
        self.quadrature = DiscQuadrature(SmoothBumps(1), cutoff, frequency, centre=False) if by_quadrature else None
        self.even = EdgeUnits(self.in_type, self.out_type, units)
        # Without odd fields in the input the units of a pair are equal.
        in_pairs = self.in_type.group == "O(2)" and self.in_type.num_fields > self.in_type.scalars
        self.odd = EdgeUnits(self.in_type, self.out_type, units, odd=True) if in_pairs else None
        self.radial_weight = nn.Parameter(torch.empty(len(probe_disc(self.radial)), units))
        self.make_point_terms(self_interaction, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise about half of the output variance from the neighbours, half from the point.

        A unit has the mean square of silu, 0.36 for an input of variance 1. In the sum over ``TYPICAL_VALENCE``
        neighbours about half of it remains at order 0, from the mean of silu, and half of a seventh per component of a
        higher order. ``tests/test_message.py`` measures the variances.
        """
        nn.init.normal_(self.radial_weight, std=0.5)
        if self.self_interaction is not None:
            self.self_interaction.reset_parameters()
        of_point = nn.ParameterDict() if self.self_interaction is None else self.self_interaction.weights
        total = TYPICAL_VALENCE if self.aggregation == "sum" else 1
        with torch.no_grad():
            for units in (self.even, self.odd):
                if units is None:
                    continue
                units.reset_parameters()
                for key, weight in {} if units.back is None else units.back.weights.items():
                    left = 0.36 * (1 / 2 if key[0] == "0" else 1 / 14)
                    share = (0.5 if key in of_point else 1.0) / (2 if self.odd is not None and key[0] != "0" else 1)
                    weight *= (share / left) ** 0.5 / total
            for weight in of_point.values():
                weight *= 0.5**0.5
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, in_type.dim]`` on ``graph`` to ``[..., V, out_type.dim]``."""
        self.in_type.check(x, "input")
        radius = relative_radius(graph, self.cutoff)
        radial = self.radial(radius)
        if self.quadrature is not None:
            weight = self.quadrature(graph).edges
        else:
            weight = aggregation_weights(graph, self.aggregation)[:, None]
        z = self.even.look(x, graph) + (radial @ self.radial_weight.to(radial.dtype)).to(x.dtype)
        if self.odd is None:
            y = self.even.send(nn.functional.silu(z) * weight, x, graph, self.out_type)
        else:
            turned = self.odd.look(x, graph)
            one, other = (nn.functional.silu((z + t) * 0.5**0.5) * weight for t in (turned, -turned))
            y = self.even.send((one + other) * 0.5**0.5, x, graph, self.out_type)
            y = y + self.odd.send((one - other) * 0.5**0.5, x, graph, self.out_type)
        return self.add_point(y, x)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, units={self.units}, aggregation={self.aggregation!r}"
