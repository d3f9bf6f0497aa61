"""Depthwise-separable gauge convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.neighbours import Aggregation, KernelLayer
from meshconv.nn.convolution.radial import Radial
from meshconv.nn.linear import Linear
from meshconv.ops import depthwise_conv
from meshconv.ops.precision import under_autocast


class DepthwiseGaugeConv(KernelLayer):
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
        given, made = FieldType(in_type), FieldType(out_type)
        counts, orders = given.multiplicities, len(made.multiplicities)
        if len(set(counts)) != 1 or given.odd_scalars:
            raise ValueError(
                f"a depthwise convolution takes one multiplicity at all orders and no odd scalars, got {given}"
            )
        channels = counts[0]
        one_channel = given.like([1] * len(counts)), given.like([1] * orders)
        super().__init__(
            given, made, one_channel, num_radial, cutoff, band_limit=band_limit, aggregation=aggregation, radial=radial
        )
        self.hidden_type = given.like([channels] * orders)
        self.weight = nn.Parameter(torch.empty(self.num_radial, channels, *(t.dim for t in self.kernel_types)))
        self.pointwise = Linear(self.hidden_type, self.out_type, bias=bias)
        self.make_point_terms(self_interaction, bias=False)  # the bias is that of the pointwise map
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as :class:`~meshconv.nn.GaugeConv`: half of the output variance from the neighbours."""
        nn.init.normal_(self.weight)
        self.pointwise.reset_parameters()
        with torch.no_grad():
            self.weight.mul_(self.initial_scale())
            if self.self_interaction is not None:
                self.self_interaction.reset_parameters()
                for order, weight in self.self_interaction.weights.items():
                    weight *= 0.5**0.5
                    self.pointwise.weights[order] *= 0.5**0.5

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Convolve ``[..., V, in_type.dim]`` on ``graph`` to ``[..., V, out_type.dim]``."""
        x = under_autocast(x)
        radial, centre = self.edge_functions(graph)
        sources, edges = graph.sources(x, self.in_type)
        weight = self.kernel_space(self.weight).movedim(1, -1).contiguous()
        geometry = (graph.log_angle, graph.transporter, edges)
        y = depthwise_conv(sources, weight, radial, *geometry, self.in_type, self.hidden_type)
        x = sources[..., : x.shape[-2], :]  # the derivative keeps the sources already
        if self.steady is not None:
            fields = x.unflatten(-1, (-1, self.weight.shape[1]))
            for share, kernel in zip(centre, self.weight, strict=False):
                own = torch.einsum("...ic,cio->...oc", fields, self.steady(kernel)).flatten(-2)
                y = y + (share[:, None] * own).to(y.dtype)
        return self.add_point(self.pointwise(y), x)
