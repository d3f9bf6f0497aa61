"""Attention over neighbours: against a sum over edges, against the convolution, and where there is little."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph, nn as layers
from meshconv.nn.convolution.attention import deal_fields, side_by_side

MIXED = FieldType("4x0 + 4x1 + 2x2")
OUT = FieldType("3x0 + 4x1 + 1x3")
MIRRORED = FieldType("2x0 + 2x0- + 4x1")


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    for p in module.parameters():
        torch.nn.init.normal_(p)
    return module.double()


def edge_by_edge(layer: layers.GaugeAttention, x: Tensor, graph: GaugeGraph) -> Tensor:
    """The formula of the class, with a row for every edge and python's loop over points."""
    t, out = layer.in_type, layer.out_type
    src, dst, theta, g = graph.src, graph.dst, graph.log_angle, graph.transporter
    radial = layer.values.radial((graph.log_radius / layer.values.cutoff / graph.scale[dst]).clamp(max=1))
    query, key = layer.logits.query(x), layer.logits.key(x)
    kind = layer.logits.query.out_type
    product = kind.rotate(key[src], g) * query[dst]
    logits = torch.zeros(graph.num_edges, layer.heads, dtype=x.dtype)
    for m in kind.orders:
        block = product[:, kind.slice(m)].unflatten(1, (1 if m == 0 else 2, layer.heads, -1))
        logits += block.sum((1, 3)) * (kind.dim / layer.heads) ** -0.5
    for linear, at, angle in ((layer.logits.toward, dst, -theta), (layer.logits.away, src, g - theta)):
        kind = linear.out_type
        ahead = kind.rotate(linear(x)[at], angle)  # in the edge's own frame
        values = sum(ahead[:, kind.slice(m)][:, : kind.multiplicities[m]] for m in kind.orders)
        values = values.unflatten(1, (layer.heads, -1)) * radial[:, None]
        logits += values.sum(-1) * len(kind.orders) ** -0.5
    logits /= 3**0.5
    y = layer.values.self_interaction(x)
    y[:, : out.scalars] += layer.values.bias
    for p in range(graph.num_vertices):
        edges = torch.arange(int(graph.dst_ptr[p]), int(graph.dst_ptr[p + 1]))
        alpha = logits[edges].softmax(0)
        for h, (_, columns) in enumerate(deal_fields(out, layer.heads)):
            for e, a in zip(edges, alpha[:, h], strict=True):
                seen = t.rotate(x[src[e]], g[e] - theta[e])
                message = sum(r * (seen @ w) for r, w in zip(radial[e], layer.values.weight, strict=True))
                y[p, columns] += (a * out.rotate(message, theta[e]))[columns]
    return y


@pytest.mark.parametrize(("num_radial", "heads"), [(2, 2), (3, 4), (2, 1)])
def test_it_is_the_sum_over_edges(random_graph, num_radial, heads):
    graph = random_graph(12, 40)
    layer = randomised(layers.GaugeAttention(MIXED, OUT, heads=heads, num_radial=num_radial))
    x = torch.randn(12, MIXED.dim, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, graph), edge_by_edge(layer, x, graph), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("aggregation", ["mean", "area"])
@pytest.mark.parametrize("in_type", ["4x0 + 3x1 + 2x2", "O(2): 4x0 + 3x1"])
def test_constant_logits_make_it_the_convolution(sphere, in_type, aggregation):
    out = "5x0 + 3x1" if "O" not in in_type else "O(2): 5x0 + 3x1"
    conv = randomised(layers.GaugeConv(in_type, out, num_radial=3, aggregation=aggregation))
    layer = layers.GaugeAttention(in_type, out, num_radial=3, heads=3, aggregation=aggregation).double()
    layer.values.load_state_dict(conv.state_dict())
    for p in layer.logits.parameters():
        torch.nn.init.zeros_(p)
    x = torch.randn(48, conv.in_type.dim, dtype=torch.float64)
    torch.testing.assert_close(layer(x, sphere), conv(x, sphere), rtol=1e-12, atol=1e-12)


def test_weights_of_a_points_neighbours_sum_to_one(random_graph):
    graph = random_graph(20, 60)
    layer = randomised(layers.GaugeAttention(MIXED, OUT, heads=4))
    weights = layer.attention(torch.randn(3, 20, MIXED.dim, dtype=torch.float64), graph)
    assert weights.shape == (3, 60, 4) and weights.min() >= 0
    total = torch.zeros(3, 20, 4, dtype=torch.float64).index_add(1, graph.dst, weights)
    torch.testing.assert_close(total, (graph.dst_ptr.diff() > 0).double()[:, None].expand(3, 20, 4))
    assert (weights[..., 0] - weights[..., 1]).abs().max() > 0.1  # heads attend to different neighbours


def test_every_term_of_the_logits_matters(sphere):
    """Each has to be able to tell neighbours apart by itself."""
    x = torch.randn(48, MIXED.dim, dtype=torch.float64)
    for name in ("query", "toward", "away"):
        layer = randomised(layers.GaugeAttention(MIXED, OUT))
        for other in {"query", "toward", "away"} - {name}:
            for p in getattr(layer.logits, other).parameters():
                torch.nn.init.zeros_(p)
        weights = layer.attention(x, sphere).detach()
        assert (weights - 1 / sphere.dst_ptr.diff()[sphere.dst][:, None]).abs().max() > 0.1, name


def test_every_parameter_has_a_gradient(sphere):
    for layer, t in (
        (layers.GaugeAttention(MIXED, OUT), MIXED),
        (layers.GaugeAttention(MIRRORED, MIRRORED, num_radial=1), MIRRORED),
    ):
        y = layer.double()(torch.randn(48, t.dim, dtype=torch.float64), sphere)
        for name, p in layer.named_parameters():
            (slope,) = torch.autograd.grad(y.square().sum(), p, retain_graph=True)
            assert slope.abs().max() > 1e-6, name


@pytest.mark.parametrize("kind", [MIXED, MIRRORED])
@pytest.mark.parametrize("heads", [1, 2, 3, 4])
def test_heads_share_out_the_fields(kind, heads):
    shares = deal_fields(kind, heads)
    assert sorted(torch.cat([c for _, c in shares]).tolist()) == list(range(kind.dim))
    total = shares[0][0]
    for share, columns in shares[1:]:
        total = total + share
        assert len(columns) == share.dim
    assert total == kind
    # A share's columns carry its type: they change under the group as it says.
    alpha, x = torch.randn((), dtype=torch.float64), torch.randn(kind.dim, dtype=torch.float64)
    for share, columns in shares:
        torch.testing.assert_close(share.rotate(x[columns], alpha), kind.rotate(x, alpha)[columns])
        if kind.group == "O(2)":
            torch.testing.assert_close(share.reflect(x[columns]), kind.reflect(x)[columns])


def test_copies_of_a_graph_are_a_batch(random_graph):
    graph = random_graph(6, 15)
    expected = GaugeGraph.batch([graph] * 3).edges
    for a, b in zip(side_by_side(graph.edges, 3), expected, strict=True):
        assert torch.equal(a, b)


def test_leading_axes_have_weights_of_their_own(sphere):
    layer = randomised(layers.GaugeAttention(MIRRORED, MIRRORED))
    x = torch.randn(2, 3, 48, MIRRORED.dim, dtype=torch.float64)
    graph = sphere.change_gauge(sphere.random_gauge(), torch.rand(48) < 0.5)
    y = layer(x, graph)
    torch.testing.assert_close(y[1, 2], layer(x[1, 2], graph), rtol=1e-12, atol=1e-12)
    assert layer(x[:0], graph).shape == (0, 3, 48, MIRRORED.dim)


def test_points_without_neighbours_keep_the_point_alone(random_graph):
    layer, x = randomised(layers.GaugeAttention(MIXED, OUT)), torch.randn(5, MIXED.dim, dtype=torch.float64)
    x.requires_grad_()
    y = layer(x, random_graph(5, 0))
    expected = layer.values.self_interaction(x) + torch.nn.functional.pad(layer.values.bias, (0, OUT.dim - 3))
    assert torch.equal(y, expected)
    assert torch.isfinite(torch.autograd.grad(y.square().sum(), x)[0]).all()


def test_huge_logits_stay_finite(sphere):
    layer = layers.GaugeAttention(MIXED, OUT)
    x = (1e6 * torch.randn(48, MIXED.dim)).requires_grad_()
    y = layer(x, sphere.to(torch.float32))
    assert torch.isfinite(y).all()
    assert torch.isfinite(torch.autograd.grad(y.sum(), x)[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "heads=0: .* has fields for 1 to 4 heads"),
        ({"heads": 5}, "heads=5: .* has fields for 1 to 4 heads"),
        ({"key_channels": 0}, "key_channels 0"),
        ({"aggregation": "sum"}, "aggregation 'sum': attention weights sum to one"),
        ({"num_radial": 0}, "num_radial"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        layers.GaugeAttention(MIXED, OUT, **options)


def test_features_of_another_type_are_refused(sphere):
    with pytest.raises(ValueError, match=r"input of type 4x0 \+ 4x1 \+ 2x2 need a last axis of 16, got \(48, 3\)"):
        layers.GaugeAttention(MIXED, OUT)(torch.zeros(48, 3), sphere)
