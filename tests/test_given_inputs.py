"""Inputs that are not of the shape: arrays of the file and its absolute size."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import blob
from scipy.spatial.transform import Rotation

from meshconv import FieldType, InputError, TriangleMesh
from meshconv.datasets import MeshFields, Preparation, prepare_mesh
from meshconv.io import Cache, save_mesh
from meshconv.io.meshes.load import load_mesh


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Blobs of several sizes with a field to predict, thickness in their files and the stream in arrays beside them."""
    rng = np.random.default_rng(0)
    for k in range(4):
        mesh = blob(k)
        mesh = TriangleMesh(mesh.vertices * 2.0**k, mesh.faces)
        thickness = 3 + 0.5 * rng.normal(size=mesh.num_vertices)
        save_mesh(replace(mesh, vertex_data={"thickness": thickness, "p": mesh.vertices[:, 0]}), tmp_path / f"{k}.ply")
        np.save(tmp_path / f"{k}_stream.npy", np.tile([0.0, 2.0, 0.0], (mesh.num_vertices, 1)))
    return tmp_path


def data(root: Path, **options) -> MeshFields:
    return MeshFields(str(root), ["p"], test_fraction=0.25, cache=False, workers=0, features=["curvature"], **options)


def test_inputs_are_those_of_the_file_in_units_of_the_training(root: Path) -> None:
    found = data(root, scalars=["thickness"], vectors=["stream"], size=True)
    assert found.in_type == FieldType("2x0 + 1x2") + FieldType("3x0 + 1x1")
    thickness = np.concatenate([load_mesh(path).vertex_data["thickness"] for path, _ in found.files["train"]])
    mean, size = found.spec["statistics"]["thickness"]
    assert (mean, size) == pytest.approx((thickness.mean(), thickness.std()))
    assert found.spec["statistics"]["stream"] == pytest.approx([0.0, 2.0])
    logs = [0.5 * np.log(load_mesh(path).area) for path, _ in found.files["train"]]
    for (path, _), sample in zip(found.files["train"], found.samples("train"), strict=True):
        mesh = load_mesh(path)
        scalars = sample.x[:, found.in_type.slice(0)].numpy()
        assert scalars[:, 2] == pytest.approx((mesh.vertex_data["thickness"] - mean) / size, abs=1e-5)
        log_size = (0.5 * np.log(mesh.area) - np.mean(logs)) / np.std(logs)
        assert scalars[:, 3] == pytest.approx(np.full(mesh.num_vertices, log_size), abs=1e-4)
        normal = scalars[:, 4]
        assert normal == pytest.approx(mesh.vertex_normals[:, 1], abs=1e-5)
        tangent = sample.x[:, found.in_type.slice(1)].numpy()
        assert (tangent**2).sum(1) + normal**2 == pytest.approx(np.ones(len(normal)), abs=1e-5)


def test_vectors_that_turn_with_the_mesh_give_the_same_invariants(root: Path) -> None:
    turn = Rotation.random(random_state=1).as_matrix()
    mesh = load_mesh(root / "0.ply")
    np.save(root / "turned_stream.npy", np.tile(turn @ [0.0, 2.0, 0.0], (mesh.num_vertices, 1)))
    save_mesh(TriangleMesh(mesh.vertices @ turn.T, mesh.faces), root / "turned.ply")
    how = Preparation.from_spec({"features": ["curvature"], "vectors": ["stream"]})
    one, other = (prepare_mesh(root / f"{name}.ply", how=how) for name in ("0", "turned"))
    both = [how.in_type.invariants(sample.x) for sample in (one, other)]
    torch.testing.assert_close(*both, atol=2e-4, rtol=1e-3)


def test_the_specification_makes_the_same_inputs_and_the_cache_sees_arrays(root: Path) -> None:
    found = data(root, scalars=["thickness"], vectors=["stream"])
    how, cache = Preparation.from_spec(found.spec), Cache(root / "kept")
    path = found.files["train"][0][0]
    sample = prepare_mesh(path, how=how, cache=cache)
    assert torch.equal(sample.x, found.samples("train")[0].x)
    np.save(path.with_name(f"{path.stem}_stream.npy"), np.tile([1.0, 0.0, 0.0], (len(sample.x), 1)))
    assert not torch.equal(prepare_mesh(path, how=how, cache=cache).x, sample.x)
    # A specification without them is that of checkpoints from before.
    assert not {"scalars", "vectors", "size", "statistics", "volume_surface"} & set(data(root).spec)


def test_inputs_that_do_not_fit_are_one_line(root: Path) -> None:
    path = root / "0.ply"
    count = load_mesh(path).num_vertices
    for options, values, says in (
        ({"scalars": ["wall"]}, None, "no field 'wall': no attribute of vertices, which has thickness, p"),
        ({"scalars": ["stream"]}, None, "name it among vectors"),
        ({"vectors": ["thickness"]}, None, "name it among scalars"),
        ({"scalars": ["a"]}, np.zeros(count - 1), f"{count - 1} values, the mesh {count} vertices"),
        ({"scalars": ["a"]}, np.r_[np.nan, np.zeros(count - 1)], f"'a' is not finite at 1 of {count} vertices"),
        ({"scalars": ["a"]}, np.zeros((count, 2)), r"takes numbers \[n\] or \[n, 3\]"),
    ):
        if values is not None:
            np.save(root / "0_a.npy", values)
        with pytest.raises(InputError, match=says) as error:
            prepare_mesh(path, how=Preparation.from_spec(options))
        assert "\n" not in str(error.value)
    for options, says in (
        ({"scalars": ["a"], "vectors": ["a"]}, "name each array once"),
        ({"scalars": "thickness"}, "no list of names"),
        ({"scalars": ["a"], "resolution": 0.1}, "leave the resolution out"),
        ({"scalars": ["a"], "statistics": {"a": [0.0, 0.0]}}, "no mean and size above 0"),
        ({"size": 3}, "neither true nor false"),
    ):
        with pytest.raises(InputError, match=says):
            Preparation.from_spec(options)
    with pytest.raises(InputError, match="rotation"):
        data(root, vectors=["stream"], augment={"rotation": True}, variants=1)


def test_a_large_normal_part_is_said_where_it_is_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(4):
        mesh = load_mesh(root / f"{k}.ply")
        np.save(root / f"{k}_pull.npy", mesh.vertex_normals + 0.5 * mesh.frames[:, 0])
    fields = MeshFields(str(root), ["pull"], cache=False, workers=0)
    with caplog.at_level(logging.WARNING):
        assert fields.target_statistics[0].tolist() == [0.0]
    assert "80 % of the square of pull is along the normal and left out; tangent: false" in caplog.text
    caplog.clear()
    whole = MeshFields(str(root), ["pull"], tangent=False, cache=False, workers=0)
    mean, size = whole.target_statistics
    assert not caplog.text and whole.field_names == ["pull_normal", "pull_tangent"]
    assert mean.tolist() == pytest.approx([1.0, 0.0], abs=1e-5) and float(size[1]) == pytest.approx(0.5, abs=1e-5)
