"""Plain-torch references of the compiled operators: readable, differentiable, one dense product per edge."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.fields import FieldType


def gauge_conv_reference(
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
    r"""Gauge convolution, edge by edge.

    .. math:: y_p = \sum_{e: q \to p} \sum_b R_{eb}\; \rho_{out}(\theta_e) W_b^T \rho_{in}(g_e - \theta_e) x_q

    Parameters
    ----------
    x : Tensor [B, V_src, D_in]
    weight : Tensor [R, D_in, D_out]
    radial : Tensor [E, R]
    angle, transporter : Tensor [E]
    src, dst : int64 Tensor [E]
    num_rows : int
        Number of targets.

    Returns
    -------
    Tensor [B, num_rows, D_out]
    """
    in_frame = in_type.rotate(x[:, src], transporter - angle)
    product = torch.einsum("er,bei,rio->beo", radial, in_frame, weight)
    messages = out_type.rotate(product, angle)
    return messages.new_zeros(x.shape[0], num_rows, out_type.dim).index_add(1, dst, messages)


def point_terms_reference(x: Tensor, point: Tensor, bias: Tensor, in_type: FieldType, out_type: FieldType) -> Tensor:
    """``x point + bias``: of ``point [D_in, D_out]`` the blocks between equal orders, the bias in the first columns."""
    parts = []
    for m in out_type.orders:
        rows, columns = in_type.slice(m), out_type.slice(m)
        if rows.stop > rows.start:
            part = x[..., rows] @ point[rows, columns]
        else:  # a product over nothing has no form in ONNX
            part = x.new_zeros(*x.shape[:-1], columns.stop - columns.start)
        parts.append(part + torch.nn.functional.pad(bias, (0, part.shape[-1] - len(bias))) if m == 0 else part)
    return torch.cat(parts, dim=-1)
