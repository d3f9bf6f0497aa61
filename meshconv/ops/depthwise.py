"""The depthwise gauge convolution: separate kernels for every channel."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.ops.backend import BACKEND, is_compiled, register
from meshconv.ops.gauge_autograd import (
    GaugeCall,
    Sizes,
    conv_backward,
    edge_backward,
    fake_conv,
    fake_edge,
    generator,
    setup,
    weight_backward,
)
from meshconv.ops.gauge_conv import Edges, check_devices
from meshconv.ops.precision import kept_as_given, working_dtype


def depthwise_conv(
    x: Tensor,
    weight: Tensor,
    radial: Tensor,
    angle: Tensor,
    transporter: Tensor,
    edges: Edges,
    in_type: FieldType,
    out_type: FieldType,
) -> Tensor:
    r"""Depthwise gauge-equivariant convolution.

    .. math:: y_{p,c} = \sum_{e: q \to p} \sum_b R_{eb}\; \rho_M(\theta_e) W_{bc}^T \rho_N(g_e - \theta_e) x_{q,c}

    with :math:`\rho_N` one field of each order up to N. Channels are not mixed, so there is no dense product: the cost
    is about that of the moments of :func:`~meshconv.ops.gauge_conv`.

    Parameters
    ----------
    x : Tensor [..., V_src, (2 N + 1) C]
        float32 or float64; float16 and bfloat16 are computed in float32.
    weight : Tensor [R, 2 N + 1, 2 M + 1, C]
    radial : Tensor [E, R]
    angle, transporter : Tensor [E]
        Radians.
    edges
        ``(dst_ptr, src, dst, src_ptr, src_edge)``, int64, sorted by ``dst``.
    in_type, out_type : FieldType
        C fields of every order up to N, and up to M.

    Returns
    -------
    Tensor [..., V_dst, (2 M + 1) C]
        Of the dtype of ``x``; zero in rows without edges.

    Raises
    ------
    ValueError, RuntimeError
        On types that are not uniform, and on shapes, dtypes or devices that do not fit, with the numbers.

    Notes
    -----
    ``tests/test_depthwise_op.py`` compares with the reference, with finite differences to second order, and with the
    dense convolution of a block-diagonal kernel.
    """
    in_type.check(x, "input")
    channels = in_type.multiplicities[0]
    if {*in_type.multiplicities, *out_type.multiplicities} != {channels}:
        raise ValueError(f"a depthwise convolution needs one multiplicity at all orders, got {in_type} and {out_type}")
    if x.dim() < 2 or x.shape[-2] != edges[3].shape[0] - 1:
        raise ValueError(f"x has shape {tuple(x.shape)}, the graph {edges[3].shape[0] - 1} vertices")
    check_devices(x, graph=edges, weight=(weight,), geometry=(radial, angle, transporter))
    dtype = working_dtype(x.dtype)
    batch, rows = x.shape[:-2], edges[0].shape[0] - 1
    flat = x.reshape(math.prod(batch), *x.shape[-2:]).to(dtype)
    weight, radial, angle, transporter = (t.to(dtype) for t in (weight, radial, angle, transporter))
    if is_compiled(x.device):
        types = (in_type.multiplicities, out_type.multiplicities)
        with kept_as_given((x, flat)):
            y = torch.ops.meshconv.depthwise_conv(flat, weight, radial, angle, transporter, *edges, *types, False)
    else:
        with torch.autocast(x.device.type, enabled=False):  # angles and sums stay in float32
            ends = edges[1:3]
            y = depthwise_conv_reference(flat, weight, radial, angle, transporter, *ends, rows, in_type, out_type)
    return y.reshape(*batch, *y.shape[1:]).to(x.dtype)


def depthwise_conv_reference(
    x: Tensor,
    weight: Tensor,
    radial: Tensor,
    angle: Tensor,
    transporter: Tensor,
    src: Tensor,
    dst: Tensor,
    num_rows: int,
    in_type: FieldType,
    out_type: FieldType,
) -> Tensor:
    """Reference in plain torch, per edge; arguments as in :func:`depthwise_conv`, ``x [B, V_src, (2 N + 1) C]``."""
    in_frame = in_type.rotate(x[:, src], transporter - angle).unflatten(-1, (-1, weight.shape[-1]))
    product = torch.einsum("er,beic,rijc->bejc", radial, in_frame, weight).flatten(-2)
    messages = out_type.rotate(product, angle)
    return messages.new_zeros(x.shape[0], num_rows, out_type.dim).index_add(1, dst, messages)


class _DepthwiseCall(GaugeCall):
    """The form's derivatives; a weight has one component where the features have a run of channels."""

    name = "depthwise_conv"

    def generator(self, weight: Tensor, multiplicities: Sizes, dim: int) -> Tensor:
        return generator(weight, [1] * len(multiplicities), dim)


def _setup_depthwise(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    setup(ctx, inputs, output)
    ctx.form = _DepthwiseCall


def _fake_weight(
    x: Tensor, grad: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    return x.new_empty(radial.shape[1], 2 * len(in_type) - 1, 2 * len(out_type) - 1, in_type[0])


if BACKEND.devices:
    for _name, _fake, _backward in (
        ("depthwise_conv", fake_conv, conv_backward),
        ("depthwise_conv_weight", _fake_weight, weight_backward),
        ("depthwise_conv_edge", fake_edge, edge_backward),
    ):
        register(_name, _fake, _backward, _setup_depthwise)
