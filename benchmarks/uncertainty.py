"""Calibration of classes: Koeppen zones in blocks, and generated meshes without and with noise.

    python benchmarks/uncertainty.py koeppen --out runs/uncertainty    # trains and measures; stopped, it goes on
    python benchmarks/uncertainty.py meshes --out runs/uncertainty
    python benchmarks/uncertainty.py print --out runs/uncertainty      # the tables of docs/uncertainty.md

Networks of ``--seeds`` are trained once and kept in ``--out``. Each is measured alone, with a temperature, with dropout
of whole field copies and with the Laplace approximation; all together are the ensemble. What calibrates is never what
is measured. Of the zones half of the blocks of the validation set calibrate, the other half is in distribution, the
mean of ``--halves`` ways to halve; the test fold, other regions of the Earth, is the shift. Of the meshes the shift is
noise of ``--noise`` times the square root of the area at every vertex.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from map_training import Results, train
from torch import Tensor, nn

import meshconv
from meshconv.datasets import MeshFolder, SphereMaps, write_shapes
from meshconv.io import read_mesh, save_mesh
from meshconv.shipped import find_config
from meshconv.train import SegmentationTask, load_task
from meshconv.uncertainty import (
    brier_score,
    calibration_error,
    conformal_threshold,
    entropy,
    fit_temperature,
    prediction_sets,
    rejection_curve,
)
from meshconv.uncertainty.calibration import Calibration, calibrate, evaluate, uncertain
from meshconv.uncertainty.outputs import Outputs, collect
from meshconv.uncertainty.sampled import Sampled, mean_log_probability

METHODS = ("network", "temperature", "dropout", "laplace", "ensemble")
MEASURES = ("accuracy", "calibration_error", "brier_score", "coverage", "set_size", "rejection")


def made(method: str, seed: int, load: Callable[[int], Any], seeds: Sequence[int], data: Any) -> Any:
    """The task of a method: of one network, or of all."""
    if method == "ensemble":
        return uncertain([load(s) for s in seeds])
    given = {"network": "ensemble", "temperature": "ensemble"}.get(method, method)
    return uncertain([load(seed)], given, data if given == "laplace" else None)


def rows(given: argparse.Namespace, load: Callable[[int], Any], data: Any, measure: Callable[[Any, str], Any]) -> None:
    """Measure each method and seed that has no result yet."""
    results = Results(given.out / "results.jsonl")
    for method, seed in itertools.product(METHODS, given.seeds):
        if method == "ensemble" and (seed != given.seeds[0] or len(given.seeds) == 1):
            continue
        key = {"set": given.what, "method": method, "seed": seed}
        if results.has(**key):
            continue
        for place, found in measure(made(method, seed, load, given.seeds, data), method).items():
            results.add(key | {"place": place} | {name: found[name] for name in MEASURES})


def koeppen(given: argparse.Namespace) -> None:
    shipped = yaml.safe_load(find_config("climate_koeppen").read_text())["data"]["init_args"]
    splits = {"variable": "fold", "test": 3, "val_fraction": 0.3}
    data = SphereMaps(**(shipped | {"splits": splits, "nside": given.nside}))
    options = {"channels": [16, 24], "max_order": 1, "aggregation": "quadrature", "p": 0.1, "network": "SphereUNet"}

    def load(seed: int) -> SegmentationTask:
        torch.manual_seed(seed)
        # Training with dropout of field copies serves all methods alike.
        task = SegmentationTask("meshconv.uncertainty.DroppedFields", str(data.in_type), data.class_names, data.spec,
                                options)  # fmt: skip
        path = given.out / f"koeppen_{seed}.pt"
        if not path.exists():
            x, target, mask = data.sample(0, "train")
            batches = itertools.repeat((x[None], target[None], mask[None]))
            train(task.network, data.hierarchy, lambda: batches, nn.CrossEntropyLoss(), given.steps, 5e-3)
            torch.save(task.network.state_dict(), path)
        task.network.load_state_dict(torch.load(path, weights_only=True))
        return task.eval()

    lat, lon = (np.degrees(a) for a in _angles(data.hierarchy.finest.positions.double().numpy()))
    block = (np.floor((lat + 90) / 15) * 24 + np.floor(lon / 15)).astype(int)
    block = block[data.sample(0, "val")[2].numpy()]

    def measure(task: Any, method: str) -> dict[str, dict[str, float]]:
        val, test = (collect(task, data, split, task.network) for split in ("val", "test"))
        found: dict[str, list] = {"in distribution": [], "shift": []}
        for half in range(given.halves):
            some = np.isin(block, np.random.default_rng(half).permutation(np.unique(block))[::2])
            parts = [_part(val, some), _part(val, ~some), test]
            for place, part in zip(found, parts[1:], strict=True):
                found[place].append(measured(task.network, parts[0], part, method != "network"))
        return {place: {k: float(np.mean([f[k] for f in all_])) for k in MEASURES} for place, all_ in found.items()}

    rows(given, load, data, measure)


def measured(network: Sampled, calibration: Outputs, part: Outputs, scaled: bool) -> dict[str, float]:
    """Measures of points, with temperature and threshold from other points."""
    t = fit_temperature(calibration.samples, calibration.target, calibration.weights) if scaled else 1.0
    old, p = (mean_log_probability(o.samples, t).exp().double().numpy() for o in (calibration, part))
    scores = 1 - old[np.arange(len(old)), calibration.target]
    sets = prediction_sets(p, conformal_threshold(scores))
    target, wrong = part.target.numpy(), (p.argmax(1) != part.target.numpy()).astype(float)
    shares, left = rejection_curve(entropy(p), wrong)
    return {
        "accuracy": 1 - wrong.mean(), "calibration_error": calibration_error(p, target),
        "brier_score": brier_score(p, target), "coverage": sets[np.arange(len(p)), target].mean(),
        "set_size": sets.sum(1).mean(), "rejection": float(np.sum(left * np.diff(shares, append=1.0))),
    }  # fmt: skip


def meshes(given: argparse.Namespace) -> None:
    folder = given.out / "meshes"
    if not folder.exists():
        write_shapes(folder / "set", given.shapes, given.test, seed=0)
        write_shapes(folder / "calibration", 1, given.test, seed=1)
        rng = np.random.default_rng(0)
        for path in write_shapes(folder / "noise", 1, given.test, seed=2):
            mesh = read_mesh(path)
            noise = given.noise * np.sqrt(mesh.area) * rng.normal(size=mesh.vertices.shape)
            save_mesh(replace(mesh, vertices=mesh.vertices + noise), path)
    shipped = yaml.safe_load(find_config("classify").read_text())["data"]["init_args"]
    seen = {name: shipped[name] for name in ("resolution", "features")}
    sets = {name: MeshFolder(str(folder / name), workers=0, **seen) for name in ("set", "calibration", "noise")}

    def load(seed: int) -> Any:
        path = given.out / f"meshes_{seed}" / "last.ckpt"
        if not path.exists():
            network = {"network": "ShapeClassifier", "p": 0.1, "channels": 8, "max_order": 1, "blocks": 3}
            meshconv.fit("classify", root=folder / "set", runs=given.out, name=f"meshes_{seed}", seed_everything=seed,
                         workers=0, variants=0, augment=None, val_fraction=0.0, **{
                "model.init_args.network": "meshconv.uncertainty.DroppedFields", "model.init_args.options": network,
                "model.init_args.label_smoothing": 0.0, "trainer.max_epochs": given.epochs,
                "trainer.accelerator": "cpu", "trainer.enable_progress_bar": False})  # fmt: skip
        return load_task(path)

    def measure(task: Any, method: str) -> dict[str, dict[str, float]]:
        calibration: Calibration = calibrate(task, sets["calibration"], "test")
        if method == "network":
            task.network.temperature.fill_(1.0)
            calibration = _threshold_alone(task, sets["calibration"], calibration)
        places = {"in distribution": "set", "shift": "noise"}
        return {place: evaluate(task, sets[name], "test", calibration)["calibrated"] for place, name in places.items()}

    rows(given, load, sets["set"], measure)


def _threshold_alone(task: Any, data: Any, calibration: Calibration) -> Calibration:
    """Of a network whose temperature is left at 1."""
    outputs = collect(task, data, "test", task.network)
    p = mean_log_probability(outputs.samples).exp()
    scores = 1 - p[torch.arange(len(p)), outputs.target]
    return replace(calibration, thresholds=[conformal_threshold(scores.numpy())])


def _part(outputs: Outputs, some: np.ndarray) -> Outputs:
    chosen: Tensor = torch.from_numpy(some)
    return Outputs(outputs.samples[:, chosen], *(v[chosen] for v in (outputs.target, outputs.weights, outputs.surface)))


def _angles(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude from 0 on, radians."""
    return np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1])), np.arctan2(xyz[:, 1], xyz[:, 0]) % (2 * np.pi)


def table(given: argparse.Namespace) -> None:
    results = Results(given.out / "results.jsonl")
    for name, place in itertools.product(("koeppen", "meshes"), ("in distribution", "shift")):
        print(f"\n{name}, {place}\n\n| method | {' | '.join(MEASURES)} |\n|{' --- |' * (len(MEASURES) + 1)}")
        for method in METHODS:
            found = results.select(set=name, method=method, place=place)
            if found:
                values = np.array([[row[m] for m in MEASURES] for row in found])
                spread = values.std(0, ddof=1) if len(values) > 1 else None
                cells = [f"{v:.3f}" + ("" if spread is None else f" ± {spread[k]:.3f}") for k, v in
                         enumerate(values.mean(0))]  # fmt: skip
                print(f"| {method} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("koeppen", "meshes", "print"))
    parser.add_argument("--out", type=Path, default=Path("runs/uncertainty"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400, help="of each training on the zones")
    parser.add_argument("--nside", type=int, default=32, help="of the zones")
    parser.add_argument("--halves", type=int, default=20)
    parser.add_argument("--shapes", type=int, default=16, help="of each family, for training")
    parser.add_argument("--test", type=int, default=25, help="of each family, for calibration and for each test")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--noise", type=float, default=0.01)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    {"koeppen": koeppen, "meshes": meshes, "print": table}[given.what](given)


if __name__ == "__main__":
    main()
