"""The entries of gauge_conv.py: each builds its layer and returns a forward function and what to differentiate."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Layer = tuple[Callable[[], Tensor], Sequence[Tensor]]


def surface_graph(surface: str) -> Any:
    """The graph of a case; two rings have made-up logs, which cost the same."""
    import scipy.sparse
    import trimesh

    import meshconv

    kind, size, *more = surface.split(maxsplit=2)
    if kind == "healpix":
        return meshconv.HealpixSphere(int(size)).gauge_graph().to(torch.float32)
    mesh = trimesh.creation.icosphere(subdivisions=int(size))
    graph = meshconv.TriangleMesh(mesh.vertices, mesh.faces).gauge_graph()
    if more == ["two rings"]:
        shape = (graph.num_vertices, graph.num_vertices)
        ones = torch.ones(graph.num_edges).numpy()
        one_ring = scipy.sparse.coo_array((ones, (graph.dst.numpy(), graph.src.numpy())), shape=shape).tocsr()
        two = (one_ring + one_ring @ one_ring).tocoo()
        off = two.row != two.col
        src, dst = torch.from_numpy(two.col[off]).long(), torch.from_numpy(two.row[off]).long()
        angles = torch.rand(2, len(src), dtype=torch.float64) * 2 * math.pi
        kept = {k: getattr(graph, k) for k in ("frames", "positions", "areas", "scale")}
        graph = meshconv.GaugeGraph.from_edges(src, dst, torch.ones(len(src)), *angles, **kept)
    return graph.to(torch.float32)


def meshconv_layer(case: dict[str, Any], graph: Any, reference: bool = False) -> Layer:
    """The operator alone, from features and weights."""
    import meshconv
    from meshconv.ops import gauge_conv, gauge_conv_reference

    kind = meshconv.FieldType.uniform(case["channels"], case["max_order"])
    x = torch.randn(graph.num_vertices, kind.dim, requires_grad=True)
    weight = torch.randn(case["rings"], kind.dim, kind.dim, requires_grad=True)
    radial = torch.rand(graph.num_edges, case["rings"])
    edges = graph.edges
    angles = (graph.log_angle, graph.transporter)

    def run() -> Tensor:
        if not reference:
            return gauge_conv(x, weight, radial, *angles, edges, kind, kind)
        rows = graph.num_vertices
        return gauge_conv_reference(x[None], weight, radial, *angles, graph.src, graph.dst, rows, kind, kind)[0]

    return run, (x, weight)


def gem_cnn_layer(case: dict[str, Any], graph: Any, folder: str) -> Layer:
    """GEM-CNN's layer, unchanged; its package imports torch_scatter for pooling, so only the layer is loaded."""
    for name in ("gem_cnn", "gem_cnn.nn", "gem_cnn.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(Path(folder, *name.split(".")))]  # type: ignore[attr-defined]
        sys.modules[name] = package
    layer = importlib.import_module("gem_cnn.nn.gem_conv").GemConv
    channels, order, rings = case["channels"], case["max_order"], case["rings"]
    conv = layer(channels, channels, order, order, rings)
    x = torch.randn(graph.num_vertices, channels, 2 * order + 1, requires_grad=True)
    pairs = torch.stack([graph.dst, graph.src])  # row 0 receives, row 1 sends
    ring = torch.rand(graph.num_edges, rings)
    angles = [graph.transporter - graph.log_angle, graph.log_angle, torch.zeros(graph.num_edges)]
    precomp = torch.cat([torch.stack(angles, dim=1), ring], dim=1)
    return lambda: conv(x, pairs, precomp, None), (x, *conv.parameters())


def escnn_layer(case: dict[str, Any], graph: Any) -> Layer:
    """escnn's planar 3x3 convolution from and to the same fields, on a square grid of as many points."""
    from escnn import gspaces, nn

    space = gspaces.rot2dOnR2(maximum_frequency=case["max_order"])
    irreps = [space.irrep(m) for m in range(case["max_order"] + 1)] * case["channels"]
    kind = nn.FieldType(space, irreps)
    conv = nn.R2Conv(kind, kind, kernel_size=3, padding=1)
    side = int(graph.num_vertices**0.5)
    x = torch.randn(1, kind.size, side, side, requires_grad=True)
    return lambda: conv(nn.GeometricTensor(x, kind)).tensor, (x, *conv.parameters())


def limit_layer(case: dict[str, Any], graph: Any) -> Layer:
    """The forward products alone, in blocks of 128 vertices."""
    orders, block = case["max_order"], 128
    depth = case["rings"] * case["channels"] * (2 * orders + 1)
    shapes = [(block, case["channels"])] + [(2 * block, 2 * case["channels"])] * orders
    pairs = [(torch.randn(rows, depth), torch.randn(depth, columns)) for rows, columns in shapes]

    def run() -> Tensor:
        for _ in range(math.ceil(graph.num_vertices / block)):
            for a, b in pairs:
                out = a @ b
        return out

    return run, ()


def best(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def memory_mb(name: str) -> float:
    """A figure of /proc/self/status; nan where the system has none."""
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


def main() -> None:
    order = json.loads(sys.argv[1])
    case, peer = order["case"], order["peer"]
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    graph = surface_graph(case["surface"])
    if peer == "gem_cnn":
        forward, inputs = gem_cnn_layer(case, graph, order["gem_cnn"])
    elif peer == "limit":
        forward, inputs = limit_layer(case, graph)
    elif peer == "escnn":
        forward, inputs = escnn_layer(case, graph)
    else:
        forward, inputs = meshconv_layer(case, graph, reference=peer == "reference")
    if peer == "limit":
        seconds = best(forward, case["repeats"])
        print(json.dumps({"forward": seconds, "both": 3 * seconds, "extra_mb": 0.0}))
        return
    gradient = torch.randn_like(forward())

    def step() -> object:
        return torch.autograd.grad(forward(), inputs, gradient)

    held = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # peak memory counts from here
    step()
    extra = memory_mb("VmHWM") - held
    repeats = case["repeats"] if peer == "meshconv" else 2
    print(json.dumps({"forward": best(forward, repeats), "both": best(step, repeats), "extra_mb": extra}))


if __name__ == "__main__":
    main()
