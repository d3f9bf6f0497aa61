"""Gauge graphs of points on the unit sphere: neighbours, log maps and transporters in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array

from meshconv.geometry.graph.gauge_graph import GaugeGraph, wrap_angle
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.frames import Array, Index, sphere_edges

_BLOCK = 1 << 15
"""Number of points per block of the neighbour search, which bounds its memory."""

_TIE = 1e-12
"""Points are within a radius up to this relative difference, which is more than rounding makes of equal distances."""

Rows = tuple[Index, Index]
"""Pointers ``[n + 1]`` and neighbours ``[E]``, ascending in each row."""


class Images(NamedTuple):
    """Images of some points under an isometry of the sphere that maps points onto points.

    Attributes
    ----------
    points : int64 [n]
        Numbers of the images.
    signs : tuple
        What the tangent vectors of the frames are mapped onto: those of the image, times these.
    """

    points: Index
    signs: tuple[int, int]


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
    return _graph(points, frames, areas, dst_ptr, src, _edges(points, frames, src, dst), scale)


def near_rows(points: Array, some: Index, radius: float) -> Rows:
    """Points within a geodesic ``radius`` (radians) of some points, given by number, without themselves.

    They are found by a k-d tree: time and memory are linear in the number of neighbours.

    Raises
    ------
    ValueError
        A radius that is not between 0 and pi.
    """
    if not 0 < radius < np.pi:
        raise ValueError(f"radius {radius} is not between 0 and pi radians")
    chord, count = 2 * np.sin(radius / 2), len(points)
    reach, few = chord * (1 + 1e-9), points[some]
    # The tree is that of the points that may be near: those of a part of the sphere are few.
    beside = np.flatnonzero(((points >= few.min(axis=0) - reach) & (points <= few.max(axis=0) + reach)).all(axis=1))
    tree = tree_of(points[beside])
    sizes, columns = [], []
    for first in range(0, len(some), _BLOCK):
        block = some[first : first + _BLOCK]
        near = tree_of(points[block]).sparse_distance_matrix(tree, reach, output_type="ndarray")
        other = beside[near["j"]]
        there = (near["v"] <= chord * (1 + _TIE)) & (block[near["i"]] != other)
        pairs = near["i"][there], other[there]
        row = coo_array((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(len(block), count)).tocsr()
        row.sort_indices()
        sizes.append(np.diff(row.indptr))
        columns.append(row.indices.astype(np.int64))
    return np.concatenate([[0], np.concatenate(sizes).cumsum()]).astype(np.int64), np.concatenate(columns)


def radius_graph(points: Array, frames: Array, areas: Array, radius: float) -> GaugeGraph:
    """Each point with all others within a geodesic ``radius`` (radians); ``scale`` is half of it.

    Kernels with the default cutoff of twice ``scale`` cover the neighbourhood. Raises as :func:`near_rows`.
    """
    return sphere_graph(points, frames, areas, *near_rows(points, np.arange(len(points)), radius), radius / 2)


def symmetric_graph(
    points: Array,
    frames: Array,
    areas: Array,
    chamber: Index,
    rows: Rows,
    group: Callable[[Index], Iterable[Images]],
    scale: float,
) -> GaugeGraph:
    """:func:`sphere_graph` of points with symmetries, from one point of each orbit and its neighbours.

    Parameters
    ----------
    points, frames, areas, scale
        As in :func:`sphere_graph`.
    chamber : int64 [n]
        One point of each orbit.
    rows
        Their neighbours.
    group
        Images of some points, given by number, under all isometries of a group.
    """
    count, (ptr, src) = len(points), rows
    size = np.diff(ptr)
    radius, angle, transporter = _edges(points, frames, src, np.repeat(chamber, size))
    known, place = np.unique(np.concatenate([chamber, src]), return_inverse=True)
    own, neighbour = place[: len(chamber)], place[len(chamber) :]
    half_turned = np.where(angle > 0, np.pi, -np.pi) - angle  # where the first tangent vector is mirrored
    images = list(group(known))
    sizes = np.empty(count, dtype=np.int64)
    for image, _ in images:
        sizes[image[own]] = size
    dst_ptr = np.concatenate([[0], sizes.cumsum()])
    out_src, out_edges = np.empty(dst_ptr[-1], dtype=np.int64), np.empty((3, dst_ptr[-1]))
    done = np.zeros(count, dtype=bool)
    for image, (first, second) in images:
        row = np.flatnonzero(~done[image[own]])  # points on a mirror are images of themselves
        to = image[own[row]]
        done[to] = True
        starts = np.concatenate([[0], size[row].cumsum()])
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], size[row])
        edge = np.repeat(ptr[row], size[row]) + within
        ascending = csr_array((edge, image[neighbour[edge]], starts), shape=(len(row), count))
        ascending.sort_indices()
        there = np.repeat(dst_ptr[to], size[row]) + within
        out_src[there], edge = ascending.indices, ascending.data
        out_edges[0, there] = radius[edge]
        out_edges[1, there] = second * (angle if first > 0 else half_turned)[edge]
        out_edges[2, there] = first * second * transporter[edge]
    return _graph(points, frames, areas, dst_ptr, out_src, out_edges, scale)


def _edges(points: Array, frames: Array, src: Index, dst: Index) -> Array:
    """Radius, angle, transporter of each edge, ``[3, E]``; angles in [-pi, pi]."""
    radius, *angles = map(torch.from_numpy, sphere_edges(points, frames, points, frames, src, dst))
    return np.stack([radius.numpy(), *(wrap_angle(angle).numpy() for angle in angles)])


def _graph(
    points: Array, frames: Array, areas: Array, dst_ptr: Index, src: Index, edges: Array, scale: float
) -> GaugeGraph:
    return GaugeGraph.from_rows(
        *map(torch.from_numpy, (dst_ptr, src, *edges)),
        frames=torch.from_numpy(frames),
        positions=torch.from_numpy(points),
        areas=torch.from_numpy(areas),
        scale=scale,
    )
