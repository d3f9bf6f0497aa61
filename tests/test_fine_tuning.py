"""Fine-tuning: what is taken of another training, what is frozen, and what a resumed training does."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
from contextlib import nullcontext
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from meshconv import HealpixSphere, InputError
from meshconv.cli import main
from meshconv.datasets import SurfaceBatch, write_shapes
from meshconv.datasets.loader import Loader
from meshconv.train import SegmentationTask, load_task
from meshconv.train.loop.run import run_options


def only(batches):
    return batches[0]


class Points(lightning.LightningDataModule):
    """Two batches an epoch, whose target is the sign of the first input, or which of three."""

    def __init__(self, class_names):
        super().__init__()
        self.class_names = class_names
        surface, generator = HealpixSphere(1).hierarchy(1).to(torch.float32), torch.Generator().manual_seed(1)
        x = torch.randn(2, 12, 2, generator=generator)
        target = ((x[..., 0] > 0).long() + (x[..., 1] > 0)).clamp(max=len(class_names) - 1)
        self.batches = [SurfaceBatch(v, surface, t, None, ["sphere"]) for v, t in zip(x, target, strict=True)]

    def train_dataloader(self):
        return Loader(self.batches, train=True, collate_fn=only)


class Stop(lightning.Callback):
    """The signal after some steps."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def train(folder, names=("sea", "land"), checkpoint=None, epochs=2, stop=None, **task) -> dict[str, Tensor]:
    """Weights and statistics of the network after a training, ``stop`` steps of it if that is given."""
    lightning.seed_everything(0, verbose=False)
    task = {"learning_rate": 0.01, "options": {"channels": [4], "width": 8}} | task
    model = SegmentationTask("IsotropicUNet", in_type="2x0", class_names=list(names), spec={}, **task)
    options = run_options(folder)
    options["callbacks"] += [] if stop is None else [Stop(stop)]
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    trainer = lightning.Trainer(max_epochs=epochs, **quiet, **options)
    with nullcontext() if stop is None else pytest.raises(SIGTERMException):
        trainer.fit(model, datamodule=Points(list(names)), ckpt_path=checkpoint)
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def trunk(weights):
    return {name: value for name, value in weights.items() if "head" not in name}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def parameters(weights):
    return {name: value for name, value in weights.items() if "running" not in name and "num_batches" not in name}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A checkpoint and its weights."""
    folder = tmp_path_factory.mktemp("before")
    return str(folder / "last.ckpt"), train(folder, epochs=3)


def test_the_trunk_is_taken_and_the_head_where_classes_are_the_same(before, tmp_path, caplog):
    path, weights = before
    still = {"pretrained": path, "learning_rate": 0.0, "epochs": 1}  # weights stay as they begin
    with caplog.at_level(logging.INFO):
        again = train(tmp_path / "same", **still)
    (line,) = [record.message for record in caplog.records if record.message.startswith("pretrained")]
    assert line.endswith("weights taken; fresh: none") and path in line
    assert same(parameters(again), parameters(weights))

    for names, size in ((("dry", "wet"), 2), (("sea", "land", "ice"), 3)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            found = train(tmp_path / f"other{size}", names, **still)
        assert same(parameters(trunk(found)), parameters(trunk(weights)))
        head = found["body.head.1.weight"]
        assert len(head) == size and (size == 3 or not torch.equal(head, weights["body.head.1.weight"]))
        (line,) = [record.message for record in caplog.records if record.message.startswith("pretrained")]
        assert f"fresh: network.body.head.1.weight [{size}, 8], network.body.head.1.bias [{size}]" in line


def test_new_inputs_are_fresh(before, tmp_path):
    lightning.seed_everything(0, verbose=False)
    path, weights = before
    model = SegmentationTask("IsotropicUNet", in_type="3x0", class_names=["sea", "land"], spec={}, pretrained=path,
                             options={"channels": [4], "width": 8})  # fmt: skip
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    model.fine_tuning.setup(trainer, model, "fit")
    fits = {n for n, value in model.network.state_dict().items() if value.shape == weights[n].shape}
    assert set(model.fine_tuning.taken) == {f"network.{name}" for name in fits}
    assert 0 < len(fits) < len(weights) and not any("stem" in name and "weight" in name for name in fits)
    assert all(torch.equal(model.network.state_dict()[name], weights[name]) for name in fits)


def test_a_frozen_trunk_stays_to_the_bit_statistics_included(before, tmp_path):
    path, weights = before
    names, start = ("sea", "land", "ice"), trunk(weights)
    frozen = train(tmp_path / "a", names, pretrained=path, freeze=True)
    assert same(trunk(frozen), start)
    first = train(tmp_path / "b", names, pretrained=path, freeze=True, epochs=1)
    assert not torch.equal(first["body.head.1.weight"], frozen["body.head.1.weight"])
    # For one epoch, and then not.
    assert same(trunk(train(tmp_path / "c", names, pretrained=path, freeze=1, epochs=1)), start)
    free = train(tmp_path / "d", names, pretrained=path, freeze=1)
    kernels = [name for name in parameters(start) if name.endswith("weight")]
    assert kernels and not any(torch.equal(free[name], start[name]) for name in kernels)


@pytest.mark.slow
@pytest.mark.parametrize(("freeze", "step"), [(False, 3), (True, 3), (1, 2), (1, 3)])
def test_a_resumed_one_gives_the_same_bits_without_the_file(before, tmp_path, freeze, step):
    copy = tmp_path / "pretrained.ckpt"
    copy.write_bytes(Path(before[0]).read_bytes())
    task = {"names": ("sea", "land", "ice"), "pretrained": str(copy), "freeze": freeze}
    whole = train(tmp_path / "whole", **task)
    stopped = train(tmp_path / "run", stop=step, **task)
    copy.unlink()
    assert not same(stopped, whole)
    assert same(train(tmp_path / "run", checkpoint=tmp_path / "run" / "last.ckpt", **task), whole)


def test_checkpoints_of_it_are_checkpoints_as_any(before, tmp_path):
    """They name no other file, and one that does has it ignored."""
    train(tmp_path, names=("a", "b"), pretrained=before[0], freeze=True)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert not {"pretrained", "freeze"} & set(content["hyper_parameters"])
    content["hyper_parameters"] |= {"pretrained": "/etc/passwd", "freeze": True}
    torch.save(content, tmp_path / "named.ckpt")
    task = load_task(tmp_path / "named.ckpt")
    assert task.fine_tuning is None and all(p.requires_grad for p in task.parameters())


def test_what_cannot_be(before, tmp_path):
    path, _ = before
    with pytest.raises(InputError, match=r"freeze True: .* give pretrained too"):
        train(tmp_path, freeze=True)
    with pytest.raises(InputError, match="freeze -1: give true, false or a number of epochs"):
        train(tmp_path, pretrained=path, freeze=-1)
    with pytest.raises(InputError, match=r"no weight of its trunk .* has channels \[4\], width 8 and inputs 2x0: give"):
        train(tmp_path, pretrained=path, options={"channels": [5], "width": 9})
    with pytest.raises(InputError, match=r"nowhere.ckpt: no such checkpoint"):
        train(tmp_path, pretrained=str(tmp_path / "nowhere.ckpt"))
    train(tmp_path / "plain", epochs=1)
    with pytest.raises(InputError, match="the training that goes on began without it"):
        train(tmp_path / "plain", pretrained=path, checkpoint=tmp_path / "plain" / "last.ckpt")
    content = torch.load(path, weights_only=True)
    content["callbacks"]["FineTuning"] = {"taken": ["network.body.stem.weight", "loss.weight"]}
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match="none of this network"):
        train(tmp_path / "odd", pretrained=path, checkpoint=tmp_path / "odd.ckpt")


class Payload:
    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.mark.slow
def test_on_the_command_line(tmp_path, capsys, caplog, monkeypatch):
    """Three families from a network of four that ships; ``provenance.json`` has the hash; no payload is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESHCONV_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO)
    for path in write_shapes("all", train=2, test=1, seed=5):
        if path.parents[1].name.startswith("ridges"):
            target = Path("meshes", *path.parts[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    command = ["fit", "--config", "classify", "--data.init_args.root", "meshes", "--data.init_args.variants", "0",
               "--data.init_args.augment", "null", "--data.init_args.val_fraction", "0", "--trainer.accelerator", "cpu",
               "--trainer.max_epochs", "1", "--model.init_args.freeze", "true",
               "--model.init_args.options", "{channels: 8, max_order: 2, blocks: 3}"]  # fmt: skip
    assert main([*command, "--model.init_args.pretrained", "shapes"]) == 0
    log = Path("runs/classify/log.txt").read_text()
    assert "pretrained shapes: " in log and "fresh: network.head.1.weight [3, " in log
    made = json.loads(Path("runs/classify/provenance.json").read_text())
    assert len(made["hashes"]["pretrained"]) == 32
    assert main([*command, "--model.init_args.pretrained", "shapes", "--resume", "--trainer.max_epochs", "2"]) == 0
    assert "pretrained" in Path("runs/classify/config.yaml").read_text()
    Path("evil.ckpt").write_bytes(pickle.dumps({"state_dict": {}, "hyper_parameters": {"x": Payload("touched")}}))
    capsys.readouterr()
    assert main([*command, "--model.init_args.pretrained", "evil.ckpt", "--name", "evil"]) == 2
    assert "evil.ckpt: not a readable checkpoint" in capsys.readouterr().err and not Path("touched").exists()
