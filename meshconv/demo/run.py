"""The demonstration: both tasks on what the repository ships, and a report of them."""

from __future__ import annotations

import datetime
import json
import platform
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

import meshconv
from meshconv.datasets.generated import write_shapes
from meshconv.datasets.maps.climate import KoeppenClimate
from meshconv.datasets.maps.climate_inputs import climate_field
from meshconv.datasets.meshes.classes import MeshFolder
from meshconv.demo.report import write_report
from meshconv.demo.results import ClimateResults, Field, ModelResults, Report, ShapeResults
from meshconv.io.meshes.load import load_mesh
from meshconv.ops import BACKEND
from meshconv.testing import gauge_equivariance_error
from meshconv.train.fit import run_options
from meshconv.train.metrics.confusion import Confusion
from meshconv.train.tasks.classes import ClassificationTask, SegmentationTask

_FIELDS = {
    "t2m_mean": ("Annual mean temperature", "RdYlBu_r"),
    "tp_mean": ("Precipitation of a month, annual mean", "YlGnBu"),
    "elevation": ("Topography", "terrain"),
    "land_fraction": ("Land fraction", "Greens"),
}


def run_demo(output: Path, climate: Path, climate_steps: int, shape_epochs: int) -> Path:
    """Train on the climate set and on generated meshes, score on unseen data, write ``output/report.html``.

    Each task trains the gauge network and a network without neighbours under the same schedule. Numbers go to
    ``output/results.json`` as well.

    Parameters
    ----------
    output
        Folder of everything the run writes.
    climate
        The climate set.
    climate_steps, shape_epochs
        Training steps of each climate network; epochs of each mesh network.

    Returns
    -------
    Path
        The report.
    """
    start = time.perf_counter()
    maps = _climate(output, climate, climate_steps)
    shapes = _shapes(output, shape_epochs)
    report = Report(
        title="meshconv: one convolution, two kinds of surface",
        version=meshconv.__version__,
        date=datetime.date.today().isoformat(),
        seconds=time.perf_counter() - start,
        environment={
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "operators": BACKEND.reason,
        },
        command="make demo",
        climate=maps,
        shapes=shapes,
    )
    scores = {"climate": [maps.model, maps.baseline], "shapes": [shapes.model, shapes.baseline]}
    table = {task: [_row(s) for s in pair] for task, pair in scores.items()}
    (output / "results.json").write_text(json.dumps(table, indent=1) + "\n")
    for task, pair in scores.items():
        for s in pair:
            iou = "" if s.mean_iou is None else f"  mean IoU {s.mean_iou:.3f}"
            gauge = "" if s.gauge_error is None else f"  gauge error {s.gauge_error:.1e}"
            print(f"{task:8} {s.name:20} accuracy {s.accuracy:.3f}{iou}{gauge}  trained in {s.seconds:.0f} s")
    return write_report(output / "report.html", report)


def _row(score: ModelResults) -> dict[str, Any]:
    return {"network": score.name, "accuracy": score.accuracy, "mean_iou": score.mean_iou,
            "gauge_error": score.gauge_error, "seconds": score.seconds}  # fmt: skip


def _fit(task: lightning.LightningModule, data: Any, folder: Path, epochs: int) -> float:
    """Train with the run's files in ``folder``; seconds."""
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", enable_model_summary=False, log_every_n_steps=1, **run_options(folder)
    )
    start = time.perf_counter()
    trainer.fit(task, data.train_dataloader())
    task.eval()
    return time.perf_counter() - start


def _score(task: Any, name: str, probabilities: Tensor, target: Tensor, seconds: float, gauge: float | None,
           segment: bool) -> ModelResults:  # fmt: skip
    """Accuracy, and IoU per class where points are labelled; NaN for a class that does not occur."""
    confusion = Confusion(len(task.class_names))
    confusion.update(probabilities.argmax(-1), target)
    scores = confusion.metrics
    return ModelResults(
        name=name,
        accuracy=float(scores.accuracy),
        mean_iou=float(scores.mean_iou) if segment else None,
        class_iou=scores.iou.tolist() if segment else [],
        gauge_error=gauge,
        parameters=sum(p.numel() for p in task.parameters()),
        seconds=seconds,
    )


def _climate(output: Path, path: Path, steps: int) -> ClimateResults:
    options: dict[str, dict[str, Any]] = {
        "SphereUNet": {"channels": [16, 24], "max_order": 1},
        "PixelwiseNetwork": {},
    }
    predictions, scores = [], []
    for network, arguments in options.items():
        print(f"climate: training {network} on four of five folds of blocks", flush=True)
        lightning.seed_everything(0, verbose=False)
        data = KoeppenClimate(path=str(path), fold=0, num_levels=2)
        task = SegmentationTask(network, str(data.in_type), data.class_names, data.spec, arguments, 5e-3)
        seconds = _fit(task, data, output / network, steps)
        (batch,) = data.test_dataloader()
        with torch.no_grad():
            probabilities = task(batch).softmax(-1)[0]
        gauge = None
        if network == "SphereUNet":
            surface = batch.surface.to(torch.float64)
            gauge = gauge_equivariance_error(task.network, surface, x=batch.x, samples=1)
        held_out = batch.mask[0] & (batch.target[0] >= 0)
        scores.append(
            _score(task, network, probabilities[held_out], batch.target[0][held_out], seconds, gauge, True)
        )
        predictions.append(probabilities.argmax(-1).numpy())
    maps = data.maps
    return ClimateResults(
        fields=[
            Field(_FIELDS[entry["name"]][0], climate_field(maps.dataset, entry["variable"], entry["months"], maps.path),
                  entry["unit"], _FIELDS[entry["name"]][1])
            for entry in data.spec["inputs"]
        ],
        zones=data.class_names,
        truth=batch.target[0].numpy(),
        prediction=predictions[0],
        baseline_prediction=predictions[1],
        held_out=held_out.numpy(),
        model=scores[0],
        baseline=scores[1],
        command="make demo; over all five folds: python benchmarks/koeppen.py --out koeppen.jsonl",
        note="ERA5 monthly climatology, topography and land fraction on HEALPix nside 64; Koeppen-Geiger zones of "
        "the land. One fold in five of blocks of about 15 degrees is held out and scored. The table of all five "
        "folds stands in the README.",
    )


def _shapes(output: Path, epochs: int) -> ShapeResults:
    folder = output / "shapes"
    write_shapes(folder)
    data = MeshFolder(str(folder), cache=str(output / "cache"))
    test = data.samples("test")
    target = torch.stack([s.target for s in test])
    predictions, scores = [], []
    for network in ("ShapeClassifier", "PointwiseClassifier"):
        print(f"meshes: training {network} on {len(data.samples('train'))} generated meshes", flush=True)
        lightning.seed_everything(0, verbose=False)
        task = ClassificationTask(network, str(data.in_type), data.class_names, data.spec, {}, 5e-3,
                                  label_smoothing=0.1)  # fmt: skip
        seconds = _fit(task, data, output / network, epochs)
        with torch.no_grad():
            probabilities = torch.cat([task(batch).softmax(-1) for batch in data.test_dataloader()])
        gauge = None
        if network == "ShapeClassifier":
            gauge = max(
                gauge_equivariance_error(task.network, s.surface.to(torch.float64), x=s.x, samples=1) for s in test[:8]
            )
        scores.append(_score(task, network, probabilities, target, seconds, gauge, False))
        predictions.append(probabilities.argmax(-1).numpy())
    return ShapeResults(
        meshes=[load_mesh(s.name) for s in test],
        classes=data.class_names,
        truth=target.numpy(),
        prediction=predictions[0],
        baseline_prediction=predictions[1],
        model=scores[0],
        baseline=scores[1],
        command="make demo",
        note="Generated closed surfaces: families differ in how the same marks lie to one another, so that a point's "
        "own surroundings tell little: the inputs of both networks hold averages round each point, and one sees how "
        "they lie to each other. Each mesh has its own triangulation, pose, size and smooth deformation.",
    )
