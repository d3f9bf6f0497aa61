"""Relief of a surface: height of each vertex over the smoothed mesh."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.sparse import csr_matrix, diags

__all__ = ["Mesh", "relief", "vertex_normals"]


class Mesh(Protocol):
    """What can be drawn: vertices [V, 3], and faces [F, 3] counter-clockwise from outside."""

    @property
    def vertices(self) -> np.ndarray: ...

    @property
    def faces(self) -> np.ndarray: ...


def relief(mesh: Mesh, steps: int = 16) -> np.ndarray:
    """Height of each vertex over the smoothed surface: positive on ridges, negative in dents.

    Parameters
    ----------
    mesh : Mesh
    steps : int
        Times that each vertex moves half-way to its neighbours' mean: more for wider features.

    Returns
    -------
    float64 [V]
        Along the outward normal, in units of the square root of the mean area of a vertex.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> flat = SimpleNamespace(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    >>> np.abs(relief(flat)).max() < 1e-12
    np.True_
    """
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    count = len(vertices)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    ones = np.ones(2 * len(start))
    edges = np.concatenate([start, end]), np.concatenate([end, start])
    adjacency = csr_matrix((ones, edges), (count, count))
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    mean = diags(1 / np.maximum(degree, 1)) @ adjacency
    smooth = vertices
    for _ in range(steps):
        smooth = np.where(degree[:, None] > 0, (smooth + mean @ smooth) / 2, smooth)
    normals, area = vertex_normals(vertices, faces)
    height = np.einsum("vi,vi->v", vertices - smooth, normals)
    # Smoothing also shrinks the whole; only what differs from the mean shrinkage is relief.
    return (height - height.mean()) / max(np.sqrt(area / max(count, 1)), 1e-300)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, float]:
    """Unit normals [V, 3], mean of the faces by area, and the area of the mesh."""
    corners = vertices[faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], doubled)
    lengths = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    return normals / lengths, float(np.linalg.norm(doubled, axis=1).sum() / 2)
