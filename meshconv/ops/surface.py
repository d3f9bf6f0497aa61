"""Operators on triangle meshes, numpy in and out: compiled, or the references where the extension is absent.

What they mean stands where the geometry uses them: :mod:`~meshconv.geometry.mesh.halfedges`,
:mod:`~meshconv.geometry.mesh.measures`, :mod:`~meshconv.geometry.mesh.transport`. F faces, H = 3 F half-edges, E
undirected edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from meshconv.ops.backend import is_compiled
from meshconv.ops.references import surface as surface_reference
from meshconv.ops.references.surface import BoolArray, FloatArray, IntArray, VertexGeometry


def _call(name: str, *arguments: Any) -> Any:
    if not is_compiled(torch.device("cpu")):
        return getattr(surface_reference, name)(*arguments)

    def tensor(value: Any) -> Any:
        return torch.from_numpy(np.require(value, requirements=("C", "W"))) if isinstance(value, np.ndarray) else value

    def array(value: Any) -> Any:
        return value.numpy() if isinstance(value, torch.Tensor) else value

    found = getattr(torch.ops.meshconv, name)(*map(tensor, arguments))
    return tuple(map(array, found)) if isinstance(found, tuple | list) else array(found)


def half_edges(
    faces: IntArray, num_vertices: int
) -> tuple[IntArray, IntArray, BoolArray, IntArray, IntArray, bool]:
    """Twin [H], one half-edge of each edge [E], irregular [V], half-edges by origin (pointers [V + 1] and [H]), proper.

    ``proper``: no face has a repeated corner, no two faces have the same three. Half-edges from a vertex to itself
    have no twin and belong to no edge.
    """
    return _call("half_edges", faces, num_vertices)


def signed_volume(points: FloatArray, faces: IntArray) -> float:
    """Volume of a closed surface, negative if its normals point inward."""
    return _call("signed_volume", points, faces)


def face_geometry(points: FloatArray, faces: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Angle at each corner [F, 3]; unit normal of each face [F, 3], 0 without area; area [F]."""
    return _call("face_geometry", points, faces)


def vertex_geometry(
    twin: IntArray,
    irregular: BoolArray,
    ptr: IntArray,
    outgoing: IntArray,
    corner: FloatArray,
    face_normal: FloatArray,
    face_area: FloatArray,
) -> VertexGeometry:
    """The fields of :class:`~meshconv.geometry.mesh.measures.VertexFans`, unit normals [V, 3] and areas [V].

    Normals are those of the faces weighted by their angle at the vertex, areas a third of the faces round it.
    """
    return _call("vertex_geometry", twin, irregular, ptr, outgoing, corner, face_normal, face_area)


def one_ring(
    faces: IntArray, twin: IntArray, edge: IntArray, corner: FloatArray, fan_angle: FloatArray, scale: FloatArray
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """The fields of :class:`~meshconv.geometry.mesh.transport.OneRing`."""
    return _call("one_ring", faces, twin, edge, corner, fan_angle, scale)


def aligned_frames(
    points: FloatArray,
    normals: FloatArray,
    faces: IntArray,
    reference: IntArray,
    regular: BoolArray,
    ring_ptr: IntArray,
    src: IntArray,
    direction: FloatArray,
) -> FloatArray:
    """Frames [V, 3, 3] round the normals, see :func:`~meshconv.geometry.mesh.transport.align_frames`."""
    return _call("aligned_frames", points, normals, faces, reference, regular, ring_ptr, src, direction)


def levi_civita(
    points: FloatArray,
    frames: FloatArray,
    regular: BoolArray,
    ring_ptr: IntArray,
    src: IntArray,
    reverse: IntArray,
    direction: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log radius, log angle, transporter of each edge of the one-ring graph."""
    return _call("levi_civita", points, frames, regular, ring_ptr, src, reverse, direction)


def normal_aligning(
    points: FloatArray, frames: FloatArray, src: IntArray, dst: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log radius, log angle, transporter of any pairs of points with frames."""
    return _call("normal_aligning", points, frames, src, dst)
