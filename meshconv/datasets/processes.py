"""Parallel map over files, with results in their order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from typing import Any, TypeVar

import torch

from meshconv.errors import InputError, first_line
from meshconv.extras import require

T = TypeVar("T")
R = TypeVar("R")

# Fewer items than this are computed sooner than processes are started.
_WORTH_PROCESSES = 16
# Items in the hands of each process and waiting for it: results of one slow item do not gather without bound.
_AHEAD = 4


def map_in_order(
    compute: Callable[[T], R], items: Sequence[T], workers: int | None = None, scheduler: str | None = None
) -> Generator[R, None, None]:
    """``map(compute, items)``, computed in processes of one thread each, here or of a cluster.

    Close the iterator to end the processes early; an interruption of the program ends them as well.

    Parameters
    ----------
    compute, items
        Picklable, results too.
    workers
        Processes; 0 is this one. None: on Linux one for each core if there is enough to do, elsewhere 0, since
        processes start afresh there and a script has to be written for that.
    scheduler
        Address of a ``dask.distributed`` scheduler whose workers compute instead: ``"tcp://HOST:8786"``.

    Raises
    ------
    InputError
        A process was ended from outside; or there is no scheduler at the address.
    """
    if scheduler is not None and items:
        yield from _of_cluster(compute, items, scheduler)
        return
    linux = sys.platform == "linux"
    method = multiprocessing.get_start_method(allow_none=True) or ("fork" if linux else None)
    if workers is None:
        alone = multiprocessing.current_process().daemon  # such processes may not have any of their own
        cores = len(os.sched_getaffinity(0)) if linux and method == "fork" and not alone else 1
        workers = cores if cores > 1 and len(items) >= _WORTH_PROCESSES else 0
    count = min(workers, len(items))
    if count == 0:
        yield from map(compute, items)
        return
    pool = ProcessPoolExecutor(count, multiprocessing.get_context(method), _start_worker)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(compute, item))
            if len(waiting) > _AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenExecutor as error:
        raise InputError(
            f"one of {count} worker processes was ended from outside, often for want of memory; use fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _of_cluster(compute: Callable[[T], R], items: Sequence[T], address: str) -> Generator[R, None, None]:
    require("a scheduler", "cluster")
    from distributed import Client

    try:
        client = Client(address, timeout=30, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError: of an address of unknown kind
        said = f"scheduler {address!r}: nothing answers there ({first_line(error)})"
        raise InputError(f"{said}; give the address that dask scheduler prints") from error
    with client:
        ahead = _AHEAD * max(len(client.scheduler_info()["workers"]), 1)
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(client.submit(compute, item, pure=False))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _start_worker() -> None:
    """One thread, since there are other processes; signals end it without a word, the parent reports."""
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
