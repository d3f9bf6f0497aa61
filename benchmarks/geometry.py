"""Time, memory and accuracy of gauge graphs of meshes, beside peers that are installed.

    python benchmarks/geometry.py                    # meshconv, and potpourri3d's log map where that is installed
    python benchmarks/geometry.py --gem_cnn PATH     # and GEM-CNN's precomputation (needs torch-geometric)
    python benchmarks/geometry.py --faces 2000000    # load, check and graph of a large mesh alone
    python benchmarks/geometry.py --features         # input features and spectra alone

One-ring entries and the large mesh run in a process of their own: memory is the peak over what the process held before.
Seconds are the best of several repeats, processor seconds add up over the threads.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import geometry_entries
import numpy as np
import torch
from entries import memory_mb
from geometry_entries import icosphere
from scipy.sparse.linalg import LinearOperator, eigsh

from meshconv import Neighbourhood, TriangleMesh, load_mesh
from meshconv.geometry import SURFACE_FEATURES, heat_kernel_signature, laplacian_spectrum, surface_features
from meshconv.geometry.features.laplacian import TuftedLaplacian
from meshconv.geometry.features.spectral import ComponentSpectrum
from meshconv.geometry.sphere.frames import sphere_edges
from meshconv.io import save_mesh


def best(call: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def wrapped_degrees(angle: np.ndarray) -> np.ndarray:
    return np.degrees(np.abs(np.remainder(angle + np.pi, 2 * np.pi) - np.pi))


def one_ring(gem_cnn: str | None, threads: int, level: int = 7) -> None:
    print(f"one-ring graph, {10 * 4**level + 2:,} vertices     seconds   processor   extra MB")
    entries = [("meshconv", "levi_civita"), ("meshconv", "normal_aligning")]
    entries += [("GEM-CNN", "float32"), ("GEM-CNN", "float64")] if gem_cnn else []
    ours = None
    for peer, name in entries:
        order = {"name": name, "gem_cnn": gem_cnn if peer == "GEM-CNN" else None}
        order |= {"threads": threads, "level": level, "repeats": 7}
        command = [sys.executable, str(Path(geometry_entries.__file__)), json.dumps(order)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"  {peer}, {name:25} failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        ours = ours or row
        print(_line(f"{peer}, {name}", row))
        if peer == "GEM-CNN":
            print(_line("  meshconv / GEM-CNN (goal 0.33)", {key: ours[key] / row[key] for key in row}, 2))


def _line(name: str, row: dict[str, float], digits: int = 0) -> str:
    return f"  {name:34} {row['seconds']:9.3f} {row['processor']:11.3f} {row['extra_mb']:10.{digits}f}"


def neighbourhoods(level: int = 6) -> None:
    data = icosphere(level)
    count = len(data[0])
    print(f"geodesic neighbourhoods with all preparation, {count:,} vertices (goal 1.5 s)")
    disc = 2 * math.sqrt(31 / count) / math.sqrt(4 * math.pi)
    each = {}
    for extent in ({"nearest": 30}, {"radius": disc}, {"rings": 3}):
        members = TriangleMesh(*data).gauge_graph(Neighbourhood(**extent)).num_edges / count
        seconds = best(lambda extent=extent: TriangleMesh(*data).gauge_graph(Neighbourhood(**extent)), 3)
        each[next(iter(extent))] = seconds / count
        print(f"  {extent}, {members:.1f} members: {seconds:.2f} s, {seconds / count * 1e6:.1f} us a vertex")
    if importlib.util.find_spec("potpourri3d") is None:
        print("  potpourri3d is not installed")
        return
    heat = importlib.import_module("potpourri3d").MeshVectorHeatSolver(*data)
    heat.compute_log_map(0)
    sample = range(0, count, count // 10)
    peer = best(lambda: [heat.compute_log_map(v) for v in sample], 2) / len(sample)
    ratio = peer / each["nearest"]
    print(f"  potpourri3d's log map, factorised before: {peer * 1e6:.0f} us a vertex, {ratio:.0f} times (goal 50)")


def hierarchies() -> None:
    """Processor time, with graphs of the finest level and all else; one thread, so it is that of one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for level, target in ((2, 0.02), (3, 0.02), (6, 2.0)):
        data, times = icosphere(level), []
        for _ in range(5):
            start = time.process_time()
            hierarchy = TriangleMesh(*data).hierarchy(4)
            times.append(time.process_time() - start)
        sizes = [g.num_vertices for g in hierarchy.levels]
        print(f"hierarchy of {sizes}: {min(times):.3f} s on one core (target {target})")
    torch.set_num_threads(threads)


def accuracy() -> None:
    print("radius 0.25 on the unit sphere: median and 99th percentile of the errors of radius, angle, transporter")
    for level, sample in ((3, 0.25), (4, 0.25), (5, 0.25), (6, 0.12)):
        # The ball of 0.25 has 640 members on level 6; all vertices would take a minute.
        mesh = TriangleMesh(*icosphere(level))
        graph = mesh.gauge_graph(Neighbourhood(radius=sample / math.sqrt(mesh.area)))
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


def large_mesh(num_faces: int) -> None:
    """A torus with bumps in all directions, written as a binary PLY file and read back."""
    rows = math.isqrt(num_faces // 2)
    u, v = np.meshgrid(*2 * [np.arange(rows) * (2 * np.pi / rows)], indexing="ij")
    tube = 0.7 + 0.05 * np.sin(50 * u) * np.cos(30 * v)
    r = 2 + tube * np.cos(v)
    grid = np.arange(rows * rows).reshape(rows, rows)
    right, up = np.roll(grid, -1, 0), np.roll(grid, -1, 1)
    both = np.roll(right, -1, 1)
    faces = np.stack([grid, right, both, grid, both, up], axis=-1).reshape(-1, 3)
    points = np.stack([r * np.cos(u), r * np.sin(u), tube * np.sin(v)], axis=-1).reshape(-1, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "large.ply"))
        save_mesh(TriangleMesh(points, faces), path)
        del points, faces, grid, right, up, both, u, v, tube, r
        size = Path(path).stat().st_size / 2**20
        print(f"{2 * rows * rows:,} faces, {rows * rows:,} vertices, file of {size:.0f} MB")
        Path("/proc/self/clear_refs").write_text("5")
        base, mesh, graph = memory_mb("VmRSS"), None, None
        for step in ("load", "check", "gauge_graph"):
            start = time.perf_counter()
            if step == "load":
                mesh = load_mesh(path)
            elif step == "check":
                found = mesh.defects.problems()
            else:
                graph = mesh.gauge_graph()
            seconds, peak = time.perf_counter() - start, memory_mb("VmHWM") - base
            print(f"  {step:12} {seconds:6.2f} s, peak so far {peak:6.0f} MB over the process before")
        held = sum(value.nbytes for value in vars(graph).values() if isinstance(value, torch.Tensor)) / 2**20
        print(f"  defects: {found or 'none'}; the graph has {graph.num_edges:,} edges and holds {held:.0f} MB")


def processor_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def input_features() -> None:
    for level in (6, 7):
        mesh = TriangleMesh(*icosphere(level))
        graph = mesh.gauge_graph()
        print(f"features of {mesh.num_vertices} vertices, processor time:")
        for name in SURFACE_FEATURES:
            seconds = processor_seconds(partial(surface_features, mesh, graph, [name]))
            print(f"  {name}: {seconds:.2f} s")


def spectra() -> None:
    """The lowest eigenpairs, and those of scipy's eigsh (ARPACK) from a factorisation of the same matrix."""
    print("lowest eigenpairs: processor time, that of eigsh, largest difference of eigenvalues and of hks:")
    for level in (6, 7):
        mesh = TriangleMesh(*icosphere(level))
        bumpy = mesh.vertices * (1 + 0.25 * np.sin(4 * mesh.vertices[:, :1]) * np.cos(3 * mesh.vertices[:, 1:2]))
        laplacian = TuftedLaplacian.of(TriangleMesh(bumpy, mesh.faces))
        start = time.process_time()
        ours = laplacian_spectrum(mesh, laplacian=laplacian)
        middle = time.process_time()
        theirs = ours._replace(components=(arpack(laplacian, len(ours.eigenvalues)),))
        end = time.process_time()
        values = np.abs(ours.eigenvalues[1:] / theirs.eigenvalues[1:] - 1).max()
        signatures = (heat_kernel_signature(ours)[0] / heat_kernel_signature(theirs)[0] - 1).abs().max()
        print(f"  {len(bumpy)} vertices, {len(ours.eigenvalues)} pairs: {middle - start:.1f} s, {end - middle:.1f} s; "
              f"{values:.1e}, {signatures:.1e}")  # fmt: skip


def arpack(laplacian: TuftedLaplacian, count: int) -> ComponentSpectrum:
    """The lowest eigenpairs; a few more are asked for, as one does who does not know how many there are."""
    root, factor = np.sqrt(laplacian.mass), laplacian.flow(1.0)
    inverse = LinearOperator(laplacian.stiffness.shape, lambda x: root * factor.solve(root * x.ravel()), dtype=float)
    start = np.random.default_rng(0).normal(size=len(root))
    values, functions = eigsh(inverse, count + 20, which="LA", v0=start)
    functions = functions[:, ::-1][:, :count] / root[:, None]
    return ComponentSpectrum(laplacian.vertices, 1 / values[::-1][:count] - 1, functions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gem_cnn", help="folder of a GEM-CNN checkout (needs torch-geometric)")
    parser.add_argument("--faces", type=int, help="only load, check and graph of a mesh of so many faces")
    parser.add_argument("--features", action="store_true", help="only input features and spectra")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.faces:
        large_mesh(given.faces)
        return
    if not given.features:
        one_ring(given.gem_cnn, given.threads)
        neighbourhoods()
        hierarchies()
        accuracy()
    input_features()
    spectra()


if __name__ == "__main__":
    main()
