"""Tasks, networks, losses, optimisers and schedules of a user's own package: by class path, and by consent alone."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
import torch

import meshconv
from meshconv import InputError
from meshconv.cli import main
from meshconv.datasets import write_shapes
from meshconv.datasets.class_path import check_trust, class_path, import_class
from meshconv.train import ClassificationTask, Task, load_task
from meshconv.train.loop.schedule import keep_options

SOURCE = '''
"""A task of one file: how large the bumps of a mesh are, from all its vertices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from meshconv.nn import GaugeConv
from meshconv.train import Meshes, MeshResult, Task


class Mean(torch.nn.Module):
    def __init__(self, in_type, out, width=4):
        super().__init__()
        self.linear = torch.nn.Linear(meshconv_dim(in_type), out)

    def forward(self, x, surface):
        sums = x.new_zeros(surface.num_graphs, x.shape[1]).index_add_(0, surface.batch_index, x)
        return self.linear(sums)


def meshconv_dim(in_type):
    from meshconv import FieldType
    return FieldType(in_type).dim


class Hinge(torch.nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, logits, target):
        return torch.nn.functional.multi_margin_loss(logits, target, margin=self.margin, reduction="none")


@dataclass(frozen=True, eq=False)
class Size(MeshResult):
    size: float
    columns = ("file", "size")

    def row(self) -> dict[str, Any]:
        return {"file": self.name, "size": self.size}


class SizeTask(Task):
    def __init__(self, network: str, in_type: str, class_names: list[str], spec: dict[str, Any],
                 options: dict[str, Any] | None = None, power: float = 2.0, **training: Any):
        super().__init__(network, in_type, spec, 1, options, **training)
        self.power = power

    def _loss(self, batch):
        return (self(batch)[:, 0] - batch.target).abs().pow(self.power).mean()

    def training_step(self, batch, index):
        loss = self._loss(batch)
        self.log_loss("train", loss, len(batch.target))
        return loss

    def evaluate(self, batch, split):
        self.log_loss(split, self._loss(batch), len(batch.target))

    def predict_meshes(self, meshes: Meshes) -> Iterator[Size]:
        for sample, output in meshes.outputs(self, meshes.prepare(), lambda _: 1):
            yield Size(sample.name, sample.source, float(output))
'''


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes") / "set", train=2, test=1, seed=1)[0].parents[2]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the user's, forgotten at the end."""
    folder = tmp_path / "packages" / "bumps"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "size.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "bumps"]:
        del sys.modules[name]


def quick(shapes: Path, tmp_path: Path, **options):
    """Training from Python of two epochs."""
    given = {"root": str(shapes), "runs": str(tmp_path / "runs"), "variants": 0, "augment": None, "workers": 0,
             "trainer.max_epochs": 2, "trainer.accelerator": "cpu", "trainer.enable_progress_bar": False}  # fmt: skip
    return meshconv.fit("classify", **(given | options))


SMALL = {"model.options": {"channels": 4, "blocks": 1, "width": 8}}


def test_a_task_of_ones_own_trains_and_predicts_with_consent(shapes, package, tmp_path, capsys):
    own = {"model": "bumps.size.SizeTask", "model.network": "bumps.size.Mean", "model.options": {"width": 3},
           "model.power": 1.5}  # fmt: skip
    config = tmp_path / "size.yaml"
    config.write_text("name: size\nmodel: {class_path: bumps.size.SizeTask, init_args: {network: bumps.size.Mean, "
                      "options: {width: 3}, power: 1.5}}\ndata: {class_path: meshconv.datasets.MeshFolder, "
                      f"init_args: {{root: {shapes}, workers: 0}}}}\n")  # fmt: skip
    options = ["--runs", str(tmp_path), "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--config", str(config), *options, "--trainer.max_epochs", "2"]) == 0
    checkpoint = tmp_path / "size" / "last.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    assert content["meshconv"]["task"] == "bumps.size.SizeTask"
    assert content["hyper_parameters"]["network"] == "bumps.size.Mean" and own["model.power"] == 1.5
    mesh = next(shapes.rglob("test/*"))
    forget()
    capsys.readouterr()
    words = ["predict", str(checkpoint), str(mesh), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    line = capsys.readouterr().err.strip()
    assert "needs bumps.size.SizeTask, code of package bumps" in line and "--trust bumps" in line
    assert "\n" not in line and "bumps" not in sys.modules
    with pytest.raises(InputError, match="--trust bumps"):
        load_task(checkpoint, trust=("bump", "bumps.siz"))
    assert "bumps" not in sys.modules
    assert main([*words, "--trust", "bumps"]) == 0
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    task = load_task(checkpoint, trust=("bumps",))
    assert type(task).__module__ == "bumps.size" and task.power == 1.5
    assert meshconv.Predictor(checkpoint, trust=["bumps"])(str(mesh)).size == float(row["size"])
    assert main(["test", "--config", str(tmp_path / "size" / "config.yaml"), "--ckpt_path", str(checkpoint)]) == 0


def test_network_loss_optimizer_and_schedule_by_class_path(shapes, package, tmp_path):
    predict = quick(
        shapes, tmp_path, name="own",
        **{"model.network": "bumps.size.Mean", "model.options": {}, "model.label_smoothing": 0,
           "model.loss": "bumps.size.Hinge", "model.loss_options": {"margin": 2.0},
           "model.optimizer": "torch.optim.SGD", "model.optimizer.lr": 0.25,
           "model.schedule": "torch.optim.lr_scheduler.StepLR", "model.schedule.step_size": 1,
           "model.schedule.gamma": 0.5},
    )  # fmt: skip
    assert predict.task.loss.loss.margin == 2
    rows = list(csv.DictReader((tmp_path / "runs" / "own" / "metrics.csv").read_text().splitlines()))
    rates = [float(row["lr-SGD"]) for row in rows if row.get("lr-SGD")]
    assert rates == [0.25, 0.125]
    checkpoint = tmp_path / "runs" / "own" / "last.ckpt"
    forget()
    with pytest.raises(InputError, match=r"bumps.size.Mean, code of package bumps"):
        load_task(checkpoint)
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["network"] = "PixelwiseNetwork"
    torch.save(content, tmp_path / "loss.ckpt")
    with pytest.raises(InputError, match=r"bumps.size.Hinge, code of package bumps"):
        load_task(tmp_path / "loss.ckpt")
    assert "bumps" not in sys.modules
    found = meshconv.Predictor(checkpoint, trust=("bumps",))(next(shapes.rglob("test/*")))
    assert found.label in predict.task.class_names


def test_options_of_an_own_schedule_are_those_of_the_command_line():
    """Progress comes from the checkpoint, gamma and step size from this training."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    then = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(3):
        optimizer.step()
        then.step()
    checkpoint = {"lr_schedulers": [then.state_dict()]}
    now = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0), 2, gamma=0.1)
    keep_options(now, checkpoint)
    now.load_state_dict(checkpoint["lr_schedulers"][0])
    assert (now.gamma, now.step_size, now.last_epoch) == (0.1, 2, 3)


def test_without_own_ones_it_is_adamw_on_one_cycle(shapes, tmp_path):
    quick(shapes, tmp_path, name="usual", **SMALL)
    rows = list(csv.DictReader((tmp_path / "runs" / "usual" / "metrics.csv").read_text().splitlines()))
    rates = [float(row["lr-AdamW"]) for row in rows if row.get("lr-AdamW")]
    assert len(rates) == 2 and max(rates) < 5e-3 and rates[0] != rates[1]


def test_losses_that_give_one_value_have_no_weights():
    task = meshconv.train.SegmentationTask(
        "PixelwiseNetwork", "1x0", ["a", "b"], {"area_weights": True}, loss="torch.nn.MultiMarginLoss"
    )
    logits, target = torch.tensor([[2.0, 0.0], [0.0, 0.5]]), torch.tensor([0, 1])
    assert float(task.loss(logits, target)) == pytest.approx(0.125)
    with pytest.raises(InputError, match="reduction: none"):
        task.loss(logits, target, torch.tensor([1.0, 3.0]))
    with pytest.raises(InputError, match="class_weights and label_smoothing are not for"):
        ClassificationTask("PixelwiseNetwork", "1x0", ["a", "b"], {}, loss="torch.nn.NLLLoss", label_smoothing=0.1)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.Net", "cannot be imported"),
        ("os.system", "no subclass of Module"),
        ("meshconv.train.Task", None),
        ("meshconv..Task", "no class path"),
        ("Task", "no class path"),
        (3, "no class path"),
    ],
)
def test_class_paths(path, message):
    if message is None:
        assert import_class(path, Task) is Task
        return
    with pytest.raises(InputError, match=message):
        import_class(path, torch.nn.Module)


@pytest.mark.parametrize(
    "path", ["os.system", "meshconvx.Net", "torch.nn.functional.relu", "a.b;c", ["meshconv.A"], None]
)
def test_what_is_not_trusted_is_named(path):
    with pytest.raises(InputError):
        check_trust(path, ("mesh", "meshcon"), "x.ckpt")


def test_the_paths_of_shipped_classes_are_short():
    for cls in (ClassificationTask, meshconv.datasets.MeshFolder, meshconv.datasets.SphereMaps):
        path = class_path(cls)
        assert path.count(".") == 2 and import_class(path, cls) is cls


def test_options_of_fit_that_do_not_exist(shapes, tmp_path):
    with pytest.raises(InputError, match=r"no such configuration.*classify"):
        meshconv.fit("clasify", root=str(shapes))
    with pytest.raises(InputError, match="rooot"):
        quick(shapes, tmp_path, rooot="x")
    with pytest.raises(InputError, match="not a folder"):
        quick(shapes, tmp_path, root=str(tmp_path / "nowhere"))
