"""The Laplacian of a mesh that depends least on its triangulation, and averages by its heat flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, diags_array

from meshconv.geometry.features.sparse import SymmetricFactor, dissection_order
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

# Of a mesh nearly without area (needles), the length unit as a share of its extent.
_SMALLEST_LENGTH = 1e-6
_SMALLEST_MASS = 1e-9


@dataclass(frozen=True, eq=False)
class TuftedLaplacian:
    """Intrinsic Delaunay Laplacian of the tufted cover, of a mesh scaled to area 1.

    It has no negative weights on any triangles, manifold or not, so that the maximum principle holds.

    Attributes
    ----------
    vertices : int64 [N]
        Vertices that have a face; rows of all others.
    faces : int64 [F, 3]
        In rows.
    points : float64 [N, 3]
        Relative to the mean of the vertices, in units of the square root of the area.
    stiffness : csr_array [N, N]
    mass : float64 [N]
        Areas; their sum is 1.

    References
    ----------
    Sharp, Crane, "A Laplacian for nonmanifold triangle meshes", 2020.
    """

    vertices: IntArray
    faces: IntArray
    points: FloatArray
    stiffness: csr_array
    mass: FloatArray

    @classmethod
    def of(cls, mesh: TriangleMesh) -> TuftedLaplacian:
        """The Laplacian of a mesh; ``InputError`` without faces or area."""
        import robust_laplacian

        mesh.check_area()
        used, faces = np.unique(mesh.surface.faces, return_inverse=True)
        faces = faces.reshape(-1, 3)
        points = mesh.surface.points[used]
        points = points - points.mean(axis=0)
        points /= max(np.sqrt(mesh.area) / mesh.surface.unit, _SMALLEST_LENGTH * np.abs(points).max())
        stiffness, mass = robust_laplacian.mesh_laplacian(points, faces)
        mass = mass.diagonal()
        mass = np.maximum(mass / mass.sum(), _SMALLEST_MASS / len(mass))
        return cls(used, faces, points, csr_array(stiffness), mass)

    @cached_property
    def _order(self) -> IntArray:
        return dissection_order(self.points, self.stiffness)

    def flow(self, time: float) -> SymmetricFactor:
        r"""One implicit step of heat flow: ``solve(integrals)`` is :math:`(M + t L)^{-1} b`.

        ``time`` is in units of the area; the root mean square radius of the average is :math:`2\sqrt{t}`.
        """
        return SymmetricFactor(csr_array(diags_array(self.mass) + time * self.stiffness), self._order)
