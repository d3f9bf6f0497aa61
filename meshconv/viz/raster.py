"""Rasterisation of triangles with a depth buffer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Candidate pixels at a time; bounds the memory.
_CHUNK = 4_000_000


class Raster(NamedTuple):
    """What each covered pixel shows.

    Attributes
    ----------
    pixel : int64 [N]
        Covered pixels, row by row from the top: ``row * width + column``.
    face : int64 [N]
        The face nearest to the eye.
    weight : float64 [N, 3]
        Barycentric coordinates in it; values at corners, multiplied and summed, are values at the pixel.
    """

    pixel: np.ndarray
    face: np.ndarray
    weight: np.ndarray

    def interpolate(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Values ``[V, ...]`` of vertices at each covered pixel, ``[N, ...]``."""
        return np.einsum("nk,nk...->n...", self.weight, values[faces[self.face]])


def rasterize(points: np.ndarray, faces: np.ndarray, width: int, height: int) -> Raster:
    """Orthographic view along the z axis.

    Parameters
    ----------
    points : float64 [V, 3]
        x in pixels to the right, y in pixels downwards, z towards the eye.
    faces : int64 [F, 3]
        Of either orientation.
    width, height : int
        Pixels; what lies outside is cut off.

    Returns
    -------
    Raster

    Example
    -------
    >>> square = np.array([[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]], dtype=float)
    >>> len(rasterize(square, np.array([[0, 1, 2], [0, 2, 3]]), 8, 8).pixel)
    16
    """
    corner = points[faces]
    x, y, z = corner[..., 0], corner[..., 1], corner[..., 2]
    left = np.clip(np.ceil(x.min(axis=1) - 0.5), 0, width).astype(np.int64)
    right = np.clip(np.floor(x.max(axis=1) - 0.5) + 1, 0, width).astype(np.int64)
    top = np.clip(np.ceil(y.min(axis=1) - 0.5), 0, height).astype(np.int64)
    bottom = np.clip(np.floor(y.max(axis=1) - 0.5) + 1, 0, height).astype(np.int64)
    wide, count = right - left, np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    doubled = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    count[doubled == 0] = 0

    depth = np.full(width * height, -np.inf)
    owner = np.full(width * height, -1, dtype=np.int64)
    weights = np.zeros((width * height, 3))
    shown = np.flatnonzero(count)
    for part in np.split(shown, np.flatnonzero(np.diff(np.cumsum(count[shown]) // _CHUNK)) + 1):
        face = np.repeat(part, count[part])
        nth = np.arange(len(face)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
        column, row = left[face] + nth % wide[face], top[face] + nth // wide[face]
        dx, dy = column + 0.5 - x[face, 0], row + 0.5 - y[face, 0]
        b = (dx * (y[face, 2] - y[face, 0]) - dy * (x[face, 2] - x[face, 0])) / doubled[face]
        c = (dy * (x[face, 1] - x[face, 0]) - dx * (y[face, 1] - y[face, 0])) / doubled[face]
        weight = np.stack([1 - b - c, b, c], axis=1)
        inside = (weight >= -1e-9).all(axis=1)
        face, weight, pixel = face[inside], weight[inside], (row * width + column)[inside]
        height_here = (weight * z[face]).sum(axis=1)
        # The last of equal places stays: with depth ascending, that is what lies nearest to the eye.
        order = np.argsort(height_here, kind="stable")
        order = order[height_here[order] > depth[pixel[order]]]
        depth[pixel[order]] = height_here[order]
        owner[pixel[order]], weights[pixel[order]] = face[order], weight[order]
    covered = np.flatnonzero(owner >= 0)
    return Raster(covered, owner[covered], weights[covered])
