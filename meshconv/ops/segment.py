"""Transport and reduce: members of each row are transported to its frame, then summed, compared or weighted."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.ops.backend import is_compiled
from meshconv.ops.gauge_conv import Edges, check_devices
from meshconv.ops.precision import kept_as_given, working_dtype
from meshconv.ops.references import segment as reference


def transport_sum(
    x: Tensor,
    weight: Tensor,
    transporter: Tensor,
    edges: Edges,
    field_type: FieldType,
    transpose: bool = False,
) -> Tensor:
    r"""Weighted sum of each row's members, transported into the row's frame.

    .. math:: y_p = \sum_{e: q \to p} w_e \, \rho(g_e) x_q

    Parameters
    ----------
    x : Tensor [..., V_src, D]
        float32 or float64; float16 and bfloat16 are computed in float32. With ``transpose``: [..., V_dst, D].
    weight : Tensor [E] or [E, H] or [..., E, H]
        With H heads, every order's channels fall into H equal runs, and run ``h`` is weighed by ``weight[..., h]``.
        Leading axes are those of ``x``.
    transporter : Tensor [E]
        Radians, from the frame at ``src`` to the frame at ``dst``.
    edges
        ``(dst_ptr, src, dst, src_ptr, src_edge)``, int64, sorted by ``dst``, as of a :class:`~meshconv.GaugeGraph`.
    transpose
        Run the adjoint: every source collects from its targets, with the transporters turned round.

    Returns
    -------
    Tensor [..., V_dst, D]
        Of the dtype of ``x``; zero for rows without members. With ``transpose``: [..., V_src, D].

    Raises
    ------
    ValueError, RuntimeError
        On shapes, dtypes or devices that do not fit, with the numbers.

    Notes
    -----
    ``tests/test_segment.py`` compares with the reference and with finite differences to second order. The same bits
    come out for any number of threads.
    """
    check_devices(x, graph=edges, weight=(weight,), transporter=(transporter,))
    flat, rows = _flat(x, edges, field_type, transpose)
    dtype, batch = flat.dtype, x.shape[:-2]
    weight = weight.to(dtype)
    if weight.dim() < 3:
        weight = weight.reshape(1, *weight.shape, *([1] * (2 - weight.dim())))
    elif weight.shape[:-2] != batch:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, its leading axes have to be {tuple(batch)}")
    else:
        weight = weight.reshape(math.prod(batch), *weight.shape[-2:])
    transporter = transporter.to(dtype)
    if is_compiled(x.device):
        multiplicities = field_type.multiplicities
        with kept_as_given((x, flat)):
            y = torch.ops.meshconv.transport_sum(flat, weight, transporter, *edges, multiplicities, transpose)
    else:
        _, src, dst, _, _ = edges
        ends = (-transporter, dst, src) if transpose else (transporter, src, dst)
        y = reference.transport_sum_reference(flat, weight, *ends, rows, field_type)
    return y.reshape(*batch, rows, field_type.dim).to(x.dtype)


def transport_dot(
    x: Tensor, y: Tensor, transporter: Tensor, edges: Edges, field_type: FieldType, heads: int = 1
) -> Tensor:
    r"""Inner product of each row with each of its members, :math:`\langle y_p, \rho(g_e) x_q \rangle`, by head.

    A change of gauge leaves it alone: logits of an attention that needs no frame.

    Parameters
    ----------
    x, y : Tensor [..., V_src, D], [..., V_dst, D]
    transporter, edges
        As of :func:`transport_sum`.
    heads
        H runs of channels of every order.

    Returns
    -------
    Tensor [..., E, H]
    """
    check_devices(x, graph=edges, y=(y,), transporter=(transporter,))
    flat, _ = _flat(x, edges, field_type, False)
    other, _ = _flat(y, edges, field_type, True)
    if flat.shape[0] != other.shape[0] or x.dtype != y.dtype:
        raise ValueError(f"x {tuple(x.shape)} of {x.dtype} and y {tuple(y.shape)} of {y.dtype} do not go together")
    transporter = transporter.to(flat.dtype)
    if is_compiled(x.device):
        multiplicities = field_type.multiplicities
        with kept_as_given((x, flat), (y, other)):
            values = torch.ops.meshconv.transport_dot(flat, other, transporter, *edges, multiplicities, heads)
    else:
        values = reference.transport_dot_reference(flat, other, transporter, *edges[1:3], field_type, heads)
    return values.reshape(*x.shape[:-2], *values.shape[1:]).to(x.dtype)


def transport_max(
    x: Tensor,
    transporter: Tensor,
    edges: Edges,
    field_type: FieldType,
    scalars: Literal["norm", "value"] = "norm",
) -> Tensor:
    r"""Of each row's members the longest, field by field, transported into the row's frame.

    .. math:: y_{p,f} = \rho(g_{e^*}) x_{q^*, f}, \qquad e^* = \arg\max_{e: q \to p} |x_{q, f}|

    Equivariant, since lengths do not see the frame. Of equals the first is taken, and NaN counts as the longest.

    Parameters
    ----------
    x : Tensor [..., V_src, D]
    transporter, edges
        As of :func:`transport_sum`.
    scalars
        Whether fields of order 0 are compared by absolute value or, as in ordinary max pooling, by value.

    Returns
    -------
    Tensor [..., V_dst, D]
        Zero for rows without members.

    Notes
    -----
    The gradient goes to the member that was taken. That with respect to ``transporter`` takes memory for one number
    per member and field.
    """
    if scalars not in ("norm", "value"):
        raise ValueError(f"scalars {scalars!r} is not 'norm' or 'value'")
    check_devices(x, graph=edges, transporter=(transporter,))
    flat, rows = _flat(x, edges, field_type, False)
    transporter = transporter.to(flat.dtype)
    signed = scalars == "value"
    if is_compiled(x.device):
        ops, multiplicities = torch.ops.meshconv, field_type.multiplicities
        chosen = ops.transport_argmax(flat.detach(), *edges, multiplicities, signed)
        with kept_as_given((x, flat)):
            y = ops.transport_select(flat, chosen, transporter, *edges, multiplicities, False)
    else:
        _, src, dst, _, _ = edges
        chosen = reference.transport_argmax_reference(flat.detach(), src, dst, rows, field_type, signed)
        y = reference.transport_select_reference(flat, chosen, transporter, src, field_type)
    return y.reshape(*x.shape[:-2], rows, field_type.dim).to(x.dtype)


def segment_softmax(logits: Tensor, ptr: Tensor) -> Tensor:
    """Softmax over the members of each row: ``exp(l - max)`` divided by its sum.

    Parameters
    ----------
    logits : Tensor [..., E, H]
    ptr : int64 Tensor [rows + 1]
        Members of row ``p`` are ``ptr[p]:ptr[p + 1]``.

    Returns
    -------
    Tensor [..., E, H]
        Zeros where all logits of a row are ``-inf``.
    """
    if logits.dim() < 2:
        raise ValueError(f"logits need a member axis and a head axis, got shape {tuple(logits.shape)}")
    check_devices(logits, ptr=(ptr,))
    flat = logits.reshape(math.prod(logits.shape[:-2]), *logits.shape[-2:]).to(working_dtype(logits.dtype))
    if is_compiled(logits.device):
        weights = torch.ops.meshconv.segment_softmax(flat, ptr)
    else:
        weights = reference.segment_softmax_reference(flat, ptr)
    return weights.reshape(logits.shape).to(logits.dtype)


def _flat(x: Tensor, edges: Edges, field_type: FieldType, at_targets: bool) -> tuple[Tensor, int]:
    """``x`` as [batch, vertices, dim] in the dtype to compute in, and the number of rows on the other side."""
    field_type.check(x, "input")
    if x.dim() < 2:
        raise ValueError(f"x needs a vertex axis and a feature axis, got shape {tuple(x.shape)}")
    dst_ptr, _, _, src_ptr, _ = edges
    here, there = (dst_ptr, src_ptr) if at_targets else (src_ptr, dst_ptr)
    if x.shape[-2] != here.shape[0] - 1:
        raise ValueError(f"x has {x.shape[-2]} vertices, the graph {here.shape[0] - 1}")
    flat = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]).to(working_dtype(x.dtype))
    return flat, there.shape[0] - 1
