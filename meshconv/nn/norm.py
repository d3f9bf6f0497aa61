"""Normalisation layers that subtract no mean from fields of order >= 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.recompute import is_recomputing
from meshconv.nn.surface_module import SurfaceModule
from meshconv.ops import field_moments, norm_gate
from meshconv.ops.precision import kept_as_given, working_dtype
from meshconv.ranks import rank_and_world, sum_over_ranks


class FieldBatchNorm(nn.Module):
    r"""Batch normalisation of fields.

    .. math:: f^0 \mapsto \gamma \frac{f^0 - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad
        f^m \mapsto \gamma \frac{f^m}{\sqrt{\langle |f^m|^2 \rangle / 2 + \epsilon}}

    Invariant scalars as usual; fields of order (angular frequency) m >= 1 are divided by the root mean square of a
    component, over batch and points, of all processes in a distributed training. Their mean is not subtracted, as it
    depends on the gauge. Evaluation uses running statistics.

    Parameters
    ----------
    in_type : FieldType or str
    eps, momentum
        As in :class:`torch.nn.BatchNorm1d`.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, in_type: FieldType | str, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        self.eps, self.momentum = eps, momentum
        scalars = self.in_type.scalars
        self.scale = nn.Parameter(torch.ones(self.in_type.num_fields))
        self.shift = nn.Parameter(torch.zeros(scalars))
        self.register_buffer("running_mean", torch.zeros(scalars))
        self.register_buffer("running_var", torch.ones(self.in_type.num_fields))

    def forward(self, x: Tensor) -> Tensor:
        self.in_type.check(x, "input")
        if self.training and x.numel():
            mean, var, rows = self._statistics(x)
            self._count(mean, var, rows)
        else:
            mean, var = self.running_mean, self.running_var
        factor = self.scale * torch.rsqrt(var + self.eps)
        scalars = self.in_type.scalars
        offset = nn.functional.pad(self.shift - mean * factor[:scalars], (0, self.in_type.dim - scalars))
        return torch.addcmul(offset.to(x.dtype), x, self.in_type.per_component(factor).to(x.dtype))

    def gated(self, x: Tensor, out_type: FieldType, residual: Tensor | None = None) -> Tensor:
        """Normalise, apply the gated nonlinearity that gives ``out_type``, add ``residual``; in one pass over memory.

        Of scalars the nonlinearity is silu.
        """
        self.in_type.check(x, "input")
        mean, var, batch = self._moments(x)
        return norm_gate(x, self.scale, self.shift, mean, var, residual, out_type, eps=self.eps, batch=batch)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor, bool]:
        """Mean and variances to normalise ``x`` by, and whether they are those of ``x``, without their derivative.

        In training those of the batch, which running estimates count, in several processes of all of them, with
        derivative; else the running ones.
        """
        if not (self.training and x.numel()):
            return self.running_mean, self.running_var, False
        alone = rank_and_world()[1] == 1
        if alone:
            mean, var = field_moments(x, self.in_type)
            rows = float(x.numel() // x.shape[-1])
        else:
            mean, var, rows = self._statistics(x)
        self._count(mean, var, rows)
        return mean, var, alone

    @torch.no_grad()
    def _count(self, mean: Tensor, var: Tensor, rows: float) -> None:
        """Running estimates, as in torch: normalisation uses the biased variance of the batch, they are unbiased."""
        if is_recomputing():  # the first pass has counted
            return
        unbiased = torch.cat([var[: len(mean)] * (rows / max(rows - 1, 1)), var[len(mean) :]])
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """Mean of the scalars, per field the variance (invariant scalars) or mean square of a component, and rows."""
        flat = x.reshape(-1, x.shape[-1]).to(working_dtype(x.dtype))
        rows = float(len(flat))
        share = 1.0  # of these rows in those of all processes
        if rank_and_world()[1] > 1:
            rows = float(sum_over_ranks(torch.tensor(rows, dtype=torch.float64, device=flat.device)))
            share = len(flat) / rows
        mean = sum_over_ranks(flat[:, : self.in_type.scalars].mean(0) * share)
        with kept_as_given((x, flat)):
            var = _Spread.apply(flat, mean, self.in_type)
        return mean, sum_over_ranks(var * share), rows

    def extra_repr(self) -> str:
        return str(self.in_type)


class _Spread(torch.autograd.Function):
    """Mean square of a component of each field of rows, of the scalars about a mean; keeps these two alone."""

    @staticmethod
    def forward(flat: Tensor, mean: Tensor, field_type: FieldType) -> Tensor:
        own, spread = field_moments(flat, field_type)
        return spread + nn.functional.pad((own - mean).square(), (0, len(spread) - len(own)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        flat, mean, ctx.field_type = inputs
        ctx.save_for_backward(flat, mean)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        flat, mean = ctx.saved_tensors
        kind, scalars = ctx.field_type, ctx.field_type.scalars
        centred = flat - nn.functional.pad(mean, (0, kind.dim - scalars))
        order_0 = kind.multiplicities[0]
        shares = torch.cat([grad[:order_0], grad[order_0:] / 2]) * (2 / len(flat))
        to_mean = -2 * grad[:scalars] * centred[:, :scalars].mean(0)
        return centred * kind.per_component(shares), to_mean, None


class FieldLayerNorm(nn.Module):
    r"""Layer normalisation of fields, at each point over its fields.

    .. math:: f^0_c \mapsto \gamma_c \frac{f^0_c - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta_c, \qquad
        f^m_c \mapsto \gamma_c \frac{f^m_c}{\sqrt{\langle f^2 \rangle + \epsilon}}

    with mean and variance over the invariant scalars of the point, and the mean square over all components of its other
    fields, of orders (angular frequencies) m >= 1. The ratios of their norms are preserved. Training and evaluation are
    the same.

    Parameters
    ----------
    in_type : FieldType or str
    eps
        Added to variances.
    """

    def __init__(self, in_type: FieldType | str, eps: float = 1e-5):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(self.in_type.num_fields))
        self.shift = nn.Parameter(torch.zeros(self.in_type.scalars))

    def forward(self, x: Tensor) -> Tensor:
        self.in_type.check(x, "input")
        scalars = self.in_type.scalars
        values = x.to(working_dtype(x.dtype))
        even, rest = values.split([scalars, self.in_type.dim - scalars], dim=-1)
        factor, shift = self.in_type.per_component(self.scale).to(values.dtype), self.shift.to(values.dtype)
        parts = []
        if scalars:
            parts.append(nn.functional.layer_norm(even, (scalars,), factor[:scalars], shift, self.eps))
        if rest.shape[-1]:
            parts.append(nn.functional.rms_norm(rest, rest.shape[-1:], factor[scalars:], self.eps))
        return torch.cat(parts, dim=-1).to(x.dtype)

    def extra_repr(self) -> str:
        return str(self.in_type)


class FieldInstanceNorm(SurfaceModule):
    r"""Instance normalisation of fields, over the points of each surface of a batch.

    The formulas are those of :class:`FieldBatchNorm` with statistics of one surface and one leading index, in training
    and in evaluation: the output of a surface is independent of its batch. On a surface with one point invariant
    scalars are the bias.

    Parameters
    ----------
    in_type : FieldType or str
    eps
        Added to variances.
    """

    def __init__(self, in_type: FieldType | str, eps: float = 1e-5):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(self.in_type.num_fields))
        self.shift = nn.Parameter(torch.zeros(self.in_type.scalars))

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, dim]``; statistics by the surfaces of ``graph``."""
        self.in_type.check(x, "input")
        scalars, owner = self.in_type.scalars, graph.batch_index
        values = x.to(working_dtype(x.dtype))
        mean = _mean_of_surfaces(values[..., :scalars], graph).index_select(-2, owner)
        even = values[..., :scalars] - mean
        values = torch.cat([even, values[..., scalars:]], dim=-1)
        blocks = self.in_type.split(values.square()).items()
        squares = torch.cat([b if m == 0 else b.unflatten(-1, (2, -1)).mean(-2) for m, b in blocks], dim=-1)
        var = _mean_of_surfaces(squares, graph)
        factor = (self.scale * torch.rsqrt(var + self.eps)).index_select(-2, owner)
        shift = nn.functional.pad(self.shift, (0, self.in_type.dim - scalars))
        return (self.in_type.scale_fields(values, factor) + shift).to(x.dtype)

    def extra_repr(self) -> str:
        return str(self.in_type)


def _mean_of_surfaces(values: Tensor, graph: GaugeGraph) -> Tensor:
    """Mean over the points of every surface, ``[..., V, C]`` to ``[..., G, C]``; 0 without points."""
    sizes = graph.total(graph.graph_ptr.diff().to(values.dtype)).clamp(min=1)
    zeros = values.new_zeros(*values.shape[:-2], graph.num_graphs, values.shape[-1])
    return graph.total(zeros.index_add(-2, graph.batch_index, values)) / sizes[:, None]
