"""What predicts: the task without its training, and without Lightning."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from segments import body

from meshconv import Predictor, train
from meshconv.io import save_mesh
from meshconv.train import Inference, Task, load_inference, load_task
from meshconv.train.checkpoints.load import inference_class

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "tests" / "data" / "releases" / "0.2.0"
TASKS = [name for name in train.__all__ if name.endswith("Task") and name not in ("Task", "ClassTask")]
# Of training and of pictures; each takes longer to import than a prediction.
HEAVY = {"lightning", "pytorch_lightning", "torchmetrics", "jsonargparse", "matplotlib", "trimesh"}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_ships_predicts_as_its_inference_does(name):
    task = getattr(train, name)
    inference = inference_class(f"meshconv.train.{name}")
    assert inference is inference_class(f"{task.__module__}.{name}") is getattr(train, name[:-4] + "Inference")
    assert issubclass(task, inference) and issubclass(task, Task) and not issubclass(inference, Task)
    assert inference().task_path == f"meshconv.train.{name}"
    for part in ("forward", "predict_meshes", "predict_maps", "describe_output", "complete", "check_inputs"):
        assert getattr(task, part) is getattr(inference, part), part


def test_tasks_of_ones_own_are_their_inference():
    for path in ("my_package.SegmentationTask", "meshconv.generative.GenerationTask", "meshconv.trainer.X", None, 3):
        assert inference_class(path) is None


@pytest.mark.parametrize("name", ["classes.ckpt", "fields.ckpt"])
def test_predictions_are_those_of_the_task_to_the_bit(name):
    inference, task = load_inference(RELEASE / name), load_task(RELEASE / name)
    assert isinstance(task, Task) and not isinstance(inference, Task) and isinstance(inference, Inference)
    assert not inference.training and inference.task_path == task.task_path
    weights = {key: value for key, value in task.state_dict().items() if not key.startswith("loss.")}
    torch.testing.assert_close(dict(inference.state_dict()), weights, rtol=0, atol=0)
    one, other = (Predictor(given, "cpu", cache=False, workers=0)(body(3)) for given in (RELEASE / name, task))
    values = [found.fields["height"] if hasattr(found, "fields") else found.probabilities for found in (one, other)]
    np.testing.assert_array_equal(*values)


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports when it is imported."""
    nodes: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            nodes += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            nodes += [*node.body, *node.orelse, *(n for handler in node.handlers for n in handler.body)]


def reached(start: str) -> dict[str, str]:
    """All modules that one brings along, each with the file that asks for it."""
    found, left = {start: ""}, [start]
    while left:
        name = left.pop()
        place = ROOT.joinpath(*name.split("."))
        path = next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)
        if path is None:
            continue
        parts = name.split(".")
        above = [".".join(parts[:k]) for k in range(1, len(parts))]
        for module in (*above, *imported(path)):
            if module not in found:
                found[module] = str(path.relative_to(ROOT))
                left.append(module)
    return found


@pytest.mark.parametrize(
    "module",
    ["meshconv.train.predict.predictor", "meshconv.serve.worker", "meshconv.export.export", "meshconv.io.meshes.check",
     *(f"meshconv.train.inference.{path.stem}" for path in (ROOT / "meshconv/train/inference").glob("[a-z]*.py"))],
)  # fmt: skip
def test_what_predicts_imports_nothing_of_training(module):
    found = reached(module)
    assert len(found) > 10
    assert {name: file for name, file in found.items() if name.split(".")[0] in HEAVY} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classes.ckpt", "faces.ckpt", "fields.ckpt", "model.onnx"])
def test_a_prediction_of_the_command_line_imports_no_lightning(tmp_path, name):
    if name.endswith("onnx"):
        pytest.importorskip("onnxruntime")
    save_mesh(body(0), tmp_path / "mesh.ply")
    words = ["predict", str(RELEASE / name), "mesh.ply", "--cache", "false", "--workers", "0"]
    code = f"import sys; from meshconv.cli import main; main({words}); print(*{HEAVY} & set(sys.modules), sep='')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert "predictions.json" in done.stdout
