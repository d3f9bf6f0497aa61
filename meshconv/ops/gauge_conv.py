"""The gauge convolution: one call for users, compiled where possible, differentiable to any order."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.ops.backend import BACKEND, is_compiled
from meshconv.ops.reference import gauge_conv_reference

Edges = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""dst_ptr, src, dst, src_ptr, src_edge: both directions of a graph in compressed rows."""


def gauge_conv(
    x: Tensor,
    weight: Tensor,
    radial: Tensor,
    angle: Tensor,
    transporter: Tensor,
    edges: Edges,
    in_type: FieldType,
    out_type: FieldType,
) -> Tensor:
    r"""Gauge-equivariant convolution with dense kernels in the edge's frame.

    .. math:: y_p = \sum_{e: q \to p} \sum_b R_{eb}\; \rho_{out}(\theta_e) W_b^T \rho_{in}(g_e - \theta_e) x_q

    with ``theta`` the log angle of the source and ``g`` the transporter. Every kernel that commutes with changes
    of gauge is of this form and ``W`` is free, so ``W`` is what a layer learns (DESIGN: K0). The compiled operator
    sums ``R e^{i m theta} u`` over the edges first and multiplies by ``W`` once per vertex.

    Parameters
    ----------
    x : Tensor [..., V_src, D_in]
        float32 or float64; float16 and bfloat16 are computed in float32.
    weight : Tensor [R, D_in, D_out]
    radial : Tensor [E, R]
        Values of the radial functions, quadrature weights included.
    angle, transporter : Tensor [E]
        Radians.
    edges
        ``(dst_ptr, src, dst, src_ptr, src_edge)``, int64, sorted by ``dst`` (see :class:`~meshconv.GaugeGraph`).
    in_type, out_type : FieldType

    Returns
    -------
    Tensor [..., V_dst, D_out]
        In the frames of the targets; of the dtype of ``x``. Rows without edges are zero.

    Raises
    ------
    ValueError, RuntimeError
        On shapes, dtypes or devices that do not fit, with the numbers.

    Notes
    -----
    ``tests/test_gauge_conv*.py`` compare both implementations with each other, with finite differences to second
    order, and with GEM-CNN's published layer.

    References
    ----------
    de Haan, Weiler, Cohen, Welling: Gauge Equivariant Mesh CNNs, ICLR 2021, Eq. 2.
    """
    in_type.check(x, "input")
    if x.dim() < 2:
        raise ValueError(f"x needs a vertex axis and a feature axis, got shape {tuple(x.shape)}")
    check_devices(x, graph=edges, weight=(weight,), geometry=(radial, angle, transporter))
    dtype = x.dtype if x.dtype == torch.float64 else torch.float32
    batch = x.shape[:-2]
    flat = x.reshape(math.prod(batch), *x.shape[-2:]).to(dtype)
    weight, radial, angle, transporter = (t.to(dtype) for t in (weight, radial, angle, transporter))
    dst_ptr, src, dst, src_ptr, _ = edges
    if x.shape[-2] != src_ptr.shape[0] - 1:
        raise ValueError(f"x has {x.shape[-2]} vertices, the graph {src_ptr.shape[0] - 1}")
    if is_compiled(x.device):
        y = torch.ops.meshconv.gauge_conv(
            flat, weight, radial, angle, transporter, *edges, in_type.multiplicities, out_type.multiplicities, False
        )
    else:
        rows = dst_ptr.shape[0] - 1
        with torch.autocast(x.device.type, enabled=False):  # angles and sums stay in float32
            y = gauge_conv_reference(flat, weight, radial, angle, transporter, src, dst, rows, in_type, out_type)
    return y.reshape(*batch, *y.shape[1:]).to(x.dtype)


def check_devices(x: Tensor, **others: tuple[Tensor, ...]) -> None:
    """Tensors of one call lie on one device: an index on another one could not be looked at, much less read."""
    for name, tensors in others.items():
        for t in tensors:
            if t.device != x.device:
                raise ValueError(f"{name} is on {t.device}, the features on {x.device}; move one with .to()")


# Formulas for the compiled operators. A call's state is (x, other, third, angle, transporter, edges..., types,
# transpose); the adjoint of a convolution is the same operator run backwards along the edges.

_Sizes = list[int]


def _generator(weight: Tensor, multiplicities: _Sizes, dim: int) -> Tensor:
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


class _Call:
    """One application of the trilinear form T(x, W, R; y) = <y, gauge_conv(x, W, R)> and its derivatives."""

    name = "gauge_conv"

    def __init__(self, angle: Tensor, transporter: Tensor, edges: Edges, types: tuple[_Sizes, _Sizes], transpose: bool):
        self.angle, self.transporter, self.edges = angle, transporter, edges
        self.in_type, self.out_type = types
        self.transpose = transpose

    def _tail(self) -> tuple[Any, ...]:
        return (self.angle, self.transporter, *self.edges, self.in_type, self.out_type, self.transpose)

    def _run(self, suffix: str, *arguments: Any) -> Tensor:
        return getattr(torch.ops.meshconv, self.name + suffix)(*arguments)

    def _generator(self, weight: Tensor, multiplicities: _Sizes, dim: int) -> Tensor:
        return _generator(weight, multiplicities, dim)

    def conv(self, x: Tensor, weight: Tensor, radial: Tensor) -> Tensor:
        return self._run("", x, weight, radial, *self._tail())

    def adjoint(self, y: Tensor, weight: Tensor, radial: Tensor) -> Tensor:
        return self._run(
            "", y, weight.transpose(1, 2).contiguous(), radial, self.angle, self.transporter, *self.edges,
            self.out_type, self.in_type, not self.transpose,
        )  # fmt: skip

    def weight(self, x: Tensor, y: Tensor, radial: Tensor) -> Tensor:
        # <y, conv(x)> = <adjoint(y), x>: moments may be taken of either side, so of the one with fewer.
        of_x = (2 * len(self.out_type) - 1) * _dim(self.in_type)
        of_y = (2 * len(self.in_type) - 1) * _dim(self.out_type)
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
        d_out = (self.edge(x, y, self._generator(weight, self.out_type, 2)) * radial).sum(-1)
        # u -> J u with u on the left of W: W^T J u = (J^T W)^T u, and J^T = -J.
        d_into = (self.edge(x, y, -self._generator(weight, self.in_type, 1)) * radial).sum(-1)
        if self.transpose:
            return d_out - d_into, -d_out
        return d_out - d_into, d_into


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:10])
    ctx.types, ctx.transpose, ctx.form = (inputs[10], inputs[11]), inputs[12], _Call


def _call(ctx: Any) -> tuple[_Call, Tensor, Tensor, Tensor]:
    x, second, third, angle, transporter, *edges = ctx.saved_tensors
    return ctx.form(angle, transporter, tuple(edges), ctx.types, ctx.transpose), x, second, third


def _gradients(ctx: Any, x: Any, second: Any, third: Any, angles: Any) -> tuple[Tensor | None, ...]:
    """Evaluate only what is asked for; every argument is a function without arguments."""
    need = ctx.needs_input_grad
    values = [f() if wanted else None for f, wanted in zip((x, second, third), need, strict=False)]
    d_angle, d_transporter = angles() if need[3] or need[4] else (None, None)
    return (*values, d_angle if need[3] else None, d_transporter if need[4] else None, *([None] * 8))


def _conv_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    call, x, weight, radial = _call(ctx)
    return _gradients(
        ctx,
        lambda: call.adjoint(g, weight, radial),
        lambda: call.weight(x, g, radial),
        lambda: call.edge(x, g, weight),
        lambda: call.angles(x, g, weight, radial),
    )


def _weight_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    call, x, y, radial = _call(ctx)
    return _gradients(
        ctx,
        lambda: call.adjoint(y, g, radial),
        lambda: call.conv(x, g, radial),
        lambda: call.edge(x, y, g),
        lambda: call.angles(x, y, g, radial),
    )


def _edge_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    call, x, y, weight = _call(ctx)
    return _gradients(
        ctx,
        lambda: call.adjoint(y, weight, g),
        lambda: call.conv(x, weight, g),
        lambda: call.weight(x, y, g),
        lambda: call.angles(x, y, weight, g),
    )


def _dim(multiplicities: _Sizes) -> int:
    return sum(c if m == 0 else 2 * c for m, c in enumerate(multiplicities))


def _fake_conv(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: _Sizes, out_type: _Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    rows = (src_ptr if transpose else dst_ptr).shape[0] - 1
    return x.new_empty(x.shape[0], rows, _dim(out_type))


def _fake_weight(
    x: Tensor, grad: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: _Sizes, out_type: _Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(radial.shape[1], _dim(in_type), _dim(out_type))


def _fake_edge(
    x: Tensor, grad: Tensor, weight: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: _Sizes, out_type: _Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(src.shape[0], weight.shape[0])


if BACKEND.devices:
    for _name, _fake, _backward in (
        ("gauge_conv", _fake_conv, _conv_backward),
        ("gauge_conv_weight", _fake_weight, _weight_backward),
        ("gauge_conv_edge", _fake_edge, _edge_backward),
    ):
        torch.library.register_fake(f"meshconv::{_name}", _fake)
        torch.library.register_autograd(f"meshconv::{_name}", _backward, setup_context=_setup)
