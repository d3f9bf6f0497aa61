"""Artery walls: an HDF5 file of the published schema, written here; splits, extensions, distances, what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from meshes import cylinder

from meshconv import InputError
from meshconv.datasets import ArteryWalls
from meshconv.io import read_mesh

h5py = pytest.importorskip("h5py")
OPTIONS = {"cache": False, "workers": 0, "features": ["areas"]}
TUBE = cylinder(41, 24)


def tube(length: float) -> tuple[np.ndarray, np.ndarray]:
    """A tube of radius 1 along z, from 0, and its height at each vertex."""
    z = TUBE.vertices[:, 2] - TUBE.vertices[:, 2].min()
    points = TUBE.vertices.copy()
    points[:, :2] /= np.linalg.norm(points[:, :2], axis=1, keepdims=True)
    points[:, 2] = length * z / z.max()
    return points, points[:, 2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    with h5py.File(tmp_path / "raw" / "database.hdf5", "w") as file:
        for k in range(10):
            points, z = tube(20.0 + k)
            group = file.create_group(f"sample_{k:04}")
            group["pos"], group["face"] = points.astype(np.float32), TUBE.faces
            group["wss"] = np.stack([0 * z, 0 * z, 1 + z], axis=1).astype(np.float32)
            group["inlet_idx" if k % 2 else "inlet_idcs"] = np.flatnonzero(z == 0)
    return tmp_path


def test_arteries_are_split_as_published_without_their_extensions(root: Path) -> None:
    data = ArteryWalls(str(root), **OPTIONS)
    names = {split: [path.stem[-1] for path, _ in files] for split, files in data.files.items()}
    assert names == {"train": list("01234567"), "val": ["8"], "test": ["9"]}
    sample, (points, z) = data.samples("test")[0], tube(29.0)
    mesh = read_mesh(sample.name)
    assert mesh.vertices == pytest.approx(points, abs=1e-6) and np.array_equal(mesh.faces, TUBE.faces)
    # Down the tube the shortest way is straight; paths over neighbours are hardly longer.
    assert (mesh.vertex_data["inlet_distance"] >= z - 1e-5).all()
    assert mesh.vertex_data["inlet_distance"] == pytest.approx(z, rel=0.01, abs=1e-5)
    known = ~np.isnan(sample.target[:, 0].numpy())
    assert known[(z > 8.5) & (z < 26.5)].all() and not known[(z < 7.5) | (z > 27.5)].any()
    # The stress is along the tube, so tangent: its length stays.
    assert np.linalg.norm(sample.target.numpy()[known], axis=1) == pytest.approx(1 + z[known], rel=1e-5)
    assert data.how.given.scalars == ("inlet_distance",)
    written = (root / "meshes" / "sample_0000.vtp").stat().st_mtime_ns
    assert len(ArteryWalls(str(root), **OPTIONS).files["train"]) == 8
    assert (root / "meshes" / "sample_0000.vtp").stat().st_mtime_ns == written
    with pytest.raises(InputError, match="was written of another file or with other extensions; remove it"):
        ArteryWalls(str(root), extensions=(0, 1), **OPTIONS)


def test_what_is_another_schema_is_one_line(root: Path, tmp_path: Path) -> None:
    database = root / "raw" / "database.hdf5"
    whole = database.read_bytes()

    def swap(key: str, value: Any) -> Callable[[Any], None]:
        def change(group: Any) -> None:
            del group[key]
            if value is not None:
                group[key] = value

        return change

    for change, says in (
        (swap("wss", None), "sample_0003 has no wss; it has face, inlet_idx, pos"),
        (swap("inlet_idx", None), "sample_0003 has no inlet_idx"),
        (swap("wss", np.zeros((5, 3))), r"sample_0003 has wss \[5, 3\] at 984 vertices"),
        (swap("wss", np.zeros((3, 984, 3))), "one vector at each is read"),
        (swap("face", np.array([[0, 1, 984]])), "face names a vertex that does not exist"),
        (swap("inlet_idx", np.array([-1])), "inlet_idx names a vertex that does not exist"),
        (swap("pos", np.zeros((984, 2))), r"pos \[984, 2\] and face"),
    ):
        database.write_bytes(whole)
        with h5py.File(database, "a") as file:
            change(file["sample_0003"])
        with pytest.raises(InputError, match=says) as error:
            ArteryWalls(str(root), **OPTIONS)
        assert str(error.value).startswith(f"{database}: ") and "\n" not in str(error.value)
        (root / "meshes" / "arteries.json").unlink()
    for content, says in ((whole[:5000], "cannot be read"), (b"no hdf5", "cannot be read")):
        database.write_bytes(content)
        with pytest.raises(InputError, match=says):
            ArteryWalls(str(root), **OPTIONS)
        (root / "meshes" / "arteries.json").unlink()
    with pytest.raises(InputError, match="give two lengths"):
        ArteryWalls(str(root), extensions=[1.0], **OPTIONS)
    with pytest.raises(InputError, match="no such file; give the folder with raw"):
        ArteryWalls(str(tmp_path / "raw"), **OPTIONS)
