"""Hierarchies: gauge graphs at several resolutions, and the pooling between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph, wrap_angle
from meshconv.geometry.graph.record import Record, numbers, order, pointers, values
from meshconv.ops.rows import compressed_rows


@dataclass(frozen=True, eq=False)
class Pooling(Record):
    """Pooling: the cluster of the next coarser level of each fine point.

    Attributes
    ----------
    parent : int64 [V_fine]
    child_ptr, child : int64 [V_coarse + 1], int64 [V_fine]
        Members of cluster ``c`` are ``child[child_ptr[c]:child_ptr[c + 1]]``.
    log_radius, log_angle, transporter : [V_fine]
        Log map of the fine point in the frame of its parent; components at the fine point, rotated by ``transporter``,
        are components at the parent.
    reflected : bool [V_fine], optional
        Fine points whose components are reflected before the rotation (see :class:`GaugeGraph`).
    """

    parent: Tensor = numbers("points", of="clusters")
    child_ptr: Tensor = pointers("clusters", of="points", by="child")
    child: Tensor = order("points")
    log_radius: Tensor = values("points")
    log_angle: Tensor = values("points")
    transporter: Tensor = values("points")
    reflected: Tensor | None = values("points", dtype=torch.bool, default=None)

    @classmethod
    def from_parents(
        cls, parent: Any, num_parents: int, log_radius: Any, log_angle: Any, transporter: Any
    ) -> Pooling:
        """Index the members of every cluster; a cluster without members is an error."""
        parent = torch.as_tensor(parent, dtype=torch.int64)
        child = torch.argsort(parent, stable=True)
        child_ptr = compressed_rows(parent, num_parents)
        if child_ptr.shape[0] != num_parents + 1 or bool((child_ptr.diff() == 0).any()):
            raise ValueError(f"parents do not cover 0..{num_parents - 1}: every cluster needs a member")
        real = (torch.as_tensor(a, dtype=torch.float64) for a in (log_radius, log_angle, transporter))
        return cls(parent, child_ptr, child, *real)

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """Members of the clusters, from ``parent``; no cluster is empty."""
        parent = given["parent"]
        count = int(parent.max()) + 1 if len(parent) else 0
        return {"child_ptr": compressed_rows(parent, count), "child": torch.argsort(parent, stable=True)}

    @property
    def num_fine(self) -> int:
        return self.parent.shape[0]

    @property
    def num_coarse(self) -> int:
        return self.child_ptr.shape[0] - 1

    @property
    def sizes(self) -> dict[str, int]:
        return {"points": self.num_fine, "clusters": self.num_coarse}

    def change_gauge(
        self, fine: Tensor, coarse: Tensor, flip_fine: Tensor | None = None, flip_coarse: Tensor | None = None
    ) -> Pooling:
        """Gauge changes of both sides, ``[V_fine]`` and ``[V_coarse]``, as :meth:`GaugeGraph.change_gauge`."""
        f, c = fine.double(), coarse.double()[self.parent]
        if self.reflected is not None:
            f = torch.where(self.reflected, -f, f)
        dtype = self.transporter.dtype
        angle, transporter = self.log_angle.double() - c, self.transporter.double() - c + f
        reflected = self.reflected
        if flip_coarse is not None:
            sense = torch.where(flip_coarse, -1, 1)[self.parent]
            angle, transporter = sense * angle, sense * transporter
        for flip in (flip_fine, None if flip_coarse is None else flip_coarse[self.parent]):
            if flip is not None:
                reflected = flip if reflected is None else flip != reflected
        return replace(
            self,
            log_angle=wrap_angle(angle).to(dtype),
            transporter=wrap_angle(transporter).to(dtype),
            reflected=reflected,
        )

    def unbatch(self, fine_ptr: Tensor, coarse_ptr: Tensor) -> list[Pooling]:
        """The poolings of a batch by the number of points of each surface, the inverse of :meth:`batch`."""
        return self.split({"points": fine_ptr.tolist(), "clusters": coarse_ptr.tolist()})

    def validate(self) -> None:
        """Check shapes, ranges, empty clusters, order and finiteness; raise ``ValueError`` with the field."""
        self.check_fields()
        if bool((self.child_ptr.diff() <= 0).any()):
            raise ValueError("a cluster has no members")
        if not torch.equal(self.child, torch.argsort(self.parent, stable=True)):
            raise ValueError("child does not belong to parent; use Pooling.from_parents")
        if not torch.equal(self.child_ptr, compressed_rows(self.parent, self.num_coarse)):
            raise ValueError("child_ptr does not belong to parent; use Pooling.from_parents")
        if self.num_fine and float(self.log_radius.min()) < 0:
            raise ValueError(f"log_radius has negative values, down to {float(self.log_radius.min()):g}")


@dataclass(frozen=True, eq=False)
class Hierarchy(Record):
    """Hierarchy: levels from fine to coarse, and the pooling between them.

    Attributes
    ----------
    levels : list of GaugeGraph
    pools : list of Pooling
        One fewer than levels.
    """

    levels: list[GaugeGraph]
    pools: list[Pooling]

    def __post_init__(self) -> None:
        sizes = [g.num_vertices for g in self.levels]
        steps = [(p.num_fine, p.num_coarse) for p in self.pools]
        if steps != list(zip(sizes[:-1], sizes[1:], strict=True)):
            raise ValueError(f"levels have {sizes} vertices, but poolings map {steps}")

    @property
    def finest(self) -> GaugeGraph:
        """The finest level, that of the features."""
        return self.levels[0]

    @property
    def num_vertices(self) -> int:
        return self.finest.num_vertices

    @property
    def num_graphs(self) -> int:
        """Surfaces of a batch."""
        return self.finest.num_graphs

    @classmethod
    def batch(cls, hierarchies: Sequence[Hierarchy]) -> Hierarchy:  # type: ignore[override]
        """Disjoint union on every level, in the order given; each surface keeps its own numbers bit for bit.

        Raises
        ------
        ValueError
            An empty list, or different numbers of levels.
        """
        hierarchies = list(hierarchies)
        depths = [len(h.levels) for h in hierarchies]
        if len(set(depths)) != 1:
            raise ValueError(f"hierarchies of a batch need one number of levels, got {depths}")
        levels = [GaugeGraph.batch(graphs) for graphs in zip(*(h.levels for h in hierarchies), strict=True)]
        return cls(levels, [Pooling.batch(pools) for pools in zip(*(h.pools for h in hierarchies), strict=True)])

    def unbatch(self) -> list[Hierarchy]:
        """The surfaces of a batch, the inverse of :meth:`batch`."""
        levels = [g.unbatch() for g in self.levels]
        steps = zip(self.pools, self.levels[:-1], self.levels[1:], strict=True)
        pools = [p.unbatch(fine.graph_ptr, coarse.graph_ptr) for p, fine, coarse in steps]
        return [
            Hierarchy([graphs[k] for graphs in levels], [parts[k] for parts in pools]) for k in range(self.num_graphs)
        ]

    def subset(self, mask: Tensor) -> Hierarchy:
        """The part where ``mask`` (bool ``[V]`` of the finest level) is True, on every level.

        Clusters without a member are removed, neighbours outside are dropped, and the ``areas`` of coarse levels are
        sums over the remaining points. ``y[..., mask, :] = x`` brings features on the finest level back to the whole
        surface.

        Examples
        --------
        >>> from meshconv import HealpixSphere
        >>> sphere = HealpixSphere(8)
        >>> tropics = torch.from_numpy(abs(sphere.xyz[:, 2]) < 0.4)
        >>> [level.num_vertices for level in sphere.hierarchy(3).subset(tropics).levels]
        [288, 80, 24]
        """
        levels, pools = [self.finest.subset(mask)], []
        for pool, coarse in zip(self.pools, self.levels[1:], strict=True):
            mask = torch.as_tensor(mask, device=coarse.device)
            parents = torch.zeros(pool.num_coarse, dtype=torch.bool, device=mask.device)
            parents[pool.parent[mask]] = True
            left = pool.take({"points": mask, "clusters": parents})
            areas = levels[-1].areas
            sums = areas.new_zeros(left.num_coarse).index_add_(0, left.parent, areas)
            levels.append(replace(coarse.subset(parents), areas=sums))
            pools.append(left)
            mask = parents
        return Hierarchy(levels, pools)

    def validate(self) -> None:
        """Check every level and step; raise ``ValueError`` with its number."""
        for k, graph in enumerate(self.levels):
            try:
                graph.validate()
            except ValueError as error:
                raise ValueError(f"level {k}: {error}") from error
        for k, (pool, fine, coarse) in enumerate(zip(self.pools, self.levels[:-1], self.levels[1:], strict=True)):
            try:
                pool.validate()
            except ValueError as error:
                raise ValueError(f"level {k} to {k + 1}: {error}") from error
            if fine.num_graphs != coarse.num_graphs:
                sizes = [g.num_graphs for g in self.levels]
                raise ValueError(f"levels have {sizes} surfaces")
            crossing = int((fine.batch_index != coarse.batch_index[pool.parent]).sum())
            if crossing:
                raise ValueError(f"level {k} to {k + 1}: {crossing} points have their parent on another surface")

    def random_gauge(self, generator: torch.Generator | None = None) -> list[Tensor]:
        """One random gauge per level, for :meth:`change_gauge`."""
        return [g.random_gauge(generator) for g in self.levels]

    def change_gauge(self, alphas: list[Tensor], flips: list[Tensor] | None = None) -> Hierarchy:
        """Change the gauge of every level; features, on the finest, transform by ``alphas[0]``, ``flips[0]``."""
        mirror: list[Any] = [None] * len(self.levels) if flips is None else flips
        levels = [g.change_gauge(a, f) for g, a, f in zip(self.levels, alphas, mirror, strict=True)]
        steps = zip(self.pools, alphas[:-1], alphas[1:], mirror[:-1], mirror[1:], strict=True)
        return Hierarchy(levels, [p.change_gauge(*step) for p, *step in steps])


def check_levels(surface: object, count: int) -> None:
    """Raise ``InputError`` unless a surface is a hierarchy of ``count`` levels, as a network has them."""
    found = getattr(surface, "levels", None)
    if found is None:
        raise InputError(f"the network has {count} levels, the surface is one graph; give mesh.hierarchy({count})")
    if len(found) != count:
        raise InputError(f"the network has {count} levels, the hierarchy {len(found)}; give one with as many")


class Rings(NamedTuple):
    """How far a network sees on one level: its layers over neighbours before pooling, and after unpooling.

    Attributes
    ----------
    down, up : int
        On the coarsest level, and on a graph, ``down`` alone counts.
    """

    down: int
    up: int = 0
