"""Derivatives and shapes of the compiled transport-and-reduce operators, in terms of each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshconv.ops.backend import BACKEND, register
from meshconv.ops.gauge_autograd import Sizes, generator, num_components

# A call's state is (transporter, the five edge tensors, type). Sources and targets of a form
# <b_dst, w rho(g) a_src> stand in this order whatever the direction that a call runs in.


def _sum(x: Tensor, weight: Tensor, state: tuple[Any, ...], transpose: bool) -> Tensor:
    return torch.ops.meshconv.transport_sum(x, weight, *state, transpose)


def _dot(a: Tensor, b: Tensor, state: tuple[Any, ...], heads: int) -> Tensor:
    return torch.ops.meshconv.transport_dot(a, b, *state, heads)


def _angle(a: Tensor, b: Tensor, weight: Tensor, state: tuple[Any, ...]) -> Tensor:
    """d/dg <b, w rho(g) a> = <J^T b, w rho(g) a>, with J the generator and J^T = -J."""
    turned = -generator(b, state[-1], 2)
    return (_dot(a, turned, state, weight.shape[-1]) * weight).sum((0, 2))


def _setup_collect(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:8])
    ctx.type, ctx.transpose = inputs[8], inputs[9]


def _sum_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, *rest = ctx.saved_tensors
    state = (*rest, ctx.type)
    a, b = (g, x) if ctx.transpose else (x, g)
    need = ctx.needs_input_grad
    d_weight = None
    if need[1]:
        d_weight = _dot(a, b, state, weight.shape[-1])
        if weight.shape[0] == 1 and x.shape[0] != 1:
            d_weight = d_weight.sum(0, keepdim=True)
    return (
        _sum(g, weight, state, not ctx.transpose) if need[0] else None,
        d_weight,
        _angle(a, b, weight, state) if need[2] else None,
        *([None] * 7),
    )


def _setup_dot(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:8])
    ctx.type = inputs[8]


def _dot_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, y, *rest = ctx.saved_tensors
    state = (*rest, ctx.type)
    need = ctx.needs_input_grad
    return (
        _sum(y, g, state, True) if need[0] else None,
        _sum(x, g, state, False) if need[1] else None,
        _angle(x, y, g, state) if need[2] else None,
        *([None] * 7),
    )


def _select_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, chosen, *rest = ctx.saved_tensors
    state = (*rest, ctx.type)
    select = torch.ops.meshconv.transport_select
    d_transporter = None
    if ctx.needs_input_grad[2]:
        a, b = (g, x) if ctx.transpose else (x, g)
        slopes = select(a, chosen, *state, False) * -generator(b, ctx.type, 2)
        d_transporter = _per_member(_per_field(slopes, ctx.type), chosen, state[3])
    d_x = select(g, chosen, *state, not ctx.transpose) if ctx.needs_input_grad[0] else None
    return d_x, None, d_transporter, *([None] * 7)


def _per_field(values: Tensor, multiplicities: list[int]) -> Tensor:
    """Sum both components of every field, [..., D] to [..., fields]."""
    widths = [(1 if m == 0 else 2) * c for m, c in enumerate(multiplicities)]
    blocks = values.split(widths, dim=-1)
    return torch.cat([b if m == 0 else b.unflatten(-1, (2, -1)).sum(-2) for m, b in enumerate(blocks)], dim=-1)


def _per_member(values: Tensor, chosen: Tensor, dst: Tensor) -> Tensor:
    """Sum what belongs to each member over batch and fields, by comparing instead of adding in any order."""
    member = torch.arange(dst.shape[0], device=dst.device)[:, None]
    return torch.where(chosen[:, dst] == member, values[:, dst], 0).sum((0, 2))


def _setup_softmax(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, inputs[1])


def _softmax_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    weights, ptr = ctx.saved_tensors
    product = weights * g
    return product - weights * torch.ops.meshconv.segment_total(product, ptr), None


def _setup_total(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _total_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    (ptr,) = ctx.saved_tensors
    return torch.ops.meshconv.segment_total(g, ptr), None


def _fake_collected(
    x: Tensor, other: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor,
    src_edge: Tensor, type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(x.shape[0], (src_ptr if transpose else dst_ptr).shape[0] - 1, num_components(type))


def _fake_dot(
    x: Tensor, y: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor,
    src_edge: Tensor, type: Sizes, heads: int,
) -> Tensor:  # fmt: skip
    return x.new_empty(x.shape[0], src.shape[0], heads)


def _fake_argmax(
    x: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor, src_edge: Tensor, type: Sizes,
    signed_scalars: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(x.shape[0], dst_ptr.shape[0] - 1, sum(type), dtype=torch.int64)


def _fake_values(values: Tensor, ptr: Tensor) -> Tensor:
    return values.new_empty(values.shape)


if BACKEND.devices:
    register("transport_argmax", _fake_argmax)
    for _name, _fake, _backward, _setup in (
        ("transport_sum", _fake_collected, _sum_backward, _setup_collect),
        ("transport_dot", _fake_dot, _dot_backward, _setup_dot),
        ("transport_select", _fake_collected, _select_backward, _setup_collect),
        ("segment_softmax", _fake_values, _softmax_backward, _setup_softmax),
        ("segment_total", _fake_values, _total_backward, _setup_total),
    ):
        register(_name, _fake, _backward, _setup)
