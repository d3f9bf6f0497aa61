"""Division of a surface into parts for processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.distributed.curve import hilbert_order
from meshconv.distributed.graph import DistributedGraph
from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.ops.rows import compressed_rows, transposed_rows

S = TypeVar("S", GaugeGraph, Hierarchy)


class Partition(Sequence[S], Generic[S]):
    """Parts of a surface: part ``r`` is made when it is asked for, so that one after the other can be sent away.

    Attributes
    ----------
    owners : list of int64 Tensor [V]
        On every level the number of the part of each point.
    """

    def __init__(self, surface: S, ranks: int, owners: list[Tensor]):
        self.surface: S = surface
        self.ranks, self.owners = ranks, owners
        levels = surface.levels if isinstance(surface, Hierarchy) else [surface]
        self._hash = hash_of(ranks, *(t for g, o in zip(levels, owners, strict=True) for t in (g.positions, g.src, o)))

    def __len__(self) -> int:
        return self.ranks

    def __getitem__(self, rank: Any) -> S:  # type: ignore[override]
        if not 0 <= rank < self.ranks:
            raise IndexError(f"part {rank} of {self.ranks}")
        origin = torch.tensor([rank, self._hash])
        found: Any
        if isinstance(self.surface, GaugeGraph):
            found = part_of_graph(self.surface, self.owners[0], self.ranks, origin)
        else:
            found = part_of_hierarchy(self.surface, self.owners, self.ranks, origin)
        return found

    def __iter__(self) -> Iterator[S]:
        return (self[rank] for rank in range(self.ranks))


def partition(surface: S, ranks: int, owner: Any = None) -> Partition[S]:
    """Divide a graph, or a hierarchy on all levels, into parts for ``ranks`` processes.

    Points of the coarsest level are divided into ranges along a space-filling curve, each with about the same number
    of points of the finest level; points of finer levels go where their cluster goes, so that pooling exchanges
    nothing. The curve is the order of the points where it is nested, as that of HEALPix (four children of each point
    one after the other): ranges of indices on every level. Otherwise it is a Hilbert curve in space.

    Parameters
    ----------
    surface : GaugeGraph or Hierarchy
        One surface or a batch, on the CPU.
    ranks
    owner : int array [V_coarsest], optional
        Number of the part of each point of the coarsest level, from another library (METIS).

    Returns
    -------
    Partition
        Part ``r``, for process ``r``, is ``found[r]``: a :class:`DistributedGraph`, or a hierarchy of them.

    Raises
    ------
    InputError
        More parts than points on the coarsest level, or a part without points.

    Notes
    -----
    Sums over neighbours have the order of the whole surface. ``tests/test_one_surface.py`` compares with one process.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> parts = partition(HealpixSphere(8).hierarchy(3), 2)
    >>> [level.num_vertices for level in parts[0].levels], parts[1].finest.index[:3]
    ([384, 96, 24], tensor([384, 385, 386]))
    """
    levels: list[GaugeGraph] = surface.levels if isinstance(surface, Hierarchy) else [surface]
    pools: list[Pooling] = surface.pools if isinstance(surface, Hierarchy) else []
    if any(isinstance(level, DistributedGraph) for level in levels):
        raise InputError("the surface is a part already; partition the whole")
    count = levels[-1].num_vertices
    if not 1 <= ranks <= count:
        raise InputError(f"{count} points on the coarsest level cannot be divided into {ranks} parts; use 1 to {count}")
    if owner is None:
        order = np.arange(count)
        if not pools or any(not torch.equal(p.parent, torch.arange(p.num_fine) // 4) for p in pools):
            order = hilbert_order(levels[-1].positions.double().numpy())
        weight = torch.ones(levels[0].num_vertices, dtype=torch.float64)
        for pool in pools:
            weight = weight.new_zeros(pool.num_coarse).index_add(0, pool.parent, weight)
        bounds = even_bounds(weight.numpy()[order], ranks)
        owner = np.empty(count, dtype=np.int64)
        owner[order] = np.repeat(np.arange(ranks), np.diff(bounds))
    owner = torch.as_tensor(owner, dtype=torch.int64)
    if owner.shape != (count,) or set(owner.unique().tolist()) != set(range(ranks)):
        raise InputError(
            f"owner has shape {tuple(owner.shape)} and parts {owner.unique().tolist()[:9]}; expected ({count},), and "
            f"points in every part from 0 to {ranks - 1}"
        )
    owners = [owner]
    for pool in reversed(pools):
        owners.insert(0, owners[0][pool.parent])
    return Partition(surface, ranks, owners)


def even_bounds(weight: NDArray[np.float64], ranks: int) -> NDArray[np.int64]:
    """Bounds ``[ranks + 1]`` of ranges of about the same weight, none of them empty."""
    before = np.concatenate([[0], np.cumsum(weight)])
    bounds = np.searchsorted(before, before[-1] * np.arange(ranks + 1) / ranks, side="right") - 1
    bounds[-1] = len(weight)
    for rank in range(1, ranks):
        bounds[rank] = min(max(bounds[rank], bounds[rank - 1] + 1), len(weight) - ranks + rank)
    return bounds


def hash_of(*things: Any) -> int:
    """Hash of numbers, texts and tensors, below 2**63."""
    found = hashlib.blake2b(digest_size=8)
    for thing in things:
        found.update(thing.contiguous().numpy().data if isinstance(thing, Tensor) else repr(thing).encode())
    return int.from_bytes(found.digest(), "big") >> 1


def part_of_hierarchy(
    whole: Hierarchy, owners: list[Tensor], ranks: int, origin: Tensor, index: list[Tensor] | None = None
) -> Hierarchy:
    """One part of a hierarchy; ``index``: numbers of its points, where it is itself an excerpt."""
    rank = int(origin[0])
    numbers = index or [torch.arange(level.num_vertices) for level in whole.levels]
    levels = [
        part_of_graph(g, owner, ranks, origin, number)
        for g, owner, number in zip(whole.levels, owners, numbers, strict=True)
    ]
    own = [owner == rank for owner in owners]
    steps = zip(whole.pools, own[:-1], own[1:], strict=True)
    return Hierarchy(list(levels), [p.take({"points": fine, "clusters": coarse}) for p, fine, coarse in steps])


def part_of_graph(
    whole: GaugeGraph, owner: Tensor, ranks: int, origin: Tensor, index: Tensor | None = None
) -> DistributedGraph:
    """One part of a graph that has all neighbours of its points, in both directions."""
    rank, v = int(origin[0]), whole.num_vertices
    own = (owner == rank).nonzero()[:, 0]
    mine, theirs = owner[whole.dst] == rank, owner[whole.src] == rank
    edges = mine.nonzero()[:, 0]
    src = whole.src[edges]
    halo = torch.zeros(v, dtype=torch.bool)
    halo[whole.src[mine & ~theirs]] = True
    foreign = halo.nonzero()[:, 0]
    foreign = foreign[torch.argsort(owner[foreign], stable=True)]
    # Pairs of a process and an own point in its halo, in the order in which it has them.
    out = theirs & ~mine
    pairs = torch.unique(owner[whole.dst[out]] * v + whole.src[out])
    place = torch.empty(v, dtype=torch.int64)
    place[torch.cat([own, foreign])] = torch.arange(len(own) + len(foreign))
    dst_ptr = compressed_rows(place[whole.dst[edges]], len(own))
    dst, src_ptr, src_edge = transposed_rows(dst_ptr, place[src], len(own) + len(foreign))
    bounds = torch.searchsorted(own, whole.graph_ptr)
    return DistributedGraph(
        src=place[src],
        dst=dst,
        dst_ptr=dst_ptr,
        src_ptr=src_ptr,
        src_edge=src_edge,
        log_radius=whole.log_radius[edges],
        log_angle=whole.log_angle[edges],
        transporter=whole.transporter[edges],
        frames=whole.frames[own],
        positions=whole.positions[own],
        areas=whole.areas[own],
        scale=whole.scale[own],
        graph_ptr=bounds,
        reflected=None if whole.reflected is None else whole.reflected[edges],
        index=own if index is None else index[own],
        halo_areas=whole.areas[foreign],
        halo_ptr=compressed_rows(owner[foreign], ranks),
        send=place[pairs % v],
        send_ptr=compressed_rows(pairs // v, ranks),
        origin=origin,
    )
