"""Input features of a mesh that are invariant under translation, rotation and scaling."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.features.curvature import edge_shape_operator
from meshconv.geometry.features.diffusion import HeatAverage
from meshconv.geometry.features.sparse import in_threads
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.measures import FloatArray, dot
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

MESH_FEATURES = FieldType("10x0 + 7x1 + 4x2")
"""Type of :func:`mesh_features`."""

_TIMES = (0.002, 0.01, 0.05)
# Curvature times the square root of the area, on a sphere of any radius.
_SPHERE = 2 * np.sqrt(np.pi)


def mesh_features(mesh: TriangleMesh, graph: GaugeGraph) -> Tensor:
    r"""Shape of the surface around each vertex, at scales from one ring to about half of the body.

    Lengths are normalised by the square root of the surface area. :math:`\langle f\rangle_t` is the average by heat
    diffusion (:class:`~meshconv.geometry.features.diffusion.HeatAverage`) at t = 0.002, 0.01, 0.05 of the area, that is
    over root mean square radii of 0.09, 0.2 and 0.45; c is the centroid of the surface, n the normal.

    =====  =====================================================================================
    order  fields
    =====  =====================================================================================
    0      log of the vertex area over the mean; mean curvature of the one ring (1 on a sphere); distance from the
           centroid :math:`2|p-c|`; support :math:`2 n\cdot(p-c)`;
           offset :math:`n\cdot(\langle p\rangle_t-p)/\sqrt t` (3 fields); Gauss curvature
           :math:`\langle K\rangle_t` (3 fields, 1 on a sphere)
    1      tangential parts of :math:`2(p-c)`, and for each t of :math:`(\langle p\rangle_t-p)/\sqrt t` and of
           :math:`\langle n\rangle_t`
    2      traceless part of the one ring's shape operator; of the covariance of p over t, half (3)
    =====  =====================================================================================

    The norm x of every field is then compressed to arsinh(x), which leaves values below one nearly unchanged and bounds
    the effect of slivers and noise.

    Parameters
    ----------
    mesh : TriangleMesh
    graph : GaugeGraph
        Of this mesh, in any gauge.

    Returns
    -------
    float64 Tensor [V, MESH_FEATURES.dim]
        In the frames of ``graph``; finite for every mesh; zero at vertices without area or neighbours.

    Raises
    ------
    ValueError
        The graph has another number of vertices than the mesh.

    Notes
    -----
    ``tests/test_features.py`` checks the invariances, the change of gauge and the values on a sphere.

    Examples
    --------
    >>> import numpy as np
    >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> mesh_features(mesh, mesh.gauge_graph()).shape[1] == MESH_FEATURES.dim
    True
    """
    if graph.num_vertices != mesh.num_vertices:
        raise ValueError(f"graph has {graph.num_vertices} vertices, the mesh {mesh.num_vertices}")
    frames = graph.frames.double().cpu().numpy()
    normal = frames[:, 2]
    areas = mesh.vertex_areas
    used = (areas > 0) & (np.diff(graph.dst_ptr.cpu().numpy()) > 0)
    if not used.any():  # a radius below every edge
        return torch.zeros(mesh.num_vertices, MESH_FEATURES.dim, dtype=torch.float64)
    points = centred_points(mesh, used)

    bend = edge_shape_operator(_one_ring(mesh, graph), points) / _SPHERE
    scalars = [log_areas(areas), bend[:, 0], 2 * np.sqrt(dot(points, points)), 2 * dot(normal, points)]
    vectors, tensors = [2 * tangential(frames, points)], [bend[:, 1:]]

    heat = HeatAverage(mesh.half_edges, mesh.corner_angles.ravel(), areas, points)
    rows, cols = np.triu_indices(3)
    moments = points[:, rows] * points[:, cols]
    integrals = heat.mass[:, None] * np.concatenate([points, normal, moments], axis=1)
    integrals = np.concatenate([integrals, mesh.angle_defects[:, None]], axis=1)
    bent = []
    for time, mean in zip(_TIMES, in_threads(lambda time: heat.solve(time, integrals), _TIMES), strict=True):
        offset = (mean[:, :3] - points) / np.sqrt(time)
        scalars.append(dot(normal, offset))
        bent.append(mean[:, 12] / (4 * np.pi))
        vectors += [tangential(frames, offset), tangential(frames, mean[:, 3:6])]
        covariance = np.empty((len(points), 3, 3))
        covariance[:, rows, cols] = mean[:, 6:12] - mean[:, rows] * mean[:, cols]
        covariance[:, cols, rows] = covariance[:, rows, cols]
        tensors.append(traceless(frames, covariance) / (2 * time))

    parts = [np.stack(scalars + bent, axis=1)]
    for fields in (vectors, tensors):
        parts += [np.stack([f[:, 0] for f in fields], axis=1), np.stack([f[:, 1] for f in fields], axis=1)]
    x = torch.from_numpy(np.concatenate(parts, axis=1))
    x[torch.from_numpy(~used)] = 0.0
    return shorten_fields(MESH_FEATURES, x)


def centred_points(mesh: TriangleMesh, used: NDArray[np.bool_]) -> FloatArray:
    """Vertices relative to the centroid, in units of the square root of the surface area; 0 where not ``used``."""
    areas = mesh.vertex_areas
    middle = mesh.vertices[used].mean(axis=0)
    # Bounds the coordinates of meshes with nearly no area (needles).
    length = max(np.sqrt(mesh.area), 1e-8 * np.abs(mesh.vertices[used] - middle).max())
    points = (mesh.vertices - middle) / length
    points -= (areas / areas.sum()) @ points
    points[~used] = 0.0
    return points


def log_areas(areas: FloatArray) -> FloatArray:
    """Logarithm of the vertex areas over the mean of those that are not zero."""
    share = areas / areas[areas > 0].mean()
    return np.log(np.maximum(share, np.finfo(float).tiny))


def shorten_fields(field_type: FieldType, x: Tensor) -> Tensor:
    """Fields with their norm x compressed to arsinh(x)."""
    norms = field_type.norms(x)
    shorter = torch.where(norms > 0, torch.asinh(norms) / torch.where(norms > 0, norms, 1.0), 1.0)
    return field_type.scale_fields(x, shorter)


def _one_ring(mesh: TriangleMesh, graph: GaugeGraph) -> GaugeGraph:
    """The mesh's direct neighbours in the gauge of ``graph``, whose own neighbours may reach further."""
    if graph.num_edges == 2 * len(mesh.half_edges.edge_halfedge):
        return graph
    ring = mesh.gauge_graph()
    e1 = graph.frames[:, 0].to(ring.frames)
    return ring.change_gauge(torch.atan2((e1 * ring.frames[:, 1]).sum(1), (e1 * ring.frames[:, 0]).sum(1)))


def tangential(frames: FloatArray, vectors: FloatArray) -> FloatArray:
    """Components along e1 and e2, ``[V, 2]``."""
    return np.einsum("vai,vi->va", frames[:, :2], vectors)


def traceless(frames: FloatArray, tensors: FloatArray) -> FloatArray:
    """Order-2 components ``[V, 2]`` of symmetric tensors restricted to the tangent planes."""
    plane = np.einsum("vai,vij,vbj->vab", frames[:, :2], tensors, frames[:, :2])
    return np.stack([0.5 * (plane[:, 0, 0] - plane[:, 1, 1]), plane[:, 0, 1]], axis=1)
