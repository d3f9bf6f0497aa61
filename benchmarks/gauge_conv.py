"""Time and memory of one gauge convolution, against the bare products that it cannot do without.

    python benchmarks/gauge_conv.py
    python benchmarks/gauge_conv.py --reference     # the plain-torch reference as well

The limit of a case is the time of torch's own matrix products of the same size and number on the same machine in the
same run: forward one, forward + backward three times as many.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import trimesh

import meshconv
from meshconv.ops import BACKEND, gauge_conv, gauge_conv_reference


@dataclass(frozen=True)
class Case:
    name: str
    surface: str  # "icosphere LEVEL" or "healpix NSIDE"
    channels: int
    max_order: int
    rings: int = 2


CASES = (
    Case("40,962 vertices, 64 channels, orders 0-2", "icosphere 6", 64, 2),
    Case("40,962 vertices, 16 channels, orders 0-2", "icosphere 6", 16, 2),
    Case("40,962 vertices, 32 channels, orders 0-1", "icosphere 6", 32, 1),
    Case("HEALPix nside 64, 16 channels, orders 0-1", "healpix 64", 16, 1),
)


def build(surface: str) -> meshconv.GaugeGraph:
    kind, size = surface.split()
    if kind == "healpix":
        return meshconv.HealpixSphere(int(size)).gauge_graph().to(torch.float32)
    mesh = trimesh.creation.icosphere(subdivisions=int(size))
    return meshconv.TriangleMesh(mesh.vertices, mesh.faces).gauge_graph().to(torch.float32)


def best(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def bare_products(vertices: int, case: Case) -> float:
    """Seconds of the forward pass's products, in blocks that stay in cache."""
    depth, block = case.rings * meshconv.FieldType.uniform(case.channels, case.max_order).dim, 128
    shapes = [(block, case.channels)] + [(2 * block, 2 * case.channels)] * case.max_order
    pairs = [(torch.randn(rows, depth), torch.randn(depth, cols)) for rows, cols in shapes]

    def run() -> None:
        for _ in range(vertices // block):
            for a, b in pairs:
                a @ b

    return best(run, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", action="store_true", help="time the plain-torch reference too")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(f"{BACKEND.reason}; {torch.get_num_threads()} threads, float32; seconds, best of {given.repeats}")
    print(f"{'case':44} forward  / limit   + backward  / limit   reference + backward")
    for case in CASES:
        graph = build(case.surface)
        kind = meshconv.FieldType.uniform(case.channels, case.max_order)
        x = torch.randn(graph.num_vertices, kind.dim, requires_grad=True)
        weight = torch.randn(case.rings, kind.dim, kind.dim, requires_grad=True)
        radial = torch.rand(graph.num_edges, case.rings)
        edges = (graph.dst_ptr, graph.src, graph.dst, graph.src_ptr, graph.src_edge)

        def forward() -> torch.Tensor:
            return gauge_conv(x, weight, radial, graph.log_angle, graph.transporter, edges, kind, kind)  # noqa: B023

        def reference() -> torch.Tensor:
            return gauge_conv_reference(
                x[None], weight, radial, graph.log_angle, graph.transporter, graph.src, graph.dst,  # noqa: B023
                graph.num_vertices, kind, kind,  # noqa: B023
            )[0]  # fmt: skip

        def step(run: Callable[[], torch.Tensor]) -> None:
            torch.autograd.grad(run().sum(), (x, weight))  # noqa: B023

        limit = bare_products(graph.num_vertices, case)
        once, both = best(forward, given.repeats), best(lambda: step(forward), given.repeats)
        line = f"{case.name:44} {once:7.3f}  {once / limit:6.2f}x  {both:10.3f}  {both / (3 * limit):6.2f}x"
        if given.reference:
            slow = best(lambda: step(reference), 1)
            line += f"   {slow:8.3f} ({slow / both:.1f}x)"
        print(line, flush=True)
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
