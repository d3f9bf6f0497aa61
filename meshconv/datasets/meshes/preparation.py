"""Preparation of a mesh: its graph or hierarchy, and the inputs of networks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from meshconv.datasets.meshes.given_inputs import GivenInputs, given_inputs
from meshconv.datasets.meshes.sample import MeshSource, Places, name_of, read_source
from meshconv.errors import InputError
from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.features.cloud import cloud_features
from meshconv.geometry.features.inputs import surface_feature_type, surface_features
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.levels.refinement import refined
from meshconv.geometry.mesh.levels.resampling import check_resolution, resample
from meshconv.geometry.mesh.neighbourhood import EDGES, Neighbourhood
from meshconv.geometry.mesh.transport import Transport, check_transport
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.point_cloud import PointCloud
from meshconv.geometry.point_normals import estimate_normals
from meshconv.geometry.repair.augmentation import Augmentation
from meshconv.geometry.repair.origin import Origin
from meshconv.geometry.repair.repair import OnDefect
from meshconv.geometry.repair.simplification import simplify
from meshconv.io.cache.content import file_content
from meshconv.io.meshes.load import clean_mesh

log = logging.getLogger(__name__)

# Each level has at most half the vertices of the one before, so no mesh has more.
_MOST_LEVELS = 32

# Choices that a specification has where they are made: checkpoints from before them go on to match.
_WHERE_SET = ("volume_surface", "scalars", "vectors", "size", "statistics")

# Fewer neighbours make rough normals.
_LEAST_FOR_NORMALS = 12


@dataclass(frozen=True)
class Preparation:
    """Options of the preparation of meshes: plain values, stored in checkpoints and in keys of the cache.

    Parameters
    ----------
    transport
        ``"levi_civita"`` or ``"normal_aligning"``.
    on_defect
        ``"repair"``, ``"drop"`` or ``"error"``; see :meth:`TriangleMesh.repair <meshconv.TriangleMesh.repair>`.
    neighbourhood : Neighbourhood
        As in :meth:`TriangleMesh.gauge_graph <meshconv.TriangleMesh.gauge_graph>`. With ``nearest`` a file of points
        without faces is taken as a :class:`~meshconv.PointCloud`, whose normals are estimated where it has none.
    features
        Names of inputs, see :func:`~meshconv.geometry.features.inputs.surface_features`.
    num_levels
        1: a graph; more: a hierarchy with that number of levels
        (:meth:`TriangleMesh.hierarchy <meshconv.TriangleMesh.hierarchy>`).
    resolution
        Spacing of the finest level, in units of the square root of the surface area: points at that spacing stand for
        the surface whatever its triangles, further levels have twice the spacing each
        (:func:`~meshconv.geometry.mesh.levels.resampling.resample`). ``neighbourhood`` is then a radius on the finest
        level, which doubles too, or the default one. None: the points are the vertices.
    volume_surface
        Of files of volume cells the surface; otherwise such a file is an error.
    given : GivenInputs
        Inputs that are not of the shape: arrays of the file, and its size.
    max_faces
        Meshes with more faces are simplified to as many (:func:`~meshconv.geometry.repair.simplification.simplify`).
    augment : Augmentation or dict, optional
        Augmentation of variants.
    variant
        0 is the mesh itself. The randomness of others comes from this number and the content of the file, nothing else.

    Raises
    ------
    InputError
        Values that are not among these.
    """

    transport: Transport = "levi_civita"
    on_defect: OnDefect = "repair"
    neighbourhood: Neighbourhood = EDGES
    features: tuple[str, ...] = ("default",)
    num_levels: int = 1
    max_faces: int | None = None
    augment: Augmentation | None = None
    variant: int = 0
    resolution: float | None = None
    volume_surface: bool = False
    given: GivenInputs = field(default_factory=GivenInputs)

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", Augmentation.from_spec(self.augment))
        if self.max_faces is not None and self.max_faces < 32:
            raise InputError(f"max_faces {self.max_faces} has to be at least 32")
        if self.variant < 0 or (self.variant > 0 and self.augment is None):
            raise InputError(f"variant {self.variant} has to be at least 0, and above 0 it needs augment")
        object.__setattr__(self, "features", tuple(self.features))  # lists from configurations and checkpoints
        surface_feature_type(self.features)
        check_transport(self.transport)
        if self.on_defect not in get_args(OnDefect):
            raise InputError(f"on_defect {self.on_defect!r} is not known; use one of {', '.join(get_args(OnDefect))}")
        if not 1 <= self.num_levels <= _MOST_LEVELS:
            raise InputError(f"num_levels {self.num_levels} has to be 1 to {_MOST_LEVELS}")
        if self.resolution is not None:
            check_resolution(self.resolution)
            near = self.neighbourhood
            if near.rings is not None or near.nearest is not None:
                raise InputError(
                    f"resolution {self.resolution} takes neighbours within a radius, not rings {near.rings} or nearest "
                    f"{near.nearest} of the mesh's own vertices; leave them out, or give a radius"
                )
            if self.given.scalars or self.given.vectors:
                raise InputError(
                    f"resolution {self.resolution}: {', '.join((*self.given.scalars, *self.given.vectors))} lie at "
                    "the mesh's own vertices; leave the resolution out"
                )

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Preparation:
        """From :attr:`spec`, or that of a checkpoint that knew fewer choices.

        Raises
        ------
        InputError
            Values of another kind.
        """
        for name in ("num_levels", "max_faces", "variant", "rings", "nearest"):
            if type(spec.get(name)) not in (int, type(None)):
                raise InputError(f"{name} {spec[name]!r} is not a whole number")
        for name in ("resolution", "radius"):
            if type(spec.get(name)) not in (int, float, type(None)):
                raise InputError(f"{name} {spec[name]!r} is not a number")
        near = Neighbourhood(**{f.name: spec.get(f.name) for f in fields(Neighbourhood)})
        of = {f.name: spec[f.name] for f in fields(cls) if f.name in spec}
        return cls(neighbourhood=near, given=given_inputs(spec), **of)

    @property
    def spec(self) -> dict[str, Any]:
        """All options by name, in plain values."""
        augment = self.augment.spec if self.augment and self.variant else None
        choices = {**asdict(self), "features": list(self.features), "augment": augment}
        choices.pop("given")
        choices = {**choices.pop("neighbourhood"), **choices, **self.given.spec}
        return {name: value for name, value in choices.items() if value or name not in _WHERE_SET}

    @property
    def in_type(self) -> FieldType:
        """Type of the features."""
        field_type = surface_feature_type(self.features)
        return field_type + self.given.type if self.given else field_type

    def inputs(self, mesh: TriangleMesh) -> tuple[torch.Tensor, GaugeGraph | Hierarchy]:
        """Features ``[V, dim]``, and graph or hierarchy, of a mesh that is loaded and repaired, float32."""
        return self.placed_inputs(mesh)[:2]

    def placed_inputs(self, mesh: TriangleMesh) -> tuple[torch.Tensor, GaugeGraph | Hierarchy, Places | None]:
        """As :meth:`inputs`, and where the vertices of the mesh lie among the points."""
        places = None
        if self.resolution is None:
            hierarchy = mesh.hierarchy(self.num_levels, neighbourhood=self.neighbourhood, transport=self.transport)
            x = self._features(mesh, hierarchy.finest)
        else:
            fine = refined(mesh, self.resolution)
            found = resample(fine.surface, self.resolution, self.num_levels, self.neighbourhood.radius, self.transport)
            x = self._features(fine, fine.gauge_graph())
            hierarchy, x = found.hierarchy, x[torch.from_numpy(found.points)]
            corners, shares = found.corners[: mesh.num_vertices], found.shares[: mesh.num_vertices]
            places = Places(torch.from_numpy(corners.astype(np.int32)), torch.from_numpy(shares.astype(np.float32)))
        surface = hierarchy if self.num_levels > 1 else hierarchy.finest
        return x.to(torch.float32), surface.to(torch.float32), places

    def _features(self, mesh: TriangleMesh, graph: GaugeGraph) -> torch.Tensor:
        x, field_type = surface_features(mesh, graph, self.features)
        if not self.given:
            return x
        return concatenate_fields([field_type, self.given.type], [x, self.given.fields(mesh, graph)])

    def _inputs_of_points(self, cloud: TriangleMesh) -> tuple[torch.Tensor, GaugeGraph]:
        """Features and graph of vertices without faces: points of a surface with their nearest ones in space."""
        for name, value in (("num_levels", self.num_levels - 1), ("augment", self.variant)):
            if value:
                raise InputError(f"{cloud.name}: points without faces take no {name}; leave it out")
        nearest = self.neighbourhood.nearest
        assert nearest is not None  # asked before
        try:
            normals = cloud.vertex_data.get("normal")
            if normals is None:
                normals = estimate_normals(cloud.vertices, max(nearest, _LEAST_FOR_NORMALS))
            graph = PointCloud(cloud.vertices, normals).gauge_graph(nearest=nearest)
        except InputError as error:
            raise InputError(f"{cloud.name}: {error}") from error
        x = cloud_features(graph, self.features, cloud.name)
        if self.given:
            types = [surface_feature_type(self.features), self.given.type]
            x = concatenate_fields(types, [x, self.given.fields(cloud, graph)])
        return x.to(torch.float32), graph.to(torch.float32)

    def vary(self, mesh: TriangleMesh, path: Path) -> TriangleMesh:
        """The repaired mesh of a file or its variant, of at most ``max_faces``; its origin leads back to the file."""
        if self.max_faces is not None:
            mesh = simplify(mesh, self.max_faces)  # first: noise of a fine mesh would vanish here
        if self.variant and self.augment is not None:
            seed = [int(file_content(path), 16), self.variant]
            mesh = self.augment.apply(mesh, np.random.default_rng(seed))
        return mesh

    def content(self, path: Path) -> str:
        """Hash of all that is read for a file."""
        return "".join(file_content(file) for file in (path, *self.given.files(path)))

    def mesh(self, source: MeshSource) -> TriangleMesh:
        """The mesh that inputs are computed on, of a file or a mesh."""
        return self._prepared(self._read(source))

    def _read(self, source: MeshSource) -> TriangleMesh:
        return self.given.put_on(read_source(source, self.volume_surface), source)

    def _prepared(self, raw: TriangleMesh) -> TriangleMesh:
        return self.vary(clean_mesh(raw, self.on_defect), Path(raw.name))

    def entry(self, source: MeshSource) -> dict[str, Any]:
        """Load a mesh and compute its inputs; messages are returned too."""
        with _messages(f"{name_of(source)}: ") as said:
            raw = self._read(source)
            surface: GaugeGraph | Hierarchy
            if raw.num_faces == 0 and self.neighbourhood.nearest is not None:
                mesh = replace(raw, origin=raw.origin or Origin.identity(raw.num_vertices, 0))
                x, surface, places = *self._inputs_of_points(mesh), None
            else:
                mesh = self._prepared(raw)
                x, surface, places = self.placed_inputs(mesh)
        # Half of the bytes: no mesh has more vertices than fit.
        in_file = raw.faces if raw.origin is None else raw.origin.vertex_from[raw.faces]
        faces, file_faces = (torch.from_numpy(f.astype(np.int32)) for f in (mesh.faces, in_file))
        same = torch.equal(faces, file_faces)
        return {"x": x, "surface": surface, "origin": mesh.origin, "faces": faces,
                "file_faces": None if same else file_faces, "said": said, "places": places}  # fmt: skip


class _Collector(logging.Handler):
    def __init__(self, prefix: str):
        super().__init__(logging.INFO)
        self.prefix, self.said = prefix, []  # type: ignore[var-annotated]

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append([record.levelno, record.getMessage().removeprefix(self.prefix)])


@contextmanager
def _messages(prefix: str) -> Iterator[list[list[Any]]]:
    """Collect what meshconv reports instead of showing it: other processes report it, and later runs again."""
    logger, collector = logging.getLogger("meshconv"), _Collector(prefix)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield collector.said
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagate
