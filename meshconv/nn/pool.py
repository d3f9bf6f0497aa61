"""Pooling: over clusters with transport, and over whole surfaces."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.geometry.hierarchy import Pooling
from meshconv.ops import transport_max, transport_sum
from meshconv.ops.gauge_conv import Edges


class ClusterPool(nn.Module):
    r"""Mean over each cluster, in the frame of its centre: :math:`F_c = \frac{1}{n_c}\sum_q \rho(g_{q \to c}) f_q`."""

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, pooling: Pooling, areas: Tensor | None = None) -> Tensor:
        """``[..., V_fine, dim]`` to ``[..., V_coarse, dim]``; with ``areas [V_fine]`` the mean is weighed by them."""
        _check_vertices(x, pooling.num_fine)
        x = _reflect(x, pooling, self.in_type)
        edges = _from_parents(pooling)
        weight = torch.ones_like(pooling.transporter) if areas is None else areas
        share = _shares(weight, pooling.parent, edges, transpose=True)
        return transport_sum(x, share, -pooling.transporter, edges, self.in_type, transpose=True)

    def extra_repr(self) -> str:
        return str(self.in_type)


class ClusterMaxPool(nn.Module):
    r"""The longest field of each cluster, channel by channel, in the frame of its centre.

    .. math:: F_c = \rho(g_{q^* \to c}) f_{q^*}, \qquad q^* = \arg\max_{q \in c} |f_q|

    Invariant scalars are compared by value, as in ordinary max pooling; lengths do not see the frame, so it is
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


class ClusterUnpool(nn.Module):
    r"""Each point takes its cluster's features, turned into its own frame: :math:`f_q = \rho(-g_{q \to c}) F_c`."""

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


def _from_parents(pooling: Pooling) -> Edges:
    """One edge a fine point, from its parent to it: then the children are the transposed rows, already there."""
    points = torch.arange(pooling.num_fine + 1, device=pooling.parent.device)
    return points, pooling.parent, points[:-1], pooling.child_ptr, pooling.child


class GlobalPool(nn.Module):
    """One invariant vector per surface: scalars, and lengths of the fields of higher order, pooled over its points.

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
        points = torch.arange(graph.num_vertices + 1, device=x.device)
        edges = (graph.graph_ptr, points[:-1], graph.batch_index, points, points[:-1])
        # Invariants are scalars: nothing turns.
        still = torch.zeros_like(graph.areas)
        if self.reduction == "max":
            return transport_max(values, still, edges, self.out_type, scalars="value")
        weight = graph.areas if self.reduction == "area" else torch.ones_like(graph.areas)
        share = _shares(weight, graph.batch_index, edges)
        return transport_sum(values, share, still, edges, self.out_type)

    def extra_repr(self) -> str:
        return f"{self.in_type}, reduction={self.reduction!r}"


def _reflect(x: Tensor, pooling: Pooling, field_type: FieldType) -> Tensor:
    """Mirror the fine points that their parent sees mirrored."""
    if pooling.reflected is None:
        return x
    if field_type.group != "O(2)":
        raise ValueError(f"the pooling has transporters that reflect, fields of type {field_type} only turn")
    return field_type.reflect(x, pooling.reflected)


def _shares(weight: Tensor, owner: Tensor, edges: Edges, transpose: bool = False) -> Tensor:
    """``weight`` over its sum in the row that owns the member; in a row without weight all shares are zero."""
    ones = torch.ones_like(weight)
    total = transport_sum(weight[:, None], ones, 0 * ones, edges, FieldType("1x0"), transpose)[:, 0]
    return weight / torch.where(total > 0, total, 1)[owner]


def _check_vertices(x: Tensor, expected: int) -> None:
    if x.dim() < 2 or x.shape[-2] != expected:
        raise ValueError(f"features of shape {tuple(x.shape)} do not fit {expected} vertices")
