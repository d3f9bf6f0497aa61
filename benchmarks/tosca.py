"""Correspondence on TOSCA remeshed: train on some poses of each class, match the given pairs among the others.

    python benchmarks/tosca_files.py tosca_r.npz FOLDER
    python benchmarks/tosca.py FOLDER/TOSCA_Isometric --seeds 0 1

Prints, in hundredths of the square root of the target's area, the mean geodesic error to the true points and to those
of the mirrored shape (``.sym.vts``), before and after refinement: of the nearest neighbour in heat and wave kernel
signatures, of an isotropic network (the same U-Net of order 0 on the lengths of the same inputs), and of the network of
the configuration, trained alike. The network's error is measured too for test meshes in other triangulations, matched
to the given ones: ``half`` and ``fifth`` of the faces, by quadric edge collapse, and ``noise`` of 0.3 % of the square
root of the area. ``--resolution 0.015``: on points at this spacing, with the inputs ``surface``, ``hks`` and ``wks``,
in place of the vertices. Results are kept in ``--output``; what is there is not computed again.
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
from scipy.spatial import cKDTree
from torch import Tensor, nn

from meshconv import FieldType, Hierarchy, TriangleMesh
from meshconv.datasets import MeshCorrespondence, Preparation, prepare_meshes
from meshconv.datasets.meshes.correspondence import collate_samples
from meshconv.geometry import simplify
from meshconv.geometry.features.functional_map import nearest_rows
from meshconv.io import save_mesh
from meshconv.models import ShapeUNet
from meshconv.shipped import find_config
from meshconv.train import CorrespondenceTask
from meshconv.train.inference.correspondence import PointMaps, mesh_of
from meshconv.train.loop.run import run_options
from meshconv.train.metrics.map_errors import Shape, map_errors

#: Other triangulations of the test meshes: the share of the faces.
CASES = {"half": 0.5, "fifth": 0.2, "noise": 1.0}


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


def in_other_triangles(mesh: TriangleMesh, case: str, name: str) -> TriangleMesh:
    """The surface of a mesh in other triangles, or noised."""
    if case == "noise":
        rng = np.random.default_rng(list(name.encode()))
        moved = mesh.vertices + 0.003 * np.sqrt(mesh.area) * rng.standard_normal(mesh.vertices.shape)
        return TriangleMesh(moved, mesh.faces)
    mesh = simplify(mesh, round(CASES[case] * mesh.num_faces))
    return TriangleMesh(mesh.vertices, mesh.faces)


def other_triangulation(data: MeshCorrespondence, options: dict[str, Any], case: str, folder: Path) -> list[Any]:
    """Prepared test meshes of a case in the order of the given ones; written to a folder the first time."""
    given = data.samples("test")
    if not (folder / "test_pairs.txt").exists():
        (folder / "corres").mkdir(parents=True, exist_ok=True)
        for sample in given:
            path, mesh = Path(sample.name), data.how.mesh(sample.source)
            other = in_other_triangles(mesh, case, path.stem)
            nearest = cKDTree(other.vertices).query(mesh.vertices[sample.target.numpy()])[1]
            save_mesh(other, folder / f"{path.stem}.off")
            np.savetxt(folder / "corres" / f"{path.stem}.vts", np.where(sample.target >= 0, nearest + 1, 0), "%d")
        names = [Path(sample.name).stem for sample in given]
        pairs = [f"{names[a]} {names[b]}\n" for a, b in data.pairs("test")]
        (folder / "test_pairs.txt").write_text("".join(pairs))
    module = MeshCorrespondence(**{**options, "root": str(folder), "test_fraction": 1.0})
    found = {Path(sample.name).stem: sample for sample in module.samples("test")}
    return [found[Path(sample.name).stem] for sample in given]


def measure(
    data: MeshCorrespondence, embeddings: list[Tensor], refine: bool, others: dict[str, tuple[list[Any], list[Tensor]]]
) -> dict[str, Any]:
    """Mean errors x 100 over the pairs, those of each class, and of samples with embeddings in other triangulations."""
    samples, pairs = data.samples("test"), data.pairs("test")
    n = len(samples)
    maps = PointMaps(embeddings, [mesh_of(s, data.how) for s in samples])
    shapes = [Shape(m, s.target.numpy()) for m, s in zip(maps.meshes, samples, strict=True)]
    for sample, mesh in zip(samples, maps.meshes, strict=True):
        path = Path(sample.name)
        mirrored = np.loadtxt(path.parent / "corres" / f"{path.stem}.sym.vts", dtype=int) - 1
        shapes.append(Shape(mesh, sample.origin.vertex_to[mirrored]))
    shapes += [
        Shape(m, s.target.numpy()) for found, _ in others.values() for m, s in zip(maps.meshes, found, strict=True)
    ]
    sources = [embeddings, embeddings, *(embedded for _, embedded in others.values())]

    def nearest(a: int, b: int) -> Tensor:
        return nearest_rows(sources[a // n][a % n], embeddings[b % n])

    # To the true points, to the mirrored ones, and from each case.
    groups = {"": pairs, " mirrored": [(a, b + n) for a, b in pairs]}
    groups |= {case: [(a + (k + 2) * n, b) for a, b in pairs] for k, case in enumerate(others)}
    matchings = {"nearest": nearest}
    if refine:
        kept = {pair: maps.refined(*pair) for pair in pairs}
        matchings["refined"] = lambda a, b: kept[a, b % n] if a < n else nearest(a, b)
    result: dict[str, Any] = {"pairs": len(pairs)}
    classes = np.array([data.category[Path(samples[a].name)] for a, _ in pairs])
    for name, errors in map_errors(matchings, shapes, [pair for group in groups.values() for pair in group]).items():
        means = 100 * np.array([e.mean() for e in errors]).reshape(len(groups), len(pairs))
        result |= {
            f"{name}{group}": float(row.mean()) for group, row in zip(groups, means, strict=True) if group not in others
        }
        if name == "nearest":
            result |= {case: float(row.mean()) for case, row in zip(groups, means, strict=True) if case in others}
        result[f"{name} by class"] = {c: float(means[0, classes == c].mean()) for c in sorted(set(classes))}
    return result


def trained(
    data: MeshCorrespondence, model: dict[str, Any], epochs: int, seed: int, folder: Path, isotropic: bool
) -> tuple[CorrespondenceTask, float]:
    """The network, and the processor time of its training; kept in the folder."""
    lightning.seed_everything(seed, verbose=False)
    given = {"in_type": str(data.in_type), "spec": data.spec, "data": data}
    task = CorrespondenceTask(**given, **model)
    if isotropic:
        task.network = Isotropic(str(data.in_type), model["embedding"], model["options"])
    kept = folder / "weights.pt"
    if not kept.exists():
        trainer = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", enable_model_summary=False, enable_progress_bar=False,
            **run_options(folder),
        )  # fmt: skip
        start = time.process_time()
        trainer.fit(task, data)
        torch.save((task.state_dict(), time.process_time() - start), kept)
    weights, seconds = torch.load(kept)
    task.load_state_dict(weights)
    return task.eval(), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--config", default="correspond")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, help="default: those of the configuration")
    parser.add_argument("--test_fraction", type=float, default=0.4)
    parser.add_argument("--no_refine", action="store_true", help="leave refinement out")
    parser.add_argument("--no_isotropic", action="store_true", help="leave the isotropic network out")
    parser.add_argument("--resolution", type=float, help="points at this spacing in place of the vertices")
    parser.add_argument("--output", type=Path, default=Path("runs/tosca"))
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    config = yaml.safe_load(find_config(given.config).read_text())
    options = {**config["data"]["init_args"], "root": str(given.root), "test_fraction": given.test_fraction}
    if given.resolution:
        options |= {"resolution": given.resolution, "features": ["surface", "hks", "wks"]}
    data = MeshCorrespondence(**options)
    epochs = given.epochs or config["trainer"]["max_epochs"]
    given.output.mkdir(parents=True, exist_ok=True)
    kept = given.output / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}

    def keep(name: str, result: dict[str, Any]) -> None:
        results[name] = result
        kept.write_text(json.dumps(results, indent=1))
        print(name, json.dumps(result), flush=True)

    def embed(task: CorrespondenceTask, samples: list[Any]) -> list[Tensor]:
        return [task.embed(collate_samples([s])) for s in samples]

    networks = {"network": False} if given.no_isotropic else {"network": False, "isotropic": True}
    for seed in given.seeds:
        for name, isotropic in networks.items():
            if f"{name}, seed {seed}" not in results:
                model, folder = config["model"]["init_args"], given.output / f"{name}{seed}"
                task, seconds = trained(data, model, epochs, seed, folder, isotropic)
                samples = {case: other_triangulation(data, options, case, given.output / case) for case in CASES}
                others = {case: (found, embed(task, found)) for case, found in samples.items()}
                result = measure(data, embed(task, data.samples("test")), not given.no_refine, others)
                keep(f"{name}, seed {seed}", {**result, "seconds": seconds})
        for name in () if given.no_isotropic else ("hks", "wks"):
            if name not in results:
                how = Preparation(features=(name,))
                found, _ = prepare_meshes([(Path(s.name), -1) for s in data.samples("test")], how, cache=data.cache)
                keep(name, measure(data, [s.x for s in found], not given.no_refine, {}))

    columns = [c for c in ("nearest", "nearest mirrored", "refined", "refined mirrored", *CASES, "seconds")
               if any(c in r for r in results.values())]  # fmt: skip
    print(f"\n{epochs} epochs, {len(data.files['train'])} training and {len(data.files['test'])} test meshes")
    print("| |", " | ".join(columns), "|")
    print("| --- |", " | ".join("---:" for _ in columns), "|")
    for name, result in sorted(results.items()):
        print("|", name, "|", " | ".join(f"{result[c]:.1f}" if c in result else "" for c in columns), "|")


if __name__ == "__main__":
    main()
