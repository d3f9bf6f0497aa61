"""Gauge-equivariant convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.neighbours import Aggregation, KernelLayer
from meshconv.nn.convolution.radial import Radial
from meshconv.nn.linear import Linear
from meshconv.nn.watched import is_watched
from meshconv.ops import gauge_conv
from meshconv.ops.precision import under_autocast


class GaugeConv(KernelLayer):
    r"""Gauge-equivariant convolution over a point's neighbours.

    .. math:: f'_p = K_{self} f_p + b + \sum_{q} w_{pq} \sum_b R_b(r_{pq})
        \; \rho_{out}(\theta_{pq}) W_b \rho_{in}(g_{q \to p} - \theta_{pq}) f_q

    In the frame of the edge the kernel is any dense matrix between all pairs of orders (angular frequencies) m: the
    complete solution of the kernel constraint. For types of O(2) it is the half that commutes with the
    reflection across the edge (:class:`~meshconv.nn.convolution.kernel.KernelSpace`); on non-orientable surfaces
    features behind a reflecting transporter are reflected first.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    num_radial
        Number of radial functions.
    cutoff
        Radius of the support of the radial functions, in units of the graph's ``scale``, a property of each surface
        (the square root of the area per point), not of the batch. Larger radii are clamped to it.
    band_limit
        Highest angular frequency of the kernel in the direction of the neighbour; by default all that the types allow.
    aggregation
        ``"mean"`` over neighbours, ``"sum"``, ``"area"``: weighted by the neighbours' areas, normalised, or
        ``"quadrature"``: by areas with factors that match the moments of the disc
        (:func:`~meshconv.nn.convolution.quadrature.quadrature`). Only then is the layer the discretisation of an
        integral, of second order in the spacing of the points. It needs about 16
        neighbours for orders 0 and 1, 30 for order 2.
    self_interaction
        Add ``K_self``, the complete equivariant linear map of the features of the point.
    bias
        Learnt constant at order 0.
    radial
        ``"linear"`` hats, ``"gaussian"`` bumps, ``"zernike"`` polynomials, ``"smooth"`` bumps that end at the cutoff, a
        ``"network"`` of the radius (:mod:`meshconv.nn.convolution.radial`), or any module from relative radii ``[E]``
        in [0, 1] to ``[E, functions]``, which then sets ``num_radial``. By default smooth for quadrature, else
        linear.

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
        num_radial: int = 2,
        cutoff: float = 2.0,
        *,
        band_limit: int | None = None,
        aggregation: Aggregation = "mean",
        self_interaction: bool = True,
        bias: bool = True,
        radial: Radial | nn.Module | None = None,
    ):
        types = FieldType(in_type), FieldType(out_type)
        super().__init__(
            *types, types, num_radial, cutoff, band_limit=band_limit, aggregation=aggregation, radial=radial
        )
        self.weight = nn.Parameter(torch.empty(self.num_radial, self.in_type.dim, self.out_type.dim))
        self.make_point_terms(self_interaction, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise half of the output variance from the neighbours, half from the point.

        For an output order that the input lacks, all variance is from the neighbours.
        """
        nn.init.normal_(self.weight)
        with torch.no_grad():
            self.weight.mul_(self.initial_scale())
            if self.self_interaction is not None:
                self.self_interaction.reset_parameters()
                self.weight.mul_(torch.where(self.self_interaction.reached(), 0.5**0.5, 1.0))
                for weight in self.self_interaction.weights.values():
                    weight *= 0.5**0.5
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Convolve ``[..., V, in_type.dim]`` on ``graph`` to ``[..., V, out_type.dim]``."""
        x = under_autocast(x)
        radial, centre = self.edge_functions(graph)
        sources, edges = graph.sources(x, self.in_type)
        weight = self.kernel_space(self.weight)
        # Terms of the point go into the product where each target is the source of the same number.
        own = sources is x and graph.num_vertices == x.shape[-2] and self._has_plain_point()
        terms = (self.self_interaction.matrix(), self.bias) if own else ()  # type: ignore[union-attr]
        geometry = (graph.log_angle, graph.transporter, edges)
        y = gauge_conv(sources, weight, radial, *geometry, self.in_type, self.out_type, *terms)
        x = sources[..., : x.shape[-2], :]  # the derivative keeps the sources already
        # At the point itself there is no direction: only the part of the kernel that commutes with rotations remains.
        if self.steady is not None:
            for share, kernel in zip(centre, self.weight, strict=False):
                y = y + (share[:, None] * (x @ self.steady(kernel))).to(y.dtype)
        return y if own else self.add_point(y, x)

    def _has_plain_point(self) -> bool:
        return type(self.self_interaction) is Linear and not is_watched(self.self_interaction)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bias={self.bias is not None}"
