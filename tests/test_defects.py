"""Counts of defects against meshes whose defects are known, and invariants of clean ones."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from defective import damaged
from meshes import MANIFOLD, flat_sheet, icosphere, moebius, single_triangle

from meshconv import TriangleMesh
from meshconv.geometry.repair.defects import edge_faces as group_edges, flat_faces, open_seams, places

CLEAN = asdict(icosphere(1).defects)
KNOWN = {
    "repeated_corner": {"faces": 81, "degenerate_faces": 1},
    "duplicate": {"faces": 82, "duplicate_faces": 2},
    "duplicate_turned": {"faces": 81, "duplicate_faces": 1},
    "zero_edge": {"degenerate_faces": 2, "coincident_vertices": 1, "edge_spread": float("inf")},
    "flat_face": {"vertices": 43, "faces": 82, "degenerate_faces": 1},
    "t_junction": {"vertices": 45, "faces": 83, "t_junctions": 3, "boundary_loops": 1, "nonmanifold_vertices": 3,
                   "euler_characteristic": -1, "genus": None},
    "fin": {"vertices": 43, "faces": 81, "nonmanifold_edges": 1, "nonmanifold_vertices": 2, "genus": None,
            "euler_characteristic": 2, "boundary_loops": 1},
    "bow_tie": {"vertices": 45, "faces": 84, "nonmanifold_vertices": 1, "genus": None, "euler_characteristic": 3},
    "isolated": {"vertices": 44, "unreferenced_vertices": 2},
    "moebius_strip": {"vertices": 102, "faces": 160, "components": 2, "orientable": False, "genus": None,
                      "orientation_conflicts": 2, "boundary_loops": 1},
    "hole": {"faces": 78, "boundary_loops": 2, "euler_characteristic": 0},
    "double_skin": {"vertices": 84, "faces": 160, "components": 2, "euler_characteristic": 4,
                    "coincident_vertices": 42},
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_each_defect_is_counted_and_nothing_else(name: str) -> None:
    found = asdict(damaged(name).defects)
    shape = {"smallest_angle", "edge_spread"} - set(KNOWN[name])
    assert {k: v for k, v in found.items() if k not in shape} == {
        k: v for k, v in {**CLEAN, **KNOWN[name]}.items() if k not in shape
    }


@pytest.mark.parametrize("name", MANIFOLD)
def test_clean_meshes_have_no_problems_and_the_right_topology(name: str) -> None:
    build, chi = MANIFOLD[name]
    found = build().defects
    assert found.problems() == []
    assert found.euler_characteristic == chi
    loops = {"flat_sheet": 1, "bumpy_sheet": 1, "cylinder": 2, "single_triangle": 1}.get(name, 0)
    assert (found.boundary_loops, found.components) == (loops, 1)
    assert found.genus == {"torus": 1, "double_torus": 2}.get(name, 0)


def test_conflicts_are_the_edges_round_turned_faces() -> None:
    sphere = icosphere(1)
    faces = sphere.faces.copy()
    faces[7] = faces[7, ::-1]
    assert TriangleMesh(sphere.vertices, faces).defects.problems() == ["3 orientation conflicts"]
    assert TriangleMesh(sphere.vertices, sphere.faces[:, ::-1]).defects.problems() == ["inside out"]


def test_a_seam_is_found_edge_by_edge() -> None:
    found = damaged("seam").defects
    assert found.seam_edges == found.coincident_vertices > 5
    assert (found.components, found.boundary_loops) == (2, 2)


def test_sheets_of_a_doubled_surface_are_no_seam() -> None:
    sheet = flat_sheet()
    both = TriangleMesh(np.vstack([sheet.vertices] * 2), np.vstack([sheet.faces, sheet.faces + sheet.num_vertices]))
    assert both.defects.problems() == []
    assert both.defects.coincident_vertices == sheet.num_vertices


def test_three_open_edges_in_one_place_are_no_seam() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]])
    one = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    apart = TriangleMesh(points[one.ravel()], np.arange(9).reshape(3, 3))
    assert apart.defects.seam_edges == 0
    two = TriangleMesh(apart.vertices[:6], apart.faces[:2])
    assert two.defects.seam_edges == 1
    pair = open_seams(places(two.vertices), two.faces, group_edges(two.faces, 6))
    assert sorted(int(h[0]) for h in pair) == [0, 3]


def test_a_moebius_strip_is_not_orientable() -> None:
    found = moebius().defects
    assert not found.orientable
    assert (found.euler_characteristic, found.boundary_loops, found.genus) == (0, 1, None)
    assert "not orientable" in found.problems()


def test_flat_means_on_a_line_to_within_rounding() -> None:
    faces = np.array([[0, 1, 2]])
    for height, flat in ((0.0, True), (1e-17, True), (1e-14, False), (1e-6, False)):
        for size in (1.0, 1e-70):
            points = size * np.array([[0.0, 0, 0], [1, 0, 0], [0.3, height, 0]])
            assert flat_faces(points, faces)[0] == flat
    assert flat_faces(np.zeros((3, 3)), faces)[0]


def test_smallest_angle_and_spread() -> None:
    found = single_triangle().defects
    assert found.smallest_angle == pytest.approx(np.degrees(np.arctan(0.5)))
    assert found.edge_spread == pytest.approx(5**0.5)


def test_counts_do_not_depend_on_size_place_or_order() -> None:
    rng = np.random.default_rng(0)
    mesh = damaged("fin+turned")
    place = rng.permutation(mesh.num_vertices)
    moved = np.empty_like(mesh.vertices)
    moved[place] = 1e60 * mesh.vertices
    other = TriangleMesh(moved, rng.permutation(place[mesh.faces])).defects
    for name, value in asdict(mesh.defects).items():
        assert getattr(other, name) == pytest.approx(value)


def test_as_dict_is_json() -> None:
    found = damaged("zero_edge").defects.as_dict()
    assert found["edge_spread"] is None
    json.dumps(found, allow_nan=False)


def test_a_mesh_without_faces_has_no_surface() -> None:
    found = TriangleMesh(np.eye(3), np.zeros((0, 3), dtype=int)).defects
    assert (found.components, found.unreferenced_vertices, found.smallest_angle) == (0, 3, 0.0)
