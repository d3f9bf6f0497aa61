"""Size limit of a cache folder, with eviction of the least recently used entries."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from meshconv.errors import InputError

_DEFAULT = "10G"
_UNITS = {"": 10**9, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
# What is left of the limit, so that not every new entry has the folder looked at.
_KEPT = 0.9


def size_limit() -> int:
    """``MESHCONV_CACHE_SIZE`` in bytes: a number with k, M, G or T, without one gigabytes; 10 GB by default.

    Raises
    ------
    InputError
        Something else.
    """
    text = os.environ.get("MESHCONV_CACHE_SIZE", "").strip() or _DEFAULT
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kmgt]?)b?", text.lower())
    if match is None or float(match[1]) == 0:
        raise InputError(
            f"MESHCONV_CACHE_SIZE {text!r} is no size; give a number above 0 with k, M, G or T, such as {_DEFAULT}; "
            "no cache at all: MESHCONV_CACHE="
        )
    return int(float(match[1]) * _UNITS[match[2]])


def mark_used(path: Path) -> None:
    """Set the time of an entry to now, where that is allowed."""
    with suppress(OSError):  # a folder to read alone
        os.utime(path)


def evict(entries: Iterable[Path], limit: int) -> tuple[int, float]:
    """Remove entries, the longest unused first, if they take more than ``limit`` bytes: to nine tenths of it.

    Returns
    -------
    room, newest
        Bytes that may be added now, and when the newest of the removed ones was used (seconds since 1970; 0: none).
    """
    found = []
    for path in entries:
        try:
            status = path.stat()
        except OSError:
            continue  # another process was faster
        found.append((status.st_mtime, status.st_size, path))
    total, newest = sum(size for _, size, _ in found), 0.0
    if total > limit:
        for used, size, path in sorted(found):
            if total <= _KEPT * limit:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # in use, on systems that then refuse
            total, newest = total - size, used
    return max(limit - total, 0), newest
