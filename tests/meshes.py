"""A family of small meshes that the theorems are tried on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh

from meshconv import TriangleMesh


def icosphere(level: int = 2) -> TriangleMesh:
    m = trimesh.creation.icosphere(level)
    return TriangleMesh(m.vertices, m.faces, "icosphere")


def tetrahedron() -> TriangleMesh:
    vertices = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    return TriangleMesh(vertices, np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]), "tetrahedron")


def cube() -> TriangleMesh:
    m = trimesh.creation.box().subdivide()
    return TriangleMesh(m.vertices, m.faces, "cube")


def blob(seed: int = 0) -> TriangleMesh:
    """A bumpy sphere of no symmetry."""
    sphere = icosphere(3)
    x = sphere.vertices
    direction = np.random.default_rng(seed).normal(size=(4, 3))
    radius = 1 + 0.15 * np.sin(2 * x @ direction.T).sum(axis=1)
    return TriangleMesh(x * radius[:, None] * [1.0, 1.2, 0.8], sphere.faces, "blob")


def grid_faces(rows: int, cols: int, wrap_rows: bool, wrap_cols: bool) -> np.ndarray:
    i, j = np.meshgrid(np.arange(rows - (not wrap_rows)), np.arange(cols - (not wrap_cols)), indexing="ij")
    a, b = i * cols + j, (i + 1) % rows * cols + j
    c, d = (i + 1) % rows * cols + (j + 1) % cols, i * cols + (j + 1) % cols
    return np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)


def torus(rows: int = 24, cols: int = 12) -> TriangleMesh:
    u, v = np.meshgrid(np.arange(rows) * 2 * np.pi / rows, np.arange(cols) * 2 * np.pi / cols, indexing="ij")
    r = 2 + 0.7 * np.cos(v)
    vertices = np.stack([r * np.cos(u), r * np.sin(u), 0.7 * np.sin(v)], -1).reshape(-1, 3)
    return TriangleMesh(vertices, grid_faces(rows, cols, True, True), "torus")


def double_torus() -> TriangleMesh:
    """Genus 2: the skin of a slab of unit cubes with two holes, rounded off."""
    solid = np.zeros((9, 6, 4), dtype=bool)
    solid[1:-1, 1:-1, 1:-1] = True
    solid[2:4, 2:4] = solid[5:7, 2:4] = False
    quads = []
    for axis in range(3):
        u, v = np.roll(np.eye(3, dtype=int), -axis, axis=0)[[1, 2]]
        for sign in (1, -1):
            for cell in np.argwhere(solid & ~np.roll(solid, -sign, axis=axis)):
                corner = cell + (np.eye(3, dtype=int)[axis] if sign > 0 else 0)
                ring = [corner, corner + u, corner + u + v, corner + v]
                quads.append(ring[::sign])
    points, index = np.unique(np.array(quads).reshape(-1, 3), axis=0, return_inverse=True)
    q = index.reshape(-1, 4)
    m = trimesh.Trimesh(points, np.concatenate([q[:, :3], q[:, [0, 2, 3]]]), process=False).subdivide()
    trimesh.smoothing.filter_laplacian(m, iterations=4)
    return TriangleMesh(m.vertices, m.faces, "double_torus")


def flat_sheet(n: int = 7) -> TriangleMesh:
    """Uneven triangles in an inclined plane."""
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(n, dtype=float), np.arange(n, dtype=float), indexing="ij")
    inner = np.zeros((n, n), dtype=bool)
    inner[1:-1, 1:-1] = True
    x, y = x + 0.25 * inner * rng.uniform(-1, 1, (n, n)), y + 0.25 * inner * rng.uniform(-1, 1, (n, n))
    vertices = np.stack([x, y, 0.5 * x - 0.2 * y], -1).reshape(-1, 3)
    return TriangleMesh(vertices, grid_faces(n, n, False, False), "flat_sheet")


def bumpy_sheet(n: int = 12) -> TriangleMesh:
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    vertices = np.stack([x, y, 0.2 * np.sin(3 * x) * np.cos(2 * y)], -1).reshape(-1, 3)
    return TriangleMesh(vertices, grid_faces(n, n, False, False), "bumpy_sheet")


def cylinder(rows: int = 6, cols: int = 16) -> TriangleMesh:
    """Open at both ends; a bent flat sheet."""
    z, u = np.meshgrid(np.arange(rows) * 0.4, np.arange(cols) * 2 * np.pi / cols, indexing="ij")
    vertices = np.stack([np.cos(u), np.sin(u), z], -1).reshape(-1, 3)
    return TriangleMesh(vertices, grid_faces(rows, cols, False, True)[:, ::-1], "cylinder")


def moebius(cols: int = 20) -> TriangleMesh:
    """Three rows joined with a half turn: it cannot be oriented."""
    u = np.arange(cols) * 2 * np.pi / cols
    vertices = []
    for w in (-0.3, 0.0, 0.3):
        r = 1 + w * np.cos(u / 2)
        vertices.append(np.stack([r * np.cos(u), r * np.sin(u), w * np.sin(u / 2)], -1))
    grid = np.arange(3 * cols).reshape(3, cols)
    grid = np.concatenate([grid, grid[::-1, :1]], axis=1)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return TriangleMesh(np.concatenate(vertices), faces, "moebius")


def single_triangle() -> TriangleMesh:
    return TriangleMesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]), np.array([[0, 1, 2]]), "single_triangle")


CLOSED: dict[str, tuple[Callable[[], TriangleMesh], int]] = {
    "icosphere": (icosphere, 2),
    "blob": (blob, 2),
    "cube": (cube, 2),
    "torus": (torus, 0),
    "double_torus": (double_torus, -2),
}
"""Closed surfaces fine enough for principal values of holonomy, with their Euler characteristic."""

OPEN: dict[str, tuple[Callable[[], TriangleMesh], int]] = {
    "flat_sheet": (flat_sheet, 1),
    "bumpy_sheet": (bumpy_sheet, 1),
    "cylinder": (cylinder, 0),
    "single_triangle": (single_triangle, 1),
}

MANIFOLD = {**CLOSED, **OPEN, "tetrahedron": (tetrahedron, 2)}


def _defect(change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> TriangleMesh:
    base = icosphere(1)
    return TriangleMesh(*change(base.vertices.copy(), base.faces.copy()))


def _turned(faces: np.ndarray, which: slice) -> np.ndarray:
    faces[which] = faces[which, ::-1]
    return faces


def _three_on_an_edge(v: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.vstack([v, [[3, 3, 3]]]), np.vstack([f, [[f[0, 0], f[0, 1], len(v)]]])


def _bow_tie(v: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A second body, turned so that the normals do not cancel, touches the first in vertex 0."""
    other = np.where(f == 1, 0, f + len(v))
    return np.vstack([v, v[0] + (v - v[1])[:, [1, 2, 0]]]), np.vstack([f, other])


def _collapsed(v: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    v[f[0, 1]] = v[f[0, 0]]
    return v, f


def _sliver(v: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    v[f[0, 2]] = 0.5 * (v[f[0, 0]] + v[f[0, 1]]) + 1e-9
    return v, f


DEFECTIVE: dict[str, Callable[[], TriangleMesh]] = {
    "bow_tie": lambda: _defect(_bow_tie),
    "three_on_an_edge": lambda: _defect(_three_on_an_edge),
    "moebius": moebius,
    "duplicate_faces": lambda: _defect(lambda v, f: (v, np.vstack([f, f[:5], f[5:9, ::-1]]))),
    "repeated_index": lambda: _defect(lambda v, f: (v, np.vstack([f, [[0, 0, 1], [2, 2, 2]]]))),
    "isolated_vertices": lambda: _defect(lambda v, f: (np.vstack([[[9, 9, 9]], v, [[5, 5, 5]]]), f + 1)),
    "collapsed_edge": lambda: _defect(_collapsed),
    "collapsed_face": lambda: _defect(lambda v, f: (v, np.vstack([f, [[3, 9, 30]]]))),
    "sliver": lambda: _defect(_sliver),
    "some_turned": lambda: _defect(lambda v, f: (v, _turned(f, slice(0, 20)))),
    "inside_out": lambda: _defect(lambda v, f: (v, f[:, ::-1])),
    "torn": lambda: _defect(lambda v, f: (v, f[::2])),
    "back_to_back": lambda: TriangleMesh(np.eye(3), np.array([[0, 1, 2], [2, 1, 0]])),
    "folded_flat": lambda: TriangleMesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [1, 0, 3]])
    ),
    "tiny": lambda: _defect(lambda v, f: (v * 1e-90, f)),
    "huge": lambda: _defect(lambda v, f: (v * 1e90, f)),
    "far_away": lambda: _defect(lambda v, f: (v + 1e6, f)),
    "ten_components": lambda: _defect(
        lambda v, f: (
            np.vstack([v + 3 * i for i in range(10)]),
            np.vstack([f + i * len(v) for i in range(10)]),
        )
    ),
    "soup": lambda: TriangleMesh(
        np.random.default_rng(0).normal(size=(30, 3)), np.random.default_rng(1).integers(0, 30, (200, 3))
    ),
}
"""Meshes with something wrong; each has a finite, valid graph all the same."""
