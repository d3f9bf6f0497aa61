"""The networks that a user trains: invariant, trainable, the same alone and in a batch."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
import torch
from torch import nn

from meshconv import FieldType, GaugeGraph, HealpixSphere, Hierarchy
from meshconv.models import PixelwiseNetwork, PointwiseClassifier, ShapeClassifier, SphereUNet
from meshconv.testing import gauge_equivariance_error

IN = FieldType("2x0 + 1x1")
SHAPE = {
    "network": lambda: ShapeClassifier(IN, 3, channels=4, blocks=2),
    "baseline": lambda: PointwiseClassifier(IN, 3, width=16, layers=2),
}
PIXEL = {
    "network": lambda: SphereUNet(IN, 3, channels=(4, 6, 6)),
    "baseline": lambda: PixelwiseNetwork(IN, 3, width=16, layers=2),
}


def train(model: nn.Module, surface: GaugeGraph | Hierarchy, x, target) -> list[float]:
    """Twenty steps of Adam; the losses."""
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.02), []
    surface = surface.to(torch.float32)
    for _ in range(20):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x, surface).flatten(0, -2), target.flatten())
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.fixture(scope="module")
def surfaces() -> list[GaugeGraph]:
    return [HealpixSphere(n).gauge_graph() for n in (2, 1, 4, 2)]


@pytest.mark.parametrize("name", SHAPE)
def test_shape_classifier_learns_and_stays_invariant(surfaces, name):
    model = SHAPE[name]()
    batch = GaugeGraph.batch(surfaces)
    x = torch.randn(batch.num_vertices, IN.dim)
    losses = train(model, batch, x, torch.tensor([0, 1, 2, 0]))
    assert losses[-1] < 0.8 * losses[0]
    assert gauge_equivariance_error(model, surfaces[0]) < 1e-5
    assert gauge_equivariance_error(model.double(), surfaces[2]) < 1e-10


def test_shape_classifier_of_any_hidden_type(surfaces):
    """A uniform type is what the numbers say; others have no more parameters than their fields need."""
    torch.manual_seed(0)
    one = ShapeClassifier(IN, 3, channels=4, max_order=1, blocks=1)
    torch.manual_seed(0)
    same = ShapeClassifier(IN, 3, "4x0 + 4x1", blocks=1)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), same.parameters(), strict=True))
    model = ShapeClassifier(IN, 3, FieldType("4x0 + 2x1 + 1x3"), blocks=1).double()
    assert gauge_equivariance_error(model, surfaces[2]) < 1e-10
    assert ShapeClassifier("O(2): 3x0", 3, "4x0 + 2x0- + 2x1", blocks=1).blocks[0].in_type == "4x0 + 2x0- + 2x1"
    with pytest.raises(ValueError, match="odd"):
        ShapeClassifier(IN, 3, "4x0 + 2x0- + 2x1")


@pytest.mark.parametrize("name", PIXEL)
def test_sphere_network_learns_and_stays_invariant(hierarchy, name):
    model = PIXEL[name]()
    x = torch.randn(2, 192, IN.dim)
    target = (x[..., 0] > 0).long() + (x[..., 1] > 0)
    losses = train(model, hierarchy, x, target)
    assert losses[-1] < 0.8 * losses[0]
    assert gauge_equivariance_error(model, hierarchy) < 1e-5
    assert gauge_equivariance_error(model.double(), hierarchy) < 1e-10


@pytest.mark.parametrize("name", SHAPE)
def test_shapes_alone_and_in_a_batch(surfaces, name):
    model = SHAPE[name]().eval()
    graphs = [g.to(torch.float32) for g in surfaces]
    xs = [torch.randn(g.num_vertices, IN.dim) for g in graphs]
    together = model(torch.cat(xs), GaugeGraph.batch(graphs))
    alone = torch.cat([model(x, g) for x, g in zip(xs, graphs, strict=True)])
    assert together.shape == (4, 3)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert (together[0] - together[3]).abs().max() > 1e-4  # same surface, other features


def test_maps_alone_and_in_a_batch(hierarchy):
    model, surface = PIXEL["network"]().eval(), hierarchy.to(torch.float32)
    x = torch.randn(3, 192, IN.dim)
    together = model(x, surface)
    assert together.shape == (3, 192, 3)
    torch.testing.assert_close(together[1], model(x[1], surface), rtol=1e-5, atol=1e-6)


def test_network_sees_neighbours_and_baseline_does_not(hierarchy):
    for name, sees in (("network", True), ("baseline", False)):
        model = PIXEL[name]().double().eval()
        x = torch.randn(192, IN.dim, dtype=torch.float64)
        changed = x.clone()
        changed[100] += 1
        moved = (model(x, hierarchy) - model(changed, hierarchy)).abs().amax(-1) > 1e-9
        assert moved[100]
        assert int(moved.sum()) > 150 if sees else int(moved.sum()) == 1


def test_quarter_turns_of_the_sphere_turn_the_answer():
    """An exact rotation of the grid: logits of a turned map are the turned logits."""
    nside, hierarchy = 4, HealpixSphere(4).hierarchy(3)
    model = PIXEL["network"]().double().eval()
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    to = healpy.vec2pix(nside, *(turn @ hierarchy.levels[0].positions.numpy().T), nest=True)
    x = torch.randn(192, IN.dim, dtype=torch.float64)
    turned = torch.empty_like(x)
    turned[to] = x
    torch.testing.assert_close(model(turned, hierarchy)[to], model(x, hierarchy), rtol=1e-10, atol=1e-10)


def test_shape_scores_do_not_depend_on_the_numbering(surfaces):
    graph, model = surfaces[0], SHAPE["network"]().double().eval()
    old = torch.randperm(48)
    new = torch.argsort(old)
    edges = (graph.log_radius, graph.log_angle, graph.transporter)
    points = {k: getattr(graph, k)[old] for k in ("frames", "positions", "areas", "scale")}
    renumbered = GaugeGraph.from_edges(new[graph.src], new[graph.dst], *edges, **points)
    x = torch.randn(48, IN.dim, dtype=torch.float64)
    torch.testing.assert_close(model(x[old], renumbered), model(x, graph), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("levels", [1, 2])
def test_other_numbers_of_levels_are_an_error(levels):
    surface = HealpixSphere(4).hierarchy(levels).to(torch.float32)
    with pytest.raises(ValueError, match=f"the network has 3 levels, the hierarchy {levels}"):
        PIXEL["network"]()(torch.zeros(192, IN.dim), surface)
    with pytest.raises(ValueError, match="the network has 3 levels, the surface is one graph"):
        PIXEL["network"]()(torch.zeros(192, IN.dim), surface.finest)
    with pytest.raises(ValueError, match="one entry per level"):
        SphereUNet(IN, 3, channels=())


def test_one_level_is_a_network_without_pooling():
    surface = HealpixSphere(2).hierarchy(1).to(torch.float32)
    assert SphereUNet(IN, 3, channels=(4,))(torch.zeros(48, IN.dim), surface).shape == (48, 3)


@pytest.mark.parametrize("wrong", [3, 5])
def test_features_of_another_type_are_an_error(surfaces, hierarchy, wrong):
    for make, surface in ((SHAPE, surfaces[0]), (PIXEL, hierarchy)):
        for model in make.values():
            with pytest.raises(ValueError, match=rf"2x0 \+ 1x1 need a last axis of 4, got \(\d+, {wrong}\)"):
                model()(torch.zeros(surface.num_vertices, wrong), surface.to(torch.float32))


def test_under_autocast(surfaces, hierarchy):
    """Logits are off by a few roundings to bfloat16 (2^-9 each), and gradients flow."""
    for model, surface in ((SHAPE["network"](), surfaces[2]), (PIXEL["network"](), hierarchy)):
        surface, model = surface.to(torch.float32), model.eval()
        x = torch.randn(surface.num_vertices, IN.dim)
        exact = model(x, surface)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = model(x, surface)
        y.float().sum().backward()
        assert (y - exact).norm() < 0.1 * exact.norm()
        assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_surface_without_edges_or_points(random_graph):
    graph = GaugeGraph.batch([random_graph(5, 0), random_graph(0, 0)]).to(torch.float32)
    for model in SHAPE.values():
        assert torch.isfinite(model().eval()(torch.randn(5, IN.dim), graph)).all()
