"""Angles around every vertex: corner angles, and fans scaled to a full turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.mesh.halfedges import HalfEdges
from meshconv.ops import surface
from meshconv.ops.references.surface import FloatArray as FloatArray, IntArray, dot as dot, sum_at as sum_at


def corner_angles(points: FloatArray, faces: IntArray) -> FloatArray:
    r"""Interior angle at every corner of every face.

    .. math:: \alpha = \operatorname{atan2}(|u \times v|,\; u \cdot v)

    which is as accurate for slivers as for equilateral triangles (an arc cosine loses half of the digits).
    A zero-length edge is the limit of an isosceles needle: pi/2 at its ends, 0 opposite; a point is
    the limit of an equilateral triangle: pi/3. So the angles of every face sum to pi.

    Parameters
    ----------
    points : float64 [V, 3]
    faces : int64 [F, 3]

    Returns
    -------
    float64 [F, 3]
        Radians in [0, pi].
    """
    return surface.face_geometry(points, faces)[0]


@dataclass(frozen=True, eq=False)
class VertexFans:
    """The half-edges of each vertex laid out counter-clockwise.

    Attributes
    ----------
    reference : int64 [V]
        Half-edge at angle 0: the first of an open fan, else the one of lowest number; -1 without faces.
    angle : float64 [H]
        Corner angles summed from the reference half-edge to this one, unscaled; undefined at vertices that are
        not regular.
    total : float64 [V]
        Sum of all corner angles.
    scale : float64 [V]
        Factor that brings the total to 2 pi, on a boundary to pi.
    regular : bool [V]
        Whether the corners form one disc or one half disc with a positive angle.
    is_boundary : bool [V]
    """

    reference: IntArray
    angle: FloatArray
    total: FloatArray
    scale: FloatArray
    regular: NDArray[np.bool_]
    is_boundary: NDArray[np.bool_]


class SurfaceMeasures(NamedTuple):
    """Angles, areas and normals of a surface.

    Attributes
    ----------
    corner_angles, face_areas : float64 [F, 3], [F]
    vertex_normals, vertex_areas : float64 [V, 3], [V]
        See :class:`~meshconv.geometry.mesh.triangle_mesh.TriangleMesh`.
    fans : VertexFans
    """

    corner_angles: FloatArray
    face_areas: FloatArray
    vertex_normals: FloatArray
    vertex_areas: FloatArray
    fans: VertexFans


def measure_surface(points: FloatArray, half_edges: HalfEdges) -> SurfaceMeasures:
    """Angles, areas and normals of faces, accumulated around every vertex.

    Parameters
    ----------
    points : float64 [V, 3]
    half_edges : HalfEdges

    Returns
    -------
    SurfaceMeasures
    """
    h = half_edges
    corners, normals, areas = surface.face_geometry(points, h.faces)
    found = surface.vertex_geometry(
        h.twin, h.irregular, h.vertex_ptr, h.outgoing, corners.reshape(-1), normals, areas
    )
    return SurfaceMeasures(corners, areas, *found[6:], VertexFans(*found[:6]))
