"""What a reader hands on: vertices, polygons and their data; and how polygons become triangles."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.mesh import TriangleMesh
from meshconv.geometry.origin import Origin, first_of


@dataclass(frozen=True, eq=False)
class PolygonFile:
    """The content of a mesh file, polygons of any size.

    Attributes
    ----------
    vertices : float64 [V, 3]
    corners : int64 [sum of sizes]
        Vertices of all polygons one after the other, not checked against ``V``.
    sizes : int64 [P]
        Corners of each polygon.
    vertex_data, polygon_data : dict of arrays [V, ...] and [P, ...]
    """

    vertices: NDArray[np.float64]
    corners: NDArray[np.int64]
    sizes: NDArray[np.int64]
    vertex_data: dict[str, NDArray] = field(default_factory=dict)
    polygon_data: dict[str, NDArray] = field(default_factory=dict)

    def triangles(self, name: str) -> TriangleMesh:
        """Every polygon as a fan of triangles; ``origin`` leads from each triangle to its polygon.

        A quadrilateral with a dent is cut through the dent; larger polygons should be convex.
        """
        faces, polygon = _fans(_begin_at_dents(self.vertices, self.corners, self.sizes), self.sizes)
        origin = None
        if len(polygon) != len(self.sizes):
            v, p = np.arange(len(self.vertices)), len(self.sizes)
            origin = Origin(v, v, polygon, first_of(polygon, p))
        data = {key: values[polygon] for key, values in self.polygon_data.items()}
        return TriangleMesh(self.vertices, faces, name, self.vertex_data, data, origin)


def _fans(corners: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangles, and the polygon of each."""
    count = np.maximum(sizes - 2, 0)
    polygon = np.repeat(np.arange(len(sizes)), count)
    first = (np.cumsum(sizes) - sizes)[polygon]
    step = np.arange(len(polygon)) - (np.cumsum(count) - count)[polygon]
    return np.stack([corners[first], corners[first + step + 1], corners[first + step + 2]], axis=1), polygon


def _begin_at_dents(
    vertices: NDArray[np.float64], corners: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Turn the cycle of quadrilaterals whose first two triangles would look in opposite directions."""
    quad = np.flatnonzero(sizes == 4)
    at = (np.cumsum(sizes) - sizes)[quad][:, None] + np.arange(4)
    a = corners[at]
    if len(quad) == 0 or a.min() < 0 or a.max() >= len(vertices):
        return corners
    with np.errstate(all="ignore"):
        p = vertices[a]
        one, two = (np.cross(p[:, i] - p[:, 0], p[:, i + 1] - p[:, 0]) for i in (1, 2))
        dented = np.einsum("ij,ij->i", one, two) < 0
    corners = corners.copy()
    corners[at[dented]] = np.roll(a[dented], -1, axis=1)
    return corners
