"""CSV tables without formulas that a spreadsheet would run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from meshconv.io.cache.atomic import atomic_write

# What spreadsheets take for the beginning of a formula (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows, UTF-8; the file appears as a whole or not at all.

    Text that a spreadsheet would run as a formula, such as a class called ``=cmd|...``, gets an apostrophe in front.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([_inert(value) for value in row] for row in (header, *rows))


def _inert(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
