"""One sphere over several processes: memory and processor time of each, and what they send to each other.

    python benchmarks/distributed.py --nside 64                      # 1 and 2 processes of one thread each
    python benchmarks/distributed.py --nside 512 --ranks 2 --channels 4 8 16 32 --eight --again

Training steps of a ``SphereUNet`` on ``HealpixSphere(nside).hierarchy(levels)``, of which every process builds its
part alone. Memory is the peak of resident memory, above what a step on nside 8 leaves (libraries and their buffers),
while the part is built and during the steps. Processor time is that of all threads of the process, the fastest of the
steps.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from meshconv import HealpixSphere, Hierarchy
from meshconv.distributed import companions, partition_healpix, sum_gradients, traffic
from meshconv.models import SphereUNet
from meshconv.nn.recompute import recompute_inside


def memory(kind: str) -> float:
    """Resident memory now (``VmRSS``), or its peak since the last reset (``VmHWM``), MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1e3


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def work(rank: int, world: int, store: str, given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    limit = given.limit * 10**9
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    dist.init_process_group("gloo", f"file://{store}", world_size=world, rank=rank)
    with companions():
        measure(rank, world, argparse.Namespace(**vars(given) | {"nside": 8, "steps": 1}))
        rows, losses = measure(rank, world, given)
    if rank == 0:
        report(world, rows, losses)
    dist.destroy_process_group()


def measure(rank: int, world: int, given: argparse.Namespace) -> tuple[list[list[float]], list[float]]:
    """Figures of each process, and losses of the steps."""
    grid, levels = HealpixSphere(given.nside), len(given.channels)
    radius = None if given.eight else 2.7 * grid.spacing
    reset_peak()
    before, start = memory("VmRSS"), time.perf_counter()
    surface: Hierarchy = (
        grid.hierarchy(levels, radius) if world == 1 else partition_healpix(grid, levels, world, radius)[rank]
    ).to(torch.float32)
    built, build_seconds = memory("VmHWM") - before, time.perf_counter() - start
    torch.manual_seed(0)  # the same parameters everywhere
    aggregation = "mean" if given.eight else "quadrature"
    network = SphereUNet("2x0 + 1x1", 3, given.channels, aggregation=aggregation, dropout=0.0)
    recompute_inside(network, given.again)
    optimiser = torch.optim.Adam(network.parameters())
    position = surface.finest.positions
    x = torch.cat([position, position[:, :1] * position[:, 1:2]], dim=1)
    target = (position[:, 2] > 0).long() + (position[:, 0] > 0).long()
    reset_peak()
    times, losses = [], []
    for _ in range(given.steps):
        start, used = time.perf_counter(), time.process_time()
        with traffic() as forward:
            logits = network(x, surface)
        loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum") / grid.npix
        with traffic() as backward:
            loss.backward()
            sum_gradients(network)
        optimiser.step()
        optimiser.zero_grad()
        times.append((time.process_time() - used, time.perf_counter() - start))
        losses.append(loss.detach())
    found = [memory("VmHWM") - before, built, *map(min, zip(*times, strict=True)), build_seconds]
    found += [forward.exchanged / 1e6, backward.exchanged / 1e6, forward.exchanges + backward.exchanges]
    found += [(forward.reduced + backward.reduced) / 1e6, forward.reductions + backward.reductions]
    rows = [torch.empty(len(found), dtype=torch.float64) for _ in range(world)]
    dist.all_gather(rows, torch.tensor(found, dtype=torch.float64))
    total: Tensor = torch.stack(losses)
    dist.all_reduce(total)
    return torch.stack(rows).tolist(), total.tolist()


def report(world: int, rows: list[list[float]], losses: list[float]) -> None:
    """Print what was measured."""
    for k, (step, build, used, wall, building, out, back, exchanges, reduced, reductions) in enumerate(rows):
        print(f"{world} processes, part {k}: {build:.0f} MB and {building:.1f} s to build, {step:.0f} MB in steps, "
              f"{used:.2f} s of processor and {wall:.2f} s a step; sends {out:.2f} MB forward and {back:.2f} MB "
              f"backward in {exchanges:.0f} exchanges, {reduced:.3f} MB in {reductions:.0f} sums")  # fmt: skip
    seconds, most = sum(row[2] for row in rows), max(row[0] for row in rows)
    print(f"{world} processes: at most {most:.0f} MB, {seconds:.2f} s of processor a step; losses "
          f"{', '.join(f'{value:.5f}' for value in losses)}", flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 24, 32])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--eight", action="store_true", help="eight neighbours and means instead of quadrature")
    parser.add_argument("--again", action="store_true", help="activation checkpointing")
    parser.add_argument("--limit", type=int, default=10, help="GB that a process may take")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for world in given.ranks:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(work, (world, f"{folder}/store", given), nprocs=world)
