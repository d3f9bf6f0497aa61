"""Gauge error of every layer: with random parameters, after training, in both precisions."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from meshconv import GaugeGraph, HealpixSphere, nn as layers
from meshconv.testing import assert_gauge_equivariant, gauge_equivariance_error

MIXED = "4x0 + 3x1 + 2x2"
MIRRORED = "3x0 + 2x0- + 3x1 + 2x2"

MODULES: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: layers.GaugeConv(MIXED, "2x0 + 3x1 + 1x3", num_radial=3),
    "conv sum": lambda: layers.GaugeConv("2x0", MIXED, num_radial=1, aggregation="sum"),
    "conv area": lambda: layers.GaugeConv(MIXED, MIXED, aggregation="area", self_interaction=False),
    "conv scalars": lambda: layers.GaugeConv("3x1 + 1x4", "5x0"),
    "conv quadrature": lambda: layers.GaugeConv(MIXED, MIXED, aggregation="quadrature"),
    "conv quadrature O(2)": lambda: layers.GaugeConv(MIRRORED, MIRRORED, aggregation="quadrature"),
    "linear": lambda: layers.Linear(MIXED, "3x0 + 5x1 + 2x2 + 1x3"),
    "norm nonlinearity": lambda: layers.NormNonlinearity(MIXED),
    "gated nonlinearity": lambda: layers.GatedNonlinearity(MIXED),
    "batch norm": lambda: layers.FieldBatchNorm(MIXED),
    "block": lambda: layers.ResidualBlock(MIXED, MIXED),
    "block of two types": lambda: layers.ResidualBlock("2x0 + 1x2", "3x0 + 3x1", num_radial=3),
    "mean": lambda: layers.GlobalPool(MIXED),
    "area": lambda: layers.GlobalPool(MIXED, "area"),
    "max": lambda: layers.GlobalPool(MIXED, "max"),
    "attention pool": lambda: layers.AttentionPool(MIXED, heads=2),
    "attention pool O(2)": lambda: layers.AttentionPool(MIRRORED, heads=2),
    "depthwise": lambda: layers.DepthwiseGaugeConv("3x0 + 3x1", "2x0 + 3x1 + 1x3", num_radial=3),
    "depthwise of a band": lambda: layers.DepthwiseGaugeConv("3x0 + 3x1 + 3x2", MIXED, band_limit=1, radial="zernike"),
    "depthwise O(2)": lambda: layers.DepthwiseGaugeConv("O(2): 3x0 + 3x1 + 3x2", "O(2): 2x0 + 3x1 + 1x2"),
    "conv gaussian": lambda: layers.GaugeConv(MIXED, MIXED, num_radial=3, radial="gaussian"),
    "conv zernike": lambda: layers.GaugeConv(MIXED, MIXED, num_radial=3, radial="zernike"),
    "conv network": lambda: layers.GaugeConv(MIXED, MIXED, num_radial=3, radial="network"),
    "sequence": lambda: layers.Sequential(layers.GaugeConv("2x0", MIXED), layers.NormNonlinearity(MIXED)),
    "conv of a band": lambda: layers.GaugeConv(MIXED, MIXED, band_limit=1),
    "conv O(2)": lambda: layers.GaugeConv(MIRRORED, "O(2): 2x0 + 3x0- + 3x1 + 1x3", num_radial=3),
    "conv O(2) of a band": lambda: layers.GaugeConv(MIRRORED, MIRRORED, band_limit=2),
    "linear O(2)": lambda: layers.Linear(MIRRORED, "O(2): 2x0 + 1x0- + 5x1 + 2x2 + 1x3"),
    "norm nonlinearity O(2)": lambda: layers.NormNonlinearity(MIRRORED),
    "gated nonlinearity O(2)": lambda: layers.GatedNonlinearity(MIRRORED),
    "batch norm O(2)": lambda: layers.FieldBatchNorm(MIRRORED),
    "block O(2)": lambda: layers.ResidualBlock(MIRRORED, "O(2): 2x0 + 3x1"),
    "area O(2)": lambda: layers.GlobalPool(MIRRORED, "area"),
    "gradient": lambda: layers.Gradient("3x0"),
    "divergence": lambda: layers.Divergence("3x1"),
    "curl": lambda: layers.Curl("3x1"),
    "laplacian": lambda: layers.Laplacian(MIXED),
    "gradient O(2)": lambda: layers.Gradient("O(2): 3x0"),
    "divergence O(2)": lambda: layers.Divergence("O(2): 3x1"),
    "curl O(2)": lambda: layers.Curl("O(2): 3x1"),
    "laplacian O(2)": lambda: layers.Laplacian(MIRRORED),
    "attention": lambda: layers.GaugeAttention(MIXED, "2x0 + 3x1 + 1x3", num_radial=3),
    "attention of one ring": lambda: layers.GaugeAttention("3x1", MIXED, heads=2, num_radial=1),
    "attention area": lambda: layers.GaugeAttention("2x0", MIXED, aggregation="area", self_interaction=False),
    "attention quadrature": lambda: layers.GaugeAttention(MIXED, MIXED, aggregation="quadrature"),
    "attention quadrature O(2)": lambda: layers.GaugeAttention(MIRRORED, MIRRORED, aggregation="quadrature"),
    "attention O(2)": lambda: layers.GaugeAttention(MIRRORED, "O(2): 2x0 + 3x0- + 3x1 + 1x3", num_radial=3),
    "message": lambda: layers.GaugeMessage(MIXED, "2x0 + 3x1 + 1x3", num_radial=3),
    "message sum": lambda: layers.GaugeMessage("3x1", MIXED, units=8, aggregation="sum"),
    "message quadrature": lambda: layers.GaugeMessage(MIXED, MIXED, aggregation="quadrature"),
    "depthwise quadrature": lambda: layers.DepthwiseGaugeConv("3x0 + 3x1", MIXED, aggregation="quadrature"),
    "message O(2)": lambda: layers.GaugeMessage(MIRRORED, "O(2): 2x0 + 3x0- + 3x1 + 1x3", aggregation="area"),
    "message of scalars O(2)": lambda: layers.GaugeMessage("O(2): 2x0", MIRRORED),
    "block of attention": lambda: layers.ResidualBlock(MIXED, "3x0 + 3x1", layer="attention"),
    "block of messages O(2)": lambda: layers.ResidualBlock(MIRRORED, MIRRORED, layer="message"),
    "tensor product": lambda: layers.TensorProductNonlinearity(MIXED),
    "tensor product of two types": lambda: layers.TensorProductNonlinearity("2x1 + 1x3", "2x0 + 3x2 + 1x4", 5),
    "tensor product O(2)": lambda: layers.TensorProductNonlinearity(MIRRORED),
    "layer norm": lambda: layers.FieldLayerNorm(MIXED),
    "layer norm O(2)": lambda: layers.FieldLayerNorm(MIRRORED),
    "instance norm": lambda: layers.FieldInstanceNorm(MIXED),
    "instance norm O(2)": lambda: layers.FieldInstanceNorm(MIRRORED),
}
TRAINABLE = [k for k in MODULES if any(True for _ in MODULES[k]().parameters())]




def call(module: nn.Module, x: Tensor, graph: GaugeGraph) -> Tensor:
    on_graph = len(inspect.signature(module.forward).parameters) > 1
    return module(x, graph) if on_graph else module(x)


def randomised(module: nn.Module) -> nn.Module:
    """All parameters and running statistics away from where they start, biases above all."""
    with torch.no_grad():
        for p in module.parameters():
            p.normal_()
        for name, b in module.state_dict(keep_vars=True).items():
            if isinstance(b, nn.Parameter):
                continue
            b.uniform_(0.5, 2.0) if name.endswith("var") else b.normal_()
    return module


def trained(module: nn.Module, graph: GaugeGraph, steps: int = 20) -> nn.Module:
    """After some steps towards a target that no equivariant map reaches, so that every parameter moves."""
    graph = graph.to(torch.float32)
    x = torch.randn(graph.num_vertices, module.in_type.dim)
    target = 2 + torch.randn(call(module, x, graph).shape)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    before = copy.deepcopy(dict(module.named_parameters()))
    for _ in range(steps):
        optimiser.zero_grad()
        (call(module, x, graph) - target).square().mean().backward()
        optimiser.step()
    assert all((p != before[name]).any() for name, p in module.named_parameters())
    return module


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_parameters(sphere, name, dtype):
    module = randomised(MODULES[name]()).to(dtype)
    bound = 1e-10 if dtype == torch.float64 else 1e-6 if "conv" in name else 1e-5
    assert_gauge_equivariant(module, sphere, bound, dtype=dtype)


@pytest.mark.parametrize("name", TRAINABLE)
def test_after_training(sphere, name):
    module = trained(MODULES[name](), sphere)
    assert gauge_equivariance_error(module, sphere) < (1e-6 if "conv" in name else 1e-5)
    assert gauge_equivariance_error(module.double(), sphere) < 1e-10


@pytest.mark.parametrize("name", ["conv", "block", "linear"])
def test_on_any_graph(random_graph, name):
    """Nothing relies on a smooth surface: angles and transporters may be any."""
    module = randomised(MODULES[name]()).double()
    assert_gauge_equivariant(module, random_graph(40, 200))


@pytest.mark.parametrize("name", ["block", "batch norm"])
def test_in_training_mode(sphere, name):
    """Statistics of the batch are invariant too."""
    module = randomised(MODULES[name]()).double().train()
    alpha = sphere.random_gauge()
    x = torch.randn(48, module.in_type.dim, dtype=torch.float64)
    y = call(module, x, sphere)
    turned = call(module, module.in_type.rotate(x, -alpha), sphere.change_gauge(alpha))
    torch.testing.assert_close(turned, module.out_type.rotate(y, -alpha), rtol=1e-10, atol=1e-10)


def test_gradients_of_parameters_do_not_see_the_gauge(sphere):
    module = randomised(layers.ResidualBlock("2x0 + 1x2", MIXED)).double()
    alpha = sphere.random_gauge()
    x = torch.randn(48, module.in_type.dim, dtype=torch.float64)
    weights = torch.randn(48, module.out_type.num_fields, dtype=torch.float64)
    results = []
    for features, graph in ((x, sphere), (module.in_type.rotate(x, -alpha), sphere.change_gauge(alpha))):
        loss = (module.out_type.norms(module(features, graph)) * weights).sum()
        results.append(torch.autograd.grad(loss, list(module.parameters())))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("nside", [4, 8])
def test_on_spheres_of_other_sizes(nside):
    module = randomised(layers.ResidualBlock("2x0 + 1x2", MIXED))
    assert_gauge_equivariant(module, HealpixSphere(nside).gauge_graph())


@pytest.mark.parametrize("layer", [layers.ClusterPool, layers.ClusterUnpool])
def test_pooling_under_gauges_of_both_levels(hierarchy, layer):
    pool, module = hierarchy.pools[0], layer(MIXED)
    fine, coarse = (g.random_gauge() for g in hierarchy.levels[:2])
    before, after = (fine, coarse) if layer is layers.ClusterPool else (coarse, fine)
    x = torch.randn(len(before), module.in_type.dim, dtype=torch.float64)
    y = module(x, pool)
    for a, b in ((before, after), (before, 0 * after), (0 * before, after)):
        pair = (a, b) if layer is layers.ClusterPool else (b, a)
        turned = module(module.in_type.rotate(x, -a), pool.change_gauge(*pair))
        torch.testing.assert_close(turned, module.out_type.rotate(y, -b), rtol=1e-12, atol=1e-12)
        assert (turned - y).norm() > 0.1 * y.norm() or not b.any()


@pytest.mark.parametrize("layer", [layers.ClusterPool, layers.ClusterMaxPool, layers.ClusterUnpool])
def test_pooling_under_reflections(hierarchy, layer):
    """Frames of both levels turned and half of them reflected, twice over."""
    generator = torch.Generator().manual_seed(0)
    module = layer(MIRRORED)
    pool, x, y = hierarchy.pools[0], None, None
    for _ in range(2):
        gauges = [
            (g.random_gauge(generator), torch.rand(g.num_vertices, generator=generator) < 0.5)
            for g in hierarchy.levels[:2]
        ]
        (fine, flip_fine), (coarse, flip_coarse) = gauges
        before, after = gauges[::-1] if layer is layers.ClusterUnpool else gauges
        if x is None:
            x = torch.randn(len(before[0]), module.in_type.dim, dtype=torch.float64, generator=generator)
            y = module(x, pool)
        pool = pool.change_gauge(fine, coarse, flip_fine, flip_coarse)
        x, y = module.in_type.change_gauge(x, *before), module.out_type.change_gauge(y, *after)
        torch.testing.assert_close(module(x, pool), y, rtol=1e-12, atol=1e-12)


def test_fields_that_only_turn_are_refused_where_transporters_reflect(sphere, hierarchy):
    mirrored = sphere.change_gauge(torch.zeros(48), torch.arange(48) < 7)
    with pytest.raises(ValueError, match=r"transporters that reflect, .* write 'O\(2\): 2x0 \+ 1x1'"):
        layers.GaugeConv("2x0 + 1x1", "2x0")(torch.zeros(48, 4), mirrored.to(torch.float32))
    flips = [torch.arange(g.num_vertices) % 2 == 0 for g in hierarchy.levels]
    turned = hierarchy.change_gauge(hierarchy.random_gauge(), flips)
    with pytest.raises(ValueError, match=r"need O\(2\)"):
        layers.ClusterPool("1x1")(torch.zeros(hierarchy.num_vertices, 2), turned.pools[0])


def test_types_of_different_groups_are_refused():
    with pytest.raises(ValueError, match=r"different groups: 2x0 \(SO\(2\)\) and O\(2\): 1x0 \+ 1x1 \(O\(2\)\)"):
        layers.GaugeConv("2x0", "O(2): 1x0 + 1x1")
