"""What layers over neighbours share: aggregation, radial functions, kernels, and terms of the point itself."""

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
    area = graph.source_areas[graph.src]
    total = torch.zeros_like(graph.areas).index_add(0, graph.dst, area)
    return torch.where(total > 0, 1 / torch.where(total > 0, total, 1), 0)[graph.dst] * area


def default_radial(aggregation: Aggregation) -> Radial:
    """Default basis: smooth bumps for quadrature, as neighbours enter and leave at the cutoff; else linear hats."""
    return "smooth" if aggregation == "quadrature" else "linear"


class NeighbourLayer(SurfaceModule):
    """Base of layers that sum over the neighbours of a point.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    num_radial, cutoff, aggregation
        As of :class:`~meshconv.nn.GaugeConv`.

    Raises
    ------
    ValueError
        ``num_radial`` or ``cutoff`` is not positive, or the aggregation is not known.
    """

    self_interaction: Linear | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        num_radial: int,
        cutoff: float,
        aggregation: Aggregation,
    ):
        super().__init__()
        if num_radial < 1 or cutoff <= 0:
            raise ValueError(f"num_radial has to be >= 1 and cutoff > 0, got {num_radial} and {cutoff}")
        known = get_args(Aggregation)
        if aggregation not in known:
            raise ValueError(f"aggregation {aggregation!r} is not one of {', '.join(map(repr, known))}")
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.cutoff, self.aggregation = cutoff, aggregation

    def make_point_terms(self, self_interaction: bool, bias: bool) -> None:
        """The linear map of the point's own features, and a constant at order 0, where they are wanted."""
        self.self_interaction = Linear(self.in_type, self.out_type, bias=False) if self_interaction else None
        scalars = self.out_type.scalars
        self.bias = nn.Parameter(torch.zeros(scalars)) if bias and scalars else None

    def add_point(self, y: Tensor, x: Tensor) -> Tensor:
        """Add self-interaction and bias to the sum over neighbours."""
        if self.self_interaction is not None:
            y = y + self.self_interaction(x)
        if self.bias is not None:
            y = y + nn.functional.pad(self.bias, (0, self.out_type.dim - len(self.bias)))
        return y


class KernelLayer(NeighbourLayer):
    """Base of convolutions: layers over neighbours that are linear, with kernels on the disc around a point.

    Parameters
    ----------
    kernel_types : (FieldType, FieldType)
        What a kernel maps between: the layer's types, or one channel of them.
    in_type, out_type, num_radial, cutoff, band_limit, aggregation, radial
        As of :class:`~meshconv.nn.GaugeConv`.
    """

    def __init__(
        self,
        in_type: FieldType,
        out_type: FieldType,
        kernel_types: tuple[FieldType, FieldType],
        num_radial: int,
        cutoff: float,
        *,
        band_limit: int | None,
        aggregation: Aggregation,
        radial: Radial | nn.Module | None,
    ):
        super().__init__(in_type, out_type, num_radial, cutoff, aggregation)
        self.radial = radial_functions(radial or default_radial(aggregation), num_radial)
        self.num_radial, self.kernel_types, self.band_limit = len(probe_disc(self.radial)), kernel_types, band_limit
        self.kernel_space = KernelSpace(*kernel_types, band_limit)
        by_quadrature = aggregation == "quadrature"
        self.steady = KernelSpace(*kernel_types, 0) if by_quadrature else None
        frequency = in_type.max_order + out_type.max_order
        if band_limit is not None:
            frequency = min(band_limit, frequency)
        self.quadrature = DiscQuadrature(self.radial, cutoff, frequency) if by_quadrature else None

    def edge_functions(self, graph: GaugeGraph) -> tuple[Tensor, list[Tensor]]:
        """Weighted radial functions of every edge ``[E, B]``, and of the point itself, ``[V]`` each.

        Only quadrature has terms of the point itself; radial functions that vanish there are left out.
        """
        if self.quadrature is not None:
            measure = self.quadrature(graph)
            return measure.edges, measure.centre
        functions = self.radial(relative_radius(graph, self.cutoff))
        return functions * aggregation_weights(graph, self.aggregation)[:, None], []

    def initial_scale(self) -> Tensor:
        r"""Standard deviation of each output component's weights, ``[out_dim]`` or 0-d, that keeps the variance near 1.

        With inputs of variance 1 and kernels of variance :math:`g^2`, n neighbours of weight w give :math:`g^2 \sum
        w^2` if they are independent, and :math:`g^2 f (\sum w)^2` if they are equal, where only the share f of the
        kernel that is independent of the direction remains in the sum. The scale makes the geometric mean of the two 1,
        for ``TYPICAL_VALENCE`` neighbours (20 for quadrature) spread over the disc, and f of at least 1 / n.
        ``tests/test_initialisation.py`` measures the variances.
        """
        space, steady = self.kernel_space, self.steady or KernelSpace(*self.kernel_types, 0)
        fan_in = space.fan_in()
        reached = fan_in > 0
        fan_in = torch.where(reached, fan_in, 1)
        valence = _QUADRATURE_VALENCE if self.aggregation == "quadrature" else TYPICAL_VALENCE
        share = (steady.fan_in().to(fan_in) / fan_in).clamp(min=1 / valence)
        total = valence if self.aggregation == "sum" else 1
        gain = (valence / share).sqrt() / total**2
        power = probe_disc(self.radial).sum().to(fan_in)
        return torch.where(reached, gain / (power * fan_in), 1).sqrt()

    def extra_repr(self) -> str:
        return (
            f"{self.in_type} -> {self.out_type}, num_radial={self.num_radial}, cutoff={self.cutoff}, "
            f"aggregation={self.aggregation!r}"
        )
