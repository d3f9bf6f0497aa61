"""The operators in plain torch operations, for programs that run without their library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from meshconv.fields import FieldType
from meshconv.ops.backend import BACKEND, has_block_operators
from meshconv.ops.depthwise import depthwise_conv_reference
from meshconv.ops.fourier import fourier_act_reference
from meshconv.ops.references import segment
from meshconv.ops.references.gauge_conv import gauge_conv_reference, point_terms_reference
from meshconv.ops.references.norm_gate import norm_gate_reference

Sizes = list[int]


def plain_operators(
    matrices: bool = False, degrees: Mapping[tuple[int, int], int] | None = None
) -> dict[Any, Callable]:
    """The reference of each operator that networks use forwards, by the operator: a table of decompositions.

    Parameters
    ----------
    matrices
        For ONNX: convolutions as matrices and products of whole arrays, slower in torch, faster in its runtimes; sums
        over edges element by element, since those of rows are ``ScatterND`` there, which onnxruntime adds up in
        parallel without a lock (its issue 18048): wrong now and then with several threads.
    degrees : mapping of (int, int) to int, optional
        Of graphs that are known, by their numbers of targets and edges: the largest number of edges of a target.
        Convolutions on them multiply by the weights once per target, not once per edge; sums are those of tables.
    """
    always: dict[Any, Callable] = {torch.ops.aten.repeat_interleave.Tensor: repeat_interleave}
    if matrices:
        always[torch.ops.aten.index_add.default] = index_add
    if not BACKEND.devices:
        return always  # the references have run, and programs of them are plain already
    ops, known, by_edge = torch.ops.meshconv, degrees or {}, _gauge_conv_of_matrices if matrices else _gauge_conv

    def conv(
        x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
        dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
    ) -> Tensor:  # fmt: skip
        # Sizes that vary are no keys; where one graph is known, all are.
        size = known.get((dst_ptr.shape[0] - 1, src.shape[0])) if known and not transpose else None
        if size is not None:
            kinds = _type(in_type), _type(out_type)
            return _gauge_conv_of_neighbours(x, weight, radial, angle, transporter, dst_ptr, src, *kinds, size)
        edges = (dst_ptr, src, dst, src_ptr, src_edge)
        return by_edge(x, weight, radial, angle, transporter, *edges, in_type, out_type, transpose)

    def transport_sum(
        x: Tensor, weight: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor,
        src_edge: Tensor, type: Sizes, transpose: bool,
    ) -> Tensor:  # fmt: skip
        edges, ptr = (dst_ptr, src, dst, src_ptr, src_edge), src_ptr if transpose else dst_ptr
        size = known.get((ptr.shape[0] - 1, src.shape[0])) if known else None
        return _transport_sum(x, weight, transporter, *edges, type, transpose, size)

    fused: dict[Any, Callable] = {}
    if has_block_operators():
        fused = {ops.gauge_conv_point.default: lambda *given: _gauge_conv_point(conv, *given),
                 ops.norm_gate.default: _norm_gate}  # fmt: skip
    return {
        **always,
        **fused,
        ops.gauge_conv.default: conv,
        ops.depthwise_conv.default: _depthwise_conv,
        ops.transport_sum.default: transport_sum,
        ops.transport_dot.default: _transport_dot,
        ops.transport_argmax.default: _transport_argmax,
        ops.transport_select.default: _transport_select,
        ops.segment_softmax.default: segment.segment_softmax_reference,
        ops.segment_total.default: _segment_total,
        ops.fourier_act.default: fourier_act_reference,
    }


def _type(multiplicities: Sizes) -> FieldType:
    return FieldType.from_multiplicities(multiplicities)


def _ends(
    angle: Tensor, transporter: Tensor, edges: tuple[Tensor, ...], transpose: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Angles, members and number of rows of a call, whichever way it runs along the edges."""
    dst_ptr, src, dst, src_ptr = edges
    if transpose:
        return angle - transporter, -transporter, dst, src, src_ptr.shape[0] - 1
    return angle, transporter, src, dst, dst_ptr.shape[0] - 1


def _angles(field_type: FieldType, angle: Tensor) -> Tensor:
    """``m * angle`` of the orders from 0, ``[E, orders]``."""
    return angle[:, None] * torch.arange(field_type.max_order + 1, dtype=angle.dtype, device=angle.device)


def _spread(field_type: FieldType, like: Tensor) -> Tensor:
    """``[orders, dim]``: a product with it repeats the value of an order for the order's components."""
    parts = [field_type.slice(m) for m in range(field_type.max_order + 1)]
    rows = [pad(like.new_ones(1, p.stop - p.start), (p.start, field_type.dim - p.stop)) for p in parts]
    return torch.cat(rows)


def _quarter_turn(x: Tensor, field_type: FieldType) -> Tensor:
    """``(-s, c)`` for components ``(c, s)``, zero for scalars: ``rotate(x, a) = cos(m a) x + sin(m a) turned(x)``."""
    parts = []
    for m, block in field_type.split(x).items():
        c, s = block.tensor_split(2, dim=-1)
        parts += [torch.zeros_like(block)] if m == 0 else [-s, c]
    return torch.cat(parts, dim=-1)


def _carried(x: Tensor, src: Tensor, field_type: FieldType, angle: Tensor) -> Tensor:
    """``rotate(x[:, src], angle)``."""
    angles, spread = _angles(field_type, angle), _spread(field_type, x)
    turned = _quarter_turn(x, field_type).index_select(1, src)
    return (angles.cos() @ spread) * x.index_select(1, src) + (angles.sin() @ spread) * turned


def _gauge_conv(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    state = _ends(angle, transporter, (dst_ptr, src, dst, src_ptr), transpose)
    return gauge_conv_reference(x, weight, radial, *state, _type(in_type), _type(out_type))


def _gauge_conv_of_matrices(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    """One matrix for all edges; numbers are repeated and added by products with matrices of zeros and ones.

    Runtimes of ONNX are fast at matrices and at products of arrays of one shape, and slow at broadcasting short rows.
    """
    angle, transporter, src, dst, rows = _ends(angle, transporter, (dst_ptr, src, dst, src_ptr), transpose)
    inside, outside = _type(in_type), _type(out_type)
    count, dim = radial.shape[1], outside.dim
    angles, spread = _angles(outside, angle), _spread(outside, x)
    waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
    both = torch.cat([pad(spread, (0, dim)), pad(spread, (dim, 0))]).repeat(1, count)
    one = torch.eye(count, dtype=x.dtype, device=x.device)[:, :, None].expand(-1, -1, 2 * dim).flatten(1)
    factors = (radial @ one) * (waves @ both)  # [E, R * 2 * D_out]
    matrix = torch.stack([weight, _quarter_turn(weight, outside)], dim=-2).transpose(0, 1).flatten(1)
    product = _carried(x, src, inside, transporter - angle) @ matrix
    total = torch.eye(dim, dtype=x.dtype, device=x.device).repeat(2 * count, 1)
    messages = (product * factors) @ total
    return messages.new_zeros(x.shape[0], rows, dim).index_add(1, dst, messages)


def _gauge_conv_of_neighbours(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    inside: FieldType, outside: FieldType, size: int,
) -> Tensor:  # fmt: skip
    """Neighbours as a table ``[V, size]``: moments are one product of matrices per vertex, of all radial functions.

    With ``a = transporter - angle``, a field of order m and a product with ``f`` of ``1, cos(M angle), sin(M angle)``
    need the moments ``sum R cos(m a) f x`` and ``sum R sin(m a) f x``; rotations of ``x`` become ones of ``weight``.
    """
    slot, there = _slots(dst_ptr, size, src.shape[0], x)
    angles, spread = _angles(outside, angle), _spread(outside, x)
    waves = torch.cat([angles.cos(), angles[:, 1:].sin()], dim=-1)  # [E, F]
    factors = (radial[:, :, None] * waves[:, None]).flatten(1)[slot] * there[..., None]  # [V, size, R * F]
    straight, turned = weight[:, None] * spread[:, None], _quarter_turn(weight, outside)[:, None] * spread[1:, None]
    matrix = torch.cat([straight, turned], dim=1).flatten(0, 1)  # [R * F, D_in, D_out]
    total = x.new_zeros(x.shape[0], dst_ptr.shape[0] - 1, outside.dim)
    for m in inside.orders:
        fields, rows = x[..., inside.slice(m)], matrix[:, inside.slice(m)]
        members = fields.index_select(1, src[slot.flatten()]).unflatten(1, slot.shape)  # [B, V, size, D_m]
        parts = [(factors, rows)]
        if m > 0:
            turn = (m * (transporter - angle))[slot][..., None]
            c, s = rows.tensor_split(2, dim=1)
            parts = [(factors * turn.cos(), rows), (factors * turn.sin(), torch.cat([s, -c], dim=1))]
        for factor, rows in parts:
            moments = factor.transpose(1, 2) @ members  # [B, V, R * F, D_m]
            total = total + moments.flatten(2) @ rows.flatten(0, 1)
    return total


def _gauge_conv_point(
    conv: Callable, x: Tensor, weight: Tensor, radial: Tensor, point: Tensor, bias: Tensor, *rest: Any,
) -> Tensor:  # fmt: skip
    kinds = _type(rest[-3]), _type(rest[-2])
    return conv(x, weight, radial, *rest) + point_terms_reference(x, point, bias, *kinds)


def _norm_gate(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, residual: Tensor, type: Sizes, odd: int,
    eps: float, batch: bool,
) -> Tensor:  # fmt: skip
    kind = FieldType.from_multiplicities(type, odd)
    return norm_gate_reference(x, scale, shift, mean, var, residual, kind, eps, batch)


def _depthwise_conv(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    state = _ends(angle, transporter, (dst_ptr, src, dst, src_ptr), transpose)
    return depthwise_conv_reference(x, weight, radial, *state, _type(in_type), _type(out_type))


def _transport_sum(
    x: Tensor, weight: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor,
    src_edge: Tensor, type: Sizes, transpose: bool, size: int | None,
) -> Tensor:  # fmt: skip
    """The sum, of rows of at most ``size`` edges if that is known."""
    _, turn, source, row, rows = _ends(transporter, transporter, (dst_ptr, src, dst, src_ptr), transpose)
    kind = _type(type)
    if size is None:
        return segment.transport_sum_reference(x, weight, turn, source, row, rows, kind)
    slot, there = _slots(src_ptr if transpose else dst_ptr, size, src.shape[0], x)
    edge = (src_edge[slot] if transpose else slot).flatten()
    factors = segment.per_head(weight, kind).index_select(-2, edge) * there.reshape(-1, 1)
    members = kind.rotate(x.index_select(1, source[edge]), turn[edge])
    return kind.scale_fields(members, factors).unflatten(1, (rows, size)).sum(2)


def _slots(ptr: Tensor, size: int, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the members of each row among ``count``, ``[rows, size]``, and 1 where there is one, else 0."""
    slot = ptr[:-1, None] + torch.arange(size, device=ptr.device)
    return slot.clamp(max=count - 1), (slot < ptr[1:, None]).to(like.dtype)


def _transport_dot(
    x: Tensor, y: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor,
    src_edge: Tensor, type: Sizes, heads: int,
) -> Tensor:  # fmt: skip
    return segment.transport_dot_reference(x, y, transporter, src, dst, _type(type), heads)


def _transport_argmax(
    x: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor, src_edge: Tensor, type: Sizes,
    signed_scalars: bool,
) -> Tensor:  # fmt: skip
    rows = dst_ptr.shape[0] - 1
    return segment.transport_argmax_reference(x, src, dst, rows, _type(type), signed_scalars)


def _transport_select(
    x: Tensor, chosen: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor, dst: Tensor, src_ptr: Tensor,
    src_edge: Tensor, type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    if transpose:
        raise NotImplementedError("the adjoint of a selection is for derivatives")
    return segment.transport_select_reference(x, chosen, transporter, src, _type(type))


def _segment_total(values: Tensor, ptr: Tensor) -> Tensor:
    row = row_of(ptr, values.shape[1])
    total = values.new_zeros(values.shape[0], ptr.shape[0] - 1, values.shape[2]).index_add(1, row, values)
    return total[:, row]


def row_of(ptr: Tensor, count: int) -> Tensor:
    """The row of each of ``count`` members, int64: the number of rows that end at or before it."""
    ends = ptr.new_zeros(count + 1).index_add(0, ptr[1:], torch.ones_like(ptr[1:]))
    return ends[:-1].cumsum(0)


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
    """``torch.index_add`` by ``scatter_add``."""
    shape = [1] * source.dim()
    shape[dim] = index.shape[0]
    return x.scatter_add(dim, index.reshape(shape).expand(source.shape), source if alpha == 1 else alpha * source)


def repeat_interleave(repeats: Tensor, output_size: int | None = None) -> Tensor:
    """``torch.repeat_interleave`` of one argument, by sums."""
    if output_size is None:
        raise NotImplementedError("repeat_interleave without output_size")
    return row_of(pad(repeats.cumsum(0), (1, 0)), output_size)
