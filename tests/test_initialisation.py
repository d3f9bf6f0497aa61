"""Variance of a convolution's output at initialisation, for unit variance in: near one whatever the options."""

from __future__ import annotations

import itertools

import pytest
import torch
from meshes import icosphere
from torch import Tensor

from meshconv import GaugeGraph, HealpixSphere, Neighbourhood
from meshconv.nn import GaugeConv
from meshconv.nn.convolution.radial import BASES

TYPES = {"SO(2)": "16x0 + 16x1 + 16x2", "O(2)": "O(2): 8x0 + 8x0- + 16x1 + 16x2"}


@pytest.fixture(scope="module", params=["healpix", "mesh"])
def graph(request) -> GaugeGraph:
    built = HealpixSphere(4) if request.param == "healpix" else icosphere(3)
    return built.gauge_graph().to(torch.float32)


def variances(graph: GaugeGraph, in_type: str, out_type: str, seeds: int = 3, **options: object) -> Tensor:
    """Mean over several layers, ``[2, orders]``: of independent points, and of points that are all alike."""
    found = []
    with torch.no_grad():
        for seed in range(seeds):
            torch.manual_seed(seed)
            conv = GaugeConv(in_type, out_type, **options)
            points, dim = graph.num_vertices, conv.in_type.dim
            for x in (torch.randn(points, dim), torch.randn(dim).expand(points, dim)):
                y = conv(x, graph)
                found.append([float(y[:, conv.out_type.slice(m)].square().mean()) for m in conv.out_type.orders])
    return torch.tensor(found).view(seeds, 2, -1).mean(0)


@pytest.mark.parametrize("aggregation", ["mean", "sum", "area"])
@pytest.mark.parametrize("radial", [name for name in BASES if name != "smooth"])
def test_variance_is_near_one_for_every_option(graph, aggregation, radial):
    """Within a factor of two for independent points, of three for the extreme of points that are all alike."""
    for group, band_limit in itertools.product(TYPES, (0, 1, None)):
        options = {"num_radial": 2, "aggregation": aggregation, "radial": radial, "band_limit": band_limit}
        independent, alike = variances(graph, TYPES[group], TYPES[group], **options)
        assert independent.min() > 0.5 and independent.max() < 1.3, (group, band_limit, independent)
        assert alike.min() > 1 / 3 and alike.max() < 3, (group, band_limit, alike)


def test_variance_is_near_one_for_quadrature():
    """Smooth bumps and the neighbours that they ask for."""
    sphere, mesh = HealpixSphere(8), icosphere(3)
    graphs = sphere.gauge_graph(2.4 * sphere.areas[0] ** 0.5), mesh.gauge_graph(Neighbourhood(nearest=18))
    for graph, band_limit in itertools.product(graphs, (0, 1, None)):
        options = {"aggregation": "quadrature", "band_limit": band_limit}
        independent, alike = variances(graph.to(torch.float32), TYPES["SO(2)"], TYPES["SO(2)"], **options)
        assert independent.min() > 0.5 and independent.max() < 1.3, (band_limit, independent)
        assert alike.min() > 1 / 3 and alike.max() < 3, (band_limit, alike)


@pytest.mark.parametrize("num_radial", [1, 2, 3])
def test_variance_of_scalars(graph, num_radial):
    """Where nothing turns, alike neighbours add up in full."""
    independent, alike = variances(graph, "32x0", "32x0", seeds=10, num_radial=num_radial)
    assert 0.6 < independent < 0.9
    assert 1 < alike < 2.5


def test_orders_that_the_point_does_not_reach_come_from_the_neighbours_alone(graph):
    independent, _ = variances(graph, "16x0", "8x1 + 8x2", seeds=10)
    assert independent.min() > 0.7 and independent.max() < 1.4


@pytest.mark.parametrize("depth", [8])
def test_signals_neither_die_nor_explode(graph, depth):
    """Through eight layers of one kind the variance stays within two orders of magnitude; it was 2.3 to 4.7 a layer."""
    for aggregation in ("mean", "sum", "area"):
        torch.manual_seed(0)
        x = torch.randn(graph.num_vertices, 80)
        with torch.no_grad():
            for _ in range(depth):
                x = GaugeConv(TYPES["SO(2)"], TYPES["SO(2)"], aggregation=aggregation)(x, graph)
        assert 0.1 < x.square().mean() < 10
