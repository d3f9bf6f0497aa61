"""Processes of a distributed training (``torch.distributed``); alone where there are no others."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor


def rank_and_world() -> tuple[int, int]:
    """Number of this process, and of all."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of the values of all processes, without derivative."""
    world = rank_and_world()[1]
    if world == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / world


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum of the values of all processes, differentiable."""
    if rank_and_world()[1] == 1:
        return value
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(value)


def all_gathered(value: Any) -> list[Any]:
    """The values of all processes, by their numbers."""
    world = rank_and_world()[1]
    if world == 1:
        return [value]
    found: list[Any] = [None] * world
    dist.all_gather_object(found, value)
    return found


def gathered(values: list[Any]) -> list[Any]:
    """Lists of all processes as one: the first of each, then the second of each, and so on."""
    found = all_gathered(values)
    return [values[k] for k in range(max(map(len, found))) for values in found if k < len(values)]
