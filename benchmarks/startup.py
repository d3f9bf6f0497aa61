"""Processor time of whole processes beside ``import torch``: imports, the list of commands, a mesh from file to label.

    python benchmarks/startup.py                 # the table of docs/deployment.md

Each runs ``--times`` times in turn, without cached files but with compiled modules, as ``pip`` leaves them; the least
counts. The mesh to predict is a generated shape of 10,000 vertices, its label that of the shipped network ``shapes``;
the page is of one of 100,000 vertices with heights, labels and arrows.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from meshconv import TriangleMesh
from meshconv.datasets.generated import generate_shape
from meshconv.io import save_mesh

CODE = {
    "`import torch`": "import torch",
    "`import meshconv`": "import meshconv",
    "a mesh and a layer (`meshconv.TriangleMesh`, `meshconv.nn.GaugeConv`)":
        "import meshconv; meshconv.TriangleMesh, meshconv.nn.GaugeConv",
}  # fmt: skip


def seconds(command: list[str], folder: Path) -> float:
    """Processor time of a process and its children."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    here = os.environ | {"OMP_NUM_THREADS": "1", "MESHCONV_CACHE": str(folder / "cache")}
    here.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, check=True, cwd=folder, env=here, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _with_fields(mesh: TriangleMesh) -> TriangleMesh:
    x, y, z = mesh.vertices.T
    fields = {"height": z, "label": (4 * x + 20).astype(np.int64), "wind": np.stack([-y, x, 0 * z], axis=1)}
    return replace(mesh, vertex_data=fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_mesh(generate_shape("apart", np.random.default_rng(0), 10_000), folder / "shape.ply")
        save_mesh(_with_fields(generate_shape("apart", np.random.default_rng(0), 100_000)), folder / "large.ply")
        commands = {name: [sys.executable, "-c", code] for name, code in CODE.items()}
        program = [sys.executable, "-m", "meshconv"]
        commands["the list of commands, `--help`"] = [*program, "--help"]
        commands["`meshconv predict shapes shape.ply`"] = [*program, "predict", "shapes", "shape.ply", "--workers", "0"]
        commands["`meshconv view large.ply`"] = [*program, "view", "large.ply", "--output", "page.html"]
        found: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(given.times + 1):
            for name, command in commands.items():
                taken = seconds(command, folder)
                if turn > 0:  # the first compiles modules
                    found[name].append(taken)
    torch_s = min(found["`import torch`"])
    print("| process | seconds | times `import torch` | seconds beyond it |\n| --- | --- | --- | --- |")
    for name, times in found.items():
        print(f"| {name} | {min(times):.2f} | {min(times) / torch_s:.2f} | {min(times) - torch_s:.2f} |")


if __name__ == "__main__":
    main()
