"""Numbers of all defects of a mesh."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from meshconv.geometry.mesh.halfedges import IntArray, build_half_edges, orient_consistently
from meshconv.geometry.mesh.measures import FloatArray, corner_angles
from meshconv.geometry.repair.defects import (
    BoolArray,
    corner_fans,
    duplicates,
    edge_faces,
    flat_faces,
    linked,
    open_seams,
    places,
    repeated_corners,
)
from meshconv.geometry.repair.inside_out import inside_out
from meshconv.geometry.repair.t_junctions import t_junctions


@dataclass(frozen=True)
class Defects:
    """Numbers of defects of a mesh, as ``meshconv check`` prints them.

    Attributes
    ----------
    components, euler_characteristic, boundary_loops : int
        Of the surface without degenerate and duplicate faces; vertices without faces do not count.
    genus : int | None
        Sum over the components; None unless the surface is manifold and orientable.
    degenerate_faces : int
        With a repeated vertex or without area (corners on a line).
    seam_edges : int
        Pairs of open edges in the same place.
    t_junctions : int
        Vertices on the inside of open edges, see :func:`~meshconv.geometry.repair.t_junctions.t_junctions`; one that
        lies on several edges counts for each.
    coincident_vertices : int
        At the position of a vertex of lower index. Not a defect.
    inside_out_parts : int
        Closed parts whose normals point inward and should not, see
        :func:`~meshconv.geometry.repair.inside_out.inside_out`.
    smallest_angle : float
        Degrees; of the faces that are not degenerate.
    edge_spread : float
        Longest over shortest edge; infinite with edges of zero length.
    """

    vertices: int
    faces: int
    components: int
    euler_characteristic: int
    genus: int | None
    boundary_loops: int
    nonmanifold_edges: int
    nonmanifold_vertices: int
    duplicate_faces: int
    degenerate_faces: int
    unreferenced_vertices: int
    coincident_vertices: int
    seam_edges: int
    t_junctions: int
    orientation_conflicts: int
    orientable: bool
    inside_out_parts: int
    smallest_angle: float
    edge_spread: float

    def problems(self, isolated: bool = True) -> list[str]:
        """Descriptions of defects; vertices without faces only if ``isolated``."""
        counted = {
            "degenerate_faces": "degenerate faces",
            "duplicate_faces": "duplicate faces",
            "seam_edges": "open seams",
            "t_junctions": "T-junctions",
            "nonmanifold_edges": "non-manifold edges",
            "nonmanifold_vertices": "non-manifold vertices",
            "orientation_conflicts": "orientation conflicts",
        }
        if isolated:
            counted["unreferenced_vertices"] = "vertices without faces"
        found = [f"{getattr(self, name)} {says}" for name, says in counted.items() if getattr(self, name)]
        if not self.orientable:
            found.append("not orientable")
        if self.inside_out_parts:
            of = f"{self.inside_out_parts} of {self.components} parts " if self.components > 1 else ""
            found.append(f"{of}inside out")
        return found

    def as_dict(self) -> dict[str, int | float | bool | None]:
        """Counts by name, in JSON types (an infinite spread is None)."""
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}


def find_defects(points: FloatArray, faces: IntArray) -> Defects:
    """Count every defect of a triangle mesh, changing nothing.

    Parameters
    ----------
    points : float64 [V, 3]
        Of a size near 1, so that squares stay in range.
    faces : int64 [F, 3]
        Valid indices, any defects.
    """
    num_vertices = len(points)
    flat = repeated_corners(faces)
    proper = faces[~flat]
    flat[~flat] = flat_faces(points, proper)
    twice = duplicates(proper)
    surface = proper[~twice]
    edges = edge_faces(surface, num_vertices)
    origin, tip = surface.ravel(), surface[:, [1, 2, 0]].ravel()
    fans = corner_fans(surface, edges)
    num_fans = np.bincount(origin[np.unique(fans, return_index=True)[1]], minlength=num_vertices)
    one, two = edges.pairs
    oriented = orient_consistently(surface, num_vertices)
    conflicts = int((origin[one] == origin[two]).sum())
    left, right = (edges if oriented is surface else edge_faces(oriented, num_vertices)).pairs
    orientable = not (oriented.ravel()[left] == oriented.ravel()[right]).any()

    used = np.zeros(num_vertices, dtype=bool)
    used[surface] = True
    named = np.zeros(num_vertices, dtype=bool)
    named[faces] = True
    components = _count_components(origin, tip, used)
    open_ends = edges.single
    on_boundary = np.zeros(num_vertices, dtype=bool)
    on_boundary[origin[open_ends]] = on_boundary[tip[open_ends]] = True
    loops = _count_components(origin[open_ends], tip[open_ends], on_boundary)
    euler = int(used.sum()) - len(edges.size) + len(surface)
    manifold = bool((edges.size <= 2).all() and (num_fans <= 1).all())
    place = places(points)
    first = edges.order[edges.start]
    length = np.sqrt(((points[tip[first]] - points[origin[first]]) ** 2).sum(axis=1))
    solid = surface[~flat_faces(points, surface)]
    return Defects(
        vertices=num_vertices,
        faces=len(faces),
        components=components,
        euler_characteristic=euler,
        genus=(2 * components - euler - loops) // 2 if manifold and orientable else None,
        boundary_loops=loops,
        nonmanifold_edges=int((edges.size > 2).sum()),
        nonmanifold_vertices=int((num_fans > 1).sum()),
        duplicate_faces=int(twice.sum()),
        degenerate_faces=int(flat.sum()),
        unreferenced_vertices=int(num_vertices - named.sum()),
        coincident_vertices=int((place != np.arange(num_vertices)).sum()),
        seam_edges=len(open_seams(place, surface, edges)[0]),
        t_junctions=len(t_junctions(points, surface).vertex),
        orientation_conflicts=conflicts,
        orientable=orientable,
        inside_out_parts=inside_out(points, build_half_edges(surface, num_vertices)).parts,
        smallest_angle=float(np.degrees(corner_angles(points, solid).min())) if len(solid) else 0.0,
        edge_spread=_spread(length),
    )


def _count_components(a: IntArray, b: IntArray, among: BoolArray) -> int:
    hit = np.zeros(len(among), dtype=bool)
    hit[linked(a, b, len(among))[among]] = True
    return int(hit.sum())


def _spread(length: FloatArray) -> float:
    if len(length) == 0:
        return 1.0
    return float(length.max() / length.min()) if length.min() > 0 else float("inf")
