"""Time and memory of one training step of the networks on the sphere, over the resolution.

    python benchmarks/sphere_cost.py                      # nside 32 to 256; about 10 GB at the largest
    python benchmarks/sphere_cost.py --nsides 32 64 128

Each network runs in a process of its own, on one map of four scalars, at its default options, `SphereUNet` with equal
weights of the eight neighbours, which all of these share; `SpinUNet` has the channels of koeppen.py and degrees up to
nside. `FieldUNet` is that of the configuration ``forecast``: two scalars and a vector, quadrature over 22 neighbours,
three levels. Seconds are processor time, the best of three; memory is what the step needs beyond surface and network,
and the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import torch
from entries import memory_mb, peak
from map_training import NETWORKS, count_weights
from torch import nn

from meshconv import HealpixSphere
from meshconv.models import FieldUNet

FORECAST: dict[str, Any] = {"channels": [12, 16, 24], "max_order": 1, "context": 0, "width": 48,
                            "aggregation": "quadrature"}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {"SphereUNet": {"aggregation": "mean"}, "SpinUNet": {"channels": [10, 16]}}


def measure(name: str, nside: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    start = time.process_time()
    sphere, forecast = HealpixSphere(nside), name == "FieldUNet"
    # By default the eight pixels around each.
    surface = (sphere.hierarchy(3, 2.7 * sphere.spacing) if forecast else sphere.hierarchy(2)).to(torch.float32)
    building = time.process_time() - start
    if forecast:
        network: nn.Module = FieldUNet("2x0 + 1x1", "1x0 + 1x1", **FORECAST)
    else:
        lmax = {"lmax": nside} if name == "SpinUNet" else {}
        network = NETWORKS[name]("4x0", 14, **OPTIONS.get(name, {}), **lmax)
    x = torch.randn(1, surface.num_vertices, 4)
    target = torch.randint(14, (surface.num_vertices,))

    def step() -> None:
        network.zero_grad()
        found = network(x, surface)[0]
        (found.square().mean() if forecast else nn.functional.cross_entropy(found, target)).backward()

    held = memory_mb("VmRSS")
    step()  # weights between grids are made here
    _, whole = peak(step, torch.device("cpu"))
    times = []
    for _ in range(3):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return {"seconds": min(times), "extra": whole - held, "whole": whole, "building": building,
            "weights": count_weights(network)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nsides", nargs="*", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=[*NETWORKS, "FieldUNet"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--entry", nargs=2, help=argparse.SUPPRESS)  # in a process of its own
    given = parser.parse_args()
    if given.entry:
        print(json.dumps(measure(given.entry[0], int(given.entry[1]), given.threads)))
        return
    print("| network | weights | nside | seconds | us a pixel | extra MB | KB a pixel | peak MB | hierarchy, seconds |")
    print("| --- " * 9 + "|")
    for name in given.only:
        for nside in given.nsides:
            command = [sys.executable, __file__, "--entry", name, str(nside), "--threads", str(given.threads)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                print(f"| {name} | | {nside} | failed: {run.stderr.strip().splitlines()[-1:]} |", flush=True)
                continue
            row, pixels = json.loads(run.stdout.splitlines()[-1]), 12 * nside**2
            print(f"| {name} | {row['weights']} | {nside} | {row['seconds']:.2f} | {1e6 * row['seconds'] / pixels:.1f} "
                  f"| {row['extra']:.0f} | {1024 * row['extra'] / pixels:.1f} | {row['whole']:.0f} "
                  f"| {row['building']:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
