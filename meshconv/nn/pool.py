"""Pooling over clusters with transport, and over whole surfaces."""

from __future__ import annotations

from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Pooling
from meshconv.inference_mode import outside_inference_mode
from meshconv.nn.calculus.stencil import taylor_stencil
from meshconv.nn.surface_module import SurfaceModule
from meshconv.ops import transport_max, transport_sum
from meshconv.ops.gauge_conv import Edges

# Largest reduction of a weight: clusters beside their centre keep all their points.
_LOWEST = -0.9


class ClusterPool(SurfaceModule):
    r"""Mean over each cluster, in the frame of its centre: :math:`F_c = \sum_q w_q \, \rho(g_{q \to c}) f_q`.

    Parameters
    ----------
    in_type : FieldType or str
    centred
        Weights are the least-squares change of equal weights with :math:`\sum_q w_q \log_c q = 0`, for which the mean
        of a linear field is its value at the centre: second order, where equal weights are of first order. No weight is
        below a tenth of the mean; under that bound, or for collinear clusters, the condition holds as far as possible.
    """

    def __init__(self, in_type: FieldType | str, centred: bool = False):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        self.centred = centred

    def forward(self, x: Tensor, pooling: Pooling, areas: Tensor | None = None) -> Tensor:
        """``[..., V_fine, dim]`` to ``[..., V_coarse, dim]``; with ``areas [V_fine]`` the mean is weighted by area."""
        _check_vertices(x, pooling.num_fine)
        x = _reflect(x, pooling, self.in_type)
        edges = _from_parents(pooling)
        weight = torch.ones_like(pooling.transporter) if areas is None else areas
        if self.centred:
            weight = weight * (_centred(pooling) if areas is None else _balance(pooling, weight)).to(weight.dtype)
        share = weight / _positive(_sums(weight, edges, transpose=True))[pooling.parent]
        return transport_sum(x, share, -pooling.transporter, edges, self.in_type, transpose=True)

    def extra_repr(self) -> str:
        return f"{self.in_type}, centred={self.centred}"


class ClusterMaxPool(SurfaceModule):
    r"""Field of maximal norm in each cluster, per channel, in the frame of its centre.

    .. math:: F_c = \rho(g_{q^* \to c}) f_{q^*}, \qquad q^* = \arg\max_{q \in c} |f_q|

    Invariant scalars are compared by value, as in ordinary max pooling; norms are gauge-invariant, so the layer is
    equivariant.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        """``[..., V_fine, dim]`` to ``[..., V_coarse, dim]``."""
        _check_vertices(x, pooling.num_fine)
        x = _reflect(x, pooling, self.in_type)
        child = pooling.child
        points = torch.arange(pooling.num_fine, device=child.device)
        place = torch.empty_like(child).scatter_(0, child, points)
        ptr = torch.arange(pooling.num_fine + 1, device=child.device)
        edges = (pooling.child_ptr, child, pooling.parent[child], ptr, place)
        transporter, odd = pooling.transporter[child], self.in_type.odd_scalars
        if not odd:
            return transport_max(x, transporter, edges, self.in_type, scalars="value")
        first, counts = self.in_type.scalars, self.in_type.multiplicities
        even = FieldType.from_multiplicities((first, *counts[1:])) if self.in_type.num_fields > odd else None
        by_length = FieldType.from_multiplicities([odd])
        before, mirrored, after = x.split([first, odd, self.in_type.dim - counts[0]], dim=-1)
        mirrored = transport_max(mirrored, transporter, edges, by_length)
        if even is None:
            return mirrored
        rest = transport_max(torch.cat([before, after], dim=-1), transporter, edges, even, scalars="value")
        return torch.cat([rest[..., :first], mirrored, rest[..., first:]], dim=-1)

    def extra_repr(self) -> str:
        return str(self.in_type)


class ClusterUnpool(SurfaceModule):
    r"""Unpooling by transport of the cluster's features to each point: :math:`f_q = \rho(-g_{q \to c}) F_c`.

    The transpose of the sum over clusters, that is of :class:`ClusterPool` up to the sizes of clusters.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        """``[..., V_coarse, dim]`` to ``[..., V_fine, dim]``."""
        _check_vertices(x, pooling.num_coarse)
        ones = torch.ones_like(pooling.transporter)
        y = transport_sum(x, ones, -pooling.transporter, _from_parents(pooling), self.in_type)
        return _reflect(y, pooling, self.in_type)

    def extra_repr(self) -> str:
        return str(self.in_type)


class ClusterInterpolation(SurfaceModule):
    r"""Smooth unpooling: first-order expansion of the coarse field about the centre of each cluster.

    .. math:: f_q = \rho(-g_{q \to c}) \big( F_c + \nabla_{u} F_c \big), \qquad u = \log_c q

    The covariant derivative is fitted to the neighbours of the centre
    (:func:`~meshconv.nn.calculus.stencil.taylor_stencil`), so linear fields are exact on the
    plane, and other fields of second order; :class:`ClusterUnpool` is of first order.
    ``tests/test_pooling.py`` measures both.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, pooling: Pooling, coarse: GaugeGraph) -> Tensor:
        """``[..., V_coarse, dim]`` to ``[..., V_fine, dim]``; ``coarse`` is the level of ``x``."""
        _check_vertices(x, pooling.num_coarse)
        _check_vertices(x, coarse.num_vertices)
        stencil = taylor_stencil(coarse)
        sources, edges = coarse.sources(x, self.in_type)
        up = _from_parents(pooling)
        parts = [(x, torch.ones_like(pooling.log_radius))]
        for k, u in enumerate((torch.cos(pooling.log_angle), torch.sin(pooling.log_angle))):
            weight, total = stencil.gradient[:, k], stencil.gradient_sum[:, k : k + 1].to(x.dtype)
            slope = transport_sum(sources, weight, coarse.transporter, edges, self.in_type) - total * x
            parts.append((slope, pooling.log_radius * u))
        y = sum(transport_sum(part, weight, -pooling.transporter, up, self.in_type) for part, weight in parts)
        return _reflect(torch.as_tensor(y), pooling, self.in_type)

    def extra_repr(self) -> str:
        return str(self.in_type)


def _from_parents(pooling: Pooling) -> Edges:
    """One edge per fine point, from its parent: the children are the transposed rows, which exist already."""
    points = torch.arange(pooling.num_fine + 1, device=pooling.parent.device)
    return points, pooling.parent, points[:-1], pooling.child_ptr, pooling.child


class GlobalPool(SurfaceModule):
    """Global pooling of invariants: scalars, and norms of fields of order (angular frequency) m >= 1.

    Parameters
    ----------
    in_type : FieldType or str
        ``out_type`` has one scalar per field.
    reduction
        ``"mean"`` over points, ``"area"``: weighted by area, or ``"max"``. A surface without points gives zeros.
    """

    def __init__(self, in_type: FieldType | str, reduction: Literal["mean", "area", "max"] = "mean"):
        super().__init__()
        if reduction not in ("mean", "area", "max"):
            raise ValueError(f"reduction {reduction!r} is not 'mean', 'area' or 'max'")
        self.in_type, self.reduction = FieldType(in_type), reduction
        self.out_type = FieldType.from_multiplicities([self.in_type.num_fields])

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, dim]`` to ``[..., G, num_fields]``."""
        _check_vertices(x, graph.num_vertices)
        values = self.in_type.invariants(x)
        edges = graph.members
        # Invariants are scalars and need no transport.
        still = torch.zeros_like(graph.areas)
        if self.reduction == "max":
            return graph.largest(transport_max(values, still, edges, self.out_type, scalars="value"))
        weight = graph.areas if self.reduction == "area" else torch.ones_like(graph.areas)
        share = weight / _positive(graph.total(_sums(weight, edges)))[graph.batch_index]
        return graph.total(transport_sum(values, share, still, edges, self.out_type))

    def extra_repr(self) -> str:
        return f"{self.in_type}, reduction={self.reduction!r}"


class AttentionPool(SurfaceModule):
    r"""Attention pooling: invariants of each surface, averaged with learnt weights.

    .. math:: y_{g,h} = \sum_{p \in g} w_{p,h} \, I(f_p), \qquad w_{p,h} = \mathrm{softmax}_p(A_h I(f_p) + \log a_p)

    with :math:`I(f)` the scalars and field norms at a point. The area :math:`a_p` makes it a mean
    over the surface, independent of the resolution: with A = 0 it is :class:`GlobalPool` with weights by area.

    Parameters
    ----------
    in_type : FieldType or str
    heads
        ``out_type`` has one scalar per head and field, head by head.
    """

    def __init__(self, in_type: FieldType | str, heads: int = 4):
        super().__init__()
        if heads < 1:
            raise ValueError(f"heads has to be at least 1, got {heads}")
        self.in_type, self.heads = FieldType(in_type), heads
        self.out_type = FieldType.from_multiplicities([heads * self.in_type.num_fields])
        self.logits = nn.Linear(self.in_type.num_fields, heads)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, dim]`` to ``[..., G, heads * num_fields]``; zeros for a surface without points or area."""
        _check_vertices(x, graph.num_vertices)
        values = self.in_type.invariants(x)
        logits = self.logits(values).float() if x.dtype != torch.float64 else self.logits(values)
        share = graph.softmax(logits + graph.areas.to(logits.dtype).log()[:, None])
        values, still = torch.cat([values] * self.heads, dim=-1), torch.zeros_like(graph.areas)
        return graph.total(transport_sum(values, share, still, graph.members, self.out_type))

    def extra_repr(self) -> str:
        return f"{self.in_type}, heads={self.heads}"


def _reflect(x: Tensor, pooling: Pooling, field_type: FieldType) -> Tensor:
    """Reflect fields of fine points with a reflecting transporter to their parent."""
    if pooling.reflected is None:
        return x
    if field_type.group != "O(2)":
        raise ValueError(f"the pooling has transporters that reflect; fields of type {field_type} need O(2)")
    return field_type.reflect(x, pooling.reflected)


def _sums(weight: Tensor, edges: Edges, transpose: bool = False) -> Tensor:
    """Sum of the weights of each row's members."""
    ones = torch.ones_like(weight)
    return transport_sum(weight[:, None], ones, 0 * ones, edges, FieldType("1x0"), transpose)[:, 0]


def _positive(total: Tensor) -> Tensor:
    """``total``, or 1 in rows without weight, where all shares are zero."""
    return torch.where(total > 0, total, 1)


_known: WeakKeyDictionary[Pooling, Tensor] = WeakKeyDictionary()


def _centred(pooling: Pooling) -> Tensor:
    """:func:`_balance` of equal weights, computed once for each pooling: it inverts a matrix for every cluster."""
    if torch.compiler.is_compiling():  # a program computes them from its arguments
        return _balance(pooling, torch.ones_like(pooling.transporter))
    if pooling not in _known:
        with outside_inference_mode():
            _known[pooling] = _balance(pooling, torch.ones_like(pooling.transporter))
    return _known[pooling]


@torch.no_grad()
def _balance(pooling: Pooling, weight: Tensor) -> Tensor:
    """Factors :math:`1 + \\lambda_c \\cdot \\log_c q` of the weights whose first moment about each centre is zero."""
    radius, angle, mass = pooling.log_radius.double(), pooling.log_angle.double(), weight.double()
    u = radius[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
    products = torch.cat([u, (u[:, :, None] * u[:, None, :]).flatten(1)], dim=1) * mass[:, None]
    sums = products.new_zeros(pooling.num_coarse, 6).index_add(0, pooling.parent, products)
    inverse = torch.linalg.pinv(sums[:, 2:].unflatten(1, (2, 2)), rtol=1e-4, hermitian=True)
    slope = -(inverse @ sums[:, :2, None])[:, :, 0]
    change = (slope[pooling.parent] * u).sum(-1)
    lowest = change.new_full((pooling.num_coarse,), _LOWEST).scatter_reduce(0, pooling.parent, change, "amin")
    return 1 + change * (_LOWEST / lowest)[pooling.parent]


def _check_vertices(x: Tensor, expected: int) -> None:
    if x.dim() < 2 or x.shape[-2] != expected:
        raise ValueError(f"features of shape {tuple(x.shape)} do not fit {expected} vertices")
