"""Connectivity of triangles: half-edges and consistent orientation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from meshconv.ops.references.surface import IntArray, following
from meshconv.ops.surface import half_edges


@dataclass(frozen=True, eq=False)
class HalfEdges:
    """Half-edge ``3 f + k`` runs from corner ``k`` of face ``f`` to the next corner.

    Attributes
    ----------
    faces : int64 [F, 3]
        Faces of the half-edges; ``H = 3 F``.
    num_vertices : int
    twin : int64 [H]
        The opposite half-edge; -1 on the boundary and where there is no unique consistently oriented one
        (three faces or more on an edge, or two that traverse it in the same direction).
    edge_halfedge : int64 [E]
        One half-edge of each undirected edge; edges by their lower, then their higher end.
    irregular : bool [V]
        Vertices on an edge without a unique twin.
    vertex_ptr, outgoing : int64 [V + 1], int64 [H]
        Half-edges that leave vertex ``v``, by number: ``outgoing[vertex_ptr[v]:vertex_ptr[v + 1]]``.
    proper : bool
        Whether no face has a repeated corner, and no two faces have the same three in any order.
    """

    faces: IntArray
    num_vertices: int
    twin: IntArray
    edge_halfedge: IntArray
    irregular: NDArray[np.bool_]
    vertex_ptr: IntArray
    outgoing: IntArray
    proper: bool

    @property
    def origin(self) -> IntArray:
        """Vertex that each half-edge leaves, int64 ``[H]``."""
        return self.faces.reshape(-1)

    @cached_property
    def tip(self) -> IntArray:
        """Vertex that each half-edge leads to, int64 ``[H]``."""
        return self.faces[:, [1, 2, 0]].reshape(-1)

    @staticmethod
    def next(half_edge: IntArray) -> IntArray:
        """The half-edge that follows in the same face."""
        return following(half_edge)

    @property
    def is_closed(self) -> bool:
        """Whether every edge has a face on either side."""
        return bool((self.twin >= 0).all())


def build_half_edges(faces: IntArray, num_vertices: int) -> HalfEdges:
    """Build the connectivity in linear time; twins are searched around the lower end of each edge.

    Parameters
    ----------
    faces : int64 [F, 3]
        Of any orientation; half-edges from a vertex to itself have no twin and belong to no edge.
    num_vertices : int

    Returns
    -------
    HalfEdges
    """
    return HalfEdges(faces, num_vertices, *half_edges(faces, num_vertices))


def orient_consistently(faces: IntArray, num_vertices: int) -> IntArray:
    """Orient faces consistently wherever exactly two faces share an edge.

    A spanning forest of the faces is traversed from one face per component; each component keeps the orientation of the
    majority of its faces. A non-orientable surface (Moebius strip) keeps a seam, never longer than
    before.

    Parameters
    ----------
    faces : int64 [F, 3]
        No repeated corners and no duplicates.
    num_vertices : int

    Returns
    -------
    int64 [F, 3]
    """
    origin = faces.ravel()
    tip = faces[:, [1, 2, 0]].ravel()
    key = np.minimum(origin, tip) * num_vertices + np.maximum(origin, tip)
    order = np.argsort(key, kind="stable")
    _, start, count = np.unique(key[order], return_index=True, return_counts=True)
    start = start[count == 2]
    one, two = order[start], order[start + 1]
    agree = origin[one] != origin[two]
    if agree.all():
        return faces
    num_faces = len(faces)
    left, right = one // 3, two // 3
    rows, cols = np.concatenate([left, right]), np.concatenate([right, left])
    adjacency = csr_array((np.ones(len(rows), dtype=np.int8), (rows, cols)), shape=(num_faces, num_faces))
    parent, component = _spanning_forest(adjacency)
    disagree = csr_array((np.tile(~agree, 2).astype(np.int32), (rows, cols)), shape=(num_faces, num_faces))
    has_parent = parent >= 0
    child = np.flatnonzero(has_parent)
    flip = np.zeros(num_faces, dtype=bool)
    flip[child] = disagree[child, parent[child]] > 0
    # Pointer doubling: flips add up along the way to the root in log2(depth) rounds.
    pointer = np.where(has_parent, parent, np.arange(num_faces))
    while (pointer[pointer] != pointer).any():
        flip ^= flip[pointer]
        pointer = pointer[pointer]
    size = np.bincount(component)
    flip ^= (np.bincount(component, weights=flip) > size / 2)[component]
    # Non-orientable parts are unchanged unless flipping shortens the seam, so that a second call changes nothing.
    before = np.bincount(component[left], weights=~agree, minlength=len(size))
    after = np.bincount(component[left], weights=agree == (flip[left] ^ flip[right]), minlength=len(size))
    flip &= (after < before)[component]
    return np.where(flip[:, None], faces[:, ::-1], faces)


def _spanning_forest(adjacency: csr_array) -> tuple[IntArray, IntArray]:
    """Breadth-first parents (-1 at a root) and component of every node."""
    num_nodes = adjacency.shape[0]
    num_components, component = connected_components(adjacency, directed=False)
    _, roots = np.unique(component, return_index=True)
    # One extra node joined to a root of each component lets a single walk reach them all.
    hub = csr_array((np.ones(num_components, dtype=np.int8), (np.zeros_like(roots), roots)), shape=(1, num_nodes))
    joined = block_array([[adjacency, hub.T], [hub, None]], format="csr")
    _, parent = breadth_first_order(joined, num_nodes, directed=True)
    parent = parent[:num_nodes].astype(np.int64)
    parent[parent == num_nodes] = -1
    return parent, component.astype(np.int64)
