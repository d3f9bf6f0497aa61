"""Generated shapes: closed, outward, reproducible, and different in arrangement alone."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from meshconv import InputError
from meshconv.datasets import generate_shape, generate_shapes, generated, write_shapes
from meshconv.datasets.generated import FAMILIES


@pytest.fixture(scope="module")
def shapes():
    return generate_shapes(3, seed=5)


def test_enough_families_and_labels(shapes):
    assert len(FAMILIES) >= 8
    assert len(set(FAMILIES)) == len(FAMILIES)
    assert [label for _, label in shapes] == [k for k in range(len(FAMILIES)) for _ in range(3)]


def test_surfaces_are_closed_outward_and_without_slivers(shapes):
    for mesh, _ in shapes:
        edges = np.concatenate([mesh.faces[:, [k, (k + 1) % 3]] for k in range(3)])
        directed = {tuple(e) for e in edges}
        # Each directed edge occurs once and its opposite too: watertight and consistently oriented.
        assert len(directed) == len(edges)
        assert {(b, a) for a, b in directed} == directed
        assert len(mesh.vertices) - len(edges) // 2 + len(mesh.faces) == 2
        a, b, c = (mesh.vertices[mesh.faces[:, k]] - mesh.vertices.mean(axis=0) for k in range(3))
        assert np.einsum("fi,fi->", a, np.cross(b, c)) > 0
        solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        assert np.rad2deg(solid.face_angles.min()) > 5


def test_same_seed_same_shape_and_more_shapes_only_append(shapes):
    again = generate_shapes(2, seed=5)
    for family in range(len(FAMILIES)):
        for i in range(2):
            first, second = shapes[3 * family + i][0], again[2 * family + i][0]
            np.testing.assert_array_equal(first.vertices, second.vertices)
            np.testing.assert_array_equal(first.faces, second.faces)
    other = generate_shapes(1, seed=6)[0][0]
    assert other.vertices.shape != shapes[0][0].vertices.shape or not np.allclose(
        other.vertices, shapes[0][0].vertices
    )


def test_every_family_has_the_same_marks_at_the_promised_distance():
    for family in FAMILIES:
        motifs = generated.MOTIFS[family]
        frames, ridge = generated.place_motifs(motifs, np.random.default_rng(1))
        assert (ridge.sum(), (~ridge).sum()) == (4, 4)
        np.testing.assert_allclose(np.linalg.det(frames), 1)
        outward = frames[:, 2]
        motif = np.repeat(np.arange(len(motifs)), [len(m) for m in motifs])
        apart = motif[:, None] != motif
        assert (outward @ outward.T)[apart].max() <= np.cos(generated.LEAST_GAP) + 1e-12


@pytest.mark.parametrize(("family", "side"), [("dent_left", 1), ("dent_right", -1)])
def test_left_and_right_are_mirror_images(family, side):
    # x y of the dent in the frame of its ridge does not change when the ridge is turned by half a
    # turn, but changes its sign in a mirror.
    for seed in range(5):
        frames, ridge = generated.place_motifs(generated.MOTIFS[family], np.random.default_rng(seed))
        dents = frames[~ridge, 2]
        for frame in frames[ridge]:
            x, y, _ = frame @ dents[np.argmax(dents @ frame[2])]
            assert side * x * y > 0.05


def test_relief_rises_on_ridges_and_falls_in_dents():
    frames, ridge = generated.place_motifs(generated.MOTIFS["apart"], np.random.default_rng(3))
    height = generated.relief(frames[:, 2], "apart", np.random.default_rng(3))
    assert (height[ridge] > 0.2).all()
    assert (height[~ridge] < -0.2).all()
    ends = frames[ridge, 2] + 0.3 * frames[ridge, 0]
    sides = frames[ridge, 2] + 0.3 * frames[ridge, 1]
    along, across = (
        generated.relief(
            p / np.linalg.norm(p, axis=1, keepdims=True), "apart", np.random.default_rng(3)
        )
        for p in (ends, sides)
    )
    assert (along > across + 0.05).all()


def test_deformation_is_one_to_one_and_keeps_orientation():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.5, 1.5, (300, 3))
    step = 1e-5
    for seed in range(10):
        there = generated.deform(points, np.random.default_rng(seed))
        columns = [
            (generated.deform(points + step * e, np.random.default_rng(seed)) - there) / step
            for e in np.eye(3)
        ]
        assert np.linalg.det(np.stack(columns, axis=-1)).min() > 0.2


def test_number_of_vertices_is_kept():
    assert len(generate_shape("apart", np.random.default_rng(0), 300).vertices) == 300


def test_bad_requests_name_value_and_remedy():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="'cube' is not known, choose one of apart"):
        generate_shape("cube", rng)
    with pytest.raises(InputError, match=r"50 is too few .* use 200 or more"):
        generate_shape("apart", rng, 50)


def test_folder_holds_the_shapes_in_three_formats(tmp_path):
    files = write_shapes(tmp_path / "shapes", train=2, test=1, seed=5)
    assert {f.suffix for f in files} == {".ply", ".obj", ".off"}
    assert sorted(files) == sorted(f for f in tmp_path.rglob("*") if f.is_file())
    shapes = generate_shapes(3, seed=5)
    for position in range(4):
        file, (mesh, label) = files[position], shapes[position]
        part = "train" if position % 3 < 2 else "test"
        assert file.parts[-3:-1] == (FAMILIES[label], part)
        read = trimesh.load(file, process=False)
        np.testing.assert_allclose(read.vertices, mesh.vertices, rtol=1e-8, atol=1e-8)
        np.testing.assert_array_equal(read.faces, mesh.faces)
