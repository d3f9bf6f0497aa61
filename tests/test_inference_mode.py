"""What is kept of a surface that a prediction or a validation saw first serves a training afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from meshes import blob
from torch import Tensor, nn

from meshconv import HealpixSphere
from meshconv.homogeneous import SphereTransform, SpinUNet
from meshconv.models import SphereUNet
from meshconv.nn import GaugeConv, Gradient


def sphere_network() -> tuple[nn.Module, tuple]:
    """Quadrature, pooling onto centres, interpolation by local fits."""
    surface = HealpixSphere(8).hierarchy(2, 0.4).to(torch.float32)
    return SphereUNet("2x0", 3, (4, 4), aggregation="quadrature"), (torch.randn(768, 2), surface)


def stencil() -> tuple[nn.Module, tuple]:
    graph = blob().gauge_graph()
    return Gradient("2x0"), (torch.randn(graph.num_vertices, 2, dtype=torch.float64, requires_grad=True), graph)


def transforms() -> tuple[nn.Module, tuple]:
    network = SpinUNet("2x0", 3, channels=(4, 4), lmax=8, dropout=0.0)
    return network, (torch.randn(768, 2), SphereTransform(8, HealpixSphere(8)))


def reflecting_edges() -> tuple[nn.Module, tuple]:
    graph = blob().gauge_graph().to(torch.float32)
    flip = torch.arange(graph.num_vertices) % 3 == 0
    graph = graph.change_gauge(torch.zeros(graph.num_vertices), flip)
    layer = GaugeConv("O(2): 2x0 + 1x1", "O(2): 2x0")
    return layer, (torch.randn(graph.num_vertices, layer.in_type.dim), graph)


CASES: dict[str, Callable[[], tuple[nn.Module, tuple]]] = {
    "sphere network": sphere_network,
    "stencil": stencil,
    "transforms": transforms,
    "reflecting edges": reflecting_edges,
}


def slopes(module: nn.Module, given: tuple) -> list[Tensor]:
    leaves = [p for p in [*module.parameters(), *given] if isinstance(p, Tensor) and p.requires_grad]
    loss = module(*given).square().sum()
    return list(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("name", CASES)
def test_a_surface_seen_in_inference_mode_first_can_be_trained_on(name: str) -> None:
    torch.manual_seed(0)
    module, given = CASES[name]()
    module.eval()  # statistics stay
    with torch.inference_mode():
        module(*given)
    found = slopes(module, given)
    torch.manual_seed(0)
    module, given = CASES[name]()
    for a, b in zip(found, slopes(module.eval(), given), strict=True):
        assert torch.equal(a, b)
