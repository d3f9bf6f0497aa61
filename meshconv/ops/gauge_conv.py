"""The gauge convolution: compiled where possible, differentiable to any order."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.ops.backend import has_block_operators, is_compiled
from meshconv.ops.precision import kept_as_given, working_dtype
from meshconv.ops.references.gauge_conv import gauge_conv_reference, point_terms_reference

_FUSED = has_block_operators()

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
    point: Tensor | None = None,
    bias: Tensor | None = None,
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
    point : Tensor [D_in, D_out], optional
        ``x point`` is added inside of the product, where the targets are the sources; of the matrix only the blocks
        between components of one order are used.
    bias : Tensor [scalars], optional
        Added to the first components; only with ``point``.

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
    own: tuple[Tensor, ...] = () if point is None else (point, x.new_empty(0) if bias is None else bias)
    check_devices(x, graph=edges, weight=(weight, *own), geometry=(radial, angle, transporter))
    dtype = working_dtype(x.dtype)
    batch = x.shape[:-2]
    flat = x.reshape(math.prod(batch), *x.shape[-2:]).to(dtype)
    weight, radial, angle, transporter = (t.to(dtype) for t in (weight, radial, angle, transporter))
    dst_ptr, src, dst, src_ptr, _ = edges
    if x.shape[-2] != src_ptr.shape[0] - 1:
        raise ValueError(f"x has {x.shape[-2]} vertices, the graph {src_ptr.shape[0] - 1}")
    own = tuple(t.to(dtype) for t in own)
    if is_compiled(x.device):
        tail = (angle, transporter, *edges, in_type.multiplicities, out_type.multiplicities, False)
        with kept_as_given((x, flat)):
            if own and _FUSED:
                y = torch.ops.meshconv.gauge_conv_point(flat, weight, radial, *own, *tail)
            else:
                y = torch.ops.meshconv.gauge_conv(flat, weight, radial, *tail)
    else:
        rows = dst_ptr.shape[0] - 1
        with torch.autocast(x.device.type, enabled=False):  # angles and sums stay in float32
            y = gauge_conv_reference(flat, weight, radial, angle, transporter, src, dst, rows, in_type, out_type)
    if own and not (_FUSED and is_compiled(x.device)):
        with torch.autocast(x.device.type, enabled=False):
            y = y + point_terms_reference(flat, own[0], own[1], in_type, out_type)
    return y.reshape(*batch, *y.shape[1:]).to(x.dtype)


def check_devices(x: Tensor, **others: tuple[Tensor, ...]) -> None:
    """Raise unless all tensors of a call are on one device."""
    for name, tensors in others.items():
        for t in tensors:
            if t.device != x.device:
                raise ValueError(f"{name} is on {t.device}, the features on {x.device}; move one with .to()")
