"""Normals of points, from their neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from meshconv.errors import InputError
from meshconv.geometry.nearest import tree_of


def estimate_normals(points: ArrayLike, nearest: int = 16) -> NDArray[np.float64]:
    """Unit normals of points on a surface, on one side of it, outward where it is closed.

    The direction is that in which the nearest points vary least. Sides are passed on along the tree of neighbours
    whose directions differ least (Hoppe et al. 1992), from the outermost point of each part, whose normal points away
    from the middle.

    Parameters
    ----------
    points : float [V, 3]
    nearest : int
        Neighbours of a point.

    Returns
    -------
    float64 [V, 3]

    Raises
    ------
    InputError
        Fewer points than neighbours.

    Notes
    -----
    ``tests/test_point_clouds.py`` compares with the normals of spheres and tori.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 3))
    >>> x /= np.linalg.norm(x, axis=1, keepdims=True)
    >>> bool(((estimate_normals(x) * x).sum(axis=1) > 0.9).all())
    True
    """
    x = np.asarray(points, dtype=np.float64)
    if len(x) <= nearest:
        raise InputError(f"{len(x)} points; normals from {nearest} neighbours take at least {nearest + 1}")
    _, near = tree_of(x).query(x, k=nearest + 1)
    off = x[near] - x[near].mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(off.transpose(0, 2, 1) @ off)[1][:, :, 0]
    src, dst = near[:, 1:].ravel(), np.repeat(np.arange(len(x)), nearest)
    # A small number: an edge of weight zero would be none.
    weight = 1 + 1e-9 - np.abs((normals[src] * normals[dst]).sum(axis=1))
    graph = coo_array((weight, (src, dst)), shape=(len(x), len(x))).tocsr()
    graph = graph.maximum(graph.T)
    tree = minimum_spanning_tree(graph)
    tree = (tree + tree.T).tocsr()
    count, part = connected_components(tree, directed=False)
    for k in range(count):
        members = np.flatnonzero(part == k)
        away = x[members] - x[members].mean(axis=0)
        first = members[(away**2).sum(axis=1).argmax()]
        if normals[first] @ (x[first] - x[members].mean(axis=0)) < 0:
            normals[first] *= -1
        order, before = breadth_first_order(tree, first, directed=False)
        for point in order[1:]:
            if normals[point] @ normals[before[point]] < 0:
                normals[point] *= -1
    return normals
