"""TOSCA's files of vertices and triangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from meshes import icosphere

from meshconv import InputError, load_mesh
from meshconv.datasets import MeshCorrespondence
from meshconv.io.cache.content import file_content


def write(folder: Path, name: str, scale: float = 1.0, first: int = 1) -> Path:
    mesh = icosphere(1)
    np.savetxt(folder / f"{name}.vert", scale * mesh.vertices, fmt="%.6f")
    np.savetxt(folder / f"{name}.tri", mesh.faces + first, fmt="%d")
    return folder / f"{name}.vert"


@pytest.mark.parametrize("first", [0, 1])
def test_vertices_and_triangles(tmp_path: Path, first: int) -> None:
    mesh = load_mesh(write(tmp_path, "cat0", first=first))
    assert np.array_equal(mesh.faces, icosphere(1).faces)
    assert mesh.vertices == pytest.approx(icosphere(1).vertices, abs=1e-6)


def test_the_folder_as_distributed(tmp_path: Path) -> None:
    """All poses of a kind have the same triangles; equal numbers are equal points."""
    for k in range(4):
        write(tmp_path, f"cat{k}", 1 + k)
        write(tmp_path, f"dog{k}", 5 + k)
    data = MeshCorrespondence(str(tmp_path), cache=False, workers=0)
    assert data.class_names == ["cat", "dog"]
    assert [len(data.samples(s)) for s in ("train", "test")] == [4, 4]
    assert data.samples("test")[0].target.tolist() == list(range(42))


def test_other_triangles_are_another_content(tmp_path: Path) -> None:
    path = write(tmp_path, "cat0")
    before = file_content(path)
    path.with_suffix(".tri").write_text("1 2 3\n")
    assert file_content(path) != before


@pytest.mark.parametrize(
    ("tri", "says"),
    [(None, "there is no cat0.tri"), ("1 2\n", "2 numbers are not three a line"), ("1 2 x\n", "cannot be read as num"),
     ("1 2 2.5\n", "whole numbers"), ("1 2 99\n", "99")],
)  # fmt: skip
def test_bad_files(tmp_path: Path, tri: str | None, says: str) -> None:
    path = write(tmp_path, "cat0")
    path.with_suffix(".tri").unlink()
    if tri is not None:
        path.with_suffix(".tri").write_text(tri)
    with pytest.raises(InputError, match=says):
        load_mesh(path)
