"""``report.html`` of every test: metrics beside baselines, curves, confusion, worst cases that turn."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from segments import write_bodies
from test_view import ball, contents, loads_nothing

from meshconv import TriangleMesh
from meshconv.cli import main
from meshconv.datasets import MeshFields, MeshFolder, MeshSegments, write_shapes
from meshconv.io import save_mesh
from meshconv.train import ClassificationTask, RegressionTask, SegmentationTask
from meshconv.train.loop.run import run_options
from meshconv.train.report.case import Case
from meshconv.train.report.page import render_test
from meshconv.viz.interactive.panels import MeshSurface

TINY = {"channels": [4, 4], "max_order": 1, "width": 4}


def report_of(task: lightning.LightningModule, data: Any, folder: Path) -> tuple[str, dict[str, Any]]:
    """The report of a test, and what ``test_metrics.json`` has."""
    options = run_options(folder) | {"logger": False}
    trainer = lightning.Trainer(
        accelerator="cpu", enable_model_summary=False, enable_progress_bar=False, enable_checkpointing=True, **options
    )
    trainer.test(task, data, verbose=False)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert loads_nothing(page) and len(page) < 8_000_000
    return page, json.loads((folder / "test_metrics.json").read_text())


def cell(page: str, metric: str) -> list[str]:
    """The row of a metric, without markup."""
    row = re.search(rf"<tr><td>{metric}</td>(.*?)</tr>", page)
    assert row is not None
    return [html.unescape(re.sub("<.*?>", "", text)) for text in re.findall("<td>(.*?)</td>", row[1])]


@pytest.mark.slow
def test_classes_of_meshes(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", train=1, test=3, seed=1)
    data = MeshFolder(str(tmp_path / "shapes"), cache=False, workers=0)
    torch.manual_seed(0)
    task = ClassificationTask("ShapeClassifier", str(data.in_type), data.class_names, data.spec,
                              {"channels": 4, "blocks": 1, "width": 8})  # fmt: skip
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.csv").write_text("epoch,step,train/loss,val/loss\n0,0,1.5,\n0,4,,1.25\n1,5,0.75,\n1,9,,1.0\n")
    page, metrics = report_of(task, data, folder)
    accuracy, baseline, of_what = cell(page, "accuracy")
    assert float(accuracy) == pytest.approx(metrics["accuracy"], abs=1e-3)
    assert float(baseline) == pytest.approx(1 / len(data.class_names), abs=1e-3) and of_what.endswith("everywhere")
    assert 'alt="Confusion matrix"' in page and 'alt="Curve of loss"' in page
    # The worst cases are those whose true class has the least probability.
    task.eval()
    with torch.no_grad():
        logits = [(task(b).double().log_softmax(-1), b.target[:, None]) for b in data.test_dataloader()]
    scores = torch.cat([x.gather(1, target)[:, 0] for x, target in logits])
    names = np.array([s.name for s in data.samples("test")])[scores.argsort().numpy()]
    listed = re.search(r"<h2>Worst cases of (\d+)</h2>.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    assert listed is not None and int(listed[1]) == len(names)
    assert re.findall(r"<tr><td>(.*?)</td>", listed[2]) == ["/".join(Path(n).parts[-2:]) for n in names[:8]]
    (view,) = contents(page)
    assert len(view["panels"]) == 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["faces", "edges"])
def test_segments(tmp_path: Path, kind: str) -> None:
    root = write_bodies(tmp_path / "set", kind, 6)
    data = MeshSegments(str(root), num_levels=2, cache=False, workers=0, test_fraction=0.5, val_fraction=0.0)
    task = SegmentationTask("ShapeUNet", str(data.in_type), data.class_names, data.spec, TINY)
    page, metrics = report_of(task, data, tmp_path / "run")
    assert float(cell(page, "mean_iou")[0]) == pytest.approx(metrics["mean_iou"], abs=1e-3)
    views = contents(page)
    if kind == "edges":
        assert views == []  # which have no faces to colour
        return
    worst = re.search(r"<tr><td>[^<]*</td><td>([\d.]+)% wrong</td><td>of ([\d,]+) faces", page)
    truth, said = (panel["fields"][0]["values"] for panel in views[0]["panels"])
    assert worst is not None and len(truth) == int(worst[2].replace(",", ""))
    assert 100 * (truth != said).mean() == pytest.approx(float(worst[1]), abs=0.06)


@pytest.mark.slow
def test_fields(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(4):
        mesh = ball(2)
        mesh = TriangleMesh(mesh.vertices * rng.uniform(0.8, 1.2, 3), mesh.faces)
        data = {"pressure": mesh.vertices[:, 2], "flow": np.cross([0.0, 0.0, 1.0], mesh.vertices)}
        (tmp_path / "set" / ("test" if k < 2 else "train")).mkdir(parents=True, exist_ok=True)
        path = tmp_path / "set" / ("test" if k < 2 else "train") / f"{k}.vtp"
        save_mesh(replace(mesh, vertex_data=data), path)
    fields = MeshFields(str(tmp_path / "set"), ["pressure", "flow"], num_levels=2, cache=False, workers=0)
    task = RegressionTask("FieldUNet", str(fields.in_type), fields.field_names, fields.spec,
                          {"channels": [4, 4], "max_order": 1})  # fmt: skip
    page, metrics = report_of(task, fields, tmp_path / "run")
    shown, baseline, _ = cell(page, "relative_l2/pressure")
    assert float(shown) == pytest.approx(metrics["relative_l2/pressure"], rel=1e-3) and baseline == "1"
    views = contents(page)
    assert [p["title"] for p in views[0]["panels"]] == ["truth", "prediction"] and len(views) == 2
    flow = next(i for i, f in enumerate(views[0]["fields"]) if f["name"] == "flow")
    assert views[0]["fields"][flow]["kind"] == "vector"
    place = (tmp_path / "set" / "test").iterdir()
    lengths = [np.linalg.norm(np.cross([0, 0, 1.0], fields.how.mesh(p).vertices), axis=1) for p in place]
    found = views[0]["panels"][0]["fields"][flow]["values"]
    assert min(np.abs(found - length).max() for length in lengths) < 0.2  # less what is along the normal


@pytest.mark.slow
def test_maps_by_the_command(tmp_path: Path) -> None:
    common = ["--runs", str(tmp_path), "--name", "climate", "--trainer.accelerator", "cpu",
              "--trainer.enable_progress_bar", "false", "--data.init_args.nside", "16",
              "--data.init_args.radius", "null", "--data.init_args.cache", "false",
              "--model.init_args.options", "{channels: [4, 4], max_order: 1}"]  # fmt: skip
    assert main(["fit", "--config", "climate_koeppen", *common, "--trainer.max_epochs", "3"]) == 0
    assert main(["test", "--config", str(tmp_path / "climate" / "config.yaml"), "--ckpt_path", "last",
                 "--runs", str(tmp_path), "--name", "climate"]) == 0  # fmt: skip
    page = (tmp_path / "climate" / "report.html").read_text(encoding="utf-8")
    assert loads_nothing(page) and 'alt="Curve of loss"' in page and 'alt="Confusion matrix"' in page
    (view,) = contents(page)
    truth, said = (p["globe"]["points"] for p in view["panels"])
    assert truth == said and 12 * 8**2 < truth < 12 * 16**2  # the land and a margin
    assert "BW" in view["fields"][0]["names"]


def test_names_are_no_markup(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    row = {"name": evil, "share": 1.0, "iou": None, "f1": 0.5, "precision": 1.0, "recall": 0.25}
    (tmp_path / "test_metrics.json").write_text(json.dumps({"accuracy": 0.75, "loss": None, "classes": [row]}))
    case = Case(f"a/{evil}", 1.0, evil, evil, {evil: np.zeros(42, dtype=int)}, {evil: np.zeros(42, dtype=int)},
                names=(evil,))  # fmt: skip
    page = render_test(tmp_path, tmp_path, [case], 1, lambda name: MeshSurface(ball(1)), evil)
    assert "<img src=x" not in page and loads_nothing(page)
    assert contents(page)[0]["fields"][0]["names"] == [evil]
    assert cell(page, "loss")[0] == "–" and cell(page, "accuracy")[:2] == ["0.75", "1"]
