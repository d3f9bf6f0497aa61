"""Runs on folders with less than a training has, and options, checkpoints and places that are not right: one line."""

from __future__ import annotations

import shutil

import pytest
import torch
import trimesh

from meshconv import InputError
from meshconv.cli import main
from meshconv.datasets import MeshFolder
from meshconv.train import Predictor, load_task

PLAIN = ["--data.init_args.variants", "0", "--data.init_args.augment", "null", "--data.init_args.val_fraction", "0"]
OPTIONS = ["--model.init_args.options", '{"channels": 4, "blocks": 1, "max_order": 1}', "--trainer.max_steps", "2"]
HERE = ["--data.init_args.cache", "false", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    for name in ("ball", "box"):
        (root / name).mkdir()
        for k in range(4):
            mesh = trimesh.creation.icosphere(1) if name == "ball" else trimesh.creation.box().subdivide()
            mesh.vertices = mesh.vertices * [1, 1 + 0.02 * k, 1]
            mesh.export(root / name / f"{k}.ply")
    return root


def fit(root, runs, *more):
    given = ["--data.init_args.root", str(root), "--runs", str(runs), *PLAIN, *OPTIONS, *HERE, *more]
    return ["fit", "--config", "classify", *given]


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main(fit(shapes, runs)) == 0
    return runs / "classify"


def command(run, name, runs, *more):
    checkpoint = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt")]
    return [name, *checkpoint, "--runs", str(runs), *HERE, *more]


def refused(capsys, args):
    assert main([str(arg) for arg in args]) == 2
    (line,) = [text for text in capsys.readouterr().err.strip().splitlines() if not text.startswith("skipped: ")]
    return line.removeprefix("meshconv: error: ")


@pytest.mark.parametrize("place", ["box", "box/test"])
def test_a_folder_of_one_class_can_be_tested(run, shapes, tmp_path, place):
    """Also without a mesh for training; the class keeps its number."""
    shutil.copytree(shapes / "box", tmp_path / "one" / place)
    assert main(command(run, "test", tmp_path, "--data.init_args.root", str(tmp_path / "one"))) == 0
    table = (tmp_path / "classify" / "confusion.csv").read_text().splitlines()
    assert table[0] == "truth,ball,box"
    assert table[1] == "ball,0,0"
    assert table[2] != "box,0,0"


def test_one_class_cannot_be_trained_on(shapes, tmp_path, capsys):
    shutil.copytree(shapes / "box", tmp_path / "one" / "box")
    assert "at least two classes, these have box" in refused(capsys, fit(tmp_path / "one", tmp_path))


def test_a_training_without_meshes_of_a_class_is_one_line(run, shapes, tmp_path, capsys):
    shutil.copytree(shapes / "box", tmp_path / "one" / "box" / "test")
    args = command(run, "fit", tmp_path, "--data.init_args.root", tmp_path / "one", "--trainer.max_steps", "4")
    assert "no training mesh is left for class 'box'" in refused(capsys, args)
    assert MeshFolder(str(tmp_path / "one")).class_counts.tolist() == [0]


def test_a_validation_of_nothing_is_no_success(run, tmp_path, capsys):
    assert "no validation split; set val_fraction" in refused(capsys, command(run, "validate", tmp_path))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--model.init_args.learning_rate", "nan"], "model.learning_rate: expected float. Got value: nan"),
        (["--model.init_args.learning_rate", "-1"], "learning_rate -1.0 is not a number"),
        (["--model.init_args.weight_decay", ".inf"], "weight_decay inf is not a number"),
        (["--trainer.precision", "8-true"], "trainer.precision: expected int, expected Literal['"),
        (["--trainer.foo", "1"], "unrecognized arguments: --trainer.foo 1"),
        (["--data.init_args.batch_size", "x"], "data.batch_size: expected int. Got value: x"),
        (["--data.init_args.batch_size", "null"], "data.init_args.batch_size: null is no value of it; leave"),
        (["--model.init_args.label_smoothing", "null"], "model.init_args.label_smoothing: null is no value of it"),
        (["--data.class_path", "meshconv.datasets.Nope"], "data: No meshconv.datasets attribute Nope"),
        (["--trainer.devices", "0"], "trainer: `Trainer(devices"),
        (["--trainer.strategy", "nope"], "trainer: You selected an invalid strategy name"),
        (["--config", "README.md"], ""),
    ],
)
def test_bad_options_are_one_line(shapes, tmp_path, capsys, more, says):
    line = refused(capsys, fit(shapes, tmp_path, *more))
    assert line.startswith(says)
    assert "NestedArg" not in line


def test_a_configuration_that_is_no_text(run, capsys):
    assert "the file is no text" in refused(capsys, ["fit", "--config", run / "last.ckpt"])
    assert "give a configuration with --config" in refused(capsys, ["test"])


@pytest.mark.parametrize("name", ["fit", "test"])
def test_a_checkpoint_of_another_task_is_one_line(run, tmp_path, capsys, name):
    """Its network alone would fit."""
    args = command(run, name, tmp_path, "--model.class_path", "meshconv.train.SegmentationTask")
    assert "a checkpoint of meshconv.train.ClassificationTask, not of meshconv.train.Seg" in refused(capsys, args)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"class_names": ["a", "a"]}, "is not a list of names, each once"),
        ({"spec": {"data": "meshconv.datasets.MeshFolder", "num_levels": 10**6}}, "num_levels 1000000 has to be 1 to"),
        ({"learning_rate": "x"}, "no task can be made"),
    ],
)
def test_checkpoints_with_other_hyperparameters(run, tmp_path, change, says):
    content = torch.load(run / "last.ckpt", weights_only=True)
    content["hyper_parameters"] |= change
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=says):
        load_task(tmp_path / "x.ckpt")


LOOPS = ("loops", "fit_loop")
MOMENTS = ("optimizer_states", 0, "state", 0)
CYCLE = ("lr_schedulers", 0)
ALTERED = [
    (("epoch",), 7, "epoch 7 contradicts the 2 epochs of its loops"),
    ((*LOOPS, "epoch_progress", "total", "ready"), 9, "do not follow"),
    (("epoch",), None, "epoch None is no whole number"),
    (("global_step",), 3, "global_step 3 contradicts the 2 steps"),
    (("global_step",), float("nan"), "global_step nan is no whole number"),
    (("pytorch-lightning_version",), 7, "pytorch-lightning_version 7 is no version"),
    (("loops",), {}, "does not say how far the training was"),
    (("loops",), None, "loops is 'None', no count"),
    ((*LOOPS, "epoch_progress", "current", "processed"), -1, "current counts are above the total ones, or are none"),
    ((*LOOPS, "epoch_progress", "current", "processed"), 10**9, "current counts are above the total ones"),
    ((*LOOPS, "epoch_loop.batch_progress", "total", "ready"), 9, "do not follow"),
    ((*LOOPS, "epoch_loop.batch_progress", "is_last_batch"), "x", "is_last_batch is 'x', no count"),
    ((*LOOPS, "epoch_loop.state_dict"), {}, "_batches_that_stepped is missing"),
    ((*LOOPS, "epoch_loop.batch_progress"), {}, "epoch_loop.batch_progress.total is missing"),
    (("optimizer_states",), None, "optimizer_states is no list of states"),
    (("optimizer_states", 0, "state"), {}, "the moments are missing"),
    (MOMENTS, {}, "parameter 0 has no step, exp_avg and exp_avg_sq"),
    ((*MOMENTS, "exp_avg"), torch.zeros(3), "exp_avg is no tensor of"),
    ((*MOMENTS, "exp_avg"), torch.tensor(float("nan")), "exp_avg is not finite"),
    ((*MOMENTS, "step"), torch.tensor(1e9), "its step is not from 1 to 2"),
    (("lr_schedulers",), "x", "lr_schedulers is no list of states"),
    ((*CYCLE, "last_epoch"), 1.5, "step 1.5 of 2 is none of a cycle"),
    ((*CYCLE, "total_steps"), "x", "step 2 of 'x' is none of a cycle"),
    ((*CYCLE, "base_lrs"), [float("inf")], "base_lrs is inf"),
    (("callbacks",), [], "callbacks is no table of states"),
    (("state_dict",), {}, "Missing key"),
]


def altered(run, target, path, value):
    content = torch.load(run / "last.ckpt", weights_only=True)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    torch.save(content, target)
    return target


@pytest.mark.parametrize(
    ("path", "value", "says"), ALTERED, ids=[f"{p[-1]}-{k}" for k, (p, _, _) in enumerate(ALTERED)]
)
def test_no_training_goes_on_from_states_that_none_has_written(run, tmp_path, capsys, path, value, says):
    checkpoint = altered(run, tmp_path / "x.ckpt", path, value)
    args = command(run, "fit", tmp_path, "--ckpt_path", checkpoint, "--trainer.max_steps", "4")
    assert says in refused(capsys, args)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("optimizer_states", 0, "param_groups", 0, "lr"), 1e30),
        (("optimizer_states", 0, "param_groups", 0, "betas"), None),
        ((*CYCLE, "_schedule_phases"), []),
        ((*CYCLE, "base_lrs"), [1e9]),
    ],
)
def test_rates_and_options_are_those_of_this_training(run, tmp_path, path, value):
    """Whatever a checkpoint has in their place: the same weights in the end."""
    found = []
    for name, checkpoint in (("as", run / "last.ckpt"), ("altered", altered(run, tmp_path / "x.ckpt", path, value))):
        more = ["--ckpt_path", str(checkpoint), "--trainer.max_steps", "3", "--name", name]
        assert main(command(run, "fit", tmp_path, *more)) == 0
        found.append(torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_places_and_inputs_of_a_prediction(run, shapes, tmp_path, capsys):
    mesh, checkpoint, empty = shapes / "box" / "0.ply", run / "last.ckpt", tmp_path / "empty"
    empty.mkdir()
    predict = ["predict", checkpoint, mesh, "--cache", "false", "--workers", "0"]
    assert "takes none; leave it out" in refused(capsys, [*predict, "--template", mesh])
    assert "device 'meta' cannot be used" in refused(capsys, [*predict, "--device", "meta"])
    assert refused(capsys, ["predict", checkpoint, empty]).startswith(f"{empty}: no mesh files below it; meshes are")
    strict = ["predict", checkpoint, mesh, empty, "--strict"]
    assert refused(capsys, strict).startswith(f"{empty}: no mesh files below it")
    predictor = Predictor(checkpoint, "cpu", cache=False, workers=0)
    assert predictor([mesh, empty]).skipped == [f"{empty}: no mesh files below it"]


def test_a_place_that_takes_no_files(run, shapes, capsys):
    """Folders of the kernel exist and take none."""
    args = ["predict", run / "last.ckpt", shapes / "box" / "0.ply", "--output", "/proc/x", "--cache", "false"]
    assert refused(capsys, args).startswith("/proc/x.csv: ")
