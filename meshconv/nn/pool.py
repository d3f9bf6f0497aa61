"""Pooling: over clusters with transport, and over whole surfaces."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.geometry.hierarchy import Pooling


class ClusterPool(nn.Module):
    r"""Mean over each cluster, in the frame of its centre: :math:`F_c = \frac{1}{n_c}\sum_q \rho(g_{q \to c}) f_q`."""

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        """``[..., V_fine, dim]`` to ``[..., V_coarse, dim]``."""
        _check_vertices(x, pooling.num_fine)
        # Angles keep their precision: in bfloat16 they would be off by half a degree.
        moved = self.in_type.rotate(x, pooling.transporter).to(x.dtype)
        total = moved.new_zeros(*x.shape[:-2], pooling.num_coarse, x.shape[-1])
        total = total.index_add(-2, pooling.parent, moved)
        return total / pooling.child_ptr.diff().to(x.dtype)[:, None]

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
        return self.in_type.rotate(x.index_select(-2, pooling.parent), -pooling.transporter).to(x.dtype)

    def extra_repr(self) -> str:
        return str(self.in_type)


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
        index = graph.batch_index
        out = values.new_zeros(*values.shape[:-2], graph.num_graphs, values.shape[-1])
        if self.reduction == "max":
            where = index[:, None].expand_as(values)
            return out.scatter_reduce(-2, where, values, "amax", include_self=False)
        weight = graph.areas.to(x.dtype) if self.reduction == "area" else torch.ones_like(values[..., 0])
        weight = weight.expand(values.shape[:-1])
        total = weight.new_zeros(*weight.shape[:-1], graph.num_graphs).index_add(-1, index, weight)
        total = torch.where(total > 0, total, 1)
        return out.index_add(-2, index, values * weight[..., None]) / total[..., None]

    def extra_repr(self) -> str:
        return f"{self.in_type}, reduction={self.reduction!r}"


def _check_vertices(x: Tensor, expected: int) -> None:
    if x.dim() < 2 or x.shape[-2] != expected:
        raise ValueError(f"features of shape {tuple(x.shape)} do not fit {expected} vertices")
