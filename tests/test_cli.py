"""The command line, end to end: what a user types, what they get, and what bad input says."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from meshconv import Neighbourhood
from meshconv.cli import main
from meshconv.datasets import Preparation, collate, prepare_mesh, write_shapes
from meshconv.ops import BACKEND, GEOMETRY_OPERATORS, OPERATORS, has_kernel
from meshconv.shipped import find_data
from meshconv.testing import gauge_equivariance_error
from meshconv.train import load_task

SMALL = ["--model.init_args.options", '{"channels": 4, "blocks": 1, "width": 16}']


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes") / "set", train=3, test=1, seed=1)[0].parents[2]


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    """A run of two epochs on generated meshes."""
    runs = tmp_path_factory.mktemp("runs")
    assert main([*mesh_arguments("fit", shapes, runs), "--trainer.max_epochs", "2"]) == 0
    return runs / "classify"


@pytest.fixture(scope="module")
def climate(tmp_path_factory):
    """A run of two steps on the climate set."""
    runs = tmp_path_factory.mktemp("runs")
    options = '{"channels": [2, 2], "max_order": 1}'
    arguments = ["--trainer.max_epochs", "2", "--model.init_args.options", options, *common(runs)]
    assert main(["fit", "--config", "climate_koeppen", *arguments]) == 0
    return runs / "climate_koeppen"


def common(runs):
    return ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--runs", str(runs)]


def mesh_arguments(command, root, runs):
    config = ["--config", "classify", "--data.init_args.root", str(root), "--data.init_args.variants", "1"]
    return [command, *config, *SMALL, *common(runs)]


def error_of(capsys, arguments):
    """The one line that bad input prints."""
    assert main(arguments) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert err[-1].startswith("meshconv: error: ")
    assert not any("Traceback" in line for line in err)
    return err[-1]


def test_a_run_keeps_checkpoint_metrics_and_configuration(trained):
    assert (trained / "last.ckpt").is_file()
    assert (trained / "config.yaml").is_file()
    rows = list(csv.DictReader((trained / "metrics.csv").read_text().splitlines()))
    assert any(row["train/loss"] for row in rows)
    assert any(row["val/accuracy"] for row in rows)
    log = (trained / "log.txt").read_text()
    assert "epoch 1: " in log
    assert "val/accuracy" in log


def test_callbacks_of_a_configuration_join_those_of_the_run(shapes, tmp_path):
    config = tmp_path / "early.yaml"
    stop = {"monitor": "train/loss", "mode": "max", "patience": 1, "check_on_train_epoch_end": True}
    callback = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stop}
    config.write_text(json.dumps({"trainer": {"callbacks": [callback], "max_epochs": 50}}))
    runs = tmp_path / "runs"
    assert main([*mesh_arguments("fit", shapes, runs), "--config", str(config)]) == 0
    log = next(runs.glob("*/log.txt")).read_text()
    assert (next(runs.glob("*/last.ckpt"))).is_file()
    assert "epoch 0" in log and "epoch 40" not in log


def test_the_saved_configuration_tests_the_run(trained, shapes, tmp_path, capsys):
    config = ["--config", str(trained / "config.yaml"), "--ckpt_path", str(trained / "last.ckpt")]
    assert main(["test", *config, *common(tmp_path)]) == 0
    assert "test/accuracy" in capsys.readouterr().out
    found = json.loads((tmp_path / "classify" / "test_metrics.json").read_text())
    assert found["classes"][0]["name"] == sorted(p.name for p in shapes.iterdir())[0]
    rows = list(csv.reader((tmp_path / "classify" / "confusion.csv").read_text().splitlines()))
    table = np.array([[float(v) for v in row[1:]] for row in rows[1:]])
    assert table.sum() == 8
    assert found["accuracy"] == pytest.approx(np.trace(table) / 8)
    assert (tmp_path / "classify" / "confusion.png").is_file()
    assert not (tmp_path / "classify" / "metrics.csv").exists()  # those of the training would be lost


def test_predict_meshes_skips_a_bad_one_and_counts_it(trained, shapes, tmp_path, capsys, caplog):
    folder = tmp_path / "mine"
    good = [next((family / "test").iterdir()) for family in sorted(shapes.iterdir())[:3]]
    folder.mkdir()
    for path in good:
        shutil.copy(path, folder / f"{path.parents[1].name}{path.suffix}")
    (folder / "broken.obj").write_text("v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n")
    caplog.set_level("WARNING")
    assert main(["predict", str(trained / "last.ckpt"), str(folder), "--output", str(tmp_path / "out")]) == 0
    assert "broken.obj" in caplog.text
    assert "1 of 4 files skipped" in caplog.text
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    full = json.loads((tmp_path / "out.json").read_text())
    assert len(rows) == 3
    assert len(full["skipped"]) == 1
    task = load_task(trained / "last.ckpt")
    for row, entry in zip(rows, full["predictions"], strict=True):
        with torch.no_grad():
            sample = prepare_mesh(row["file"], how=Preparation.from_spec(task.hparams["spec"]))
            expected = task(collate([sample])).softmax(-1)[0]
        names = task.hparams["class_names"]
        assert row["class"] == entry["class"] == names[int(expected.argmax())]
        torch.testing.assert_close(torch.tensor([entry["probabilities"][n] for n in names]), expected)
    strict = ["predict", str(trained / "last.ckpt"), str(folder), "--strict", "--output", str(tmp_path / "no")]
    assert "broken.obj" in error_of(capsys, strict)
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.slow
def test_predict_prepares_meshes_as_training_did(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("MESHCONV_CACHE", str(tmp_path / "cache"))
    given = ["--data.init_args.radius", "0.2", "--data.init_args.on_defect", "drop", "--data.init_args.workers", "0"]
    assert main([*mesh_arguments("fit", shapes, tmp_path), *given, "--trainer.max_epochs", "1"]) == 0
    task = load_task(tmp_path / "classify" / "last.ckpt")
    near = Neighbourhood(radius=0.2)
    how = Preparation("levi_civita", "drop", near, ("surface",), max_faces=20000, resolution=0.05)
    assert task.hparams["spec"] == {"data": "meshconv.datasets.MeshFolder", **how.spec}
    kept = len(list((tmp_path / "cache").iterdir()))
    assert kept == 24 + 16  # meshes for training and validation, and a variant of each for training
    mesh = next((sorted(shapes.iterdir())[0] / "test").iterdir())
    predict = ["predict", str(tmp_path / "classify" / "last.ckpt"), str(mesh), "--output", str(tmp_path / "out")]
    assert main(predict) == main([*predict, "--cache", "false", "--workers", "0"]) == 0
    with torch.no_grad():
        expected = task(collate([prepare_mesh(mesh, how=how)])).softmax(-1)[0]
    (entry,) = json.loads((tmp_path / "out.json").read_text())["predictions"]
    torch.testing.assert_close(torch.tensor(list(entry["probabilities"].values())), expected)
    assert len(list((tmp_path / "cache").iterdir())) == kept + 1  # one more, of the run with a cache
    assert main([*predict, "--cache", str(tmp_path / "mine")]) == 0
    assert len(list((tmp_path / "mine").iterdir())) == 1


def test_a_trained_network_is_equivariant(trained, climate, shapes):
    task = load_task(trained / "last.ckpt")
    how = Preparation.from_spec(task.hparams["spec"])
    sample = prepare_mesh(next((sorted(shapes.iterdir())[0] / "test").iterdir()), how=how)
    assert gauge_equivariance_error(task.network, sample.surface.to(torch.float64), x=sample.x) < 1e-5


def test_predict_writes_a_labelled_map(climate, tmp_path):
    output = tmp_path / "map"
    assert main(["predict", str(climate / "last.ckpt"), "koeppen_hp64.nc", "--output", str(output)]) == 0
    assert (tmp_path / "map.png").stat().st_size > 20000
    with xr.open_dataset(tmp_path / "map.nc") as found:
        labels = [v for v in found.data_vars.values() if "flag_meanings" in v.attrs]
        assert len(labels) == 1
        assert labels[0].size == 49152
        assert len(labels[0].attrs["flag_meanings"].split()) == 14
        probabilities = next(v for v in found.data_vars.values() if v.ndim == 2)
        total = probabilities.sum(dim=[d for d in probabilities.dims if d != labels[0].dims[0]])
        land = xr.load_dataset(find_data("koeppen_hp64.nc"))["land_fraction"].values > 0  # the domain
        assert (np.isfinite(labels[0].values) == land).all()
        np.testing.assert_allclose(total.values[land], 1, atol=1e-3)


def test_info_names_the_backend(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "torch" in out
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    names = torch._C._dispatch_get_all_op_names()
    registered = {name.removeprefix("meshconv::") for name in names if name.startswith("meshconv::")}
    assert set(rows) == set(OPERATORS) >= registered - {"dirichlet_solve"}  # which is scipy's, without a kernel
    for name, row in rows.items():
        for device in ("cpu", "cuda"):
            there = name in registered and torch._C._dispatch_has_kernel_for_dispatch_key(
                f"meshconv::{name}", device.upper()
            )
            assert (f"{device}: compiled" in row) == there
        assert ("cuda" in row) == (name not in GEOMETRY_OPERATORS)


def test_a_kernel_that_is_not_there_is_not_claimed():
    """The dispatcher is asked, not what the library was built with."""
    assert not has_kernel("no_such_operator", "cpu") and not has_kernel("geodesics", "cuda")
    assert has_kernel("gauge_conv", "cpu") == ("cpu" in BACKEND.devices)


def test_help_and_unknown_command(capsys):
    assert main([]) == 0
    assert "predict" in capsys.readouterr().out
    assert main(["trian"]) == 2
    assert "'trian'" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_error():
    words = [sys.executable, "-m", "meshconv", "models"]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    command.stdout.close()  # as head does
    with command.stderr as said:
        assert said.read() == b""
    assert command.wait() == 141


def test_generate_names_what_there_is(capsys):
    assert "shallow_wter" in error_of(capsys, ["generate", "shallow_wter", "out"])


def test_bad_mesh_folders(shapes, tmp_path, capsys):
    empty, single, loose = tmp_path / "empty", tmp_path / "single", tmp_path / "loose"
    (empty / "a").mkdir(parents=True)
    family = sorted(shapes.iterdir())[0]
    shutil.copytree(family, single / "only")
    shutil.copytree(family / "train", loose)
    runs = tmp_path / "runs"
    missing = error_of(capsys, mesh_arguments("fit", tmp_path / "nowhere", runs))
    assert "nowhere" in missing
    assert "not a folder" in missing
    assert "no meshes" in error_of(capsys, mesh_arguments("fit", empty, runs))
    assert "at least two classes, these have only" in error_of(capsys, mesh_arguments("fit", single, runs))
    assert "3 lie directly in it" in error_of(capsys, mesh_arguments("fit", loose, runs))


def test_strict_training_stops_at_a_bad_mesh(shapes, tmp_path, capsys):
    root = tmp_path / "set"
    shutil.copytree(shapes, root)
    bad = sorted(root.iterdir())[0] / "train" / "bad.off"
    bad.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n")
    arguments = [*mesh_arguments("fit", root, tmp_path / "runs"), "--trainer.max_epochs", "1"]
    assert "bad.off" in error_of(capsys, [*arguments, "--data.init_args.strict", "true"])
    assert main(arguments) == 0


@pytest.mark.parametrize("name", ["ShapeClasifier", "GaugeConv"])
def test_unknown_network(shapes, tmp_path, capsys, name):
    arguments = [*mesh_arguments("fit", shapes, tmp_path), "--model.init_args.network", name]
    assert name in error_of(capsys, arguments)


def test_unknown_network_option(shapes, tmp_path, capsys):
    arguments = mesh_arguments("fit", shapes, tmp_path)
    assert "'chanels'" in error_of(capsys, [*arguments, "--model.init_args.options", '{"chanels": 3}'])


def test_checkpoints_that_cannot_be_used(trained, climate, shapes, tmp_path, capsys):
    mesh = str(next((sorted(shapes.iterdir())[0] / "test").iterdir()))
    assert "no such checkpoint" in error_of(capsys, ["predict", str(tmp_path / "x.ckpt"), mesh])
    again = ["test", "--config", str(trained / "config.yaml"), "--ckpt_path", str(tmp_path / "x.ckpt")]
    assert "x.ckpt: no such checkpoint" in error_of(capsys, again)
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    assert "text.ckpt: not a readable checkpoint" in error_of(capsys, ["predict", str(tmp_path / "text.ckpt"), mesh])
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    assert "something else" in error_of(capsys, ["predict", str(tmp_path / "other.ckpt"), mesh])
    assert "trained on maps" in error_of(capsys, ["predict", str(climate / "last.ckpt"), mesh])
    wrong = error_of(capsys, ["predict", str(trained / "last.ckpt"), str(find_data("koeppen_hp64.nc"))])
    assert "trained on meshes" in wrong
    assert "koeppen_hp64.nc" in wrong
    content = torch.load(trained / "last.ckpt", weights_only=True)
    content["state_dict"].popitem()
    torch.save(content, tmp_path / "cut.ckpt")
    assert "do not fit" in error_of(capsys, ["predict", str(tmp_path / "cut.ckpt"), mesh])


def test_bad_files_to_predict(trained, climate, tmp_path, capsys):
    checkpoint = str(trained / "last.ckpt")
    assert "no such file" in error_of(capsys, ["predict", checkpoint, str(tmp_path / "no.obj")])
    (tmp_path / "empty.ply").write_bytes(b"")
    assert "empty.ply" in error_of(capsys, ["predict", checkpoint, str(tmp_path / "empty.ply")])
    (tmp_path / "nothing").mkdir()
    assert "no mesh files" in error_of(capsys, ["predict", checkpoint, str(tmp_path / "nothing")])
    with xr.open_dataset(find_data("koeppen_hp64.nc")) as source:
        source = source.drop_encoding()
        source.drop_vars("tp").to_netcdf(tmp_path / "dry.nc")
        source.isel({source["t2m"].dims[-1]: slice(0, 49000)}).drop_vars("cell_ids").to_netcdf(tmp_path / "part.nc")
    map_checkpoint = str(climate / "last.ckpt")
    missing = error_of(capsys, ["predict", map_checkpoint, str(tmp_path / "dry.nc")])
    assert "dry.nc" in missing
    assert "tp" in missing
    assert "49000" in error_of(capsys, ["predict", map_checkpoint, str(tmp_path / "part.nc")])
    ring = error_of(capsys, ["predict", map_checkpoint, "koeppen_hp64.nc", "--pixel_order", "ring"])
    assert "koeppen_hp64.nc" in ring
    assert "nested" in ring


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="no such checkpoint"):
        main(["predict", str(tmp_path / "x.ckpt"), "mesh.obj", "--debug"])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no folder in which none can be made")
def test_a_folder_that_cannot_be_made_is_one_line(capsys):
    assert main(["export", "shapes", "--to", "torch", "--output", "/proc/none"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "meshconv: error: /proc/none: No such file or directory; see to space and permissions there"
    )
