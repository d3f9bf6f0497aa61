"""Networks, exported."""

from __future__ import annotations

from pathlib import Path

import torch

from meshconv.cli import main
from meshconv.datasets import Preparation
from meshconv.train import ClassificationTask


def checkpoint(task, path: Path) -> Path:
    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, path)
    return path


def randomised(task):
    """With weights at which nothing vanishes."""
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return task.eval()


def exported(task, folder: Path, *to: str, like: Path | None = None) -> Path:
    path = checkpoint(randomised(task), folder / "last.ckpt")
    more = [] if like is None else ["--like", str(like)]
    assert main(["export", str(path), "--to", *to, "--output", str(folder / "out"), *more]) == 0
    return folder / "out"


def small_classifier(folder: Path) -> Path:
    """A checkpoint of a classifier of meshes."""
    spec = {"data": "meshconv.datasets.MeshFolder", "features": ["default"]}
    options = {"channels": 2, "blocks": 1, "width": 4}
    in_type = str(Preparation.from_spec(spec).in_type)
    return checkpoint(ClassificationTask("ShapeClassifier", in_type, ["a", "b"], spec, options), folder / "x.ckpt")
