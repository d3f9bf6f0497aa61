"""SHREC'11 with the configuration ``classify``: 10 meshes of each class for training, 10 for testing, random splits.

    python benchmarks/shrec11.py PATH/shrec_16 --splits 0 1 2 3 4

All 20 meshes of each class, training and test, are pooled and split anew by the data module with the seed of the split;
that seed is also that of the training. Each trained network is tested on four versions of the 300 test meshes:

given     as they are;
harder    turned by a random rotation, with Gaussian noise on every coordinate of 1 % of the diagonal of the mesh's
          bounding box, then decimated to 60 % of the faces by quadric edge collapse;
fourfold  every face cut in four, on the same surface;
uneven    the faces on one side of a random plane cut in four, with T-junctions between the halves.

Training sees nothing of the test meshes. A line of JSON for each split is appended to OUTPUT/splits.jsonl.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from triangulations import cut_in_four

from meshconv import TriangleMesh, load_mesh
from meshconv.cli import main as meshconv
from meshconv.datasets import Preparation, collate, prepare_meshes
from meshconv.datasets.meshes.layouts.classes import find_mesh_files
from meshconv.geometry import simplify
from meshconv.io import save_mesh
from meshconv.shipped import find_config
from meshconv.train import load_task

CONFIG = find_config("classify")
CASES = ("given", "harder", "fourfold", "uneven")


def harder(mesh: TriangleMesh, rng: np.random.Generator, noise: float = 0.01, share: float = 0.6) -> TriangleMesh:
    """Turned, noised by this share of the bounding box's diagonal, decimated to this share of the faces."""
    size = np.linalg.norm(np.ptp(mesh.vertices, axis=0))
    shaken = mesh.vertices + noise * size * rng.standard_normal(mesh.vertices.shape)
    turned = shaken @ Rotation.random(None, rng).as_matrix().T
    return simplify(replace(mesh, vertices=turned).repair(), round(share * mesh.num_faces))


def version(mesh: TriangleMesh, case: str, rng: np.random.Generator) -> TriangleMesh:
    """A mesh as one of :data:`CASES` has it."""
    if case == "harder":
        return harder(mesh, rng)
    along = mesh.vertices[mesh.faces].mean(axis=1) @ rng.standard_normal(3)
    return cut_in_four(mesh, along > (np.median(along) if case == "uneven" else -np.inf))


def pooled(root: Path, output: Path) -> None:
    """``OUTPUT/given/<class>/<file>``, links to all meshes, and ``OUTPUT/<case>/<class>/<file>`` of other versions."""
    for name, parts in find_mesh_files(root).items():
        for case in CASES:
            (output / case / name).mkdir(parents=True, exist_ok=True)
        for path in sorted(p for paths in parts.values() for p in paths):
            link, seed = output / "given" / name / path.name, [int(c) for c in path.stem.encode()]
            if not link.exists():
                link.symlink_to(path.resolve())
            for case in CASES[1:]:
                changed = output / case / name / f"{path.stem}.ply"
                if not changed.exists():
                    save_mesh(version(load_mesh(path), case, np.random.default_rng(seed)), changed)


def accuracy(checkpoint: Path, paths: list[tuple[Path, int]]) -> tuple[float, np.ndarray]:
    """Per cent of the meshes, and counts by true and predicted class."""
    task = load_task(checkpoint)
    samples, problems = prepare_meshes(paths, Preparation.from_spec(task.hparams["spec"]))
    assert not problems, problems
    count = len(task.hparams["class_names"])
    confusion = np.zeros((count, count), dtype=int)
    with torch.no_grad():
        for start in range(0, len(samples), 16):
            batch = collate(samples[start : start + 16])
            np.add.at(confusion, (batch.target.numpy(), task(batch).argmax(-1).numpy()), 1)
    return 100 * confusion.trace() / confusion.sum(), confusion


def run(split: int, output: Path, more: list[str]) -> dict[str, float]:
    """Train on one split and test on all versions."""
    given = output / "given"
    start, spent = time.perf_counter(), time.process_time()
    arguments = ["fit", "--config", str(CONFIG), "--data.init_args.root", str(given), "--runs", str(output)]
    arguments += ["--name", f"split_{split}", "--data.init_args.test_fraction", "0.5", "--data.init_args.val_fraction"]
    arguments += ["0", "--data.init_args.seed", str(split), "--seed_everything", str(split), *more]
    if meshconv(arguments):
        raise SystemExit(2)
    seconds, processor = time.perf_counter() - start, time.process_time() - spent
    checkpoint = output / f"split_{split}" / "last.ckpt"
    names = load_task(checkpoint).hparams["class_names"]
    test = held_out(given, split)
    row: dict[str, float] = {"split": split, "tested": len(test), "seconds": seconds, "processor_seconds": processor}
    for what in CASES:
        paths = [(output / what / p.parent.name / f"{p.stem}.ply", label) for p, label in test]
        row[what], confusion = accuracy(checkpoint, test if what == "given" else paths)
        np.savetxt(output / f"split_{split}" / f"confusion_{what}.csv", confusion, "%d", ",", header=",".join(names))
    return row


def held_out(given: Path, split: int) -> list[tuple[Path, int]]:
    """Test files and labels of the split, from the data module itself."""
    from meshconv.datasets import MeshFolder

    data = MeshFolder(str(given), test_fraction=0.5, seed=split, cache=False)
    return data.files["test"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="shrec_16, unpacked")
    parser.add_argument("--splits", type=int, nargs="*", default=[0, 1, 2, 3, 4], help="seeds; without any, the table")
    parser.add_argument("--output", type=Path, default=Path("runs/shrec11_splits"))
    given, more = parser.parse_known_args()
    pooled(given.root, given.output)
    line = "{split:5} {given:7.2f} {harder:7.2f} {fourfold:9.2f} {uneven:7.2f} {seconds:8.0f} {processor_seconds:8.0f}"
    print("split   given  harder  fourfold  uneven  seconds  processor seconds")
    for split in given.splits:
        row = run(split, given.output, more)
        with (given.output / "splits.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(line.format(**row), flush=True)
    # Splits may have been run one by one, or several at a time.
    rows = [json.loads(text) for text in (given.output / "splits.jsonl").read_text().splitlines()]
    print(f"all {len(rows)} splits in {given.output}")
    for what in CASES:
        values = [row[what] for row in rows]
        print(f"{what:8} mean {np.mean(values):.2f} %, standard deviation {np.std(values):.2f}")


if __name__ == "__main__":
    main()
