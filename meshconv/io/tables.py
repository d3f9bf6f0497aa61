"""CSV tables without formulas that a spreadsheet would run."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from meshconv.io.cache.atomic import atomic_write

# What spreadsheets take for the beginning of a formula (OWASP, "CSV injection"), also in full width; and where cells
# begin, in a spreadsheet that separates by semicolons or tabs as well.
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=\s*[\"']?\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows, UTF-8; the file appears as a whole or not at all.

    Text that a spreadsheet would run as a formula, such as a class called ``=cmd|...`` or ``a;=cmd|...``, gets an
    apostrophe in front of it.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([_inert(value) for value in row] for row in (header, *rows))


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        float(value)
    except ValueError:
        return _FORMULA.sub(r"\1'", value)
    return value
