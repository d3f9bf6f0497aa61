"""The depthwise-separable layer: what it computes, what it costs, how it starts."""

from __future__ import annotations

import time

import pytest
import torch
from meshes import icosphere

from meshconv import FieldType, HealpixSphere
from meshconv.nn import DepthwiseGaugeConv, GaugeConv
from meshconv.nn.convolution.radial import BASES


@pytest.mark.parametrize("options", [{}, {"band_limit": 1}, {"radial": "gaussian", "aggregation": "sum"}])
@pytest.mark.parametrize("types", [("3x0 + 3x1", "2x0 + 2x2"), ("O(2): 3x0 + 3x1", "O(2): 2x0 + 2x2")])
def test_equals_a_dense_layer_with_the_same_kernels(sphere, types, options):
    """The dense layer whose kernel is the depthwise one, block by block, times the pointwise map."""
    layer = DepthwiseGaugeConv(*types, num_radial=3, self_interaction=False, **options).double()
    torch.nn.init.normal_(layer.pointwise.bias)
    dense = GaugeConv(types[0], layer.hidden_type, num_radial=3, self_interaction=False, bias=False, **options).double()
    kernels = torch.einsum("rcij,cd->ricjd", layer.weight, torch.eye(3, dtype=torch.float64))
    with torch.no_grad():
        dense.weight.copy_(kernels.flatten(3).flatten(1, 2))
    x = torch.randn(2, 48, 9, dtype=torch.float64)
    torch.testing.assert_close(layer(x, sphere), layer.pointwise(dense(x, sphere)))


def test_self_interaction_and_isolated_points(random_graph):
    graph = random_graph(5, 0).to(torch.float32)
    layer, x = DepthwiseGaugeConv("4x0 + 4x1", "2x0 + 3x1"), torch.randn(5, 12)
    torch.nn.init.normal_(layer.pointwise.bias)
    expected = layer.self_interaction(x)
    expected[:, :2] += layer.pointwise.bias
    torch.testing.assert_close(layer(x, graph), expected)


@pytest.mark.parametrize("aggregation", ["mean", "sum", "area"])
@pytest.mark.parametrize("radial", BASES)
def test_variance_at_initialisation(aggregation, radial):
    """As of the dense layer: within a factor of two for independent points, of three for alike ones."""
    for build in (HealpixSphere(4), icosphere(3)):
        graph, found = build.gauge_graph().to(torch.float32), []
        for seed in range(4):
            torch.manual_seed(seed)
            options = {"aggregation": aggregation, "radial": radial}
            layer = DepthwiseGaugeConv("32x0 + 32x1 + 32x2", "16x0 + 16x1 + 16x2", **options)
            points = graph.num_vertices
            for x in (torch.randn(points, 160), torch.randn(160).expand(points, 160)):
                y = layer(x, graph).detach()
                found.append([float(y[:, layer.out_type.slice(m)].square().mean()) for m in range(3)])
        independent, alike = torch.tensor(found).view(4, 2, 3).mean(0)
        assert independent.min() > 0.5 and independent.max() < 1.3, independent
        assert alike.min() > 1 / 3 and alike.max() < 3, alike


@pytest.mark.parametrize("in_type", ["4x0 + 3x1", "2x1", "2x0 + 2x0- + 4x1"])
def test_types_have_to_be_uniform(in_type):
    with pytest.raises(ValueError, match="one multiplicity at all orders and no odd scalars, got"):
        DepthwiseGaugeConv(in_type, FieldType(in_type))


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
def test_is_faster_than_the_dense_layer_at_64_channels():
    """3.4 times in the operator, about 2 with the pointwise map, forward and backward (``docs/benchmarks.md``)."""
    graph, seconds = icosphere(5).gauge_graph().to(torch.float32), []
    x = torch.randn(graph.num_vertices, 320, requires_grad=True)
    for layer in (DepthwiseGaugeConv, GaugeConv):
        module, best = layer("64x0 + 64x1 + 64x2", "64x0 + 64x1 + 64x2"), float("inf")
        for _ in range(3):
            begin = time.process_time()
            module(x, graph).sum().backward()
            best = min(best, time.process_time() - begin)
        seconds.append(best)
    assert seconds[0] < 0.8 * seconds[1], seconds
