"""Hierarchies of a physical resolution: points at one spacing on the surface, whatever its triangles."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.mesh.edge_graph import edge_graph
from meshconv.geometry.mesh.geodesics import geodesic_surface
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.levels.coarsening import map_cells, surface_components, touching_cells
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.surface import Surface
from meshconv.geometry.mesh.transport import Transport, check_transport, normal_aligning
from meshconv.ops.geodesics import farthest_points

RADIUS = 2.3
"""Default radius of neighbourhoods in spacings: about 16 neighbours."""

MOST_POINTS = 500_000

# Ways from cell to cell are longer than the shortest paths, by less than this.
_DETOUR = 1.25
# Distances between centres at a time: as much as the C library gives again without asking the system.
_BLOCK = 2_000_000


class Resampled(NamedTuple):
    """Levels of a surface at given spacings, and where its vertices lie among the points of the finest.

    Attributes
    ----------
    hierarchy : Hierarchy
    points : int64 [N]
        The vertices that are the points of the finest level, ascending.
    corners, shares : int64, float64 [V, 3]
        Each vertex as a mean of three points near it: linear interpolation in the log map of the nearest one.
    """

    hierarchy: Hierarchy
    points: IntArray
    corners: IntArray
    shares: FloatArray


def check_resolution(resolution: float) -> None:
    """Raise ``InputError`` unless it is positive and makes a number of points that fits in memory."""
    if not (isinstance(resolution, float | int) and 0 < resolution <= 1):
        raise InputError(f"resolution {resolution} has to be above 0 and at most 1, in roots of the surface area")
    count = resolution**-2
    if count > MOST_POINTS:
        raise InputError(
            f"resolution {resolution} makes {count:,.0f} points of each mesh, about {count * 2e4 / 1e9:.0f} GB to "
            f"prepare; give at least {MOST_POINTS**-0.5:.4f}"
        )


def resample(
    surface: Surface,
    resolution: float,
    num_levels: int,
    radius: float | None = None,
    transport: Transport = "levi_civita",
) -> Resampled:
    r"""Hierarchy of gauge graphs whose levels have spacings h, 2 h, 4 h, ... on any triangulation of a surface.

    Points are vertices from farthest point sampling, :math:`A / (2^k h)^2` on level k, each with the area of its
    Voronoi cell; neighbours are those within a geodesic radius R, 2 R, 4 R, ... Log maps and transporters run along
    shortest paths on the surface.

    Parameters
    ----------
    surface : Surface
        With an area, and edges of about h at most (:func:`~meshconv.geometry.mesh.levels.refinement.refine`), so that
        points can lie everywhere.
    resolution
        h, in units of the square root of the area.
    num_levels
    radius
        R, in the same unit; by default 2.3 h, for about 16 neighbours.
    transport
        As in :func:`~meshconv.geometry.mesh.levels.coarsening.coarsen`.

    Returns
    -------
    Resampled
        float64, in the surface's gauge. ``scale`` of a level is half of its radius. Every component keeps at least one
        point on every level, and a vertex without faces is no point.

    Raises
    ------
    InputError
        A resolution that is not above 0 and at most 1, or that makes more than half a million points.

    Notes
    -----
    ``tests/test_resampling.py`` checks spacings, log maps and interpolation on several triangulations of one surface.

    Examples
    --------
    >>> import trimesh
    >>> ball = trimesh.creation.icosphere(4)
    >>> found = resample(Surface.from_faces(ball.vertices, ball.faces), resolution=0.05, num_levels=2)
    >>> [level.num_vertices for level in found.hierarchy.levels]
    [400, 100]
    """
    check_resolution(resolution)
    check_transport(transport)
    walked = geodesic_surface(surface, edge_graph(surface))
    num_components, rank = surface_components(walked, surface.vertex_areas)
    used = int(surface.has_face.sum())
    isolated = surface.num_vertices - used
    counts = [math.ceil((resolution * 2**k) ** -2) for k in range(num_levels)]
    counts = [min(used, max(num_components - isolated, n)) + isolated for n in counts]
    sampling = farthest_points(walked, torch.from_numpy(rank), counts)
    reach = (radius or RADIUS * resolution) * math.sqrt(surface.area) / surface.unit
    levels: list[GaugeGraph] = []
    pools: list[Pooling] = []
    finer, areas = np.arange(surface.num_vertices), surface.vertex_areas
    for k, (n, distance, cell) in enumerate(zip(counts, sampling.distance.numpy(), sampling.cell.numpy(), strict=True)):
        chosen = sampling.points.numpy()[:n]
        # In the order of vertices, neighbours are closer in memory than in the order of sampling.
        order = np.argsort(chosen)
        centres, cell = chosen[order], np.argsort(order)[cell]
        touching = touching_cells(walked, distance, cell, n)
        pairs = _near_pairs(*touching, n, 2**k * reach)
        parent, polar, src, dst, edges = map_cells(walked, centres, finer, distance, cell, pairs)
        if k == 0:
            points = centres
            adjacent = np.isin(dst * n + src, touching[0] * n + touching[1])
            corners, shares = _triangles(parent, polar, src[adjacent], dst[adjacent], edges[:, adjacent], n)
        near = edges[0] <= 2**k * reach
        src, dst, edges = src[near], dst[near], edges[:, near]
        if transport == "normal_aligning":
            polar = np.stack(normal_aligning(surface.points, surface.frames, finer, centres[parent]))
            edges = np.stack(normal_aligning(surface.points, surface.frames, centres[src], centres[dst]))
        polar[0] *= surface.unit
        edges[0] *= surface.unit
        areas = np.bincount(parent, areas, minlength=n).astype(np.float64)
        if k:
            pools.append(Pooling.from_parents(parent, n, *polar))
        levels.append(
            GaugeGraph.from_edges(
                src,
                dst,
                *edges,
                frames=surface.frames[centres],
                positions=surface.vertices[centres],
                areas=areas,
                scale=2**k * reach * surface.unit / 2,
            )
        )
        finer = centres
    return Resampled(Hierarchy(levels, pools), points, corners, shares)


def _near_pairs(
    dst: IntArray, src: IntArray, length: FloatArray, count: int, reach: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of centres that may be within ``reach``, and the shortest way from cell to cell; with all that touch."""
    ways = csr_array((np.maximum(length, np.finfo(float).tiny), (dst, src)), shape=(count, count))
    block = max(_BLOCK // max(count, 1), 1)
    found = []
    for first in range(0, count, block):
        rows = np.arange(first, min(first + block, count))
        way = dijkstra(ways, directed=False, indices=rows, limit=_DETOUR * reach)
        row, column = np.nonzero(np.isfinite(way))
        found.append((rows[row], column, way[row, column]))
    far = length > _DETOUR * reach
    found.append((dst[far], src[far], length[far]))
    one, other, way = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((other, one))
    order = order[one[order] != other[order]]  # a centre is no neighbour of itself
    return one[order], other[order], way[order]


def _triangles(
    parent: IntArray, polar: FloatArray, src: IntArray, dst: IntArray, edges: FloatArray, count: int
) -> tuple[IntArray, FloatArray]:
    """Corners and shares of each vertex, given its place at its nearest point and those of the points round that.

    The triangle is that of the nearest point and the two neighbours between whose directions the vertex lies. Outside
    of it (at boundaries and on sharp tips) shares are cut off at 0.
    """
    if not len(dst):
        return np.repeat(parent[:, None], 3, axis=1), np.tile([1.0, 0.0, 0.0], (len(parent), 1))
    turn = 16.0  # more than a full turn
    key = dst * turn + edges[1]
    order = np.argsort(key, kind="stable")
    ptr = np.concatenate([[0], np.bincount(dst, minlength=count).cumsum()])
    first, last = ptr[parent], ptr[parent + 1]
    after = np.searchsorted(key[order], parent * turn + polar[1], side="right")
    alone = last == first
    after = np.where(after == last, first, after)
    before = np.where(after == first, last, after) - 1
    one, two = (order[np.where(alone, 0, place)] for place in (before, after))
    logs = polar[:2], edges[:2, one], edges[:2, two]
    (x, y), (x1, y1), (x2, y2) = (r * np.stack([np.cos(t), np.sin(t)]) for r, t in logs)
    cross = x1 * y2 - x2 * y1
    # Directions half a turn apart or more span no triangle.
    flat = cross <= 1e-3 * np.hypot(x1, y1) * np.hypot(x2, y2)
    safe = np.where(flat | alone, 1.0, cross)
    b = np.where(flat | alone, 0.0, (x * y2 - x2 * y) / safe).clip(0.0, 1.0)
    c = np.where(flat | alone, 0.0, (x1 * y - x * y1) / safe).clip(0.0, 1.0)
    shares = np.stack([np.maximum(1 - b - c, 0.0), b, c], axis=1)
    corners = np.stack([parent, np.where(alone, parent, src[one]), np.where(alone, parent, src[two])], axis=1)
    return corners, shares / shares.sum(axis=1, keepdims=True)
