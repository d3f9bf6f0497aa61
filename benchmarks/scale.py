"""Large collections, activation checkpointing and processes: memory and time.

    python benchmarks/scale.py collection --meshes 300     # bytes of entries, memory of a training
    python benchmarks/scale.py activations --nside 64      # memory and time of a step with and without
    python benchmarks/scale.py processes                   # samples per second of 1 and 2 processes of one thread
    python benchmarks/scale.py faces --count 200000        # hierarchy(4) of a mesh, with its parts
    python benchmarks/scale.py threads --nside 32          # bits of outputs and gradients by the number of threads
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import trimesh
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from meshconv import HealpixSphere, TriangleMesh
from meshconv.datasets import MeshFolder, write_shapes
from meshconv.io.cache.records import decode_record
from meshconv.models import SphereUNet
from meshconv.nn import ResidualBlock
from meshconv.train import SegmentationTask  # noqa: F401  (what a training imports counts as its memory)


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
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.recompute = "blocks" in how
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


def processes() -> None:
    """Whole trainings of 60 steps; their start, taken from one of 10 steps, is subtracted."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shapes"
        write_shapes(root, train=16, test=0)
        os.environ.update(OMP_NUM_THREADS="1", MESHCONV_CACHE=f"{folder}/cache")
        rates = {}
        for devices in (1, 2):
            seconds = []
            for steps in (10, 10, 60):
                given = ["--config", "classify", "--data.init_args.root", str(root), "--runs", folder]
                given += ["--data.init_args.variants", "0", "--data.init_args.val_fraction", "0"]
                given += ["--data.init_args.batch_size", "8", "--trainer.devices", str(devices)]
                given += ["--trainer.max_steps", str(steps), "--trainer.accelerator", "cpu"]
                start = time.perf_counter()
                subprocess.run([sys.executable, "-m", "meshconv.cli", "fit", *given], check=True, capture_output=True)
                seconds.append(time.perf_counter() - start)
            rates[devices] = 50 * 8 * devices / (seconds[2] - seconds[1])
            print(f"{devices} processes: {rates[devices]:.1f} samples a second")
        print(f"ratio {rates[2] / rates[1]:.2f}")


def faces(count: int) -> None:
    """hierarchy(4) of a bumpy torus."""
    side = round((count / 2) ** 0.5)
    shape = trimesh.creation.torus(1.0, 0.4, major_sections=side, minor_sections=side)
    mesh = TriangleMesh(shape.vertices * [1, 1.1, 1], shape.faces)
    profile, start = cProfile.Profile(), time.perf_counter()
    profile.enable()
    mesh.hierarchy(4)
    profile.disable()
    print(f"{mesh.num_faces} faces: {time.perf_counter() - start:.1f} s")
    pstats.Stats(profile).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("collection", "activations", "processes", "faces", "threads", "pass", "step"))
    parser.add_argument("--meshes", type=int, default=300)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--root")
    parser.add_argument("--cache")
    parser.add_argument("--how", default="all")
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
        case "faces":
            faces(given.count)
        case "threads":
            threads(given.nside)
