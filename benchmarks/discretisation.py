"""How far networks are from the continuous ones they stand for: layers and whole networks, over the spacing of points.

    python benchmarks/discretisation.py layers     # one layer on spheres against the integral; minutes
    python benchmarks/discretisation.py torus      # on a bumpy torus against the same layer on a fine mesh
    python benchmarks/discretisation.py networks   # SphereUNet, untrained: turn the sphere, or its answer
    python benchmarks/discretisation.py cost       # a training step, and the weights of 40,962 points
    python benchmarks/discretisation.py figure --picture docs/images/discretisation.png

A layer takes one field of each order and gives one of each, without self-interaction; errors are relative, of the
outputs of one order, at 100 points. "mean" is over all neighbours with linear radial functions, "area" weighs by areas,
with smooth ones.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from scipy.spatial.transform import Rotation
from torch import Tensor

from meshconv import FieldType, GaugeGraph, HealpixSphere, TriangleMesh
from meshconv.geometry import PointSphere
from meshconv.geometry.mesh.neighbourhood import Neighbourhood
from meshconv.models import SphereUNet
from meshconv.nn import GaugeConv
from meshconv.ops import gauge_conv

Field = Callable[[Tensor], Tensor]
REACH = 3.2  # radius of the neighbourhoods in distances between points: 32 neighbours


def random_vectors(seed: int) -> Field:
    """Three polynomials of degree up to 6 in the coordinates, as a vector in space at every point ``[..., 3]``."""
    rng = np.random.default_rng(seed)
    directions = torch.from_numpy(rng.normal(size=(3, 8, 3)) / 2)
    powers, factors = torch.from_numpy(rng.integers(1, 7, (3, 8))), torch.from_numpy(rng.normal(size=(3, 8)))
    return lambda x: (factors * torch.einsum("...d,kjd->...kj", x, directions) ** powers).sum(-1)


FIRST, SECOND = random_vectors(1), random_vectors(2)


def components(x: Tensor, at: Tensor, frames: Tensor) -> Tensor:
    """One field of each order 0, 1, 2 at points ``x``, transported to ``at`` and in the frames there, ``[..., 5]``.

    Products of two tangent vectors, as complex numbers, are fields of order 2.
    """
    cosine = (x * at).sum(-1, keepdim=True)

    def tangent(field: Field) -> Tensor:
        v = field(x)
        v = v - (v * x).sum(-1, keepdim=True) * x
        v = v - (v * at).sum(-1, keepdim=True) / (1 + cosine) * (x + at)
        return torch.view_as_complex(torch.einsum("...kd,...d->...k", frames[..., :2, :], v).contiguous())

    one, two = tangent(FIRST), tangent(FIRST) * tangent(SECOND)
    return torch.stack([FIRST(x)[..., 0], one.real, one.imag, two.real, two.imag], dim=-1)


def continuous(conv: GaugeConv, graph: GaugeGraph, points: Tensor, nodes: int = 20) -> Tensor:
    """The integral over the disc at some points of the unit sphere, by Gauss-Legendre and trapezoidal nodes."""
    at, frames = graph.positions[points], graph.frames[points]
    disc = conv.cutoff * graph.scale[points[0]]
    x, w = (torch.from_numpy(a) for a in leggauss(nodes))
    t, theta = (x + 1) / 2, 2 * math.pi * torch.arange(2 * nodes).double() / (2 * nodes)
    r, angle = (v.flatten() for v in torch.meshgrid(disc * t, theta, indexing="ij"))
    weight = (w / 2 * disc * torch.sin(disc * t)).repeat_interleave(len(theta)) * 2 * math.pi / len(theta)
    tangent = torch.einsum("pkd,kn->pnd", frames[:, :2], torch.stack([torch.cos(angle), torch.sin(angle)]))
    sources = torch.cos(r)[:, None] * at[:, None] + torch.sin(r)[:, None] * tangent
    values = components(sources, at[:, None], frames[:, None]).flatten(0, 1)[:, parts(conv.in_type)]
    radial = (conv.radial(r / disc) * (weight / (math.pi * disc**2))[:, None]).repeat(len(points), 1)
    count = len(r)
    ptr, number = torch.arange(0, len(values) + 1, count), torch.arange(len(values) + 1)
    edges = (ptr, number[:-1], torch.arange(len(points)).repeat_interleave(count), number, number[:-1])
    y = gauge_conv(
        values, conv.weight, radial, angle.repeat(len(points)), torch.zeros(len(values)).double(), edges,
        conv.in_type, conv.out_type,
    )  # fmt: skip
    return conv.add_point(y, components(at, at, frames)[:, parts(conv.in_type)])


def parts(field_type: FieldType) -> list[int]:
    """Columns of :func:`components` that make a type of single fields."""
    return [c for m in field_type.orders for c in ([0], [1, 2], [3, 4])[m]]


def layer_errors(graph: GaugeGraph, field_type: str, **options: object) -> Tensor:
    """Relative error of every order that a layer gives out at 100 points.

    What a frequency of the kernel picks from a smooth field is small, by one power of the distance for every step
    between the orders: all orders in are measured together.
    """
    torch.manual_seed(0)
    conv = GaugeConv(field_type, field_type, self_interaction=False, bias=False, **options).double()
    points = torch.from_numpy(np.random.default_rng(0).choice(graph.num_vertices, 100, replace=False))
    with torch.no_grad():
        found = conv(components(graph.positions, graph.positions, graph.frames)[:, parts(conv.in_type)], graph)[points]
        wanted = continuous(conv, graph, points)
    by_order = [conv.out_type.slice(m) for m in conv.out_type.orders]
    return torch.stack([(found - wanted)[:, k].norm() / wanted[:, k].norm() for k in by_order])


def healpix(nside: int, reach: float = REACH) -> GaugeGraph:
    sphere = HealpixSphere(nside)
    return sphere.gauge_graph(reach * sphere.spacing)


def scattered(count: int, reach: float = REACH) -> GaugeGraph:
    """Points of a spiral, displaced by a fifth of their distance."""
    k = np.arange(count) + 0.5
    z, phi = 1 - 2 * k / count, math.pi * (1 + 5**0.5) * k
    xyz = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], 1)
    xyz += np.random.default_rng(0).normal(size=xyz.shape) * 0.2 * (4 * math.pi / count) ** 0.5
    return PointSphere(xyz / np.linalg.norm(xyz, axis=1)[:, None]).gauge_graph(reach * (4 * math.pi / count) ** 0.5)


def icosphere(subdivisions: int, reach: float = REACH) -> GaugeGraph:
    """Vertices of a subdivided icosahedron."""
    import trimesh

    xyz = np.asarray(trimesh.creation.icosphere(subdivisions).vertices)
    return PointSphere(xyz).gauge_graph(reach * (4 * math.pi / len(xyz)) ** 0.5)


def turned_error(levels: int, aggregation: str, nside: int = 32) -> float:
    """How far an untrained network's answer on a turned sphere is from its turned answer, over its variation."""
    sphere = HealpixSphere(nside)
    reach = 2.7 * sphere.spacing if aggregation == "quadrature" else None
    hierarchy = sphere.hierarchy(levels, reach)
    torch.manual_seed(0)
    network = SphereUNet("3x0", 2, channels=(8, 12, 16)[:levels], aggregation=aggregation).double().eval()
    turn = Rotation.random(rng=0)
    alpha, beta, gamma = turn.as_euler("ZYZ")
    points = hierarchy.finest.positions
    with torch.no_grad():
        straight = network(FIRST(points), hierarchy).numpy()
        turned = network(FIRST(points @ torch.from_numpy(turn.as_matrix())), hierarchy).numpy()
    missed = variation = 0.0
    for before, after in zip(straight.T, turned.T, strict=True):
        harmonics = healpy.map2alm(healpy.reorder(before - before.mean(), n2r=True), lmax=3 * nside - 1, iter=8)
        healpy.rotate_alm(harmonics, gamma, beta, alpha)
        wanted = healpy.reorder(healpy.alm2map(harmonics, nside), r2n=True)
        missed += ((after - after.mean() - wanted) ** 2).sum()
        variation += (wanted**2).sum()
    return float((missed / variation) ** 0.5)


WAYS: dict[str, dict[str, Any]] = {
    "mean": {"aggregation": "mean"},
    "area": {"aggregation": "area", "radial": "smooth"},
    "quadrature": {"aggregation": "quadrature"},
}
SPHERES: dict[str, tuple[Callable[..., GaugeGraph], list[int]]] = {
    "HEALPix, nside": (healpix, [8, 16, 32]),
    "icosphere, subdivisions": (icosphere, [3, 4]),
    "scattered points": (scattered, [640, 2560]),
}
CASES = [("1x0 + 1x1", 2.7), ("1x0 + 1x1", 3.2), ("1x0 + 1x1 + 1x2", 3.2), ("1x0 + 1x1 + 1x2", 3.8)]


def layers() -> None:
    print("| surface | points | neighbours | orders | " + " | ".join(WAYS) + " |")
    print("| --- " * (4 + len(WAYS)) + "|")
    for (name, (build, sizes)), (kind, reach) in itertools.product(SPHERES.items(), CASES):
        for size in sizes:
            graph = build(size, reach)
            found = [", ".join(f"{e:.4f}" for e in layer_errors(graph, kind, **how)) for how in WAYS.values()]
            print(f"| {name} {size} | {graph.num_vertices} | {graph.num_edges / graph.num_vertices:.0f} "
                  f"| 0 to {FieldType(kind).max_order} | {' | '.join(found)} |", flush=True)  # fmt: skip


def bumpy_torus(around: int) -> TriangleMesh:
    """Grid of a torus of radii 1 and 0.4 with bumps, ``around`` times half as many vertices."""
    across = around // 2
    u, v = np.meshgrid(2 * np.pi * np.arange(around) / around, 2 * np.pi * np.arange(across) / across, indexing="ij")
    tube = 0.4 * (1 + 0.15 * np.cos(3 * u) * np.cos(2 * v))
    ring = 1 + tube * np.cos(v)
    xyz = np.stack([ring * np.cos(u), ring * np.sin(u), tube * np.sin(v)], -1).reshape(-1, 3)
    i, j = (k.ravel() for k in np.meshgrid(np.arange(around), np.arange(across), indexing="ij"))
    corner = [((i + a) % around) * across + (j + b) % across for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    faces = np.concatenate([np.stack([corner[0], corner[k], corner[k + 1]], 1) for k in (1, 2)])
    return TriangleMesh(xyz, faces)


def torus_errors(around: int, finer: int, ways: Sequence[str] = tuple(WAYS)) -> dict[str, list[float]]:
    """Of orders 0 and 1, against the layer with the same radius on a mesh ``finer`` times as fine."""
    coarse, fine = bumpy_torus(around), bumpy_torus(around * finer)
    radius = REACH * (coarse.surface.area / len(coarse.vertices)) ** 0.5 / fine.surface.area**0.5
    place = np.arange(around * around // 2).reshape(around, -1)
    place = (np.arange(around)[:, None] * finer * (around * finer // 2) + np.arange(place.shape[1]) * finer).ravel()
    kind, graphs = FieldType("1x0 + 1x1"), [m.gauge_graph(Neighbourhood(radius=radius)) for m in (fine, coarse)]

    def outputs(graph: GaugeGraph, how: dict[str, Any]) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        conv = GaugeConv(kind, kind, self_interaction=False, bias=False, **how).double()
        vectors = torch.einsum("vkd,vd->vk", graph.frames[:, :2], FIRST(graph.positions))
        with torch.no_grad():
            y = conv(torch.cat([FIRST(graph.positions)[:, :1], vectors], dim=1), graph)
        return y[:, :1], torch.einsum("vk,vkd->vd", y[:, 1:], graph.frames[:, :2])

    found = {}
    for name, how in ((name, WAYS[name]) for name in ways):
        radial = how.get("radial", "smooth" if name == "quadrature" else "linear")
        wanted = outputs(graphs[0], {"aggregation": "quadrature", "radial": "smooth"} if radial == "smooth" else how)
        pairs = zip(outputs(graphs[1], how), wanted, strict=True)
        found[name] = [float((y - z[place]).norm() / z[place].norm()) for y, z in pairs]
    return found


def torus(finer: int = 3) -> None:
    print("| vertices | neighbours | " + " | ".join(WAYS) + " |")
    print("| --- " * (2 + len(WAYS)) + "|")
    for around in (36, 52, 72):
        found = torus_errors(around, finer)
        cells = (", ".join(f"{e:.4f}" for e in found[name]) for name in WAYS)
        print(f"| {around * around // 2} | {math.pi * REACH**2 - 1:.0f} | {' | '.join(cells)} |", flush=True)


def networks() -> None:
    print("| levels | mean, 8 neighbours | quadrature, 2.7 spacings |\n| --- | --- | --- |")
    for levels in (1, 2, 3):
        before, after = (turned_error(levels, way) for way in ("mean", "quadrature"))
        print(f"| {levels} | {before:.3f} | {after:.4f} |", flush=True)


def cost(repeats: int = 3) -> None:
    """Processor seconds of one thread, the least of some repetitions."""
    torch.set_num_threads(1)
    print("| neighbours | aggregation | weights, once | step, nside 32, two levels |\n| --- | --- | --- | --- |")
    sphere = HealpixSphere(32)
    for reach, way in ((None, "mean"), (2.4, "mean"), (2.4, "quadrature"), (2.7, "quadrature"), (3.2, "quadrature")):
        surface = sphere.hierarchy(2, reach and reach * sphere.spacing).to(torch.float32)
        network = SphereUNet("4x0", 14, aggregation=way)
        x, seconds = torch.randn(1, sphere.npix, 4), []
        for _ in range(repeats + 1):
            start = time.process_time()
            network(x, surface).square().mean().backward()
            seconds.append(time.process_time() - start)
        least = min(seconds[1:])
        near = surface.finest.num_edges / sphere.npix
        print(f"| {near:.0f} | {way} | {max(seconds[0] - least, 0):.2f} s | {least:.3f} s |", flush=True)
    graph = HealpixSphere(64, "ring").gauge_graph(2.7 * HealpixSphere(64).spacing)
    graph = graph.subset(torch.arange(graph.num_vertices) < 40962).to(torch.float32)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        conv = GaugeConv("1x0 + 1x1", "1x0 + 1x1", aggregation="quadrature")
        start = time.perf_counter(), time.process_time()
        conv.quadrature(graph.to(torch.float64))
        print(f"weights of {graph.num_vertices} points, {threads} threads: {time.perf_counter() - start[0]:.2f} s, "
              f"{time.process_time() - start[1]:.2f} s of processor time")  # fmt: skip


def figure(path: Path) -> None:
    """Errors over spacing, orders 0 and 1, 32 neighbours."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(10, 4), layout="constrained")
    for axis, (name, build, sizes) in zip(
        drawing.subplots(1, 2, sharey=True),
        (("HEALPix", healpix, [4, 8, 16, 32]), ("scattered points", scattered, [160, 640, 2560, 10240])), strict=True,
    ):  # fmt: skip
        graphs = [build(size) for size in sizes]
        spacing = np.array([(4 * math.pi / graph.num_vertices) ** 0.5 for graph in graphs])
        for (way, how), mark in zip(WAYS.items(), "sox", strict=True):
            errors = [float(layer_errors(graph, "1x0 + 1x1", **how).max()) for graph in graphs]
            axis.loglog(spacing, errors, marker=mark, label=way)
        axis.loglog(spacing, errors[-1] * (spacing / spacing[-1]) ** 2, "k:", label="square of the spacing")
        axis.set_title(f"{name}, 32 neighbours", fontsize=10)
        axis.set_xlabel("spacing of the points, radians")
        axis.grid(alpha=0.3, which="both")
    drawing.axes[0].set_ylabel("relative error against the integral")
    drawing.axes[0].legend()
    drawing.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=["layers", "torus", "networks", "cost", "figure"])
    parser.add_argument("--picture", type=Path, default=Path("discretisation.png"))
    given = parser.parse_args()
    if given.table == "figure":
        figure(given.picture)
    else:
        {"layers": layers, "torus": torus, "networks": networks, "cost": cost}[given.table]()


if __name__ == "__main__":
    main()
