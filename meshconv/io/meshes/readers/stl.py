"""STL, binary and ASCII: triangles, the solids they belong to, and the attribute behind each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.text import decode_text

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEAD = 84
_SOLID = re.compile(r"^[ \t]*solid\b[ \t]*([^\n]*)", re.IGNORECASE | re.MULTILINE)
_VERTEX = re.compile(r"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)
_FACET = re.compile(r"\bfacet\s+normal\b", re.IGNORECASE)


def read_stl(path: Path) -> PolygonFile:
    """Read an STL file. Every triangle has vertices of its own; welding is the caller's.

    It is binary if the number of triangles in its header makes up its size, or if it does not begin as text: a binary
    file may begin with "solid" too, and many have bytes behind the last triangle.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Polygon data ``attribute`` (uint16; colours, to some programs) of binary files that use it, ``part`` (names) of
        ASCII files with several solids.

    Raises
    ------
    InputError
        Fewer triangles than promised, or something that is not a number.
    """
    content = path.read_bytes()
    try:
        return _read_binary(content) if _is_binary(content) else _read_ascii(decode_text(content))
    except ValueError as error:
        raise InputError(
            f"{path}: cannot be read as 'stl' ({first_line(error)}); the file is truncated or damaged"
        ) from error


def _is_binary(content: bytes) -> bool:
    if len(content) < _HEAD:
        return False
    count = int(np.frombuffer(content, "<u4", 1, _HEAD - 4)[0])
    fits = _HEAD + count * _TRIANGLE.itemsize
    if fits == len(content):
        return True
    text = decode_text(content[:1024]).lower()  # as text it has no zero bytes, whatever its encoding
    return "\0" in text or not ("solid" in text or "facet" in text)


def _read_binary(content: bytes) -> PolygonFile:
    count = int(np.frombuffer(content, "<u4", 1, _HEAD - 4)[0])
    if count * _TRIANGLE.itemsize > len(content) - _HEAD:
        raise ValueError(f"{count} triangles promised in {len(content) - _HEAD} bytes")
    table = np.frombuffer(content, _TRIANGLE, count, _HEAD)
    attribute = table["attribute"].astype(np.uint16)
    data: dict[str, NDArray] = {"attribute": attribute} if attribute.any() else {}
    return _triangles(table["corners"].reshape(-1, 3).astype(np.float64), data)


def _read_ascii(text: str) -> PolygonFile:
    """Vertices by three, with or without the words that close what they are in."""
    if "vertex" not in text.lower():
        raise ValueError("not a valid header, and no vertices as text")
    found = list(_VERTEX.finditer(text))
    vertices = np.array([match.groups() for match in found], dtype=np.float64).reshape(-1, 3)
    facets = len(_FACET.findall(text))
    if len(vertices) % 3 or len(vertices) != 3 * facets:
        raise ValueError(f"{len(vertices)} vertices for {facets} triangles")
    solids = list(_SOLID.finditer(text))
    data: dict[str, NDArray] = {}
    if len(solids) > 1:
        number = np.searchsorted([s.start() for s in solids], [m.start() for m in found[::3]]) - 1
        names = np.array([s[1].strip() or f"solid {i}" for i, s in enumerate(solids)])
        data["part"] = names[np.maximum(number, 0)]
    return _triangles(vertices, data)


def _triangles(vertices: NDArray[np.float64], data: dict[str, NDArray]) -> PolygonFile:
    count = len(vertices) // 3
    return PolygonFile(vertices, np.arange(3 * count), np.full(count, 3), {}, data)


FORMATS = (MeshFormat("STL", (".stl", ".stla", ".stlb"), read_stl, splits_vertices=True),)
