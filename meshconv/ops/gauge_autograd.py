"""Derivatives and shapes of the compiled gauge convolution, in terms of itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.ops.backend import BACKEND, has_block_operators, register
from meshconv.ops.gauge_conv import Edges
from meshconv.ops.products import sum_of_products
from meshconv.ops.references.gauge_conv import point_terms_reference

# A call's state is (x, other, third, angle, transporter, edges..., types,
# transpose); the adjoint of a convolution is the same operator run backwards along the edges.

Sizes = list[int]
"""Multiplicities of the orders from 0 on, as the operators take a type."""


def generator(weight: Tensor, multiplicities: Sizes, dim: int) -> Tensor:
    """Derivative of rho(a) v at a = 0 along ``dim``: (cos, sin) becomes m (-sin, cos)."""
    parts, start = [], 0
    for m, count in enumerate(multiplicities):
        cos = weight.narrow(dim, start, count)
        if m == 0:
            parts.append(torch.zeros_like(cos))
            start += count
        else:
            parts += [-m * weight.narrow(dim, start + count, count), m * cos]
            start += 2 * count
    return torch.cat(parts, dim=dim)


class GaugeCall:
    """One application of the trilinear form T(x, W, R; y) = <y, gauge_conv(x, W, R)> and its derivatives."""

    name = "gauge_conv"

    def __init__(self, angle: Tensor, transporter: Tensor, edges: Edges, types: tuple[Sizes, Sizes], transpose: bool):
        self.angle, self.transporter, self.edges = angle, transporter, edges
        self.in_type, self.out_type = types
        self.transpose = transpose

    def _tail(self) -> tuple[Any, ...]:
        return (self.angle, self.transporter, *self.edges, self.in_type, self.out_type, self.transpose)

    def _run(self, suffix: str, *arguments: Any) -> Tensor:
        return getattr(torch.ops.meshconv, self.name + suffix)(*arguments)

    def generator(self, weight: Tensor, multiplicities: Sizes, dim: int) -> Tensor:
        return generator(weight, multiplicities, dim)

    def conv(self, x: Tensor, weight: Tensor, radial: Tensor) -> Tensor:
        return self._run("", x, weight, radial, *self._tail())

    def adjoint(self, y: Tensor, weight: Tensor, radial: Tensor) -> Tensor:
        return self._run(
            "", y, weight.transpose(1, 2).contiguous(), radial, self.angle, self.transporter, *self.edges,
            self.out_type, self.in_type, not self.transpose,
        )  # fmt: skip

    def weight(self, x: Tensor, y: Tensor, radial: Tensor) -> Tensor:
        # <y, conv(x)> = <adjoint(y), x>: moments may be taken of either side, so of the one with fewer.
        of_x = (2 * len(self.out_type) - 1) * num_components(self.in_type)
        of_y = (2 * len(self.in_type) - 1) * num_components(self.out_type)
        if of_x <= of_y:
            return self._run("_weight", x, y, radial, *self._tail())
        swapped = self._run(
            "_weight", y, x, radial, self.angle, self.transporter, *self.edges,
            self.out_type, self.in_type, not self.transpose,
        )  # fmt: skip
        return swapped.transpose(1, 2).contiguous()

    def edge(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        return self._run("_edge", x, y, weight, *self._tail())

    def angles(self, x: Tensor, y: Tensor, weight: Tensor, radial: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients in (angle, transporter): the message is rho_out(out) W rho_in(into) x.

        d/d out is the kernel J_out W, d/d into is W J_in; forward out = angle, into = transporter - angle,
        backward out = angle - transporter, into = -angle.
        """
        # <y, rho_out W^T u>: a generator on the output side acts on W's last axis, on the input side on its middle.
        d_out = (self.edge(x, y, self.generator(weight, self.out_type, 2)) * radial).sum(-1)
        # u -> J u with u on the left of W: W^T J u = (J^T W)^T u, and J^T = -J.
        d_into = (self.edge(x, y, -self.generator(weight, self.in_type, 1)) * radial).sum(-1)
        if self.transpose:
            return d_out - d_into, -d_out
        return d_out - d_into, d_into


def setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:10])
    ctx.types, ctx.transpose, ctx.form = (inputs[10], inputs[11]), inputs[12], GaugeCall


def _call(ctx: Any) -> tuple[GaugeCall, Tensor, Tensor, Tensor]:
    x, second, third, angle, transporter, *edges = ctx.saved_tensors
    return ctx.form(angle, transporter, tuple(edges), ctx.types, ctx.transpose), x, second, third


def _gradients(ctx: Any, x: Any, second: Any, third: Any, angles: Any) -> tuple[Tensor | None, ...]:
    """Evaluate the required gradients; every argument is a function without arguments."""
    need = ctx.needs_input_grad
    values = [f() if wanted else None for f, wanted in zip((x, second, third), need, strict=False)]
    d_angle, d_transporter = angles() if need[3] or need[4] else (None, None)
    return (*values, d_angle if need[3] else None, d_transporter if need[4] else None, *([None] * 8))


def conv_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    call, x, weight, radial = _call(ctx)
    return _gradients(
        ctx,
        lambda: call.adjoint(g, weight, radial),
        lambda: call.weight(x, g, radial),
        lambda: call.edge(x, g, weight),
        lambda: call.angles(x, g, weight, radial),
    )


def _setup_point(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:12])
    ctx.types, ctx.transpose = (inputs[12], inputs[13]), inputs[14]


def _point_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    """The adjoint of a convolution with terms of the point is one with their transpose."""
    x, weight, radial, point, bias, angle, transporter, *edges = ctx.saved_tensors
    call = GaugeCall(angle, transporter, tuple(edges), ctx.types, ctx.transpose)
    need, (in_type, out_type) = ctx.needs_input_grad, ctx.types
    d_x = d_weight = d_radial = d_point = d_bias = None
    if need[0]:
        d_x = torch.ops.meshconv.gauge_conv_point(
            g, weight.transpose(1, 2).contiguous(), radial, point.T.contiguous(), bias.new_empty(0), angle, transporter,
            *edges, out_type, in_type, not ctx.transpose,
        )  # fmt: skip
    if need[1]:
        d_weight = call.weight(x, g, radial)
    if need[2]:
        d_radial = call.edge(x, g, weight)
    if need[3]:
        d_point = _point_gradient(x, g, in_type, out_type)
    if need[4]:
        d_bias = g[..., : bias.shape[0]].sum((0, 1))
    d_angle, d_transporter = call.angles(x, g, weight, radial) if need[5] or need[6] else (None, None)
    angles = (d_angle if need[5] else None, d_transporter if need[6] else None)
    return d_x, d_weight, d_radial, d_point, d_bias, *angles, *([None] * 8)


def _point_gradient(x: Tensor, g: Tensor, in_type: Sizes, out_type: Sizes) -> Tensor:
    """x^T g in the blocks between equal orders, ``[D_in, D_out]``."""
    x, g = x.flatten(0, 1), g.flatten(0, 1)
    columns, above, first = [], 0, 0
    with torch.autocast(x.device.type, enabled=False):
        for m, count in enumerate(out_type):
            width = count if m == 0 else 2 * count
            rows = 0 if m >= len(in_type) else in_type[m] if m == 0 else 2 * in_type[m]
            block = sum_of_products(x[:, above : above + rows], g[:, first : first + width])
            columns.append(torch.nn.functional.pad(block, (0, 0, above, x.shape[1] - above - rows)))
            above, first = above + rows, first + width
    return torch.cat(columns, dim=1)


def weight_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    call, x, y, radial = _call(ctx)
    return _gradients(
        ctx,
        lambda: call.adjoint(y, g, radial),
        lambda: call.conv(x, g, radial),
        lambda: call.edge(x, y, g),
        lambda: call.angles(x, y, g, radial),
    )


def edge_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    call, x, y, weight = _call(ctx)
    return _gradients(
        ctx,
        lambda: call.adjoint(y, weight, g),
        lambda: call.conv(x, weight, g),
        lambda: call.weight(x, y, g),
        lambda: call.angles(x, y, weight, g),
    )


def num_components(multiplicities: Sizes) -> int:
    """Size of a feature vector by multiplicities of the orders."""
    return sum(c if m == 0 else 2 * c for m, c in enumerate(multiplicities))


def fake_conv(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    rows = (src_ptr if transpose else dst_ptr).shape[0] - 1
    return x.new_empty(x.shape[0], rows, num_components(out_type))


def _fake_weight(
    x: Tensor, grad: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(radial.shape[1], num_components(in_type), num_components(out_type))


def fake_edge(
    x: Tensor, grad: Tensor, weight: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(src.shape[0], weight.shape[0])


def _fake_point(
    x: Tensor, weight: Tensor, radial: Tensor, point: Tensor, bias: Tensor, angle: Tensor, transporter: Tensor,
    dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes,
    transpose: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(*x.shape[:2], num_components(out_type))


def _point_elsewhere(
    x: Tensor, weight: Tensor, radial: Tensor, point: Tensor, bias: Tensor, angle: Tensor, transporter: Tensor,
    dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes,
    transpose: bool,
) -> Tensor:  # fmt: skip
    tail = (angle, transporter, dst_ptr, src, dst, src_ptr, src_edge, in_type, out_type, transpose)
    kinds = (FieldType.from_multiplicities(in_type), FieldType.from_multiplicities(out_type))
    return torch.ops.meshconv.gauge_conv(x, weight, radial, *tail) + point_terms_reference(x, point, bias, *kinds)


if has_block_operators():
    torch.library.impl("meshconv::gauge_conv_point", "default", _point_elsewhere)  # where the library has no kernel
    register("gauge_conv_point", _fake_point, _point_backward, _setup_point)
if BACKEND.devices:
    for _name, _fake, _backward in (
        ("gauge_conv", fake_conv, conv_backward),
        ("gauge_conv_weight", _fake_weight, weight_backward),
        ("gauge_conv_edge", fake_edge, edge_backward),
    ):
        register(_name, _fake, _backward, setup)
