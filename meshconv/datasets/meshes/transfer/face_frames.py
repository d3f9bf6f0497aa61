"""Frames of triangles, and fields at vertices taken to them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.nn.ambient import HasFrames, from_ambient, to_ambient


class FaceFrames(NamedTuple):
    """Frames ``[F, 3, 3]`` of triangles: rows e1 along the first edge, e2, normal."""

    frames: Tensor

    @classmethod
    def of(cls, positions: Tensor, faces: Tensor) -> FaceFrames:
        """Of triangles ``[F, 3]`` of points ``[V, 3]``."""
        a, b, c = positions[faces].unbind(-2)
        e1 = torch.nn.functional.normalize(b - a, dim=-1)
        normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
        return cls(torch.stack([e1, torch.linalg.cross(normal, e1), normal], dim=-2))


def fields_at_faces(x: Tensor, graph: HasFrames, frames: FaceFrames, faces: Tensor, field_type: FieldType) -> Tensor:
    r"""Fields at triangles from those at vertices: means of scalars, and of vectors in space, turned into their planes.

    With the normal :math:`n_p` at a corner, the tangent vector :math:`v_p` and the triangle's normal N:
    :math:`\frac13 \sum_p R(n_p \to N) v_p` is approximated by the projection of :math:`\frac13 \sum_p v_p`, which is
    the same to second order in the size of the triangle.

    Parameters
    ----------
    x : Tensor [V, dim]
    graph, frames
        Of the vertices, of the triangles.
    faces : int64 Tensor [F, 3]
    field_type : FieldType
        Scalars and vectors.

    Returns
    -------
    Tensor [F, dim]
    """
    parts = [x[:, field_type.slice(0)][faces].mean(1)]
    if 1 in field_type.orders:
        vectors = f"{field_type.multiplicities[1]}x1"
        inside = to_ambient(x[:, field_type.slice(1)], graph, vectors)[faces].mean(1)
        parts.append(from_ambient(inside, frames, vectors))
    return torch.cat(parts, dim=1)
