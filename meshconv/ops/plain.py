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
_PIECE = 8  # edges: smaller pieces are more products, larger ones more padding of short rows


def plain_operators(
    matrices: bool = False, degrees: Mapping[tuple[int, int], int] | None = None
) -> dict[Any, Callable]:
    """The reference of each operator that networks use forwards, by the operator: a table of decompositions.

    Parameters
    ----------
    matrices
        For ONNX: convolutions as matrices, of a few edges of a target each, faster in its runtimes than products edge
        by edge; sums over edges element by element, since those of rows are ``ScatterND`` there, which onnxruntime
        adds up in parallel without a lock (its issue 18048): wrong now and then with several threads.
    degrees : mapping of (int, int) to int, optional
        Of graphs that are known, by their numbers of targets and edges: the largest number of edges of a target.
        Convolutions on them multiply by the weights once per target, not once per edge; sums are those of tables.
    """
    always: dict[Any, Callable] = {torch.ops.aten.repeat_interleave.Tensor: repeat_interleave}
    if matrices:
        always[torch.ops.aten.index_add.default] = index_add
    if not BACKEND.devices:
        return always  # the references have run, and programs of them are plain already
    ops, known, by_edge = torch.ops.meshconv, degrees or {}, _gauge_conv_of_pieces if matrices else _gauge_conv

    def conv(
        x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
        dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
    ) -> Tensor:  # fmt: skip
        # Sizes that vary are no keys; where one graph is known, all are.
        size = known.get((dst_ptr.shape[0] - 1, src.shape[0])) if known and not transpose else None
        if size is not None:
            table = _slots(dst_ptr[:-1], dst_ptr[1:], size, src.shape[0], x)
            kinds = _type(in_type), _type(out_type)
            return _gauge_conv_of_slots(x, weight, radial, angle, transporter, src, *table, *kinds)
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


def _gauge_conv(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    state = _ends(angle, transporter, (dst_ptr, src, dst, src_ptr), transpose)
    return gauge_conv_reference(x, weight, radial, *state, _type(in_type), _type(out_type))


def _gauge_conv_of_pieces(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, dst_ptr: Tensor, src: Tensor,
    dst: Tensor, src_ptr: Tensor, src_edge: Tensor, in_type: Sizes, out_type: Sizes, transpose: bool,
) -> Tensor:  # fmt: skip
    """Rows of edges are cut into pieces of up to ``_PIECE``, whose sums are added up."""
    angle, transporter, source, _, rows = _ends(angle, transporter, (dst_ptr, src, dst, src_ptr), transpose)
    ptr = src_ptr if transpose else dst_ptr
    pieces = pad(((ptr[1:] - ptr[:-1] + _PIECE - 1) // _PIECE).cumsum(0), (1, 0))
    count = rows + src.shape[0] // _PIECE  # at least as many as there are; those left over are empty
    row = row_of(pieces, count).clamp(max=rows - 1)
    first = ptr[row] + _PIECE * (torch.arange(count, device=ptr.device) - pieces[row])
    slot, there = _slots(first, ptr[row + 1], _PIECE, src.shape[0], x)
    edge = src_edge[slot] if transpose else slot
    sums = _gauge_conv_of_slots(x, weight, radial, angle, transporter, source, edge, there, _type(in_type),
                                _type(out_type))  # fmt: skip
    return sums.new_zeros(x.shape[0], rows, sums.shape[-1]).index_add(1, row, sums)


def _gauge_conv_of_slots(
    x: Tensor, weight: Tensor, radial: Tensor, angle: Tensor, transporter: Tensor, source: Tensor, edge: Tensor,
    there: Tensor, inside: FieldType, outside: FieldType,
) -> Tensor:  # fmt: skip
    """The sum over each row of a table of edges, of those that are ``there``: its moments times a matrix.

    With ``a = transporter - angle``, a field of order m and a product with ``f`` of ``1, cos(M angle), sin(M angle)``
    need the moments ``sum R cos(m a) f x`` and ``sum R sin(m a) f x``; rotations of ``x`` become ones of ``weight``.
    """
    angles, spread = _angles(outside, angle), _spread(outside, x)
    waves = torch.cat([angles.cos(), angles[:, 1:].sin()], dim=-1)  # [E, F]
    factors = (radial[:, :, None] * waves[:, None]).flatten(1)  # [E, R * F]
    straight, turned = weight[:, None] * spread[:, None], _quarter_turn(weight, outside)[:, None] * spread[1:, None]
    matrix = torch.cat([straight, turned], dim=1).flatten(0, 1)  # [R * F, D_in, D_out]
    total = x.new_zeros(x.shape[0], edge.shape[0], outside.dim)
    members = source[edge.flatten()]
    for m in inside.orders:
        fields, rows, factor = x[..., inside.slice(m)], matrix[:, inside.slice(m)], factors
        if m > 0:
            turn, (c, s) = (m * (transporter - angle))[:, None], rows.tensor_split(2, dim=1)
            factor = torch.cat([factors * turn.cos(), factors * turn.sin()], dim=-1)
            rows = torch.cat([rows, torch.cat([s, -c], dim=1)])
        fields = fields.index_select(1, members).unflatten(1, edge.shape)  # [B, V, size, D_m]
        factor = factor.index_select(0, edge.flatten()).unflatten(0, edge.shape) * there[..., None]
        moments = factor.transpose(1, 2) @ fields  # [B, V, R * F or twice that, D_m]
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
    ptr = src_ptr if transpose else dst_ptr
    slot, there = _slots(ptr[:-1], ptr[1:], size, src.shape[0], x)
    edge = (src_edge[slot] if transpose else slot).flatten()
    factors = segment.per_head(weight, kind).index_select(-2, edge) * there.reshape(-1, 1)
    members = kind.rotate(x.index_select(1, source[edge]), turn[edge])
    return kind.scale_fields(members, factors).unflatten(1, (rows, size)).sum(2)


def _slots(first: Tensor, end: Tensor, size: int, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Places from ``first`` to before ``end`` among ``count``, ``[rows, size]``, and 1 where there is one, else 0."""
    slot = first[:, None] + torch.arange(size, device=first.device)
    return slot.clamp(max=count - 1), (slot < end[:, None]).to(like.dtype)


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
