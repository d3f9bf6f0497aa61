"""The plain part of most OBJ files, vertices and polygons alone, read as whole arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_NEWLINE, _SLASH = ord("\n"), ord("/")
_VERTEX = frozenset(b"0123456789+-.eE \t\n")
_FACE = frozenset(b"0123456789-/ \t\n")
_MOST_INDICES = 2**31  # larger ones are wrong, or beyond what is read here
_MOST_OTHERS = 10_000  # lines that are looked at one by one


class PlainObj(NamedTuple):
    """Numbers of ``v`` and ``f`` lines: coordinates and colours ``[V, 3]``, indices of all corners as in the file, of
    which none is 0 or counts back, corners of each polygon, and other lines after so many polygons."""

    vertices: NDArray[np.float64]
    colors: NDArray[np.float64] | None
    corners: NDArray[np.int64]
    sizes: NDArray[np.int64]
    others: list[tuple[int, str]]


def read_plain_obj(path: Path) -> PlainObj | None:
    """The numbers of a file of ``v`` and ``f`` lines and few others, if there is nothing unusual in it, or None.

    What is unusual, wrong lines as well, is the business of :func:`~meshconv.io.meshes.readers.obj.read_obj`, which
    goes line by line; the arrays are the same.
    """
    content = np.frombuffer(path.read_bytes().replace(b"\r\n", b"\n") + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(content == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    kept = ends > starts
    starts, ends = starts[kept], ends[kept]
    if not len(starts):
        return None
    first, second = content[starts], content[starts + 1]
    blank = (second == ord(" ")) | (second == ord("\t"))
    is_vertex, is_face = (first == ord("v")) & blank, (first == ord("f")) & blank
    ignored = (first == ord("#")) | ((first == ord("v")) & ((second == ord("t")) | (second == ord("n"))))
    other = np.flatnonzero(~(is_vertex | is_face | ignored))
    if len(other) > _MOST_OTHERS or (content == ord("\\")).any():  # which continues a line
        return None
    before = np.cumsum(is_face)
    others = [(int(before[k]), content[starts[k] : ends[k]].tobytes()) for k in other]
    if not all(line.isascii() and line.decode("ascii").isprintable() and line[:1].isalpha() for _, line in others):
        return None
    if any(line.split()[0] in (b"v", b"f", b"fo") for _, line in others):
        return None
    vertex_text = _lines(content, starts[is_vertex], ends[is_vertex])
    face_text = _lines(content, starts[is_face], ends[is_face])
    if not (_only(vertex_text, _VERTEX) and _only(face_text, _FACE)):
        return None
    columns = _words(vertex_text)
    if len(columns) == 0 or columns[0] not in (3, 4, 6, 7) or (columns != columns[0]).any():
        return None
    numbers = _numbers(vertex_text, np.float64)
    corners = _numbers(_without_slashes(face_text), np.int64)
    sizes = _words(face_text)
    if numbers is None or corners is None or len(numbers) != columns.sum() or len(corners) != sizes.sum():
        return None
    if len(corners) and (corners.min() <= 0 or corners.max() > _MOST_INDICES):
        return None
    table = numbers.reshape(len(columns), -1)
    colors = table[:, 3:6].copy() if table.shape[1] > 4 else None
    lines = [(polygons, line.decode("ascii")) for polygons, line in others]
    return PlainObj(np.ascontiguousarray(table[:, :3]), colors, corners, sizes, lines)


def _lines(content: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Some lines one after the other, without their first letter, with their ends."""
    step = np.zeros(len(content) + 1, dtype=np.int8)
    step[starts + 1] = 1
    step[ends + 1] -= 1
    return content[np.cumsum(step[:-1], dtype=np.int8).view(bool)]


def _only(text: NDArray[np.uint8], letters: frozenset[int]) -> bool:
    known = np.zeros(256, dtype=bool)
    known[list(letters)] = True
    return bool(known[text].all())


def _words(text: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of words of each line."""
    inside = text > ord(" ")
    begins = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1  # lines begin with a space
    ends = np.flatnonzero(text == _NEWLINE)
    return np.diff(np.searchsorted(begins, ends), prepend=0)


def _without_slashes(text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With spaces for what stands between a slash and the end of its word."""
    slash = text == _SLASH
    if not slash.any():
        return text
    at = np.arange(len(text), dtype=np.int64)
    last_slash = np.maximum.accumulate(np.where(slash, at, -1))
    last_blank = np.maximum.accumulate(np.where(text <= ord(" "), at, -1))
    return np.where(last_slash > last_blank, np.uint8(ord(" ")), text)


def _numbers(text: NDArray[np.uint8], dtype: type) -> NDArray | None:
    if not len(text.tobytes().strip()):
        return np.zeros(0, dtype=dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it warns of what it cannot read
            return np.fromstring(text.tobytes().decode("ascii"), dtype=dtype, sep=" ")
    except (ValueError, OverflowError, DeprecationWarning):
        return None
