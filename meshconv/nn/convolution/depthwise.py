"""Depthwise-separable gauge convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.conv import Aggregation, check_aggregation, default_radial, edge_functions, initial_scale
from meshconv.nn.convolution.kernel import KernelSpace
from meshconv.nn.convolution.quadrature import DiscQuadrature
from meshconv.nn.convolution.radial import Radial, probe_disc, radial_functions
from meshconv.nn.linear import Linear
from meshconv.nn.surface_module import SurfaceModule
from meshconv.ops import depthwise_conv


class DepthwiseGaugeConv(SurfaceModule):
    r"""Depthwise-separable gauge convolution.

    .. math:: h_{p,c} = \sum_q w_{pq} \sum_b R_b(r_{pq})
        \; \rho(\theta_{pq}) W_{bc} \rho(g_{q \to p} - \theta_{pq}) f_{q,c}, \qquad f'_p = L h_p + K_{self} f_p + b

    Each channel, one field per order (angular frequency) m, has its own complete solution of the kernel constraint,
    with all pairs of orders; then the complete linear map L at the point mixes channels. Exactly equivariant, with
    :math:`C (2N + 1)(2M + 1)` weights per radial function instead of :math:`C^2 (2N + 1)(2M + 1)`, and a fraction of
    the time (``docs/benchmarks.md``).

    Parameters
    ----------
    in_type : FieldType or str
        One multiplicity C at all orders up to N; no odd scalars.
    out_type : FieldType or str
        Any type; h has C fields of each order up to its highest.
    num_radial, cutoff, band_limit, aggregation, self_interaction, bias, radial
        As of :class:`~meshconv.nn.GaugeConv`.

    Raises
    ------
    ValueError
        If ``in_type`` is not uniform; the message names it.

    References
    ----------
    Chollet: Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> graph = HealpixSphere(2).gauge_graph().to(torch.float32)
    >>> conv = DepthwiseGaugeConv("8x0 + 8x1", "16x0 + 8x1")
    >>> conv(torch.randn(graph.num_vertices, 24), graph).shape
    torch.Size([48, 32])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        num_radial: int = 2,
        cutoff: float = 2.0,
        *,
        band_limit: int | None = None,
        aggregation: Aggregation = "mean",
        self_interaction: bool = True,
        bias: bool = True,
        radial: Radial | nn.Module | None = None,
    ):
        super().__init__()
        if num_radial < 1 or cutoff <= 0:
            raise ValueError(f"num_radial has to be >= 1 and cutoff > 0, got {num_radial} and {cutoff}")
        check_aggregation(aggregation)
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        counts = self.in_type.multiplicities
        if len(set(counts)) != 1 or self.in_type.odd_scalars:
            raise ValueError(
                f"a depthwise convolution takes one multiplicity at all orders and no odd scalars, got {self.in_type}"
            )
        channels = counts[0]
        self.radial = radial_functions(radial or default_radial(aggregation), num_radial)
        self.num_radial, self.cutoff, self.aggregation = len(probe_disc(self.radial)), cutoff, aggregation
        orders = len(self.out_type.multiplicities)
        self.hidden_type = self.in_type.like([channels] * orders)
        self.kernel_types = (self.in_type.like([1] * len(counts)), self.in_type.like([1] * orders))
        self.kernel_space = KernelSpace(*self.kernel_types, band_limit)
        self.steady = KernelSpace(*self.kernel_types, 0) if aggregation == "quadrature" else None
        frequency = self.in_type.max_order + self.out_type.max_order
        if band_limit is not None:
            frequency = min(band_limit, frequency)
        by_quadrature = aggregation == "quadrature"
        self.quadrature = DiscQuadrature(self.radial, cutoff, frequency) if by_quadrature else None
        self.weight = nn.Parameter(torch.empty(self.num_radial, channels, *(t.dim for t in self.kernel_types)))
        self.pointwise = Linear(self.hidden_type, self.out_type, bias=bias)
        self.self_interaction = Linear(self.in_type, self.out_type, bias=False) if self_interaction else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as :class:`~meshconv.nn.GaugeConv`: half of the output variance from the neighbours."""
        nn.init.normal_(self.weight)
        self.pointwise.reset_parameters()
        with torch.no_grad():
            steady = self.steady or KernelSpace(*self.kernel_types, 0)
            self.weight.mul_(initial_scale(self.kernel_space, steady, self.radial, self.aggregation))
            if self.self_interaction is not None:
                self.self_interaction.reset_parameters()
                for order, weight in self.self_interaction.weights.items():
                    weight *= 0.5**0.5
                    self.pointwise.weights[order] *= 0.5**0.5

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Convolve ``[..., V, in_type.dim]`` on ``graph`` to ``[..., V, out_type.dim]``."""
        radial, centre = edge_functions(graph, self.radial, self.cutoff, self.aggregation, self.quadrature)
        sources, edges = graph.sources(x, self.in_type)
        weight = self.kernel_space(self.weight).movedim(1, -1).contiguous()
        geometry = (graph.log_angle, graph.transporter, edges)
        y = depthwise_conv(sources, weight, radial, *geometry, self.in_type, self.hidden_type)
        if self.steady is not None:
            fields = x.unflatten(-1, (-1, self.weight.shape[1]))
            for share, kernel in zip(centre, self.weight, strict=False):
                own = torch.einsum("...ic,cio->...oc", fields, self.steady(kernel)).flatten(-2)
                y = y + (share[:, None] * own).to(y.dtype)
        y = self.pointwise(y)
        return y if self.self_interaction is None else y + self.self_interaction(x)

    def extra_repr(self) -> str:
        return (
            f"{self.in_type} -> {self.out_type}, num_radial={self.num_radial}, cutoff={self.cutoff}, "
            f"aggregation={self.aggregation!r}"
        )
