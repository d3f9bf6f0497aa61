"""Triangle meshes: areas, angles, normals, and the way to a gauge graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from meshconv.errors import InputError
from meshconv.geometry.fans import (
    FloatArray,
    VertexFans,
    corner_angles,
    dot,
    fan_directions,
    sum_at,
    unfold_fans,
)
from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.geometry.halfedges import HalfEdges, IntArray, build_half_edges, clean_faces, orient_consistently
from meshconv.geometry.transport import Edges, align_frames, levi_civita, normal_aligning, tangent_frames

# Squares of lengths stay far from the ends of the float64 range between these bounds.
_SMALLEST, _LARGEST = 1e-100, 1e100


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Vertices and triangles, as given; everything else is derived from :attr:`surface`.

    Parameters
    ----------
    vertices : float64 [V, 3]
        Any unit of length.
    faces : int64 [F, 3]
        Counter-clockwise seen from outside.
    name : str
        Where the mesh comes from; error messages begin with it.

    Raises
    ------
    InputError
        Wrong shapes, NaN or infinite coordinates, an index without a vertex, no vertices, a size
        outside 1e-100 to 1e100.

    Notes
    -----
    Faces need not be clean: see :attr:`surface` for what is dropped or turned, and
    :func:`~meshconv.geometry.transport.levi_civita` for vertices that are not manifold.

    Examples
    --------
    >>> import numpy as np
    >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> round(mesh.area, 4), mesh.gauge_graph().num_edges
    (0.866, 6)
    """

    vertices: FloatArray
    faces: IntArray
    name: str = ""

    def __post_init__(self) -> None:
        where = f"{self.name}: " if self.name else ""
        try:
            vertices = np.ascontiguousarray(self.vertices, dtype=np.float64)
            faces = np.asarray(self.faces)
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}vertices or faces are not rectangular arrays of numbers") from error
        if vertices.ndim != 2 or vertices.shape[1] != 3 or len(vertices) == 0:
            raise InputError(f"{where}vertices have shape {vertices.shape}; give one row x, y, z per vertex")
        if faces.size == 0:
            faces = np.zeros((0, 3), dtype=np.int64)
        if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
            raise InputError(
                f"{where}faces have shape {faces.shape} and type {faces.dtype}; give three integers per face"
            )
        bad = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
        if len(bad):
            raise InputError(
                f"{where}{len(bad)} of {len(vertices)} vertices have NaN or infinite coordinates, "
                f"the first is vertex {bad[0]}; remove them or export the mesh again"
            )
        faces = np.ascontiguousarray(faces, dtype=np.int64)
        bad = np.flatnonzero(((faces < 0) | (faces >= len(vertices))).any(axis=1))
        if len(bad):
            raise InputError(
                f"{where}{len(bad)} of {len(faces)} faces name a vertex that does not exist, the first is face "
                f"{bad[0]} with {faces[bad[0]].tolist()}; indices run from 0 to {len(vertices) - 1}"
            )
        extent = float((vertices.max(axis=0) / 2 - vertices.min(axis=0) / 2).max()) * 2
        if not (extent == 0 or _SMALLEST < extent < _LARGEST):
            raise InputError(f"{where}the mesh is {extent:g} wide; scale it to between 1e-100 and 1e100")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)
        object.__setattr__(self, "_extent", extent)

    @property
    def num_vertices(self) -> int:
        return len(self.vertices)

    @property
    def num_faces(self) -> int:
        return len(self.faces)

    @cached_property
    def _unit(self) -> float:
        """The power of two next to the size: dividing by it is exact and keeps squares in range."""
        return 2.0 ** np.frexp(self._extent)[1] if self._extent > 0 else 1.0  # type: ignore[attr-defined]

    @cached_property
    def _points(self) -> FloatArray:
        return self.vertices / self._unit

    @property
    def surface(self) -> IntArray:
        """The faces that everything is computed from, int64 ``[F', 3]``.

        Faces with a repeated vertex and all but the first on the same three vertices are left out. If neighbours
        disagree in orientation they are turned to agree (:func:`orient_consistently`), and a closed
        surface that is inside out, by its volume, is turned as a whole: normals point outward.
        """
        return self._surface_half_edges[0]

    @property
    def half_edges(self) -> HalfEdges:
        """Half-edges of :attr:`surface`."""
        return self._surface_half_edges[1]

    @cached_property
    def _surface_half_edges(self) -> tuple[IntArray, HalfEdges]:
        faces = clean_faces(self.faces)
        half_edges = build_half_edges(faces, self.num_vertices)
        if half_edges.irregular.any():
            faces = orient_consistently(faces, self.num_vertices)
            half_edges = build_half_edges(faces, self.num_vertices)
        if len(faces) and half_edges.is_closed and self._volume(faces) < -1e-9:
            faces = np.ascontiguousarray(faces[:, ::-1])
            half_edges = build_half_edges(faces, self.num_vertices)
        return faces, half_edges

    def _volume(self, faces: IntArray) -> float:
        """Signed volume in units of the mesh's size cubed; of flat or balanced surfaces it is only noise round 0."""
        a, b, c = (self._points - self._points.mean(axis=0))[faces.T]
        return float(dot(a, np.cross(b, c)).sum()) / 6

    @cached_property
    def corner_angles(self) -> FloatArray:
        """Angles of :attr:`surface`'s corners, float64 ``[F', 3]``, radians."""
        return corner_angles(self._points, self.surface)

    @cached_property
    def fans(self) -> VertexFans:
        """Corner angles summed round every vertex."""
        return unfold_fans(self.half_edges, self.corner_angles.ravel())

    @cached_property
    def _face_vectors(self) -> FloatArray:
        a, b, c = self._points[self.surface.T]
        return 0.5 * np.cross(b - a, c - a)

    @cached_property
    def face_areas(self) -> FloatArray:
        """Areas of :attr:`surface`'s faces, float64 ``[F']``."""
        return np.sqrt(dot(self._face_vectors, self._face_vectors)) * self._unit**2

    @property
    def area(self) -> float:
        """Total area."""
        return float(self.face_areas.sum())

    @cached_property
    def vertex_areas(self) -> FloatArray:
        """A third of the faces round each vertex, float64 ``[V]``; they sum to :attr:`area`."""
        thirds = np.repeat(self.face_areas / 3, 3)
        return sum_at(self.surface.ravel(), thirds, self.num_vertices)

    @cached_property
    def vertex_normals(self) -> FloatArray:
        """Outward unit normals, float64 ``[V, 3]``: face normals weighted by their angle at the vertex.

        The weights make the normal independent of how flat parts are cut into triangles. Where the sum vanishes,
        the normal of one face stands in; a vertex without area has the z axis.
        """
        length = np.sqrt(dot(self._face_vectors, self._face_vectors))[:, None]
        faces = self._face_vectors / np.where(length > 0, length, 1.0)
        corners = self.surface.ravel()
        weighted = (self.corner_angles[:, :, None] * faces[:, None, :]).reshape(-1, 3)
        total = np.stack([sum_at(corners, w, self.num_vertices) for w in weighted.T], axis=1)
        norm = np.sqrt(dot(total, total))
        lost = np.flatnonzero(norm < 1e-12)
        if len(lost):
            stand_in = np.tile([0.0, 0.0, 1.0], (self.num_vertices, 1))
            solid = np.repeat(length[:, 0] > 0, 3)
            stand_in[corners[solid]] = np.repeat(faces, 3, axis=0)[solid]
            total[lost] = stand_in[lost]
            norm[lost] = 1.0
        return total / norm[:, None]

    @cached_property
    def angle_defects(self) -> FloatArray:
        """Curvature gathered in each vertex, float64 ``[V]``: 2 pi minus the corner angles, pi on a boundary.

        0 for a vertex without faces. On a manifold mesh they sum to 2 pi times the Euler characteristic.
        """
        flat = np.where(self.fans.is_boundary, np.pi, 2 * np.pi)
        return np.where(self.fans.reference >= 0, flat - self.fans.total, 0.0)

    @cached_property
    def _directions(self) -> tuple[FloatArray, FloatArray]:
        return fan_directions(self.half_edges, self.corner_angles.ravel(), self.fans)

    @cached_property
    def frames(self) -> FloatArray:
        """Tangent frames, float64 ``[V, 3, 3]``: rows e1, e2, normal.

        e1 is where the intrinsic angle 0 is found in space: the direction of the reference half-edge, corrected by
        the mean over all edges (:func:`~meshconv.geometry.transport.align_frames`).
        """
        reference = self.fans.reference
        direction = np.zeros((self.num_vertices, 3))
        has_face = np.flatnonzero(reference >= 0)
        tip = self.half_edges.tip[reference[has_face]]
        direction[has_face] = self._points[tip] - self._points[has_face]
        frames = tangent_frames(self.vertex_normals, direction)
        return align_frames(self._points, frames, self.half_edges, self._directions, self.fans)

    def gauge_graph(self, transport: str = "levi_civita") -> GaugeGraph:
        """One-ring gauge graph: both directions of every edge, log maps and transporters, float64.

        Parameters
        ----------
        transport : "levi_civita" | "normal_aligning"
            See :mod:`meshconv.geometry.transport`.

        Returns
        -------
        GaugeGraph
            Lengths in the mesh's unit; ``scale`` is sqrt(area / number of vertices that have a face).

        Raises
        ------
        InputError
            No faces, or an area of zero.
        ValueError
            Unknown ``transport``.

        Notes
        -----
        Every mesh with an area gets a finite, valid graph; ``tests/test_transport.py`` checks holonomies, twins and
        defective meshes.
        """
        self.check_area()
        half_edges = self.half_edges
        edges: Edges
        if transport == "levi_civita":
            edges = levi_civita(self._points, self.frames, half_edges, self._directions, self.fans)
        elif transport == "normal_aligning":
            one = half_edges.edge_halfedge
            i, j = half_edges.origin[one], half_edges.tip[one]
            src, dst = np.concatenate([i, j]), np.concatenate([j, i])
            edges = normal_aligning(self._points, self.frames, src, dst)
        else:
            raise ValueError(f"transport {transport!r} is not known; use 'levi_civita' or 'normal_aligning'")
        used = int((self.fans.reference >= 0).sum())
        return GaugeGraph.from_edges(
            edges.src,
            edges.dst,
            edges.log_radius * self._unit,
            edges.log_angle,
            edges.transporter,
            frames=self.frames,
            positions=self.vertices,
            areas=self.vertex_areas,
            scale=np.sqrt(self.area / used),
        )

    def check_area(self) -> None:
        """Raise ``InputError`` if there is nothing to compute on: no faces, or no area."""
        where = f"{self.name}: " if self.name else ""
        if self.num_faces == 0:
            raise InputError(
                f"{where}{self.num_vertices} vertices but no faces; meshconv needs triangles, not a point cloud"
            )
        if not self.area > 0:
            raise InputError(
                f"{where}the {self.num_faces} faces have no area: all their corners lie on a line or a point"
            )
