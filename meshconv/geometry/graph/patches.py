"""Division of a large surface into geodesic patches with a halo, on which local networks give what they give on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Rings


class Patch(NamedTuple):
    """A part of a surface.

    Attributes
    ----------
    points : int64 [n]
        Its points on the finest level, ascending: those it is for, and the halo that a network sees from there.
    rows : int64 [m]
        The points, or the elements, that it is for; each is in one patch.
    """

    points: Tensor
    rows: Tensor

    def of(self, surface: GaugeGraph | Hierarchy) -> GaugeGraph | Hierarchy:
        """Its part of the surface that was divided, on every level."""
        mask = torch.zeros(surface.num_vertices, dtype=torch.bool, device=surface.finest.device)
        mask[self.points.to(mask.device)] = True
        return surface.subset(mask)

    def numbers(self, points: Tensor) -> Tensor:
        """Points of the surface by their numbers in the patch."""
        return torch.searchsorted(self.points, points)


def geodesic_patches(
    surface: GaugeGraph | Hierarchy, reach: Sequence[Rings], max_points: int, elements: Tensor | None = None
) -> list[Patch]:
    r"""Patches of at most ``max_points`` points, halo included.

    The points of the coarsest level are halved by their geodesic distances from two ends far apart, and those halves
    again, until a patch with its halo is small enough. The halo holds every point that an output inside depends on, so
    that outputs of a local network inside are those on the whole surface, to the rounding of sums.

    Parameters
    ----------
    surface : GaugeGraph or Hierarchy
        One surface or a batch, on the CPU.
    reach : sequence of Rings
        Of the network, a pair for each level, finest first.
    max_points : int
    elements : int64 Tensor [n, k], optional
        Points of each face or edge, where outputs are for these; an element goes with its first point.

    Returns
    -------
    list of Patch

    Raises
    ------
    InputError
        One point of the coarsest level sees more than ``max_points``.

    Notes
    -----
    ``tests/test_patches.py`` compares with the whole.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> surface = HealpixSphere(16).hierarchy(2)
    >>> found = geodesic_patches(surface, [Rings(2, 1), Rings(1)], max_points=1500)
    >>> sorted(torch.cat([patch.rows for patch in found]).tolist()) == list(range(3072))
    True
    >>> max(len(patch.points) for patch in found) <= 1500
    True
    """
    levels = surface.levels if isinstance(surface, Hierarchy) else [surface]
    if len(reach) != len(levels):
        raise ValueError(f"{len(reach)} pairs of rings for {len(levels)} levels")
    owner = torch.arange(levels[0].num_vertices)
    for pool in surface.pools if isinstance(surface, Hierarchy) else []:
        owner = pool.parent[owner]
    of_rows = owner if elements is None else owner[elements[:, 0]]
    coarse, found = levels[-1], []
    size = (coarse.num_vertices, coarse.num_vertices)
    near = csr_array((coarse.log_radius.double().numpy(), (coarse.dst.numpy(), coarse.src.numpy())), shape=size)
    waiting = [np.arange(coarse.num_vertices)]
    while waiting:
        group = waiting.pop()
        mine = torch.zeros(coarse.num_vertices, dtype=torch.bool)
        mine[torch.from_numpy(group)] = True
        rows = mine[of_rows].nonzero()[:, 0]
        if not len(rows):
            continue
        points = seen_points(surface, reach, rows if elements is None else elements[rows].unique())
        if len(points) <= max_points:
            found.append(Patch(points, rows))
        elif len(group) > 1:
            waiting += _halves(near[group][:, group], group)
        else:
            raise InputError(
                f"max_vertices {max_points}: the network sees {len(points)} vertices from one point of its coarsest "
                "level; set at least some times as many, or fewer levels and blocks"
            )
    return found


def seen_points(surface: GaugeGraph | Hierarchy, reach: Sequence[Rings], points: Tensor) -> Tensor:
    """Points of the finest level, ascending, that outputs of a network at some ``points`` depend on."""
    if isinstance(surface, GaugeGraph):
        return _grown(surface, points, reach[0].down + reach[0].up)
    wanted, skipped = points, []
    for level, pool, rings in zip(surface.levels, surface.pools, reach, strict=False):
        skipped.append(_grown(level, wanted, rings.up))
        wanted = pool.parent[skipped[-1]].unique()
    seen = _grown(surface.levels[-1], wanted, reach[-1].down + reach[-1].up)
    steps = list(zip(surface.levels, surface.pools, reach, skipped, strict=False))
    for level, pool, rings, skip in reversed(steps):
        members = pool.child[_entries(pool.child_ptr, seen)]
        seen = _grown(level, torch.cat([members, skip]), rings.down)
    return seen


def _grown(graph: GaugeGraph, points: Tensor, rings: int) -> Tensor:
    """Points and their neighbours up to a number of rings, ascending."""
    seen = torch.zeros(graph.num_vertices, dtype=torch.bool)
    seen[points] = True
    front = points
    for _ in range(rings):
        near = graph.src[_entries(graph.dst_ptr, front)]
        front = near[~seen[near]].unique()
        seen[front] = True
    return seen.nonzero()[:, 0]


def _entries(ptr: Tensor, rows: Tensor) -> Tensor:
    """Places of the entries of some rows."""
    count = ptr[rows + 1] - ptr[rows]
    first = ptr[rows] - (count.cumsum(0) - count)
    return torch.repeat_interleave(first, count) + torch.arange(int(count.sum()))


def _halves(near: csr_array, group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Two halves of a group, by the distances ``near`` among its points; what is apart is not cut."""
    from_first = dijkstra(near, directed=False, indices=0)
    apart = ~np.isfinite(from_first)
    if apart.any():
        return [group[apart], group[~apart]]
    one = dijkstra(near, directed=False, indices=int(from_first.argmax()))
    other = dijkstra(near, directed=False, indices=int(one.argmax()))
    order = np.argsort(one - other, kind="stable")
    return [group[part] for part in np.array_split(order, 2)]
