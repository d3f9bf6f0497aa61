"""Labels of elements (vertices, faces, edges), mapped between a file and its repaired mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.meshes.sample import MeshSample, PreparedMesh
from meshconv.errors import InputError
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.repair.origin import Origin

ElementKind = Literal["vertices", "faces", "edges"]
# Cosine of the angle between a split edge and its parts.
_ALONG = 0.98
KINDS: tuple[ElementKind, ...] = ("vertices", "faces", "edges")


def check_kind(element: object) -> None:
    """Raise an :class:`InputError` unless it is one of ``KINDS``."""
    if not isinstance(element, str) or element not in KINDS:
        raise InputError(f"element {element!r} is not known; use one of {', '.join(KINDS)}")


def edges_of(faces: NDArray) -> IntArray:
    """Edges of triangles in the order in which going through the faces first meets them, int64 ``[E, 2]``.

    Each as (lower, higher) vertex; a face has its edges in the order 0-1, 1-2, 2-0. MeshCNN numbers edges like this.

    Examples
    --------
    >>> edges_of(np.array([[0, 2, 1], [1, 2, 3]])).tolist()
    [[0, 2], [1, 2], [0, 1], [2, 3], [1, 3]]
    """
    faces = np.asarray(faces, dtype=np.int64)
    pairs = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    first = np.unique(_keys(pairs, int(faces.max(initial=0)) + 1), return_index=True)[1]
    return pairs[np.sort(first)]


def count_elements(origin: Origin, file_faces: NDArray) -> dict[ElementKind, int]:
    """Elements of each kind in the file; faces are its polygons."""
    return {kind: _number_of(kind, origin, file_faces) for kind in KINDS}


def _number_of(kind: ElementKind, origin: Origin, file_faces: NDArray) -> int:
    if kind == "edges":
        return len(edges_of(file_faces))
    return len(origin.vertex_to if kind == "vertices" else origin.face_to)


def count_in_file(raw: TriangleMesh) -> dict[ElementKind, int]:
    """The same of a mesh from :func:`~meshconv.io.meshes.load.read_mesh`."""
    return count_elements(file_origin(raw), raw.faces)


def file_origin(raw: TriangleMesh) -> Origin:
    """Map from a mesh to its file."""
    return raw.origin or Origin.identity(raw.num_vertices, raw.num_faces)


@dataclass(frozen=True, eq=False)
class ElementLabels:
    """Classes of a file's elements, to be put on the mesh that is made of it.

    A vertex has the class of the vertex it comes from, a face that of its face, an edge that of the edge between the
    vertices its ends come from or that were welded to them. An edge that the file does not have (of a repaired or
    simplified part) has the class of all of the file's edges at its ends if they agree; otherwise it is unknown.

    Parameters
    ----------
    kind : "vertices" | "faces" | "edges"
    classes : int64 [n], optional
        In the file's order, -1 where unknown; None: unknown everywhere.
    source : str
        Where they come from, for messages.
    """

    kind: ElementKind
    classes: IntArray | None = None
    source: str = ""

    def __call__(self, mesh: PreparedMesh) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Target ``[n]`` and elements ``[n, 2 or 3]`` (None: vertices) of a prepared mesh.

        Raises
        ------
        InputError
            Another number of labels than of elements in the file.
        """
        count = _number_of(self.kind, mesh.origin, mesh.file_faces.numpy())
        classes = np.full(count, -1) if self.classes is None else self.classes
        if len(classes) != count:
            counts = count_elements(mesh.origin, mesh.file_faces.numpy())
            raise InputError(wrong_length(self.source, len(classes), counts, self.kind))
        if self.kind == "vertices":
            return torch.from_numpy(classes[mesh.origin.vertex_from]), None
        faces = mesh.faces.to(torch.int64)
        if self.kind == "faces":
            return torch.from_numpy(classes[mesh.origin.face_from]), faces
        edges = edges_of(faces.numpy())
        target = _edge_classes(edges, edges_of(mesh.file_faces.numpy()), classes, mesh.origin)
        return torch.from_numpy(target), torch.from_numpy(edges)


def wrong_length(source: str, length: int, counts: dict[ElementKind, int], kind: ElementKind | None = None) -> str:
    """One line that names the number of labels, and those of the elements they could be of."""
    mesh = ", ".join(f"{count} {name}" for name, count in counts.items())
    expected = f"{counts[kind]} labels of {kind} are expected" if kind else "give one for each of one kind"
    return f"{source}: {length} labels, but the mesh has {mesh}; {expected}, in the order of its file"


def _edge_classes(edges: IntArray, in_file: IntArray, classes: IntArray, origin: Origin) -> IntArray:
    """Class of each edge, from those of the edges of the file."""
    size = len(origin.vertex_to)
    ends = origin.vertex_from[edges]
    place = _matches(ends, in_file, edges, origin.vertex_to[in_file])
    low, high = np.full(size, np.iinfo(np.int64).max), np.full(size, -1)
    for end in in_file.T:
        np.minimum.at(low, end, classes)
        np.maximum.at(high, end, classes)
    low, high = low[ends].min(axis=1), high[ends].max(axis=1)
    return np.where(place >= 0, classes[place], np.where(low == high, high, -1))


def _keys(pairs: IntArray, size: int) -> IntArray:
    return pairs[:, 0] * size + pairs[:, 1]


def _matches(first: IntArray, among_first: IntArray, second: IntArray, among_second: IntArray) -> IntArray:
    """Row in which a pair is found in one numbering, or else in another; -1 where in neither."""
    place = _find(first, among_first)
    return np.where(place >= 0, place, _find(second, among_second))


def _find(pairs: IntArray, among: IntArray) -> IntArray:
    """Row of each pair in ``among``, in whichever order its two numbers are; -1 where there is none."""
    # From 0: what was removed is vertex -1.
    pairs, among = np.sort(pairs, axis=1) + 1, np.sort(among, axis=1) + 1
    size = int(max(pairs.max(initial=0), among.max(initial=0))) + 1
    keys = _keys(among, size)
    order = np.argsort(keys)
    place = np.searchsorted(keys, _keys(pairs, size), sorter=order)
    row = order[np.minimum(place, len(keys) - 1)]
    return np.where(keys[row] == _keys(pairs, size), row, -1)


def _first_parts(ends: IntArray, edges: IntArray, points: NDArray) -> IntArray:
    """The edge that begins at the first end of each pair of vertices and lies on the way to the second; -1: none."""
    place = np.full(len(ends), -1)
    rows = np.flatnonzero((ends >= 0).all(axis=1))
    start, tip = np.concatenate([edges, edges[:, ::-1]]).T
    order = np.argsort(start, kind="stable")
    first = np.searchsorted(start[order], ends[rows, 0])
    count = np.searchsorted(start[order], ends[rows, 0], side="right") - first
    pair = np.repeat(np.arange(len(rows)), count)
    if len(pair) == 0:
        return place
    tried = order[np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count) + first[pair]]
    whole = (points[ends[rows, 1]] - points[ends[rows, 0]])[pair].astype(np.float64)
    part = (points[tip[tried]] - points[start[tried]]).astype(np.float64)
    lengths = np.sqrt((whole**2).sum(axis=1) * (part**2).sum(axis=1))
    cosine = (whole * part).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)
    best = np.lexsort((cosine, pair))[np.cumsum(count[count > 0]) - 1]
    along = best[cosine[best] > _ALONG]
    place[rows[pair[along]]] = tried[along] % len(edges)
    return place


def elements_of_file(kind: ElementKind, sample: MeshSample, raw: TriangleMesh) -> IntArray:
    """The element of a sample that stands for each of the file's, int64 ``[n]``.

    An edge that was split has the part at its first end. What the repair removed, and vertices without faces, have the
    nearest element that is left, by their centres; -1 where the file has no place for them.

    Parameters
    ----------
    kind : "vertices" | "faces" | "edges"
    sample : MeshSample
        With its origin; for faces and edges with its elements.
    raw : TriangleMesh
        The file as :func:`~meshconv.io.meshes.load.read_mesh` reads it.
    """
    graph = sample.surface.finest
    assert sample.origin is not None and graph.positions is not None
    origin, read = sample.origin, file_origin(raw)
    positions = graph.positions.numpy().astype(np.float64)
    usable = np.diff(graph.dst_ptr.numpy()) > 0
    if sample.places is not None:
        corners, shares = (part.numpy() for part in sample.places)
        positions, usable = np.einsum("vk,vki->vi", shares, positions[corners]), usable[corners[:, 0]]
    if kind == "vertices":
        place = origin.vertex_to
        centres, known = raw.vertices[read.vertex_to], read.vertex_to >= 0
    else:
        assert sample.elements is not None
        corners = sample.elements.numpy()
        positions, usable = positions[corners].mean(axis=1), np.ones(len(corners), bool)
        if kind == "faces":
            place = origin.face_to
            middle = raw.vertices[raw.faces].mean(axis=1)
            count = np.bincount(read.face_from, minlength=len(place))
            sums = [np.bincount(read.face_from, column, minlength=len(place)) for column in middle.T]
            centres, known = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None], count > 0
        else:
            edges = edges_of(raw.faces)
            in_file = read.vertex_from[edges]
            place = _matches(origin.vertex_to[in_file], corners, in_file, origin.vertex_from[corners])
            centres, known = raw.vertices[edges].mean(axis=1), np.ones(len(edges), bool)
            split = np.flatnonzero(place < 0)
            place[split] = _first_parts(origin.vertex_to[in_file[split]], corners, graph.positions.numpy())
    place = np.where((place >= 0) & usable[place], place, -1)
    lost = np.flatnonzero((place < 0) & known)
    if len(lost) and usable.any():
        place[lost] = np.flatnonzero(usable)[tree_of(positions[usable]).query(centres[lost])[1]]
    return place
