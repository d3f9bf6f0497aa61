"""T-junctions: known numbers, boundaries that have none, repair that leaves none, and the way back to the file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from meshes import MANIFOLD, blob, bumpy_sheet, flat_sheet, icosphere, moebius, torus

from meshconv import InputError, TriangleMesh, load_mesh
from meshconv.cli import main
from meshconv.datasets import prepare_mesh
from meshconv.datasets.meshes.transfer.elements import ElementLabels, count_in_file, edges_of, elements_of_file
from meshconv.io import read_mesh, save_mesh


def finer(mesh: TriangleMesh, part: np.ndarray, times: int = 1) -> TriangleMesh:
    """Each face of ``part`` cut in four, the others as they are; the new vertices of a common edge are one."""
    v, f = mesh.vertices, mesh.faces
    for _ in range(times):
        v, fine = trimesh.remesh.subdivide(v, f[part])
        f = np.vstack([f[~part], fine])
        part = np.arange(len(f)) >= (~part).sum()
    return TriangleMesh(v, f, "finer")


def half(mesh: TriangleMesh, times: int = 1) -> TriangleMesh:
    return finer(mesh, mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > mesh.vertices[:, 0].mean() + 1e-9, times)


def between(mesh: TriangleMesh) -> int:
    """Edges between the halves: each has a T-junction after one subdivision, three after two."""
    side = mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > mesh.vertices[:, 0].mean() + 1e-9
    twin = mesh.half_edges.twin
    return int(((twin >= 0) & side.repeat(3) & ~side[twin // 3]).sum())


@pytest.mark.parametrize("name", MANIFOLD)
def test_ordinary_boundaries_have_none(name: str) -> None:
    assert MANIFOLD[name][0]().defects.t_junctions == 0


def test_holes_slits_and_thin_strips_have_none() -> None:
    rng = np.random.default_rng(0)
    for mesh in (blob(), bumpy_sheet(), torus(), moebius()):
        kept = TriangleMesh(mesh.vertices, mesh.faces[rng.random(mesh.num_faces) < 0.6])
        assert kept.defects.t_junctions == 0
    # Sheets 1e-4 of their length wide, with vertices all along, and a vertex that touches an edge.
    x = np.linspace(0, 1, 41)
    for width in (1e-2, 1e-4, 1e-7):
        two = np.stack([np.tile(x, 2), np.repeat([0, width], 41), np.zeros(82)], axis=1)
        fan = [
            [0, 40, 41 + 20],
            *([0, 41 + k + 1, 41 + k] for k in range(20)),
            *([40, 41 + k + 1, 41 + k] for k in range(20, 40)),
        ]
        assert TriangleMesh(two, np.array(fan)).defects.t_junctions == 0
    touching = np.array([[0.0, 0, 0], [2, 0, 0], [1, 2, 0], [1, 0, 0], [0.5, -2, 0], [1.5, -2, 0]])
    assert TriangleMesh(touching, np.array([[0, 1, 2], [3, 4, 5]])).defects.t_junctions == 0


@pytest.mark.parametrize("build", [icosphere, blob, torus, flat_sheet, bumpy_sheet, moebius])
@pytest.mark.parametrize("times", [1, 2])
def test_half_of_the_faces_finer(build: Callable[[], TriangleMesh], times: int) -> None:
    mesh = build()
    broken = half(mesh, times)
    assert broken.defects.t_junctions == between(mesh) * (2**times - 1)
    assert f"{broken.defects.t_junctions} T-junctions" in broken.defects.problems()
    mended = broken.repair()
    found, before = mended.defects, mesh.defects
    assert found.t_junctions == found.seam_edges == 0
    assert (found.components, found.euler_characteristic, found.boundary_loops) == (
        before.components, before.euler_characteristic, before.boundary_loops
    )  # fmt: skip
    assert mended.area == pytest.approx(mesh.area, rel=1e-12)
    assert mended.origin.changes.split_edges == between(mesh)
    assert np.array_equal(mended.vertices, broken.vertices)
    again = mended.repair()
    assert np.array_equal(again.faces, mended.faces)


def test_seams_of_scenes_and_staggered_edges() -> None:
    """Strips of 7 and 5 squares with vertices of their own meet along a line; every second vertex is moved aside."""

    def strip(columns: int, low: float, high: float) -> TriangleMesh:
        x = np.linspace(0, 1, columns + 1)
        v = np.concatenate([np.stack([x, 0 * x + y, 0 * x], axis=1) for y in (low, high)])
        a = np.arange(columns)
        b = a + columns + 1
        return TriangleMesh(v, np.concatenate([np.stack([a, a + 1, b + 1], 1), np.stack([a, b + 1, b], 1)]))

    one, two = strip(7, 0, 0.2), strip(5, 0.2, 0.5)
    both = TriangleMesh(np.vstack([one.vertices, two.vertices]), np.vstack([one.faces, two.faces + one.num_vertices]))
    assert both.defects.t_junctions == 6 + 4
    found = both.repair().defects
    assert found.problems() == []
    assert (found.components, found.boundary_loops, found.euler_characteristic) == (1, 1, 1)


def test_t_junctions_on_t_junctions_and_on_two_edges_of_a_face() -> None:
    sphere = icosphere(2)
    x = sphere.vertices[sphere.faces].mean(axis=1)
    first = finer(sphere, x[:, 0] > 0)
    x = first.vertices[first.faces].mean(axis=1)
    second = finer(first, x[:, 1] + 0.3 * x[:, 0] > 0.1)
    scattered = finer(sphere, np.random.default_rng(0).random(sphere.num_faces) < 0.4, 2)
    for broken in (second, scattered):
        assert broken.defects.t_junctions > 50
        mended = broken.repair()
        assert mended.defects.problems() == []
        assert mended.half_edges.is_closed
        assert mended.area == pytest.approx(sphere.area, rel=1e-12)
        mended.gauge_graph().validate()


def test_overlapping_duplicates() -> None:
    """The whole broken sphere twice, and coarse faces that are there once more."""
    broken = half(icosphere(2))
    coarse = broken.faces[:5]
    n = broken.num_vertices
    again = TriangleMesh(np.vstack([broken.vertices, broken.vertices[coarse].reshape(-1, 3)]),
                         np.vstack([broken.faces, n + np.arange(15).reshape(5, 3)]))  # fmt: skip
    mended = again.repair()
    assert mended.defects.problems() == []
    assert mended.defects.t_junctions == 0
    assert mended.area == pytest.approx(broken.area + broken.face_areas[:5].sum(), rel=1e-9)


def test_sheets_that_lie_on_each_other_stay_two() -> None:
    sheet = flat_sheet()
    other = finer(sheet, np.ones(sheet.num_faces, dtype=bool))
    both = TriangleMesh(
        np.vstack([sheet.vertices, other.vertices]), np.vstack([sheet.faces, other.faces + sheet.num_vertices])
    )
    assert both.defects.t_junctions == 0


def test_cracks_of_a_curved_surface() -> None:
    """New vertices are on the sphere: off the edges by 2 % of their length."""
    sphere = icosphere(3)
    broken = half(sphere)
    round_ = TriangleMesh(broken.vertices / np.linalg.norm(broken.vertices, axis=1)[:, None], broken.faces)
    assert round_.defects.t_junctions == between(sphere)
    assert round_.repair().half_edges.is_closed
    # The same as a hole with an edge of its own is none: one side of it is not a chain of whole edges.
    open_ = TriangleMesh(round_.vertices, np.delete(round_.faces, len(sphere.faces) // 2 + 3, axis=0))
    assert open_.repair().defects.boundary_loops == 1


@pytest.mark.parametrize("digits", [4, 6])
def test_rounded_coordinates(digits: int) -> None:
    mesh = half(blob())
    rounded = TriangleMesh(np.round(mesh.vertices, digits), mesh.faces)
    assert rounded.defects.t_junctions == between(blob())
    assert rounded.repair().half_edges.is_closed
    single = TriangleMesh(mesh.vertices.astype(np.float32).astype(np.float64), mesh.faces)
    assert single.repair().half_edges.is_closed


def test_numbers_do_not_depend_on_size_place_or_order() -> None:
    mesh, rng = half(blob(), 2), np.random.default_rng(0)
    place = rng.permutation(mesh.num_vertices)
    moved = np.empty_like(mesh.vertices)
    moved[place] = 1e-40 * mesh.vertices[:, [1, 2, 0]]
    other = TriangleMesh(moved, rng.permutation(place[mesh.faces]))
    assert other.defects.t_junctions == mesh.defects.t_junctions
    assert other.repair().half_edges.is_closed


def test_faces_keep_one_prediction_and_labels_follow(tmp_path: Path) -> None:
    broken = half(blob())
    save_mesh(broken, tmp_path / "m.ply")
    raw = read_mesh(tmp_path / "m.ply")
    sample = prepare_mesh(tmp_path / "m.ply", ElementLabels("faces", np.arange(raw.num_faces)))
    assert sample.target.bincount().max() > 1
    found = elements_of_file("faces", sample, raw)
    assert np.array_equal(sample.target.numpy()[found], np.arange(raw.num_faces))
    at = ElementLabels("vertices", np.arange(raw.num_vertices))
    sample = prepare_mesh(tmp_path / "m.ply", at)
    assert np.array_equal(sample.target.numpy()[elements_of_file("vertices", sample, raw)], np.arange(raw.num_vertices))
    edges = ElementLabels("edges", np.arange(count_in_file(raw)["edges"]))
    sample = prepare_mesh(tmp_path / "m.ply", edges)
    place = elements_of_file("edges", sample, raw)
    assert (place >= 0).all()
    # A split edge has one of its parts, every other itself.
    of_file, found = edges_of(raw.faces), sample.elements.numpy()[place]
    kept = (np.sort(found, axis=1) == of_file).all(axis=1)
    assert (~kept).sum() == between(blob())
    at, points = of_file[~kept], raw.vertices
    along, middle = points[at[:, 1]] - points[at[:, 0]], points[found[~kept]].mean(axis=1) - points[at[:, 0]]
    share = (middle * along).sum(axis=1) / (along**2).sum(axis=1)
    np.testing.assert_allclose(share, 0.25, atol=1e-5)
    assert np.linalg.norm(middle - share[:, None] * along, axis=1).max() < 1e-6


def test_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = half(icosphere(1))
    save_mesh(broken, tmp_path / "m.ply")
    with pytest.raises(InputError, match=r"m.ply: 12 T-junctions, 12 non-manifold vertices; repair the mesh"):
        load_mesh(tmp_path / "m.ply", "error")
    assert load_mesh(tmp_path / "m.ply", "drop").origin.changes.split_edges == 0
    assert main(["check", str(tmp_path / "m.ply")]) == 1
    out = capsys.readouterr().out
    assert "m.ply: 12 T-junctions" in out and "T-jun." in out
    assert main(["check", str(tmp_path / "m.ply"), "--repair", str(tmp_path / "n.ply")]) == 0
    assert "12 edges split at vertices that lie on them" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "n.ply")]) == 0


def test_many_vertices_around_one_edge() -> None:
    """A thousand small triangles, in a heap beside a large one and along its edge."""
    rng = np.random.default_rng(0)
    for spread in ([0.0, 0.02, 0.02], [0.5, 0.05, 0.0], [0.5, 0.0, 0.0]):
        places = np.array([0.5, 0, 0]) + spread * rng.uniform(-1, 1, (1000, 1, 3))
        small = places + 1e-4 * rng.normal(size=(1000, 3, 3))
        points = np.vstack([[[0, 0, 0], [1, 0, 0], [0.5, 1, 0]], small.reshape(-1, 3)])
        mesh = TriangleMesh(points, np.arange(len(points)).reshape(-1, 3))
        assert mesh.defects.t_junctions == 0
        assert mesh.repair().num_faces == 1001


@pytest.mark.slow
def test_200_000_faces_in_a_few_seconds() -> None:
    sphere = icosphere(7)  # 327,680 faces
    mesh = TriangleMesh(sphere.vertices, sphere.faces[:160_000])
    broken = half(mesh)
    start = time.process_time()
    mended = broken.repair()
    assert time.process_time() - start < 20
    assert mended.defects.t_junctions == 0
