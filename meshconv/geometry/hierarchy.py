"""Surfaces at several resolutions, with what pooling between them needs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from meshconv.geometry.gauge_graph import GaugeGraph, wrap_angle
from meshconv.geometry.rows import compressed_rows


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
