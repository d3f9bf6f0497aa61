"""Segmentation from the command line: the configuration that ships, on generated bodies, from training to labels."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from segments import body, halves, write_labels, write_mesh

from meshconv import TriangleMesh
from meshconv.cli import main
from meshconv.datasets.meshes.transfer.elements import edges_of
from meshconv.io import read_mesh, save_mesh
from meshconv.shipped import find_data

# Lightning and its dependencies warn of their own affairs.

# Three levels of 162 vertices in all are soon trained.
SMALL = ["--model.init_args.options", '{"channels": [8, 8], "max_order": 1, "width": 16}',
         "--data.init_args.num_levels", "2", "--data.init_args.batch_vertices", "700",
         "--data.init_args.resolution", "0.08"]  # fmt: skip


def common(runs: Path) -> list[str]:
    return ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--runs", str(runs)]


def fit(root: Path, runs: Path, *more: str) -> Path:
    config = ["--config", "segment", "--data.init_args.root", str(root)]
    assert main(["fit", *config, *SMALL, *common(runs), *more]) == 0
    return runs / "segment"


@pytest.fixture(scope="module", params=["vertices", "faces", "edges"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """Kind of element, the set, and a run of a few epochs on it; labels are 4 and 5."""
    root = tmp_path_factory.mktemp("set")
    for k in range(15):
        part = "test" if k < 3 else "train"
        write_labels(root / "seg" / f"{k}.seg", halves(write_mesh(root / part / f"{k}.off", k), request.param, 4))
    run = fit(root, tmp_path_factory.mktemp("runs"), "--trainer.max_epochs", "12")
    return request.param, root, run


@pytest.mark.slow
def test_fit_test_and_predict(trained: tuple[str, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    kind, root, run = trained
    config = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt")]
    assert main(["test", *config, *common(tmp_path)]) == 0
    assert "test/accuracy" in capsys.readouterr().out
    out = tmp_path / "out" / "new"
    assert main(["predict", str(run / "last.ckpt"), str(root / "test"), "--output", str(out)]) == 0
    rows = list(csv.DictReader(out.with_suffix(".csv").read_text().splitlines()))
    full = json.loads(out.with_suffix(".json").read_text())
    assert [Path(row["file"]).stem for row in rows] == ["0", "1", "2"]
    right = []
    for k, row, entry in zip(range(3), rows, full["predictions"], strict=True):
        labels = np.loadtxt(f"{out}_{k}.txt", dtype=int)
        truth = halves(body(k), kind, 4)
        assert labels.shape == truth.shape
        assert (row["labels"], row["element"], int(row["count"])) == (f"{out}_{k}.txt", kind, len(truth))
        assert entry["classes"] == {str(v): int((labels == v).sum()) for v in np.unique(labels)}
        right.append((labels == truth).mean())
        picture = read_mesh(f"{out}_{k}.ply")
        data = picture.face_data if kind == "faces" else picture.vertex_data
        if kind != "edges":
            assert data["label"].tolist() == labels.tolist()
        np.testing.assert_allclose(picture.vertices, read_mesh(root / "test" / f"{k}.off").vertices)
        assert len(np.unique(data["color"], axis=0)) == len(np.unique(data["label"])) > 1
    assert np.mean(right) > 0.9  # the bump is a quarter of all: one label for everything gets at most 0.75


@pytest.mark.slow
def test_predictions_are_those_of_the_file_whatever_is_wrong_with_it(
    trained: tuple[str, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    kind, _, run = trained
    mesh = body(40)
    faces = np.concatenate([mesh.faces, mesh.faces[:2], mesh.faces[:1, [0, 0, 1]]])
    vertices = np.concatenate([mesh.vertices, 1.2 * mesh.vertices[mesh.faces[0, :1]]])
    broken = TriangleMesh(vertices, faces)
    save_mesh(mesh, tmp_path / "clean.ply")
    (tmp_path / "a").mkdir()
    save_mesh(broken, tmp_path / "a" / "broken.ply")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    files = [tmp_path / "clean.ply", tmp_path / "a" / "broken.ply", tmp_path / "b" / "broken.ply"]
    (tmp_path / "bad.obj").write_text("v 0 0 0\nf 1 2 3\n")
    command = ["predict", str(run / "last.ckpt"), *map(str, files), str(tmp_path / "bad.obj")]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    clean = np.loadtxt(tmp_path / "out_clean.txt", dtype=int)
    labels = np.loadtxt(tmp_path / "out_a_broken.txt", dtype=int)  # two of one name: their folders tell them apart
    assert labels.tolist() == np.loadtxt(tmp_path / "out_b_broken.txt", dtype=int).tolist()
    if kind == "vertices":
        assert labels.tolist() == [*clean, clean[mesh.faces[0, 0]]]
    elif kind == "faces":
        assert labels[: len(clean)].tolist() == clean.tolist()
        assert set(labels) <= {4, 5}
        assert len(labels) == len(broken.faces)
    else:
        assert len(labels) == len(edges_of(broken.faces))
        assert labels.tolist() == clean.tolist()
    assert len(json.loads((tmp_path / "out.json").read_text())["skipped"]) == 1
    assert not [p for p in tmp_path.rglob(".*") if p.is_file()]  # nothing half-written is left


@pytest.mark.slow
def test_bad_input_is_one_line(
    trained: tuple[str, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    _, root, run = trained
    maps = str(find_data("koeppen_hp64.nc"))
    for arguments, says in (
        (["predict", str(run / "last.ckpt"), maps], "trained on meshes, which this file is not"),
        (["predict", str(run / "last.ckpt"), str(root / "seg")], "no mesh files"),
        (["fit", "--config", "segment", "--data.init_args.root", str(root / "seg")], "no mesh files"),
    ):
        assert main(arguments) == 2
        assert says in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.slow
def test_balanced_weights_and_labels_of_the_mesh_file(tmp_path: Path) -> None:
    for k in range(4):
        mesh = body(k)
        data = {"label": halves(mesh, "faces").astype(np.int32)}
        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, face_data=data), tmp_path / f"{k}.ply")
    run = fit(tmp_path, tmp_path / "runs", "--trainer.max_epochs", "1", "--model.init_args.class_weights", "balanced")
    assert (run / "last.ckpt").is_file()


def test_levels_that_do_not_agree_are_said_before_meshes_are_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for k in range(4):
        mesh = body(k)
        data = {"label": halves(mesh, "faces").astype(np.int32)}
        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, face_data=data), tmp_path / f"{k}.ply")
    words = ["--config", "segment", "--data.init_args.root", str(tmp_path)]
    words += ["--data.init_args.num_levels", "2"]
    assert main(["fit", *words, "--data.init_args.cache", str(tmp_path / "kept"), "--runs", str(tmp_path)]) == 2
    assert "the network has 4 levels, the data 2; give options.channels" in capsys.readouterr().err
    assert not list(tmp_path.rglob("kept/*"))
