"""Checkpoints of every task that are well-formed and wrong: one line before anything is read or predicted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from map_case import DIMS, maps, save, weather
from segments import body

from meshconv.cli import main
from meshconv.datasets import MapFields
from meshconv.datasets.class_path import class_path
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.errors import InputError
from meshconv.io import save_mesh
from meshconv.train import (
    ClassificationTask,
    CorrespondenceTask,
    ForecastTask,
    Predictor,
    ReconstructionTask,
    RegressionTask,
    SegmentationTask,
    ShapeRegressionTask,
)

SHAPE = {"channels": [2, 2], "max_order": 1, "context": 0}


def mesh_spec(data, **more):
    return {"data": f"meshconv.datasets.{data}", **Preparation(num_levels=2).spec, **more}


IN_TYPE = str(Preparation().in_type)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A task of each kind, with the specification that a data module writes."""
    place = tmp_path_factory.mktemp("maps")
    path, hourly = save(weather(), place / "w.nc"), weather()
    hourly["time"] = np.datetime64("2020-01-01", "ns") + np.arange(hourly.sizes["time"]) * np.timedelta64(6, "h")
    save(hourly, place / "h.nc")
    labelled, plain = maps(path, cache=False), {"label": None, "scalars": ["t"], "cache": False}
    same = maps(path, targets={"scalars": ["t"]}, **plain)
    splits = {"train": ["2020-01-01T00", "2020-01-02T06"]}
    ahead = maps(place / "h.nc", targets={"scalars": ["t"], "lead": "6h"}, splits=splits, **plain)
    field = MapFields(str(path), "t", nside=4, cache=False)
    segments = mesh_spec("MeshSegments", element="faces", class_values=[0, "b"])
    return {
        "segmentation": SegmentationTask("ShapeUNet", IN_TYPE, ["0", "b"], segments, SHAPE),
        "regression": RegressionTask("FieldUNet", IN_TYPE, ["p"], mesh_spec("MeshFields", out_type="1x0"), SHAPE),
        "correspondence": CorrespondenceTask("ShapeUNet", IN_TYPE, mesh_spec("MeshCorrespondence"), options=SHAPE),
        "maps": SegmentationTask("SphereUNet", str(labelled.in_type), labelled.class_names, labelled.spec,
                                 {"channels": [2, 2], "max_order": 1}),
        "map fields": RegressionTask("FieldUNet", str(same.in_type), same.field_names, same.spec, SHAPE),
        "forecast": ForecastTask("FieldUNet", str(ahead.in_type), ahead.field_names, ahead.spec, SHAPE),
        "reconstruction": ReconstructionTask(str(field.in_type), field.field_names, field.spec,
                                             options={"channels": [2, 2], "max_order": 1}),
    }  # fmt: skip


def content(task):
    about = {"task": class_path(type(task))}
    return {"hyper_parameters": copy.deepcopy(dict(task.hparams)), "state_dict": task.state_dict(), "meshconv": about}


KINDS = ["segmentation", "regression", "correspondence", "maps", "map fields", "forecast", "reconstruction"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_checkpoints_themselves_are_fine(tasks, tmp_path, kind):
    torch.save(content(tasks[kind]), tmp_path / "x.ckpt")
    assert Predictor(tmp_path / "x.ckpt", "cpu", cache=False).task.spec == tasks[kind].spec


GONE = object()
STATISTICS = ("inputs", "statistics", 0)
# Where in the specification, and what is put there: None of it is what a data module writes.
WRONG = {
    "segmentation": {
        ("element",): [GONE, None, "x", 3, ["faces"], torch.zeros(2)],
        ("class_values",): [GONE, None, "ab", [0], [0, 1.5], [0, None], [0, [1]], [0, torch.zeros(2)]],
        ("num_levels",): [GONE, True, 3, 10**9, "2"],
        ("rings",): [1.5, "x", True, -1],
    },
    "regression": {
        ("num_levels",): [GONE, 1],
        ("out_type",): [GONE, None, "2x0", "1x1", "x", [1]],
        ("resolution",): [True, "x", -1.0, float("nan")],
        ("features",): [["normals", "x"], "x", [], None],
    },
    "correspondence": {("num_levels",): [GONE, 3], ("max_faces",): [True, 1, "x"], ("transport",): [None, "x", ["x"]]},
    "maps": {
        ("dimension",): [GONE, 3, ["time"], True],
        ("class_values",): [GONE, None, ["0", "1"], [0.5, 1], [0]],
        ("inputs",): [GONE, None, [], "x"],
        ("inputs", "scalars"): [[], "t", [1], None, [["t"]], [{"name": 1}], [{"name": "t", "mean": 3}]],
        ("inputs", "vectors"): [[], [["u"]], 3, None],
        ("inputs", "nside"): [0, 3.5, "x", None, 10**9, True],
        ("inputs", "domain"): ["x", [1], {"lat": 3}, {}],
        ("inputs", "radius"): ["x", -1, float("nan"), []],
        ("inputs", "statistics"): [GONE, None, [], {}, "x", [{}]],
        STATISTICS: [None, [], {"mean": 0.0}],
        (*STATISTICS, "mean"): [GONE, None, "x", [1], float("nan"), torch.zeros(2), True],
        (*STATISTICS, "std"): [GONE, 0.0, -1.0, float("inf"), "x"],
        (*STATISTICS, "units"): [3, ["K"], True],
    },
    "map fields": {
        ("targets",): [None, [], "x"],
        ("targets", "state"): [GONE, None, [5], "x", [-1]],
        ("targets", "history"): [GONE, 0, 1.5, 2, True, "x"],
        ("targets", "scalars"): [[], ["u"], "t", None],
        ("targets", "statistics"): [GONE, None, [], [{}], [{"mean": 0.0, "std": 1.0}]],
        ("out_type",): ["1x1", "2x0"],
    },
    "forecast": {
        ("targets", "lead"): [[6], {"h": 6}, torch.zeros(2)],
        ("targets", "seconds"): [GONE, "x", -1, 0, float("nan")],
    },
    "reconstruction": {
        ("dimension",): [3, []],
        ("inputs", "scalars"): [[], None],
        ("inputs", "statistics"): [None, []],
    },
}
CASES = [(kind, place, value) for kind, places in WRONG.items() for place, values in places.items() for value in values]


@pytest.mark.parametrize(
    ("kind", "place", "value"), CASES, ids=[f"{kind}-{place[-1]}-{n}" for n, (kind, place, _) in enumerate(CASES)]
)
def test_specifications_that_no_data_module_writes(tasks, tmp_path, kind, place, value):
    saved = content(tasks[kind])
    inner = saved["hyper_parameters"]["spec"]
    for key in place[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    torch.save(saved, tmp_path / "x.ckpt")
    with pytest.raises(InputError) as error:
        Predictor(tmp_path / "x.ckpt", "cpu", cache=False)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "x.ckpt"))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_sizes(tasks, tmp_path, kind):
    """None, some missing, one not finite, another type, and channels that the weights do not have."""
    weights = tasks[kind].state_dict()
    first = next(name for name, value in weights.items() if value.is_floating_point() and value.numel() > 1)
    bad = torch.full_like(weights[first], float("nan"))
    channels = {**tasks[kind].hparams["options"], "channels": [100_000, 100_000]}
    for change in ({"state_dict": {}}, {"state_dict": {k: v for k, v in weights.items() if k != first}},
                   {"state_dict": {**weights, first: bad}}, {"state_dict": {**weights, first: torch.zeros(5)}},
                   {"hyper_parameters": {**tasks[kind].hparams, "options": channels}},
                   {"hyper_parameters": {**tasks[kind].hparams, "in_type": "1x0 + 5x1"}},
                   {"meshconv": {"task": "meshconv.train.ClassificationTask"}}):  # fmt: skip
        torch.save(content(tasks[kind]) | change, tmp_path / "x.ckpt")
        with pytest.raises(InputError) as error:
            Predictor(tmp_path / "x.ckpt", "cpu", cache=False)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("network", "was", "said"),
    [("ShapeRegressor", ShapeRegressionTask, RegressionTask), ("FieldUNet", RegressionTask, ShapeRegressionTask),
     ("ShapeClassifier", ClassificationTask, SegmentationTask), ("ShapeUNet", SegmentationTask, ClassificationTask)],
)  # fmt: skip
def test_a_checkpoint_that_confuses_meshes_with_their_vertices(tmp_path, capsys, network, was, said):
    """Numbers or classes of whole meshes taken for those of vertices, and the other way round: the rows are wrong."""
    whole = network.startswith(("ShapeR", "ShapeC"))
    targets = {"out_type": "2x0"} if issubclass(was, RegressionTask) else {"element": "vertices"}
    values = {"class_values": [0, 1]} if was is SegmentationTask else {}
    spec = {"data": "meshconv.datasets.MeshFields", **Preparation(num_levels=1 if whole else 2).spec, **targets}
    options = {"channels": 2, "blocks": 1, "width": 4} if whole else SHAPE
    right = content(was(network, IN_TYPE, ["a", "b"], {**spec, **values}, options))
    torch.save(right, tmp_path / "right.ckpt")
    wrong = copy.deepcopy(right) | {"meshconv": {"task": class_path(said)}}
    wrong["hyper_parameters"]["spec"] = {**spec, **({"class_values": [0, 1]} if said is SegmentationTask else {})}
    torch.save(wrong, tmp_path / "wrong.ckpt")
    mesh = body(0)
    save_mesh(mesh, tmp_path / "mesh.ply")
    words = [str(tmp_path / "mesh.ply"), "--cache", "false", "--workers", "0", "--output", str(tmp_path / "out")]
    assert main(["predict", str(tmp_path / "right.ckpt"), *words]) == 0
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "wrong.ckpt"), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("meshconv: error: ")
    found, wanted = (1, mesh.num_vertices) if whole else (mesh.num_vertices, 1)
    rows = f"the network has {found} rows of outputs where its task predicts {wanted}; use a checkpoint"
    assert (rows in line) != (said is SegmentationTask and "gives nothing at elements" in line), line


def test_numbers_of_meshes_have_no_direction_and_no_place(tmp_path):
    spec = {"data": "meshconv.datasets.MeshNumbers", **Preparation().spec, "out_type": "1x0"}
    options = {"channels": 2, "blocks": 1, "width": 4}
    task = ShapeRegressionTask("ShapeRegressor", IN_TYPE, ["a"], spec, options)
    for change in ({"element": "faces"}, {"tangent": False}, {"out_type": "0x0 + 1x1"}):
        wrong = content(task)
        wrong["hyper_parameters"]["spec"].update(change)
        torch.save(wrong, tmp_path / "x.ckpt")
        with pytest.raises(InputError, match=r"x\.ckpt: .*numbers of whole meshes"):
            Predictor(tmp_path / "x.ckpt", "cpu", cache=False)


@pytest.mark.slow
def test_no_command_takes_them(tmp_path, capsys):
    """Trained on maps, and altered: fit, validate, test and predict."""
    data = weather()
    data["event"] = DIMS, (data["t"].values > 280).astype(np.int16)
    path = save(data, tmp_path / "w.nc")
    options = ["--data.init_args.inputs", str(path), "--data.init_args.label", "event",
               "--data.init_args.scalars", "[t]",
               "--data.init_args.nside", "4", "--data.init_args.num_levels", "2", "--data.init_args.radius", "null",
               "--data.init_args.cache", "false", "--model.init_args.options", '{"channels": [2, 2], "max_order": 1}',
               "--trainer.accelerator", "cpu", "--runs", str(tmp_path)]  # fmt: skip
    assert main(["fit", "--config", "sphere_maps", *options, "--trainer.max_steps", "1"]) == 0
    assert not [p for p in tmp_path.iterdir() if p.name == "false"]
    capsys.readouterr()
    saved = torch.load(tmp_path / "sphere_maps" / "last.ckpt", weights_only=True)
    name = next(name for name, value in saved["state_dict"].items() if value.is_floating_point())
    changes = {
        "std 0.0": lambda c: c["hyper_parameters"]["spec"]["inputs"]["statistics"][0].update(std=0.0),
        "class_values": lambda c: c["hyper_parameters"]["spec"].update(class_values=["x", 1.5]),
        "not one of a meshconv task|something else than": lambda c: c.update(hyper_parameters={"spec": [1]}),
        f"{name} is not finite": lambda c: c["state_dict"].update({name: c["state_dict"][name] * np.nan}),
        "state_dict|weights|Missing key": lambda c: c.update(state_dict={}),
    }
    for said, change in changes.items():
        altered = copy.deepcopy(saved)
        change(altered)
        torch.save(altered, tmp_path / "x.ckpt")
        config = ["--config", str(tmp_path / "sphere_maps" / "config.yaml"), "--ckpt_path", str(tmp_path / "x.ckpt")]
        for command in (["fit", *config, "--trainer.max_steps", "3", "--name", "other"], ["validate", *config],
                        ["test", *config], ["predict", str(tmp_path / "x.ckpt"), str(path)]):  # fmt: skip
            assert main(command) == 2, (said, command)
            lines = capsys.readouterr().err.strip().splitlines()
            assert lines[-1].startswith(f"meshconv: error: {tmp_path / 'x.ckpt'}: "), lines
            assert any(part in lines[-1] for part in said.split("|")), lines
            assert not [line for line in lines if "Traceback" in line]
