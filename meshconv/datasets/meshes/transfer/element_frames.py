"""Frames of elements between points, and fields at points taken to them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from meshconv.datasets.meshes.sample import Places
from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.ambient import HasFrames, from_ambient, to_ambient

# Shorter vectors, of means of normals or of what is left of an axis in a plane, are no direction.
_SHORT = 1e-3


class ElementFrames(NamedTuple):
    """Frames ``[n, 3, 3]`` of elements: rows e1, e2, normal."""

    frames: Tensor

    @classmethod
    def of_faces(cls, positions: Tensor, faces: Tensor) -> ElementFrames:
        """Of triangles ``[F, 3]`` of points ``[V, 3]``; e1 is along the first edge."""
        a, b, c = positions[faces].unbind(-2)
        e1 = torch.nn.functional.normalize(b - a, dim=-1)
        normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
        return cls(torch.stack([e1, torch.linalg.cross(normal, e1), normal], dim=-2))

    @classmethod
    def between(cls, graph: HasFrames, points: Tensor, shares: Tensor) -> ElementFrames:
        """Of means of points ``[n, k]`` with weights ``[n, k]``.

        The normal is the mean of theirs, or that of the first one where normals cancel; e1 is the first one's, turned
        into the plane.
        """
        near = graph.frames[points]
        first, mean = near[:, 0], (near[:, :, 2] * shares[..., None]).sum(1)
        normal = torch.where(mean.norm(dim=-1, keepdim=True) > _SHORT, mean, first[:, 2])
        normal = torch.nn.functional.normalize(normal, dim=-1)
        # Of e1 and e2 of the first point at most one is along the normal.
        inside = first[:, :2] - (first[:, :2] @ normal[..., None]) * normal[:, None]
        e1, e2 = inside.unbind(1)
        e1 = torch.where((e1.norm(dim=-1) > _SHORT)[..., None], e1, torch.linalg.cross(e2, normal))
        e1 = torch.nn.functional.normalize(e1, dim=-1)
        return cls(torch.stack([e1, torch.linalg.cross(normal, e1), normal], dim=-2))


def frames_of(graph: GaugeGraph, elements: Tensor | None, places: Places | None) -> HasFrames:
    """Frames of a mesh's vertices, or of triangles ``[F, 3]`` of them, whose vertices are its points or lie between."""
    return frames_at(graph, elements, None) if places is None else frames_at(graph, *places.elements(elements))


def frames_at(graph: GaugeGraph, elements: Tensor | None, shares: Tensor | None) -> HasFrames:
    """Frames of the elements of a batch: of its points, of triangles ``[F, 3]`` of them, or of means of some."""
    if elements is None:
        return graph
    if shares is not None:
        return ElementFrames.between(graph, elements, shares)
    assert graph.positions is not None  # of a mesh
    return ElementFrames.of_faces(graph.positions, elements)


def fields_at_elements(
    x: Tensor, graph: GaugeGraph, elements: Tensor, shares: Tensor | None, field_type: FieldType
) -> Tensor:
    r"""Fields at elements from those at points: means of scalars, and of vectors in space, turned into their planes.

    With the normal :math:`n_p` at a point, the tangent vector :math:`v_p`, weights w and the element's normal N:
    :math:`\sum_p w_p R(n_p \to N) v_p` is approximated by the projection of :math:`\sum_p w_p v_p`, which is
    the same to second order in the distance of the points.

    Parameters
    ----------
    x : Tensor [V, dim]
    graph
        Of the points.
    elements : int64 Tensor [n, k]
    shares : Tensor [n, k], optional
        Weights, as of :class:`~meshconv.datasets.meshes.sample.Places`. None: elements are triangles of the points.
    field_type : FieldType
        Scalars and vectors.

    Returns
    -------
    Tensor [n, dim]
        In the frames :func:`frames_at`.
    """
    weights = torch.full_like(elements, 1 / elements.shape[1], dtype=x.dtype) if shares is None else shares.to(x.dtype)

    def mean(values: Tensor) -> Tensor:
        return torch.einsum("nk,nk...->n...", weights, values[elements])

    parts = [mean(x[:, field_type.slice(0)])]
    if 1 in field_type.orders:
        vectors = f"{field_type.multiplicities[1]}x1"
        frames = frames_at(graph, elements, shares)
        parts.append(from_ambient(mean(to_ambient(x[:, field_type.slice(1)], graph, vectors)), frames, vectors))
    return torch.cat(parts, dim=1)
