"""The Fourier nonlinearity: inverse transform, pointwise function and transform in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from meshconv.ops.backend import BACKEND, is_compiled, register
from meshconv.ops.precision import kept_as_given, working_dtype

ACTIVATIONS = ("relu", "silu")


Activation = str | Callable[[Tensor], Tensor]


def fourier_act(x: Tensor, samples: int, activation: Activation = "relu") -> Tensor:
    r"""Pointwise function of functions on the circle, given by their Fourier coefficients.

    .. math:: f(\phi_k) = x_0 + \sum_{m=1}^M (x_{2m-1} \cos m\phi_k + x_{2m} \sin m\phi_k), \qquad
        y_0 = \frac{1}{N} \sum_k \sigma(f(\phi_k)), \quad
        y_{2m-1} = \frac{2}{N} \sum_k \sigma(f(\phi_k)) \cos m\phi_k, \quad \phi_k = \frac{2 \pi k}{N}

    and the same with sin. Samples stay in registers, also in the backward pass.

    Parameters
    ----------
    x : Tensor [..., 2M + 1, C]
        float32 or float64; float16 and bfloat16 are computed in float32.
    samples
        Number N of points on the circle, at least ``2M + 1``.
    activation
        ``"relu"`` or ``"silu"``, compiled, or any pointwise function of a tensor, in plain torch.

    Returns
    -------
    Tensor [..., 2M + 1, C]

    Raises
    ------
    ValueError, RuntimeError
        On shapes and names that do not fit, with the numbers.

    Notes
    -----
    ``tests/test_fourier_op.py`` compares with :func:`fourier_act_reference` and with finite differences to second
    order. Derivatives beyond the second run in plain torch.
    """
    if x.dim() < 2 or x.shape[-2] % 2 != 1:
        raise ValueError(f"x needs axes for 2M + 1 components and for channels, got shape {tuple(x.shape)}")
    if samples < x.shape[-2]:
        raise ValueError(f"{samples} samples do not resolve order {x.shape[-2] // 2}; it takes {x.shape[-2]}")
    check_activation(activation)
    rows = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]).to(working_dtype(x.dtype))
    if is_compiled(x.device) and not callable(activation):
        with kept_as_given((x, rows)):
            y = torch.ops.meshconv.fourier_act(rows, samples, activation)
    else:
        y = fourier_act_reference(rows, samples, activation)
    return y.reshape(x.shape).to(x.dtype)


def check_activation(activation: Activation) -> None:
    """Raise ``ValueError`` unless it is a function or the name of one."""
    if not callable(activation) and activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r} is not a function or one of {', '.join(ACTIVATIONS)}")


def fourier_act_reference(x: Tensor, samples: int, activation: Activation = "relu") -> Tensor:
    """Reference in plain torch, with all samples at once; without autocast."""
    with torch.autocast(x.device.type, enabled=False):
        waves, scale = _waves(x, samples)
        values = torch.einsum("...pc,pk->...kc", x, waves)
        if callable(activation):
            values = activation(values)
        else:
            values = values.relu() if activation == "relu" else functional.silu(values)
        return torch.einsum("...kc,pk->...pc", values, waves) * scale


def _waves(x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """1, cos m phi_k, sin m phi_k, [P, N], and the analysis's scale, [P, 1]: 1/N at order 0, 2/N above."""
    parts = x.shape[-2]
    m = (torch.arange(parts, device=x.device) + 1) // 2
    turns = torch.arange(samples, device=x.device) * m[:, None] % samples  # exact at every order
    phi = turns.to(torch.float64) * (2 * math.pi / samples)
    odd = (torch.arange(parts, device=x.device) % 2 == 1)[:, None]
    waves = torch.where(odd | (m == 0)[:, None], phi.cos(), phi.sin())
    scale = torch.where(m == 0, 1.0, 2.0).to(torch.float64)[:, None] / samples
    return waves.to(x.dtype), scale.to(x.dtype)


# The compiled operators are F_0, F_1 and F_2 of one family, symmetric in its factors (csrc/cpu/fourier_kernel.h):
#   F_d(x; u_1 .. u_d)[p] = sum_k S[p, k] act^(d)((x S)_k) (u_1 S)_k .. (u_d S)_k.
# The derivative of <h, F_d> with respect to x is F_(d+1)(x; .., h), that with respect to u_i puts h in its place.


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.samples, ctx.activation = inputs
    ctx.save_for_backward(*tensors)


def _act_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    return torch.ops.meshconv.fourier_act_grad(x, g, ctx.samples, ctx.activation), None, None


def _grad_backward(ctx: Any, h: Tensor) -> tuple[Tensor | None, ...]:
    x, g = ctx.saved_tensors
    ops, tail = torch.ops.meshconv, (ctx.samples, ctx.activation)
    d_x = d_g = None
    if ctx.needs_input_grad[0]:
        linear = ctx.activation == "relu"  # piece by piece
        d_x = torch.zeros_like(x) if linear else ops.fourier_act_curvature(x, g, h, *tail)
    if ctx.needs_input_grad[1]:
        scale = _waves(x, ctx.samples)[1]
        d_g = scale * ops.fourier_act_grad(x, h / scale, *tail)
    return d_x, d_g, None, None


def _curvature_backward(ctx: Any, i: Tensor) -> tuple[Tensor | None, ...]:
    with torch.autocast(i.device.type, enabled=False):
        return _curvature_gradients(ctx, i)


def _curvature_gradients(ctx: Any, i: Tensor) -> tuple[Tensor | None, ...]:
    x, g, h = ctx.saved_tensors
    need, samples = ctx.needs_input_grad, ctx.samples
    waves, scale = _waves(x, samples)
    at = [torch.einsum("...pc,pk->...kc", t, waves) for t in (x, g * scale, h, i)]

    def back(values: Tensor) -> Tensor:
        return torch.einsum("...kc,pk->...pc", values, waves)

    s = at[0].sigmoid()
    if ctx.activation == "relu":
        second = third = torch.zeros_like(s)
    else:
        slope = s * (1 - s)
        second = slope * (2 + at[0] * (1 - 2 * s))
        third = slope * ((1 - 2 * s) * (3 + at[0] * (1 - 2 * s)) - 2 * at[0] * slope)
    return (
        back(third * at[1] * at[2] * at[3]) if need[0] else None,
        scale * back(second * at[2] * at[3]) if need[1] else None,
        back(second * at[1] * at[3]) if need[2] else None,
        None,
        None,
    )


def _fake(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


if BACKEND.devices:
    for _name, _backward in (
        ("fourier_act", _act_backward),
        ("fourier_act_grad", _grad_backward),
        ("fourier_act_curvature", _curvature_backward),
    ):
        register(_name, _fake, _backward, _setup)
