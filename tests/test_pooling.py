"""Interpolation between levels, and pooling with learnt weights."""

from __future__ import annotations

import pytest
import torch
from meshes import flat_sheet, icosphere, moebius

from meshconv import FieldType, GaugeGraph, HealpixSphere, Pooling
from meshconv.nn import AttentionPool, ClusterInterpolation, ClusterUnpool, GlobalPool, from_ambient


def error(layer, nside: int, order: int) -> float:
    """Root mean square error of a smooth field brought up one level, relative to its size."""
    hierarchy = HealpixSphere(nside).hierarchy(2)

    def field(graph: GaugeGraph) -> torch.Tensor:
        p = graph.positions
        if order == 0:
            return (p[:, :1] + p[:, 1:2] * p[:, 2:]).contiguous()
        axis = torch.tensor([0.3, -0.5, 0.8], dtype=p.dtype).expand_as(p)
        return from_ambient(torch.linalg.cross(axis, p)[:, None], graph, "1x1")

    fine, coarse = (field(g) for g in hierarchy.levels)
    surface = (hierarchy.pools[0], hierarchy.levels[1]) if layer is ClusterInterpolation else (hierarchy.pools[0],)
    up = layer(f"1x{order}")(coarse, *surface)
    return float((up - fine).norm() / fine.norm())


@pytest.mark.parametrize("order", [0, 1])
def test_orders_of_both_ways_up(order):
    copied = [error(ClusterUnpool, n, order) for n in (16, 32)]
    smooth = [error(ClusterInterpolation, n, order) for n in (16, 32)]
    assert 0.9 < torch.log2(torch.tensor(copied[0] / copied[1])) < 1.1
    assert torch.log2(torch.tensor(smooth[0] / smooth[1])) > 1.8
    assert smooth[1] < copied[1] / 20


def test_linear_fields_on_the_plane_are_met_exactly():
    sheet = flat_sheet()
    coarse = sheet.gauge_graph()
    inner = (coarse.dst_ptr.diff() >= 5).nonzero()[:, 0]
    parent = torch.cat([torch.arange(coarse.num_vertices), inner])
    generator = torch.Generator().manual_seed(0)
    angle = torch.rand(len(parent), generator=generator, dtype=torch.float64) * 6.28
    radius, turn = 0.2 * torch.rand(2, len(parent), generator=generator, dtype=torch.float64)
    pooling = Pooling.from_parents(parent, coarse.num_vertices, radius, angle, turn)
    e1, e2 = coarse.frames[:, 0], coarse.frames[:, 1]
    points = coarse.positions[parent] + radius[:, None] * (
        angle.cos()[:, None] * e1[parent] + angle.sin()[:, None] * e2[parent]
    )
    slope = torch.tensor([[1.0, 0.3], [-0.7, 2.0], [0.4, 0.1]], dtype=torch.float64)
    up = ClusterInterpolation("2x0")(coarse.positions @ slope, pooling, coarse)
    torch.testing.assert_close(up[-len(inner) :], (points @ slope)[-len(inner) :], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("text", ["2x0 + 2x1 + 1x2", "2x0 + 1x0- + 2x1 + 1x3"])
def test_interpolation_in_any_gauge(text):
    hierarchy = HealpixSphere(4).hierarchy(2)
    module, mirrored = ClusterInterpolation(text), "0-" in text
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(48, module.in_type.dim, dtype=torch.float64, generator=generator)
    y = module(x, hierarchy.pools[0], hierarchy.levels[1])
    alphas = hierarchy.random_gauge(generator)
    flips = [torch.rand(g.num_vertices, generator=generator) < 0.5 for g in hierarchy.levels] if mirrored else None
    turned = hierarchy.change_gauge(alphas, flips)
    fine, coarse = flips or (None, None)
    found = module(module.in_type.change_gauge(x, alphas[1], coarse), turned.pools[0], turned.levels[1])
    torch.testing.assert_close(found, module.out_type.change_gauge(y, alphas[0], fine), rtol=1e-11, atol=1e-11)


def test_interpolation_is_linear_and_differentiable():
    hierarchy = HealpixSphere(2).hierarchy(2)
    module = ClusterInterpolation("1x0 + 1x1")
    x = torch.randn(2, 12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: module(x, hierarchy.pools[0], hierarchy.levels[1]), x)
    with pytest.raises(ValueError, match="do not fit 12 vertices"):
        module(torch.zeros(13, 3), hierarchy.pools[0], hierarchy.levels[1])


@pytest.fixture
def graph() -> GaugeGraph:
    return GaugeGraph.batch([icosphere(1).gauge_graph(), flat_sheet().gauge_graph(), icosphere(2).gauge_graph()])


def test_attention_pool_without_preference_is_the_mean_over_the_area(graph):
    module = AttentionPool("2x0 + 1x1 + 1x2", heads=2).double()
    with torch.no_grad():
        module.logits.weight.zero_()
        module.logits.bias.normal_()
    x = torch.randn(3, graph.num_vertices, 6, dtype=torch.float64)
    mean = GlobalPool(module.in_type, "area")(x, graph)
    torch.testing.assert_close(module(x, graph), torch.cat([mean, mean], dim=-1))


def test_attention_pool_by_hand(graph):
    module = AttentionPool("1x0 + 1x1", heads=3).double()
    x = torch.randn(graph.num_vertices, 3, dtype=torch.float64)
    values = FieldType("1x0 + 1x1").invariants(x)
    y = module(x, graph).view(3, 3, 2)
    for g, (a, b) in enumerate(zip(graph.graph_ptr[:-1].tolist(), graph.graph_ptr[1:].tolist(), strict=True)):
        weight = graph.areas[a:b, None] * module.logits(values[a:b]).exp()
        weight = weight / weight.sum(0)
        torch.testing.assert_close(y[g], weight.T @ values[a:b])


def test_attention_pool_of_nothing_and_of_needles(graph):
    """A surface without points, and points without area, change nothing and give no NaN."""
    empty = icosphere(0).gauge_graph()
    empty = GaugeGraph.from_edges([], [], [], [], [], frames=empty.frames[:0], positions=empty.positions[:0],
                                  areas=empty.areas[:0], scale=1.0)  # fmt: skip
    strip = moebius().gauge_graph(unoriented=True)
    flat = GaugeGraph.from_edges([], [], [], [], [], frames=strip.frames[:2], positions=strip.positions[:2],
                                 areas=[0.0, 0.0], scale=1.0)  # fmt: skip
    batch = GaugeGraph.batch([graph, empty, flat])
    module = AttentionPool("2x0").double()
    x = torch.randn(batch.num_vertices, 2, dtype=torch.float64, requires_grad=True)
    y = module(x, batch)
    assert not y[3:].any() and y[:3].abs().min() > 0
    y.sum().backward()
    assert torch.isfinite(x.grad).all() and all(torch.isfinite(p.grad).all() for p in module.parameters())
