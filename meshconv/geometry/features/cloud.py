"""Input features of points without faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.features.curvature import GAUSS_CURVATURE, SHAPE_OPERATOR
from meshconv.geometry.features.moments import log_areas, shorten_fields
from meshconv.geometry.graph.gauge_graph import GaugeGraph

_RIDGE = 1e-9


def cloud_features(graph: GaugeGraph, names: Sequence[str], name: str = "") -> Tensor:
    """Features of points by name: of those that meshes have the ones that need no faces.

    Parameters
    ----------
    graph : GaugeGraph
        Of a :class:`~meshconv.PointCloud`.
    names : sequence of str
        Of ``curvature``, ``areas``, ``coordinates`` and ``normals``.
    name : str
        Of the file, for the message.

    Returns
    -------
    float64 Tensor [V, dim]
        In the frames of the graph. Lengths are in units of the square root of the area of all points.

    Raises
    ------
    InputError
        A feature that needs faces.
    """
    chosen = []
    for key in names:
        if key not in _FEATURES:
            has = ", ".join(_FEATURES)
            raise InputError(f"{name}: points without faces have no feature {key!r}; set features to some of {has}")
        chosen.append(_FEATURES[key])
    return concatenate_fields([t for t, _ in chosen], [compute(graph) for _, compute in chosen])


def shape_of_points(graph: GaugeGraph) -> Tensor:
    r"""The shape operator at each point, ``[V, 3]``: its entries :math:`S_{11}, S_{12}, S_{22}` in the frame.

    With a neighbour at :math:`d` on the tangent plane and its normal's tangential part t, S minimises
    :math:`\sum |S d - t|^2`. On a sphere of radius R with outward normals it is 1 / R.
    """
    assert graph.positions is not None  # of points
    frames, (src, dst) = graph.frames, (graph.src, graph.dst)
    off = graph.positions[src] - graph.positions[dst]
    x, y = ((off * frames[dst][:, k]).sum(-1) for k in (0, 1))
    t1, t2 = ((frames[src][:, 2] * frames[dst][:, k]).sum(-1) for k in (0, 1))
    zero = torch.zeros_like(x)
    rows = torch.stack([torch.stack([x, y, zero], -1), torch.stack([zero, x, y], -1)], -2)
    wanted = torch.stack([t1, t2], -1)
    square = off.new_zeros(graph.num_vertices, 3, 3).index_add(0, dst, rows.mT @ rows)
    right = off.new_zeros(graph.num_vertices, 3).index_add(0, dst, (rows.mT @ wanted[..., None])[..., 0])
    size = square.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    eye = torch.eye(3, dtype=off.dtype)
    # Neighbours on one line determine nothing across it.
    return torch.linalg.solve(square + (_RIDGE * size + (size == 0)) * eye, right)


def _length(graph: GaugeGraph) -> float:
    """The radius of a sphere with the area of all points."""
    return float((graph.areas.sum() / (4 * np.pi)).sqrt())


def _curvature(graph: GaugeGraph) -> Tensor:
    a, b, c = (shape_of_points(graph) * _length(graph)).unbind(-1)
    both = torch.stack([a * c - b * b, (a + c) / 2, (a - c) / 2, b], dim=-1)
    return shorten_fields(GAUSS_CURVATURE + SHAPE_OPERATOR, both)


def _areas(graph: GaugeGraph) -> Tensor:
    return torch.from_numpy(log_areas(graph.areas.numpy())[:, None])


def _coordinates(graph: GaugeGraph) -> Tensor:
    assert graph.positions is not None
    weights = graph.areas / graph.areas.sum()
    return (graph.positions - weights @ graph.positions) / graph.areas.sum().sqrt()


_FEATURES: dict[str, tuple[FieldType, Callable[[GaugeGraph], Tensor]]] = {
    "curvature": (GAUSS_CURVATURE + SHAPE_OPERATOR, _curvature),
    "areas": (FieldType("1x0"), _areas),
    "coordinates": (FieldType("3x0"), _coordinates),
    "normals": (FieldType("3x0"), lambda graph: graph.frames[:, 2]),
}
