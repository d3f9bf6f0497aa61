"""Maps between the vertices and faces of a mesh and those of its file, and the changes made."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.mesh.halfedges import IntArray


@dataclass(frozen=True)
class Changes:
    """Number of changes of each kind made to a mesh."""

    small_polygons: int = field(default=0, metadata={"says": "{} faces of fewer than three corners left out"})
    placed_vertices: int = field(default=0, metadata={"says": "{} unused vertices without a place put in the middle"})
    degenerate_faces: int = field(default=0, metadata={"says": "{} degenerate faces removed"})
    duplicate_faces: int = field(default=0, metadata={"says": "{} duplicate faces removed"})
    welded_vertices: int = field(default=0, metadata={"says": "{} vertices welded to others in the same place"})
    flipped_edges: int = field(default=0, metadata={"says": "{} flat faces flipped into their neighbours"})
    split_edges: int = field(default=0, metadata={"says": "{} edges split at vertices that lie on them"})
    added_vertices: int = field(default=0, metadata={"says": "{} vertices added to cut parts apart"})
    turned_faces: int = field(default=0, metadata={"says": "{} faces turned over"})
    dropped_faces: int = field(default=0, metadata={"says": "{} faces on non-manifold or conflicting edges dropped"})
    isolated_vertices: int = field(default=0, metadata={"says": "{} vertices without faces removed"})

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))

    def __add__(self, other: Changes) -> Changes:
        return Changes(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        said = [f.metadata["says"].format(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name)]
        return ", ".join(said) or "nothing changed"


@dataclass(frozen=True, eq=False)
class Origin:
    """Maps between a mesh and its original.

    Attributes
    ----------
    vertex_from : int64 [V]
        Original vertex of each vertex; repeated for a vertex that was cut apart.
    vertex_to : int64 [V0]
        Vertex of each original one, -1 if it was removed. Welded vertices share one; for a vertex cut apart it is the
        one with the most faces.
    face_from : int64 [F]
        Original face (or polygon) of each face.
    face_to : int64 [F0]
        First face made of each original one, -1 if there is none.
    changes : Changes
    """

    vertex_from: IntArray
    vertex_to: IntArray
    face_from: IntArray
    face_to: IntArray
    changes: Changes = Changes()

    @classmethod
    def identity(cls, num_vertices: int, num_faces: int) -> Origin:
        """The identity map."""
        v, f = np.arange(num_vertices), np.arange(num_faces)
        return cls(v, v, f, f)

    def then(self, later: Origin) -> Origin:
        """Composition with ``later``, which starts from the mesh of ``self``."""
        return Origin(
            self.vertex_from[later.vertex_from],
            _follow(self.vertex_to, later.vertex_to),
            self.face_from[later.face_from],
            _follow(self.face_to, later.face_to),
            self.changes + later.changes,
        )

    def to_original_vertices(self, values: NDArray, fill: float | None = None) -> NDArray:
        """Values per vertex, ``[V, ...]``, as values per original vertex, ``[V0, ...]``.

        Removed vertices have the value ``fill``: NaN, or -1 for integers.
        """
        return _gather(values, self.vertex_to, len(self.vertex_from), fill, "vertices")

    def to_original_faces(self, values: NDArray, fill: float | None = None) -> NDArray:
        """Values per face, ``[F, ...]``, as values per original face or polygon, ``[F0, ...]``."""
        return _gather(values, self.face_to, len(self.face_from), fill, "faces")


def first_of(origin: IntArray, size: int) -> IntArray:
    """Inverse of a map: the lowest entry that names each of ``size`` places, -1 where none does."""
    inverse = np.full(size, -1, dtype=np.int64)
    inverse[origin[::-1]] = np.arange(len(origin))[::-1]
    return inverse


def _follow(first: IntArray, second: IntArray) -> IntArray:
    return np.append(second, -1)[first]


def _gather(values: NDArray, place: IntArray, size: int, fill: float | None, what: str) -> NDArray:
    values = np.asarray(values)
    if values.shape[:1] != (size,):
        raise ValueError(f"values have shape {values.shape}; this mesh has {size} {what}")
    if fill is None:
        fill = np.nan if values.dtype.kind in "fc" else 0 if values.dtype.kind in "bu" else -1
    out = np.full((len(place), *values.shape[1:]), fill, dtype=values.dtype)
    out[place >= 0] = values[place[place >= 0]]
    return out
