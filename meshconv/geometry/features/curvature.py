"""Curvature of meshes as fields: Gaussian curvature, and the shape operator split into orders 0 and 2."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array, eye_array
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray
from meshconv.geometry.mesh.measures import FloatArray, dot, sum_at
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

GAUSS_CURVATURE = FieldType("1x0")
"""Type of :func:`gauss_curvature`."""
SHAPE_OPERATOR = FieldType("1x0 + 1x2")
"""Type of :func:`shape_operator`."""

# The second ring excludes vertices of higher valence, whose pairs of neighbours would exhaust memory.
_CROWDED = 48
# Neighbourhoods that do not determine a quadric (three points, all on a line) get the smallest one.
_RIDGE = 1e-8
# Neighbours in steeper directions than this (secant) count as nearer than they are.
_STEEPEST = 4.0
_BLOCK = 1 << 15


def gauss_curvature(mesh: TriangleMesh) -> tuple[Tensor, FieldType]:
    r"""Gaussian curvature: the angle defect of each vertex over its area.

    .. math:: K_i = \frac{1}{A_i} \Bigl(2\pi - \sum_{f \ni i} \alpha_i^f\Bigr)

    It is intrinsic, hence invariant under isometries. On a closed mesh its integral :math:`\sum_i A_i K_i` is exactly
    :math:`2\pi\chi` (Gauss-Bonnet).

    Parameters
    ----------
    mesh : TriangleMesh

    Returns
    -------
    x : float64 Tensor [V, 1]
        In 1 / unit of length squared; positive on a sphere. A boundary vertex, whose defect is the turning of the
        boundary, has the mean of its inner neighbours. 0 at vertices without area.
    type : FieldType
        :data:`GAUSS_CURVATURE`, ``"1x0"``.

    Notes
    -----
    Each value is a mean over one ring of triangles; single values converge where the mesh is regular, their averages
    on any mesh. ``tests/test_curvature.py`` checks closed forms and Gauss-Bonnet.

    Examples
    --------
    >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> gauss_curvature(mesh)[0].tolist()
    [[0.0], [0.0], [0.0]]
    """
    areas, fans, half_edges = mesh.vertex_areas, mesh.fans, mesh.half_edges
    inside = (areas > 0) & ~fans.is_boundary
    curvature = np.where(inside, mesh.angle_defects / np.where(areas > 0, areas, 1.0), 0.0)
    rim = (areas > 0) & fans.is_boundary
    one = half_edges.edge_halfedge
    src = np.concatenate([half_edges.origin[one], half_edges.tip[one]])
    dst = np.concatenate([half_edges.tip[one], half_edges.origin[one]])
    shared = inside[src] & rim[dst]
    src, dst = src[shared], dst[shared]
    # Weighted by area, against needles, whose area is nearly zero.
    weight = sum_at(dst, areas[src], mesh.num_vertices)
    mean = sum_at(dst, areas[src] * curvature[src], mesh.num_vertices) / np.where(weight > 0, weight, 1.0)
    return torch.from_numpy(np.where(rim, mean, curvature)[:, None]), GAUSS_CURVATURE


def shape_operator(mesh: TriangleMesh, graph: GaugeGraph) -> tuple[Tensor, FieldType]:
    r"""Shape operator from a quadric through two rings of neighbours: mean curvature and traceless part.

    Over the tangent plane of each vertex the heights of the vertices within two edges are fitted by

    .. math:: h = c + d_u u + d_v v - \tfrac12 (S_{11} u^2 + 2 S_{12} u v + S_{22} v^2),

    nearer ones with more weight; the sign makes S positive on a sphere whose normals point outward. The polar radius
    of (u, v) is the length of the chord, not of its projection: :math:`-2h/|q-p|^2` is then the curvature of the
    circle through p and q, and spheres are exact however coarse. A second fit starts from the normal with
    the slopes d of the first one, so that the normals of the frames need not be accurate.

    Parameters
    ----------
    mesh : TriangleMesh
    graph : GaugeGraph
        Of this mesh, in any gauge; only its frames are used.

    Returns
    -------
    x : float64 Tensor [V, 3]
        The mean curvature :math:`\tfrac12(S_{11} + S_{22})` and, in the frames of ``graph``, the order-2 field
        :math:`(\tfrac12(S_{11} - S_{22}), S_{12})`, in 1 / unit of length. Finite for every mesh, 0 at vertices
        without neighbours.
    type : FieldType
        :data:`SHAPE_OPERATOR`, ``"1x0 + 1x2"``.

    Raises
    ------
    ValueError
        The graph has another number of vertices than the mesh.

    Notes
    -----
    The error is of first order in the edge length, and of second order on average and for regular neighbours.
    ``tests/test_curvature.py`` measures it against closed forms.

    References
    ----------
    Cazals, Pouget, "Estimating differential quantities using polynomial fitting of osculating jets", 2005.

    Examples
    --------
    >>> import trimesh
    >>> sphere = trimesh.creation.icosphere(3, radius=2.0)
    >>> mesh = TriangleMesh(sphere.vertices, sphere.faces)
    >>> x, field_type = shape_operator(mesh, mesh.gauge_graph())
    >>> round(float(x[0, 0]), 2), str(field_type)
    (0.5, '1x0 + 1x2')
    """
    if graph.num_vertices != mesh.num_vertices:
        raise ValueError(f"graph has {graph.num_vertices} vertices, the mesh {mesh.num_vertices}")
    frames = graph.frames.double().cpu().numpy()
    ptr, neighbour = _two_rings(mesh.half_edges)
    found = [
        _fit_quadrics(mesh.surface.points, frames, ptr, neighbour, start, min(start + _BLOCK, mesh.num_vertices))
        for start in range(0, mesh.num_vertices, _BLOCK)
    ]
    return torch.from_numpy(np.concatenate(found) / mesh.surface.unit), SHAPE_OPERATOR


def edge_shape_operator(graph: GaugeGraph, points: FloatArray) -> FloatArray:
    r"""Shape operator from the variation of normals along the edges of a graph.

    The curvature of an edge, :math:`(n_q-n_p)\cdot(q-p)/|q-p|^2`, is weighted by its squared length: short edges, whose
    curvature is mostly noise, have small weights and zero edges none. It is biased where neighbours are irregular, at
    any resolution: an input for networks, not an estimate like :func:`shape_operator`.

    Parameters
    ----------
    graph : GaugeGraph
    points : float64 [V, 3]
        Positions in any unit.

    Returns
    -------
    float64 [V, 3]
        As :func:`shape_operator`; 0 at vertices without neighbours.
    """
    src, dst = graph.src.cpu().numpy(), graph.dst.cpu().numpy()
    angle = 2 * graph.log_angle.double().cpu().numpy()
    normal = graph.frames[:, 2].double().cpu().numpy()
    v = len(points)
    chord = points[src] - points[dst]
    square = dot(chord, chord)
    turn = dot(normal[src] - normal[dst], chord)
    total = sum_at(dst, square, v)
    total = np.where(total > 0, total, 1.0)
    mean = sum_at(dst, turn, v) / total
    # Minus the mean, so that it vanishes at an umbilic point for any arrangement of neighbours.
    excess = 2 * (turn - mean[dst] * square)
    bend = [sum_at(dst, excess * w, v) / total for w in (np.cos(angle), np.sin(angle))]
    return np.stack([mean, *bend], axis=1)


def principal_curvatures(shape: Tensor) -> tuple[Tensor, Tensor]:
    r"""Eigenvalues and eigenvectors of the shape operator.

    Parameters
    ----------
    shape : Tensor [..., 3]
        From :func:`shape_operator`: mean curvature H, traceless part (a, b).

    Returns
    -------
    curvatures : Tensor [..., 2]
        :math:`H \pm \sqrt{a^2 + b^2}`, the larger first.
    angle : Tensor [...]
        Direction of the larger, :math:`\tfrac12 \operatorname{atan2}(b, a)`, from e1 in the frame, up to
        pi.

    Examples
    --------
    >>> principal_curvatures(torch.tensor([1.0, -0.5, 0.0]))
    (tensor([1.5000, 0.5000]), tensor(1.5708))
    """
    SHAPE_OPERATOR.check(shape)
    mean, a, b = shape.unbind(-1)
    half = torch.hypot(a, b)
    return torch.stack([mean + half, mean - half], dim=-1), 0.5 * torch.atan2(b, a)


def _two_rings(half_edges: HalfEdges) -> tuple[IntArray, IntArray]:
    """Each vertex and its neighbours within two edges as rows of a CSR array."""
    v = half_edges.num_vertices
    one = half_edges.edge_halfedge
    i, j = half_edges.origin[one], half_edges.tip[one]
    ones = np.ones(2 * len(one), dtype=np.int8)
    adjacency = csr_array((ones, (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(v, v))
    through = csr_array(adjacency)
    crowded = np.diff(adjacency.indptr) > _CROWDED
    through.data = (~crowded[adjacency.indices]).astype(np.int8)
    through.eliminate_zeros()
    rings = csr_array(through.astype(bool) @ adjacency.astype(bool) + adjacency.astype(bool) + eye_array(v, dtype=bool))
    rings.sort_indices()
    return rings.indptr.astype(np.int64), rings.indices.astype(np.int64)


def _fit_quadrics(
    points: FloatArray, frames: FloatArray, ptr: IntArray, neighbour: IntArray, start: int, stop: int
) -> FloatArray:
    """Shape operators ``[stop - start, 3]`` of the vertices from ``start`` to ``stop``."""
    count = stop - start
    other = neighbour[ptr[start] : ptr[stop]]
    centre = np.repeat(np.arange(count), np.diff(ptr[start : stop + 1]))
    vector = points[other] - points[start:stop][centre]
    square = dot(vector, vector)
    size = np.sqrt(sum_at(centre, square, count) / np.bincount(centre, minlength=count))
    size = np.where(size > 0, size, 1.0)
    vector /= size[centre][:, None]
    square /= size[centre] ** 2
    weight = np.exp(-square)
    frame = frames[start:stop]
    for _ in range(2):
        u, v, h = np.einsum("eai,ei->ae", frame[centre], vector)
        flat = u * u + v * v
        # Bounded, since a neighbour straight above has no direction.
        stretch = np.sqrt(square / np.maximum(flat, square / _STEEPEST**2 + np.finfo(float).tiny))
        u, v = u * stretch, v * stretch
        # The traceless monomials transform as a field of order 2, so that the ridge penalty is isotropic.
        columns = [np.ones_like(u), u, v, 0.5 * (u * u + v * v), 0.5 * (u * u - v * v), u * v]
        matrix, right = np.empty((count, 6, 6)), np.empty((count, 6, 1))
        for a in range(6):
            weighted = weight * columns[a]
            right[:, a, 0] = sum_at(centre, weighted * h, count)
            for b in range(a + 1):
                matrix[:, a, b] = matrix[:, b, a] = sum_at(centre, weighted * columns[b], count)
        matrix[:, range(6), range(6)] += _RIDGE
        _, du, dv, *second = np.linalg.solve(matrix, right)[..., 0].T
        frame = _tilted(frame, du, dv)
    return -np.stack(second, axis=1) / size[:, None]


def _tilted(frames: FloatArray, du: FloatArray, dv: FloatArray) -> FloatArray:
    """Frames after the smallest rotation to the normal of the plane with slopes ``du``, ``dv``."""
    normal = np.stack([-du, -dv, np.ones_like(du)], axis=1) / np.sqrt(1 + du * du + dv * dv)[:, None]
    a, b, c = normal.T
    d = 1 / (1 + c)
    turn = np.stack([1 - a * a * d, -a * b * d, -a, -a * b * d, 1 - b * b * d, -b, a, b, c], axis=1)
    return turn.reshape(-1, 3, 3) @ frames
