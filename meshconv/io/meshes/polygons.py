"""What a reader hands on: vertices, polygons and their data; and how polygons become triangles."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.origin import Origin, first_of
from meshconv.io.meshes.triangulation import triangulate


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
        """Every polygon cut into triangles, see :func:`~meshconv.io.meshes.triangulation.triangulate`.

        Its ``origin`` leads from each triangle to its polygon.
        """
        faces, polygon = triangulate(self.vertices, self.corners, self.sizes)
        origin = None
        if len(polygon) != len(self.sizes):
            v, p = np.arange(len(self.vertices)), len(self.sizes)
            origin = Origin(v, v, polygon, first_of(polygon, p))
        data = {key: values[polygon] for key, values in self.polygon_data.items()}
        return TriangleMesh(self.vertices, faces, name, self.vertex_data, data, origin)
