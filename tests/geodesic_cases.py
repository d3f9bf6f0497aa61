"""Uneven surfaces for geodesics: what the cached exact distances in ``data/geodesics.npz`` were computed on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from meshes import grid_faces
from scipy.spatial import Delaunay

from meshconv import TriangleMesh


def _upward(xy: np.ndarray) -> np.ndarray:
    """Delaunay triangles of points of the plane, counter-clockwise, without flat ones."""
    faces = Delaunay(xy).simplices
    u, v = xy[faces[:, 1]] - xy[faces[:, 0]], xy[faces[:, 2]] - xy[faces[:, 0]]
    turn = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return np.where(turn[:, None] > 0, faces, faces[:, ::-1])[np.abs(turn) > 1e-12]


def bumpy_torus(rows: int = 60, cols: int = 28) -> TriangleMesh:
    """Bumps in all directions, and vertices off the grid."""
    rng = np.random.default_rng(1)
    u, v = np.meshgrid(np.arange(rows) * 2 * np.pi / rows, np.arange(cols) * 2 * np.pi / cols, indexing="ij")
    u = u + rng.uniform(-0.3, 0.3, u.shape) * 2 * np.pi / rows
    v = v + rng.uniform(-0.3, 0.3, v.shape) * 2 * np.pi / cols
    tube = 0.7 + 0.08 * np.sin(5 * u) * np.cos(3 * v) + 0.05 * np.cos(9 * u + 2 * v)
    r = 2 + tube * np.cos(v)
    vertices = np.stack([r * np.cos(u), r * np.sin(u), tube * np.sin(v)], -1).reshape(-1, 3)
    return TriangleMesh(vertices, grid_faces(rows, cols, True, True), "bumpy_torus")


def holed_sheet(n: int = 40) -> TriangleMesh:
    """Hills, an outer boundary and a star-shaped hole that shortest paths bend round."""
    rng = np.random.default_rng(2)
    xy = rng.uniform(-1, 1, (n * n, 2))
    t = np.linspace(-1, 1, n)
    border = np.concatenate([[[s, -1.0], [s, 1.0], [-1.0, s], [1.0, s]] for s in t])
    xy = np.unique(np.concatenate([xy * 0.98, border]), axis=0)
    faces = _upward(xy)
    middle = xy[faces].mean(axis=1)
    radius, angle = np.hypot(*middle.T), np.arctan2(middle[:, 1], middle[:, 0])
    faces = faces[radius > 0.32 + 0.15 * np.cos(5 * angle)]
    used, index = np.unique(faces, return_inverse=True)
    x, y = xy[used].T
    vertices = np.stack([x, y, 0.15 * np.sin(4 * x) * np.cos(3 * y)], -1)
    return TriangleMesh(vertices, index.reshape(-1, 3), "holed_sheet")


def scan(n: int = 1800) -> TriangleMesh:
    """Like a scanned relief: noise in height, random density, and stripes of slivers."""
    rng = np.random.default_rng(3)
    xy = rng.uniform(-1, 1, (n, 2))
    xy[: n // 3, 1] = np.round(xy[: n // 3, 1] * 8) / 8 + rng.normal(0, 3e-4, n // 3)
    faces = _upward(xy)
    x, y = xy.T
    height = 0.2 * np.exp(-4 * (x**2 + y**2)) + 0.1 * np.sin(5 * x + 1) * np.sin(4 * y) + rng.normal(0, 2e-3, n)
    return TriangleMesh(np.stack([x, y, height], -1), faces, "scan")


UNEVEN: dict[str, Callable[[], TriangleMesh]] = {"bumpy_torus": bumpy_torus, "holed_sheet": holed_sheet, "scan": scan}
