"""Prepared meshes with their targets, in memory or in the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from meshconv.datasets.meshes.stored import EntryMemory
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.origin import Origin
from meshconv.io.cache.cache import Key
from meshconv.io.meshes.load import read_mesh

# A file, or a mesh in memory.
MeshSource = Path | TriangleMesh


class Places(NamedTuple):
    """Vertices of a mesh as means of points near them.

    Attributes
    ----------
    corners : int32 Tensor [V, k]
        Points of the finest level.
    shares : float32 Tensor [V, k]
        Their weights, which add up to 1.
    """

    corners: torch.Tensor
    shares: torch.Tensor

    def elements(self, elements: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Points and weights, int64 and float32 ``[n, m]``, of the vertices or of means of some ``[n, k]``."""
        if elements is None:
            return self.corners.to(torch.int64), self.shares
        return (
            self.corners[elements].flatten(1).to(torch.int64),
            self.shares[elements].flatten(1) / elements.shape[1],
        )


class Sample:
    """What networks and tasks see of a prepared mesh; the attributes of :class:`MeshSample`."""

    target: torch.Tensor
    name: str
    elements: torch.Tensor | None
    source: MeshSource

    if TYPE_CHECKING:  # fields of one kind of sample, read from the cache by the other

        @property
        def x(self) -> torch.Tensor: ...
        @property
        def surface(self) -> GaugeGraph | Hierarchy: ...
        @property
        def places(self) -> Places | None: ...
        @property
        def num_points(self) -> int: ...

    @property
    def of_mesh(self) -> bool:
        """Whether the target is the mesh's as a whole; no mesh with an area has one vertex."""
        return self.target.ndim == 0 or (self.elements is None and len(self.target) == 1)

    @property
    def num_vertices(self) -> int:
        """Number of vertices of the mesh that was prepared."""
        return self.num_points if self.places is None else len(self.places.corners)

    def raw(self) -> TriangleMesh:
        """The mesh as given, or as in its file."""
        return read_source(self.source)


@dataclass(frozen=True, eq=False)
class MeshSample(Sample):
    """A prepared mesh with its target.

    Attributes
    ----------
    x : float32 Tensor [V, dim]
        Input fields.
    surface : GaugeGraph or Hierarchy
        In float32.
    target : int64 Tensor
        ``[]``: class of the mesh; ``[n]``: classes of its elements; -1 where unknown. Or float32 ``[1, k]``: numbers of
        the mesh; ``[n, dim]``: fields of its elements.
    name : str
    origin : Origin or None
        Map from its vertices and faces to those of the file.
    elements : int64 Tensor [n, k] or None
        Vertices of each element that has a class: 3 of a face, 2 of an edge. None: vertices, or the mesh.
    source : Path or TriangleMesh
        What it was prepared from.
    places : Places, optional
        Where its vertices lie among the points of ``surface``; None: they are the points.
    """

    x: torch.Tensor
    surface: GaugeGraph | Hierarchy
    target: torch.Tensor
    name: str
    origin: Origin | None = None
    elements: torch.Tensor | None = None
    source: MeshSource = Path()
    places: Places | None = None

    @property
    def num_points(self) -> int:
        """Number of points of the finest level."""
        return len(self.x)


@dataclass(frozen=True, eq=False)
class StoredSample(Sample):
    """A :class:`MeshSample` whose inputs are in the cache, and read from there when they are asked for.

    Attributes
    ----------
    key, memory : Key, EntryMemory
        Where they are.
    prepare : callable
        Computes them from the source if the cache has lost them.
    """

    key: Key
    prepare: Callable[[MeshSource], dict[str, Any]]
    memory: EntryMemory
    target: torch.Tensor
    name: str
    elements: torch.Tensor | None
    source: MeshSource
    num_points: int

    @property
    def entry(self) -> dict[str, Any]:
        """What was prepared, as cached."""
        return self.memory.get(self.key, lambda: self.prepare(self.source))

    @property
    def x(self) -> torch.Tensor:
        return self.entry["x"]

    @property
    def surface(self) -> GaugeGraph | Hierarchy:
        return self.entry["surface"]

    @property
    def origin(self) -> Origin:
        return self.entry["origin"]

    @property
    def places(self) -> Places | None:
        places = self.entry["places"]
        return None if places is None else Places(*places)


class PreparedMesh(NamedTuple):
    """A prepared mesh without labels, as cached.

    Attributes
    ----------
    x : float32 Tensor [V, dim]
    surface : GaugeGraph or Hierarchy
    origin : Origin
    faces : int32 Tensor [F, 3]
        Of the repaired mesh.
    file_faces : int32 Tensor [F1, 3]
        Triangles of the file's vertices, before any repair.
    places : Places, optional
        Where the vertices of the repaired mesh lie among the points of ``surface``; None: they are the points.
    """

    x: torch.Tensor
    surface: GaugeGraph | Hierarchy
    origin: Origin
    faces: torch.Tensor
    file_faces: torch.Tensor
    places: Places | None = None


# Target and elements of a sample; an InputError where labels do not belong to the mesh.
Labelling = Callable[[PreparedMesh], tuple[torch.Tensor, torch.Tensor | None]]


def name_of(source: MeshSource) -> str:
    """Path of a file, name of a mesh."""
    return source.name if isinstance(source, TriangleMesh) else str(source)


def read_source(source: MeshSource, volume_surface: bool = True) -> TriangleMesh:
    """The mesh of a file without repair, or the given mesh, as the reference of vertices and faces."""
    return replace(source, origin=None) if isinstance(source, TriangleMesh) else read_mesh(source, volume_surface)
