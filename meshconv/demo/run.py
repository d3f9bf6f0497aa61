"""The demonstration: training of both tasks, and the report."""

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
from meshconv.datasets.maps.variables import read_map
from meshconv.datasets.meshes.classes import MeshFolder
from meshconv.demo.report import write_report
from meshconv.demo.results import ClimateResults, Field, ModelResults, Report, ShapeResults
from meshconv.io.meshes.load import load_mesh
from meshconv.ops import BACKEND
from meshconv.testing import gauge_equivariance_error
from meshconv.train import ClassificationTask
from meshconv.train.fit import RunCLI
from meshconv.train.loop.run import run_options
from meshconv.train.metrics.confusion import Confusion

_NOTE = (
    "Koeppen-Geiger zones of the land from annual means: ERA5 climatology, topography and land fraction on HEALPix "
    "nside 64. The training is the configuration climate_koeppen, and the same with a network without neighbours. "
    "The land is split into five folds of blocks of about 15 degrees; fold 3 is the test set here, with one seed. "
    "Over all five folds mean IoU is 0.483 for SphereUNet (one seed) and 0.399 for PixelwiseNetwork (README); "
    "fold 3 has every zone. Single folds are 0.440 to 0.526 and 0.345 to 0.489."
)
_FIELDS = {
    "t2m": ("Annual mean temperature", "RdYlBu_r"),
    "tp": ("Precipitation of a month, annual mean", "YlGnBu"),
    "elevation": ("Topography", "terrain"),
    "land_fraction": ("Land fraction", "Greens"),
}


def run_demo(output: Path, climate: Path, climate_steps: int | None, shape_epochs: int) -> Path:
    """Train on the climate set and on generated meshes, evaluate on test data, write ``output/report.html``.

    Each task trains the gauge network and a network without neighbours under the same schedule. Numbers go to
    ``output/results.json`` as well.

    Parameters
    ----------
    output
        Folder of everything the run writes.
    climate
        The climate set.
    climate_steps, shape_epochs
        Training steps of each climate network, None: as configured; epochs of each mesh network.

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


def model_results(
    task: Any, name: str, probabilities: Tensor, target: Tensor, seconds: float, gauge: float | None, segment: bool
) -> ModelResults:
    """Metrics of a network: accuracy, and IoU per class of points, NaN for a class that does not occur."""
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


def _climate(output: Path, path: Path, steps: int | None) -> ClimateResults:
    """The shipped configuration, and the same with a network without neighbours instead."""
    others: dict[str, dict[str, str]] = {
        "SphereUNet": {},
        "PixelwiseNetwork": {"network": "PixelwiseNetwork", "options": "null"},
    }
    given = {"data.init_args.inputs": path, "runs": output, "trainer.accelerator": "cpu"}
    if steps is not None:
        given["trainer.max_epochs"] = steps
    predictions, scores = [], []
    for network, changed in others.items():
        print(f"climate: training {network} on four of five folds of blocks", flush=True)
        options = given | {"name": network} | {f"model.init_args.{k}": v for k, v in changed.items()}
        start = time.perf_counter()
        run = RunCLI(["fit", "--config=climate_koeppen", *(f"--{k}={v}" for k, v in options.items())])
        seconds, task, data = time.perf_counter() - start, run.model.eval(), run.datamodule
        (batch,) = data.test_dataloader()
        with torch.no_grad():
            probabilities = task(batch).softmax(-1)[0]
        gauge = None
        if network == "SphereUNet":
            surface = batch.surface.to(torch.float64)
            gauge = gauge_equivariance_error(task.network, surface, x=batch.x, samples=1)
        held_out = batch.mask[0]
        truth = batch.target[0][held_out]
        scores.append(model_results(task, network, probabilities[held_out], truth, seconds, gauge, True))
        predictions.append(data.surface.everywhere(probabilities.argmax(-1).numpy(), -1))
    shown = []
    for entry in data.inputs.scalars:
        (title, colors), values = _FIELDS[entry["name"]], read_map(data.fields, entry["name"], entry, {})
        shown.append(Field(title, values, data.fields.unit(entry["name"]) or "", colors))
    return ClimateResults(
        fields=shown,
        zones=data.class_names,
        truth=data.surface.everywhere(batch.target[0].numpy(), -1),
        prediction=predictions[0],
        baseline_prediction=predictions[1],
        held_out=data.surface.everywhere(held_out.numpy(), False),
        model=scores[0],
        baseline=scores[1],
        command="make demo; over all five folds: python benchmarks/koeppen.py --out koeppen.jsonl",
        note=_NOTE,
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
        task = ClassificationTask(network, str(data.in_type), data.class_names, data.spec, {}, learning_rate=5e-3,
                                  label_smoothing=0.1)  # fmt: skip
        seconds = _fit(task, data, output / network, epochs)
        with torch.no_grad():
            probabilities = torch.cat([task(batch).softmax(-1) for batch in data.test_dataloader()])
        gauge = None
        if network == "ShapeClassifier":
            gauge = max(
                gauge_equivariance_error(task.network, s.surface.to(torch.float64), x=s.x, samples=1) for s in test[:8]
            )
        scores.append(model_results(task, network, probabilities, target, seconds, gauge, False))
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
        note="Generated closed surfaces: families differ in the arrangement of the same marks; the surroundings of a "
        "point contain little of it. The inputs of both networks are averages around each point; only the network with "
        "neighbours has their arrangement. Each mesh has its own triangulation, pose, size and smooth deformation.",
    )
