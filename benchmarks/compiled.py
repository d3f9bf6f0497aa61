"""Whole networks under torch.compile: graphs, programs for other sizes, time to compile, time of a step.

    python benchmarks/compiled.py                      # minutes for each network: inductor compiles for long
    python benchmarks/compiled.py --only SphereUNet

``fullgraph=True`` refuses breaks, ``dynamic=True`` marks sizes. Programs are counted by a backend that computes as
torch does: surfaces of several sizes should need one for training. Then inductor: seconds of the first step, which
compiles, and processor time of a training step (forward pass, cross-entropy, backward pass; least of the repeats) and
that without compiling, in the same process, in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from entries import asked_for
from network_entries import FIELDS, PARTS, ZONES, healpix_levels, ours, torus
from torch import Tensor, nn

from meshconv import Hierarchy
from meshconv.datasets.meshes.preparation import Preparation

Surface = tuple[Tensor, Hierarchy, Tensor]


def meshes(sizes: list[int]) -> tuple[nn.Module, list[Surface]]:
    """``ShapeUNet`` of the configuration, and tori of these numbers of vertices."""
    prepare = Preparation(num_levels=4)
    made = [prepare.inputs(torus(size)) for size in sizes]
    return ours("segment", prepare.in_type, PARTS), [(x, s, torch.randint(PARTS, (len(x),))) for x, s in made]


def spheres(sizes: list[int]) -> tuple[nn.Module, list[Surface]]:
    """``SphereUNet`` of the configuration, and HEALPix spheres of these nside."""
    made = [healpix_levels(size) for size in sizes]
    found = [(torch.randn(g.npix, 4), surface, torch.randint(ZONES, (g.npix,))) for g, surface in made]
    return ours("sphere_maps", FIELDS, ZONES), found


CASES: dict[str, tuple[Callable[[list[int]], tuple[nn.Module, list[Surface]]], list[int]]] = {
    "ShapeUNet, tori of vertices": (meshes, [3000, 2000, 5000]),
    "SphereUNet, nside": (spheres, [16, 8, 32]),
}


def step(network: Callable[..., Tensor], module: nn.Module, surface: Surface) -> float:
    """Processor time of one training step."""
    x, levels, target = surface
    start = time.process_time()
    module.zero_grad()
    nn.functional.cross_entropy(network(x, levels), target).backward()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="networks whose line contains one of these")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | sizes | programs | to compile, s | step, s | compiled | ratio |\n" + "| --- " * 7 + "|")
    for name, (make, sizes) in CASES.items():
        if not asked_for(given.only, name):
            continue
        module, surfaces = make(sizes)
        module.train()
        programs: list[Any] = []

        def counting(graph: Any, inputs: Any, programs: list[Any] = programs) -> Any:
            programs.append(graph)
            return graph

        traced = torch.compile(module, fullgraph=True, dynamic=True, backend=counting)
        for surface in surfaces:
            step(traced, module, surface)
        torch.compiler.reset()
        fast = torch.compile(module, fullgraph=True, dynamic=True)
        start = time.perf_counter()
        step(fast, module, surfaces[0])
        seconds = time.perf_counter() - start
        pairs = [(step(module, module, surfaces[-1]), step(fast, module, surfaces[-1])) for _ in range(given.repeats)]
        plain, compiled = (min(times) for times in zip(*pairs, strict=True))
        cells = [name, ", ".join(map(str, sizes)), str(len(programs)), f"{seconds:.0f}"]
        cells += [f"{plain:.3f}", f"{compiled:.3f}", f"{compiled / plain:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
        torch.compiler.reset()


if __name__ == "__main__":
    main()
