"""What attention, messages and the new pointwise layers share: derivatives, precision, batches, numbering, models."""

from __future__ import annotations

import copy

import pytest
import torch

from meshconv import FieldType, GaugeGraph, HealpixSphere, nn as layers
from meshconv.models import ShapeClassifier, SphereUNet
from meshconv.nn.block import surface_layer
from meshconv.testing import assert_gauge_equivariant

MIXED = FieldType("4x0 + 3x1 + 2x2")
OUT = FieldType("3x0 + 2x1 + 1x3")
LAYERS = {
    "attention": lambda: layers.GaugeAttention(MIXED, OUT),
    "attention area": lambda: layers.GaugeAttention(MIXED, OUT, aggregation="area", radial="gaussian"),
    "message": lambda: layers.GaugeMessage(MIXED, OUT),
    "message network": lambda: layers.GaugeMessage(MIXED, OUT, radial="network"),
    "instance norm": lambda: layers.FieldInstanceNorm(MIXED),
}


@pytest.fixture
def three(random_graph) -> list[GaugeGraph]:
    return [random_graph(30, 90, 1), HealpixSphere(2).gauge_graph(), random_graph(7, 20, 2)]


@pytest.mark.parametrize("name", LAYERS)
def test_alone_and_in_a_batch(three, name):
    layer = LAYERS[name]().double()
    xs = [torch.randn(g.num_vertices, MIXED.dim, dtype=torch.float64) for g in three]
    together = layer(torch.cat(xs), GaugeGraph.batch(three))
    alone = torch.cat([layer(x, g) for x, g in zip(xs, three, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_numbering_of_vertices_does_not_matter(sphere, name):
    layer = LAYERS[name]().double()
    new = torch.randperm(48)  # old vertex v becomes new[v]
    old = torch.argsort(new)
    edges = (sphere.log_radius, sphere.log_angle, sphere.transporter)
    points = {k: getattr(sphere, k)[old] for k in ("frames", "positions", "areas", "scale")}
    renumbered = GaugeGraph.from_edges(new[sphere.src], new[sphere.dst], *edges, **points)
    x = torch.randn(48, MIXED.dim, dtype=torch.float64)
    torch.testing.assert_close(layer(x[old], renumbered), layer(x, sphere)[old], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["attention", "message", "instance norm"])
def test_derivatives_to_second_order(random_graph, name):
    graph = random_graph(5, 9)
    layer = copy.deepcopy(LAYERS[name]()).double()
    x = torch.randn(5, MIXED.dim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, graph), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x, graph), x, fast_mode=True)


@pytest.mark.parametrize("layer", [layers.TensorProductNonlinearity, layers.FieldLayerNorm])
def test_derivatives_of_layers_at_a_point(layer):
    layer, x = layer(MIXED).double(), torch.randn(4, MIXED.dim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, x, fast_mode=True)


@pytest.mark.parametrize("name", ["attention", "message"])
def test_gradients_with_respect_to_the_geometry(random_graph, name):
    """Radii, angles and transporters may be learnt or optimised."""
    graph = random_graph(5, 9)
    layer, x = LAYERS[name]().double(), torch.randn(5, MIXED.dim, dtype=torch.float64)
    given = [t.clone().requires_grad_() for t in (graph.log_radius, graph.log_angle, graph.transporter)]

    def run(radius, angle, transporter):
        fields = {k: getattr(graph, k) for k in graph.__dataclass_fields__}
        return layer(x, GaugeGraph(**fields | {"log_radius": radius, "log_angle": angle, "transporter": transporter}))

    assert torch.autograd.gradcheck(run, given, fast_mode=True)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(sphere, name, dtype):
    """Products run in half precision, angles, softmax and sums do not."""
    layer, graph = LAYERS[name](), sphere.change_gauge(sphere.random_gauge()).to(torch.float32)
    x = torch.randn(48, MIXED.dim)
    exact = layer(x, graph)
    with torch.autocast("cpu", dtype=dtype):
        y = layer(x, graph)
    (gradient,) = torch.autograd.grad(y.float().square().sum(), next(layer.parameters()))
    assert torch.isfinite(gradient).all()
    assert (y.float() - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("kind", ["conv", "attention", "message"])
def test_models_take_any_of_the_layers(sphere, hierarchy, kind):
    classifier = ShapeClassifier("2x0 + 1x1", 3, channels=4, blocks=1, width=8, layer=kind)
    assert_gauge_equivariant(classifier.double(), sphere)
    net = SphereUNet("2x0 + 1x1", 3, channels=(4, 4, 4), width=8, layer=kind)
    assert_gauge_equivariant(net.double(), hierarchy)
    name = {"conv": "GaugeConv", "attention": "GaugeAttention", "message": "GaugeMessage"}[kind]
    found = {type(m).__name__ for m in (*classifier.modules(), *net.modules())} & {
        "GaugeConv", "GaugeAttention", "GaugeMessage",
    }  # fmt: skip
    assert found == {name} | ({"GaugeConv"} if kind == "attention" else set())  # the values of attention are one


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="layer 'convolution' is not one of 'conv', 'attention', 'message'"):
        surface_layer("convolution", "1x0", "1x0")


@pytest.mark.parametrize("name", LAYERS)
def test_state_dict_holds_parameters_alone(sphere, name):
    layer = LAYERS[name]()
    assert set(layer.state_dict()) == {n for n, _ in layer.named_parameters()}
    other = LAYERS[name]()
    other.load_state_dict(layer.state_dict())
    x, graph = torch.randn(48, MIXED.dim), sphere.to(torch.float32)
    assert torch.equal(other(x, graph), layer(x, graph))
