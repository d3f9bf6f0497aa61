"""Errors and orders of convergence of the differential operators on the unit sphere, as the tables of docs/layers.md.

    python benchmarks/differential.py

A spherical harmonic of degree 3 in turned axes is differentiated in closed form and by the layers: on HEALPix, on
icospheres, and on irregular icospheres, whose vertices' coordinates were moved at random by up to 25 % of the spacing.
Each cell is the root mean square error on the finest surface over that of the exact field, and the order of convergence
between the last two surfaces, in the mean and at the worst point.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from harmonics import EIGENVALUE, Harmonic, errors, orders, shaken
from meshes import icosphere

from meshconv import GaugeGraph, HealpixSphere, SurfaceComplex, nn as layers

SURFACES = {
    "HEALPix nside 16 to 64": [HealpixSphere(n) for n in (16, 32, 64)],
    "icosphere 4 to 6": [icosphere(n) for n in (4, 5, 6)],
    "irregular 4 to 6": [shaken(icosphere(n)) for n in (4, 5, 6)],
}
Pair = tuple[torch.Tensor, torch.Tensor]

POINTS: dict[str, Callable[[GaugeGraph, Harmonic], Pair]] = {
    "`Gradient`": lambda g, h: (layers.Gradient("1x0")(h.value, g), h.gradient),
    "`Divergence`": lambda g, h: (layers.Divergence("1x1")(h.gradient, g), EIGENVALUE * h.value),
    "`Curl`": lambda g, h: (layers.Curl("1x1")(h.turned, g), EIGENVALUE * h.value),
    "`Laplacian`, order 0": lambda g, h: (layers.Laplacian("1x0")(h.value, g), EIGENVALUE * h.value),
    "`Laplacian`, order 1": lambda g, h: (layers.Laplacian("1x1")(h.gradient, g), (EIGENVALUE + 1) * h.gradient),
    "`Laplacian`, order 2": lambda g, h: (layers.Laplacian("1x2")(h.tensor, g), (EIGENVALUE + 4) * h.tensor),
}


def hodge(s: SurfaceComplex, f: Harmonic, part: int) -> torch.Tensor:
    parts = layers.HodgeParts("1x1")(f.gradient + 2 * f.turned, s)
    return parts.unflatten(-1, (2, 3))[..., part]


TRIANGLES: dict[str, Callable[[SurfaceComplex, Harmonic, Harmonic], Pair]] = {
    "`FaceGradient`": lambda s, v, f: (layers.FaceGradient("1x0")(v.value, s), f.gradient),
    "`FaceDivergence`": lambda s, v, f: (layers.FaceDivergence("1x1")(f.gradient, s), EIGENVALUE * v.value),
    "`FaceCurl`": lambda s, v, f: (layers.FaceCurl("1x1")(f.turned, s), EIGENVALUE * v.value),
    "`CotangentLaplacian`, order 0": lambda s, v, f: (
        layers.CotangentLaplacian("1x0")(v.value, s), EIGENVALUE * v.value),
    "`CotangentLaplacian`, order 1": lambda s, v, f: (
        layers.CotangentLaplacian("1x1")(v.gradient, s), (EIGENVALUE + 1) * v.gradient),
    "`ToFaces`": lambda s, v, f: (layers.ToFaces("1x1")(v.gradient, s), f.gradient),
    "`ToVertices`": lambda s, v, f: (layers.ToVertices("1x1")(f.gradient, s), v.gradient),
    "`HodgeParts`, gradient": lambda s, v, f: (hodge(s, f, 0), f.gradient),
    "`HodgeParts`, curl": lambda s, v, f: (hodge(s, f, 1), 2 * f.turned),
}  # fmt: skip


def cell(found: list[tuple[float, float]]) -> str:
    order_max, order_rms = orders(found)
    return f"{found[-1][1]:.1e}, {order_rms:.1f}, {order_max:.1f}"


def main() -> None:
    torch.set_num_threads(1)
    rows: dict[str, list[str]] = {name: [] for name in (*POINTS, *TRIANGLES)}
    for builds in SURFACES.values():
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
        for build in builds:
            graph, surface = build.gauge_graph(), build.surface_complex()
            at_points = Harmonic(graph.positions, graph.frames)
            at_faces = Harmonic(surface.positions, surface.frames)
            for name, run in POINTS.items():
                found[name].append(errors(*run(graph, at_points)))
            for name, apply in TRIANGLES.items():
                found[name].append(errors(*apply(surface, at_points, at_faces)))
        for name in rows:
            rows[name].append(cell(found[name]))
    print("| layer | " + " | ".join(SURFACES) + " |\n" + "| --- " * (1 + len(SURFACES)) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")

    sphere = HealpixSphere(64)
    graph, surface = sphere.gauge_graph().to(torch.float32), sphere.surface_complex().to(torch.float32)
    x, v, t = torch.randn(49152, 16), torch.randn(49152, 32), torch.randn(surface.num_faces, 32)
    print("\n| 16 channels, float32, nside 64, one thread | first call | later calls |\n| --- | --- | --- |")
    for module, features, where in (
        (layers.Gradient("16x0"), x, graph),
        (layers.Divergence("16x1"), v, graph),
        (layers.Laplacian("16x1"), v, graph),
        (layers.FaceGradient("16x0"), x, surface),
        (layers.FaceDivergence("16x1"), t, surface),
        (layers.HodgeParts("16x1"), t, surface),
    ):
        taken = []
        for _ in range(4):
            start = time.process_time()
            module(features, where)
            taken.append(time.process_time() - start)
        print(f"| `{type(module).__name__}` | {1e3 * taken[0]:.0f} ms | {1e3 * min(taken[1:]):.0f} ms |")


if __name__ == "__main__":
    main()
