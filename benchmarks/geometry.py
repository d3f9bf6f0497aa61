"""Time, memory and accuracy of gauge graphs of meshes, beside potpourri3d's log map where that is installed.

    python benchmarks/geometry.py [--threads 2]

Every row is measured in this one process, best of several; memory is what the process grew by at its peak.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
import trimesh

from meshconv import TriangleMesh
from meshconv.geometry.sphere import sphere_edges


def icosphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    sphere = trimesh.creation.icosphere(level)
    return np.asarray(sphere.vertices), np.asarray(sphere.faces)


def best(call: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wrapped_degrees(angle: np.ndarray) -> np.ndarray:
    return np.degrees(np.abs(np.remainder(angle + np.pi, 2 * np.pi) - np.pi))


def one_ring() -> None:
    data = icosphere(7)
    before = peak_mb()
    TriangleMesh(*data).gauge_graph()
    memory = peak_mb() - before
    seconds = best(lambda: TriangleMesh(*data).gauge_graph())
    print(f"one ring, {len(data[0])} vertices: {seconds:.3f} s (target 0.14), {memory:.0f} MB more (target 194)")


def neighbourhoods() -> None:
    data = icosphere(6)
    count = len(data[0])
    ring = best(lambda: TriangleMesh(*data).gauge_graph())
    disc = 2 * math.sqrt(31 / count) / math.sqrt(4 * math.pi)
    each = {}
    for extent in ({"nearest": 30}, {"radius": disc}, {"rings": 3}):
        members = TriangleMesh(*data).gauge_graph(**extent).num_edges / count
        seconds = best(lambda extent=extent: TriangleMesh(*data).gauge_graph(**extent), 3)
        each[next(iter(extent))] = seconds / count
        print(f"{extent}, {count} vertices, {members:.1f} members: {seconds:.2f} s, one ring {ring:.2f} (target 1.5)")
    if importlib.util.find_spec("potpourri3d") is None:
        print("potpourri3d is not installed")
        return
    heat = importlib.import_module("potpourri3d").MeshVectorHeatSolver(*data)
    heat.compute_log_map(0)
    peer = best(lambda: [heat.compute_log_map(v) for v in range(0, 5000, 1000)], 3) / 5
    print(
        f"potpourri3d's log map: {peer * 1e6:.0f} us per vertex, {peer / each['nearest']:.0f} times as long (target 50)"
    )


def accuracy() -> None:
    print("radius 0.25 on the unit sphere: median and 99th percentile of the errors of radius, angle, transporter")
    for level, sample in ((3, 0.25), (4, 0.25), (5, 0.25), (6, 0.12)):
        # The ball of 0.25 has 640 members on level 6; all vertices would take a minute.
        mesh = TriangleMesh(*icosphere(level))
        graph = mesh.gauge_graph(radius=sample / math.sqrt(mesh.area))
        points = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
        e1 = mesh.frames[:, 0] - (mesh.frames[:, 0] * points).sum(1, keepdims=True) * points
        e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
        frames = np.stack([e1, np.cross(points, e1), points], axis=1)
        radius, angle, transporter = sphere_edges(
            points, frames, points, frames, graph.src.numpy(), graph.dst.numpy()
        )
        rows = (
            100 * np.abs(graph.log_radius.numpy() / radius - 1),
            wrapped_degrees(graph.log_angle.numpy() - angle),
            wrapped_degrees(graph.transporter.numpy() - transporter),
        )
        cells = [f"{np.median(r):.4f} {np.percentile(r, 99):.4f}" for r in rows]
        print(f"  level {level}, ball {sample}: {cells[0]} %, {cells[1]} deg, {cells[2]} deg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    one_ring()
    neighbourhoods()
    accuracy()


if __name__ == "__main__":
    main()
