"""Gauge-equivariant convolution."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.kernel import KernelSpace
from meshconv.nn.convolution.quadrature import DiscQuadrature
from meshconv.nn.convolution.radial import Radial, probe_disc, radial_functions, relative_radius
from meshconv.nn.linear import Linear
from meshconv.nn.surface_module import SurfaceModule
from meshconv.ops import gauge_conv

Aggregation = Literal["mean", "sum", "area", "quadrature"]

TYPICAL_VALENCE = 7
"""Number of neighbours that the initialisation assumes: between 6 (meshes) and 8 (HEALPix)."""

_QUADRATURE_VALENCE = 20


def aggregation_weights(graph: GaugeGraph, aggregation: Aggregation) -> Tensor:
    """Aggregation weight of every edge ``[E]``: 1 / valence, 1, or the source's share of the area of all neighbours."""
    if aggregation == "sum":
        return torch.ones_like(graph.log_radius)
    if aggregation == "mean":
        valence = graph.dst_ptr.diff().to(graph.dtype)
        return (1 / valence.clamp(min=1))[graph.dst]
    area = graph.areas[graph.src]
    total = torch.zeros_like(graph.areas).index_add(0, graph.dst, area)
    return torch.where(total > 0, 1 / torch.where(total > 0, total, 1), 0)[graph.dst] * area


def check_aggregation(aggregation: str) -> None:
    """Raise ``ValueError`` unless the value is one of :data:`Aggregation`."""
    if aggregation not in get_args(Aggregation):
        raise ValueError(f"aggregation {aggregation!r} is not one of {', '.join(map(repr, get_args(Aggregation)))}")


def default_radial(aggregation: Aggregation) -> Radial:
    """Default basis: smooth bumps for quadrature, as neighbours enter and leave at the cutoff; else linear hats."""
    return "smooth" if aggregation == "quadrature" else "linear"


def edge_functions(
    graph: GaugeGraph, radial: nn.Module, cutoff: float, aggregation: Aggregation, quadrature: DiscQuadrature | None
) -> tuple[Tensor, list[Tensor]]:
    """Weighted radial functions of every edge ``[E, B]``, and of the point itself, ``[V]`` each.

    Only quadrature has terms of the point itself; radial functions that vanish there are left out.
    """
    if quadrature is not None:
        measure = quadrature(graph)
        return measure.edges, measure.centre
    return radial(relative_radius(graph, cutoff)) * aggregation_weights(graph, aggregation)[:, None], []


def initial_scale(space: KernelSpace, steady: KernelSpace, radial: nn.Module, aggregation: Aggregation) -> Tensor:
    r"""Standard deviation of each output component's weights, ``[out_dim]`` or 0-d, that keeps the variance near 1.

    With inputs of variance 1 and kernels of variance :math:`g^2`, n neighbours of weight w give :math:`g^2 \sum w^2` if
    they are independent, and :math:`g^2 f (\sum w)^2` if they are equal, where only the share f of the kernel that is
    independent of the direction (``steady``) remains in the sum. The scale makes the geometric mean of the two 1, for
    ``TYPICAL_VALENCE`` neighbours (20 for quadrature) spread over the disc, and f of at least 1 / n.
    ``tests/test_initialisation.py`` measures the variances.
    """
    fan_in = space.fan_in()
    reached = fan_in > 0
    fan_in = torch.where(reached, fan_in, 1)
    valence = _QUADRATURE_VALENCE if aggregation == "quadrature" else TYPICAL_VALENCE
    share = (steady.fan_in().to(fan_in) / fan_in).clamp(min=1 / valence)
    total = valence if aggregation == "sum" else 1
    gain = (valence / share).sqrt() / total**2
    power = probe_disc(radial).sum().to(fan_in)
    return torch.where(reached, gain / (power * fan_in), 1).sqrt()


class GaugeConv(SurfaceModule):
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
        super().__init__()
        if num_radial < 1 or cutoff <= 0:
            raise ValueError(f"num_radial has to be >= 1 and cutoff > 0, got {num_radial} and {cutoff}")
        check_aggregation(aggregation)
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.radial = radial_functions(radial or default_radial(aggregation), num_radial)
        self.num_radial, self.cutoff, self.aggregation = len(probe_disc(self.radial)), cutoff, aggregation
        self.band_limit = band_limit
        self.kernel_space = KernelSpace(self.in_type, self.out_type, band_limit)
        self.steady = KernelSpace(self.in_type, self.out_type, 0) if aggregation == "quadrature" else None
        frequency = self.in_type.max_order + self.out_type.max_order
        if band_limit is not None:
            frequency = min(band_limit, frequency)
        by_quadrature = aggregation == "quadrature"
        self.quadrature = DiscQuadrature(self.radial, cutoff, frequency) if by_quadrature else None
        self.weight = nn.Parameter(torch.empty(self.num_radial, self.in_type.dim, self.out_type.dim))
        self.self_interaction = Linear(self.in_type, self.out_type, bias=False) if self_interaction else None
        scalars = self.out_type.scalars
        self.bias = nn.Parameter(torch.zeros(scalars)) if bias and scalars else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise half of the output variance from the neighbours, half from the point (see :func:`initial_scale`).

        For an output order that the input lacks, all variance is from the neighbours.
        """
        nn.init.normal_(self.weight)
        with torch.no_grad():
            steady = self.steady or KernelSpace(self.in_type, self.out_type, 0)
            self.weight.mul_(initial_scale(self.kernel_space, steady, self.radial, self.aggregation))
            if self.self_interaction is not None:
                self.self_interaction.reset_parameters()
                self.weight.mul_(torch.where(self.self_interaction.reached(), 0.5**0.5, 1.0))
                for weight in self.self_interaction.weights.values():
                    weight *= 0.5**0.5
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Convolve ``[..., V, in_type.dim]`` on ``graph`` to ``[..., V, out_type.dim]``."""
        radial, centre = edge_functions(graph, self.radial, self.cutoff, self.aggregation, self.quadrature)
        sources, edges = graph.sources(x, self.in_type)
        weight = self.kernel_space(self.weight)
        y = gauge_conv(sources, weight, radial, graph.log_angle, graph.transporter, edges, self.in_type, self.out_type)
        # At the point itself there is no direction: only the part of the kernel that commutes with rotations remains.
        if self.steady is not None:
            for share, kernel in zip(centre, self.weight, strict=False):
                y = y + (share[:, None] * (x @ self.steady(kernel))).to(y.dtype)
        return self.add_point(y, x)

    def add_point(self, y: Tensor, x: Tensor) -> Tensor:
        """Add self-interaction and bias to the sum over neighbours."""
        if self.self_interaction is not None:
            y = y + self.self_interaction(x)
        if self.bias is not None:
            y = y + nn.functional.pad(self.bias, (0, self.out_type.dim - len(self.bias)))
        return y

    def extra_repr(self) -> str:
        return (
            f"{self.in_type} -> {self.out_type}, num_radial={self.num_radial}, cutoff={self.cutoff}, "
            f"aggregation={self.aggregation!r}, bias={self.bias is not None}"
        )
