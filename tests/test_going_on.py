"""Trainings that go on from a checkpoint: steps, schedule, and what is kept of both."""

from __future__ import annotations

import csv

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from meshconv import HealpixSphere, InputError
from meshconv.datasets import SurfaceBatch
from meshconv.train import SegmentationTask, load_task
from meshconv.train.loop.run import run_options


class Points(lightning.LightningDataModule):
    """Three batches an epoch, and with ``val`` one for validation."""

    class_names = ("sea", "land")

    def __init__(self, val: bool = False):
        super().__init__()
        graph, generator = HealpixSphere(2).gauge_graph().to(torch.float32), torch.Generator().manual_seed(1)
        x = torch.randn(3, 48, 2, generator=generator)
        self.batches = [SurfaceBatch(v, graph, (v[:, 0] > 0).long(), None, ["sphere"]) for v in x]
        self.val = val

    @property
    def class_counts(self):
        return torch.cat([batch.target for batch in self.batches]).bincount(minlength=2)

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self):
        return DataLoader(self.batches[:1], batch_size=None) if self.val else []


class Seen(lightning.Callback):
    """Epoch, place in it and learning rate of every batch."""

    def __init__(self):
        self.batches, self.rates = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch_idx))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def task(**options):
    network = {"options": {"width": 8, "layers": 1}, "learning_rate": 0.01}
    data = {"in_type": "2x0", "class_names": ["sea", "land"], "spec": {}}
    return SegmentationTask("PixelwiseNetwork", **(data | network | options))


def train(folder, model, val=False, checkpoint=None, **limits):
    options, seen = run_options(folder), Seen()
    options["callbacks"].append(seen)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    lightning.Trainer(**limits, **quiet, **options).fit(model, datamodule=Points(val), ckpt_path=checkpoint)
    return seen


def cycle(steps, peak):
    """Rates of a whole one-cycle schedule."""
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], peak)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, pct_start=0.2)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("val", [False, True])
@pytest.mark.parametrize(
    ("first", "then", "done", "total"),
    [
        ({"max_epochs": 2}, {"max_epochs": 4}, 6, 12),
        ({"max_steps": 6}, {"max_steps": 12}, 6, 12),
        ({"max_steps": 4}, {"max_steps": 10}, 4, 10),
        ({"max_epochs": 5, "max_steps": 6}, {"max_epochs": 5, "max_steps": 12}, 6, 12),
    ],
)
def test_a_finished_training_goes_on_with_a_schedule_of_its_own(tmp_path, val, first, then, done, total):
    before = train(tmp_path / "run", task(), val, **first)
    model = task()
    after = train(tmp_path / "run", model, val, tmp_path / "run" / "last.ckpt", **then)
    assert before.batches + after.batches == [(k // 3, k % 3) for k in range(total)]
    assert before.rates == pytest.approx(cycle(done, 0.01))
    assert after.rates == pytest.approx(cycle(total - done, 0.01))


def test_metrics_of_both_trainings_are_kept(tmp_path):
    """The rows of the first as they were, then those of the second; a run that begins anew begins anew."""
    table = tmp_path / "run" / "metrics.csv"
    train(tmp_path / "run", task(), max_epochs=2)
    first = list(csv.DictReader(table.read_text().splitlines()))
    train(tmp_path / "run", task(), True, tmp_path / "run" / "last.ckpt", max_epochs=4)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert "val/loss" in rows[0]
    assert [{k: row[k] for k in first[0]} for row in rows[: len(first)]] == first
    assert {int(row["epoch"]) for row in rows if row["train/loss"]} == {0, 1, 2, 3}
    train(tmp_path / "run", task(), max_epochs=1)
    assert {int(row["epoch"]) for row in csv.DictReader(table.read_text().splitlines()) if row["train/loss"]} == {0}


def test_rows_from_after_the_checkpoint_are_not_kept_twice(tmp_path):
    """An interrupted training had logged more than its last checkpoint has."""
    train(tmp_path / "run", task(), max_epochs=3)
    train(tmp_path / "other", task(), max_epochs=1)
    train(tmp_path / "run", task(), checkpoint=tmp_path / "other" / "last.ckpt", max_epochs=3)
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    rows = [row for row in csv.DictReader(lines) if row["train/loss"]]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]


def test_nothing_left_to_do_is_said(tmp_path):
    train(tmp_path / "run", task(), max_epochs=2)
    with pytest.raises(InputError, match="has done 6 steps, of 6 that are wanted"):
        train(tmp_path / "run", task(), checkpoint=tmp_path / "run" / "last.ckpt", max_epochs=2)


def test_a_training_without_an_end_is_said(tmp_path):
    with pytest.raises(InputError, match="needs an end"):
        train(tmp_path / "run", task(), max_epochs=-1)


@pytest.mark.parametrize("total", [9, 12])
def test_learning_rate_and_decay_are_those_that_were_asked_for(tmp_path, total):
    """In the optimiser and in the new checkpoint, whether the length is another or not."""
    stop = type("Stop", (lightning.Callback,), {})()
    stop.on_train_epoch_end = lambda trainer, pl_module: setattr(trainer, "should_stop", True)
    options = run_options(tmp_path / "run")
    options["callbacks"].insert(0, stop)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    lightning.Trainer(max_steps=9, **quiet, **options).fit(task(), datamodule=Points())
    model = task(learning_rate=0.002, weight_decay=0.5)
    seen = train(tmp_path / "run", model, checkpoint=tmp_path / "run" / "last.ckpt", max_steps=total)
    assert seen.rates == pytest.approx(cycle(total - 3, 0.002))
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["learning_rate"] == 0.002
    assert {group["weight_decay"] for group in saved["optimizer_states"][0]["param_groups"]} == {0.5}


def test_the_decay_alone_leaves_the_schedule_as_it_was(tmp_path):
    stop = type("Stop", (lightning.Callback,), {})()
    stop.on_train_epoch_end = lambda trainer, pl_module: setattr(trainer, "should_stop", True)
    options = run_options(tmp_path / "run")
    options["callbacks"].insert(0, stop)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    lightning.Trainer(max_steps=9, **quiet, **options).fit(task(), datamodule=Points())
    seen = train(tmp_path / "run", task(weight_decay=0.5), checkpoint=tmp_path / "run" / "last.ckpt", max_steps=9)
    assert seen.rates == pytest.approx(cycle(9, 0.01)[3:])
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert {group["weight_decay"] for group in saved["optimizer_states"][0]["param_groups"]} == {0.5}


@pytest.mark.parametrize(
    ("first", "then", "weight"),
    [
        ({"class_weights": [1.0, 3.0]}, {"class_weights": [2.0, 1.0]}, [2, 1]),
        ({"class_weights": [1.0, 3.0]}, {"loss": "dice"}, None),
        ({"loss": "focal"}, {"class_weights": [2.0, 1.0]}, [2, 1]),
    ],
)
def test_the_loss_is_the_one_that_was_asked_for(tmp_path, first, then, weight):
    train(tmp_path / "run", task(**first), max_epochs=1)
    model = task(**then)
    train(tmp_path / "run", model, checkpoint=tmp_path / "run" / "last.ckpt", max_epochs=2)
    task_again = load_task(tmp_path / "run" / "last.ckpt")
    assert task_again.hparams["loss"] == then.get("loss", "cross_entropy")
    for loss in (model.loss, task_again.loss):
        assert loss.weight is None if weight is None else loss.weight.tolist() == weight


def test_a_test_of_balanced_classes_weighs_as_the_training_did(tmp_path):
    train(tmp_path / "run", task(class_weights="balanced"), max_epochs=1)
    saved, model = load_task(tmp_path / "run" / "last.ckpt").loss.weight, task(class_weights="balanced")
    assert not torch.equal(saved, model.loss.weight)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = lightning.Trainer(**quiet)
    trainer.validate(model, datamodule=Points(True), ckpt_path=tmp_path / "run" / "last.ckpt", verbose=False)
    assert torch.equal(model.loss.weight, saved)
