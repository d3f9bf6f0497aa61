"""Halo exchange: features of the points that a process shares with others, differentiable to any order."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from meshconv.ranks import exchange_rows


class HaloPlan(NamedTuple):
    """What a process sends and receives.

    Attributes
    ----------
    send : int64 Tensor [S]
        Own points that others have in their halos, by the process that they are for; for each of them ascending.
    sent, received : lists of int
        Number of points for, and from, each process.
    own : int
        Number of own points.
    """

    send: Tensor
    sent: list[int]
    received: list[int]
    own: int


def halo_of(x: Tensor, plan: HaloPlan) -> Tensor:
    """Features ``[..., H, dim]`` of the halo, for features ``[..., V, dim]`` of own points."""
    return _Halo.apply(x.movedim(-2, 0), plan).movedim(0, -2)


class _Halo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, plan: HaloPlan) -> Tensor:
        ctx.plan = plan
        return exchange_rows(rows.index_select(0, plan.send), plan.sent, plan.received)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Back.apply(grad, ctx.plan), None


class _Back(torch.autograd.Function):
    """The adjoint: what belongs to the halo returns to its owners, who add it up."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, plan: HaloPlan) -> Tensor:
        ctx.plan = plan
        found = exchange_rows(rows, plan.received, plan.sent)
        total = rows.new_zeros(plan.own, *rows.shape[1:])
        # One process after the other: of each a point comes once, so that sums have one order, on any device.
        for first, count in zip(accumulate(plan.sent, initial=0), plan.sent, strict=False):
            if count:
                total.index_add_(0, plan.send[first : first + count], found[first : first + count])
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Halo.apply(grad, ctx.plan), None
