"""Wavefront OBJ: vertices and faces as the file numbers them."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError

_CONTINUED = re.compile(r"\\\r?\n")
_AFTER_SLASH = re.compile(r"/\S*")


def read_obj(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read the ``v`` and ``f`` lines of an OBJ file; everything else is passed over.

    A reader of its own, because general ones cut the surface at texture seams and group borders, renumber the vertices
    and take index 0 for the last vertex. Polygons become fans of triangles; negative indices count
    back from the vertices read so far.

    Parameters
    ----------
    path : Path

    Returns
    -------
    vertices : float64 [V, 3]
    faces : int64 [F, 3]
        In the order of the file's polygons, zero-based, not checked against ``V``.

    Raises
    ------
    InputError
        A line that is not numbers, a vertex with fewer than three, a face with fewer than three, an index 0.
    """
    text = _CONTINUED.sub(" ", path.read_bytes().decode("utf-8", errors="replace"))
    coordinates: list[list[str]] = []
    polygons: list[list[str]] = []
    seen: list[int] = []
    vertex_lines: list[int] = []
    face_lines: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("v ", "v\t")):
            coordinates.append(line.split()[1:4])
            vertex_lines.append(number)
        elif line.startswith(("f ", "f\t")):
            polygons.append(_AFTER_SLASH.sub("", line.partition("#")[0]).split()[1:])
            seen.append(len(coordinates))
            face_lines.append(number)
    for kind, rows, lines in (("v", coordinates, vertex_lines), ("f", polygons, face_lines)):
        short = next((i for i, row in enumerate(rows) if len(row) < 3), None)
        if short is not None:
            raise InputError(
                f"{path}: line {lines[short]} ('{kind}') has {len(rows[short])} values, at least 3 are needed; "
                "the file may be truncated"
            )
    try:
        vertices = np.array(coordinates, dtype=np.float64).reshape(-1, 3)
        by_size: dict[int, list[int]] = defaultdict(list)
        for i, polygon in enumerate(polygons):
            by_size[len(polygon)].append(i)
        triangles, owners = [], []
        for size, members in by_size.items():
            corner = np.array([polygons[i] for i in members], dtype=np.int64)
            if (corner == 0).any():
                where = face_lines[members[int(np.argwhere(corner == 0)[0, 0])]]
                raise InputError(f"{path}: line {where} ('f') uses index 0; OBJ counts vertices from 1")
            count = np.array(seen)[members][:, None]
            corner = np.where(corner > 0, corner - 1, corner + count)
            fan = [corner[:, [0, k, k + 1]] for k in range(1, size - 1)]
            triangles.append(np.stack(fan, axis=1).reshape(-1, 3))
            owners.append(np.repeat(members, size - 2))
    except InputError:
        raise
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a number in a 'v' or 'f' line ({error}); export the mesh again") from error
    if not triangles:
        return vertices, np.zeros((0, 3), dtype=np.int64)
    order = np.argsort(np.concatenate(owners), kind="stable")
    return vertices, np.concatenate(triangles)[order]
