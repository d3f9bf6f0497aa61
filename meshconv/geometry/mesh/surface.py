"""Surfaces: valid triangles, and their angles, areas, normals and frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray
from meshconv.geometry.mesh.measures import FloatArray, SurfaceMeasures, VertexFans, measure_surface
from meshconv.geometry.mesh.transport import OneRing, align_frames, one_ring
from meshconv.geometry.repair.repair import clean_surface


@dataclass(frozen=True, eq=False)
class Surface:
    """Valid triangles of a mesh, the basis of all computations; properties are computed on first use.

    Attributes
    ----------
    points : float64 [V, 3]
        Scaled to a size near 1, so that squares stay in range.
    half_edges : HalfEdges
        Of the faces, which have no repeated corner and of which no two are on the same three vertices.
    unit : float
        Length of 1 in ``points``, in the unit of length of all other quantities: a power of two, so that division by it
        is exact.
    """

    points: FloatArray
    half_edges: HalfEdges
    unit: float = 1.0

    @classmethod
    def from_faces(cls, vertices: FloatArray, faces: IntArray) -> Surface:
        """Surface of the valid faces.

        Faces with a repeated vertex and all but the first on the same three vertices are left out. Faces are oriented
        consistently, and closed parts that are inside out
        (:func:`~meshconv.geometry.repair.inside_out.inside_out`) are flipped: normals point outward.
        """
        size = extent(vertices)
        unit = 2.0 ** np.frexp(size)[1] if size > 0 else 1.0
        points = vertices / unit
        return cls(points, clean_surface(points, faces), unit)

    @property
    def faces(self) -> IntArray:
        """Int64 ``[F, 3]``, counter-clockwise seen from outside."""
        return self.half_edges.faces

    @property
    def num_vertices(self) -> int:
        return len(self.points)

    @cached_property
    def vertices(self) -> FloatArray:
        """Float64 ``[V, 3]``."""
        return self.points * self.unit

    @cached_property
    def measures(self) -> SurfaceMeasures:
        """Angles, areas and normals, in the unit of ``points``."""
        return measure_surface(self.points, self.half_edges)

    @property
    def corner_angles(self) -> FloatArray:
        """Angles of the faces' corners, float64 ``[F, 3]``, radians."""
        return self.measures.corner_angles

    @property
    def fans(self) -> VertexFans:
        """Corner angles summed round every vertex."""
        return self.measures.fans

    @property
    def has_face(self) -> NDArray[np.bool_]:
        """Whether each vertex has a face, bool ``[V]``."""
        return self.fans.reference >= 0

    @property
    def face_areas(self) -> FloatArray:
        """Float64 ``[F]``."""
        return self.measures.face_areas * self.unit**2

    @property
    def area(self) -> float:
        """Total area."""
        return float(self.measures.face_areas.sum()) * self.unit**2

    @property
    def vertex_areas(self) -> FloatArray:
        """A third of the faces round each vertex, float64 ``[V]``; they sum to :attr:`area`."""
        return self.measures.vertex_areas * self.unit**2

    @property
    def vertex_normals(self) -> FloatArray:
        """Outward unit normals, float64 ``[V, 3]``: face normals weighted by their angle at the vertex.

        The weights make the normal independent of the triangulation of flat parts. Where the sum vanishes,
        it is the normal of one face; a vertex without area has the z axis.
        """
        return self.measures.vertex_normals

    @cached_property
    def angle_defects(self) -> FloatArray:
        """Angle defects, float64 ``[V]``: 2 pi minus the corner angles, pi on a boundary.

        0 for a vertex without faces. On a manifold mesh they sum to 2 pi times the Euler characteristic.
        """
        flat = np.where(self.fans.is_boundary, np.pi, 2 * np.pi)
        return np.where(self.has_face, flat - self.fans.total, 0.0)

    @cached_property
    def ring(self) -> OneRing:
        """Both directions of every edge, sorted by target."""
        return one_ring(self.half_edges, self.corner_angles.reshape(-1), self.fans)

    @cached_property
    def frames(self) -> FloatArray:
        """Tangent frames, float64 ``[V, 3, 3]``: rows e1, e2, normal.

        e1 is the direction of intrinsic angle 0 in space: the direction of the reference half-edge, corrected by
        the mean over all edges (:func:`~meshconv.geometry.mesh.transport.align_frames`).
        """
        return align_frames(self.points, self.vertex_normals, self.half_edges, self.ring, self.fans)


def extent(vertices: FloatArray) -> float:
    """Longest side of the bounding box; by column, the quick way in numpy."""
    return max(float(x.max() / 2 - x.min() / 2) for x in vertices.T) * 2
