"""The gauge-equivariant convolution as a module."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.nn.kernel import KernelSpace
from meshconv.nn.linear import Linear
from meshconv.ops import gauge_conv

Aggregation = Literal["mean", "sum", "area"]


def ring_weights(radius: Tensor, rings: int, cutoff: float) -> Tensor:
    """Linear hats at ``rings`` radii equally spaced on ``[0, cutoff]``; they sum to one at every radius.

    Parameters
    ----------
    radius : Tensor [E]
        In units of the graph's ``scale``; beyond ``cutoff`` the last ring counts.

    Returns
    -------
    Tensor [E, rings]
    """
    if rings == 1:
        return torch.ones_like(radius)[:, None]
    position = (radius / cutoff).clamp(max=1) * (rings - 1)
    knots = torch.arange(rings, dtype=radius.dtype, device=radius.device)
    return (1 - (position[:, None] - knots).abs()).clamp(min=0)


def aggregation_weights(graph: GaugeGraph, aggregation: Aggregation) -> Tensor:
    """Quadrature weight of every edge ``[E]``: 1 / valence, 1, or the source's share of the neighbours' area."""
    if aggregation == "sum":
        return torch.ones_like(graph.log_radius)
    if aggregation == "mean":
        valence = graph.dst_ptr.diff().to(graph.dtype)
        return (1 / valence.clamp(min=1))[graph.dst]
    area = graph.areas[graph.src]
    total = torch.zeros_like(graph.areas).index_add(0, graph.dst, area)
    return torch.where(total > 0, 1 / torch.where(total > 0, total, 1), 0)[graph.dst] * area


class GaugeConv(nn.Module):
    r"""Gauge-equivariant convolution over a point's neighbours.

    .. math:: f'_p = K_{self} f_p + b + \sum_{q} w_{pq} \sum_b R_b(r_{pq})
        \; \rho_{out}(\theta_{pq}) W_b \rho_{in}(g_{q \to p} - \theta_{pq}) f_q

    In the edge's own frame the kernel is any dense matrix, so every pair of orders up to the types' own meets: the
    solution of the kernel constraint is complete. For types of O(2) it keeps the half that commutes with the
    reflection across the edge (:class:`~meshconv.nn.kernel.KernelSpace`); on surfaces without orientation a source
    seen through a reflecting transporter is reflected first.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    rings
        Number of radial functions: linear hats at equally spaced radii.
    cutoff
        Radius of the outermost ring in units of the graph's ``scale``, a property of each surface (the root of its
        area per point), never of the batch.
    band_limit
        Highest frequency of the kernel in the neighbour's direction; by default all that the types allow.
    aggregation
        ``"mean"`` over neighbours, ``"sum"``, or ``"area"``: weighted by the neighbours' areas, normalised.
    self_interaction
        Add ``K_self``, the complete equivariant linear map of the point's own features.
    bias
        Learnt constant at order 0.

    Notes
    -----
    ``tests/test_gem_reference.py`` compares with GEM-CNN's layer, ``tests/test_equivariance.py`` measures the gauge
    error after training steps.

    References
    ----------
    Cohen, Weiler, Kicanaoglu, Welling: Gauge Equivariant CNNs and the Icosahedral CNN, ICML 2019.
    de Haan, Weiler, Cohen, Welling: Gauge Equivariant Mesh CNNs, ICLR 2021.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> graph = HealpixSphere(2).gauge_graph().to(torch.float32)
    >>> conv = GaugeConv("2x0", "4x0 + 4x1")
    >>> conv(torch.randn(graph.num_vertices, 2), graph).shape
    torch.Size([48, 12])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        rings: int = 2,
        cutoff: float = 2.0,
        band_limit: int | None = None,
        aggregation: Aggregation = "mean",
        self_interaction: bool = True,
        bias: bool = True,
    ):
        super().__init__()
        if rings < 1 or cutoff <= 0:
            raise ValueError(f"rings has to be >= 1 and cutoff > 0, got {rings} and {cutoff}")
        if aggregation not in ("mean", "sum", "area"):
            raise ValueError(f"aggregation {aggregation!r} is not 'mean', 'sum' or 'area'")
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.rings, self.cutoff, self.aggregation = rings, cutoff, aggregation
        self.kernel_space = KernelSpace(self.in_type, self.out_type, band_limit)
        self.weight = nn.Parameter(torch.empty(rings, self.in_type.dim, self.out_type.dim))
        self.self_interaction = Linear(self.in_type, self.out_type, bias=False) if self_interaction else None
        scalars = self.out_type.scalars
        self.bias = nn.Parameter(torch.zeros(scalars)) if bias and scalars else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Half of the output's variance from the neighbours, half from the point, for alike neighbours.

        An output order that the input lacks gets nothing from the point, so all of it from the neighbours.
        """
        nn.init.normal_(self.weight)
        with torch.no_grad():
            fan_in = self.kernel_space.fan_in()
            self.weight.div_(torch.where(fan_in > 0, fan_in, 1).sqrt())
            if self.self_interaction is not None:
                self.self_interaction.reset_parameters()
                self.weight.mul_(torch.where(self.self_interaction.reached(), 0.5**0.5, 1.0))
                for weight in self.self_interaction.weights.values():
                    weight *= 0.5**0.5
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Convolve ``[..., V, in_type.dim]`` on ``graph`` to ``[..., V, out_type.dim]``."""
        radius = graph.log_radius / graph.scale[graph.dst]
        radial = ring_weights(radius, self.rings, self.cutoff)
        radial = radial * aggregation_weights(graph, self.aggregation)[:, None]
        sources, edges = graph.sources(x, self.in_type)
        weight = self.kernel_space(self.weight)
        y = gauge_conv(sources, weight, radial, graph.log_angle, graph.transporter, edges, self.in_type, self.out_type)
        if self.self_interaction is not None:
            y = y + self.self_interaction(x)
        if self.bias is not None:
            y = y + nn.functional.pad(self.bias, (0, self.out_type.dim - len(self.bias)))
        return y

    def extra_repr(self) -> str:
        return (
            f"{self.in_type} -> {self.out_type}, rings={self.rings}, cutoff={self.cutoff}, "
            f"aggregation={self.aggregation!r}, bias={self.bias is not None}"
        )
