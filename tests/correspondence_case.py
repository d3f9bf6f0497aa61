"""Generated poses of one shape, triangulated anew each time, with the vertices of their common points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from meshconv import TriangleMesh
from meshconv.io import save_mesh


def sphere_points(count: int, rng: np.random.Generator) -> np.ndarray:
    """Points spread over the unit sphere, [count, 3]: a spiral, jittered and turned about its axis."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k + rng.uniform(0, 2 * np.pi)
    r = np.sqrt(1 - z**2)
    points = np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)
    points += 0.3 / np.sqrt(count) * rng.uniform(-1, 1, points.shape)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def sphere_mesh(points: np.ndarray, vertices: np.ndarray) -> TriangleMesh:
    """The Delaunay triangles of points on the unit sphere, moved to ``vertices``."""
    faces = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = (points[faces[:, i]] for i in range(3))
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward][:, ::-1]
    return TriangleMesh(vertices, faces)


# Bumps (direction, width, height) of a body that equals its mirror image in the plane x = 0: front and back, up and
# down differ, left and right do not.
_BUMPS = [
    ((0.0, 0.2, 1.0), 0.35, 0.7), ((0.0, 1.0, 0.1), 0.3, 0.5), ((0.0, -0.8, -0.6), 0.25, 0.4),
    ((1.0, 0.1, 0.3), 0.25, 0.6), ((-1.0, 0.1, 0.3), 0.25, 0.6), ((0.6, 0.5, -0.8), 0.3, 0.5),
    ((-0.6, 0.5, -0.8), 0.3, 0.5),
]  # fmt: skip


def body(points: np.ndarray) -> np.ndarray:
    """Where a point of the unit sphere is on the symmetric body."""
    radius = np.ones(len(points))
    for direction, width, height in _BUMPS:
        direction = np.array(direction) / np.linalg.norm(direction)
        radius += height * np.exp((points @ direction - 1) / width**2)
    return points * radius[:, None]


def pose(points: np.ndarray, rng: np.random.Generator, bend: float = 0.25) -> np.ndarray:
    """The body bent by a smooth map of space."""
    x = body(points)
    for _ in range(2):
        wave = rng.normal(size=3)
        wave *= rng.uniform(0.8, 1.2) / np.linalg.norm(wave)
        push = rng.normal(size=3)
        push *= bend / np.linalg.norm(push)
        x = x + np.sin(x @ wave + rng.uniform(0, 2 * np.pi))[:, None] * push
    return x


def write_poses(
    folder: Path, count: int, vertices: int = 400, seed: int = 0, name: str = "body", bend: float = 0.25
) -> np.ndarray:
    """``count`` poses as OFF files with files of common points in ``corres``; returns these points on the sphere."""
    rng = np.random.default_rng(seed)
    common = sphere_points(300, rng)
    (folder / "corres").mkdir(parents=True, exist_ok=True)
    for k in range(count):
        points = sphere_points(vertices + 3 * k, rng)
        save_mesh(sphere_mesh(points, pose(points, rng, bend)), folder / f"{name}{k}.off")
        nearest = cKDTree(points).query(common)[1] + 1
        np.savetxt(folder / "corres" / f"{name}{k}.vts", nearest, fmt="%d")
    return common
