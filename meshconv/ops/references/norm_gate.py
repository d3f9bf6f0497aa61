"""References in plain torch of normalised, gated fields; differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from meshconv.fields import FieldType


def gated_type(out_type: FieldType) -> FieldType:
    """The input type of a gated nonlinearity: a scalar more for each field that is not an invariant scalar."""
    counts, odd = out_type.multiplicities, out_type.odd_scalars
    return out_type.like((sum(counts) + odd, *counts[1:]), odd)


def field_moments_reference(x: Tensor, field_type: FieldType) -> Tensor:
    """Means of the invariant scalars of ``x [rows, dim]``, then the mean square of a component of each field."""
    mean, squares = x.new_zeros(0), []
    for m, block in field_type.split(x).items():
        if m == 0:
            even, odd = block.split([field_type.scalars, field_type.odd_scalars], dim=-1)
            mean = even.mean(0)
            squares += [(even - mean).square().mean(0), odd.square().mean(0)]
        else:
            squares.append(block.square().mean(0).unflatten(0, (2, -1)).mean(0))
    return torch.cat([mean, *squares])


def norm_gate_reference(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, residual: Tensor,
    out_type: FieldType, eps: float, batch: bool,
) -> Tensor:  # fmt: skip
    """``gate(scale (x - mean) / sqrt(var + eps) + shift) + residual``; without residual where it is ``[0]``."""
    in_type = gated_type(out_type)
    if batch:
        mean, var = _moments(x, in_type)
    y = _gate(_normalised(x, scale, shift, mean, var, in_type, eps)[0], out_type)
    return y if residual.dim() == 1 else y + residual


def norm_gate_grad_reference(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, grad: Tensor,
    out_type: FieldType, eps: float, batch: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of ``<grad, norm_gate>`` in x, scale and shift."""
    in_type = gated_type(out_type)
    if batch:
        mean, var = _moments(x, in_type)
    pre, z = _normalised(x, scale, shift, mean, var, in_type, eps)
    d_pre = _gate_gradient(pre, grad, out_type)
    d_shift = d_pre[:, : in_type.scalars].sum(0)
    parts = in_type.split((d_pre * z).sum(0))
    d_scale = torch.cat([p if m == 0 else p.unflatten(0, (2, -1)).sum(0) for m, p in parts.items()])
    d_z = d_pre
    if batch:
        share = torch.cat([d_scale.new_full((c,), 1.0 if m == 0 else 0.5)
                           for m, c in enumerate(in_type.multiplicities)]) / len(x)  # fmt: skip
        d_z = d_pre - _padded(d_shift / len(x), in_type) - z * in_type.per_component(d_scale * share)
    return d_z * in_type.per_component(scale * torch.rsqrt(var + eps)), d_scale, d_shift


def _moments(x: Tensor, in_type: FieldType) -> tuple[Tensor, Tensor]:
    moments = field_moments_reference(x, in_type)
    return moments[: in_type.scalars], moments[in_type.scalars :]


def _padded(scalars: Tensor, in_type: FieldType) -> Tensor:
    return functional.pad(scalars, (0, in_type.dim - in_type.scalars))


def _normalised(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, in_type: FieldType, eps: float
) -> tuple[Tensor, Tensor]:
    """With scale and shift, and without."""
    z = (x - _padded(mean, in_type)) * in_type.per_component(torch.rsqrt(var + eps))
    return z * in_type.per_component(scale) + _padded(shift, in_type), z


def _split(x: Tensor, out_type: FieldType) -> tuple[Tensor, Tensor, Tensor]:
    """Scalars, gates and the gated fields of the gate's input."""
    gates = out_type.num_fields - out_type.scalars
    plain, gate, rest = x.split([out_type.scalars, gates, x.shape[-1] - out_type.scalars - gates], dim=-1)
    return plain, gate, rest


def _spread(gate: Tensor, out_type: FieldType) -> Tensor:
    """One value per gated field to one per component."""
    whole = functional.pad(gate, (out_type.scalars, 0))
    return out_type.per_component(whole)[..., out_type.scalars :]


def _gate(x: Tensor, out_type: FieldType) -> Tensor:
    plain, gate, rest = _split(x, out_type)
    return torch.cat([functional.silu(plain), rest * _spread(gate.sigmoid(), out_type)], dim=-1)


def _gate_gradient(x: Tensor, grad: Tensor, out_type: FieldType) -> Tensor:
    plain, gate, rest = _split(x, out_type)
    s, opened = plain.sigmoid(), gate.sigmoid()
    of_plain, of_rest = grad.split([out_type.scalars, rest.shape[-1]], dim=-1)
    through, start, sums = of_rest * rest, 0, []
    for count, parts in [(out_type.odd_scalars, 1), *((c, 2) for c in out_type.multiplicities[1:])]:
        sums.append(through[:, start : start + parts * count].unflatten(1, (parts, count)).sum(1))
        start += parts * count
    d_gate = torch.cat(sums, dim=-1) * opened * (1 - opened)
    return torch.cat([of_plain * (s + plain * s * (1 - s)), d_gate, of_rest * _spread(opened, out_type)], dim=-1)
