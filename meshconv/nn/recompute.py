"""Activation checkpointing: what a block has inside is computed again for the derivative instead of kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


class _State(threading.local):
    again = False


_STATE = _State()


class Recomputable:
    """Base of modules that activation checkpointing computes twice; ``forward`` calls :meth:`run`."""

    training: bool
    recompute = False
    """Activation checkpointing: in training its input alone stays in memory, and the rest is computed twice.

    The same numbers as without, random ones too; running statistics count the first pass alone.
    """

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """``function(*args)``, again for the derivative where that is wanted."""
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return function(*args)
        found: T = checkpoint(function, *args, use_reentrant=False, context_fn=_contexts)
        return found


def recompute_inside(network: nn.Module, on: bool = True) -> int:
    """Set :attr:`Recomputable.recompute` everywhere in a network, and say how many modules have it."""
    found = [module for module in network.modules() if isinstance(module, Recomputable)]
    for module in found:
        module.recompute = on
    return len(found)


def is_recomputing() -> bool:
    """Whether this is a second pass."""
    return _STATE.again


@contextmanager
def _second_pass() -> Iterator[None]:
    before, _STATE.again = _STATE.again, True
    try:
        yield
    finally:
        _STATE.again = before


def _contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), _second_pass()
