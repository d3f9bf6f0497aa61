"""Gauge-equivariant attention: a convolution with learnt weights of neighbours."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.convolution.quadrature import DiscQuadrature
from meshconv.nn.convolution.radial import SmoothBumps, relative_radius
from meshconv.nn.linear import Linear
from meshconv.nn.surface_module import SurfaceModule
from meshconv.ops import gauge_conv, segment_softmax, transport_dot
from meshconv.ops.gauge_conv import Edges


class AttentionLogits(nn.Module):
    r"""Attention logits: invariants of a point p, a neighbour q and the edge between them, one per head.

    .. math:: l_{pq} = \langle Q f_p, \rho(g_{q \to p}) K f_q \rangle
        + \sum_b R_b(r_{pq}) \big( \langle A_b f_p, e(\theta_{pq}) \rangle
        + \langle B_b f_q, \rho(-g_{q \to p}) e(\theta_{pq}) \rangle \big)

    with Q, K, A, B linear and equivariant, and :math:`e(\theta) = (\cos m\theta, \sin m\theta)_m` the direction of q at
    p. The second term depends on the direction of the neighbour relative to the fields of the point (and, through its
    constant, on the distance), the third on the direction of the point relative to the fields of the neighbour.

    Parameters
    ----------
    in_type : FieldType
    heads
    key_channels
        Fields of each order (angular frequency) in the keys of a head.
    num_radial
        Radial functions of the terms with a direction.
    """

    def __init__(self, in_type: FieldType, heads: int, key_channels: int, num_radial: int):
        super().__init__()
        self.in_type, self.heads = in_type, heads
        present = [c > 0 for c in in_type.multiplicities]
        keys, directions = heads * key_channels, heads * num_radial
        even, odd = keys * (in_type.scalars > 0), keys * (in_type.odd_scalars > 0)
        key_type = in_type.like([even + odd, *(keys * p for p in present[1:])], odd)
        self.query = Linear(in_type, key_type)
        self.key = Linear(in_type, key_type, bias=False)  # a constant key is the same for all neighbours
        higher = [directions * p for p in present[1:]]
        # With one radial function the scalars of the point contribute equally to all its neighbours.
        toward = [directions * (num_radial > 1), *higher]
        away = [directions * (in_type.scalars > 0), *higher]
        self.toward = Linear(in_type, in_type.like(toward)) if any(toward) else None
        self.away = Linear(in_type, in_type.like(away), bias=False) if any(away) else None

    def reset_parameters(self) -> None:
        for linear in (self.query, self.key, self.toward, self.away):
            if linear is not None:
                linear.reset_parameters()

    def forward(self, x: Tensor, graph: GaugeGraph, radial: Tensor) -> Tensor:
        """``[..., V, in_type.dim]`` and ``[E, num_radial]`` to ``[..., E, heads]``, in float32 or float64."""
        query, kind = self.query(x), self.query.out_type
        key, edges = graph.sources(self.key(x), kind)
        query, key = by_head(query, kind, self.heads), by_head(key, kind, self.heads)
        # Each term has unit variance for inputs of unit variance, and so has their sum.
        content = transport_dot(key, query, graph.transporter, edges, kind, self.heads)
        terms = [content * (kind.dim / self.heads) ** -0.5]
        if self.toward is not None:
            own, kind = self.toward(x), self.toward.out_type
            ahead = ahead_like(own, kind, graph.num_sources)
            values = transport_dot(ahead, own, graph.log_angle, graph.edges, kind, self.heads * radial.shape[1])
            terms.append(self._by_radius(values, radial, kind))
        if self.away is not None:
            theirs, kind = self.away(x), self.away.out_type
            ahead = ahead_like(theirs, kind, graph.num_vertices)
            theirs, edges = graph.sources(theirs, kind)
            into_edge = graph.transporter - graph.log_angle
            values = transport_dot(theirs, ahead, into_edge, edges, kind, self.heads * radial.shape[1])
            terms.append(self._by_radius(values, radial, kind))
        logits = torch.stack([t.to(radial.dtype) for t in terms]).sum(0)
        return logits * len(terms) ** -0.5

    def _by_radius(self, values: Tensor, radial: Tensor, kind: FieldType) -> Tensor:
        values = values.unflatten(-1, (self.heads, -1))
        return (values * radial[:, None]).sum(-1) * len(kind.orders) ** -0.5


class GaugeAttention(SurfaceModule):
    r"""Gauge-equivariant attention of several heads over a point's neighbours.

    .. math:: f'_p = K_{self} f_p + b + \bigoplus_h \sum_q \alpha^h_{pq} \sum_b R_b(r_{pq})
        \; \rho_{out}(\theta_{pq}) W^h_b \rho_{in}(g_{q \to p} - \theta_{pq}) f_q, \qquad
        \alpha^h_{pq} = \mathrm{softmax}_q \, l^h_{pq}

    The logits are invariant (:class:`AttentionLogits`), so the values are those of :class:`~meshconv.nn.GaugeConv`:
    each head has its own part of the output fields and the complete kernel on all input fields, of all orders (angular
    frequencies) m. With constant logits the layer is that convolution. Values are not computed per edge: attention
    enters the compiled convolution as weights of the radial functions.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    heads
        Number of heads. The channels of each order of ``out_type`` are divided as evenly as possible, so there are at
        most as many heads as the most fields of one order; by default four or that number.
    key_channels
        Fields of each order in the keys of a head; by default the channels of the widest order divided by ``heads``.
    aggregation
        ``"mean"``; ``"area"``: attention weights are multiplied by the areas of the neighbours; or ``"quadrature"``: by
        the weights of a quadrature of the disc with the window :math:`(1 - r^2)^2`, none of them negative, so that the
        sum stands for a ratio of integrals over the disc.
    conv_options
        The other options of :class:`~meshconv.nn.GaugeConv`.

    Notes
    -----
    ``tests/test_attention.py`` checks it against a sum over edges and against the convolution; points without
    neighbours have ``K_self f_p + b`` alone.

    References
    ----------
    Basu, Gallego-Posada, Vigano, Rowbottom, Cohen: Equivariant Mesh Attention Networks, TMLR 2022.
    He, Dong, Wang, Tao, Lin: Gauge Equivariant Transformer, NeurIPS 2021.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> graph = HealpixSphere(2).gauge_graph().to(torch.float32)
    >>> attention = GaugeAttention("2x0", "8x0 + 8x1", heads=2)
    >>> attention(torch.randn(graph.num_vertices, 2), graph).shape
    torch.Size([48, 24])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        heads: int | None = None,
        key_channels: int | None = None,
        aggregation: str = "mean",
        **conv_options: Any,
    ):
        super().__init__()
        if aggregation not in ("mean", "area", "quadrature"):
            raise ValueError(
                f"aggregation {aggregation!r}: attention weights sum to one, it is 'mean', 'area' or 'quadrature'"
            )
        self.values = GaugeConv(in_type, out_type, **conv_options)
        self.in_type, self.out_type = self.values.in_type, self.values.out_type
        if heads is None:
            heads = min(4, max(_counts(self.out_type)))
        self.heads, self.aggregation = heads, aggregation
        frequency = self.in_type.max_order + self.out_type.max_order
        rule = (SmoothBumps(1), self.values.cutoff, frequency)
        self.quadrature = DiscQuadrature(*rule, centre=False, low=0.0) if aggregation == "quadrature" else None
        shares = deal_fields(self.out_type, heads)
        self.head_types = [kind for kind, _ in shares]
        for h, (_, columns) in enumerate(shares):
            self.register_buffer(f"columns{h}", columns, persistent=False)
        if key_channels is None:
            key_channels = -(-max(self.in_type.multiplicities) // heads)
        if key_channels < 1:
            raise ValueError(f"key_channels {key_channels} has to be >= 1")
        self.logits = AttentionLogits(self.in_type, heads, key_channels, self.values.num_radial)

    def reset_parameters(self) -> None:
        self.values.reset_parameters()
        self.logits.reset_parameters()

    def attention(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Weight of every edge in every head, ``[..., E, heads]``; those of a point's neighbours sum to one."""
        logits = self.logits(x, graph, self._radial(graph))
        if self.aggregation == "area":
            logits = logits + graph.source_areas[graph.src].log()[:, None]
        if self.quadrature is not None:
            # Least weights instead of none: their logarithms are finite.
            weights = self.quadrature(graph).edges.to(logits.dtype)
            logits = logits + weights.clamp(min=torch.finfo(logits.dtype).tiny).log()
        return segment_softmax(logits, graph.dst_ptr)

    def _radial(self, graph: GaugeGraph) -> Tensor:
        return self.values.radial(relative_radius(graph, self.values.cutoff))

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, in_type.dim]`` on ``graph`` to ``[..., V, out_type.dim]``."""
        self.in_type.check(x, "input")
        weights = self.attention(x, graph)
        sources, edges = graph.sources(x, self.in_type)
        copies = math.prod(x.shape[:-2])
        radial, angle, transporter = self._radial(graph), graph.log_angle, graph.transporter
        if x.dim() > 2:  # every leading index has its own weights: copies of the surface side by side
            edges = side_by_side(edges, copies)
            radial, angle, transporter = radial.repeat(copies, 1), angle.repeat(copies), transporter.repeat(copies)
            sources, weights = sources.flatten(0, -2), weights.flatten(0, -2)
        kernel = self.values.kernel_space(self.values.weight)
        parts = []
        for h, kind in enumerate(self.head_types):
            part = kernel.index_select(2, getattr(self, f"columns{h}"))
            weighed = radial * weights[:, h, None]
            parts.append(gauge_conv(sources, part, weighed, angle, transporter, edges, self.in_type, kind))
        y = concatenate_fields(self.head_types, parts).reshape(*x.shape[:-1], self.out_type.dim)
        return self.values.add_point(y, x)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, heads={self.heads}, aggregation={self.aggregation!r}"


def deal_fields(field_type: FieldType, heads: int) -> list[tuple[FieldType, Tensor]]:
    """Split of consecutive channels of every order over heads: type and component indices of each head."""
    counts = _counts(field_type)
    if not 1 <= heads <= max(counts):
        raise ValueError(f"heads={heads}: {field_type} has fields for 1 to {max(counts)} heads")
    shares = []
    for h in range(heads):
        bounds = [(c * h // heads, c * (h + 1) // heads) for c in counts]
        sizes = [stop - start for start, stop in bounds]
        columns, offset = [], 0
        for kind, (count, (start, stop)) in enumerate(zip(counts, bounds, strict=True)):
            for _ in range(1 if kind < 2 else 2):
                columns.append(torch.arange(offset + start, offset + stop))
                offset += count
        shares.append((field_type.like([sizes[0] + sizes[1], *sizes[2:]], sizes[1]), torch.cat(columns)))
    return shares


def _counts(field_type: FieldType) -> list[int]:
    return [field_type.scalars, field_type.odd_scalars, *field_type.multiplicities[1:]]


def by_head(x: Tensor, field_type: FieldType, heads: int) -> Tensor:
    """Reordering of odd scalars beside even ones of the same head, so that channels of order 0 are consecutive."""
    odd = field_type.odd_scalars
    if not odd or not field_type.scalars:
        return x
    even, mirrored, rest = x.split([field_type.scalars, odd, field_type.dim - field_type.multiplicities[0]], dim=-1)
    pairs = torch.cat([even.unflatten(-1, (heads, -1)), mirrored.unflatten(-1, (heads, -1))], dim=-1)
    return torch.cat([pairs.flatten(-2), rest], dim=-1)


def ahead_like(x: Tensor, field_type: FieldType, points: int) -> Tensor:
    """Fields along e1 at ``points`` for ``x``: ones in components that the reflection e2 -> -e2 leaves unchanged."""
    return ((1 + field_type.parity(x)) / 2).expand(*x.shape[:-2], points, -1)


def side_by_side(edges: Edges, copies: int) -> Edges:
    """Edges of ``copies`` equal surfaces, one after the other."""
    dst_ptr, src, dst, src_ptr, src_edge = edges
    copy = torch.arange(copies, device=src.device)[:, None]

    def shifted(index: Tensor, size: int) -> Tensor:
        return (index + size * copy).flatten()

    def pointers(ptr: Tensor) -> Tensor:
        return torch.cat([shifted(ptr[:-1], src.shape[0]), ptr.new_tensor([copies * src.shape[0]])])

    sources, targets = src_ptr.shape[0] - 1, dst_ptr.shape[0] - 1
    return (
        pointers(dst_ptr),
        shifted(src, sources),
        shifted(dst, targets),
        pointers(src_ptr),
        shifted(src_edge, src.shape[0]),
    )
