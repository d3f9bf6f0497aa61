"""Gauge errors of every layer, measured: in both precisions, for both groups, with random parameters and trained.

    python benchmarks/layer_errors.py

Relative errors over three random gauges on HEALPix nside 8 (for O(2) half of the frames are reflected as well), fields
of orders 0 to 2. Parameters and biases are normal numbers; trained ones come from 20 steps of Adam towards a target
that no equivariant map reaches. What is reported is the largest of both.
"""

from __future__ import annotations

import inspect

import torch
from layers import FAMILIES
from torch import nn

from meshconv import FieldType, GaugeGraph, HealpixSphere
from meshconv.testing import gauge_equivariance_error

GROUPS = {"SO(2)": FieldType("8x0 + 8x1 + 8x2"), "O(2)": FieldType("O(2): 8x0 + 8x1 + 8x2")}


def randomised(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def trained(module: nn.Module, graph: GaugeGraph) -> nn.Module:
    if not any(True for _ in module.parameters()):
        return module
    graph = graph.to(torch.float32)
    on_graph = len(inspect.signature(module.forward).parameters) > 1
    x = torch.randn(graph.num_vertices, module.in_type.dim)
    given = (x, graph) if on_graph else (x,)
    target = 2 + torch.randn(module(*given).shape)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(20):
        optimiser.zero_grad()
        (module(*given) - target).square().mean().backward()
        optimiser.step()
    return module


def main() -> None:
    torch.manual_seed(0)
    graph = HealpixSphere(8).gauge_graph()
    print("| layer | " + " | ".join(f"{g}, {p}" for g in GROUPS for p in ("float64", "float32")) + " |")
    print("| --- " * (1 + 2 * len(GROUPS)) + "|")
    for name, build in FAMILIES.items():
        cells = []
        for kind in GROUPS.values():
            modules = [randomised(build(kind)), trained(build(kind), graph)]
            for dtype in (torch.float64, torch.float32):
                cells.append(max(gauge_equivariance_error(m.to(dtype), graph, dtype=dtype) for m in modules))
        print(f"| `{name}` | " + " | ".join(f"{e:.0e}" for e in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
