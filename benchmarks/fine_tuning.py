"""Fine-tuning with few data: four families of generated shapes after four others, against training from scratch.

    python benchmarks/fine_tuning.py --out fine_tuning.jsonl            # stopped, it goes on where it was
    python benchmarks/fine_tuning.py --out fine_tuning.jsonl --print    # the table of docs/pretrained.md

``shapes``, which ships, was trained on the other four families. Each seed draws other training meshes and weights; test
meshes are the same 80. Each training is that of ``meshconv fit`` with the options of ``shapes``, and the same but for
``pretrained`` and ``freeze``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import meshconv
from meshconv.datasets import generate_shape
from meshconv.io import save_mesh

FAMILIES = ("dent_left", "dent_right", "ridges_left", "ridges_right")
METHODS: dict[str, dict[str, Any]] = {
    "scratch": {},
    "fine-tuned": {"pretrained": "shapes"},
    "frozen": {"pretrained": "shapes", "freeze": True},
}
TEST = 20  # meshes of each family
OPTIONS = {
    "variants": 0, "augment": None, "val_fraction": 0.0, "batch_size": 8, "trainer.enable_progress_bar": False,
    "model.init_args.options": {"channels": 8, "max_order": 2, "blocks": 3},
}  # fmt: skip


def write(folder: Path, count: int, seed: int) -> Path:
    """Training meshes of a seed, and the test meshes, which no seed trains on."""
    shutil.rmtree(folder, ignore_errors=True)
    for split, number, draw in (("train", count, seed), ("test", TEST, 1000)):
        for k, name in enumerate(FAMILIES):
            (folder / name / split).mkdir(parents=True)
            for i in range(number):
                mesh = generate_shape(name, np.random.default_rng([draw, k, i]))
                save_mesh(mesh, folder / name / split / f"{name}_{i:03d}.ply")
    return folder


def train(root: Path, runs: Path, epochs: int, seed: int, **model: Any) -> float:
    """Accuracy on the test meshes."""
    given = {f"model.init_args.{key}": value for key, value in model.items()} | {"trainer.max_epochs": epochs}
    predict = meshconv.fit("classify", root=root, name="new", runs=runs, seed_everything=seed, **OPTIONS, **given)
    files = sorted(root.glob("*/test/*.ply"))
    return float(np.mean([r.label == path.parents[1].name for r, path in zip(predict(files), files, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a line for each training")
    parser.add_argument("--runs", type=Path, default=Path("runs/fine_tuning"), help="trainings and meshes")
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20], help="training meshes of each family")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--print", action="store_true", help="print the table of what is there")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.is_file() else []
    if given.print:
        print_table(rows)
        return
    done = {(row["count"], row["seed"], row["method"]) for row in rows}
    for count in given.counts:
        for seed in given.seeds:
            root = write(given.runs / "meshes", count, seed)
            for method, options in METHODS.items():
                if (count, seed, method) not in done:
                    accuracy = train(root, given.runs, given.epochs, seed, **options)
                    row = {"count": count, "seed": seed, "method": method, "accuracy": accuracy}
                    with given.out.open("a") as out:
                        out.write(json.dumps(row) + "\n")
                    print(row, flush=True)


def print_table(rows: list[dict[str, Any]]) -> None:
    counts = sorted({row["count"] for row in rows})
    print("| meshes of each class |", " | ".join(map(str, counts)), "|")
    print("| --- |", " | ".join("---" for _ in counts), "|")
    for method in METHODS:
        cells = []
        for count in counts:
            found = [100 * row["accuracy"] for row in rows if (row["count"], row["method"]) == (count, method)]
            cells.append(f"{np.mean(found):.1f} +- {np.std(found, ddof=min(len(found) - 1, 1)):.1f}" if found else "")
        print(f"| {method} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
