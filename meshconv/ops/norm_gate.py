"""Fields normalised, gated and added to others in one pass, and in one pass for each kind of gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.ops.backend import has_block_operators, is_compiled, register
from meshconv.ops.precision import kept_as_given, working_dtype
from meshconv.ops.references.norm_gate import (
    field_moments_reference,
    gated_type,
    norm_gate_grad_reference,
    norm_gate_reference,
)

Sizes = list[int]

_FUSED = has_block_operators()


def field_moments(x: Tensor, field_type: FieldType) -> tuple[Tensor, Tensor]:
    r"""Moments of fields over all points, without derivative.

    .. math:: \mu = \langle f^0 \rangle, \qquad \sigma^2_0 = \langle (f^0 - \mu)^2 \rangle, \qquad
        \sigma^2_m = \langle |f^m|^2 \rangle / 2

    Parameters
    ----------
    x : Tensor [..., dim]
        At least one point. float16 and bfloat16 are computed in float32.
    field_type : FieldType

    Returns
    -------
    mean : Tensor [scalars]
        Of invariant scalars; other fields have none that is independent of the gauge.
    var : Tensor [num_fields]
        Of invariant scalars the variance, of others the mean square of a component.

    Examples
    --------
    >>> mean, var = field_moments(torch.tensor([[1.0, 3.0, 1.0], [3.0, 1.0, 3.0]]), FieldType("1x0 + 1x1"))
    >>> mean, var
    (tensor([2.]), tensor([1., 5.]))
    """
    field_type.check(x)
    rows = x.detach().reshape(-1, x.shape[-1]).to(working_dtype(x.dtype))
    if _FUSED and is_compiled(x.device):
        moments = torch.ops.meshconv.field_moments(rows, field_type.multiplicities, field_type.odd_scalars)
    else:
        moments = field_moments_reference(rows, field_type)
    return moments[: field_type.scalars], moments[field_type.scalars :]


def norm_gate(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, residual: Tensor | None, out_type: FieldType,
    *, eps: float, batch: bool,
) -> Tensor:  # fmt: skip
    r"""Normalise fields, apply the gated nonlinearity, add others.

    .. math:: y = \mathrm{gate}\left(\gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta\right) + r

    with the gate of :class:`~meshconv.nn.GatedNonlinearity`. The derivative needs ``x`` alone: what is between is
    computed again. Derivatives beyond the second run in plain torch.

    Parameters
    ----------
    x : Tensor [..., dim]
        Fields of the gate's input type. float32 or float64; float16 and bfloat16 are computed in float32.
    scale : Tensor [fields]
        One for each field of the gate's input.
    shift, mean : Tensor [scalars]
        Of its invariant scalars.
    var : Tensor [fields]
    residual : Tensor [..., out_type.dim], optional
    out_type : FieldType
    eps
        Added to the variances.
    batch
        ``mean`` and ``var`` are the moments of ``x`` (:func:`field_moments`), and the derivative is that of all rows
        together; no gradients of ``mean`` and ``var``.

    Returns
    -------
    Tensor [..., out_type.dim]
        Of the wider dtype of ``x`` and ``residual``.

    Raises
    ------
    ValueError, RuntimeError
        On shapes and dtypes that do not fit, with the numbers.

    Notes
    -----
    ``tests/test_fused.py`` compares with :func:`norm_gate_reference` and with finite differences to second order.
    """
    gated_type(out_type).check(x, "input")
    dtype = working_dtype(x.dtype)
    flat = x.reshape(-1, x.shape[-1]).to(dtype)
    scale, shift, mean, var = (t.to(dtype) for t in (scale, shift, mean, var))
    more = flat.new_empty(0) if residual is None else residual.reshape(-1, residual.shape[-1]).to(dtype)
    if _FUSED and is_compiled(x.device):
        kind = (out_type.multiplicities, out_type.odd_scalars)
        with kept_as_given((x, flat)):
            y = torch.ops.meshconv.norm_gate(flat, scale, shift, mean, var, more, *kind, eps, batch)
    else:
        y = norm_gate_reference(flat, scale, shift, mean, var, more, out_type, eps, batch)
    given = x.dtype if residual is None else torch.promote_types(x.dtype, residual.dtype)
    return y.reshape(*x.shape[:-1], out_type.dim).to(given)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, last, ctx.counts, ctx.odd, ctx.eps, ctx.batch = inputs
    ctx.residual = last.dim() == 2
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, scale, shift, mean, var = ctx.saved_tensors
    tail = (ctx.counts, ctx.odd, ctx.eps, ctx.batch)
    d_x, d_scale, d_shift = torch.ops.meshconv.norm_gate_grad(x, scale, shift, mean, var, g, *tail)
    d_mean = d_var = None
    if not ctx.batch:
        inverse = torch.rsqrt(var + ctx.eps)
        if ctx.needs_input_grad[3]:
            d_mean = -(scale * inverse)[: len(mean)] * d_shift
        if ctx.needs_input_grad[4]:
            d_var = -0.5 * inverse.square() * scale * d_scale
    return d_x, d_scale, d_shift, d_mean, d_var, g if ctx.residual else None, None, None, None, None


def _setup_grad(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.counts, ctx.odd, ctx.eps, ctx.batch = inputs
    ctx.save_for_backward(*tensors)


def _second(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    """Derivatives of the gradients, by those of their reference."""
    again = torch.is_grad_enabled()
    need = ctx.needs_input_grad[:6]
    with torch.enable_grad():
        leaves = [t.view_as(t) for t in ctx.saved_tensors]
        x, scale, shift, mean, var, grad = leaves
        kind = _kind(ctx.counts, ctx.odd)
        values = norm_gate_grad_reference(x, scale, shift, mean, var, grad, kind, ctx.eps, ctx.batch)
        wanted = [leaf for leaf, n in zip(leaves, need, strict=True) if n]
        found = iter(torch.autograd.grad(values, wanted, gradients, create_graph=again, allow_unused=True))
    return (*(next(found) if n else None for n in need), None, None, None, None)


def _kind(counts: Sizes, odd: int) -> FieldType:
    return FieldType.from_multiplicities(counts, odd)


def _moments_elsewhere(x: Tensor, type: Sizes, odd: int) -> Tensor:
    return field_moments_reference(x, _kind(type, odd))


def _elsewhere(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, residual: Tensor, type: Sizes, odd: int,
    eps: float, batch: bool,
) -> Tensor:  # fmt: skip
    return norm_gate_reference(x, scale, shift, mean, var, residual, _kind(type, odd), eps, batch)


def _grad_elsewhere(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, grad: Tensor, type: Sizes, odd: int,
    eps: float, batch: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return norm_gate_grad_reference(x, scale, shift, mean, var, grad, _kind(type, odd), eps, batch)


def _fake_moments(x: Tensor, type: Sizes, odd: int) -> Tensor:
    return x.new_empty(type[0] - odd + sum(type))


def _fake(x: Tensor, *rest: Any) -> Tensor:
    type = rest[5]
    return x.new_empty(x.shape[0], type[0] + 2 * sum(type[1:]))


def _fake_grad(x: Tensor, scale: Tensor, shift: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), scale.new_empty(scale.shape), shift.new_empty(shift.shape)


if _FUSED:
    for _name, _function, _registered in (
        ("field_moments", _moments_elsewhere, (_fake_moments,)),
        ("norm_gate", _elsewhere, (_fake, _backward, _setup)),
        ("norm_gate_grad", _grad_elsewhere, (_fake_grad, _second, _setup_grad)),
    ):
        torch.library.impl(f"meshconv::{_name}", "default", _function)  # where the library has no kernel
        register(_name, *_registered)
