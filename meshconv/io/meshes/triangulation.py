"""Polygons to triangles: fans where they fit, ear clipping where the polygon is not convex."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Twice a triangle's area, in units of its polygon's, below which it is flat or turned to within rounding.
_FLAT = 1e-13


def triangulate(vertices: FloatArray, corners: IntArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Cut polygons into triangles of the same orientation, without new vertices.

    A fan round the first corner if all its triangles look to the polygon's side; else, for quadrilaterals, the
    other diagonal, and for larger ones ears: corners whose triangle holds no other corner, best shape first.

    Parameters
    ----------
    vertices : float64 [V, 3]
    corners : int64 [sum of sizes]
        Vertices of all polygons one after the other. Polygons with an index out of range get fans.
    sizes : int64 [P]
        Those with fewer than three corners have no triangle.

    Returns
    -------
    faces : int64 [F, 3]
    polygon : int64 [F]
        Which polygon each triangle is part of, ascending.

    Notes
    -----
    ``tests/test_triangulation.py`` checks that the triangles cover random simple polygons once.

    Examples
    --------
    >>> bracket = np.array([[1.0, 1, 0], [0, 3, 0], [0, 0, 0], [3, 0, 0], [3, 1, 0]])
    >>> triangulate(bracket, np.array([3, 4, 0, 1, 2]), np.array([5]))[0].tolist()  # no fan from corner 3
    [[3, 4, 0], [2, 3, 0], [2, 0, 1]]
    """
    count = np.maximum(sizes - 2, 0)
    polygon = np.repeat(np.arange(len(sizes)), count)
    begin, first = np.cumsum(sizes) - sizes, np.cumsum(count) - count
    step = np.arange(len(polygon)) - first[polygon]
    at = begin[polygon]
    faces = np.stack([corners[at], corners[at + step + 1], corners[at + step + 2]], axis=1)
    large = np.flatnonzero(sizes[polygon] > 3)
    with np.errstate(all="ignore"):
        bad = _turned_fans(vertices, faces[large], polygon[large], len(sizes))
        quads, others = bad[sizes[bad] == 4], bad[sizes[bad] > 4]
        around = corners[begin[quads][:, None] + np.arange(4)]
        faces[first[quads]], faces[first[quads] + 1] = around[:, [1, 2, 3]], around[:, [1, 3, 0]]
        for p in others:
            own = corners[begin[p] : begin[p] + sizes[p]]
            faces[first[p] : first[p] + count[p]] = own[_clip_ears(_flattened(vertices[own]))]
    return faces, polygon


def _turned_fans(vertices: FloatArray, faces: IntArray, polygon: IntArray, size: int) -> IntArray:
    """Polygons whose fan has a triangle that is flat or looks to the other side."""
    inside = np.logical_and(faces.min(axis=1) >= 0, faces.max(axis=1) < len(vertices))
    a, b, c = vertices[np.where(inside[:, None], faces, 0).T] if len(vertices) else np.zeros((3, len(faces), 3))
    normal = np.cross(b - a, c - a)
    whole = np.stack([np.bincount(polygon, weights=n, minlength=size) for n in normal.T], axis=1)[polygon]
    share = np.einsum("ij,ij->i", normal, whole)
    square = np.einsum("ij,ij->i", whole, whole)
    unclear = ~inside | ~(square > 0) | ~np.isfinite(square)
    return np.setdiff1d(polygon[share <= _FLAT * square], polygon[unclear])


def _flattened(points: FloatArray) -> FloatArray:
    """Corners in the plane across the polygon's mean normal, counter-clockwise, ``[n, 2]``."""
    points = points - points.mean(axis=0)
    normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
    normal /= np.linalg.norm(normal)
    axis = np.eye(3)[np.abs(normal).argmin()]
    e1 = np.cross(axis, normal)
    e1 /= np.linalg.norm(e1)
    return points @ np.stack([e1, np.cross(normal, e1)], axis=1)


def _clip_ears(xy: FloatArray) -> IntArray:
    """Triangles of a counter-clockwise polygon, int64 ``[n - 2, 3]``; of one that crosses itself as good as it gets."""
    n = len(xy)
    before, after = np.roll(np.arange(n), 1), np.roll(np.arange(n), -1)
    left = np.ones(n, dtype=bool)
    quality = np.array([_ear(xy, left, before[i], i, after[i]) for i in range(n)])
    triangles = []
    for _ in range(n - 3):
        i = int(np.where(left, quality, -np.inf).argmax())
        if quality[i] < 0:  # none is an ear: take the corner that turns most to the left
            rest = np.flatnonzero(left)
            i = int(rest[_cross(xy[rest] - xy[before[rest]], xy[after[rest]] - xy[rest]).argmax()])
        a, c = before[i], after[i]
        triangles.append((a, i, c))
        left[i] = False
        after[a], before[c] = c, a
        for j in (a, c):
            quality[j] = _ear(xy, left, before[j], j, after[j])
    last = int(left.argmax())
    return np.array([*triangles, (before[last], last, after[last])], dtype=np.int64)


def _ear(xy: FloatArray, left: NDArray[np.bool_], before: int, i: int, after: int) -> float:
    """How well shaped a corner's triangle is, its area over its longest edge squared; -1 if it is no ear."""
    a, b, c = xy[before], xy[i], xy[after]
    area = _cross(b - a, c - b)
    longest = max(((b - a) ** 2).sum(), ((c - b) ** 2).sum(), ((a - c) ** 2).sum())
    if not area > _FLAT * longest:
        return -1.0
    others = xy[left]
    inside = np.ones(len(others), dtype=bool)
    for start, stop in ((a, b), (b, c), (c, a)):
        # Corners on an edge are in the way, those in the same place, as at the bridge to a hole, are not.
        inside &= _cross(stop - start, others - start) >= -_FLAT * longest
        inside &= ((others - start) ** 2).sum(axis=1) > _FLAT**2 * longest
    return -1.0 if inside.any() else float(area / longest)


def _cross(u: FloatArray, v: FloatArray) -> FloatArray:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
