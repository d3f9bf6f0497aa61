"""The depthwise convolution beside the dense one of the same width: processor time of one thread, in one process.

    python benchmarks/depthwise.py [--channels 64] [--level 6]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import trimesh
from torch import Tensor

from meshconv import FieldType, TriangleMesh
from meshconv.nn import DepthwiseGaugeConv, GaugeConv
from meshconv.ops import depthwise_conv, gauge_conv


def best(call: Callable[[], Tensor], repeats: int = 3) -> tuple[float, float]:
    """Seconds forward, and forward + backward."""
    forward = both = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        y = call()
        middle = time.process_time()
        y.sum().backward()
        forward, both = min(forward, middle - begin), min(both, time.process_time() - begin)
    return forward, both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--level", type=int, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sphere = trimesh.creation.icosphere(given.level)
    graph = TriangleMesh(sphere.vertices, sphere.faces).gauge_graph().to(torch.float32)
    fields = FieldType.uniform(given.channels, 2)
    x = torch.randn(graph.num_vertices, fields.dim, requires_grad=True)
    rest = (torch.rand(graph.num_edges, 2), graph.log_angle, graph.transporter, graph.edges, fields, fields)
    dense = torch.randn(2, fields.dim, fields.dim, requires_grad=True)
    own = torch.randn(2, 5, 5, given.channels, requires_grad=True)
    layers = GaugeConv(fields, fields), DepthwiseGaugeConv(fields, fields)
    rows = {
        "dense operator": lambda: gauge_conv(x, dense, *rest),
        "depthwise operator": lambda: depthwise_conv(x, own, *rest),
        "GaugeConv": lambda: layers[0](x, graph),
        "DepthwiseGaugeConv": lambda: layers[1](x, graph),
    }
    print(f"{graph.num_vertices} vertices, {fields}, 2 radial functions: seconds forward, + backward")
    for name, call in rows.items():
        forward, both = best(call)
        print(f"{name:20} {forward:.3f} {both:.3f}", flush=True)
    weights = [sum(p.numel() for p in layer.parameters()) for layer in layers]
    print(f"weights: {weights[0]} and {weights[1]}")


if __name__ == "__main__":
    main()
