"""Large collections and meshes, activation checkpointing, processes: memory and time.

    python benchmarks/scale.py collection --meshes 300     # bytes of entries, memory of a training
    python benchmarks/scale.py activations --nside 64      # memory and time of a step with and without
    python benchmarks/scale.py processes                   # samples per second of 1 and 2 processes of one thread
    python benchmarks/scale.py curves --picture curves.png # losses of 1 process and of 2 with half of the batch each
    python benchmarks/scale.py resume                      # seconds to the first step, at first and resumed
    python benchmarks/scale.py faces --count 200000        # preparation, step and prediction of a large mesh
    python benchmarks/scale.py threads --nside 32          # bits of outputs and gradients by the number of threads
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import trimesh
import yaml
from entries import memory_mb, peak as measured_peak
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import meshconv
from meshconv import HealpixSphere, Neighbourhood, TriangleMesh
from meshconv.datasets import MeshFolder, write_shapes
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.geometry import surface_features
from meshconv.io import save_mesh
from meshconv.io.cache.records import decode_record
from meshconv.models import ShapeUNet, SphereUNet
from meshconv.nn.recompute import recompute_inside
from meshconv.shipped import find_config
from meshconv.train import SegmentationTask


def peak() -> float:
    """Largest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def collection(meshes: int) -> None:
    """Memory of a pass over a prepared collection, in a process of its own for each of two sizes."""
    with tempfile.TemporaryDirectory() as folder:
        for part in (1, 4):
            root = Path(folder) / f"shapes{part}"
            write_shapes(root, train=max(meshes * part // 4 // 8, 2), test=0)
            command = [sys.executable, __file__, "pass", "--root", str(root), "--cache", f"{folder}/cache"]
            subprocess.run(command, check=True)


def one_pass(root: str, cache: str) -> None:
    data = MeshFolder(root, cache=cache, nearest=16, max_faces=1000, val_fraction=0.0, test_fraction=0.0, workers=0)
    data.fill_cache()
    before = peak()
    start = time.perf_counter()
    points = sum(len(batch.x) for batch in data.train_dataloader())
    seconds = time.perf_counter() - start
    sizes = [path.stat().st_size for path in Path(cache).glob("*.safetensors")]
    entry, _ = decode_record(next(Path(cache).glob("*.safetensors")).read_bytes())
    held = sum(leaf.nbytes for leaf in pytree.tree_leaves(entry) if isinstance(leaf, torch.Tensor))
    count = len(data.samples("train"))
    print(f"{count} meshes, {points / count:.0f} points each: entry {sum(sizes) / len(sizes) / 1e3:.0f} kB on disk, "
          f"{held / 1e3:.0f} kB in memory; peak {before:.0f} MB before, {peak():.0f} MB after a pass, "
          f"{1e3 * seconds / count:.1f} ms a mesh")  # fmt: skip


class Live(TorchDispatchMode):
    """Bytes of the tensors that operators have made and something still holds."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    @property
    def bytes(self) -> int:
        return sum(size for storage, size in self._made.values() if not storage.expired())

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = function(*args, **(kwargs or {}))
        given = {storage.data_ptr() for storage in storages((args, kwargs))}
        for storage in storages(made):
            if storage.data_ptr() not in given:
                self._made[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        return made


def storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def activations(nside: int) -> None:
    for how in ("all", "those of blocks", "all, bfloat16", "those of blocks, bfloat16"):
        subprocess.run([sys.executable, __file__, "step", "--nside", str(nside), "--how", how], check=True)


def one_step(nside: int, how: str) -> None:
    torch.manual_seed(0)
    sphere = HealpixSphere(nside).hierarchy(3).to(torch.float32)
    network = SphereUNet("2x0 + 1x1", 3, (16, 24, 32), 1, aggregation="quadrature")
    recompute_inside(network, "blocks" in how)
    x, before = torch.randn(12 * nside**2, 4), peak()
    times = []

    def forward() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in how):
            return network(x, sphere).float().square().mean()

    for _ in range(3):
        start = time.process_time()
        forward().backward()
        times.append(time.process_time() - start)
    above = peak() - before
    with Live() as live:
        loss = forward()
    print(f"nside {nside}, activations kept: {how}: {live.bytes / 1e6:.0f} MB wait for the derivative of {loss:.2f}, "
          f"the process takes {above:.0f} MB above {before:.0f}, {min(times):.2f} s")  # fmt: skip


def threads(nside: int) -> None:
    """Gradients that differ in some bit from those of one thread."""
    torch.manual_seed(0)
    grid = HealpixSphere(nside)
    sphere = grid.hierarchy(2, 2.7 * grid.spacing).to(torch.float32)
    network = SphereUNet("2x0 + 1x1", 3, (16, 24), aggregation="quadrature", dropout=0.0)
    x, found = torch.randn(grid.npix, 4), []
    for count in (1, 1, 2, 3, 4):
        torch.set_num_threads(count)
        network.zero_grad()
        y = network(x, sphere)
        y.square().mean().backward()
        slopes = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        found.append((y.detach(), slopes))
        (first, gradients), (now, others) = found[0], found[-1]
        other = [name for name in gradients if not torch.equal(gradients[name], others[name])]
        said = "as those of one thread" if torch.equal(first, now) else "in other bits"
        print(f"{count} threads: outputs {said}, {len(other)} of {len(gradients)} gradients in other bits: {other[:4]}")


def fit(root: Path, name: str, *more: str) -> float:
    """Seconds of a training of ``classify`` with one thread a process, beside ``root``."""
    given = ["--config", "classify", "--name", name, "--data.init_args.root", str(root), "--runs", str(root.parent)]
    given += ["--data.init_args.variants", "0", "--data.init_args.val_fraction", "0", "--trainer.accelerator", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MESHCONV_CACHE": str(root.parent / "cache")}
    start = time.perf_counter()
    command = [sys.executable, "-m", "meshconv.cli", "fit", *given, *more]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def losses(root: Path, name: str) -> list[float]:
    with (root.parent / name / "metrics.csv").open() as table:
        return [float(row["train/loss"]) for row in csv.DictReader(table) if row["train/loss"]]


def processes() -> None:
    """Whole trainings of 60 steps; their start, taken from one of 10 steps, is subtracted."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shapes"
        write_shapes(root, train=16, test=0)
        rates = {}
        for devices in (1, 2):
            given = ["--data.init_args.batch_size", "8", "--trainer.devices", str(devices), "--trainer.max_steps"]
            seconds = [fit(root, f"{devices}_{k}", *given, str(steps)) for k, steps in enumerate((10, 10, 60))]
            rates[devices] = 50 * 8 * devices / (seconds[2] - seconds[1])
            print(f"{devices} processes: {rates[devices]:.1f} samples a second")
        print(f"ratio {rates[2] / rates[1]:.2f}")


def curves(picture: str | None) -> None:
    """Losses of 10 epochs of 8 steps of 16 meshes, in one process and in two."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shapes"
        write_shapes(root, train=16, test=0)
        found = {}
        for devices in (1, 2):
            size = str(16 // devices)
            fit(root, str(devices), "--trainer.devices", str(devices), "--data.init_args.batch_size", size,
                "--trainer.max_epochs", "10", "--model.init_args.options", "{dropout: 0.0}")  # fmt: skip
            found[devices] = losses(root, str(devices))
    off = max(abs(a / b - 1) for a, b in zip(found[1], found[2], strict=True))
    print(f"1 process {found[1]}\n2 processes {found[2]}\nlargest relative difference {off:.1e}")
    if picture:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        for devices, style in ((1, "-"), (2, "o")):
            axes.plot(range(1, 11), found[devices], style, label=f"{devices} process{'es' * (devices > 1)}", mfc="none")
        axes.set(xlabel="epoch", ylabel="training loss")
        axes.legend()
        figure.savefig(picture, dpi=120)


def resume() -> None:
    """Seconds of one more step, of a new training and of one that goes on."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shapes"
        write_shapes(root, train=16, test=0)
        fit(root, "fills_the_cache", "--trainer.max_steps", "1")
        for _ in range(3):
            shutil.rmtree(root.parent / "run", ignore_errors=True)
            first = fit(root, "run", "--trainer.max_steps", "1")
            again = fit(root, "run", "--trainer.max_steps", "2", "--resume")
            print(f"first step after {first:.1f} s, second one, resumed, after {again:.1f} s")


def faces(count: int) -> None:
    """Preparation of a bumpy torus of about so many faces, a training step, and a prediction from a file."""
    side = round((count / 2) ** 0.5)
    shape = trimesh.creation.torus(1.0, 0.4, major_sections=side, minor_sections=side)
    mesh = TriangleMesh(shape.vertices * [1, 1.1, 1] * (1 + 0.05 * np.sin(5 * shape.vertices[:, :1])), shape.faces)
    print(f"{mesh.num_faces:,} faces, {torch.get_num_threads()} thread(s)", flush=True)

    def timed(name: str, call: Callable[[], object]) -> None:
        start, before = (time.process_time(), time.perf_counter()), memory_mb("VmRSS")
        extra, _ = measured_peak(call, torch.device("cpu"))
        seconds = time.process_time() - start[0], time.perf_counter() - start[1]
        print(f"| {name} | {seconds[0]:.1f} | {seconds[1]:.1f} | {extra:,.0f} | {before:,.0f} |", flush=True)

    print("| | processor time, s | s | MB more at the peak | MB before |\n| --- | --- | --- | --- | --- |")
    timed("`hierarchy(4)`", lambda: mesh.hierarchy(4))
    timed("one-ring graph", mesh.gauge_graph)
    for name in ("default", "surface"):
        timed(f"graph and features `{name}`", lambda name=name: surface_features(mesh, mesh.gauge_graph(), [name]))
    timed("graph of the 16 nearest", lambda: mesh.gauge_graph(Neighbourhood(nearest=16)))
    own, target = Preparation(num_levels=4), torch.zeros(mesh.num_vertices, dtype=torch.int64)
    options = yaml.safe_load(find_config("segment").read_text())["model"]["init_args"]["options"]
    network, inputs = ShapeUNet(own.in_type, 8, **options), list(own.inputs(mesh))
    timed("training step of `ShapeUNet`", lambda: nn.functional.cross_entropy(network(*inputs), target).backward())
    inputs.clear()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.ply"
        save_mesh(mesh, path)
        shipped = yaml.safe_load(find_config("segment").read_text())["data"]["init_args"]
        seen = {name: shipped[name] for name in ("num_levels", "resolution", "features", "max_faces")}
        for name, how in (("at its vertices", own), ("as `segment` does", Preparation(**seen))):
            classes = [str(k) for k in range(8)]
            spec = {"data": "meshconv.datasets.MeshSegments", **how.spec, "element": "vertices"}
            spec["class_values"] = classes
            task = SegmentationTask("ShapeUNet", str(how.in_type), classes, spec, options).eval()
            predict = meshconv.Predictor(task, device="cpu", cache=False, workers=0)
            timed(f"from the file to labels, {name}", lambda predict=predict: predict(path))


WHAT = ("collection", "activations", "processes", "curves", "resume", "faces", "threads", "pass", "step")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--meshes", type=int, default=300)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--root")
    parser.add_argument("--cache")
    parser.add_argument("--how", default="all")
    parser.add_argument("--picture", help="of the curves")
    given = parser.parse_args()
    match given.what:
        case "collection":
            collection(given.meshes)
        case "pass":
            one_pass(given.root, given.cache)
        case "activations":
            activations(given.nside)
        case "step":
            one_step(given.nside, given.how)
        case "processes":
            processes()
        case "curves":
            curves(given.picture)
        case "resume":
            resume()
        case "faces":
            faces(given.count)
        case "threads":
            threads(given.nside)
