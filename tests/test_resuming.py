"""Interrupted trainings: what a resumed one gives, to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import lightning
import pytest
import torch
import trimesh
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from meshconv import HealpixSphere, InputError
from meshconv.datasets import SurfaceBatch
from meshconv.datasets.loader import Loader
from meshconv.train import SegmentationTask
from meshconv.train.checkpoints.file import read_checkpoint
from meshconv.train.checkpoints.state import check_state
from meshconv.train.loop.precision import surface_precision
from meshconv.train.loop.run import run_options


def only(batches):
    return batches[0]


class Points(lightning.LightningDataModule):
    """Five batches an epoch in an order that is drawn, and one for validation."""

    class_names = ("sea", "land")

    def __init__(self, workers: int = 0):
        super().__init__()
        surface, generator = HealpixSphere(1).hierarchy(1).to(torch.float32), torch.Generator().manual_seed(1)
        x = torch.randn(5, 12, 2, generator=generator)
        self.batches = [SurfaceBatch(v, surface, (v[:, 0] > 0).long(), None, ["sphere"]) for v in x]
        self.workers = workers

    def train_dataloader(self):
        return Loader(self.batches, train=True, collate_fn=only, num_workers=self.workers)

    def val_dataloader(self):
        return Loader(self.batches[:1], collate_fn=only)


class Stop(lightning.Callback):
    """End the training after a step, by an error or by the signal; losses of all batches."""

    def __init__(self, step: int | None, how: str):
        self.step, self.how, self.losses = step, how, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))
        if len(self.losses) == self.step:
            if self.how == "error":
                raise RuntimeError("a fault")
            os.kill(os.getpid(), signal.SIGTERM)


def train(
    folder, step=None, how="error", checkpoint=None, workers=0, task=None, **given
) -> tuple[list[float], list[Tensor]]:
    """Losses of all batches and the weights; ``step`` batches until it is stopped."""
    lightning.seed_everything(0, verbose=False)
    model = SegmentationTask(
        "IsotropicUNet", in_type="2x0", class_names=["sea", "land"], spec={},
        options={"channels": [4], "dropout": 0.3}, learning_rate=0.01, **(task or {}),
    )  # fmt: skip
    options, stop = run_options(folder), Stop(step, how)
    options["callbacks"].append(stop)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    trainer = lightning.Trainer(**{"max_epochs": 3, **given}, **quiet, **options)
    try:
        trainer.fit(model, datamodule=Points(workers), ckpt_path=checkpoint)
    except (RuntimeError, SIGTERMException):
        assert step is not None
    return stop.losses, [value.clone() for value in model.state_dict().values()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("step", "how", "kept"),
    [(7, "error", 5), (10, "error", 5), (11, "error", 10), (2, "SIGTERM", 2), (7, "SIGTERM", 7), (10, "SIGTERM", 10)],
)
def test_a_resumed_training_gives_the_numbers_of_an_uninterrupted_one(tmp_path, uninterrupted, step, how, kept):
    """Order of the data, dropout, schedule, optimiser and weights; ``kept`` steps are in the last checkpoint."""
    losses, weights = uninterrupted
    first, _ = train(tmp_path, step, how)
    check_state(read_checkpoint(tmp_path / "last.ckpt"), training=True)  # as the command line does before it goes on
    rest, resumed = train(tmp_path, checkpoint=tmp_path / "last.ckpt")
    assert first == losses[:step]
    assert rest == losses[kept:]
    assert all(torch.equal(a, b) for a, b in zip(resumed, weights, strict=True))


@pytest.mark.parametrize(("step", "how", "kept"), [(7, "error", 5), (11, "error", 10), (7, "SIGTERM", 7)])
@pytest.mark.parametrize("epochs", [3, -1])
def test_so_does_one_that_a_number_of_steps_ends(tmp_path, step, how, kept, epochs):
    """Amid the third epoch."""
    limits = {"max_epochs": epochs, "max_steps": 13}
    losses, weights = train(tmp_path / "whole", **limits)
    train(tmp_path / "run", step, how, **limits)
    rest, resumed = train(tmp_path / "run", checkpoint=tmp_path / "run" / "last.ckpt", **limits)
    assert len(losses) == 13
    assert rest == losses[kept:]
    assert all(torch.equal(a, b) for a, b in zip(resumed, weights, strict=True))


@pytest.mark.parametrize("step", [6, 7, 8, 9])
def test_so_does_one_that_accumulates_gradients(tmp_path, step):
    """Stopped between two batches of a step, too."""
    losses, weights = train(tmp_path / "whole", accumulate_grad_batches=2)
    train(tmp_path / "run", step, "SIGTERM", accumulate_grad_batches=2)
    rest, resumed = train(tmp_path / "run", checkpoint=tmp_path / "run" / "last.ckpt", accumulate_grad_batches=2)
    assert rest == losses[step:]
    assert all(torch.equal(a, b) for a, b in zip(resumed, weights, strict=True))


class Plain(torch.nn.Module):
    """A network whose outputs do not depend on the batch."""

    def __init__(self, in_type, out):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, out))

    def forward(self, x, surface):
        return self.layers(x)


def test_accumulated_gradients_are_those_of_the_joint_batch(tmp_path):
    found = []
    for together in (1, 2):
        torch.manual_seed(0)
        model = SegmentationTask(
            "test_resuming.Plain", in_type="2x0", class_names=["sea", "land"], spec={}, learning_rate=0.01
        )
        maps = Points().batches[:4]
        joined = []
        for k in range(0, 4, together):
            x, target = (torch.stack([getattr(b, name) for b in maps[k : k + together]]) for name in ("x", "target"))
            joined.append(SurfaceBatch(x, maps[0].surface, target, None, ["sphere"]))
        lightning.Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accumulate_grad_batches=2 // together,
        ).fit(model, Loader(joined, collate_fn=only))  # fmt: skip
        found.append(list(model.parameters()))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_activations_that_are_computed_again_change_nothing(tmp_path, uninterrupted):
    """Dropout and running statistics neither; they are not kept."""
    losses, weights = train(tmp_path, task={"activation_checkpointing": True})
    assert losses == uninterrupted[0]
    assert all(torch.equal(a, b) for a, b in zip(weights, uninterrupted[1], strict=True))
    kept, sphere = [], HealpixSphere(8).hierarchy(1).to(torch.float32)
    batch = SurfaceBatch(torch.randn(768, 2), sphere, torch.zeros(768).long(), None, ["sphere"])
    for again in (False, True):
        model = SegmentationTask(
            "IsotropicUNet", in_type="2x0", class_names=["sea", "land"], spec={},
            options={"channels": [16], "width": 16}, activation_checkpointing=again,
        )  # fmt: skip
        sizes = []

        def keep(value, sizes=sizes):
            sizes.append(value.nbytes)
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            model(batch)
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]  # what stays is the network's around its one block
    with pytest.raises(InputError, match="Identity has nothing to compute twice"):
        SegmentationTask("torch.nn.Identity", "2x0", ["a", "b"], {}, activation_checkpointing=True)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_a_training_goes_on_in_another_precision(tmp_path, uninterrupted, precision):
    losses, _ = uninterrupted
    train(tmp_path, 11)
    plugin = surface_precision(precision)
    how = {"precision": precision} if plugin is None else {"plugins": [plugin]}
    rest, weights = train(tmp_path, checkpoint=tmp_path / "last.ckpt", **how)
    assert rest == pytest.approx(losses[10:], rel=0.03)
    assert rest != losses[10:]
    assert {w.dtype for w in weights if w.is_floating_point()} == {torch.float64 if plugin else torch.float32}


def test_a_training_in_mixed_precision(tmp_path, uninterrupted):
    losses, weights = train(tmp_path, precision="bf16-mixed")
    assert losses == pytest.approx(uninterrupted[0], rel=0.1)
    assert {w.dtype for w in weights if w.is_floating_point()} == {torch.float32}


def test_the_table_of_metrics_survives(tmp_path):
    """A start that is refused leaves it; cut off amid a line, it goes on with the lines that are whole."""
    table = tmp_path / "run" / "metrics.csv"
    train(tmp_path / "run", 12)
    whole = table.read_text()
    assert [line.split(",")[0] for line in whole.splitlines()] == ["epoch", "", "0", "0", "", "1", "1", ""]
    with pytest.raises(InputError, match="has done 10 steps, of 10"):
        train(tmp_path / "run", checkpoint=tmp_path / "run" / "last.ckpt", max_epochs=2)
    assert table.read_text() == whole
    table.write_text(whole + "2,0.00")
    train(tmp_path / "run", checkpoint=tmp_path / "run" / "last.ckpt")
    train(tmp_path / "other")
    assert table.read_text() == (tmp_path / "other" / "metrics.csv").read_text()


def test_workers_change_nothing(tmp_path, uninterrupted):
    losses, weights = train(tmp_path, workers=1)
    assert losses == uninterrupted[0]
    assert all(torch.equal(a, b) for a, b in zip(weights, uninterrupted[1], strict=True))


def test_orders_differ_by_epoch_and_seed():
    def orders(seed):
        torch.manual_seed(seed)
        loader = Loader(range(9), train=True, collate_fn=only)
        return [list(loader) for _ in range(3)]

    first, other = orders(0), orders(1)
    assert first == orders(0)
    assert len({tuple(order) for order in first + other}) == 6
    assert all(sorted(order) == list(range(9)) for order in first)


@pytest.fixture
def folder(tmp_path):
    """Two classes of three meshes."""
    for name, make in (("ball", trimesh.creation.icosphere), ("box", lambda k: trimesh.creation.box().subdivide())):
        (tmp_path / "shapes" / name).mkdir(parents=True)
        for k in range(3):
            mesh = make(1)
            mesh.vertices = mesh.vertices * [1, 1 + 0.1 * k, 1]
            mesh.export(tmp_path / "shapes" / name / f"{k}.ply")
    return tmp_path / "shapes"


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path, folder):
    """kill -9 at twenty moments, with variants and batches by vertices; the same command is given again each time."""

    def command(name):
        run = f"fit --config classify --name {name} --runs {tmp_path} --resume --trainer.max_epochs 40"
        data = f"--data.init_args.root {folder} --data.init_args.variants 2 --data.init_args.batch_vertices 100"
        data += " --data.init_args.resolution null"  # a few vertices a mesh
        task = ["--model.init_args.options", "{channels: 4, blocks: 1, max_order: 1}", "--trainer.accelerator", "cpu"]
        return [sys.executable, "-m", "meshconv.cli", *run.split(), *data.split(), *task]

    def end(name):
        return torch.load(tmp_path / name / "last.ckpt", weights_only=True)

    def written():
        path = tmp_path / "killed" / "last.ckpt"
        return path.stat().st_mtime_ns if path.is_file() else 0

    subprocess.run(command("whole"), check=True, capture_output=True)
    for number, moment in enumerate(torch.rand(20, generator=torch.Generator().manual_seed(0)).tolist()):
        before = written()
        run = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if number % 4:  # the others end while the program starts
            while written() == before and run.poll() is None:
                time.sleep(0.01)
        time.sleep(moment)
        run.kill()
        run.wait()
    found = subprocess.run(command("killed"), capture_output=True, text=True)
    assert found.returncode == 0 or "has done" in found.stderr  # it had come to its end
    for (key, a), b in zip(end("whole")["state_dict"].items(), end("killed")["state_dict"].values(), strict=True):
        assert torch.equal(a, b), key
    assert (tmp_path / "killed" / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()
