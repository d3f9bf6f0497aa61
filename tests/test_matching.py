"""Checkpoints on data of other classes, fields and preparation: matched by name, or one line; never another number."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import trimesh
import xarray as xr

from meshconv import FieldType, HealpixSphere, InputError
from meshconv.cli import main
from meshconv.datasets import SphereMaps, SurfaceBatch
from meshconv.train import ForecastTask, RegressionTask, load_task
from meshconv.train.checkpoints.matching import TargetMatch, check_network, combine

COMMON = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--data.init_args.cache", "false"]
PLAIN = ["--data.init_args.variants", "0", "--data.init_args.augment", "null", "--data.init_args.val_fraction", "0"]


def shape(kind, k):
    if kind == "ball":
        mesh = trimesh.creation.icosphere(2)
    else:
        mesh = trimesh.creation.box().subdivide().subdivide()
    mesh.vertices = mesh.vertices * [1, 1 + 0.02 * k, 1]
    return mesh


def folder(root, classes):
    for name, kind in classes.items():
        (root / name).mkdir(parents=True)
        for k in range(5):
            shape(kind, k).export(root / name / f"{k}.ply")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network that tells balls from boxes; its classes are called so in this order, and a third never mattered."""
    place = tmp_path_factory.mktemp("run")
    root = folder(place / "data", {"a_ball": "ball", "b_box": "box", "c_ball": "ball"})
    for k in range(5):
        shape("ball", k).apply_scale([1, 1, 3]).export(root / "c_ball" / f"{k}.ply")
    options = ["--model.init_args.options", '{"channels": 6, "blocks": 1, "max_order": 1}']
    args = [
        "fit",
        "--config",
        "classify",
        "--data.init_args.root",
        str(root),
        "--runs",
        str(place),
        *COMMON,
    ]
    args += [*PLAIN, *options, "--trainer.max_steps", "40", "--model.init_args.learning_rate", "0.03"]
    assert main(args) == 0
    return place / "classify"


def command(run, name, *more):
    return [name, "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt"), *COMMON, *more]


def numbers_of(run, tmp_path, root, capsys, *more):
    args = command(run, "test", "--data.init_args.root", str(root), "--runs", str(tmp_path / "out"), *more)
    status = main(args)
    if status:
        return capsys.readouterr().err.strip().splitlines()[-1]
    return json.loads((tmp_path / "out" / "classify" / "test_metrics.json").read_text())


def test_classes_are_matched_by_name(run, tmp_path, capsys):
    """Without the first class, and with another folder's numbers: accuracy is that of the predictions."""
    root = folder(tmp_path / "bc", {"b_box": "box", "c_ball": "ball"})
    for k in range(5):
        shape("ball", k).apply_scale([1, 1, 3]).export(root / "c_ball" / f"{k}.ply")
    found = numbers_of(run, tmp_path, root, capsys)
    assert found["accuracy"] == 1
    assert [row["name"] for row in found["classes"]] == ["a_ball", "b_box", "c_ball"]
    assert [row["recall"] for row in found["classes"]] == [None, 1, 1]


def test_a_swap_of_names_is_a_swap_of_numbers(run, tmp_path, capsys):
    """Boxes in the folder of balls and the other way round are all wrong, by the names of the folders."""
    found = numbers_of(run, tmp_path, folder(tmp_path / "ab", {"a_ball": "box", "b_box": "ball"}), capsys)
    assert found["accuracy"] == 0


@pytest.mark.parametrize("name", ["fit", "validate", "test"])
def test_unknown_classes_are_one_line(run, tmp_path, capsys, name):
    root = folder(tmp_path / "bd", {"b_box": "box", "d_new": "ball"})
    assert main(command(run, name, "--data.init_args.root", str(root), "--runs", str(tmp_path))) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the data have d_new as well" in line
    assert str(run / "last.ckpt") in line


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data.init_args.resolution", "0.1"], "trained with resolution 0.05, the data have 0.1"),
        (["--data.init_args.transport", "normal_aligning"], "trained with transport levi_civita"),
        (["--data.init_args.features", "[default]"], "trained with features"),
        (["--model.init_args.options", '{"channels": 8, "blocks": 1, "max_order": 1}'], "has channels 6, here it is 8"),
        (["--model.init_args.options", '{"channels": 6, "blocks": 1}'], "has max_order 1, here it is 2"),
        (["--model.init_args.network", "PointwiseClassifier"], "has the network ShapeClassifier"),
    ],
)
@pytest.mark.parametrize("name", ["fit", "test"])
def test_what_a_network_cannot_change_is_one_line(run, tmp_path, capsys, name, more, said):
    assert main(command(run, name, *more, "--runs", str(tmp_path))) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert said in err[-1]
    assert not any("Traceback" in line for line in err)


def test_training_goes_on_with_some_of_the_classes(run, tmp_path):
    """They keep their numbers, and the classes of the first training stand in the new checkpoint."""
    root = folder(tmp_path / "ba", {"b_box": "box", "c_ball": "ball"})
    more = [
        "--trainer.max_steps",
        "42",
        "--data.init_args.root",
        str(root),
        "--model.init_args.class_weights",
        "balanced",
    ]
    assert main(command(run, "fit", *more, "--runs", str(tmp_path))) == 0
    task = load_task(tmp_path / "classify" / "last.ckpt")
    assert task.hparams["class_names"] == ["a_ball", "b_box", "c_ball"]
    assert task.loss.weight.tolist() == [0, 1, 1]


SPEC = {"data": "a.Segments", "element": "faces", "class_values": [3, 5], "rings": 2, "on_defect": "repair"}
HPARAMS = {"in_type": "2x0", "class_names": ["a", "b"], "field_names": None, "spec": SPEC}


def given(**changed):
    return {**HPARAMS, **changed}


def test_values_of_labels_may_differ_names_and_elements_may_not():
    spec = {**SPEC, "class_values": [1], "on_defect": "error"}
    found = combine(HPARAMS, given(class_names=["b"], spec=spec))
    assert found["class_names"] == ["a", "b"]
    assert found["spec"]["class_values"] == [3, 5]
    assert found["spec"]["on_defect"] == "error"
    for changed, said in (
        ({"spec": {**SPEC, "element": "edges"}}, "element faces, the data have edges"),
        ({"spec": {**SPEC, "rings": None, "nearest": 8}}, "rings 2"),
        ({"spec": {**SPEC, "data": "a.Folder"}}, "trained on a.Segments, the data are a.Folder"),
        ({"class_names": ["b", "c"]}, "the data have c as well"),
        ({"in_type": "3x0"}, "inputs 2x0"),
    ):
        with pytest.raises(InputError, match=said):
            combine(HPARAMS, given(**changed))


def test_categories_of_a_correspondence_are_any():
    """The task has none, so those of the data are not compared."""
    trained = {"in_type": "2x0", "spec": {"data": "a.Pairs"}}
    assert combine(trained, given(class_names=["dog"], spec={"data": "a.Pairs"}))["class_names"] is None


def test_options_that_are_left_out_have_their_defaults():
    trained = {"network": "ShapeClassifier", "options": {"channels": 16, "blocks": 2}}
    check_network(trained, {"network": "ShapeClassifier", "options": {"blocks": 2}})
    with pytest.raises(InputError, match="blocks 2, here it is 4"):
        check_network(trained, {"network": "ShapeClassifier"})


def test_what_gives_outputs_their_meaning_cannot_be_changed():
    trained = {"network": "FieldUNet", "residual": True}
    check_network(trained, {"network": "FieldUNet", "residual": False})
    check_network(trained, {"network": "FieldUNet", "residual": True}, RegressionTask.kept)
    with pytest.raises(InputError, match="residual True, here it is False"):
        check_network(trained, {"network": "FieldUNet", "residual": False}, ForecastTask.kept)


class Fields:
    def __init__(self, names, out_type):
        self.field_names, self.out_type = names, FieldType(out_type)


def test_fields_are_matched_by_name():
    """In another order and without one: what is there stands in its place, the rest is unknown."""
    hparams = {"field_names": ["p", "q", "u", "v"], "spec": {"out_type": "2x0 + 2x1"}}
    match = TargetMatch.of(hparams, Fields(["q", "v", "u"], "1x0 + 2x1"))
    # Of the data: q, the first components of v and u, the second ones.
    batch = SurfaceBatch(torch.zeros(1, 1), None, torch.tensor([[1.0, 2, 3, 4, 5]]), None, ["x"])
    found = match(batch).target[0]
    assert found[0].isnan()
    assert found[1:].tolist() == [1, 3, 2, 5, 4]
    with pytest.raises(InputError, match="field u had 2 components"):
        TargetMatch.of(hparams, Fields(["u"], "1x0"))
    with pytest.raises(InputError, match="the data have w as well"):
        TargetMatch.of(hparams, Fields(["w"], "1x0"))


def write_maps(path, shift=0.0, units="K"):
    lat, lon = 90 - 10 * (np.arange(18) + 0.5), 10.0 * np.arange(36)
    field = np.sin(np.radians(lat))[:, None] + 0.5 * np.cos(np.radians(lat))[:, None] * np.cos(np.radians(lon))
    label = (field > 0).astype("int8")
    dims = ("time", "lat", "lon")
    variables = {
        "t": (dims, np.stack([field + shift] * 6), {"units": units}),
        "label": (dims, np.stack([label] * 6), {"flag_values": [0, 1], "flag_meanings": "cold warm"}),
    }
    xr.Dataset(variables, {"lat": lat, "lon": lon}).to_netcdf(path)
    return path


def test_maps_are_normalised_as_in_training(tmp_path):
    """A test on warmer maps sees them as warmer; other units are an error."""
    maps = {"label": "label", "scalars": ["t"], "nside": 4, "num_levels": 1, "cache": False}
    first = SphereMaps(str(write_maps(tmp_path / "a.nc")), **maps)
    other = SphereMaps(str(write_maps(tmp_path / "b.nc", shift=5.0)), **maps)
    before = other.sample(0, "test")[0]
    torch.testing.assert_close(before, first.sample(0, "test")[0])
    other.take_statistics(first.spec)
    std = first.inputs.statistics[0]["std"]
    torch.testing.assert_close(other.sample(0, "test")[0], before + 5 / std)
    wrong = SphereMaps(str(write_maps(tmp_path / "c.nc", units="m")), **maps)
    with pytest.raises(InputError, match="was trained on"):
        wrong.take_statistics(first.spec)


def test_a_regression_keeps_its_units_when_it_goes_on(tmp_path):
    """The mean that its outputs are measured from belongs to its weights."""
    import lightning
    from torch.utils.data import DataLoader

    class Data(lightning.LightningDataModule):
        field_names, out_type = ["p"], FieldType("1x0")

        def __init__(self, mean):
            super().__init__()
            self.target_statistics = torch.tensor([mean]), torch.tensor([2.0])

        def train_dataloader(self):
            sphere = HealpixSphere(2).hierarchy(1).to(torch.float32)
            batch = SurfaceBatch(torch.zeros(48, 1), sphere, torch.ones(48, 1), None, ["x"])
            return DataLoader([batch], batch_size=None)

    def task():
        spec = {"out_type": "1x0"}
        return RegressionTask("FieldUNet", "1x0", ["p"], spec, {"channels": [2], "max_order": 1, "context": 0})

    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False, "enable_model_summary": False}
    first = lightning.Trainer(max_steps=1, enable_checkpointing=False, **quiet)
    first.fit(task(), datamodule=Data(10.0))
    first.save_checkpoint(tmp_path / "x.ckpt")
    again = task()
    lightning.Trainer(max_steps=2, enable_checkpointing=False, **quiet).fit(
        again, datamodule=Data(-70.0), ckpt_path=tmp_path / "x.ckpt"
    )
    assert float(again.mean[0]) == 10
