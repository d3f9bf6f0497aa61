"""Refinement of meshes on the same surface: long edges are halved until none is left."""

from __future__ import annotations

import numpy as np

from meshconv.errors import InputError
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

# More take gigabytes; meshes with far longer edges than their area lets expect (needles) could have any number.
_MOST_VERTICES = 4_000_000


# Longest edges in spacings: about eight vertices for each point. With fewer, points are where the triangles have
# corners, and a network sees the triangulation (docs/discretisation.md).
_LONGEST = 0.7
# Edges are not halved below this, in roots of the area, unless they are longer than twice _LONGEST: bounds the time.
_FINE = 0.014


def refined(mesh: TriangleMesh, resolution: float) -> TriangleMesh:
    """A mesh with vertices everywhere on the surface, for points at a spacing in units of the root of its area.

    Raises
    ------
    InputError
        The mesh has no area, or would have more than four million vertices.
    """
    mesh.check_area()
    longest = max(_LONGEST * resolution, min(2 * _LONGEST * resolution, _FINE))
    try:
        vertices, faces = refine(mesh.vertices, mesh.surface.faces, longest * mesh.area**0.5)
    except InputError as error:
        raise InputError(f"{mesh.name}: resolution {resolution}: {error}" if mesh.name else str(error)) from error
    return TriangleMesh(vertices, faces, mesh.name)


def refine(vertices: FloatArray, faces: IntArray, longest: float) -> tuple[FloatArray, IntArray]:
    """Halve edges until none is longer; the surface is the same, and so are the given vertices, which come first.

    An edge is halved for all of its faces at once, which stay in contact. Of two ways to cut a face with two halved
    edges the one with the shorter cut is taken.

    Parameters
    ----------
    vertices : float64 [V, 3]
    faces : int64 [F, 3]
        With any defects.
    longest : float
        In the unit of the vertices.

    Returns
    -------
    vertices, faces

    Raises
    ------
    InputError
        The result would have more than four million vertices.

    Notes
    -----
    ``tests/test_resampling.py`` checks area, boundary and lengths.

    Examples
    --------
    >>> points, parts = refine(np.eye(3), np.array([[0, 1, 2]]), longest=0.8)
    >>> len(points), len(parts)
    (6, 4)
    """
    while True:
        edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        key = edges[:, 0] * len(vertices) + edges[:, 1]
        span = vertices[edges[:, 1]] - vertices[edges[:, 0]]
        long = np.einsum("ei,ei->e", span, span) > longest**2
        once, place = np.unique(key[long], return_inverse=True)
        if not len(once):
            return vertices, faces
        # A vertex has six directed edges, in the end of about this length.
        if np.linalg.norm(span[long], axis=1).sum() / longest > 6 * _MOST_VERTICES:
            raise InputError(
                f"edges of at most {longest:g} take more than {_MOST_VERTICES:,} vertices; give a larger resolution "
                "or remove faces that are far longer than wide"
            )
        middle = np.full(len(key), -1)
        middle[long] = len(vertices) + place
        ends = vertices[once // len(vertices)], vertices[once % len(vertices)]
        vertices = np.concatenate([vertices, (ends[0] + ends[1]) / 2])
        faces = _split(vertices, faces, middle.reshape(-1, 3))


def _split(vertices: FloatArray, faces: IntArray, middle: IntArray) -> IntArray:
    """Faces cut at the middles of their edges 0-1, 1-2, 2-0; -1: not halved."""
    count = (middle >= 0).sum(axis=1)
    # Turned so that of one halved edge it is the first, and of two the last is whole.
    turn = np.where(count == 1, (middle >= 0).argmax(axis=1), (middle.argmin(axis=1) + 1) % 3)
    column = (np.arange(3) + turn[:, None]) % 3
    faces, middle = np.take_along_axis(faces, column, axis=1), np.take_along_axis(middle, column, axis=1)
    (a, b, c), (ab, bc, ca) = faces.T, middle.T

    def length(p: IntArray, q: IntArray) -> FloatArray:
        return np.linalg.norm(vertices[p] - vertices[q], axis=1)

    from_a = (count == 2) & (length(a, bc) < length(ab, c))
    cuts = {
        0: (count == 0, [(a, b, c)]),
        1: (count == 1, [(a, ab, c), (ab, b, c)]),
        2: (from_a, [(ab, b, bc), (a, ab, bc), (a, bc, c)]),
        3: ((count == 2) & ~from_a, [(ab, b, bc), (a, ab, c), (ab, bc, c)]),
        4: (count == 3, [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]),
    }
    return np.concatenate([np.stack(part, axis=1)[here] for here, parts in cuts.values() for part in parts])
