"""Triangle meshes: areas, angles, normals, gauge graphs and hierarchies."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib import import_module
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.geodesics import surface_graph
from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray
from meshconv.geometry.mesh.levels.coarsening import coarsen
from meshconv.geometry.mesh.measures import FloatArray, VertexFans
from meshconv.geometry.mesh.neighbourhood import EDGES, Neighbourhood
from meshconv.geometry.mesh.orientation_cover import unoriented_graph
from meshconv.geometry.mesh.surface import Surface, extent
from meshconv.geometry.mesh.transport import Transport
from meshconv.geometry.repair.counts import Defects, find_defects
from meshconv.geometry.repair.origin import Origin
from meshconv.geometry.repair.repair import Isolated, OnDefect, is_clean, repair_surface

# Squares of lengths stay far from the ends of the float64 range between these bounds.
_SMALLEST, _LARGEST = 1e-100, 1e100


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Triangle mesh: vertices and faces as given; everything else is derived from :attr:`surface`.

    Parameters
    ----------
    vertices : float64 [V, 3]
        Any unit of length.
    faces : int64 [F, 3]
        Counter-clockwise seen from outside.
    name : str
        Name or path of the mesh, the prefix of error messages.
    vertex_data, face_data : dict of arrays [V, ...] and [F, ...]
        Labels, colours and other attributes of vertices and faces; :meth:`repair` maps them.
    origin : Origin, optional
        Map to the vertices and faces before a repair or in the file; None if they are the same.

    Raises
    ------
    InputError
        Wrong shapes, NaN or infinite coordinates, an index without a vertex, no vertices, a size
        outside 1e-100 to 1e100.

    Notes
    -----
    Faces may have defects. :meth:`repair` removes them; without it :attr:`surface` describes which faces are left out
    or flipped, and :func:`~meshconv.geometry.mesh.transport.levi_civita` the case of non-manifold vertices.

    Examples
    --------
    >>> import numpy as np
    >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> round(float(mesh.area), 4), mesh.gauge_graph().num_edges
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
        size = extent(vertices)
        if not (size == 0 or _SMALLEST < size < _LARGEST):
            raise InputError(f"{where}the mesh is {size:g} wide; scale it to between 1e-100 and 1e100")
        for what, data, count in (("vertex", self.vertex_data, len(vertices)), ("face", self.face_data, len(faces))):
            for key, values in data.items():
                if np.shape(values)[:1] != (count,):
                    raise InputError(
                        f"{where}{what} data {key!r} have shape {np.shape(values)}; give one row for each of {count}"
                    )
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)

    @property
    def num_vertices(self) -> int:
        return len(self.vertices)

    @property
    def num_faces(self) -> int:
        return len(self.faces)

    @cached_property
    def surface(self) -> Surface:
        """The valid faces, the basis of all computations, see :meth:`Surface.from_faces`."""
        return Surface.from_faces(self.vertices, self.faces)

    @property
    def half_edges(self) -> HalfEdges:
        """Half-edges of :attr:`surface`."""
        return self.surface.half_edges

    @cached_property
    def defects(self) -> Defects:
        """Numbers of all defects of :attr:`faces`."""
        return find_defects(self.surface.points, self.faces)

    def repair(self, on_defect: OnDefect = "repair", isolated: Isolated = "keep") -> TriangleMesh:
        """A mesh without defects, with a map back to this one.

        Parameters
        ----------
        on_defect : "repair" | "drop" | "error"
            Repair as in :func:`~meshconv.geometry.repair.repair.repair_surface`, drop defective faces, or
            raise.
        isolated : "keep" | "drop"
            Vertices without faces.

        Returns
        -------
        TriangleMesh
            Its ``origin.changes`` counts the changes; :meth:`to_original_vertices` and :meth:`to_original_faces`
            map values back. Data are mapped too.

        Raises
        ------
        InputError
            With ``"error"``, if the mesh has defects or is not orientable.

        Examples
        --------
        >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2], [2, 1, 0], [0, 0, 1]])).repair()
        >>> str(mesh.origin.changes), mesh.to_original_faces(np.array([5.0]))
        ('1 degenerate faces removed, 1 duplicate faces removed', array([ 5., nan, nan]))
        """
        stays = isolated == "keep" or (isolated == "drop" and bool(self.surface.has_face.all()))
        if stays and on_defect in get_args(OnDefect) and self._is_clean:
            return self._with_origin()
        if on_defect == "error":
            problems = self.defects.problems(isolated == "drop")
            if problems:
                where = f"{self.name}: " if self.name else ""
                raise InputError(f"{where}{', '.join(problems)}; repair the mesh or set on_defect to 'repair'")
            faces, step = self.faces, Origin.identity(self.num_vertices, self.num_faces)
        else:
            faces, step = repair_surface(self.surface.points, self.faces, on_defect, isolated)
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
        surface = self.surface
        return surface.faces is self.faces and is_clean(surface.points, surface.half_edges, surface.measures)

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

    @property
    def corner_angles(self) -> FloatArray:
        """Angles of the corners of :attr:`surface`, float64 ``[F', 3]``, radians."""
        return self.surface.corner_angles

    @property
    def fans(self) -> VertexFans:
        """Corner angles summed round every vertex."""
        return self.surface.fans

    @property
    def face_areas(self) -> FloatArray:
        """Areas of the faces of :attr:`surface`, float64 ``[F']``."""
        return self.surface.face_areas

    @property
    def area(self) -> float:
        """Total area."""
        return self.surface.area

    @property
    def vertex_areas(self) -> FloatArray:
        """A third of the faces round each vertex, float64 ``[V]``; they sum to :attr:`area`."""
        return self.surface.vertex_areas

    @property
    def vertex_normals(self) -> FloatArray:
        """Outward unit normals, float64 ``[V, 3]``, see :attr:`Surface.vertex_normals`."""
        return self.surface.vertex_normals

    @property
    def angle_defects(self) -> FloatArray:
        """Angle defects, float64 ``[V]``, see :attr:`Surface.angle_defects`."""
        return self.surface.angle_defects

    @property
    def frames(self) -> FloatArray:
        """Tangent frames, float64 ``[V, 3, 3]``: rows e1, e2, normal, see :attr:`Surface.frames`."""
        return self.surface.frames

    def gauge_graph(
        self,
        neighbourhood: Neighbourhood = EDGES,
        transport: Transport = "levi_civita",
        *,
        unoriented: bool = False,
    ) -> GaugeGraph:
        """Gauge graph of edges, or of geodesic neighbourhoods: log maps and transporters, float64.

        Parameters
        ----------
        neighbourhood : Neighbourhood
            Edges by default; ``Neighbourhood(radius=0.1)`` and others are geodesic.
        transport : "levi_civita" | "normal_aligning"
            See :mod:`meshconv.geometry.mesh.transport`; the second always takes chords for log maps.
        unoriented : bool
            For non-orientable surfaces, such as a Moebius strip: frames are consistent up to reflections, marked in the
            graph's ``reflected``, and features are of O(2). Otherwise such a surface has a seam.

        Returns
        -------
        GaugeGraph
            Lengths in the mesh's unit. With N vertices that have a face, ``scale`` is sqrt(area / N) for edges,
            ``rings`` times that, half of the radius, or half of the radius of a flat disc of ``nearest`` + 1
            vertices: the default cutoff of kernels, 2, is about the radius of the neighbourhood.

        Raises
        ------
        InputError
            No faces, or an area of zero; an unknown ``transport``.

        Notes
        -----
        Every mesh with an area gets a finite, valid graph; ``tests/test_transport.py`` checks holonomies, twins and
        defective meshes, ``tests/test_geodesics.py`` the neighbourhoods. A vertex without faces has none.
        """
        self.check_area()
        if unoriented:
            return unoriented_graph(self.surface, neighbourhood, transport, self.name)
        return surface_graph(self.surface, neighbourhood, transport)

    def surface_complex(self) -> SurfaceComplex:
        """Vertices, edges and triangles of :attr:`surface` for the layers of exact vector calculus."""
        return SurfaceComplex.from_faces(self.gauge_graph(), self.surface.faces)

    def hierarchy(
        self,
        num_levels: int,
        ratio: float = 4,
        neighbourhood: Neighbourhood = EDGES,
        transport: Transport = "levi_civita",
    ) -> Hierarchy:
        """Gauge graphs from fine to coarse, each with 1 / ``ratio`` of the points, and the pooling between them.

        See :func:`~meshconv.geometry.mesh.levels.coarsening.coarsen`; ``neighbourhood`` is that of the finest.
        """
        self.check_area()
        return coarsen(self.surface, num_levels, ratio, neighbourhood, transport)

    def show(self, values: Any = None, **options: Any) -> Any:
        """View of the mesh with values on it: pictures that turn, see :func:`meshconv.viz.show`.

        A notebook shows it; ``mesh.show(x).save("x.html")`` or ``("x.png")`` writes it. ``x`` are numbers, labels or
        vectors of vertices or faces, or several by name.
        """
        # Pictures are above geometry, and need the extra viz: only who asks for one imports them.
        return import_module("meshconv.viz").show(self, values, **options)

    def check_area(self) -> None:
        """Raise ``InputError`` without faces or area."""
        where = f"{self.name}: " if self.name else ""
        if self.num_faces == 0:
            raise InputError(
                f"{where}{self.num_vertices} vertices but no faces; give triangles, or take them as points of a "
                "surface: nearest 16 and features [curvature]"
            )
        if not self.area > 0:
            raise InputError(
                f"{where}the {self.num_faces} faces have no area: all their corners lie on a line or a point"
            )
