"""Time to prepare a folder of meshes from its files the first time, and from the cache.

    python benchmarks/preparation.py shrec_16 [--workers 2] [--radius 0.2]

Each row is a process of its own with an empty or the filled cache, in a folder that is removed afterwards; the files
themselves are in the system's memory. Seconds of the wall; `cpu` is the processor time of all processes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TARGETS = {"first time": 60, "from the cache": 3}


def prepare(root: Path, folder: str, workers: int, extent: dict[str, float]) -> None:
    """Prepare all meshes below ``root`` and print what it took."""
    from meshconv import Neighbourhood
    from meshconv.datasets import Preparation, prepare_meshes
    from meshconv.datasets.meshes.files import MESH_SUFFIXES
    from meshconv.io import Cache

    paths = [(p, 0) for p in sorted(root.rglob("*")) if p.suffix.lower() in MESH_SUFFIXES]
    start = time.perf_counter()
    how = Preparation(neighbourhood=Neighbourhood(**extent))
    samples, problems = prepare_meshes(paths, how, cache=Cache(folder), workers=workers)
    seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({
        "meshes": len(samples),
        "skipped": len(problems),
        "seconds": seconds,
        "cpu": sum(u.ru_utime + u.ru_stime for u in used),
        "edges": sum(s.graph.num_edges for s in samples) / max(len(samples), 1),
        "megabytes": Cache(folder).size[1] / 1e6,
    }))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rings", type=int)
    parser.add_argument("--radius", type=float)
    parser.add_argument("--nearest", type=int)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    extent = {n: getattr(given, n) for n in ("rings", "radius", "nearest") if getattr(given, n) is not None}
    if given.folder:
        prepare(given.root, given.folder, given.workers, extent)
        return
    with tempfile.TemporaryDirectory() as folder:
        for row, target in _TARGETS.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            r = json.loads(done.stdout.splitlines()[-1])
            print(f"{row:15} {r['meshes']} meshes ({r['skipped']} skipped), {r['edges']:.0f} edges each: "
                  f"{r['seconds']:.2f} s (target {target}), cpu with imports {r['cpu']:.1f} s; "
                  f"the cache holds {r['megabytes']:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
