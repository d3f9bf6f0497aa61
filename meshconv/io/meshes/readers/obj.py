"""Wavefront OBJ: vertices, polygons, colours, groups and materials as the file numbers them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.meshes.readers.obj_arrays import read_plain_obj
from meshconv.io.text import read_text

_CONTINUED = re.compile(r"\\[ \t]*\n")
_AFTER_SLASH = re.compile(r"/\S*")
# Statements that hold for all polygons after them, and what the data are called.
_STATES = {"g": "group", "o": "object", "usemtl": "material"}


def read_obj(path: Path) -> PolygonFile:
    """Read the ``v``, ``f`` (of old ``fo``), ``g``, ``o`` and ``usemtl`` lines of an OBJ file, and no others.

    A reader of its own, because general ones cut the surface at texture seams and group borders, renumber the vertices
    and take index 0 for the last vertex. Negative indices count back from the vertices read so far.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Vertex data ``color`` (as written, float64 ``[V, 3]``) if every vertex has one; polygon data ``group``,
        ``object`` and ``material`` (names, "" before the first) if the file names any.

    Raises
    ------
    InputError
        A line that is not numbers, a vertex with fewer than three, an index 0.
    """
    plain = read_plain_obj(path)
    if plain is not None:
        colours = {} if plain.colors is None else {"color": plain.colors}
        of_key: dict[str, list[tuple[int, str]]] = {key: [] for key in _STATES}
        for at, line in plain.others:
            _note(of_key, at, line)
        return PolygonFile(plain.vertices, plain.corners - 1, plain.sizes, colours, _data(of_key, len(plain.sizes)))
    text = _CONTINUED.sub(" ", read_text(path))
    coordinates: list[list[str]] = []
    polygons: list[list[str]] = []
    seen: list[int] = []
    vertex_lines: list[int] = []
    face_lines: list[int] = []
    states: dict[str, list[tuple[int, str]]] = {key: [] for key in _STATES}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.partition("#")[0]
        key, *words = line.split() or ("",)
        if key == "v":
            coordinates.append(words)
            vertex_lines.append(number)
        elif key in ("f", "fo"):
            polygons.append(_AFTER_SLASH.sub("", line).split()[1:] if "/" in line else words)
            seen.append(len(coordinates))
            face_lines.append(number)
        else:
            _note(states, len(polygons), line)
    short = next((i for i, row in enumerate(coordinates) if len(row) < 3), None)
    if short is not None:
        raise InputError(
            f"{path}: line {vertex_lines[short]} ('v') has {len(coordinates[short])} values, at least 3 are needed; "
            "the file may be truncated"
        )
    sizes = np.array([len(p) for p in polygons], dtype=np.int64)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    try:
        vertices = np.array([row[:3] for row in coordinates], dtype=np.float64).reshape(-1, 3)
        colors = {}
        if coordinates and all(len(row) in (6, 7) for row in coordinates):
            colors["color"] = np.array([row[3:6] for row in coordinates], dtype=np.float64)
        corners = np.array([corner for p in polygons for corner in p], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        reason = first_line(error)
        raise InputError(f"{path}: not a number in a 'v' or 'f' line ({reason}); export the mesh again") from error
    zero = np.flatnonzero(corners == 0)
    if len(zero):
        where = face_lines[owner[zero[0]]]
        raise InputError(f"{path}: line {where} ('f') uses index 0; OBJ counts vertices from 1")
    corners = np.where(corners > 0, corners - 1, corners + np.array(seen, dtype=np.int64)[owner])
    return PolygonFile(vertices, corners, sizes, colors, _data(states, len(sizes)))


def _note(states: dict[str, list[tuple[int, str]]], at: int, line: str) -> None:
    """Keep a line that holds for the polygons from number ``at`` on, if it is one."""
    line = line.partition("#")[0].strip()
    key = (line.split() or [""])[0]
    if key in states:
        states[key].append((at, line[len(key) :].strip()))


def _data(states: dict[str, list[tuple[int, str]]], num_polygons: int) -> dict[str, NDArray[np.str_]]:
    return {_STATES[key]: _names(changes, num_polygons) for key, changes in states.items() if changes}


def _names(changes: list[tuple[int, str]], num_polygons: int) -> NDArray[np.str_]:
    """The name in force at each polygon."""
    at = np.array([0] + [i for i, _ in changes])
    names = np.array(["", *(name for _, name in changes)])
    return np.repeat(names, np.diff(at, append=num_polygons))


FORMATS = (MeshFormat("Wavefront OBJ", (".obj",), read_obj),)
