"""Geodesic distances across a whole surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh


def surface_distances(mesh: TriangleMesh, sources: ArrayLike | None = None, rings: int = 3) -> FloatArray:
    """Lengths of shortest paths from some vertices to all.

    Paths hop from vertex to vertex within so many rings, every hop along an exact geodesic of the polyhedron, so that
    they are never too short, and too long by little: with 3 rings (about 36 directions at every vertex) 0.4 % on
    average on a sphere of 2562 vertices (at most 1.8 %), against 8 % along edges alone.

    Parameters
    ----------
    mesh : TriangleMesh
    sources : int [S], optional
        All vertices by default.
    rings : int
        1 are the edges.

    Returns
    -------
    float64 [S, V]
        In the mesh's unit of length; infinite between pieces that are not connected.

    Raises
    ------
    InputError
        The mesh has no faces or no area.

    Notes
    -----
    ``tests/test_distances.py`` compares with great circles and with the exact geodesics of
    :func:`~meshconv.geometry.mesh.geodesics.geodesic_neighbourhoods`. 5,000 sources on as many vertices take 9 s.

    References
    ----------
    Dijkstra, "A note on two problems in connexion with graphs", 1959.

    Examples
    --------
    >>> import trimesh
    >>> box = trimesh.creation.box().subdivide()
    >>> mesh = TriangleMesh(box.vertices, box.faces)
    >>> distances = surface_distances(mesh, [0])
    >>> distances.shape, bool(distances[0, 0] == 0)
    ((1, 26), True)
    """
    graph = mesh.gauge_graph(rings=rings)
    # Zero would mean no edge at all.
    lengths = np.maximum(graph.log_radius.numpy(), np.finfo(float).tiny)
    rows = csr_array((lengths, graph.src.numpy(), graph.dst_ptr.numpy()), shape=(mesh.num_vertices,) * 2)
    return np.atleast_2d(dijkstra(rows, indices=None if sources is None else np.asarray(sources, dtype=np.int64)))
