"""Folders of classified meshes: what is a class, what is for training, what is left out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from segments import write_mesh

from meshconv import InputError
from meshconv.datasets import MeshFolder
from meshconv.datasets.meshes.layouts.classes import find_mesh_files, read_class_list


def write(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_mesh(root / name, seed)
    return root


def found(root: Path) -> dict[str, dict[str, list[str]]]:
    return {
        name: {part: [p.name for p in paths] for part, paths in parts.items()}
        for name, parts in find_mesh_files(root).items()
    }


def test_folders_of_classes_deep_or_not(tmp_path: Path) -> None:
    write(tmp_path, "a/0.off", "a/scans/May 2/1.OFF", "b/train/2.ply", "b/Testing/x/3.ply", "b/val/4.obj", "c/5.off",
          "c/test/6.off", ".trash/7.off", "a/.hidden.off")  # fmt: skip
    assert found(tmp_path) == {
        "a": {"": ["0.off", "1.OFF"]},
        "b": {"train": ["2.ply"], "test": ["3.ply"], "val": ["4.obj"]},
        "c": {"test": ["6.off"], "train": ["5.off"]},
    }
    data = MeshFolder(str(tmp_path), cache=False, workers=0, val_fraction=0.5)
    assert [len(data.files[s]) for s in ("train", "val", "test")] == [3, 1, 3]


def test_splits_above_classes(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/0.off", "train/dog/1.off", "test/cat/2.off", "test/dog/3.off")
    parts = {"train": ["0.off"], "test": ["2.off"]}
    assert found(tmp_path)["cat"] == parts and set(found(tmp_path)) == {"cat", "dog"}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert set(found(write(tmp_path, "train/0.off", "car/1.off"))) == {"train", "car"}


def test_labels_in_the_names_of_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write(tmp_path, "cat_01.off", "cat_02.off", "big dog-1.ply", "big dog-2.ply", "big dog.ply")
    assert {name: len(parts[""]) for name, parts in found(tmp_path).items()} == {"big dog": 3, "cat": 2}
    assert "2 classes by the names of files: big dog (3), cat (2)" in caplog.text
    write(tmp_path / "other", "train/cat1.off", "train/dog1.off", "test/cat2.off", "test/dog2.off")
    assert found(tmp_path / "other")["dog"] == {"train": ["dog1.off"], "test": ["dog2.off"]}


@pytest.mark.parametrize(
    "names", [("1.off", "2.off"), ("anna.off", "bert.off", "carl1.off"), ("scan1.off", "scan2.off")]
)
def test_names_that_tell_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=rf"{len(names)} lie directly in it, and their names tell no classes"):
        find_mesh_files(write(tmp_path, *names))


def test_strays_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    write(tmp_path, "a/train/0.off", "a/test/1.off", "a/2.off", "b/3.off", "template4.off")
    (tmp_path / "c").mkdir()
    assert set(found(tmp_path)) == {"a", "b"} and "2.off" not in str(found(tmp_path))
    assert "2 meshes are beside the folders of classes" in caplog.text
    assert "c: no mesh files, so no class 'c'" in caplog.text


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "far", "x/0.off", "y/1.off")
    (tmp_path / "root").mkdir()
    for name in ("x", "y"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "far" / name)
    (tmp_path / "far" / "x" / "back").symlink_to(tmp_path / "far" / "x")
    assert found(tmp_path / "root") == {"x": {"": ["0.off"]}, "y": {"": ["1.off"]}}


def test_lists_of_the_princeton_benchmark(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, *(f"T{k}.off" for k in range(5)))
    (tmp_path / "test.cla").write_text("PSB 1\n3 4\n\nanimal 0 0\n\nant animal 2\n0\n3\n\nlamp 0 2\n1\n2\n")
    assert found(tmp_path) == {"ant": {"": ["T0.off", "T3.off"]}, "lamp": {"": ["T1.off", "T2.off"]}}
    assert "1 of 5 meshes are not in it and left out, the first is" in caplog.text
    (tmp_path / "train.cla").write_text("PSB 1\n2 2\nant 0 1\n0\nlamp 0 1\n1\n")
    (tmp_path / "test.cla").write_text("PSB 1\n2 2\nant 0 1\n3\nlamp 0 1\n2\n")
    assert found(tmp_path)["ant"] == {"test": ["T3.off"], "train": ["T0.off"]}


@pytest.mark.parametrize(
    ("content", "says"),
    [("OFF", "the first word is not PSB"), ("PSB 1\n2 4\nant 0 3\n1 2", "'ant' has 2 of 3 models"),
     ("PSB 1\n2 4\nant 0", "it ends too early"), ("PSB 1\nx", "invalid literal")],
)  # fmt: skip
def test_lists_that_cannot_be_read(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "a.cla").write_text(content)
    with pytest.raises(InputError, match=rf"a.cla: no list of classes \(.*{says}"):
        read_class_list(tmp_path / "a.cla")


def test_no_mesh_for_validation_can_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a/train/0.off", "b/train/1.off")
    (tmp_path / "a" / "val").mkdir()
    (tmp_path / "a" / "val" / "2.off").write_text("nothing")
    data = MeshFolder(str(tmp_path), cache=False, workers=0)
    assert data.val_dataloader() == [] and "2.off" in caplog.text
    assert len(data.samples("train")) == 2
