"""The angles round every vertex: corners, fans unfolded to a full turn, the direction of each edge in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.halfedges import HalfEdges
from meshconv.ops import surface
from meshconv.ops.surface_reference import FloatArray as FloatArray
from meshconv.ops.surface_reference import IntArray
from meshconv.ops.surface_reference import dot as dot
from meshconv.ops.surface_reference import sum_at as sum_at


def corner_angles(points: FloatArray, faces: IntArray) -> FloatArray:
    r"""Interior angle at every corner of every face.

    .. math:: \alpha = \operatorname{atan2}(|u \times v|,\; u \cdot v)

    which is as accurate for slivers as for equilateral triangles (an arc cosine loses half of the digits).
    A zero-length edge counts as the limit of an isosceles needle: pi/2 at its ends, 0 opposite; a point as
    the limit of an equilateral triangle: pi/3. So the angles of every face add up to pi.

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
        Corner angles summed from the reference half-edge to this one, unscaled; without meaning at vertices that are
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


def unfold_fans(half_edges: HalfEdges, corners: FloatArray) -> VertexFans:
    """Sum the corner angles round each vertex, from one half-edge to the next across their faces.

    Parameters
    ----------
    half_edges : HalfEdges
    corners : float64 [H]
        Angle at the origin of each half-edge, in its face.

    Returns
    -------
    VertexFans
    """
    h = half_edges
    return VertexFans(*surface.vertex_fans(h.twin, h.irregular, h.vertex_ptr, h.outgoing, corners))
