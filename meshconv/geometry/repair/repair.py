"""Repair of meshes: weld, remove, flip, cut, orient; with a map to the original."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray, build_half_edges, orient_consistently
from meshconv.geometry.mesh.measures import FloatArray, SurfaceMeasures
from meshconv.geometry.repair.defects import (
    WIDE,
    BoolArray,
    corner_fans,
    duplicates,
    edge_faces,
    flaps,
    flat_faces,
    linked,
    open_seams,
    places,
    repeated_corners,
    zero_edges,
)
from meshconv.geometry.repair.inside_out import inside_out
from meshconv.geometry.repair.origin import Changes, Origin, first_of
from meshconv.geometry.repair.t_junctions import split_faces, t_junctions

OnDefect = Literal["repair", "drop", "error"]
Isolated = Literal["keep", "drop"]

# Welding or flipping can expose another defect; after this many rounds faces are removed.
_ROUNDS = 32
# Splitting can go on where faces overlap, and flipping undo it; it ends first.
_SPLITS = 8


def clean_surface(points: FloatArray, faces: IntArray) -> HalfEdges:
    """Valid faces, oriented consistently, and outward in parts that are inside out.

    Faces with a repeated vertex and all but the first on the same three vertices are left out.
    """
    half_edges = build_half_edges(faces, len(points))
    if not half_edges.proper:
        faces = faces[~repeated_corners(faces)]
        half_edges = build_half_edges(faces[~duplicates(faces)], len(points))
    return _orient(points, half_edges)


def _orient(points: FloatArray, half_edges: HalfEdges) -> HalfEdges:
    if half_edges.irregular.any():
        half_edges = build_half_edges(orient_consistently(half_edges.faces, len(points)), len(points))
    turn, parts = inside_out(points, half_edges)
    if parts:
        faces = np.where(turn[:, None], half_edges.faces[:, ::-1], half_edges.faces)
        half_edges = build_half_edges(faces, len(points))
    return half_edges


def is_clean(points: FloatArray, half_edges: HalfEdges, measures: SurfaceMeasures) -> bool:
    """Fast sufficient test that a surface has no defects.

    A clean surface may give False.
    """
    if not half_edges.proper or half_edges.irregular.any():
        return False
    fans = measures.fans
    if not (fans.regular | (fans.reference < 0)).all():
        return False
    if not (measures.corner_angles.min(initial=np.inf) > WIDE and measures.face_areas.min(initial=np.inf) > 0):
        return False
    # Open edges can lie on each other only if their ends do.
    border = points[fans.is_boundary]
    if (places(border) != np.arange(len(border))).any():
        return False
    return len(border) == 0 or len(t_junctions(points, half_edges.faces).vertex) == 0


@dataclass
class _Surface:
    """State of a repair: index of each original face, whether it was flipped, and welded vertices."""

    points: FloatArray
    faces: IntArray
    face_from: IntArray
    turned: BoolArray
    vertex_from: IntArray
    welded_to: IntArray
    changes: Changes = field(default_factory=Changes)

    def remove(self, bad: BoolArray, kind: str) -> bool:
        """Take faces out and count them."""
        if bad.any():
            self.faces, self.face_from, self.turned = self.faces[~bad], self.face_from[~bad], self.turned[~bad]
            self.count(kind, int(bad.sum()))
        return bool(bad.any())

    def count(self, kind: str, number: int) -> None:
        self.changes = self.changes + Changes(**{kind: number})

    def turn(self, faces: IntArray) -> None:
        """Replace the faces by the same ones, some of them flipped."""
        self.turned = self.turned ^ (faces != self.faces).any(axis=1)
        self.faces = faces

    def remove_repeated_and_duplicate(self) -> None:
        self.remove(repeated_corners(self.faces), "degenerate_faces")
        twice = duplicates(self.faces)
        if twice.any() and self.remove(flaps(self.faces, len(self.points)), "duplicate_faces"):
            twice = duplicates(self.faces)
        self.remove(twice, "duplicate_faces")


def repair_surface(
    points: FloatArray, faces: IntArray, on_defect: OnDefect = "repair", isolated: Isolated = "keep"
) -> tuple[IntArray, Origin]:
    """Repair a triangle mesh, or drop its defective faces.

    ``"repair"``, in this order: remove faces with a repeated vertex and duplicates (both of a pair that only hangs on
    an edge of the surface); weld the ends of edges without length and open edges that lie on each other; split open
    edges at T-junctions (:func:`~meshconv.geometry.repair.t_junctions.t_junctions`); flip the longest edge of faces
    without area, so that no crack opens (on a boundary such a face is removed); cut the surface apart at edges with
    three faces or more and where several fans meet in a vertex; orient faces consistently, and flip closed parts that
    are inside out (:func:`~meshconv.geometry.repair.inside_out.inside_out`).

    ``"drop"``: nothing is welded, flipped, cut or reoriented. Faces that are degenerate or duplicate, all on edges with
    three faces or more, all but the largest fan of a vertex, and those whose orientation is in the minority in their
    component are removed until none is left. Open seams and T-junctions stay, and so do parts that are inside out.

    Parameters
    ----------
    points : float64 [V0, 3]
        Of a size near 1, so that squares stay in range.
    faces : int64 [F0, 3]
        Valid indices.
    on_defect : "repair" | "drop"
    isolated : "keep" | "drop"
        Vertices without faces, before or after the repair.

    Returns
    -------
    faces : int64 [F, 3]
    origin : Origin
        Vertex ``v`` is at the position of original vertex ``origin.vertex_from[v]``. Vertices keep their order; added
        ones are last.

    Notes
    -----
    A non-orientable surface (Moebius strip) keeps a seam. ``tests/test_repair.py`` checks that otherwise
    no defect remains.
    """
    everything = np.arange(len(points))
    work = _Surface(points, faces, np.arange(len(faces)), np.zeros(len(faces), bool), everything, everything)
    if on_defect == "repair":
        work.remove_repeated_and_duplicate()
        for k in range(_ROUNDS):
            before = work.faces
            _weld(work)
            if k < _SPLITS:
                _split_at_t_junctions(work)
            _flip_flat(work)
            _cut_apart(work)
            if np.array_equal(before, work.faces):
                break
        work.turn(_orient(work.points, build_half_edges(work.faces, len(work.points))).faces)
    elif on_defect == "drop":
        _drop(work)
    else:
        raise ValueError(f"on_defect {on_defect!r} is not known; use 'repair' or 'drop'")
    if isolated not in ("keep", "drop"):
        raise ValueError(f"isolated {isolated!r} is not known; use 'keep' or 'drop'")
    return _finish(work, isolated, len(faces))


def _weld(work: _Surface) -> None:
    """Join the ends of zero-length edges and of open edges in the same place, until there are none."""
    place = places(work.points)
    for _ in range(_ROUNDS):
        zero = zero_edges(work.points, work.faces).ravel()
        origin, tip = work.faces.ravel(), work.faces[:, [1, 2, 0]].ravel()
        one, two = open_seams(place, work.faces, edge_faces(work.faces, len(work.points)))
        same = place[origin[one]] == place[origin[two]]
        a = np.concatenate([origin[zero], origin[one], tip[one]])
        b = np.concatenate([tip[zero], np.where(same, origin[two], tip[two]), np.where(same, tip[two], origin[two])])
        if (a == b).all():
            return
        # Components are numbered by their lowest vertex: that one stays.
        group = linked(a, b, len(work.points))
        lowest = np.unique(group, return_index=True)[1][group]
        work.welded_to, work.faces = lowest[work.welded_to], lowest[work.faces]
        work.remove_repeated_and_duplicate()


def _split_at_t_junctions(work: _Surface) -> None:
    """Split faces whose open edges have vertices on them, and weld the parts to the faces on the other side."""
    for _ in range(_SPLITS):
        found = t_junctions(work.points, work.faces)
        if len(found.half_edge) == 0:
            return
        faces, kept = split_faces(work.faces, found)
        work.count("split_edges", len(np.unique(kept[np.flatnonzero(np.diff(kept) == 0)])))
        work.faces, work.face_from, work.turned = faces, work.face_from[kept], work.turned[kept]
        _weld(work)


def _flip_flat(work: _Surface) -> None:
    """Give each flat face to the neighbour across its longest edge by flipping that edge; remove those without one."""
    for _ in range(_ROUNDS):
        is_flat = flat_faces(work.points, work.faces)
        if not is_flat.any():
            return
        work.turn(orient_consistently(work.faces, len(work.points)))
        half_edges = build_half_edges(work.faces, len(work.points))
        flat = np.flatnonzero(is_flat)
        longest = 3 * flat + _longest_edge(work.points, work.faces[flat])
        twin = half_edges.twin[longest]
        if (twin < 0).any():
            is_flat[flat[twin >= 0]] = False
            work.remove(is_flat, "degenerate_faces")
            continue
        # The edge runs a -> b, c lies on it, d is opposite in the neighbour.
        a, b = half_edges.origin[longest], half_edges.tip[longest]
        c, d = (half_edges.tip[half_edges.next(h)] for h in (longest, twin))
        new_edge = _key(c, d, len(work.points))
        fits = (c != d) & ~np.isin(new_edge, _key(half_edges.origin, half_edges.tip, len(work.points)))
        i = _disjoint(np.flatnonzero(fits), flat, twin // 3, -1 - new_edge)
        if len(i) == 0:
            break
        faces = work.faces.copy()
        faces[flat[i]] = np.stack([a[i], d[i], c[i]], axis=1)
        faces[twin[i] // 3] = np.stack([d[i], b[i], c[i]], axis=1)
        work.faces = faces
        work.count("flipped_edges", len(i))
    work.remove(flat_faces(work.points, work.faces), "degenerate_faces")


def _disjoint(candidates: IntArray, *touches: IntArray) -> IntArray:
    """Candidates, first come first served, of which no two touch the same thing."""
    taken: set[int] = set()
    chosen = []
    for i, *things in zip(candidates.tolist(), *(t[candidates].tolist() for t in touches), strict=True):
        if taken.isdisjoint(things):
            taken.update(things)
            chosen.append(i)
    return np.array(chosen, dtype=np.int64)


def _longest_edge(points: FloatArray, faces: IntArray) -> IntArray:
    corner = points[faces]
    return ((corner[:, [1, 2, 0]] - corner) ** 2).sum(axis=2).argmax(axis=1)


def _key(a: IntArray, b: IntArray, num_vertices: int) -> IntArray:
    return np.minimum(a, b) * num_vertices + np.maximum(a, b)


def _cut_apart(work: _Surface) -> None:
    """Give every fan its own vertex; the largest keeps the index, the others are appended."""
    fans = corner_fans(work.faces, edge_faces(work.faces, len(work.points)))
    corner_vertex = work.faces.ravel()
    keeps = _largest_fans(fans, corner_vertex)
    extra = np.unique(fans[~keeps])
    if len(extra) == 0:
        return
    first_corner = first_of(fans, work.faces.size)[extra]
    added = corner_vertex[first_corner]
    number = np.full(work.faces.size, -1, dtype=np.int64)
    number[extra] = len(work.points) + np.arange(len(extra))
    work.faces = np.where(keeps, corner_vertex, number[fans]).reshape(-1, 3)
    work.points = np.concatenate([work.points, work.points[added]])
    work.vertex_from = np.concatenate([work.vertex_from, work.vertex_from[added]])


def _largest_fans(fans: IntArray, corner_vertex: IntArray) -> BoolArray:
    """Whether each corner is in the largest fan of its vertex (of equal ones the first)."""
    fan, first, size = np.unique(fans, return_index=True, return_counts=True)
    vertex = corner_vertex[first]
    order = np.lexsort((first, -size, vertex))
    best = order[np.flatnonzero(np.diff(vertex[order], prepend=-1))]
    return np.isin(fans, fan[best])


def _drop(work: _Surface) -> None:
    while True:
        work.remove_repeated_and_duplicate()
        if work.remove(flat_faces(work.points, work.faces), "degenerate_faces"):
            continue
        edges = edge_faces(work.faces, len(work.points))
        crowded = (edges.size > 2)[edges.of_half_edge].reshape(-1, 3)
        if work.remove(np.asarray(crowded.any(axis=1)), "dropped_faces"):
            continue
        largest = _largest_fans(corner_fans(work.faces, edges), work.faces.ravel()).reshape(-1, 3)
        if work.remove(~np.asarray(largest.all(axis=1)), "dropped_faces"):
            continue
        turned = (orient_consistently(work.faces, len(work.points)) != work.faces).any(axis=1)
        if not work.remove(np.asarray(turned), "dropped_faces"):
            return


def _finish(work: _Surface, isolated: Isolated, num_faces: int) -> tuple[IntArray, Origin]:
    """Renumber the remaining vertices, and build the maps."""
    original = len(work.welded_to)
    used = np.zeros(len(work.points), dtype=bool)
    used[work.faces] = True
    keep = used.copy()
    if isolated == "keep":
        keep[:original] |= work.welded_to == np.arange(original)
    number = np.where(keep, np.cumsum(keep) - 1, -1)
    lost = ~used[:original] & (work.welded_to == np.arange(original))
    work.count("welded_vertices", int((work.welded_to != np.arange(original)).sum()))
    work.count("added_vertices", int(used[original:].sum()))
    work.count("turned_faces", int(work.turned.sum()))
    if isolated == "drop":
        work.count("isolated_vertices", int(lost.sum()))
    return number[work.faces], Origin(
        vertex_from=work.vertex_from[keep],
        vertex_to=number[work.welded_to],
        face_from=work.face_from,
        face_to=first_of(work.face_from, num_faces),
        changes=work.changes,
    )
