"""Triangle meshes: areas, angles, normals, and the way to a gauge graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.coarsening import coarsen
from meshconv.geometry.mesh.geodesics import geodesic_graph
from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray
from meshconv.geometry.mesh.measures import FloatArray, SurfaceMeasures, VertexFans, measure_surface
from meshconv.geometry.mesh.orientation_cover import unoriented_graph
from meshconv.geometry.mesh.transport import OneRing, align_frames, levi_civita, normal_aligning, one_ring
from meshconv.geometry.repair.defects import Defects, find_defects
from meshconv.geometry.repair.origin import Origin
from meshconv.geometry.repair.repair import Isolated, OnDefect, clean_surface, is_clean, repair_surface

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
    vertex_data, face_data : dict of arrays [V, ...] and [F, ...]
        Labels, colours and whatever else belongs to each vertex or face; :meth:`repair` carries them along.
    origin : Origin, optional
        Where each vertex and face was before a repair or in the file; None if nothing moved.

    Raises
    ------
    InputError
        Wrong shapes, NaN or infinite coordinates, an index without a vertex, no vertices, a size
        outside 1e-100 to 1e100.

    Notes
    -----
    Faces need not be clean: :meth:`repair` makes them so, and without it :attr:`surface` tells what is left out or
    turned, and :func:`~meshconv.geometry.mesh.transport.levi_civita` for vertices that are not manifold.

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
    vertex_data: dict[str, NDArray] = field(default_factory=dict)
    face_data: dict[str, NDArray] = field(default_factory=dict)
    origin: Origin | None = None

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
        if not np.isfinite(vertices).all():
            bad = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
            raise InputError(
                f"{where}{len(bad)} of {len(vertices)} vertices have NaN or infinite coordinates, "
                f"the first is vertex {bad[0]}; remove them or export the mesh again"
            )
        faces = np.ascontiguousarray(faces, dtype=np.int64)
        if faces.min(initial=0) < 0 or faces.max(initial=0) >= len(vertices):
            bad = np.flatnonzero(((faces < 0) | (faces >= len(vertices))).any(axis=1))
            raise InputError(
                f"{where}{len(bad)} of {len(faces)} faces name a vertex that does not exist, the first is face "
                f"{bad[0]} with {faces[bad[0]].tolist()}; indices run from 0 to {len(vertices) - 1}"
            )
        extent = max(float(x.max() / 2 - x.min() / 2) for x in vertices.T) * 2  # by column, the quick way in numpy
        if not (extent == 0 or _SMALLEST < extent < _LARGEST):
            raise InputError(f"{where}the mesh is {extent:g} wide; scale it to between 1e-100 and 1e100")
        for what, data, size in (("vertex", self.vertex_data, len(vertices)), ("face", self.face_data, len(faces))):
            for key, values in data.items():
                if np.shape(values)[:1] != (size,):
                    raise InputError(
                        f"{where}{what} data {key!r} have shape {np.shape(values)}; give one row for each of {size}"
                    )
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
        disagree in orientation they are turned to agree (:func:`orient_consistently`), and closed
        parts that are inside out (:func:`~meshconv.geometry.repair.inside_out.inside_out`) are turned: normals point
        outward.
        """
        return self.half_edges.faces

    @cached_property
    def half_edges(self) -> HalfEdges:
        """Half-edges of :attr:`surface`."""
        return clean_surface(self._points, self.faces)

    @cached_property
    def defects(self) -> Defects:
        """Everything that is wrong with :attr:`faces`, counted."""
        return find_defects(self._points, self.faces)

    def repair(self, on_defect: OnDefect = "repair", isolated: Isolated = "keep") -> TriangleMesh:
        """A mesh without defects, with the way back.

        Parameters
        ----------
        on_defect : "repair" | "drop" | "error"
            Mend as :func:`~meshconv.geometry.repair.repair.repair_surface` tells, drop the faces that are bad, or
            raise.
        isolated : "keep" | "drop"
            Vertices without faces.

        Returns
        -------
        TriangleMesh
            Its ``origin.changes`` tells what was done; :meth:`to_original_vertices` and :meth:`to_original_faces`
            bring values back. Data are carried along.

        Raises
        ------
        InputError
            With ``"error"``, if anything would have to be changed, or the surface cannot be oriented.

        Examples
        --------
        >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2], [2, 1, 0], [0, 0, 1]])).repair()
        >>> str(mesh.origin.changes), mesh.to_original_faces(np.array([5.0]))
        ('1 degenerate faces removed, 1 duplicate faces removed', array([ 5., nan, nan]))
        """
        stays = isolated == "keep" or (isolated == "drop" and bool((self.fans.reference >= 0).all()))
        if stays and on_defect in get_args(OnDefect) and self._is_clean:
            return self._with_origin()
        if on_defect == "error":
            problems = self.defects.problems(isolated == "drop")
            if problems:
                where = f"{self.name}: " if self.name else ""
                raise InputError(f"{where}{', '.join(problems)}; repair the mesh or set on_defect to 'repair'")
            faces, step = self.faces, Origin.identity(self.num_vertices, self.num_faces)
        else:
            faces, step = repair_surface(self._points, self.faces, on_defect, isolated)
        return TriangleMesh(
            self.vertices[step.vertex_from],
            faces,
            self.name,
            {k: np.asarray(v)[step.vertex_from] for k, v in self.vertex_data.items()},
            {k: np.asarray(v)[step.face_from] for k, v in self.face_data.items()},
            self._origin.then(step),
        )

    @cached_property
    def _is_clean(self) -> bool:
        if self.surface is not self.faces:
            return False
        return is_clean(self._points, self.half_edges, self._measures)

    def _with_origin(self) -> TriangleMesh:
        mesh = replace(self, origin=self._origin)
        # What was derived from the same vertices and faces holds for it too.
        names = {f.name for f in fields(self)}
        vars(mesh).update({name: value for name, value in vars(self).items() if name not in names})
        return mesh

    @property
    def _origin(self) -> Origin:
        return self.origin or Origin.identity(self.num_vertices, self.num_faces)

    def to_original_vertices(self, values: NDArray, fill: float | None = None) -> NDArray:
        """Values per vertex as values per vertex of the file; see :meth:`Origin.to_original_vertices`."""
        return self._origin.to_original_vertices(values, fill)

    def to_original_faces(self, values: NDArray, fill: float | None = None) -> NDArray:
        """Values per face as values per face or polygon of the file; see :meth:`Origin.to_original_faces`."""
        return self._origin.to_original_faces(values, fill)

    @cached_property
    def _measures(self) -> SurfaceMeasures:
        return measure_surface(self._points, self.half_edges)

    @property
    def corner_angles(self) -> FloatArray:
        """Angles of :attr:`surface`'s corners, float64 ``[F', 3]``, radians."""
        return self._measures.corner_angles

    @property
    def fans(self) -> VertexFans:
        """Corner angles summed round every vertex."""
        return self._measures.fans

    @property
    def face_areas(self) -> FloatArray:
        """Areas of :attr:`surface`'s faces, float64 ``[F']``."""
        return self._measures.face_areas * self._unit**2

    @property
    def area(self) -> float:
        """Total area."""
        return float(self._measures.face_areas.sum()) * self._unit**2

    @property
    def vertex_areas(self) -> FloatArray:
        """A third of the faces round each vertex, float64 ``[V]``; they sum to :attr:`area`."""
        return self._measures.vertex_areas * self._unit**2

    @property
    def vertex_normals(self) -> FloatArray:
        """Outward unit normals, float64 ``[V, 3]``: face normals weighted by their angle at the vertex.

        The weights make the normal independent of how flat parts are cut into triangles. Where the sum vanishes,
        the normal of one face stands in; a vertex without area has the z axis.
        """
        return self._measures.vertex_normals

    @cached_property
    def angle_defects(self) -> FloatArray:
        """Curvature gathered in each vertex, float64 ``[V]``: 2 pi minus the corner angles, pi on a boundary.

        0 for a vertex without faces. On a manifold mesh they sum to 2 pi times the Euler characteristic.
        """
        flat = np.where(self.fans.is_boundary, np.pi, 2 * np.pi)
        return np.where(self.fans.reference >= 0, flat - self.fans.total, 0.0)

    @cached_property
    def _ring(self) -> OneRing:
        return one_ring(self.half_edges, self.corner_angles.reshape(-1), self.fans)

    @cached_property
    def frames(self) -> FloatArray:
        """Tangent frames, float64 ``[V, 3, 3]``: rows e1, e2, normal.

        e1 is where the intrinsic angle 0 is found in space: the direction of the reference half-edge, corrected by
        the mean over all edges (:func:`~meshconv.geometry.mesh.transport.align_frames`).
        """
        return align_frames(self._points, self.vertex_normals, self.half_edges, self._ring, self.fans)

    def gauge_graph(
        self,
        transport: str = "levi_civita",
        *,
        rings: int | None = None,
        radius: float | None = None,
        nearest: int | None = None,
        unoriented: bool = False,
    ) -> GaugeGraph:
        """Gauge graph of edges, or of geodesic neighbourhoods: log maps and transporters, float64.

        Parameters
        ----------
        transport : "levi_civita" | "normal_aligning"
            See :mod:`meshconv.geometry.mesh.transport`; the second always takes chords for log maps.
        rings : int, optional
            Neighbours within so many edges, along geodesics. Without any of the three: both directions of every edge.
        radius : float, optional
            Neighbours within this geodesic distance in units of the square root of the mesh's area.
        nearest : int, optional
            That many nearest neighbours by geodesic distance.
        unoriented : bool
            For surfaces that cannot be oriented, like a Moebius strip: frames are consistent up to reflections, the
            graph's ``reflected`` says where, and features are of O(2). Without it such a surface gets a seam.

        Returns
        -------
        GaugeGraph
            Lengths in the mesh's unit. With N vertices that have a face, ``scale`` is sqrt(area / N) for edges,
            ``rings`` times that, half of the radius, or half of the radius of a flat disc of ``nearest`` + 1
            vertices: the cutoff of 2 that kernels have by default is about the neighbourhood's rim.

        Raises
        ------
        InputError
            No faces, or an area of zero.
        ValueError
            Unknown ``transport``; more than one of ``rings``, ``radius``, ``nearest``, or one that is not positive.

        Notes
        -----
        Every mesh with an area gets a finite, valid graph; ``tests/test_transport.py`` checks holonomies, twins and
        defective meshes, ``tests/test_geodesics.py`` the neighbourhoods. A vertex without faces has none.
        """
        extent = [e for e in (rings, radius, nearest) if e is not None]
        if len(extent) > 1 or not all(e > 0 for e in extent):
            raise ValueError(
                f"give at most one of rings, radius, nearest, greater than 0; got {rings}, {radius}, {nearest}"
            )
        self.check_area()
        if unoriented:
            return unoriented_graph(self, transport, rings=rings, radius=radius, nearest=nearest)
        if extent:
            return geodesic_graph(self, transport, rings or 0, np.inf if radius is None else radius, nearest or 0)
        ring = self._ring
        if transport == "levi_civita":
            maps = levi_civita(self._points, self.frames, ring, self.fans)
        elif transport == "normal_aligning":
            dst = np.repeat(np.arange(self.num_vertices), np.diff(ring.ptr))
            maps = normal_aligning(self._points, self.frames, ring.src, dst)
        else:
            raise ValueError(f"transport {transport!r} is not known; use 'levi_civita' or 'normal_aligning'")
        used = int((self.fans.reference >= 0).sum())
        ptr, src, reverse, *values = map(torch.from_numpy, (*ring[:3], *maps, self.frames, self.vertex_areas))
        log_radius, log_angle, transporter, frames, areas = values
        return GaugeGraph.from_rows(
            ptr,
            src,
            log_radius.mul_(self._unit),
            log_angle,
            transporter,
            frames=frames,
            positions=torch.from_numpy(np.require(self.vertices, requirements="W")),
            areas=areas,
            scale=math.sqrt(self.area / used),
            reverse=reverse,
        )

    def surface_complex(self) -> SurfaceComplex:
        """Vertices, edges and triangles of :attr:`surface` for the layers of exact vector calculus."""
        return SurfaceComplex.from_faces(self.gauge_graph(), self.surface)

    def hierarchy(self, num_levels: int, ratio: float = 4, **options: Any) -> Hierarchy:
        """Gauge graphs from fine to coarse, each with 1 / ``ratio`` of the points, and the pooling between them.

        See :func:`~meshconv.geometry.mesh.coarsening.coarsen`; ``options`` are those of :meth:`gauge_graph`, for the
        finest.
        """
        return coarsen(self, num_levels, ratio, **options)

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
