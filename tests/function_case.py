"""The public operators as functions of features and weights, for tests of what torch does with functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph
from meshconv.ops import (
    field_moments,
    fourier_act,
    gauge_conv,
    norm_gate,
    segment_softmax,
    transport_dot,
    transport_max,
    transport_sum,
)

Call = tuple[Callable[..., Tensor], tuple[Tensor, ...]]

NAMES = (
    "gauge_conv",
    "gauge_conv, products first",
    "gauge_conv, terms of the point",
    "transport_sum",
    "transport_sum backwards",
    "transport_dot",
    "transport_max",
    "segment_softmax",
    "fourier_act relu",
    "fourier_act silu",
    "norm_gate",
    "norm_gate of a batch",
)


def functions(
    graph: GaugeGraph, dtype: torch.dtype = torch.float32, batch: int = 2, channels: int = 4
) -> dict[str, Call]:
    """By name: a function, and tensors of ``dtype`` on the graph's device to call it with; the geometry is bound.

    The same numbers for every dtype and device, rounded.
    """
    t = FieldType.uniform(channels, 2)
    wide, narrow = FieldType("40x0 + 24x1"), FieldType("1x0 + 2x1")
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(graph.device, dtype)

    edges = (graph.dst_ptr, graph.src, graph.dst, graph.src_ptr, graph.src_edge)
    rows, count, angles = graph.num_vertices, graph.num_edges, (graph.log_angle, graph.transporter)
    turn = graph.transporter
    x, y, heads = normal(batch, rows, t.dim), normal(batch, rows, t.dim), normal(batch, count, 2)
    weight, radial = normal(2, t.dim, t.dim), normal(count, 2)
    first = (normal(batch, rows, wide.dim), normal(2, wide.dim, narrow.dim), radial)
    own = (x, weight, normal(t.dim, t.dim), normal(channels))
    gated = FieldType.from_multiplicities([3 * channels, channels, channels])
    fields = (normal(batch, rows, gated.dim), normal(gated.num_fields), normal(gated.scalars), y)
    mean, var = normal(gated.scalars), normal(gated.num_fields).square() + 0.1
    calls: list[Call] = [
        (lambda x, w, r: gauge_conv(x, w, r, *angles, edges, t, t), (x, weight, radial)),
        (lambda x, w, r: gauge_conv(x, w, r, *angles, edges, wide, narrow), first),
        (lambda x, w, p, b: gauge_conv(x, w, radial.to(x.dtype), *angles, edges, t, t, p, b), own),
        (lambda x, w: transport_sum(x, w, turn, edges, t), (x, heads)),
        (lambda x, w: transport_sum(x, w, turn, edges, t, transpose=True), (x, heads)),
        (lambda x, y: transport_dot(x, y, turn, edges, t, heads=2), (x, y)),
        (lambda x: transport_max(x, turn, edges, t), (x,)),
        (lambda w: segment_softmax(w, graph.dst_ptr), (heads,)),
        (lambda x: fourier_act(x.unflatten(-1, (5, channels)), 17), (x,)),
        (lambda x: fourier_act(x.unflatten(-1, (5, channels)), 17, "silu"), (x,)),
        (lambda x, g, b, r: norm_gate(x, g, b, mean, var, r, t, eps=0.1, batch=False), fields),
        (lambda x, g, b, r: norm_gate(x, g, b, *field_moments(x, gated), r, t, eps=0.1, batch=True), fields),
    ]
    return dict(zip(NAMES, calls, strict=True))


def value_and_gradients(function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """The value and, for an incoming gradient that is exact in every precision, the gradients."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    y = function(*leaves)
    g = (torch.arange(y.numel(), device=y.device) % 7 - 3).reshape(y.shape).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, g)]
