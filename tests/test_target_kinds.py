"""Every task with every data module: those that fit each other train, the others are refused in one line."""

from __future__ import annotations

import itertools

import pytest
import trimesh

from meshconv import InputError
from meshconv.cli import main
from meshconv.datasets import MeshCorrespondence
from meshconv.datasets.protocol import check_target
from meshconv.train import Task

TASKS = {
    "ClassificationTask": "a class for each mesh",
    "SegmentationTask": "a class for each element",
    "RegressionTask": "fields at the vertices",
    "CorrespondenceTask": "common points of meshes",
}
DATA = {
    "MeshFolder": ("a class for each mesh", ["--data.init_args.root", "x"]),
    "MeshSegments": ("a class for each element", ["--data.init_args.root", "x"]),
    "MeshFields": ("fields at the vertices", ["--data.init_args.root", "x", "--data.init_args.fields", "[p]"]),
    "MeshCorrespondence": ("common points of meshes", ["--data.init_args.root", "x"]),
    "SphereMaps": ("a class for each element or fields at the vertices",
                   ["--data.init_args.inputs", "x.nc", "--data.init_args.label", "l",
                    "--data.init_args.scalars", "[t]"]),
}  # fmt: skip


@pytest.mark.parametrize(("task", "data"), list(itertools.product(TASKS, DATA)))
def test_tasks_and_data(task, data, tmp_path, capsys):
    """Before any file is looked for: only what fits each other gets as far as the missing one."""
    kind, options = DATA[data]
    fit = ["fit", "--model", f"meshconv.train.{task}", "--model.init_args.network", "ShapeUNet"]
    assert main([*fit, "--runs", str(tmp_path), "--data", f"meshconv.datasets.{data}", *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    if TASKS[task] in kind.split(" or "):
        assert line.startswith("meshconv: error: x")
    else:
        said = f"{task} learns {TASKS[task]}, {data} has {kind}; use the configuration of one of them"
        assert line == f"meshconv: error: {said}"


def test_own_tasks_and_data_need_not_say_what_they_are_for():
    class Own(Task):
        pass

    class OwnData(MeshCorrespondence):
        target_kind = "something else"

    check_target(Own, MeshCorrespondence)
    with pytest.raises(InputError, match="Own2 learns common points of meshes, OwnData has something else"):
        check_target(type("Own2", (Own,), {"target_kind": "common points of meshes"}), OwnData)


NETWORKS = {"classify": ("ShapeUNet", "{channels: [4, 4], context: 0}"),
            "correspond": ("ShapeClassifier", "{channels: 4, blocks: 1}")}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_are_not_for_the_task(name, tmp_path, capsys):
    for k, place in enumerate(["a/1", "a/2", "b/1", "b/2"]):
        (tmp_path / "meshes" / place[0]).mkdir(parents=True, exist_ok=True)
        mesh = trimesh.creation.icosphere(2)
        mesh.vertices[:, 1] *= 1 + 0.1 * k
        mesh.export(tmp_path / "meshes" / f"{place}.ply")
    network, options = NETWORKS[name]
    levels = "2" if network == "ShapeUNet" else "1"
    more = ["--data.init_args.categories", "one"] if name == "correspond" else ["--data.init_args.variants", "0",
            "--data.init_args.augment", "null"]  # fmt: skip
    fit = ["fit", "--config", name, "--data.init_args.root", str(tmp_path / "meshes"), "--runs",
           str(tmp_path), "--model.init_args.network", network, "--model.init_args.options", options,
           "--data.init_args.num_levels", levels, "--data.init_args.cache", "false", "--trainer.max_steps", "1",
           "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", *more]  # fmt: skip
    assert main(fit) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"meshconv: error: the network {network} has outputs for [")
    if name == "correspond":
        assert main([*fit, "--data.init_args.resolution", "0.2", "--data.init_args.features", "[surface]"]) == 2
        assert "gives nothing at elements" in capsys.readouterr().err.strip().splitlines()[-1]
