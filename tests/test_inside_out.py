"""Closed parts that are inside out: each by itself, unless it lies inside another."""

from __future__ import annotations

import numpy as np
import pytest
from meshes import icosphere, torus

from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.ops.surface import signed_volume

SPHERE = icosphere(1)
AT = (0.0, 0.0, 0.0)
FAR = (9.0, 1.0, -4.0)


def joined(*parts: tuple[float, tuple[float, ...], int], of: TriangleMesh = SPHERE) -> TriangleMesh:
    """Copies of a mesh: their scale, place, and +1 if they point outward, -1 inward."""
    vertices = [of.vertices * scale + np.array(place) for scale, place, _ in parts]
    faces = [of.faces[:, ::sense] + k * of.num_vertices for k, (_, _, sense) in enumerate(parts)]
    return TriangleMesh(np.concatenate(vertices), np.concatenate(faces))


def senses(mesh: TriangleMesh, faces: np.ndarray, of: TriangleMesh = SPHERE) -> list[int]:
    """+1 or -1 for each copy."""
    return [
        int(np.sign(signed_volume(mesh.vertices[start : start + of.num_vertices], own - start)))
        for start in range(0, mesh.num_vertices, of.num_vertices)
        if len(own := faces[faces[:, 0] // of.num_vertices == start // of.num_vertices])
    ]


CASES = {
    "a small one of two": ([(1, AT, 1), (0.9, FAR, -1)], [1, 1], 1),
    "the larger of two": ([(1, AT, 1), (1.1, FAR, -1)], [1, 1], 1),
    "a tiny one": ([(1, AT, 1), (1e-5, FAR, -1)], [1, 1], 1),
    "both": ([(1, AT, -1), (2, FAR, -1)], [1, 1], 2),
    "none": ([(1, AT, 1), (2, FAR, 1)], [1, 1], 0),
    "a cavity": ([(3, AT, 1), (1, AT, -1)], [1, -1], 0),
    "a body in a body": ([(3, AT, 1), (1, AT, 1)], [1, 1], 0),
    "a shell, written inside out": ([(3, AT, -1), (1, AT, 1)], [1, -1], 2),
    "the outside of a shell": ([(3, AT, -1), (1, AT, -1)], [1, -1], 1),
    "a core in a cavity": ([(3, AT, 1), (2, AT, -1), (1, AT, -1)], [1, -1, 1], 1),
    "a cavity in a core in a cavity": ([(9, AT, 1), (7, AT, -1), (5, AT, 1), (3, AT, -1)], [1, -1, 1, -1], 0),
    "a nut inside out": ([(9, AT, -1), (7, AT, 1), (5, AT, -1), (1, FAR, 1)], [1, -1, 1, 1], 3),
    "in the box but not inside": ([(3, AT, 1), (0.2, (2.5, 2.5, 2.5), -1)], [1, 1], 1),
    "in the same place": ([(1, AT, 1), (1, AT, -1)], [1, 1], 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_parts_point_outward_except_where_they_bound_a_cavity(name: str, scale: float) -> None:
    parts, expected, count = CASES[name]
    mesh = joined(*((scale * s, tuple(scale * x for x in place), sense) for s, place, sense in parts))
    assert mesh.defects.inside_out_parts == count
    assert mesh.defects.problems() == ([f"{count} of {len(parts)} parts inside out"] if count else [])
    repaired = mesh.repair()
    assert senses(repaired, repaired.faces) == expected
    assert senses(mesh, mesh.surface.faces) == expected  # as computed on without a repair
    assert repaired.origin is not None
    changed = sum(a != b for a, (_, _, b) in zip(expected, parts, strict=True))
    assert changed == count
    assert repaired.origin.changes.turned_faces == changed * SPHERE.num_faces
    assert repaired.defects.problems() == []


def test_open_parts_are_left_alone_and_closed_ones_beside_them_are_not() -> None:
    half = SPHERE.faces[SPHERE.vertices[SPHERE.faces].mean(axis=1)[:, 2] > 0][:, ::-1]
    mesh = joined((1, AT, 1), (1, FAR, -1))
    faces = np.concatenate([half, mesh.faces[SPHERE.num_faces :]])
    mesh = TriangleMesh(mesh.vertices, faces)
    assert mesh.defects.inside_out_parts == 1
    repaired = mesh.repair()
    assert np.array_equal(repaired.faces[: len(half)], half)
    assert senses(repaired, repaired.faces[len(half) :]) == [1]


def test_the_hole_of_a_ring_is_outside() -> None:
    ring = torus()
    ball = SPHERE.vertices * 0.05
    faces = np.concatenate([ring.faces, SPHERE.faces[:, ::-1] + ring.num_vertices])
    in_the_hole = TriangleMesh(np.concatenate([ring.vertices, ball]), faces)
    assert in_the_hole.defects.inside_out_parts == 1
    tube = ring.vertices[np.argmax(ring.vertices[:, 0])]
    inner = np.array([tube[0] - 0.5 * np.ptp(ring.vertices[:, 2]), tube[1], 0])  # the middle of the tube
    in_the_tube = TriangleMesh(np.concatenate([ring.vertices, ball + inner]), faces)
    assert in_the_tube.defects.inside_out_parts == 0


def test_many_parts_in_one() -> None:
    """Some hundred cavities of a grid whose rays upward meet each other, and a wrong one outside."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 7)] * 3), axis=-1).reshape(-1, 3)
    parts = [(2.0, AT, 1), *((0.02, tuple(p), -1) for p in grid), (0.1, FAR, -1)]
    mesh = joined(*parts)
    assert mesh.defects.inside_out_parts == 1
    assert senses(mesh, mesh.surface.faces) == [1, *[-1] * len(grid), 1]
