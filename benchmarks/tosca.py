"""Correspondence on TOSCA remeshed: train on some poses of each class, match the given pairs among the others.

    python benchmarks/tosca_files.py tosca_r.npz FOLDER
    python benchmarks/tosca.py FOLDER/TOSCA_Isometric --seeds 0 1

Prints, in hundredths of the square root of the target's area, the mean geodesic error to the true points and to those
of the mirrored shape (``.sym.vts``), before and after refinement: of the nearest neighbour in heat and wave kernel
signatures, of an isotropic network (the same U-Net of order 0 on the lengths of the same inputs), and of the network of
the configuration, trained alike. Results are kept in ``--output``; what is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import yaml
from torch import Tensor, nn

from meshconv import FieldType, Hierarchy
from meshconv.datasets import MeshCorrespondence, Preparation, prepare_meshes
from meshconv.datasets.meshes.correspondence import collate_samples
from meshconv.models import ShapeUNet
from meshconv.shipped import find_config
from meshconv.train import CorrespondenceTask
from meshconv.train.loop.run import run_options
from meshconv.train.metrics.map_errors import Shape, map_errors
from meshconv.train.tasks.correspondence import PointMaps, mesh_of


class Isotropic(nn.Module):
    """The U-Net of order 0 on what does not depend on directions: scalars and lengths of fields."""

    def __init__(self, in_type: str, embedding: int, options: dict[str, Any]):
        super().__init__()
        self.in_type = FieldType(in_type)
        order = options["max_order"]
        channels = [c * (2 * order + 1) for c in options["channels"]]  # as many numbers a point
        scalars = FieldType.from_multiplicities([self.in_type.num_fields])
        self.body = ShapeUNet(scalars, embedding, **{**options, "channels": channels, "max_order": 0})

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        return self.body(self.in_type.invariants(x), surface)


def measure(data: MeshCorrespondence, embeddings: list[Tensor], refine: bool) -> dict[str, Any]:
    """Mean errors x 100 over the pairs, and those of each class."""
    samples, pairs = data.samples("test"), data.pairs("test")
    n = len(samples)
    maps = PointMaps(embeddings, [mesh_of(s, data.how) for s in samples])
    shapes = [Shape(m, s.target.numpy()) for m, s in zip(maps.meshes, samples, strict=True)]
    for sample, mesh in zip(samples, maps.meshes, strict=True):
        path = Path(sample.name)
        mirrored = np.loadtxt(path.parent / "corres" / f"{path.stem}.sym.vts", dtype=int) - 1
        shapes.append(Shape(mesh, sample.origin.vertex_to[mirrored]))
    both = [*pairs, *((a, b + n) for a, b in pairs)]
    matchings = {"nearest": lambda a, b: maps.match(a, b % n)}
    if refine:
        kept = {pair: maps.refined(*pair) for pair in pairs}
        matchings["refined"] = lambda a, b: kept[a, b % n]
    result: dict[str, Any] = {"pairs": len(pairs)}
    for name, errors in map_errors(matchings, shapes, both).items():
        means = 100 * np.array([e.mean() for e in errors])
        result[name], result[f"{name} mirrored"] = float(means[: len(pairs)].mean()), float(means[len(pairs) :].mean())
        classes = [data.category[Path(samples[a].name)] for a, _ in pairs]
        result[f"{name} by class"] = {
            c: float(means[: len(pairs)][np.array(classes) == c].mean()) for c in sorted(set(classes))
        }
    return result


def train(
    data: MeshCorrespondence, model: dict[str, Any], epochs: int, seed: int, folder: Path, isotropic: bool
) -> tuple[list[Tensor], float]:
    """Embeddings of the test meshes, and the processor time of the training; kept in the folder."""
    kept = folder / "embeddings.pt"
    if kept.exists():
        return torch.load(kept)
    lightning.seed_everything(seed, verbose=False)
    given = {"in_type": str(data.in_type), "spec": data.spec, "data": data}
    task = CorrespondenceTask(**given, **model)
    if isotropic:
        task.network = Isotropic(str(data.in_type), model["embedding"], model["options"])
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", enable_model_summary=False, enable_progress_bar=False,
        **run_options(folder),
    )  # fmt: skip
    start = time.process_time()
    trainer.fit(task, data)
    seconds = time.process_time() - start
    task.eval()
    result = [task.embed(collate_samples([s])) for s in data.samples("test")], seconds
    torch.save(result, kept)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--config", default="correspond")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, help="default: those of the configuration")
    parser.add_argument("--test_fraction", type=float, default=0.4)
    parser.add_argument("--no_refine", action="store_true", help="leave refinement out")
    parser.add_argument("--output", type=Path, default=Path("runs/tosca"))
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    config = yaml.safe_load(find_config(given.config).read_text())
    options = {**config["data"]["init_args"], "root": str(given.root), "test_fraction": given.test_fraction}
    data = MeshCorrespondence(**options)
    epochs = given.epochs or config["trainer"]["max_epochs"]
    given.output.mkdir(parents=True, exist_ok=True)
    kept = given.output / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}

    def keep(name: str, result: dict[str, Any]) -> None:
        results[name] = result
        kept.write_text(json.dumps(results, indent=1))
        print(name, json.dumps(result), flush=True)

    for seed in given.seeds:
        for name, isotropic in (("network", False), ("isotropic", True)):
            if f"{name}, seed {seed}" not in results:
                folder = given.output / f"{name}{seed}"
                embeddings, seconds = train(data, config["model"]["init_args"], epochs, seed, folder, isotropic)
                keep(f"{name}, seed {seed}", {**measure(data, embeddings, not given.no_refine), "seconds": seconds})
        for name in ("hks", "wks"):
            if name not in results:
                how = Preparation(features=(name,))
                found, _ = prepare_meshes([(Path(s.name), -1) for s in data.samples("test")], how, cache=data.cache)
                keep(name, measure(data, [s.x for s in found], not given.no_refine))

    columns = [c for c in ("nearest", "nearest mirrored", "refined", "refined mirrored", "seconds")
               if any(c in r for r in results.values())]  # fmt: skip
    print(f"\n{epochs} epochs, {len(data.files['train'])} training and {len(data.files['test'])} test meshes")
    print("| |", " | ".join(columns), "|")
    print("| --- |", " | ".join("---:" for _ in columns), "|")
    for name, result in sorted(results.items()):
        print("|", name, "|", " | ".join(f"{result[c]:.1f}" if c in result else "" for c in columns), "|")


if __name__ == "__main__":
    main()
