"""Activation checkpointing: what a block has inside is computed again for the derivative instead of kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch.utils.checkpoint import checkpoint


class _State(threading.local):
    again = False


_STATE = _State()


def recomputed(function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, of whose derivative the arguments alone stay in memory.

    The same numbers as without, random ones too; running statistics count the first pass alone.
    """
    return checkpoint(function, *args, use_reentrant=False, context_fn=_contexts)


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
