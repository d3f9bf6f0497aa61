"""Surfaces at several resolutions, with what pooling between them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from meshconv.geometry.graph.gauge_graph import GaugeGraph, wrap_angle
from meshconv.geometry.graph.rows import compressed_rows
from meshconv.geometry.graph.subset import subset_hierarchy
from meshconv.geometry.graph.validation import EDGE_FIELDS


@dataclass(frozen=True, eq=False)
class Pooling:
    """Each fine point's place in a cluster of the next coarser level.

    Attributes
    ----------
    parent : int64 [V_fine]
    child_ptr, child : int64 [V_coarse + 1], int64 [V_fine]
        Members of cluster ``c`` are ``child[child_ptr[c]:child_ptr[c + 1]]``.
    log_radius, log_angle, transporter : [V_fine]
        The fine point seen from its parent; components at the fine point, turned by ``transporter``, are
        components at the parent.
    reflected : bool [V_fine], optional
        Fine points whose components are reflected before they turn (see :class:`GaugeGraph`).
    """

    parent: Tensor
    child_ptr: Tensor
    child: Tensor
    log_radius: Tensor
    log_angle: Tensor
    transporter: Tensor
    reflected: Tensor | None = None

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

    @property
    def num_fine(self) -> int:
        return self.parent.shape[0]

    @property
    def num_coarse(self) -> int:
        return self.child_ptr.shape[0] - 1

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

    @staticmethod
    def batch(poolings: Sequence[Pooling]) -> Pooling:
        """Clusters of the disjoint union of the surfaces, in the order given."""
        fine = [0, *accumulate(p.num_fine for p in poolings)]
        coarse = [0, *accumulate(p.num_coarse for p in poolings)]
        reflected = None
        if any(p.reflected is not None for p in poolings):
            still = [torch.zeros_like(p.parent, dtype=torch.bool) for p in poolings]
            both = zip(poolings, still, strict=True)
            reflected = torch.cat([s if p.reflected is None else p.reflected for p, s in both])
        starts = [p.child_ptr[:-1] + f for p, f in zip(poolings, fine, strict=False)]
        return Pooling(
            parent=torch.cat([p.parent + c for p, c in zip(poolings, coarse, strict=False)]),
            child_ptr=torch.cat([*starts, starts[0].new_tensor([fine[-1]])]),
            child=torch.cat([p.child + f for p, f in zip(poolings, fine, strict=False)]),
            reflected=reflected,
            **{k: torch.cat([getattr(p, k) for p in poolings]) for k in EDGE_FIELDS},
        )

    def unbatch(self, fine_ptr: Tensor, coarse_ptr: Tensor) -> list[Pooling]:
        """The poolings of a batch whose surfaces' points these are on both sides, the inverse of :meth:`batch`."""
        fine, coarse = fine_ptr.tolist(), coarse_ptr.tolist()
        return [
            Pooling(
                parent=self.parent[f0:f1] - c0,
                child_ptr=self.child_ptr[c0 : c1 + 1] - f0,
                child=self.child[f0:f1] - f0,
                reflected=None if self.reflected is None else self.reflected[f0:f1],
                **{k: getattr(self, k)[f0:f1] for k in EDGE_FIELDS},
            )
            for f0, f1, c0, c1 in zip(fine[:-1], fine[1:], coarse[:-1], coarse[1:], strict=True)
        ]

    def validate(self) -> None:
        """Raise ``ValueError`` naming what is wrong: shapes, ranges, empty clusters, order, non-finite numbers."""
        fine, coarse = self.num_fine, self.num_coarse
        for name in ("child", *EDGE_FIELDS):
            found = tuple(getattr(self, name).shape)
            if found != (fine,):
                raise ValueError(f"{name} of a pooling has shape {found}, expected ({fine},)")
        if self.reflected is not None and (self.reflected.shape != (fine,) or self.reflected.dtype != torch.bool):
            found = self.reflected.dtype, tuple(self.reflected.shape)
            raise ValueError(f"reflected of a pooling is {found}, expected bool ({fine},)")
        for name in EDGE_FIELDS:
            bad = (~torch.isfinite(getattr(self, name))).nonzero()
            if len(bad):
                raise ValueError(f"{name} of a pooling is not finite in {len(bad)} places, first at {bad[0].tolist()}")
        if fine and not (int(self.parent.min()) >= 0 and int(self.parent.max()) < coarse):
            span = f"{int(self.parent.min())}..{int(self.parent.max())}"
            raise ValueError(f"parents are {span}, out of range for {coarse} clusters")
        if bool((self.child_ptr.diff() <= 0).any()):
            raise ValueError("a cluster has no members")
        if not torch.equal(self.child, torch.argsort(self.parent, stable=True)):
            raise ValueError("child does not belong to parent; use Pooling.from_parents")
        if not torch.equal(self.child_ptr, compressed_rows(self.parent, coarse)):
            raise ValueError("child_ptr does not belong to parent; use Pooling.from_parents")
        if fine and float(self.log_radius.min()) < 0:
            raise ValueError(f"log_radius of a pooling has negative values, down to {float(self.log_radius.min()):g}")

    def to(self, *args: Any, **kwargs: Any) -> Pooling:
        """Move or cast, as :meth:`GaugeGraph.to`."""
        moved = {}
        for field in fields(self):
            value: Tensor | None = getattr(self, field.name)
            if value is None:
                continue
            if value.is_floating_point():
                moved[field.name] = value.to(*args, **kwargs)
            else:
                device = torch.empty(0).to(value.device).to(*args, **kwargs).device
                moved[field.name] = value.to(device)
        return Pooling(**moved)


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Levels from fine to coarse, and the pooling between each and the next.

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
    def num_vertices(self) -> int:
        return self.levels[0].num_vertices

    @property
    def num_graphs(self) -> int:
        """Surfaces of a batch."""
        return self.levels[0].num_graphs

    @staticmethod
    def batch(hierarchies: Sequence[Hierarchy]) -> Hierarchy:
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
        return Hierarchy(levels, [Pooling.batch(pools) for pools in zip(*(h.pools for h in hierarchies), strict=True)])

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
        those of what is left. ``y[..., mask, :] = x`` brings features on the finest level back to the whole surface.

        Examples
        --------
        >>> from meshconv import HealpixSphere
        >>> sphere = HealpixSphere(8)
        >>> tropics = torch.from_numpy(abs(sphere.xyz[:, 2]) < 0.4)
        >>> [level.num_vertices for level in sphere.hierarchy(3).subset(tropics).levels]
        [288, 80, 24]
        """
        return subset_hierarchy(self, mask)

    def validate(self) -> None:
        """Raise ``ValueError`` naming the level or step and what is wrong with it."""
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
        """Change the gauge of every level; features live on the finest, in the gauge ``alphas[0]``, ``flips[0]``."""
        mirror: list[Any] = [None] * len(self.levels) if flips is None else flips
        levels = [g.change_gauge(a, f) for g, a, f in zip(self.levels, alphas, mirror, strict=True)]
        steps = zip(self.pools, alphas[:-1], alphas[1:], mirror[:-1], mirror[1:], strict=True)
        return Hierarchy(levels, [p.change_gauge(*step) for p, *step in steps])

    def to(self, *args: Any, **kwargs: Any) -> Hierarchy:
        """Move or cast every level, as :meth:`GaugeGraph.to`."""
        return Hierarchy([g.to(*args, **kwargs) for g in self.levels], [p.to(*args, **kwargs) for p in self.pools])
