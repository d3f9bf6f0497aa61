"""Progress of long computations: a bar on a terminal, a line per minute otherwise."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

SECONDS = 60.0
# Shorter computations are not mentioned.
DELAY = 2.0

_T = TypeVar("_T")


class Pace:
    """Whether another line is due; the first is, after ``seconds``."""

    def __init__(self, seconds: float | None = None):
        self.seconds = SECONDS if seconds is None else seconds
        self.last = time.monotonic()

    def due(self) -> bool:
        """True at most once in ``seconds``."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


class Progress:
    """A bar, or lines, of ``total`` things; a context manager.

    Parameters
    ----------
    total
    what
        Shown in front.
    unit
        Name of one of the things.
    """

    def __init__(self, total: int, what: str, unit: str = "it"):
        self.total, self.what, self.unit, self.done = total, what, unit, 0
        self._pace = Pace()
        self._bar = tqdm(total=total, desc=what, unit=unit, leave=False, delay=DELAY) if sys.stderr.isatty() else None

    def update(self, count: int = 1) -> None:
        """Advance by a number of items."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._pace.due():
            log.info("%s: %d of %d (%s)", self.what, self.done, self.total, self.unit)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def track(things: Sequence[_T], what: str, unit: str = "it") -> Iterator[_T]:
    """The things one by one, with :class:`Progress`."""
    with Progress(len(things), what, unit) as bar:
        for thing in things:
            yield thing
            bar.update()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """The time spent so far, of one long call that does not report how far it is."""
    done = threading.Event()

    def watch() -> None:
        if done.wait(DELAY):
            return
        if not sys.stderr.isatty():
            start = time.monotonic() - DELAY
            while not done.wait(SECONDS):
                log.info("%s: %.0f s", what, time.monotonic() - start)
            return
        with tqdm(desc=what, bar_format="{desc}: {elapsed}", leave=False) as bar:
            while not done.wait(1):
                bar.refresh()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
