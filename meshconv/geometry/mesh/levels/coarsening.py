"""Hierarchies of triangle meshes: farthest point sampling, geodesic Voronoi cells, and their adjacency."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.mesh.edge_graph import edge_graph
from meshconv.geometry.mesh.geodesics import geodesic_surface, surface_graph
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.neighbourhood import EDGES, Neighbourhood
from meshconv.geometry.mesh.surface import Surface
from meshconv.geometry.mesh.transport import Transport, normal_aligning
from meshconv.ops.geodesics import GeodesicSurface, farthest_points, geodesic_cells
from meshconv.ops.rows import sorted_into_rows

# Marched distances are good to about a percent; where one is not, only time is lost.
_SLACK = 1.02


class _Level(NamedTuple):
    """Points of one level, vertices in ascending order, with the area that belongs to each."""

    vertices: IntArray
    areas: FloatArray


def coarsen(
    surface: Surface,
    num_levels: int,
    ratio: float = 4,
    neighbourhood: Neighbourhood = EDGES,
    transport: Transport = "levi_civita",
) -> Hierarchy:
    r"""Hierarchy of gauge graphs of a surface, from fine to coarse.

    The points of a coarse level are vertices from farthest point sampling: every vertex is nearer to one than they are
    to each other. The cluster of each point of the finer level is that of the nearest one by geodesic distance, with
    log map and transport along the shortest path on the mesh. Neighbours are points with adjacent Voronoi cells, about
    six, also along shortest paths: the geometry is that of the mesh on every level.

    Parameters
    ----------
    surface : Surface
        With an area.
    num_levels, ratio
        Number of levels, and ratio of the numbers of points of successive levels: greater than 1.
    neighbourhood : Neighbourhood
        On the finest level.
    transport : "levi_civita" | "normal_aligning"
        On all levels, as in :meth:`~meshconv.geometry.mesh.triangle_mesh.TriangleMesh.gauge_graph`.

    Returns
    -------
    Hierarchy
        float64, in the mesh's gauge at every level; points in the order of vertices. ``areas`` are sums
        over the clusters, ``scale`` is sqrt(area / number of points). Every component of the mesh keeps at least one
        point, and a vertex without faces is its own cluster; if nothing is left to merge, levels repeat.

    Raises
    ------
    ValueError
        ``num_levels`` below 1, or a ``ratio`` that is not greater than 1.
    InputError
        A transport that is not known.

    Notes
    -----
    The transporters of both directions of an edge are exactly inverse. The selected points are independent of the
    numbering, unless vertices coincide; on symmetric meshes they depend on the pose. Checked by
    ``tests/test_coarsening.py``.

    References
    ----------
    Eldar, Lindenbaum, Porat, Zeevi, "The farthest point strategy for progressive image sampling", 1997.

    Examples
    --------
    >>> from meshconv import TriangleMesh
    >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> [level.num_vertices for level in mesh.hierarchy(3).levels]
    [3, 1, 1]
    """
    if num_levels < 1 or not ratio > 1:
        raise ValueError(f"a hierarchy needs num_levels >= 1 and ratio > 1, got {num_levels} and {ratio}")
    graph = surface_graph(surface, neighbourhood, transport)
    if num_levels == 1:
        return Hierarchy([graph], [])
    ring = graph if transport == "levi_civita" and neighbourhood.is_edges else edge_graph(surface)
    walked, has_face = geodesic_surface(surface, ring), surface.has_face
    num_components, rank = surface_components(walked, surface.vertex_areas)
    isolated = int((~has_face).sum())
    counts = [int(has_face.sum())]
    for _ in range(num_levels - 1):
        counts.append(max(num_components - isolated, math.ceil(counts[-1] / ratio)))
    sampling = farthest_points(walked, torch.from_numpy(rank), [n + isolated for n in counts[1:]])
    chosen = sampling.points.numpy()

    level = _Level(np.arange(surface.num_vertices), surface.vertex_areas)
    levels, pools = [graph], []
    for n, distance, cell in zip(counts[1:], sampling.distance.numpy(), sampling.cell.numpy(), strict=True):
        centres = chosen[: n + isolated]
        parent, to_parent, src, dst, edges = map_cells(walked, centres, level.vertices, distance, cell)
        # In the order of vertices, neighbours are closer in memory than in the order of sampling.
        order = np.argsort(centres)
        number = np.argsort(order)
        areas = np.bincount(number[parent], level.areas).astype(np.float64)
        coarse = _Level(centres[order], areas)
        if transport == "normal_aligning":
            to_parent = np.stack(normal_aligning(surface.points, surface.frames, level.vertices, centres[parent]))
            edges = np.stack(normal_aligning(surface.points, surface.frames, centres[src], centres[dst]))
        to_parent[0] *= surface.unit
        edges[0] *= surface.unit
        pools.append(Pooling.from_parents(number[parent], len(centres), *to_parent))
        levels.append(
            GaugeGraph.from_edges(
                number[src],
                number[dst],
                *edges,
                frames=surface.frames[coarse.vertices],
                positions=surface.vertices[coarse.vertices],
                areas=coarse.areas,
                scale=math.sqrt(surface.area / n),
            )
        )
        level = coarse
    return Hierarchy(levels, pools)


def surface_components(surface: GeodesicSurface, areas: FloatArray) -> tuple[int, IntArray]:
    """Number of connected parts, and each vertex's place when they are sorted by distance from their part's centroid.

    Farthest first; equals (in single precision) by their coordinates, so that the numbering decides nothing.
    """
    points, v = surface.points.numpy(), len(areas)
    src, ptr = surface.ring_src.numpy(), surface.ring_ptr.numpy()
    links = csr_array((np.ones(len(src)), src, ptr), shape=(v, v))
    count, component = connected_components(links, directed=False)
    weight = np.where(np.bincount(component, areas)[component] > 0, areas, 1.0)
    total = np.bincount(component, weight)
    centroid = np.stack([np.bincount(component, weight * x) / total for x in points.T], axis=1)
    far = np.linalg.norm(points - centroid[component], axis=1).astype(np.float32)
    order = np.lexsort((*points.T[::-1], -far))
    rank = np.empty(v, dtype=np.int64)
    rank[order] = np.arange(v)
    return count, rank


def map_cells(
    surface: GeodesicSurface,
    centres: IntArray,
    points: IntArray,
    distance: FloatArray,
    cell: IntArray,
    pairs: tuple[IntArray, IntArray, FloatArray] | None = None,
) -> tuple[IntArray, FloatArray, IntArray, IntArray, FloatArray]:
    """Clusters of ``points`` and neighbourhood of ``centres``, both vertices, from approximate distances and cells.

    Neighbours are given ``pairs``, as of :func:`touching_cells`; by default centres with touching cells.

    Returns
    -------
    parent : int64 [points]
        Number of the nearest centre.
    to_parent : float64 [3, points]
        Radius, angle, transporter there.
    src, dst : int64 [E]
        Numbers of centres, both ways, sorted by ``dst``.
    edges : float64 [3, E]
        Radius, angle, transporter of ``src`` at ``dst``.
    """
    n = len(centres)
    dst, src, near = touching_cells(surface, distance, cell, n) if pairs is None else pairs
    others = points[~np.isin(points, centres)]
    owner = np.concatenate([dst, cell[others]])
    target = np.concatenate([centres[src], others])
    bound = np.concatenate([near, distance[others]]) * _SLACK
    ptr, places = sorted_into_rows(torch.from_numpy(owner), n)
    order = places.numpy()
    found = geodesic_cells(
        surface,
        torch.from_numpy(centres),
        ptr,
        torch.from_numpy(target[order]),
        torch.from_numpy(bound[order]),
        float(distance.max()) * _SLACK,
    )
    logs = np.empty((3, len(order)))
    logs[:, order] = torch.stack(found[:3]).numpy()
    nearest, polar = found.nearest.numpy().copy(), found.polar.numpy().copy()
    # A centre is its own nearest centre even if another one coincides with it.
    nearest[centres] = np.arange(n)
    polar[:, centres] = 0.0
    edges = logs[:, : len(dst)]
    # The edges are sorted by dst, then src: by src, then dst, they are their reverses.
    back = sorted_into_rows(torch.from_numpy(src), n)[1].numpy()
    # Where symmetry makes several paths equally short the two directions may have found different ones.
    edges[0] = np.minimum(edges[0], edges[0, back])
    edges[2] -= np.remainder(edges[2] + edges[2, back] + np.pi, 2 * np.pi) / 2 - np.pi / 2
    return nearest[points], polar[:, points], src, dst, edges


def touching_cells(
    surface: GeodesicSurface, distance: FloatArray, cell: IntArray, num_cells: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of cells with an edge of the mesh between them, sorted, and the shortest way over one."""
    src = surface.ring_src.numpy()
    dst = np.repeat(np.arange(len(cell)), surface.ring_ptr.diff().numpy())
    between = np.flatnonzero(cell[src] != cell[dst])
    src, dst = src[between], dst[between]
    length = distance[src] + surface.ring_radius.numpy()[between] + distance[dst]
    src, dst = cell[src], cell[dst]
    order = sorted_into_rows(torch.from_numpy(src), num_cells)[1].numpy()
    order = order[sorted_into_rows(torch.from_numpy(dst[order]), num_cells)[1].numpy()]
    src, dst = src[order], dst[order]
    first = np.flatnonzero(np.append(True, (np.diff(src) != 0) | (np.diff(dst) != 0))[: len(src)])
    return dst[first], src[first], np.minimum.reduceat(length[order], first) if len(first) else length
