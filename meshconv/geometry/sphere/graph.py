"""Gauge graphs of points on the unit sphere: neighbours, log maps and transporters in closed form."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array

from meshconv.geometry.graph.gauge_graph import GaugeGraph, wrap_angle
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.frames import Array, Index, sphere_edges

_BLOCK = 1 << 15
"""Number of points per block of the neighbour search, which bounds its memory."""


def sphere_graph(points: Array, frames: Array, areas: Array, dst_ptr: Index, src: Index, scale: float) -> GaugeGraph:
    """Graph of unit vectors from rows of neighbours; log map and transport along great circles.

    Parameters
    ----------
    points, frames, areas : [V, 3], [V, 3, 3], [V]
    dst_ptr, src : int64 [V + 1], int64 [E]
        Neighbours of point ``v`` are ``src[dst_ptr[v]:dst_ptr[v + 1]]``, ascending.
    scale
        Unit of radii in kernels, radians.

    Returns
    -------
    GaugeGraph
        float64; lengths in radians.
    """
    dst = np.repeat(np.arange(len(points)), np.diff(dst_ptr))
    radius, angle, transporter = map(torch.from_numpy, sphere_edges(points, frames, points, frames, src, dst))
    return GaugeGraph.from_rows(
        torch.from_numpy(dst_ptr),
        torch.from_numpy(src),
        radius,
        wrap_angle(angle),
        wrap_angle(transporter),
        frames=torch.from_numpy(frames),
        positions=torch.from_numpy(points),
        areas=torch.from_numpy(areas),
        scale=scale,
    )


def radius_graph(points: Array, frames: Array, areas: Array, radius: float) -> GaugeGraph:
    """Each point with all others within a geodesic ``radius`` (radians); ``scale`` is half of it.

    They are found by a k-d tree: time and memory are linear in the number of edges. Kernels with the default cutoff of
    twice ``scale`` cover the neighbourhood.

    Raises
    ------
    ValueError
        A radius that is not between 0 and pi.
    """
    if not 0 < radius < np.pi:
        raise ValueError(f"radius {radius} is not between 0 and pi radians")
    chord, tree, count = 2 * np.sin(radius / 2), tree_of(points), len(points)
    rows, columns = [], []
    for first in range(0, count, _BLOCK):
        block = points[first : first + _BLOCK]
        # The tree's bounds are rounded; the distances themselves are the same both ways, so pairs come in twos.
        near = tree_of(block).sparse_distance_matrix(tree, chord * (1 + 1e-9), output_type="ndarray")
        near = near[(near["v"] <= chord) & (near["i"] + first != near["j"])]
        pairs = near["i"], near["j"]
        row = coo_array((np.ones(len(near), dtype=bool), pairs), shape=(len(block), count)).tocsr()
        row.sort_indices()
        rows.append(np.diff(row.indptr))
        columns.append(row.indices.astype(np.int64))
    dst_ptr = np.concatenate([[0], np.concatenate(rows).cumsum()]).astype(np.int64)
    return sphere_graph(points, frames, areas, dst_ptr, np.concatenate(columns), radius / 2)
