"""Plain-torch references of the transport-and-reduce operators; shapes as in :mod:`meshconv.ops.segment`."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.fields import FieldType


def per_head(weight: Tensor, field_type: FieldType) -> Tensor:
    """Factors ``[..., H]`` repeated for the fields of each head, ``[..., num_fields]``."""
    heads = weight.shape[-1]
    if any(c % heads for c in field_type.multiplicities):
        raise ValueError(f"{heads} heads do not divide the multiplicities of {field_type}")
    parts = [weight.repeat_interleave(field_type.multiplicities[m] // heads, -1) for m in field_type.orders]
    return torch.cat(parts, dim=-1)


def transport_sum_reference(
    x: Tensor, weight: Tensor, transporter: Tensor, src: Tensor, dst: Tensor, num_rows: int, field_type: FieldType
) -> Tensor:
    r""":math:`y_p = \sum_{e: q \to p} w_e \rho(g_e) x_q`, member by member."""
    members = field_type.scale_fields(field_type.rotate(x[:, src], transporter), per_head(weight, field_type))
    return members.new_zeros(x.shape[0], num_rows, field_type.dim).index_add(1, dst, members)


def transport_dot_reference(
    x: Tensor, y: Tensor, transporter: Tensor, src: Tensor, dst: Tensor, field_type: FieldType, heads: int
) -> Tensor:
    r""":math:`\langle y_p, \rho(g_e) x_q \rangle` by head."""
    product = field_type.rotate(x[:, src], transporter) * y[:, dst]
    blocks = field_type.split(product).items()
    by_order = [b.unflatten(-1, (1 if m == 0 else 2, heads, -1)).sum((-3, -1)) for m, b in blocks]
    return torch.stack(by_order).sum(0)


def transport_argmax_reference(
    x: Tensor, src: Tensor, dst: Tensor, num_rows: int, field_type: FieldType, signed_scalars: bool
) -> Tensor:
    """The first member whose field is longest; NaN is longer than any number; -1 in empty rows."""
    blocks = field_type.split(x).items()
    scalars = torch.clone if signed_scalars else torch.abs
    lengths = [scalars(b) if m == 0 else torch.hypot(*b.chunk(2, dim=-1)) for m, b in blocks]  # no overflow
    values = torch.cat(lengths, dim=-1)[:, src]
    where = dst[:, None].expand_as(values)
    shape = (x.shape[0], num_rows, field_type.num_fields)
    best = values.new_full(shape, -torch.inf).scatter_reduce(1, where, values, "amax", include_self=False)
    is_best = (values == best[:, dst]) | (values.isnan() & best[:, dst].isnan())
    none = src.shape[0]
    member = torch.where(is_best, torch.arange(none, device=x.device)[:, None], none)
    chosen = member.new_full(shape, none).scatter_reduce(1, where, member, "amin")
    return torch.where(chosen == none, -1, chosen)


def transport_select_reference(
    x: Tensor, chosen: Tensor, transporter: Tensor, src: Tensor, field_type: FieldType
) -> Tensor:
    r""":math:`y_{p, f} = \rho(g_e) x_{q, f}` for the member ``e = chosen[p, f]``; zero where it is -1."""
    if src.shape[0] == 0:  # nothing to gather from; the empty sum keeps the result differentiable
        return x[:, :0].sum(1, keepdim=True).expand(*chosen.shape[:2], field_type.dim)
    parts, start = [], 0
    for m, block in field_type.split(x).items():
        e = chosen[..., start : start + field_type.multiplicities[m]]
        start += field_type.multiplicities[m]
        present, e = e >= 0, e.clamp(min=0)
        taken = [torch.where(present, c.gather(1, src[e]), 0) for c in block.chunk(1 if m == 0 else 2, dim=-1)]
        if m > 0:
            cos, sin = (m * transporter[e]).cos(), (m * transporter[e]).sin()
            taken = [cos * taken[0] - sin * taken[1], sin * taken[0] + cos * taken[1]]
        parts += taken
    return torch.cat(parts, dim=-1)


def segment_softmax_reference(logits: Tensor, ptr: Tensor) -> Tensor:
    """Softmax over the members of each row, less the row's greatest logit; zeros in a row of nothing but -inf."""
    row = torch.arange(ptr.shape[0] - 1, device=ptr.device).repeat_interleave(ptr.diff(), output_size=logits.shape[1])
    zeros = logits.new_zeros(logits.shape[0], ptr.shape[0] - 1, logits.shape[2])
    highest = zeros.scatter_reduce(1, row[:, None].expand_as(logits), logits.detach(), "amax", include_self=False)
    power = (logits - torch.where(highest == -torch.inf, 0, highest)[:, row]).exp()
    total = zeros.index_add(1, row, power)
    return power / torch.where(total == 0, 1, total)[:, row]
