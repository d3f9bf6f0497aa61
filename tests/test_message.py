"""Nonlinear messages: against a network evaluated edge by edge, and what they can tell that a convolution cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from meshconv import FieldType, GaugeGraph, HealpixSphere, nn as layers

MIXED = FieldType("4x0 + 3x1 + 2x2")
OUT = FieldType("3x0 + 2x1 + 1x3")
MIRRORED = FieldType("2x0 + 2x0- + 3x1")


def randomised(module: nn.Module) -> nn.Module:
    for p in module.parameters():
        nn.init.normal_(p)
    return module.double()


def in_the_frame_of_the_edge(layer: layers.GaugeMessage, x: Tensor, graph: GaugeGraph) -> Tensor:
    """Turn both ends into the edge's frame, apply one dense network, turn back, add up."""
    t, out, h = layer.in_type, layer.out_type, layer.units
    theta, g = graph.log_angle, graph.transporter
    radial = layer.radial((graph.log_radius / layer.cutoff / graph.scale[graph.dst]).clamp(max=1))

    def dense(linear: layers.Linear, odd: bool) -> Tensor:
        """Matrix [h, in] that reads off the first (or second) component of every order."""
        kind = linear.out_type
        matrix = linear(torch.eye(t.dim, dtype=x.dtype)).T
        rows = torch.zeros(h, t.dim, dtype=x.dtype)
        for m in kind.orders:
            block = matrix[kind.slice(m)]
            rows = rows + (block if m == 0 else block.chunk(2)[int(odd)])
        return rows * (2 * len(kind.orders)) ** -0.5

    def sender(linear: layers.Linear, odd: bool) -> Tensor:
        kind = linear.in_type
        ahead = torch.zeros(h, kind.dim, dtype=x.dtype)
        for m in kind.orders:
            start = kind.slice(m).start + (h if odd and m else 0)
            ahead[:, start : start + h] = torch.eye(h, dtype=x.dtype)
        return linear(ahead)  # [h, out]

    source, target = t.rotate(x[graph.src], g - theta), t.rotate(x[graph.dst], -theta)
    z = [source @ dense(u.source, u.odd).T + target @ dense(u.target, u.odd).T for u in (layer.even, layer.odd) if u]
    even = z[0] + radial @ layer.radial_weight
    if layer.odd is None:
        message = nn.functional.silu(even) @ sender(layer.even.back, False)
    else:
        one, other = (nn.functional.silu((even + sign * z[1]) / 2**0.5) for sign in (1, -1))
        message = (one + other) @ sender(layer.even.back, False) + (one - other) @ sender(layer.odd.back, True)
        message = message / 2**0.5
    weight = 1 / graph.dst_ptr.diff()[graph.dst].to(x.dtype)
    y = layer.self_interaction(x) + nn.functional.pad(layer.bias, (0, out.dim - out.scalars))
    return y.index_add(0, graph.dst, weight[:, None] * out.rotate(message, theta))


@pytest.mark.parametrize(("in_type", "out_type"), [(MIXED, OUT), (FieldType("3x1"), FieldType("2x0")), (MIRRORED,) * 2])
def test_it_is_a_network_on_every_edge(random_graph, in_type, out_type):
    graph = random_graph(12, 40)
    layer = randomised(layers.GaugeMessage(in_type, out_type, units=5, num_radial=3))
    x = torch.randn(12, in_type.dim, dtype=torch.float64)
    with torch.no_grad():
        expected = in_the_frame_of_the_edge(layer, x, graph)
        torch.testing.assert_close(layer(x, graph), expected, rtol=1e-12, atol=1e-12)


def test_messages_are_not_linear_in_the_neighbours(sphere):
    """A convolution of x + y is the sum of those of x and y, up to the bias; a message is not."""
    layer = layers.GaugeMessage(MIXED, OUT, self_interaction=False).double()
    x, y = torch.randn(2, 48, MIXED.dim, dtype=torch.float64)
    zero = layer(0 * x, sphere)
    both, apart = layer(x + y, sphere) - zero, layer(x, sphere) + layer(y, sphere) - 2 * zero
    assert (both - apart).norm() > 0.1 * both.norm()


def test_it_learns_a_product_of_both_ends(sphere):
    """The mean over neighbours of <f_p, e> <f_q, e>, e the direction of the edge: no convolution can, messages do."""
    x = torch.randn(20, 48, 2, dtype=torch.float64)
    kind = FieldType("1x1")
    ahead_here = kind.rotate(x[:, sphere.dst], -sphere.log_angle)[..., 0]
    ahead_there = kind.rotate(x[:, sphere.src], sphere.transporter - sphere.log_angle)[..., 0]
    share = 1 / sphere.dst_ptr.diff()[sphere.dst].double()
    target = torch.zeros(20, 48, dtype=torch.float64).index_add(1, sphere.dst, share * ahead_here * ahead_there)
    errors = {}
    for name, layer in (("conv", layers.GaugeConv("1x1", "1x0")), ("message", layers.GaugeMessage("1x1", "1x0", 32))):
        layer = layer.double()
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.03)
        for _ in range(150):
            optimiser.zero_grad()
            loss = (layer(x, sphere)[..., 0] - target).square().mean() / target.var()
            loss.backward()
            optimiser.step()
        errors[name] = float(loss.detach())
    assert errors["conv"] > 0.95 and errors["message"] < 0.2


@pytest.mark.parametrize("in_type", [MIXED, MIRRORED])
def test_every_parameter_has_a_gradient(sphere, in_type):
    layer = layers.GaugeMessage(in_type, in_type).double()
    y = layer(torch.randn(48, in_type.dim, dtype=torch.float64), sphere)
    for name, p in layer.named_parameters():
        (slope,) = torch.autograd.grad(y.square().sum(), p, retain_graph=True)
        assert slope.abs().max() > 1e-6, name


@pytest.mark.parametrize("aggregation", ["mean", "area", "sum"])
def test_variance_at_initialisation(aggregation):
    graph = HealpixSphere(4).gauge_graph().to(torch.float32)
    found = []
    with torch.no_grad():
        for seed in range(5):
            torch.manual_seed(seed)
            layer = layers.GaugeMessage("16x0 + 16x1 + 16x2", "16x0 + 16x1 + 16x2 + 16x3", aggregation=aggregation)
            y = layer(torch.randn(192, 80), graph)
            found.append([float(y[:, layer.out_type.slice(m)].square().mean()) for m in range(4)])
    variances = torch.tensor(found).mean(0)
    assert (variances < 2).all() and (variances[:3] > 0.5).all()
    assert variances[3] > 0.3  # which one end's fields do not reach


@pytest.mark.parametrize("aggregation", ["mean", "sum", "area"])
def test_points_without_neighbours_keep_the_point_alone(random_graph, aggregation):
    layer = randomised(layers.GaugeMessage(MIXED, OUT, aggregation=aggregation))
    x = torch.randn(5, MIXED.dim, dtype=torch.float64, requires_grad=True)
    y = layer(x, random_graph(5, 0))
    torch.testing.assert_close(y, layer.self_interaction(x) + nn.functional.pad(layer.bias, (0, OUT.dim - 3)))
    assert torch.isfinite(torch.autograd.grad(y.square().sum(), x)[0]).all()


def test_leading_axes(sphere):
    layer = randomised(layers.GaugeMessage(MIRRORED, MIRRORED))
    x = torch.randn(2, 3, 48, MIRRORED.dim, dtype=torch.float64)
    graph = sphere.change_gauge(sphere.random_gauge(), torch.rand(48) < 0.5)
    torch.testing.assert_close(layer(x, graph)[1, 2], layer(x[1, 2], graph), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{"units": 0}, {"num_radial": 0}, {"cutoff": 0.0}, {"aggregation": "max"}, {"radial": "splines"}]
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        layers.GaugeMessage(MIXED, OUT, **options)


def test_types_of_different_groups_are_refused():
    with pytest.raises(ValueError, match="different groups"):
        layers.GaugeMessage("2x0", "O(2): 2x0")
