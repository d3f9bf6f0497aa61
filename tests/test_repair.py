"""Repair of damaged meshes: nothing is left to repair, nothing else is changed, and the way back is known."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from defective import ALL, DAMAGES, damaged
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from meshes import MANIFOLD, flat_sheet, icosphere, moebius

from meshconv import InputError, TriangleMesh, load_mesh
from meshconv.geometry import Changes, Origin, mesh_features
from meshconv.geometry.repair.repair import repair_surface
from meshconv.io import save_mesh

LEFT_BY_DROP = ("open seams", "T-junctions", "inside out")
FUZZ = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def check_maps(before: TriangleMesh, after: TriangleMesh) -> None:
    """Each vertex is where it was; both directions of the maps agree; faces keep their corners."""
    origin = after.origin
    assert origin is not None
    assert (after.vertices == before.vertices[origin.vertex_from]).all()
    there = origin.vertex_to >= 0
    assert len(origin.vertex_to) == before.num_vertices
    np.testing.assert_array_equal(before.vertices[there], after.vertices[origin.vertex_to[there]])
    kept = origin.face_to >= 0
    assert len(origin.face_to) == before.num_faces
    assert (origin.face_from[origin.face_to[kept]] == np.flatnonzero(kept)).all()


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_left_to_repair(name: str) -> None:
    mesh = damaged(name)
    repaired = mesh.repair(isolated="drop")
    orientable = mesh.defects.orientable or repaired.defects.orientable
    assert [p for p in repaired.defects.problems() if orientable or "orient" not in p] == []
    check_maps(mesh, repaired)
    graph = repaired.gauge_graph()
    graph.validate()
    assert graph.num_edges > 0
    assert torch.isfinite(mesh_features(repaired, graph)).all()
    again = repaired.repair(isolated="drop")
    assert again.origin.changes == repaired.origin.changes  # a second repair finds nothing to add
    assert np.array_equal(again.faces, repaired.faces)


@pytest.mark.parametrize("name", ALL)
def test_drop_only_takes_faces_away(name: str) -> None:
    mesh = damaged(name)
    left = mesh.repair("drop")
    check_maps(mesh, left)
    assert np.array_equal(left.vertices, mesh.vertices)
    assert np.array_equal(left.faces, mesh.faces[left.origin.face_from])
    problems = [p for p in left.defects.problems(isolated=False) if not p.endswith(LEFT_BY_DROP)]
    assert all("orient" in p for p in problems)
    assert not problems or not left.defects.orientable
    left.gauge_graph().validate()


@pytest.mark.parametrize("name", DAMAGES)
def test_error_names_the_defects(name: str) -> None:
    mesh = damaged(name)
    problems = mesh.defects.problems(isolated=False)
    if problems:
        with pytest.raises(InputError) as caught:
            mesh.repair("error")
        assert str(caught.value).startswith(f"{name}: {problems[0]}")
    else:
        assert np.array_equal(mesh.repair("error").faces, mesh.faces)


@pytest.mark.parametrize("name", MANIFOLD)
@pytest.mark.parametrize("policy", ["repair", "drop", "error"])
def test_clean_meshes_stay_as_they_are(name: str, policy: str) -> None:
    mesh = MANIFOLD[name][0]()
    same = mesh.repair(policy, isolated="drop")
    assert np.array_equal(same.faces, mesh.faces)
    assert np.array_equal(same.vertices, mesh.vertices)
    assert not same.origin.changes
    assert str(same.origin.changes) == "nothing changed"


CHANGES = {
    "repeated_corner": Changes(degenerate_faces=1),
    "duplicate": Changes(duplicate_faces=2),
    "flap": Changes(duplicate_faces=2, isolated_vertices=1),
    "zero_edge": Changes(degenerate_faces=2, welded_vertices=1),
    "flat_face": Changes(flipped_edges=1),
    "t_junction": Changes(split_edges=3),
    "fin": Changes(added_vertices=2),
    "bow_tie": Changes(added_vertices=1),
    "isolated": Changes(isolated_vertices=2),
    "turned": Changes(turned_faces=3),
    "moebius_strip": Changes(),
    "sliver": Changes(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_counted(name: str) -> None:
    assert damaged(name).repair(isolated="drop").origin.changes == CHANGES[name]


@pytest.mark.parametrize(
    "name",
    ["repeated_corner", "duplicate", "flap", "zero_edge", "flat_face", "t_junction", "isolated", "turned", "seam"],
)
def test_a_damaged_sphere_is_a_sphere_again(name: str) -> None:
    found = damaged(name).repair(isolated="drop").defects
    assert (found.components, found.genus, found.boundary_loops) == (1, 0, 0)


def test_sheets_back_to_back_are_not_taken_for_flaps() -> None:
    sheet = flat_sheet()
    both = TriangleMesh(sheet.vertices, np.vstack([sheet.faces, sheet.faces[:, ::-1]])).repair()
    assert np.array_equal(both.faces, sheet.faces)
    one = TriangleMesh(np.eye(3), np.array([[0, 1, 2], [2, 1, 0]])).repair()
    assert one.num_faces == 1


def test_a_fin_is_cut_off_and_the_sphere_stays_closed() -> None:
    repaired = damaged("fin").repair()
    found = repaired.defects
    assert (found.components, found.boundary_loops, found.euler_characteristic) == (2, 1, 3)
    assert repaired.num_vertices == 45
    # The larger part keeps the numbers: the sphere's faces are what they were.
    assert np.array_equal(repaired.faces[:80], icosphere(1).faces)


def test_flat_faces_leave_no_crack() -> None:
    mesh = damaged("flat_face")
    repaired = mesh.repair()
    assert repaired.half_edges.is_closed
    assert repaired.area == pytest.approx(mesh.area, rel=1e-12)
    assert repaired.num_faces == mesh.num_faces


def test_a_welded_seam_joins_the_graph() -> None:
    mesh = damaged("seam")
    repaired = mesh.repair()
    assert repaired.num_vertices == icosphere(1).num_vertices
    assert repaired.half_edges.is_closed
    label = np.arange(repaired.num_vertices)
    back = repaired.to_original_vertices(label)
    place = {tuple(p): i for p, i in zip(mesh.vertices, back, strict=True)}
    assert all(place[tuple(p)] == i for p, i in zip(mesh.vertices, back, strict=True))


def test_a_moebius_strip_is_kept_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_mesh(moebius(), tmp_path / "m.ply")
    with caplog.at_level(logging.INFO):
        mesh = load_mesh(tmp_path / "m.ply")
    assert "cannot be oriented" in caplog.text
    assert np.array_equal(mesh.faces, moebius().faces)
    mesh.gauge_graph().validate()


def test_values_come_back_on_the_original() -> None:
    mesh = damaged("isolated+repeated_corner")
    repaired = mesh.repair(isolated="drop")
    height = repaired.vertices[:, 2]
    back = repaired.to_original_vertices(height)
    assert np.isnan(back[[0, -1]]).all()
    assert np.array_equal(back[1:-1], mesh.vertices[1:-1, 2])
    rows = repaired.to_original_faces(np.arange(repaired.num_faces))
    assert rows.tolist() == [*range(80), -1]
    assert repaired.to_original_faces(np.ones((80, 2)), fill=0.0)[-1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="this mesh has 42 vertices"):
        repaired.to_original_vertices(height[:-1])


def test_two_repairs_lead_back_to_the_first_mesh() -> None:
    mesh = damaged("isolated+fin")
    twice = mesh.repair().repair(isolated="drop")
    check_maps(mesh, twice)
    assert twice.origin.changes == Changes(added_vertices=2, isolated_vertices=2)


def test_origins_compose_like_functions() -> None:
    first = Origin(np.array([0, 2, 2]), np.array([0, -1, 1]), np.array([1]), np.array([-1, 0]))
    second = Origin(np.array([2, 0]), np.array([1, -1, 0]), np.array([0]), np.array([0]))
    both = first.then(second)
    assert both.vertex_from.tolist() == [2, 0]
    assert both.vertex_to.tolist() == [1, -1, -1]
    assert both.face_to.tolist() == [-1, 0]


def test_data_are_carried_along() -> None:
    mesh = damaged("isolated+fin+duplicate")
    label, quality = np.arange(mesh.num_vertices), np.linspace(0, 1, mesh.num_faces)
    mesh = TriangleMesh(mesh.vertices, mesh.faces, "", {"label": label}, {"quality": quality})
    repaired = mesh.repair(isolated="drop")
    assert np.array_equal(repaired.vertex_data["label"], repaired.origin.vertex_from)
    assert np.array_equal(repaired.face_data["quality"], quality[repaired.origin.face_from])
    with pytest.raises(InputError, match=r"vertex data 'label' have shape \(3,\)"):
        TriangleMesh(mesh.vertices, mesh.faces, "", {"label": np.zeros(3)})


def test_unknown_policies() -> None:
    with pytest.raises(ValueError, match="'repair' or 'drop'"):
        icosphere(1).repair("mend")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'keep' or 'drop'"):
        icosphere(1).repair(isolated="bury")  # type: ignore[arg-type]


corner = st.integers(0, 9)
some_faces = arrays(np.int64, st.tuples(st.integers(0, 30), st.just(3)), elements=corner)
grid = arrays(np.float64, (10, 3), elements=st.integers(-1, 2).map(float))
wild = arrays(np.float64, (10, 3), elements=st.floats(allow_nan=False, allow_infinity=False, width=64))


@FUZZ
@given(points=st.one_of(grid, wild), faces=some_faces, policy=st.sampled_from(["repair", "drop"]))
def test_any_faces_and_coordinates(points: np.ndarray, faces: np.ndarray, policy: str) -> None:
    try:
        mesh = TriangleMesh(points, faces, "fuzz")
    except InputError:
        return
    repaired = mesh.repair(policy)
    check_maps(mesh, repaired)
    found = repaired.defects
    assert (found.nonmanifold_edges, found.nonmanifold_vertices) == (0, 0)
    assert (found.duplicate_faces, found.degenerate_faces) == (0, 0)
    assert found.orientation_conflicts == 0 or not found.orientable
    if policy == "repair":
        assert found.seam_edges == 0
    if repaired.num_faces == 0 or repaired.area == 0:
        with pytest.raises(InputError, match=r"no faces|no area"):
            repaired.gauge_graph()
    else:
        repaired.gauge_graph().validate()


@FUZZ
@given(
    points=arrays(np.float64, st.tuples(st.integers(0, 5), st.integers(2, 3)), elements=st.floats(width=64)),
    faces=arrays(np.int64, st.tuples(st.integers(0, 4), st.integers(2, 3)), elements=st.integers(-1, 5)),
)
def test_anything_is_a_mesh_or_an_input_error(points: np.ndarray, faces: np.ndarray) -> None:
    message = "fuzz: a mesh"
    try:
        TriangleMesh(points, faces, "fuzz").repair().gauge_graph().validate()
    except InputError as error:
        message = str(error)
    assert message.startswith("fuzz: ")
    assert "\n" not in message


def test_faces_on_one_line_end() -> None:
    """Every face is flat, and so is each that flipping makes: all are removed, in bounded time."""
    points = np.outer(np.arange(60.0), [1.0, 2, 3])
    faces = np.random.default_rng(0).integers(0, 60, (2000, 3))
    left, origin = repair_surface(points / 200, faces)
    assert len(left) == 0
    assert (origin.face_to == -1).all()
