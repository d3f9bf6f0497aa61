"""OFF and COFF: vertices and polygons with their colours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.io.meshes.polygons import PolygonFile

_HEADER = re.compile(r"\s*(ST)?(C)?(N)?OFF", re.IGNORECASE)


def read_off(path: Path) -> PolygonFile:
    """Read an ASCII OFF file, with or without colours of vertices (COFF) and of faces.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Vertex data ``color`` of COFF files; polygon data ``color`` if every polygon has one: ``[., 3 or 4]``,
        uint8 if all are written as integers to 255, else float64.

    Raises
    ------
    InputError
        Not this format, fewer lines than the header promises, or something that is not a number.
    """
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = [line for line in (raw.partition("#")[0].strip() for raw in text.splitlines()) if line]
    header = _HEADER.match(lines[0]) if lines else None
    if header is None:
        raise InputError(f"{path}: cannot be read as 'off': the first word is not OFF; check the format")
    # Some exporters write the counts on the line of the first word.
    rest = lines[0][header.end() :].strip()
    lines = [rest, *lines[1:]] if rest else lines[1:]
    try:
        num_vertices, num_polygons = (int(n) for n in lines[0].split()[:2])
    except (IndexError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as 'off': the number of vertices and faces is missing; export it as ASCII again"
        ) from error
    if min(num_vertices, num_polygons) < 0 or len(lines) < 1 + num_vertices + num_polygons:
        raise InputError(
            f"{path}: cannot be read as 'off': {num_vertices} vertices and {num_polygons} faces promised, "
            f"{len(lines) - 1} lines found; the file is truncated"
        )
    rows = [line.split() for line in lines[1 : 1 + num_vertices]]
    polygons = [line.split() for line in lines[1 + num_vertices : 1 + num_vertices + num_polygons]]
    try:
        vertices = np.array([row[:3] for row in rows], dtype=np.float64).reshape(num_vertices, 3)
        sizes = np.array([int(row[0]) for row in polygons], dtype=np.int64)
        short = next((i for i, row in enumerate(polygons) if not 1 <= int(row[0]) < len(row)), None)
        if short is not None:
            raise InputError(
                f"{path}: face {short} ('{' '.join(polygons[short])[:60]}') has fewer corners than it promises; "
                "the file is truncated or damaged"
            )
        corners = np.array([c for row in polygons for c in row[1 : int(row[0]) + 1]], dtype=np.int64)
        vertex_data = _colors([row[6 if header[3] else 3 :] for row in rows] if header[2] else [])
        polygon_data = _colors([row[int(row[0]) + 1 :] for row in polygons])
    except (ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as 'off' ({error}); the file is truncated or damaged") from error
    return PolygonFile(vertices, corners, sizes, vertex_data, polygon_data)


def _colors(rows: list[list[str]]) -> dict[str, NDArray]:
    """``color`` if every row has three or four numbers (a single one is an index into a colour map: left out)."""
    if not rows or len({len(row) for row in rows}) != 1 or len(rows[0]) not in (3, 4):
        return {}
    values = np.array(rows, dtype=np.float64)
    whole = all(entry.isdigit() for row in rows for entry in row) and values.max() <= 255
    return {"color": values.astype(np.uint8) if whole else values}
