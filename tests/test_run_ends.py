"""How commands end: Ctrl-C, full disks, precisions; tables that nothing runs; lines where there is no terminal."""

from __future__ import annotations

import csv
import json
import logging
import os
import resource
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import lightning
import pytest
import torch
import trimesh

from meshconv import InputError
from meshconv.cli import main
from meshconv.datasets import MeshFolder
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.tables import write_table
from meshconv.progress import Progress
from meshconv.train import Predictor

FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    for name in (FORMULA.replace("/", "_"), "ball"):
        (root / name).mkdir()
        for k in range(4):
            mesh = trimesh.creation.icosphere(1) if name == "ball" else trimesh.creation.box().subdivide()
            mesh.vertices = mesh.vertices * [1, 1 + 0.02 * k, 1]
            mesh.export(root / name / f"{k}.ply")
    return root


def fit(root, runs, *more):
    options = ["--model.init_args.options", '{"channels": 4, "blocks": 1, "max_order": 1}', "--trainer.max_steps", "2"]
    plain = ["--data.init_args.variants", "0", "--data.init_args.augment", "{}", "--data.init_args.val_fraction", "0"]
    args = ["--config", "classify", "--data.init_args.root", str(root), "--runs", str(runs), *plain]
    return ["fit", *args, *options, "--data.init_args.cache", "false", "--trainer.accelerator", "cpu", *more]


class Interrupt(lightning.Callback):
    """Ctrl-C in the second step."""

    def on_train_batch_end(self, *args):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupted_training_is_one_line_and_130(shapes, tmp_path, capsys):
    config = tmp_path / "interrupt.yaml"
    config.write_text(f"trainer: {{callbacks: [{{class_path: {__name__}.Interrupt}}]}}\n")
    before = signal.getsignal(signal.SIGINT)
    assert main([*fit(shapes, tmp_path / "runs"), "--config", str(config)]) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "meshconv: interrupted"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main(fit(shapes, runs, "--trainer.precision", "64-true")) == 0
    return runs / "classify"


def test_a_training_in_double_precision_has_double_weights(run):
    saved = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert {v.dtype for v in saved.values() if v.is_floating_point()} == {torch.float64}
    assert saved["network.stem.weight"].any() if "network.stem.weight" in saved else saved


@pytest.mark.parametrize("precision", ["bf16-true"])
def test_a_training_in_half_precision(shapes, tmp_path, precision):
    assert main(fit(shapes, tmp_path, "--trainer.precision", precision)) == 0
    saved = torch.load(tmp_path / "classify" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.bfloat16 in {v.dtype for v in saved.values()}


def test_predictions_from_python_take_text_and_tables_hold_no_formula(run, shapes, tmp_path):
    (table, _) = Predictor(str(run / "last.ckpt")).save(str(shapes), str(tmp_path / "out"))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 8
    named = next(p.name for p in shapes.iterdir() if p.name != "ball")
    assert {row["class"] for row in rows} <= {"ball", f"'{named}"}
    assert any(row["file"].endswith("0.ply") for row in rows)


@pytest.mark.parametrize("text", [FORMULA, "+1+cmd", "-1+cmd", "@SUM(A1)", "\tx", "\rx"])
def test_text_that_would_be_a_formula(tmp_path, text):
    write_table(tmp_path / "x.csv", ["name", text], [[text, -1.5], ["plain", "-1.5"]])
    with (tmp_path / "x.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["name", "'" + text], ["'" + text, "-1.5"], ["plain", "-1.5"]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "text", ["a;=cmd", "a;+1", "a;-x", "a; @SUM(A1)", "a\t=1", "\uff1d1", 'a;"=1', "b; \t=1", "a\n=1"]
)
def test_no_cell_is_a_formula_whatever_separates_cells(tmp_path, delimiter, text):
    write_table(tmp_path / "x.csv", ["name", "value"], [[text, -1.5], [text, "b"]])
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as stream:
        cells = [cell.strip(' "') for row in csv.reader(stream, delimiter=delimiter) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+@\t\uff1d" and cell]
    assert all(float(cell.split(",")[0]) for cell in cells if cell.startswith("-"))


@pytest.mark.parametrize("text", ["left-right", "a;b", "a = b", "x@y", "1e5", "-3", "runs/-x.ply"])
def test_plain_text_stays(tmp_path, text):
    write_table(tmp_path / "x.csv", ["name"], [[text]])
    with (tmp_path / "x.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["name"], [text]]


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_in_fit(shapes, tmp_path, capsys):
    (tmp_path / "classify").mkdir()
    (tmp_path / "classify" / "log.txt").symlink_to(FULL)
    assert main(fit(shapes, tmp_path)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("meshconv: error: ")
    assert "No space left" in lines[-1]
    assert not any("Traceback" in line for line in lines)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing_half(tmp_path):
    def write():
        with atomic_write(tmp_path / "x.csv") as part:
            part.symlink_to(FULL)
            part.write_bytes(b"x" * 10_000)

    with pytest.raises(InputError, match=r"x\.csv: No space left on device"):
        write()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def files_of_at_most(size: int):
    """No file may be larger: writing more fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def commands(run, shapes, place):
    """Of each kind one that writes below a place."""
    test = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt")]
    prepare = ["prepare", str(shapes), "--config", "classify", "--workers", "0", "--data.init_args.variants=0"]
    return {
        "fit": fit(shapes, place),
        "test": [*test, "--runs", str(place)],
        "predict": ["predict", str(run / "last.ckpt"), str(shapes), "--output", str(place / "classify" / "out"),
                    "--cache", "false"],
        "prepare": [*prepare, f"--data.init_args.cache={place / 'classify'}"],
    }  # fmt: skip


@pytest.mark.parametrize(("name", "size"), [("fit", 20_000), ("test", 10), ("predict", 100), ("prepare", 2_000)])
def test_a_full_disk_is_one_line_and_earlier_files_stay(run, shapes, tmp_path, capsys, name, size):
    shutil.copytree(run, tmp_path / "classify")
    (tmp_path / "classify" / "out.json").write_text("earlier")
    before = {path: path.read_bytes() for path in (tmp_path / "classify").iterdir()}
    with files_of_at_most(size):
        assert main(commands(run, shapes, tmp_path)[name]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("meshconv: error: ")
    assert "File too large" in line
    after = {path: path.read_bytes() for path in (tmp_path / "classify").iterdir()}
    written = {"log.txt", "config.yaml", "provenance.json", "hparams.yaml", "metrics.csv", "out.csv"}
    assert {path.name for path in after if after[path] != before.get(path)} <= written


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("name", ["fit", "test", "predict", "prepare"])
def test_a_folder_to_read_alone_is_one_line(run, shapes, tmp_path, capsys, name):
    (tmp_path / "classify").mkdir(mode=0o500)
    assert main(commands(run, shapes, tmp_path)[name]) == 2
    assert "Permission denied" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_run_says_where_its_numbers_come_from(run, shapes):
    found = json.loads((run / "provenance.json").read_text())
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["python"].startswith("3.")
    data = MeshFolder(str(shapes), val_fraction=0.0)
    assert {name: found["hashes"][name] for name in ("train", "val", "test")} == data.hashes()
    assert found["git"] is None or len(found["git"]["commit"]) == 40


def test_hashes_are_those_of_the_content(shapes, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(shapes, copy)
    assert MeshFolder(str(copy)).hashes() == MeshFolder(str(shapes)).hashes()
    path = next((copy / "ball").iterdir())
    path.write_bytes(path.read_bytes() + b"\n")
    assert MeshFolder(str(copy)).hashes() != MeshFolder(str(shapes)).hashes()


def test_places_that_are_no_folder(run, shapes, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    mesh = str(next(shapes.rglob("*.ply")))
    test = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt")]
    for args in (fit(shapes, tmp_path / "file"), [*test, "--runs", str(tmp_path / "file")],
                 ["predict", str(run / "last.ckpt"), mesh, "--output", str(tmp_path / "file" / "out")]):  # fmt: skip
        assert main(args) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("meshconv: error: ")
        assert "file" in lines[-1]


def test_a_line_an_epoch_where_the_output_is_no_terminal(shapes, tmp_path, capfd, caplog):
    caplog.set_level(logging.INFO)
    assert main(fit(shapes, tmp_path, "--trainer.max_epochs", "2", "--trainer.max_steps", "-1")) == 0
    out, err = capfd.readouterr()
    assert "\r" not in out + err
    assert [r.getMessage().split(":")[0] for r in caplog.records if r.getMessage().startswith("epoch")] == [
        "epoch 0",
        "epoch 1",
    ]


def test_a_line_a_minute_where_the_output_is_no_terminal(caplog, capfd, monkeypatch):
    caplog.set_level(logging.INFO)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress(4, "reading", "mesh") as progress:
        progress.update()
        monkeypatch.setattr(time, "monotonic", lambda: now + 61)
        progress.update()
        progress.update()
    assert caplog.messages == ["reading: 2 of 4 (mesh)"]
    assert capfd.readouterr() == ("", "")


def test_variants_and_augmentation(shapes, caplog):
    assert len(MeshFolder(str(shapes), augment={}, variants=0).preparations) == 1
    assert len(MeshFolder(str(shapes), augment={"noise": 0.1}, variants=0).preparations) == 1
    assert "augment without variants has no effect" in caplog.text
    for augment in (None, {}):
        with pytest.raises(InputError, match="variants 2 need something that varies"):
            MeshFolder(str(shapes), augment=augment, variants=2)


def test_an_unknown_option_of_the_data_is_one_line(shapes, tmp_path, capsys):
    assert main(fit(shapes, tmp_path, "--data.init_args.num_workers", "2")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert (
        line == "meshconv: error: meshconv.datasets.MeshFolder has no option num_workers; its documentation lists them"
    )
