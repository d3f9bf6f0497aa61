"""Input features of a mesh at stated physical scales, which hardly depend on its triangulation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.features.laplacian import TuftedLaplacian
from meshconv.geometry.features.moments import shorten_fields, tangential, traceless
from meshconv.geometry.features.sparse import in_threads
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray, corner_angles, dot
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

SMOOTHED_FEATURES = FieldType("7x0 + 5x1 + 4x2")
"""Type of :func:`smoothed_features`."""

# Root mean square radii of 0.063, 0.2 and 0.45 square roots of the area.
_FINEST, _COARSER = 0.001, (0.01, 0.05)
# Curvature times the square root of the area, on a sphere of any radius.
_SPHERE = 2 * np.sqrt(np.pi)
# Of the average of normals, where it is no direction, and of faces that smoothing makes lines.
_NOTHING = 1e-9
# Frames are tilted by less than this half-turn.
_OPPOSITE = 1e-3


def smoothed_features(mesh: TriangleMesh, graph: GaugeGraph, laplacian: TuftedLaplacian | None = None) -> Tensor:
    r"""Shape of the surface around each vertex, at scales that are lengths, not numbers of edges.

    :math:`\langle f\rangle_t = (M + tL)^{-1} \int f\varphi` is the average by one implicit step of heat flow with the
    intrinsic Delaunay Laplacian L
    (:class:`~meshconv.geometry.features.laplacian.TuftedLaplacian`), over a root mean square radius of
    :math:`2\sqrt t` square roots of the area. The surface is first smoothed with s = 0.001 (radius 0.063): positions
    :math:`u = \langle p\rangle_s`, and normals N, the direction of :math:`\langle n\rangle_s` with the integrals of
    the faces' normals, which are the same for every triangulation of a surface. c is the centroid. Lengths are
    normalised by the square root of :math:`\int n\cdot N`: the area without that of roughness, which noise adds.

    =====  =====================================================================================
    order  fields
    =====  =====================================================================================
    0      distance from the centroid :math:`2|u-c|`; support :math:`2N\cdot(u-c)`; mean curvature
           :math:`N\cdot(u-\langle u\rangle_t)/2t` for t = 0.001, 0.01, 0.05; Gauss curvature
           :math:`\langle K\rangle_t` of the smoothed surface for t = 0.01, 0.05 (curvatures of a sphere: 1)
    1      tangential parts of :math:`2(u-c)`; for t = 0.01, 0.05 of :math:`(\langle u\rangle_t-u)/\sqrt t` and of
           :math:`\langle n\rangle_t`
    2      traceless parts of the shape operator :math:`\langle\nabla N\rangle_t` for t = 0.001, 0.01, and of the
           covariance of u over t, half, for t = 0.01, 0.05
    =====  =====================================================================================

    Tangential means perpendicular to N; components are in frames tilted from the vertex normal to N by the smallest
    rotation. The norm x of every field is compressed to arsinh(x).

    Parameters
    ----------
    mesh : TriangleMesh
    graph : GaugeGraph
        Of this mesh, in any gauge; only its frames are used.
    laplacian : TuftedLaplacian, optional
        Of this mesh, if it is there already.

    Returns
    -------
    float64 Tensor [V, SMOOTHED_FEATURES.dim]
        In the frames of ``graph``; finite for every mesh; zero at vertices without area.

    Raises
    ------
    InputError
        The mesh has no faces or no area.
    ValueError
        The graph has another number of vertices than the mesh.

    Notes
    -----
    ``tests/test_smoothed.py`` checks the invariances, the change of gauge, the values on a sphere and a cylinder, and
    bounds the differences between triangulations that ``benchmarks/inputs.py`` prints.

    References
    ----------
    Desbrun, Meyer, Schroeder, Barr, "Implicit fairing of irregular meshes using diffusion and curvature flow", 1999.

    Examples
    --------
    >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> smoothed_features(mesh, mesh.gauge_graph()).shape[1] == SMOOTHED_FEATURES.dim
    True
    """
    if graph.num_vertices != mesh.num_vertices:
        raise ValueError(f"graph has {graph.num_vertices} vertices, the mesh {mesh.num_vertices}")
    whole = laplacian or TuftedLaplacian.of(mesh)
    faces, mass = whole.faces, whole.mass[:, None]
    frames = graph.frames.double().cpu().numpy()[whole.vertices]
    flows = in_threads(whole.flow, (_FINEST, *_COARSER))
    flow = next(flows)
    facing = _to_corners(_area_vectors(whole.points, faces), faces, len(mass))
    points, mean_normal = np.split(flow.solve(np.hstack([mass * whole.points, facing])), 2, axis=1)
    size = np.sqrt(dot(mean_normal, mean_normal))[:, None]
    normal = np.where(size > _NOTHING, mean_normal / np.where(size > _NOTHING, size, 1.0), frames[:, 2])
    frames = _tilted(frames, normal)
    length = np.sqrt(max(dot(facing, normal).sum(), _NOTHING))
    points, facing = points / length, facing / length**2
    points -= whole.mass @ points

    rim = mesh.fans.is_boundary[whole.vertices]
    bent = _angle_defects(points, faces, rim)
    operator = _to_corners(_gradients(points, faces, normal), faces, len(mass))
    rows, cols = np.triu_indices(3)
    moments = points[:, rows] * points[:, cols]
    scalars = [2 * np.sqrt(dot(points, points)), 2 * dot(normal, points)]
    gauss, vectors, tensors = [], [2 * tangential(frames, points)], []
    for time in (_FINEST, *_COARSER):
        flow = flow if time == _FINEST else next(flows)
        mean = flow.solve(np.hstack([mass * points, operator]))
        scalars.append(dot(normal, points - mean[:, :3]) / (2 * time * _SPHERE))
        if time < _COARSER[-1]:
            tensors.append(traceless(frames, mean[:, 3:].reshape(-1, 3, 3)) / _SPHERE)
        if time == _FINEST:
            continue
        over = flow.solve(np.hstack([facing, bent[:, None], mass * moments]))
        gauss.append(over[:, 3] / (4 * np.pi))
        vectors += [tangential(frames, (mean[:, :3] - points) / np.sqrt(time)), tangential(frames, over[:, :3])]
        covariance = np.empty((len(points), 3, 3))
        covariance[:, rows, cols] = over[:, 4:] - mean[:, rows] * mean[:, cols]
        covariance[:, cols, rows] = covariance[:, rows, cols]
        tensors.append(traceless(frames, covariance) / (2 * time))

    parts = [np.stack(scalars + gauss, axis=1)]
    for fields in (vectors, tensors):
        parts += [np.stack([f[:, k] for f in fields], axis=1) for k in (0, 1)]
    x = torch.zeros(mesh.num_vertices, SMOOTHED_FEATURES.dim, dtype=torch.float64)
    x[torch.from_numpy(whole.vertices)] = torch.from_numpy(np.concatenate(parts, axis=1))
    x[torch.from_numpy(mesh.vertex_areas <= 0)] = 0.0
    return shorten_fields(SMOOTHED_FEATURES, x)


def _area_vectors(points: FloatArray, faces: IntArray) -> FloatArray:
    corner = points[faces]
    return 0.5 * np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])


def _to_corners(integrals: FloatArray, faces: IntArray, count: int) -> FloatArray:
    """Integrals over the faces, ``[F, C]``, shared between their corners."""
    return np.stack([np.bincount(faces.ravel(), np.repeat(x / 3, 3), count) for x in integrals.T], axis=1)


def _gradients(points: FloatArray, faces: IntArray, values: FloatArray) -> FloatArray:
    """Integrals over the faces of the derivatives of ``values [V, 3]``, linear on each face, ``[F, 9]``."""
    across = _area_vectors(points, faces)
    area = np.sqrt(dot(across, across))[:, None]
    across = across / np.where(area > _NOTHING**2, area, np.inf)
    corner = points[faces]
    total = np.zeros((len(faces), 3, 3))
    for k in range(3):
        opposite = corner[:, (k + 2) % 3] - corner[:, (k + 1) % 3]
        total += 0.5 * values[faces[:, k]][:, :, None] * np.cross(across, opposite)[:, None, :]
    return (0.5 * (total + total.transpose(0, 2, 1))).reshape(-1, 9)


def _angle_defects(points: FloatArray, faces: IntArray, rim: NDArray[np.bool_]) -> FloatArray:
    total = np.bincount(faces.ravel(), corner_angles(points, faces).ravel(), len(points))
    return np.where(rim, np.pi, 2 * np.pi) - total


def _tilted(frames: FloatArray, normal: FloatArray) -> FloatArray:
    """Frames after the smallest rotation from their normal to another one."""
    along = frames[:, 2] + normal
    cosine = np.maximum(1 + dot(frames[:, 2], normal), _OPPOSITE)
    tilted = frames - (np.einsum("vai,vi->va", frames, normal) / cosine[:, None])[:, :, None] * along[:, None]
    tilted[:, 2] = normal
    return tilted
