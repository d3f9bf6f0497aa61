"""Other people's layers beside ours: each returns a forward function and what to differentiate."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshconv import GaugeGraph

Layer = tuple[Callable[[], Tensor], Sequence[Tensor]]


def layer(peer: str, case: dict[str, Any], graph: GaugeGraph, gem_cnn: str) -> Layer:
    if peer == "gem_cnn":
        return gem_cnn_layer(case, graph, gem_cnn)
    return {"escnn": escnn_layer, "pyg": pyg_layer, "e3nn": e3nn_layer}[peer](case, graph)


def gem_cnn_part(folder: str, name: str) -> Any:
    """A module of GEM-CNN's ``nn``, as published; the package imports torch_scatter for pooling, so it is not run."""
    for package_name in ("gem_cnn", "gem_cnn.nn", "gem_cnn.utils"):
        package = types.ModuleType(package_name)
        package.__path__ = [str(Path(folder, *package_name.split(".")))]  # type: ignore[attr-defined]
        sys.modules[package_name] = package
    return importlib.import_module(f"gem_cnn.nn.{name}")


def gem_cnn_layer(case: dict[str, Any], graph: GaugeGraph, folder: str) -> Layer:
    """GEM-CNN's layer."""
    convolution = gem_cnn_part(folder, "gem_conv").GemConv
    channels, order, num_radial = case["channels"], case["max_order"], case["num_radial"]
    device = graph.device
    conv = convolution(channels, channels, order, order, num_radial).to(device)
    x = torch.randn(graph.num_vertices, channels, 2 * order + 1, device=device, requires_grad=True)
    pairs = torch.stack([graph.dst, graph.src])  # row 0 receives, row 1 sends
    ring = torch.rand(graph.num_edges, num_radial, device=device)
    none = torch.zeros(graph.num_edges, device=device)
    angles = [graph.transporter - graph.log_angle, graph.log_angle, none]
    precomp = torch.cat([torch.stack(angles, dim=1), ring], dim=1)
    return lambda: conv(x, pairs, precomp, None), (x, *conv.parameters())


def escnn_layer(case: dict[str, Any], graph: GaugeGraph) -> Layer:
    """escnn's planar layers from and to the same fields, on a square grid of as many points."""
    from escnn import gspaces, nn

    space = gspaces.rot2dOnR2(maximum_frequency=case["max_order"])
    side = int(graph.num_vertices**0.5)
    if case["operator"] == "fourier":
        orders = [(m,) for m in range(case["max_order"] + 1)]
        grid = {"type": "regular", "N": 8 * case["max_order"] + 1}
        act = nn.FourierPointwise(space, case["channels"], orders, function="p_relu", **grid)
        kind: Any = act.in_type
        run: Any = act
    else:
        irreps = [space.irrep(m) for m in range(case["max_order"] + 1)] * case["channels"]
        kind = nn.FieldType(space, irreps)
        run = nn.R2Conv(kind, kind, kernel_size=3, padding=1)
    x = torch.randn(1, kind.size, side, side, requires_grad=True)
    return lambda: run(nn.GeometricTensor(x, kind)).tensor, (x, *run.parameters())


def pyg_layer(case: dict[str, Any], graph: GaugeGraph) -> Layer:
    """The convolution on graphs that sees directions as well: a mixture of Gaussians in the log map's coordinates."""
    from torch_geometric.nn import GMMConv

    dim = case["channels"] * (2 * case["max_order"] + 1)
    conv = GMMConv(dim, dim, dim=2, kernel_size=case["num_radial"] * (2 * case["max_order"] + 1))
    x = torch.randn(graph.num_vertices, dim, requires_grad=True)
    pairs = torch.stack([graph.src, graph.dst])
    logs = graph.log_radius[:, None] * torch.stack([graph.log_angle.cos(), graph.log_angle.sin()], dim=1)
    return lambda: conv(x, pairs, logs), (x, *conv.parameters())


def e3nn_layer(case: dict[str, Any], graph: GaugeGraph) -> Layer:
    """A tensor-field convolution in space: features of SO(3) times spherical harmonics of the edges, summed."""
    from e3nn import o3

    fields = o3.Irreps([(case["channels"], (m, (-1) ** m)) for m in range(case["max_order"] + 1)])
    harmonics = o3.Irreps.spherical_harmonics(case["max_order"])
    product = o3.FullyConnectedTensorProduct(fields, harmonics, fields)
    x = torch.randn(graph.num_vertices, fields.dim, requires_grad=True)
    along = graph.positions[graph.src] - graph.positions[graph.dst]
    edges = o3.spherical_harmonics(harmonics, along, normalize=True)

    def run() -> Tensor:
        return torch.zeros_like(x).index_add(0, graph.dst, product(x[graph.src], edges))

    return run, (x, *product.parameters())
