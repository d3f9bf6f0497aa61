"""Data sets of cars: files of the schema of ShapeNet-Car, DrivAerNet and DrivAerML, written here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import blob

from meshconv import InputError, TriangleMesh
from meshconv.datasets import MeshFields, ShapeNetCar
from meshconv.io import save_mesh
from meshconv.train.metrics.mesh_errors import MeshErrors

OPTIONS = {"cache": False, "workers": 0, "features": ["areas"]}


def car(folder: Path, seed: int) -> np.ndarray:
    """An unstructured grid of quadrilaterals with four points that none uses, and a pressure for each point."""
    folder.mkdir(parents=True)
    n = 6
    i, j = (v.ravel() for v in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    points = np.stack([i, j, np.sin(i + seed) * np.cos(j)], axis=1).astype(float)
    points = np.insert(points, [2] * 4, 99.0, axis=0)
    number = np.delete(np.arange(n * n + 4), [2, 3, 4, 5]).reshape(n, n)
    quads = np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], axis=-1).reshape(-1, 4)
    rows = "\n".join("4 " + " ".join(map(str, q)) for q in quads.tolist())
    xyz = "\n".join(" ".join(f"{v:.9g}" for v in p) for p in points.tolist())
    (folder / "quadpress_smpl.vtk").write_text(
        f"# vtk DataFile Version 2.0\ncar\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS {len(points)} float\n{xyz}\n"
        f"CELLS {len(quads)} {5 * len(quads)}\n{rows}\nCELL_TYPES {len(quads)}\n" + "9\n" * len(quads)
    )
    pressure = 100 * points[:, 0]
    np.save(folder / "press.npy", pressure.astype(np.float32))
    return pressure


def test_cars_of_one_folder_are_for_testing_and_loose_points_have_no_target(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for fold in range(3):
        for k in range(2):
            pressure = car(tmp_path / "training_data" / f"param{fold}" / f"{fold}{k}", 10 * fold + k)
    (tmp_path / "training_data" / "param2" / "21" / "press.npy").unlink()
    data = ShapeNetCar(str(tmp_path), **OPTIONS)
    names = {split: [path.parts[-2] for path, _ in files] for split, files in data.files.items()}
    assert names == {"train": ["10", "11", "20"], "val": [], "test": ["00", "01"]}
    assert "1 of 6 cars lack quadpress_smpl.vtk or press.npy" in caplog.text
    target = data.samples("train")[0].target[:, 0].numpy()
    assert np.isnan(target[2:6]).all() and target[6:] == pytest.approx(pressure[6:])
    mean, _ = data.target_statistics
    assert float(mean) == pytest.approx(250.0)
    other = ShapeNetCar(str(tmp_path), fold=2, **OPTIONS)
    assert [path.parts[-2] for path, _ in other.files["test"]] == ["20"]
    with pytest.raises(InputError, match="no folder param7"):
        ShapeNetCar(str(tmp_path), fold=7)


def test_designs_of_drivaernet_go_by_its_lists(tmp_path: Path) -> None:
    lists = tmp_path / "train_val_test_splits"
    lists.mkdir()
    for k, split in enumerate(("train", "train", "val", "test")):
        name = f"DrivAer_F_D_WM_WW_{k:04}"
        mesh = blob(k)
        save_mesh(replace(mesh, vertex_data={"p": mesh.vertices[:, 0]}), tmp_path / f"{name}.vtp")
        with (lists / f"{split}_design_ids.txt").open("a") as stream:
            stream.write(f"{name}\n")
    data = MeshFields(str(tmp_path), ["p"], **OPTIONS)
    assert [len(data.files[split]) for split in ("train", "val", "test")] == [2, 1, 1]


def test_boundaries_of_drivaerml_have_cell_arrays_of_many_polygons(tmp_path: Path) -> None:
    for k in (1, 7):
        (tmp_path / f"run_{k}").mkdir()
        mesh = blob(k)
        count = mesh.num_faces
        of_faces = {"CpMeanTrim": np.arange(count) / count, "wallShearStressMeanTrim": np.ones((count, 3))}
        place = tmp_path / f"run_{k}" / f"boundary_{k}.vtp"
        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, "", {}, of_faces), place)
        (tmp_path / f"run_{k}" / f"drivaer_{k}.stl").write_bytes(b"not asked for")
    names = ["CpMeanTrim", "wallShearStressMeanTrim"]
    options = {**OPTIONS, "element": "faces", "pattern": "run_*/boundary_*.vtp", "test_fraction": 0.5}
    data = MeshFields(str(tmp_path), names, **options)
    assert str(data.out_type) == "1x0 + 1x1"
    (sample,) = data.samples("train")
    assert sample.target.shape == (blob(1).num_faces, 3)


def test_relative_errors_of_each_mesh_by_hand() -> None:
    rng = np.random.default_rng(0)
    sizes = [5, 8, 3]
    truth, found = rng.normal(size=(2, 16, 3))
    truth[4, 0] = np.nan
    truth[13:, 1:] = 0.0
    mesh = np.repeat(np.arange(3), sizes)
    metric = MeshErrors("1x0 + 1x1")
    metric.update(*(torch.from_numpy(v[:13]) for v in (found, truth, mesh)))
    metric.update(*(torch.from_numpy(v) for v in (found[13:], truth[13:], mesh[13:])))
    of_scalars, of_vectors = [], []
    for k in range(3):
        t, p = truth[mesh == k], found[mesh == k]
        known = ~np.isnan(t[:, 0])
        of_scalars.append(np.linalg.norm((p - t)[known, 0]) / np.linalg.norm(t[known, 0]))
        if t[:, 1:].any():
            of_vectors.append(np.linalg.norm((p - t)[:, 1:]) / np.linalg.norm(t[:, 1:]))
    assert metric.relative_l2.tolist() == pytest.approx([np.mean(of_scalars), np.mean(of_vectors)])
