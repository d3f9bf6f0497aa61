"""Formats that trimesh parses: COLLADA, 3DXML, XAML; and any mesh or scene of trimesh as polygons."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, join_pieces
from meshconv.io.unpack import check_expansion, open_archive

_ARCHIVES = ("3dxml", "zae")


def read_with_trimesh(path: Path) -> PolygonFile:
    """Read a file of one part or many.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Parts in their places. Polygon data ``part`` names the part of each face if there are several; colours (RGBA,
        uint8 ``color``) and attributes are kept if all parts have them.

    Raises
    ------
    InputError
        If the parser fails, there are no vertices, or more than the file can hold.
    """
    import trimesh  # half a second, which other formats do without

    kind = path.suffix.lower().lstrip(".")
    if kind in _ARCHIVES:
        open_archive(path).close()
    try:
        with _silent("trimesh"):
            loaded = trimesh.load(str(path), file_type=kind, process=False)
            pieces = trimesh_pieces(loaded, path.stat().st_size)
    # A parser can fail in any way on a damaged file, and all of them mean the same to the user.
    except Exception as error:
        # trimesh asks an optional package to guess the encoding of what should have been text.
        reason = "not a valid header, and not text" if isinstance(error, ImportError) else first_line(error)
        raise InputError(
            f"{path}: cannot be read as '{kind}' ({reason}); the file is truncated, damaged or of another format"
        ) from error
    if not pieces:
        raise InputError(f"{path}: no vertices found; the file is damaged or no '{kind}' mesh")
    joined = join_pieces(pieces, str(path))
    if len(pieces) == 1:
        del joined.polygon_data["part"]
    return joined


def trimesh_pieces(loaded: object, file_size: int | None = None) -> list[PolygonFile]:
    """The parts of a mesh or scene that have vertices, with their names as polygon data ``part``.

    ``ValueError`` if a file of ``file_size`` bytes shows its parts more often than it can honestly.
    """
    import trimesh

    if isinstance(loaded, trimesh.Scene):
        if file_size is not None:
            shown = [loaded.geometry[loaded.graph[node][1]] for node in loaded.graph.nodes_geometry]
            check_expansion(sum(24 * (len(p.vertices) + len(getattr(p, "faces", ()))) for p in shown), file_size)
        parts: Iterable[object] = loaded.dump()
    else:
        parts = [loaded]
    pieces = [_piece(part, _name(part, i)) for i, part in enumerate(parts)]
    return [piece for piece in pieces if len(piece.vertices)]


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a logger quiet: what matters of its messages is in the error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _name(part: object, number: int) -> str:
    return str(getattr(part, "metadata", {}).get("name") or f"part {number}")


def _piece(part: object, name: str) -> PolygonFile:
    """One part, in three dimensions, with its data."""
    vertices = np.asarray(getattr(part, "vertices", np.zeros((0, 3))), dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        vertices = np.zeros((len(vertices), 3))
    faces = np.array(getattr(part, "faces", ()), dtype=np.int64).reshape(-1, 3)
    face_data = {"part": np.full(len(faces), name), **_data(part, "face", len(faces))}
    return PolygonFile(
        vertices, faces.reshape(-1), np.full(len(faces), 3), _data(part, "vertex", len(vertices)), face_data
    )


def _data(part: object, kind: str, size: int) -> dict[str, NDArray]:
    """Attributes of the vertices or faces of a part, and their colours if it is these that have them."""
    found = {}
    for key, values in getattr(part, f"{kind}_attributes", {}).items():
        values = np.asarray(values)
        if values.shape[:1] == (size,):
            found[key] = values
    visual = getattr(part, "visual", None)
    if getattr(visual, "kind", None) == kind:
        colors = np.asarray(getattr(visual, f"{kind}_colors"))
        if colors.shape[:1] == (size,):
            found["color"] = colors
    return found


FORMATS = (
    MeshFormat("3DXML", (".3dxml",), read_with_trimesh),
    MeshFormat("XAML", (".xaml",), read_with_trimesh),
)
