"""Parts, features and gradients on their way between processes."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from meshconv.distributed.graph import DistributedGraph
from meshconv.distributed.parts import partition
from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.ranks import Traffic as Traffic, all_gathered, rank_and_world, sum_over_ranks, traffic as traffic

S = TypeVar("S", GaugeGraph, Hierarchy)


def distribute(surface: S | None, source: int = 0) -> S:
    """The part of this process, of a surface that process ``source`` divides and sends; others give None.

    The source keeps the whole while it does, and makes one part after the other; no other process ever has it.

    Raises
    ------
    InputError
        In all processes, where the source cannot divide the surface.
    """
    rank, world = rank_and_world()
    parts, error = None, None
    if rank == source:
        try:
            if surface is None:
                raise InputError(f"process {source} is to distribute a surface and has none; give it one")
            parts = partition(surface, world)
        except InputError as found:
            error = str(found)
    error = all_gathered(error)[source]
    if error is not None:
        raise InputError(error)
    if parts is None:
        received: list[Any] = [None]
        dist.recv_object_list(received, src=source)
        return received[0]
    for other in range(world):
        if other != rank:
            dist.send_object_list([parts[other]], dst=other)
    return parts[rank]


def collect(y: Tensor, graph: DistributedGraph) -> Tensor:
    """Features ``[..., V, dim]`` of the whole surface in every process, of those of its parts; without derivative."""
    found = all_gathered((graph.index.cpu(), y.detach().cpu()))
    index, values = torch.cat([i for i, _ in found]), torch.cat([v for _, v in found], dim=-2)
    return torch.empty_like(values).index_copy(-2, index, values).to(y.device)


@torch.no_grad()
def sum_gradients(module: nn.Module) -> None:
    """Replace the gradients of a module's parameters by their sums over all processes, in one exchange.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> layer(torch.ones(3, 2)).sum().backward()
    >>> sum_gradients(layer)   # of one process: as they are
    >>> layer.bias.grad
    tensor([3.])
    """
    by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in module.parameters():
        if parameter.grad is not None:
            by_kind.setdefault((parameter.grad.dtype, parameter.grad.device), []).append(parameter.grad)
    for gradients in by_kind.values():
        total = sum_over_ranks(torch.cat([g.flatten() for g in gradients]))
        for gradient, values in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))
