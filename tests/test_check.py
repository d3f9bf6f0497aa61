"""``meshconv check`` end to end, and what loading does with defects."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from defective import damaged
from meshes import icosphere, moebius

from meshconv import InputError, TriangleMesh, load_mesh
from meshconv.cli import main
from meshconv.datasets import MeshFolder, Preparation, prepare_mesh
from meshconv.io import check_files, read_mesh, save_mesh


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """``saved("fin+turned")``: that damaged mesh as a PLY file."""

    def save(name: str, suffix: str = ".ply") -> Path:
        path = tmp_path / f"{name}{suffix}"
        save_mesh(icosphere(1) if name == "clean" else damaged(name), path)
        return path

    return save


def test_clean_files_have_status_0(saved: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(saved("clean")), str(saved("sliver", ".off"))]) == 0
    out = capsys.readouterr().out
    head, row = out.splitlines()[:2]
    assert head.split()[:5] == ["file", "vertices", "faces", "comp.", "Euler"]
    assert row.split()[1:6] == ["42", "80", "1", "2", "0"]
    assert out.endswith("2 of 2 files clean\n")


def test_a_defect_has_status_1_and_is_named(saved: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = saved("fin")
    assert main(["check", str(saved("clean")), str(path)]) == 1
    assert f"{path}: 1 non-manifold edges, 2 non-manifold vertices" in capsys.readouterr().out


def test_an_unreadable_file_has_status_2_and_the_others_are_checked(
    saved: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.off").write_text("OFF\n4 2 0\n0 0 0\n")
    assert main(["check", str(tmp_path / "cut.off"), str(saved("fin")), str(tmp_path / "gone.obj")]) == 2
    out = capsys.readouterr().out
    assert "cut.off: cannot be read as 'off'" in out
    assert "gone.obj: no such file" in out
    assert "non-manifold edges" in out


def test_json(saved: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [saved("zero_edge"), tmp_path / "gone.obj"]
    assert main(["check", "--json", *map(str, paths)]) == 2
    first, second = json.loads(capsys.readouterr().out)
    assert first["file"] == str(paths[0])
    assert (first["status"], first["defects"]["degenerate_faces"], first["defects"]["edge_spread"]) == (1, 2, None)
    assert first["problems"] == ["2 degenerate faces"]
    assert (second["status"], "no such file" in second["error"]) == (2, True)


def test_repair_one_file(saved: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = saved("isolated+fin+zero_edge"), tmp_path / "new" / "good.ply"
    assert main(["check", str(source), "--repair", str(out)]) == 0
    assert "2 vertices added to cut parts apart" in capsys.readouterr().out
    assert main(["check", str(out)]) == 0
    good, bad = read_mesh(out), read_mesh(source)
    assert np.array_equal(good.vertices, bad.vertices[good.vertex_data["original_vertex"]])
    corners = np.sort(bad.vertices[bad.faces[good.face_data["original_face"]]], axis=1)
    assert np.array_equal(corners, np.sort(good.vertices[good.faces], axis=1))


@pytest.mark.parametrize("suffix", ["ply", "obj", "off", "stl", "glb"])
def test_repair_writes_every_format(suffix: str, saved: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / f"good.{suffix}"
    (result,) = check_files([saved("turned+duplicate")], out)
    assert result.status == 0
    mesh = read_mesh(out)
    assert mesh.defects.problems() == []
    assert (mesh.num_vertices, mesh.num_faces) == (42, 80)
    if suffix not in ("stl", "glb"):
        assert np.array_equal(mesh.vertices, icosphere(1).vertices)


def test_repair_several_files_into_a_folder(saved: Callable[..., Path], tmp_path: Path) -> None:
    paths, out = [saved("fin"), saved("turned", ".obj"), saved("clean")], tmp_path / "fixed"
    assert main(["check", *map(str, paths), "--repair", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in paths)
    assert main(["check", *map(str, out.iterdir())]) == 0


def test_what_cannot_be_repaired_keeps_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mesh(moebius(), tmp_path / "m.ply")
    assert main(["check", str(tmp_path / "m.ply"), "--repair", str(tmp_path / "out.ply")]) == 1
    assert "left: 2 orientation conflicts, not orientable" in capsys.readouterr().out


def test_isolated_vertices_can_be_kept(saved: Callable[..., Path], tmp_path: Path) -> None:
    path = saved("isolated")
    assert main(["check", str(path)]) == 1
    assert main(["check", str(path), "--isolated", "keep", "--repair", str(tmp_path / "kept.ply")]) == 0
    assert read_mesh(tmp_path / "kept.ply").num_vertices == 44


def test_places_that_cannot_be_written(saved: Callable[..., Path], tmp_path: Path) -> None:
    one, other = saved("fin"), saved("turned")
    (tmp_path / "again").mkdir()
    save_mesh(icosphere(1), tmp_path / "again" / one.name)
    for paths, out, says in (
        ([one], tmp_path / "x.dae", "cannot be written; give an extension of glb, obj, off, ply, stl"),
        ([one, other], one, "is a file; 2 repaired meshes need a folder"),
        ([one, tmp_path / "again" / one.name], tmp_path / "all", "several repaired meshes would be called fin.ply"),
    ):
        with pytest.raises(InputError, match=says):
            check_files(paths, out)


def test_policies_of_loading(saved: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    path = saved("fin")
    with caplog.at_level(logging.INFO):
        assert load_mesh(path).num_vertices == 45
    assert f"{path}: 2 vertices added" in caplog.text
    assert load_mesh(path, "drop").num_faces == 78
    with pytest.raises(InputError, match=r"fin.ply: 1 non-manifold edges"):
        load_mesh(path, "error")
    assert load_mesh(saved("isolated")).num_vertices == 44
    assert load_mesh(saved("isolated"), isolated="drop").num_vertices == 42


def test_nothing_left_after_dropping(tmp_path: Path) -> None:
    fan = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    save_mesh(TriangleMesh(np.random.default_rng(0).normal(size=(5, 3)), fan), tmp_path / "fan.ply")
    with pytest.raises(InputError, match=r"fan.ply: no faces are left without 1 non-manifold edges"):
        load_mesh(tmp_path / "fan.ply", "drop")
    assert load_mesh(tmp_path / "fan.ply").num_faces == 3


def test_a_folder_of_meshes_follows_its_policy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        for i in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            save_mesh(damaged("fin") if i == 0 else icosphere(1), tmp_path / name / f"{i}.ply")
    counts = {}
    for policy in ("repair", "drop", "error"):
        data = MeshFolder(str(tmp_path), test_fraction=0.4, on_defect=policy)
        assert data.spec["on_defect"] == policy
        counts[policy] = sorted(s.surface.num_edges for part in ("train", "test") for s in data.samples(part))
    assert len(counts["repair"]) == len(counts["drop"]) == 6
    assert counts["error"] == counts["repair"][:4] == [240] * 4
    assert counts["repair"][-1] > 240 > counts["drop"][0]
    dropped = prepare_mesh(tmp_path / "a" / "0.ply", how=Preparation(on_defect="drop"))
    assert dropped.surface.num_edges == counts["drop"][0]


def test_predict_follows_the_policy_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, runs = tmp_path / "set", tmp_path / "runs"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i in range(2):
            save_mesh(icosphere(1), root / name / f"{i}.ply")
    fit = ["fit", "--config", "classify", "--data.init_args.root", str(root), "--runs", str(runs)]
    fit += ["--data.init_args.on_defect", "error", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    fit += ["--trainer.enable_progress_bar", "false"]
    assert main([*fit, "--model.init_args.options", '{"channels": 2, "blocks": 1, "width": 4}']) == 0
    save_mesh(damaged("fin"), tmp_path / "fin.ply")
    capsys.readouterr()
    predict = ["predict", str(runs / "classify" / "last.ckpt"), "--output", str(tmp_path / "p")]
    assert main([*predict, str(tmp_path / "fin.ply")]) == 2
    assert "1 non-manifold edges" in capsys.readouterr().err
    assert main([*predict, str(root / "a" / "0.ply")]) == 0
