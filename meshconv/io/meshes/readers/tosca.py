"""TOSCA's text format: coordinates in ``cat0.vert``, triangles in ``cat0.tri`` beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.text import read_text


def triangles_beside(path: Path) -> Path:
    """The file with the triangles of a file of vertices, whether it exists or not."""
    other = path.with_suffix(".TRI")
    return other if other.is_file() else path.with_suffix(".tri")


def read_vert(path: Path) -> PolygonFile:
    """Read three coordinates a line, and from the file beside it three vertices a line, from 1 on (or 0 if one is 0).

    Parameters
    ----------
    path : Path
        Ends in ``.vert``.

    Returns
    -------
    PolygonFile

    Raises
    ------
    InputError
        The triangles are missing, or there are other things than three numbers a line.
    """
    triangles = triangles_beside(path)
    if not triangles.is_file():
        raise InputError(f"{path}: there is no {triangles.name} with its triangles; put it beside it")
    vertices, faces = _rows(path), _rows(triangles)
    corners = faces.astype(np.int64)
    if (corners != faces).any():
        raise InputError(f"{triangles}: vertices of triangles are whole numbers; the file is damaged")
    corners -= int(not (corners == 0).any())
    return PolygonFile(vertices, corners.reshape(-1), np.full(len(corners), 3))


def _rows(path: Path) -> NDArray[np.float64]:
    try:
        rows = np.array(read_text(path).split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as numbers ({error}); the file is damaged") from error
    if len(rows) % 3:
        raise InputError(f"{path}: {len(rows)} numbers are not three a line; the file is truncated or damaged")
    return rows.reshape(-1, 3)


FORMATS = (MeshFormat("TOSCA", (".vert",), read_vert),)
