"""Text files in any Unicode encoding, with any line ends, and their numbers."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}


def decode_text(content: bytes) -> str:
    r"""Text of a file's bytes, its lines ended by ``"\n"`` alone, without byte order marks.

    The encoding is that of the byte order mark. Without one it is UTF-16 if every other byte of the beginning is zero,
    else UTF-8, and Latin-1 if it is not that either: no byte is lost and nothing is refused.

    Examples
    --------
    >>> decode_text("v 0\r\nv 1\r".encode("utf-16"))
    'v 0\nv 1\n'
    >>> decode_text("\ufeffTür".encode()), decode_text("Tür".encode("latin-1"))
    ('Tür', 'Tür')
    """
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS[mark] if mark else _unmarked(content[:64])
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        text = content[len(mark) :].decode("latin-1" if encoding == "utf-8" else encoding, errors="replace")
    # A mark in the middle is where one file was written behind another; what ends a text in memory, or in DOS, is none.
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n").rstrip("\0\x1a")


def read_text(path: str | os.PathLike[str]) -> str:
    """:func:`decode_text` of a file; raises ``OSError`` as opening it does."""
    return decode_text(Path(path).read_bytes())


def as_type(values: NDArray, dtype: np.dtype) -> NDArray:
    """Numbers read from text as those of the type that the file declares; ``ValueError`` if it cannot hold one.

    Examples
    --------
    >>> as_type(np.array([3.0, 4294967299.0]), np.dtype(np.int32))
    Traceback (most recent call last):
        ...
    ValueError: 4294967299 is no int32
    """
    with np.errstate(all="ignore"):
        found = values.astype(dtype)
    if dtype.kind in "iu" and (wrong := found != values).any():
        raise ValueError(f"{values[wrong][0]:.15g} is no {dtype.name}")
    return found


def _unmarked(beginning: bytes) -> str:
    even, odd = beginning[0::2], beginning[1::2]
    if len(odd) > 1 and not any(odd) and all(even):
        return "utf-16-le"
    if len(odd) > 1 and not any(even) and all(odd):
        return "utf-16-be"
    return "utf-8"
