"""BLAS on one thread, where its products are small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks for them, which takes milliseconds


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Sparse factorisations multiply blocks of a few columns, for which several threads of BLAS take longer than one.

    The limit is the process's. Of several Python threads the first decides (``threadpoolctl``), so whoever starts
    threads asks before.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield
