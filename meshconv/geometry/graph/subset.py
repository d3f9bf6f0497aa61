"""Parts of surfaces: the points of a mask, with the neighbours and clusters that are left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from meshconv.geometry.graph.rows import compressed_rows, transposed_rows
from meshconv.geometry.graph.validation import EDGE_FIELDS, VERTEX_FIELDS

if TYPE_CHECKING:
    from meshconv.geometry.graph.gauge_graph import GaugeGraph
    from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling


def subset_graph(graph: GaugeGraph, mask: Tensor) -> GaugeGraph:
    """The points of ``mask`` and the edges between them, see :meth:`GaugeGraph.subset`."""
    mask = torch.as_tensor(mask, device=graph.device)
    if mask.shape != (graph.num_vertices,) or mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)}, expected bool ({graph.num_vertices},)")
    number = mask.cumsum(0) - 1
    kept = mask[graph.src] & mask[graph.dst]
    src, dst = number[graph.src[kept]], number[graph.dst[kept]]
    count = int(mask.sum())
    dst_ptr = compressed_rows(dst, count)
    src_ptr, src_edge = transposed_rows(dst_ptr, src, count)
    return replace(
        graph,
        src=src,
        dst=dst,
        dst_ptr=dst_ptr,
        src_ptr=src_ptr,
        src_edge=src_edge,
        graph_ptr=torch.nn.functional.pad(mask.cumsum(0), (1, 0))[graph.graph_ptr],
        reflected=None if graph.reflected is None else graph.reflected[kept],
        **{name: getattr(graph, name)[mask] for name in VERTEX_FIELDS},
        **{name: getattr(graph, name)[kept] for name in EDGE_FIELDS},
    )


def subset_hierarchy(hierarchy: Hierarchy, mask: Tensor) -> Hierarchy:
    """The points of ``mask`` and the clusters that keep one, see :meth:`Hierarchy.subset`."""
    levels, pools = [subset_graph(hierarchy.levels[0], mask)], []
    for pool, coarse in zip(hierarchy.pools, hierarchy.levels[1:], strict=True):
        mask = torch.as_tensor(mask, device=coarse.device)
        parents = torch.zeros(pool.num_coarse, dtype=torch.bool, device=mask.device)
        parents[pool.parent[mask]] = True
        left = _subset_pooling(pool, mask, parents)
        areas = levels[-1].areas
        sums = areas.new_zeros(left.num_coarse).index_add_(0, left.parent, areas)
        levels.append(replace(subset_graph(coarse, parents), areas=sums))
        pools.append(left)
        mask = parents
    return replace(hierarchy, levels=levels, pools=pools)


def _subset_pooling(pool: Pooling, mask: Tensor, parents: Tensor) -> Pooling:
    parent = (parents.cumsum(0) - 1)[pool.parent[mask]]
    child = torch.argsort(parent, stable=True)
    return replace(
        pool,
        parent=parent,
        child=child,
        child_ptr=compressed_rows(parent, int(parents.sum())),
        reflected=None if pool.reflected is None else pool.reflected[mask],
        **{name: getattr(pool, name)[mask] for name in EDGE_FIELDS},
    )
