"""Simplification and subdivision of meshes, with maps to the given vertices and faces."""

from __future__ import annotations

import math

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.repair.origin import Origin

# How eagerly the library collapses edges; higher values than its own default miss the number of faces less often.
_EAGERNESS = 7.0
# A closed surface has four triangles at least.
_FEWEST = 4


def simplify(mesh: TriangleMesh, num_faces: int) -> TriangleMesh:
    """Simplification by quadric edge collapse (Garland and Heckbert 1997).

    Parameters
    ----------
    mesh : TriangleMesh
        Repaired.
    num_faces : int
        Target number of faces, at least 4. A mesh with no more faces is returned unchanged.

    Returns
    -------
    TriangleMesh
        Repaired; origin and data are those of :func:`follow`. If no surface remains, the given mesh.

    Notes
    -----
    ``tests/test_augmentation.py`` checks numbers, distances and validity.

    References
    ----------
    Garland, Heckbert: Surface simplification using quadric error metrics, SIGGRAPH 1997.

    Examples
    --------
    >>> import trimesh
    >>> sphere = trimesh.creation.icosphere(3)
    >>> simplify(TriangleMesh(sphere.vertices, sphere.faces), 300).num_faces
    300
    """
    if num_faces < _FEWEST:
        raise ValueError(f"num_faces {num_faces} has to be at least {_FEWEST}")
    if mesh.num_faces <= num_faces:
        return mesh
    # The library assumes a bounding box of about 1.
    low, size = mesh.vertices.min(axis=0), _size(mesh.vertices)
    points, faces = fast_simplification.simplify(
        (mesh.vertices - low) / size, mesh.surface.faces, target_count=num_faces, agg=_EAGERNESS
    )
    return follow(mesh, points.astype(np.float64) * size + low, faces.astype(np.int64))


def subdivide_at_random(mesh: TriangleMesh, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Random subdivision of the same surface: each triangle is split into four at random points of its edges."""
    share = rng.uniform(0.25, 0.75, (len(mesh.half_edges.edge_halfedge), 1))
    return _cut_in_four(mesh, share, np.ones(len(mesh.half_edges.faces), dtype=bool))


def refine(mesh: TriangleMesh, part: NDArray[np.bool_]) -> TriangleMesh:
    """The same surface with each of some faces cut in four at the middles of its edges.

    Faces beside them are split at the vertices on their edges, so that no T-junction is left.

    Parameters
    ----------
    mesh : TriangleMesh
        Repaired.
    part : bool [F]

    Returns
    -------
    TriangleMesh
        Repaired; origin and data are those of :func:`follow`.

    Examples
    --------
    >>> import trimesh
    >>> sphere = trimesh.creation.icosphere(2)
    >>> fine = refine(TriangleMesh(sphere.vertices, sphere.faces), sphere.triangles_center[:, 2] > 0.5)
    >>> fine.num_faces > sphere.faces.shape[0], fine.defects.t_junctions
    (True, 0)
    """
    return follow(mesh, *_cut_in_four(mesh, np.full((len(mesh.half_edges.edge_halfedge), 1), 0.5), part))


def _cut_in_four(mesh: TriangleMesh, share: FloatArray, part: NDArray[np.bool_]) -> tuple[FloatArray, IntArray]:
    """Points, of the edges at their share, and faces, some of them cut in four; the others first."""
    half_edges = mesh.half_edges
    one, two = half_edges.origin[half_edges.edge_halfedge], half_edges.tip[half_edges.edge_halfedge]
    points = np.concatenate([mesh.vertices, (1 - share) * mesh.vertices[one] + share * mesh.vertices[two]])
    key = np.minimum(half_edges.origin, half_edges.tip) * len(mesh.vertices)
    key += np.maximum(half_edges.origin, half_edges.tip)
    edge = np.searchsorted(key[half_edges.edge_halfedge], key)  # edges stand in the order of their ends
    (a, b, c), (ab, bc, ca) = half_edges.faces[part].T, len(mesh.vertices) + edge.reshape(-1, 3)[part].T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return points, np.concatenate([half_edges.faces[~part], *(np.stack(corners, axis=1) for corners in parts)])


def follow(mesh: TriangleMesh, points: FloatArray, faces: IntArray) -> TriangleMesh:
    """Another triangulation of a mesh, repaired, with its data and a map to its file.

    Each new vertex and face corresponds to the nearest old one, each old one to the nearest new one; faces are compared
    by centre and normal, which distinguishes the two sides of a thin part. If no surface remains, the given mesh.
    """
    if len(faces) < _FEWEST:
        return mesh
    used = np.unique(faces)
    points, faces = points[used], np.searchsorted(used, faces)
    old = TriangleMesh(mesh.vertices, mesh.surface.faces)
    new = TriangleMesh(points, faces, mesh.name)
    if not (new.area > 0 and old.area > 0):
        return mesh
    size = _size(mesh.vertices)
    # An opposite normal has the weight of a distance of two edges.
    length = math.sqrt(old.area / old.num_faces) / size
    old_vertex, new_vertex = (np.hstack([m.vertices / size, length * m.vertex_normals]) for m in (old, new))
    old_face, new_face = (_centres(m.vertices / size, m.faces, length) for m in (old, new))
    step = Origin(
        vertex_from=_nearest(old_vertex, new_vertex),
        vertex_to=_nearest(new_vertex, old_vertex),
        face_from=_nearest(old_face, new_face),
        face_to=_nearest(new_face, old_face),
    )
    start = mesh.origin or Origin.identity(mesh.num_vertices, mesh.num_faces)
    result = TriangleMesh(
        points,
        faces,
        mesh.name,
        {k: np.asarray(v)[step.vertex_from] for k, v in mesh.vertex_data.items()},
        {k: np.asarray(v)[step.face_from] for k, v in mesh.face_data.items()},
        start.then(step),
    ).repair(isolated="drop")
    return result if result.num_faces >= _FEWEST and result.area > 0 else mesh


def _size(points: FloatArray) -> float:
    return float(np.ptp(points, axis=0).max()) or 1.0


def _nearest(places: FloatArray, queries: FloatArray) -> IntArray:
    return tree_of(places).query(queries)[1].astype(np.int64)


def _centres(vertices: FloatArray, faces: IntArray, length: float) -> FloatArray:
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    size = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.hstack([corner.mean(axis=1), length * normal / np.where(size > 0, size, 1.0)])
