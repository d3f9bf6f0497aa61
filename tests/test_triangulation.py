"""Polygons cut into triangles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meshconv.io.meshes.polygons import PolygonFile
from meshconv.io.meshes.triangulation import triangulate


def star_shaped(n: int, seed: int) -> np.ndarray:
    """A simple polygon, counter-clockwise, usually far from convex."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, n))
    return rng.uniform(0.05, 1, n)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def spiral(n: int) -> np.ndarray:
    """A band that no point of the plane sees all of."""
    t = np.linspace(0, 6 * np.pi, n // 2)
    inner = (1 + t)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    outer = (4 + t)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    return np.concatenate([outer, inner[::-1]])


TEETH = [(2 * k + x, y) for k in range(6) for x, y in ((0, 0), (0.5, 5), (1, 0))]
COMB = np.array([*TEETH, (11, -1), (0, -1)])
KEYHOLE = np.array(
    [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0], [1, 1], [1, 3], [3, 3], [3, 1], [1, 1]], dtype=float
)  # a square with a square hole, cut open along a bridge
T_VERTICES = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2], [0, 1]], dtype=float)

POLYGONS = {
    **{f"star {n} {seed}": star_shaped(n, seed) for n in (4, 5, 7, 30) for seed in range(5)},
    "spiral": spiral(60),
    "comb": COMB[::-1],
    "keyhole": KEYHOLE,
    "middles of edges": T_VERTICES,
    "triangle with a middle": np.array([[0.0, 0], [1, 0], [2, 0], [0, 2]]),
    "convex": np.array([[0.0, 0], [2, 0], [3, 1], [2, 2], [0, 2]]),
}


def signed_areas(xy: np.ndarray, faces: np.ndarray) -> np.ndarray:
    u, v = xy[faces[:, 1]] - xy[faces[:, 0]], xy[faces[:, 2]] - xy[faces[:, 0]]
    return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2


def area(xy: np.ndarray) -> float:
    other = np.roll(xy, -1, axis=0)
    return float((xy[:, 0] * other[:, 1] - xy[:, 1] * other[:, 0]).sum() / 2)


def in_space(xy: np.ndarray, seed: int = 0) -> np.ndarray:
    turned = Rotation.random(random_state=seed).apply(np.pad(xy, ((0, 0), (0, 1))))
    return turned + np.array([3.0, -2.0, 5.0])


@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("name", POLYGONS)
def test_triangles_cover_the_polygon_once(name: str, start: int) -> None:
    """All look to the polygon's side, and their areas add up: so none overlap, and none is outside."""
    xy = np.roll(POLYGONS[name], start, axis=0)
    if area(xy) < 0:
        xy = xy[::-1]
    n = len(xy)
    faces, polygon = triangulate(in_space(xy), np.arange(n), np.array([n]))
    assert len(faces) == n - 2
    assert (polygon == 0).all()
    signed = signed_areas(xy, faces)
    assert (signed > 0).all()
    assert signed.sum() == pytest.approx(area(xy), rel=1e-12)
    # Inner edges are shared by two triangles in opposite directions, the others are the polygon's.
    pairs = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True)}
    assert len(pairs) == 3 * len(faces)
    assert {p for p in pairs if p[::-1] not in pairs} == {(k, (k + 1) % n) for k in range(n)}


def test_turned_polygons_keep_their_orientation() -> None:
    xy = star_shaped(12, 3)
    faces, _ = triangulate(in_space(xy), np.arange(12)[::-1].copy(), np.array([12]))
    assert (signed_areas(xy, faces) < 0).all()


def test_a_face_map_survives_among_other_polygons() -> None:
    xy = in_space(np.concatenate([POLYGONS["convex"], star_shaped(9, 1), star_shaped(4, 2)]))
    corners = np.concatenate([np.arange(5), [0, 1, 2], np.arange(5, 14), [3, 4], np.arange(14, 18)])
    labels = np.array([10, 11, 12, 13, 14])
    content = PolygonFile(xy, corners, np.array([5, 3, 9, 2, 4]), polygon_data={"label": labels})
    mesh = content.triangles("many")
    assert mesh.origin is not None
    assert np.bincount(mesh.origin.face_from).tolist() == [3, 1, 7, 0, 2]
    assert mesh.face_data["label"].tolist() == [10] * 3 + [11] + [12] * 7 + [14] * 2
    for p, (low, high) in {0: (0, 5), 2: (5, 14), 4: (14, 18)}.items():
        own = mesh.faces[mesh.origin.face_from == p]
        assert np.unique(own).tolist() == list(range(low, high))


def test_a_thousand_corners_take_no_minute() -> None:
    xy = star_shaped(2000, 0)
    faces, _ = triangulate(in_space(xy), np.arange(2000), np.array([2000]))
    assert signed_areas(xy, faces).sum() == pytest.approx(area(xy), rel=1e-9)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((6, 3)),
        np.outer(np.arange(6.0), [1, 2, 3]),
        np.full((6, 3), np.nan),
        np.random.default_rng(0).normal(size=(6, 3)),
        np.array([[np.cos(4 * np.pi * k / 5), np.sin(4 * np.pi * k / 5), 0] for k in range(5)] + [[9, 9, np.inf]]),
    ],
    ids=["point", "line", "nan", "crumpled", "star that crosses itself"],
)
def test_what_is_no_polygon_still_gives_triangles_of_its_corners(points: np.ndarray) -> None:
    faces, _ = triangulate(points, np.arange(5), np.array([5]))
    assert faces.shape == (3, 3)
    assert set(faces.ravel().tolist()) == set(range(5))
    wrong = np.array([0, 1, 2, 3, 77])
    assert triangulate(points, wrong, np.array([5]))[0][-1].tolist() == [0, 3, 77]
