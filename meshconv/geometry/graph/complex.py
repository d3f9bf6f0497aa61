"""Complexes: triangles between the points of a gauge graph, for exact identities of vector calculus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph, wrap_angle
from meshconv.geometry.graph.record import Record
from meshconv.geometry.mesh.halfedges import IntArray, build_half_edges
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.ops.gauge_conv import Edges
from meshconv.ops.rows import compressed_rows, transposed_rows

# Minimal ratio of twice the area to the square of the longest side: below, directions are rounding errors.
_THINNEST = 1e-8


@dataclass(frozen=True, eq=False)
class SurfaceComplex(Record):
    r"""Surface complex: vertices, triangles with frames, and inner edges.

    Three spaces and the maps between them: scalars at vertices, linear on triangles (hat functions :math:`\varphi_i`);
    tangent fields constant on triangles; scalars at the midpoints of inner edges, linear on triangles and continuous
    there alone (:math:`\psi_e`). Gradients :math:`\nabla\varphi_i` of the first and turned gradients
    :math:`J\nabla\psi_e` of the second are orthogonal, and what remains of the tangent fields has dimension
    2 genus on a closed surface, the first Betti number on any (Polthier and Preuss 2003).

    Attributes
    ----------
    graph : GaugeGraph
        The vertices, with frames; every side of a triangle is an edge of it.
    faces : int64 [F, 3]
        Counter-clockwise seen from outside.
    positions, frames, areas : [F, 3], [F, 3, 3], [F]
        Barycentres, rows e1, e2, normal, and areas of the triangles.
    vertex_areas : [V]
        A third of the triangles round each vertex.
    on_boundary : bool [V]
        Vertices on a side without a triangle on the other side.
    corners, sides : tuples of int64 tensors
        ``(dst_ptr, src, dst, src_ptr, src_edge)`` as the operators take them, from vertices, from inner edges
        (numbered by their first half-edge), to triangles.
    hat_gradient, side_gradient : [3 F, 2], [S, 2]
        :math:`\nabla\varphi_i` and :math:`J\nabla\psi_e` in the triangles' frames, per length.
    transporter : [3 F]
        From the frames at the corners to the triangle's.
    cotangent : [E]
        For each edge of ``graph`` half the sum of the cotangents opposite to it, which is
        :math:`-\int\nabla\varphi_i\cdot\nabla\varphi_j`.

    References
    ----------
    Polthier, Preuss: Identifying vector field singularities using a discrete Hodge decomposition, 2003.
    """

    graph: GaugeGraph
    faces: Tensor
    positions: Tensor
    frames: Tensor
    areas: Tensor
    vertex_areas: Tensor
    on_boundary: Tensor
    corners: Edges
    sides: Edges
    hat_gradient: Tensor
    side_gradient: Tensor
    transporter: Tensor
    cotangent: Tensor

    @classmethod
    def from_faces(cls, graph: GaugeGraph, faces: Any) -> SurfaceComplex:
        """The complex of ``faces [F, 3]`` between the points of ``graph``.

        Triangles with a repeated vertex or (almost) without area are left out. Sides are boundary unless exactly two
        triangles share them in opposite directions. For a batch of surfaces, give graph and faces of the union.

        Raises
        ------
        ValueError
            A face names a vertex that does not exist, a side is no edge of the graph, or the graph reflects.
        """
        triangles = torch.as_tensor(faces, dtype=torch.int64).cpu().numpy()
        v = graph.num_vertices
        if triangles.ndim != 2 or triangles.shape[1] != 3:
            raise ValueError(f"faces have shape {triangles.shape}, expected three vertices each")
        if triangles.size and not (triangles.min() >= 0 and triangles.max() < v):
            raise ValueError(f"faces name vertices {triangles.min()}..{triangles.max()}, the graph has {v}")
        if graph.num_sources != v:
            raise ValueError("the graph is a part of a distributed surface; its triangles are not all there")
        if graph.reflected is not None:
            raise ValueError("the graph's transporters reflect; triangles with frames need an oriented surface")
        device, given = graph.device, graph
        graph = graph.to("cpu", torch.float64)
        # In units of a power of two near the size, where squares stay in range.
        extent = float(np.ptp(graph.positions.numpy(), axis=0).max(initial=0)) if v else 0.0
        unit = 2.0 ** np.frexp(extent)[1]
        points = graph.positions.numpy() / unit
        side, normal = _sides_and_normals(points, triangles)
        longest = (side**2).sum(-1).max(axis=1, initial=0)
        solid = np.linalg.norm(normal, axis=1) > _THINNEST * longest
        triangles, side, normal = triangles[solid], side[solid], normal[solid]
        f = len(triangles)
        twice = np.linalg.norm(normal, axis=1)
        normal = normal / twice[:, None]
        e1 = side[:, 0] / np.linalg.norm(side[:, 0], axis=1)[:, None]
        frames = np.stack([e1, np.cross(normal, e1), normal], axis=1)
        # Sides as complex numbers in the frame of the face; side k runs from corner k to the next one.
        plane = np.einsum("fki,fci->fkc", side, frames[:, :2]) @ np.array([1, 1j])
        # The gradient of a hat function is orthogonal to the opposite side.
        hat = 1j * plane[:, [1, 2, 0]] / twice[:, None]
        half_edges = build_half_edges(triangles, v)
        inner = np.flatnonzero(half_edges.twin >= 0)
        rim = np.flatnonzero(half_edges.twin < 0)
        on_boundary = np.zeros(v, dtype=bool)
        on_boundary[half_edges.origin[rim]] = on_boundary[half_edges.tip[rim]] = True
        first, edge = np.unique(np.minimum(inner, half_edges.twin[inner]), return_inverse=True)
        # psi of side k is 1 on it and -1 at the opposite corner k + 2: 1 - 2 phi.
        across = 1j * -2 * hat[:, [2, 0, 1]].ravel()[inner]
        out, back = _edge_numbers(graph, half_edges.origin, half_edges.tip)
        transporter = _corner_transporters(graph.log_angle.numpy(), plane, out, back)
        cotangent = -(hat[:, [1, 2, 0]] * hat.conj()).real * twice[:, None] / 2
        weight = np.bincount(out, weights=cotangent.ravel(), minlength=graph.num_edges)
        weight += np.bincount(back, weights=cotangent.ravel(), minlength=graph.num_edges)
        corner_areas = np.bincount(triangles.ravel(), weights=np.repeat(twice / 6, 3), minlength=v)
        made = cls(
            graph=graph,
            faces=torch.from_numpy(triangles),
            positions=torch.from_numpy(points[triangles].mean(axis=1) * unit),
            frames=torch.from_numpy(frames),
            areas=torch.from_numpy(twice / 2 * unit**2),
            vertex_areas=torch.from_numpy(corner_areas * unit**2),
            on_boundary=torch.from_numpy(on_boundary),
            corners=_rows(triangles.ravel(), np.repeat(np.arange(f), 3), v, f),
            sides=_rows(edge, inner // 3, len(first), f),
            hat_gradient=_components(hat.ravel() / unit),
            side_gradient=_components(across / unit),
            transporter=torch.from_numpy(transporter),
            cotangent=torch.from_numpy(weight),
        )
        return replace(made.to(device, given.dtype), graph=given)

    @property
    def num_vertices(self) -> int:
        return self.graph.num_vertices

    @property
    def num_faces(self) -> int:
        return self.faces.shape[0]

    @property
    def num_inner_edges(self) -> int:
        return self.sides[3].shape[0] - 1

    def change_gauge(self, vertices: Tensor, faces: Tensor) -> SurfaceComplex:
        """The same surface with the frames of vertices and triangles rotated by angles ``[V]`` and ``[F]``."""
        f = faces.double()
        corner, side = f[self.corners[2]], f[self.sides[2]]
        c, s = torch.cos(f)[:, None], torch.sin(f)[:, None]
        e1, e2, n = self.frames.double().unbind(dim=1)
        frames = torch.stack([c * e1 + s * e2, c * e2 - s * e1, n], dim=1)
        transporter = wrap_angle(self.transporter.double() - corner + vertices.double()[self.corners[1]])
        return replace(
            self,
            graph=self.graph.change_gauge(vertices),
            frames=frames.to(self.frames.dtype),
            hat_gradient=_turned(self.hat_gradient, -corner),
            side_gradient=_turned(self.side_gradient, -side),
            transporter=transporter.to(self.transporter.dtype),
        )

    def __repr__(self) -> str:
        counts = f"{self.num_vertices} vertices, {self.num_inner_edges} inner edges, {self.num_faces} faces"
        return f"SurfaceComplex({counts}, {self.graph.dtype}, {self.graph.device})"


def _sides_and_normals(points: FloatArray, faces: IntArray) -> tuple[FloatArray, FloatArray]:
    """Sides from each corner to the next ``[F, 3, 3]``, and normals of twice the area's length ``[F, 3]``."""
    corner = points[faces]
    side = corner[:, [1, 2, 0]] - corner
    return side, np.cross(side[:, 0], -side[:, 2])


def _edge_numbers(graph: GaugeGraph, origin: IntArray, tip: IntArray) -> tuple[IntArray, IntArray]:
    """The graph's edges from ``tip`` to ``origin``, and from ``origin`` to ``tip``."""
    v = graph.num_vertices
    key = (graph.dst * v + graph.src).numpy()
    found = []
    for here, there in ((origin, tip), (tip, origin)):
        wanted = here * v + there
        place = np.searchsorted(key, wanted)
        lost = np.flatnonzero(np.append(key, -1)[place] != wanted)
        if len(lost):
            pair = f"{there[lost[0]]} -> {here[lost[0]]}"
            raise ValueError(f"{len(lost)} sides of faces are no edges of the graph, the first is {pair}")
        found.append(place)
    return found[0], found[1]


def _corner_transporters(log_angle: FloatArray, plane: np.ndarray, out: IntArray, back: IntArray) -> FloatArray:
    """Rotation that best aligns the two sides at a corner in the frame of the vertex with those in the face."""
    before = [2, 0, 1]
    after = plane * np.exp(-1j * log_angle[out].reshape(-1, 3))
    other = -plane[:, before] * np.exp(-1j * log_angle[back].reshape(-1, 3)[:, before])
    return np.angle(after / np.abs(after) + other / np.abs(other)).ravel()


def _rows(column: IntArray, row: IntArray, num_columns: int, num_rows: int) -> Edges:
    """Members ``column`` of the sorted rows ``row``, as the operators take them."""
    src, dst = torch.from_numpy(column), torch.from_numpy(row)
    ptr = compressed_rows(dst, num_rows)
    return ptr, src, *transposed_rows(ptr, src, num_columns)


def _components(z: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack([z.real, z.imag], axis=-1))


def _turned(vectors: Tensor, angle: Tensor) -> Tensor:
    return FieldType("1x1").rotate(vectors.double(), angle).to(vectors.dtype)
