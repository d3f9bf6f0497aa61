"""Variants of meshes: what each choice does, that labels follow, that nothing depends on chance that is not seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from meshes import DEFECTIVE, MANIFOLD, blob, bumpy_sheet, icosphere, torus
from scipy.spatial import cKDTree

from meshconv import InputError, TriangleMesh
from meshconv.datasets import MeshFolder, Preparation, prepare_meshes, write_shapes
from meshconv.geometry import Augmentation, simplify
from meshconv.geometry.repair.simplification import refine, subdivide_at_random

EVERYTHING = Augmentation(
    rotation=True, scale=1.5, noise=0.02, decimate=0.3, remesh=0.5, subdivide=0.3, uneven=0.5, cutout=0.4
)


def with_labels(mesh: TriangleMesh) -> TriangleMesh:
    """Label 1 where x > 0, per vertex and per face."""
    centres = mesh.vertices[mesh.faces].mean(axis=1)
    vertex_data = {"side": (mesh.vertices[:, 0] > 0).astype(int)}
    return TriangleMesh(mesh.vertices, mesh.faces, "labelled", vertex_data, {"side": (centres[:, 0] > 0).astype(int)})


def distance(points: np.ndarray, mesh: TriangleMesh) -> np.ndarray:
    """To the nearest of many points of a surface, a few thousandths of its size apart."""
    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    return cKDTree(trimesh.sample.sample_surface(surface, 60_000, seed=0)[0]).query(points)[0]


def drawn(augment: Augmentation, mesh: TriangleMesh, seed: int = 0) -> TriangleMesh:
    return augment.apply(mesh.repair(), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(3))
def test_equal_seeds_give_equal_meshes_and_others_do_not(seed: int) -> None:
    one, same, other = (drawn(EVERYTHING, blob(), s) for s in (seed, seed, seed + 100))
    assert np.array_equal(one.vertices, same.vertices) and np.array_equal(one.faces, same.faces)
    assert one.vertices.shape != other.vertices.shape or not np.allclose(one.vertices, other.vertices)


def test_nothing_is_done_by_default() -> None:
    mesh = blob().repair()
    assert Augmentation().apply(mesh, np.random.default_rng(0)) is mesh


def test_turning_and_scaling_keep_the_shape() -> None:
    mesh = blob()
    result = drawn(Augmentation(rotation=True, scale=(2.0, 2.0)), mesh)
    assert np.array_equal(result.faces, mesh.faces)
    assert result.area == pytest.approx(4 * mesh.area)
    assert np.allclose(result.corner_angles, mesh.corner_angles)
    assert not np.allclose(result.vertices, 2 * mesh.vertices, atol=0.1)


def test_noise_has_the_deviation_asked_for_and_never_folds() -> None:
    mesh = icosphere(3)
    moved = drawn(Augmentation(noise=(0.01, 0.01)), mesh).vertices - mesh.vertices
    assert moved.std() == pytest.approx(0.01 * np.sqrt(mesh.area), rel=0.05)
    edge = np.linalg.norm(np.diff(mesh.vertices[mesh.faces[:, :2]], axis=1), axis=-1).mean()
    most = drawn(Augmentation(noise=(1.0, 1.0)), mesh).vertices - mesh.vertices
    assert most.std() == pytest.approx(0.4 * edge, rel=0.1)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_decimation_keeps_surface_and_topology(share: float) -> None:
    mesh = torus(36, 18)
    result = drawn(Augmentation(decimate=(share, share)), mesh)
    assert result.num_faces == pytest.approx(share * mesh.num_faces, abs=2)
    assert result.half_edges.is_closed and result.num_vertices == result.num_faces / 2  # Euler characteristic 0
    assert distance(result.vertices, mesh).max() < 0.03 * np.sqrt(mesh.area)


def test_a_mesh_with_few_enough_faces_stays_as_it_is() -> None:
    mesh = icosphere(2)
    assert simplify(mesh, 320) is mesh and simplify(mesh, 100).num_faces == 100
    with pytest.raises(ValueError, match="at least 4"):
        simplify(mesh, 3)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_simplification_does_not_depend_on_place_and_size(factor: float) -> None:
    mesh = blob()
    moved = TriangleMesh(factor * (mesh.vertices + np.array([5, 0, -3])), mesh.faces)
    assert simplify(moved, 300).area == pytest.approx(factor**2 * simplify(mesh, 300).area, rel=1e-3)


def test_random_subdivision_is_the_same_surface() -> None:
    mesh = torus()
    points, faces = subdivide_at_random(mesh, np.random.default_rng(0))
    fine = TriangleMesh(points, faces).repair(on_defect="error")
    assert fine.num_faces == 4 * mesh.num_faces and fine.half_edges.is_closed
    assert fine.area == pytest.approx(mesh.area, rel=1e-12)


def test_remeshing_gives_other_triangles_on_the_same_surface() -> None:
    mesh = blob()
    result = drawn(Augmentation(remesh=1.0), mesh)
    assert result.num_faces == pytest.approx(mesh.num_faces, abs=2)
    assert result.area == pytest.approx(mesh.area, rel=0.01)
    assert distance(result.vertices, mesh).max() < 0.01 * np.sqrt(mesh.area)
    stays = cKDTree(mesh.vertices).query(result.vertices)[0] < 1e-9
    assert stays.mean() < 0.6


def test_subdivision_cuts_every_face_in_four() -> None:
    mesh = with_labels(blob())
    result = drawn(Augmentation(subdivide=1.0), mesh)
    assert result.num_faces == 4 * mesh.num_faces and result.half_edges.is_closed
    assert result.area == pytest.approx(mesh.area, rel=1e-12)
    assert np.array_equal(np.bincount(result.origin.face_from), np.full(mesh.num_faces, 4))
    assert np.array_equal(result.face_data["side"], mesh.face_data["side"][result.origin.face_from])
    assert np.array_equal(result.to_original_faces(result.face_data["side"]), mesh.face_data["side"])


@pytest.mark.parametrize("build", [blob, torus, bumpy_sheet])
def test_uneven_triangulations_are_conforming(build: object) -> None:
    mesh = with_labels(build())  # type: ignore[operator]
    counts = []
    for seed in range(6):
        result = drawn(Augmentation(uneven=1.0), mesh, seed)
        assert result.defects.problems() == []
        assert result.half_edges.is_closed == mesh.half_edges.is_closed
        assert result.defects.euler_characteristic == mesh.defects.euler_characteristic
        assert result.area == pytest.approx(mesh.area, rel=1e-12)
        parts = np.bincount(result.origin.face_from, minlength=mesh.num_faces)
        assert 0.15 < (parts == 4).mean() < 0.85 and (parts == 1).any()
        counts.append(result.num_faces)
        sides = result.vertices[result.faces].mean(axis=1)[:, 0]
        clear = np.abs(sides) > 0.3
        assert np.array_equal(result.face_data["side"][clear], (sides > 0)[clear].astype(int))
        assert (result.to_original_vertices(result.vertex_data["side"]) == mesh.vertex_data["side"]).all()
    assert len(set(counts)) == 6


def test_one_option_does_not_change_the_others() -> None:
    both = drawn(Augmentation(noise=0.02, decimate=0.5, rotation=True, subdivide=1e-9), blob())
    one = drawn(Augmentation(noise=0.02, decimate=0.5, rotation=True), blob())
    assert np.array_equal(both.vertices, one.vertices) and np.array_equal(both.faces, one.faces)


def test_refined_parts() -> None:
    mesh = icosphere(2)
    assert refine(mesh, np.zeros(mesh.num_faces, dtype=bool)).num_faces == mesh.num_faces
    one = np.arange(mesh.num_faces) == 7
    assert refine(mesh, one).num_faces == mesh.num_faces + 3 + 3


def test_a_cut_out_is_a_disc_of_the_radius_asked_for() -> None:
    mesh = icosphere(4)
    result = drawn(Augmentation(cutout=(0.2, 0.2)), mesh)
    gone = np.setdiff1d(np.arange(mesh.num_vertices), result.origin.vertex_from)
    radius = 0.2 * np.sqrt(mesh.area)
    flat_disc = np.pi * radius**2 / mesh.area
    assert 0.7 * flat_disc < 1 - result.area / mesh.area < 1.3 * flat_disc
    centre = mesh.vertices[gone].mean(axis=0)
    angle = np.arccos(np.clip(mesh.vertices[gone] @ centre / np.linalg.norm(centre), -1, 1))
    assert angle.max() < 1.05 * radius
    assert (result.origin.vertex_to[gone] == -1).all() and not result.half_edges.is_closed
    assert drawn(Augmentation(cutout=(5.0, 5.0)), mesh).num_faces == mesh.num_faces  # would leave nothing


@pytest.mark.parametrize("seed", range(4))
def test_labels_follow(seed: int) -> None:
    mesh = with_labels(blob())
    augment = Augmentation(noise=0.005, decimate=0.3, remesh=0.5, cutout=0.3)
    result = drawn(augment, mesh, seed)
    clear = np.abs(result.vertices[:, 0]) > 0.15
    assert np.array_equal(result.vertex_data["side"][clear], (result.vertices[:, 0] > 0)[clear].astype(int))
    centre = result.vertices[result.faces].mean(axis=1)[:, 0]
    clear = np.abs(centre) > 0.2
    assert np.array_equal(result.face_data["side"][clear], (centre > 0)[clear].astype(int))
    # And back: what is known of the variant's vertices is known of the given ones, cut-outs aside.
    back = result.to_original_vertices(result.vertex_data["side"])
    there = (back >= 0) & (np.abs(mesh.vertices[:, 0]) > 0.2)
    assert there.any() and np.array_equal(back[there], mesh.vertex_data["side"][there])


def test_the_two_sides_of_a_thin_plate_are_told_apart() -> None:
    box = trimesh.creation.box((4, 4, 0.05))
    for _ in range(4):
        box = box.subdivide()
    top = (box.vertices[box.faces].mean(axis=1)[:, 2] > 0.02).astype(int)
    mesh = TriangleMesh(box.vertices, box.faces, face_data={"top": top})
    result = drawn(Augmentation(decimate=(0.4, 0.4), remesh=1.0), mesh)
    normal = np.cross(*np.diff(result.vertices[result.faces], axis=1).transpose(1, 0, 2))
    flat = np.abs(normal[:, 2]) > 0.9 * np.linalg.norm(normal, axis=1)
    assert np.array_equal(result.face_data["top"][flat], (normal[flat, 2] > 0).astype(int))


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_variants_are_valid_meshes(name: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    if not mesh.repair().num_faces:
        return
    for seed in range(4):
        result = drawn(EVERYTHING, mesh, seed)
        assert not result.defects.problems(True), name
        assert result.area > 0 and np.isfinite(result.vertices).all()
        assert np.isfinite(Preparation().inputs(result)[0].numpy()).all()
        assert result.origin is not None
        assert result.origin.vertex_from.max() < mesh.num_vertices and result.origin.face_from.max() < mesh.num_faces


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"noise": -0.1}, "noise -0.1"),
        ({"noise": (0.2, 0.1)}, "two that ascend"),
        ({"decimate": 0.0}, "decimate 0.0"),
        ({"scale": 0}, "scale 0"),
        ({"remesh": (0, 1)}, "remesh"),
        ({"uneven": (0, 1)}, "uneven"),
        ({"subdivide": 2}, "subdivide 2"),
        ({"cutout": float("nan")}, "cutout nan"),
        ({"noise": "much"}, "noise 'much'"),
        ({"rotation": 1}, "rotation 1"),
        ({"shear": 1.0}, "shear"),
    ],
)
def test_bad_values(values: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Augmentation.from_spec(values)


def test_variants_depend_on_content_and_number_alone(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", train=1, test=1)
    paths = [(p, 0) for p in sorted((tmp_path / "shapes").rglob("train/*"))]
    augment = {"noise": 0.01, "decimate": 0.5}
    found = []
    for variant, workers in ((1, 0), (1, 2), (2, 0)):
        how = Preparation(augment=augment, variant=variant)  # type: ignore[arg-type]
        found.append(prepare_meshes(paths, how, workers=workers)[0])
    for a, b, other in zip(*found, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.surface.transporter, b.surface.transporter)
        assert a.x.shape != other.x.shape


@pytest.mark.slow
def test_the_folder_trains_on_variants_and_tests_on_meshes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shapes(tmp_path / "shapes", train=2, test=1)
    options = {"cache": str(tmp_path / "cache"), "workers": 0, "max_faces": 900}
    data = MeshFolder(str(tmp_path / "shapes"), augment={"decimate": 0.4}, variants=3, **options)
    plain = MeshFolder(str(tmp_path / "shapes"), **options)
    assert data.spec == plain.spec
    assert [len(s.x) for s in data.samples("test")] == [len(s.x) for s in plain.samples("test")]
    assert all(len(s.origin.face_from) <= 900 for s in data.samples("test"))
    torch.manual_seed(0)
    sizes = [{len(s.x) for s in data.train_dataloader().dataset.dataset} for _ in range(2)]
    assert sizes[0] != sizes[1] and min(sizes[0]) < min(len(s.x) for s in plain.samples("train"))
    monkeypatch.setattr("meshconv.datasets.meshes.module._MOST_PREPARED", 3 * len(plain.files["train"]))
    fewer = MeshFolder(str(tmp_path / "shapes"), augment={"decimate": 0.4}, variants=3, **options)
    assert {len(choice) for choice in fewer.train_dataloader().dataset.dataset.choices} == {3}
    for bad in ({"variants": 2}, {"variants": -1, "augment": {"noise": 0.1}}):
        with pytest.raises(InputError, match=r"need something that varies|has to be at least 0"):
            MeshFolder(str(tmp_path / "shapes"), **bad)  # type: ignore[arg-type]
