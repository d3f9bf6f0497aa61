"""What single layers compute, beyond equivariance."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from meshconv import FieldType, GaugeGraph, HealpixSphere, nn as layers
from meshconv.nn.convolution.neighbours import aggregation_weights

MIXED = "4x0 + 3x1 + 2x2"


@pytest.fixture
def three(random_graph) -> list[GaugeGraph]:
    """Surfaces of different sizes, single precision."""
    graphs = [random_graph(30, 90, 1), HealpixSphere(2).gauge_graph(), random_graph(7, 20, 2)]
    return [g.to(torch.float32) for g in graphs]


# --- weights of the convolution


def test_aggregation_weights():
    graph = GaugeGraph.from_edges(
        [1, 2, 0, 1], [0, 0, 1, 2], *[[0.5] * 4] * 3, frames=torch.eye(3).expand(4, 3, 3),
        positions=torch.zeros(4, 3), areas=[1.0, 2.0, 6.0, 1.0], scale=1.0,
    )  # fmt: skip
    assert aggregation_weights(graph, "sum").tolist() == [1, 1, 1, 1]
    assert aggregation_weights(graph, "mean").tolist() == [0.5, 0.5, 1, 1]
    assert aggregation_weights(graph, "area").tolist() == [0.25, 0.75, 1, 1]


def test_radii_are_measured_in_the_scale(sphere):
    """Twice the surface is the same to a kernel."""
    conv = layers.GaugeConv("2x0", "2x0 + 1x1", num_radial=4).double()
    rest = {k: getattr(sphere, k) for k in ("frames", "positions", "areas")}
    angles = (sphere.log_angle, sphere.transporter)
    scales = ((2.0, 2 * sphere.scale), (2.0, sphere.scale))
    twice, stretched = (
        GaugeGraph.from_edges(sphere.src, sphere.dst, r * sphere.log_radius, *angles, **rest, scale=s)
        for r, s in scales
    )
    x = torch.randn(48, 2, dtype=torch.float64)
    torch.testing.assert_close(conv(x, twice), conv(x, sphere))
    assert (conv(x, stretched) - conv(x, sphere)).norm() > 0.01


def test_a_constant_scalar_field_meets_the_ring_weights(sphere):
    """With one ring and the mean, scalars of a constant field are mapped by W^T, whatever the graph."""
    conv = layers.GaugeConv("3x0", "2x0", num_radial=1, self_interaction=False).double()
    with torch.no_grad():
        conv.bias.copy_(torch.tensor([0.5, -0.25]))
    x = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    expected = conv.weight[0].T @ x + torch.tensor([0.5, -0.25], dtype=torch.float64)
    torch.testing.assert_close(conv(x.expand(48, 3), sphere), expected.expand(48, 2))


def test_bias_and_self_interaction_reach_points_without_neighbours(random_graph):
    graph = random_graph(5, 0).to(torch.float32)
    conv, x = layers.GaugeConv(MIXED, MIXED), torch.randn(5, 14)
    nn.init.normal_(conv.bias)
    expected = conv.self_interaction(x)
    expected[:, :4] += conv.bias
    torch.testing.assert_close(conv(x, graph), expected)


@pytest.mark.parametrize("options", [{"num_radial": 0}, {"cutoff": 0.0}, {"cutoff": -1.0}, {"aggregation": "max"}])
def test_bad_options_of_the_convolution(options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        layers.GaugeConv("1x0", "1x0", **options)


# --- linear


def test_linear_is_complex_multiplication():
    linear = layers.Linear("2x0 + 3x2", "1x0 + 2x2").double()
    nn.init.normal_(linear.bias)
    x = torch.randn(5, 8, dtype=torch.float64)
    y, w = linear(x), linear.weights
    torch.testing.assert_close(y[:, :1], x[:, :2] @ w["0"][0] + linear.bias)
    z = torch.complex(x[:, 2:5], x[:, 5:]) @ torch.complex(*w["2"])
    torch.testing.assert_close(y[:, 1:], torch.cat([z.real, z.imag], dim=1))


def test_linear_fills_orders_the_input_lacks_with_zeros():
    linear = layers.Linear("2x1", "3x0 + 1x1 + 2x3")
    nn.init.normal_(linear.bias)
    y = linear(torch.randn(4, 4))
    assert torch.equal(y[:, :3], linear.bias.expand(4, 3))
    assert not y[:, 5:].any() and y[:, 3:5].all()


def test_linear_keeps_the_variance():
    linear = layers.Linear("64x0 + 64x2", "64x0 + 64x2")
    y = linear(torch.randn(500, 192))
    for m in (0, 2):
        assert 0.8 < y[:, linear.out_type.slice(m)].var() < 1.25


# --- nonlinearities


def test_norm_nonlinearity_by_hand():
    layer = layers.NormNonlinearity("1x0 + 1x1")
    with torch.no_grad():
        layer.slope.fill_(2.0)
        layer.offset.fill_(-1.0)
    y = layer(torch.tensor([-1.0, 3.0, 4.0]))
    gate = 1 / (1 + math.exp(-(2 * 5 - 1)))
    torch.testing.assert_close(y, torch.tensor([-1 / (1 + math.e), 3 * gate, 4 * gate]))


def test_gated_nonlinearity_by_hand():
    layer = layers.GatedNonlinearity("1x0 + 1x1 + 1x2")
    assert layer.in_type == FieldType("3x0 + 1x1 + 1x2")
    y = layer(torch.tensor([2.0, 0.0, 100.0, 3.0, 4.0, 5.0, 6.0]))
    torch.testing.assert_close(y, torch.tensor([2 / (1 + math.exp(-2)), 1.5, 2.0, 5.0, 6.0]))


def test_vanishing_fields_have_finite_gradients():
    for layer in (layers.NormNonlinearity(MIXED), layers.GatedNonlinearity(MIXED)):
        x = torch.zeros(3, layer.in_type.dim, requires_grad=True)
        layer(x).sum().backward()
        assert torch.isfinite(x.grad).all() and x.grad.any()


# --- batch norm


@pytest.mark.parametrize("shape", [(50,), (2, 25)])
def test_batch_norm_of_scalars_is_that_of_torch(shape):
    ours, theirs = layers.FieldBatchNorm("4x0 + 3x1").double(), nn.BatchNorm1d(4).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.scale.normal_()[:4])
        theirs.bias.copy_(ours.shift.normal_())
    for _ in range(3):
        x = 3 + 2 * torch.randn(*shape, 10, dtype=torch.float64)
        torch.testing.assert_close(ours(x)[..., :4].reshape(-1, 4), theirs(x[..., :4].reshape(-1, 4)))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var[:4], theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x)[..., :4].reshape(-1, 4), theirs(x[..., :4].reshape(-1, 4)))


def test_batch_norm_scales_and_never_shifts_higher_orders():
    norm = layers.FieldBatchNorm("2x0 + 3x1 + 1x4").double()
    nn.init.normal_(norm.shift)
    x = 5 + torch.randn(40, 10, dtype=torch.float64)  # a mean that ought to stay
    for train in (True, False):
        y = norm.train(train)(x)
        ratio = norm.in_type.norms(y)[:, 2:] / norm.in_type.norms(x)[:, 2:]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
        torch.testing.assert_close(y[:, 2:] / x[:, 2:], norm.in_type.per_component(
            torch.cat([torch.ones(40, 2, dtype=torch.float64), ratio], 1))[:, 2:])  # fmt: skip
    y = norm.train()(x)
    for m in (1, 4):
        assert abs(float(y[:, norm.in_type.slice(m)].detach().square().mean()) - 1) < 1e-5


def test_batch_norm_uses_running_statistics_in_evaluation():
    norm = layers.FieldBatchNorm(MIXED).eval()
    x = 10 * torch.randn(20, 14) + 3
    assert torch.allclose(norm(x), x, rtol=1e-4)
    norm.train()
    for _ in range(200):
        trained = norm(x)
    torch.testing.assert_close(norm.eval()(x)[:, 4:], trained[:, 4:], rtol=1e-4, atol=1e-4)
    before = norm.running_var.clone()
    norm(x + 100)
    assert torch.equal(norm.running_var, before)


# --- almost nothing


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("vertices", [0, 1])
def test_almost_no_points_give_no_nan(random_graph, training, vertices):
    graph = random_graph(vertices, 0).to(torch.float32)
    x = torch.randn(vertices, 14)
    modules = [layers.GaugeConv(MIXED, MIXED), layers.Linear(MIXED, MIXED), layers.NormNonlinearity(MIXED),
               layers.FieldBatchNorm(MIXED), layers.ResidualBlock(MIXED, MIXED), layers.GlobalPool(MIXED, "mean"),
               layers.GlobalPool(MIXED, "area"), layers.GlobalPool(MIXED, "max")]  # fmt: skip
    for module in modules:
        module.train(training)
        needs_graph = isinstance(module, layers.GaugeConv | layers.ResidualBlock | layers.GlobalPool)
        y = module(x, graph) if needs_graph else module(x)
        rows = 1 if isinstance(module, layers.GlobalPool) else vertices
        assert y.shape == (rows, module.out_type.dim)
        for t in (y, *module.state_dict().values()):
            assert torch.isfinite(t).all()


# --- pooling


def test_pool_and_unpool_are_transposes(hierarchy):
    pooling = hierarchy.pools[1].change_gauge(*(g.random_gauge() for g in hierarchy.levels[1:]))
    t = FieldType("2x0 + 1x1 + 1x2")
    fine, coarse = (torch.randn(n, t.dim, dtype=torch.float64) for n in (48, 12))
    pooled, unpooled = layers.ClusterPool(t)(fine, pooling), layers.ClusterUnpool(t)(coarse, pooling)
    torch.testing.assert_close(4 * (pooled * coarse).sum(), (fine * unpooled).sum())
    torch.testing.assert_close(layers.ClusterPool(t)(unpooled, pooling), coarse)


def test_pooling_arrows_transported_from_the_parent_gives_them_back(hierarchy):
    """The arrows are moved by rotating space along great circles, not by our transporters."""
    fine, coarse = hierarchy.levels[:2]
    parent = hierarchy.pools[0].parent
    components = torch.randn(48, 2, dtype=torch.float64)
    arrows = torch.einsum("vk,vki->vi", components, coarse.frames[:, :2])[parent].numpy()
    p, q = coarse.positions[parent].numpy(), fine.positions.numpy()
    axis = torch.linalg.cross(coarse.positions[parent], fine.positions).numpy()
    length = (axis**2).sum(1, keepdims=True) ** 0.5
    angle = torch.atan2(torch.from_numpy(length), torch.from_numpy((p * q).sum(1, keepdims=True))).numpy()
    moved = torch.from_numpy(Rotation.from_rotvec(axis / length * angle).apply(arrows))
    x = torch.einsum("vi,vki->vk", moved, fine.frames[:, :2])
    torch.testing.assert_close(layers.ClusterPool("1x1")(x, hierarchy.pools[0]), components)
    torch.testing.assert_close(layers.ClusterUnpool("1x1")(components, hierarchy.pools[0]), x)


@pytest.mark.parametrize("layer", [layers.ClusterPool, layers.ClusterUnpool])
def test_pooling_keeps_angles_out_of_half_precision(hierarchy, layer):
    alphas = [g.random_gauge() for g in hierarchy.levels]
    pooling = hierarchy.change_gauge(alphas).to(torch.float32).pools[0]
    x = torch.randn(192 if layer is layers.ClusterPool else 48, 16).bfloat16()
    y = layer("8x8")(x, pooling)
    exact = layer("8x8")(x.float(), pooling)
    assert y.dtype == torch.bfloat16
    assert (y.float() - exact).norm() < 2**-8 * exact.norm()


@pytest.mark.parametrize("layer", [layers.ClusterPool, layers.ClusterUnpool, layers.GlobalPool])
def test_pooling_of_other_points_is_an_error(hierarchy, layer):
    surface = hierarchy.levels[0] if layer is layers.GlobalPool else hierarchy.pools[0]
    with pytest.raises(ValueError, match=r"\(7, 14\) do not fit (192|48) vertices"):
        layer(MIXED)(torch.zeros(7, 14), surface)


def test_global_pool_by_hand(three):
    graph, t = GaugeGraph.batch(three), FieldType("1x0 + 1x1")
    x = torch.randn(2, graph.num_vertices, 3)
    values = torch.stack([x[..., 0], x[..., 1:].norm(dim=-1)], dim=-1)
    sizes = [g.num_vertices for g in three]
    for name in ("mean", "area", "max"):
        y = layers.GlobalPool(t, name)(x, graph)
        assert y.shape == (2, 3, 2)
        for g, part, areas in zip(range(3), values.split(sizes, 1), graph.areas.split(sizes), strict=True):
            w = areas / areas.sum()
            by_hand = {"mean": part.mean(1), "area": (part * w[:, None]).sum(1), "max": part.amax(1)}
            torch.testing.assert_close(y[:, g], by_hand[name])


def test_global_pool_of_a_surface_without_points_is_zero(three, random_graph):
    graph = GaugeGraph.batch([three[0], random_graph(0, 0).to(torch.float32), three[2]])
    x = -1 - torch.rand(37, 2)
    for name in ("mean", "area", "max"):
        y = layers.GlobalPool("2x0", name)(x, graph)
        assert not y[1].any() and (y[[0, 2]] < -0.9).all()


# --- batches and numbering

OURS = {
    "conv": lambda: layers.GaugeConv(MIXED, "5x0 + 2x1", self_interaction=False),
    "conv by area": lambda: layers.GaugeConv(MIXED, "5x0 + 2x1", aggregation="area", self_interaction=False),
    "batch norm": lambda: layers.FieldBatchNorm(MIXED),
    "mean": lambda: layers.GlobalPool(MIXED),
    "area": lambda: layers.GlobalPool(MIXED, "area"),
    "max": lambda: layers.GlobalPool(MIXED, "max"),
}


def call(module: nn.Module, x: Tensor, graph: GaugeGraph) -> Tensor:
    return module(x) if isinstance(module, layers.FieldBatchNorm) else module(x, graph)


@pytest.mark.parametrize("name", OURS)
def test_alone_and_in_a_batch_have_the_same_bits(three, name, request):
    if "conv" in name:
        request.getfixturevalue("compiled")  # the reference's dense product rounds by the number of its rows
    module = OURS[name]().eval()
    for p in module.parameters():
        nn.init.normal_(p)
    xs = [torch.randn(g.num_vertices, 14) for g in three]
    with torch.no_grad():
        together = call(module, torch.cat(xs), GaugeGraph.batch(three))
        alone = torch.cat([call(module, x, g) for x, g in zip(xs, three, strict=True)])
    assert torch.equal(together, alone)


def test_block_alone_and_in_a_batch(three):
    """Up to rounding: torch's dense products may differ in the last bit by the number of rows."""
    block = layers.ResidualBlock(MIXED, "5x0 + 2x1").eval()
    xs = [torch.randn(g.num_vertices, 14) for g in three]
    together = block(torch.cat(xs), GaugeGraph.batch(three))
    alone = torch.cat([block(x, g) for x, g in zip(xs, three, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_numbering_of_vertices_does_not_matter(sphere):
    block = layers.ResidualBlock(MIXED, "5x0 + 2x1").double().eval()
    new = torch.randperm(48)  # old vertex v becomes new[v]
    old = torch.argsort(new)
    edges = (sphere.log_radius, sphere.log_angle, sphere.transporter)
    points = {k: getattr(sphere, k)[old] for k in ("frames", "positions", "areas", "scale")}
    renumbered = GaugeGraph.from_edges(new[sphere.src], new[sphere.dst], *edges, **points)
    x = torch.randn(48, 14, dtype=torch.float64)
    torch.testing.assert_close(block(x[old], renumbered), block(x, sphere)[old], rtol=1e-12, atol=1e-12)


def test_leading_axes(sphere):
    block, x = layers.ResidualBlock(MIXED, "5x0 + 2x1").double().eval(), torch.randn(2, 3, 48, 14).double()
    y = block(x, sphere)
    torch.testing.assert_close(y[1, 2], block(x[1, 2], sphere), rtol=1e-12, atol=1e-12)


def test_state_dict_holds_parameters_and_statistics_alone():
    block = layers.ResidualBlock("16x0 + 16x1", "16x0 + 16x1", num_radial=2)
    shapes = {k: tuple(v.shape) for k, v in block.state_dict().items()}
    assert shapes["conv1.weight"] == (2, 48, 64)
    assert sum(math.prod(s) for s in shapes.values()) == sum(p.numel() for p in block.parameters()) + sum(
        b.numel() for b in block.buffers()
    )
    assert not layers.FourierNonlinearity("2x0 + 2x1").state_dict()
