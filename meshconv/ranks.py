"""Processes of a distributed computation (``torch.distributed``); alone where there are no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from meshconv.errors import InputError


@dataclass
class Traffic:
    """What this process has sent to others, in bytes and calls.

    Attributes
    ----------
    exchanged, exchanges
        Rows sent to other processes (:func:`exchange_rows`).
    reduced, reductions
        Values of sums over all processes (:func:`sum_over_ranks`).
    """

    exchanged: int = 0
    exchanges: int = 0
    reduced: int = 0
    reductions: int = 0


_counted: list[Traffic] = []


@contextmanager
def traffic() -> Iterator[Traffic]:
    """What this process sends to others inside of the ``with`` statement, derivatives included.

    Examples
    --------
    >>> with traffic() as sent:
    ...     total = sum_over_ranks(torch.ones(3))   # of one process: nothing is sent
    >>> sent
    Traffic(exchanged=0, exchanges=0, reduced=0, reductions=0)
    """
    found = Traffic()
    _counted.append(found)
    try:
        yield found
    finally:
        _counted[:] = [other for other in _counted if other is not found]


def rank_and_world() -> tuple[int, int]:
    """Number of this process, and of all."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of the values of all processes, without derivative."""
    world = rank_and_world()[1]
    return value if world == 1 else sum_over_ranks(value.detach()) / world


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum of the values of all processes, differentiable to any order.

    The derivative is that of the sum of all processes' losses: gradients are summed over processes, too.
    """
    return value if rank_and_world()[1] == 1 else _Sum.apply(value)


def max_over_ranks(value: Tensor) -> Tensor:
    """Largest of the values of all processes, without derivative."""
    value = value.detach()
    if rank_and_world()[1] > 1:
        dist.all_reduce(value := value.clone(), dist.ReduceOp.MAX)
    return value


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        for count in _counted:
            count.reduced += total.nbytes
            count.reductions += 1
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return _Sum.apply(grad)


def exchange_rows(rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
    """Rows from all other processes, for rows to each of them, without derivative.

    Parameters
    ----------
    rows : Tensor [sum(sent), ...]
        One after the other by the process that they are for.
    sent, received
        How many rows go to, and come from, each process.

    Returns
    -------
    Tensor [sum(received), ...]
        By the process that they are from.
    """
    found = rows.new_empty(sum(received), *rows.shape[1:])
    for count in _counted:
        count.exchanged += rows.nbytes
        count.exchanges += 1
    dist.all_to_all_single(found, rows.contiguous(), list(received), list(sent))
    return found


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


def check_same(hashes: Mapping[str, str]) -> None:
    """Raise an :class:`InputError` where another process has other hashes.

    It names the first process that differs, and in what.
    """
    for rank, others in enumerate(all_gathered(dict(hashes))):
        for name in sorted({*hashes, *others}):
            if others.get(name) != hashes.get(name):
                raise InputError(
                    f"{name}: that of process {rank} is another one than that of process {rank_and_world()[0]}; start "
                    "all of them with the same command on the same files"
                )
