"""Formats that trimesh parses: STL, glTF, 3MF and others; their parts joined, their split vertices welded."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.defects import places
from meshconv.geometry.repair.origin import Changes, Origin

# These store a vertex once per face, or once per normal and texture coordinate.
_SPLIT_VERTICES = {"stl", "stl_ascii", "glb", "gltf"}


def read_with_trimesh(path: Path, kind: str) -> TriangleMesh:
    """Read a file of one part or many.

    Parameters
    ----------
    path : Path
    kind : str
        Extension without the dot.

    Returns
    -------
    TriangleMesh
        Parts in their places. ``face_data["part"]`` names the part of each face if there are several; colours (RGBA,
        uint8 ``color``) and attributes are kept if all parts have them. ``origin`` leads back to the vertices of the
        file if some were welded.

    Raises
    ------
    InputError
        If the parser fails, or there are no vertices.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), _silent("trimesh"):
            warnings.simplefilter("ignore")
            loaded = trimesh.load(str(path), file_type=kind, process=False)
            parts = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
            pieces = _pieces(parts)
    # A parser can fail in any way on a damaged file, and all of them mean the same to the user.
    except Exception as error:
        # trimesh asks an optional package to guess the encoding of what should have been text.
        lines = [type(error).__name__] if not str(error).strip() else str(error).strip().splitlines()
        reason = "not a valid header, and not text" if isinstance(error, ImportError) else lines[0][:120]
        raise InputError(
            f"{path}: cannot be read as '{kind}' ({reason}); the file is truncated, damaged or of another format"
        ) from error
    if not pieces:
        raise InputError(f"{path}: no vertices found; the file is damaged or no '{kind}' mesh")
    return _join(pieces, str(path), weld=kind in _SPLIT_VERTICES)


def join_parts(parts: Iterable[object], name: str) -> TriangleMesh | None:
    """Parts as one mesh, as :func:`read_with_trimesh` returns them but with nothing welded; None without vertices."""
    pieces = _pieces(parts)
    return _join(pieces, name, weld=False) if pieces else None


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


def _pieces(parts: Iterable[object]) -> list[_Piece]:
    """Parts that have vertices."""
    pieces = [_piece(part, _name(part, i)) for i, part in enumerate(parts)]
    return [piece for piece in pieces if len(piece.vertices)]


class _Piece(NamedTuple):
    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    vertex_data: dict[str, NDArray]
    face_data: dict[str, NDArray]


def _piece(part: object, name: str) -> _Piece:
    """One part, in three dimensions, with its data."""
    vertices = np.asarray(getattr(part, "vertices", np.zeros((0, 3))), dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        vertices = np.zeros((len(vertices), 3))
    faces = np.array(getattr(part, "faces", ()), dtype=np.int64).reshape(-1, 3)
    face_data = {"part": np.full(len(faces), name), **_data(part, "face", len(faces))}
    return _Piece(vertices, faces, _data(part, "vertex", len(vertices)), face_data)


def _data(part: object, kind: str, size: int) -> dict[str, NDArray]:
    """Attributes of the vertices or faces of a part, and their colours if it is these that have them."""
    found = {}
    for key, values in getattr(part, f"{kind}_attributes", {}).items():
        values = np.asarray(values)
        # The two bytes behind each triangle of a binary STL file are zero unless someone made use of them.
        if values.shape[:1] == (size,) and (key != "stl" or values.any()):
            found[{"stl": "attribute"}.get(key, key)] = values
    visual = getattr(part, "visual", None)
    if getattr(visual, "kind", None) == kind:
        colors = np.asarray(getattr(visual, f"{kind}_colors"))
        if colors.shape[:1] == (size,):
            found["color"] = colors
    return found


def _join(pieces: list[_Piece], name: str, weld: bool) -> TriangleMesh:
    start = np.cumsum([0] + [len(p.vertices) for p in pieces])
    for piece, offset in zip(pieces, start, strict=False):
        # Checked here: an offset could make a wrong index a vertex of the next part.
        TriangleMesh(piece.vertices, piece.faces, name)
        piece.faces[...] += offset
    vertices = np.concatenate([p.vertices for p in pieces])
    faces = np.concatenate([p.faces for p in pieces])
    vertex_data = _common([p.vertex_data for p in pieces])
    face_data = _common([p.face_data for p in pieces])
    if len(pieces) == 1:
        del face_data["part"]
    if not weld:
        return TriangleMesh(vertices, faces, name, vertex_data, face_data)
    place = np.concatenate([places(p.vertices) + offset for p, offset in zip(pieces, start, strict=False)])
    kept = np.flatnonzero(place == np.arange(len(place)))
    number = np.searchsorted(kept, place)
    face = np.arange(len(faces))
    origin = Origin(kept, number, face, face, Changes(welded_vertices=len(place) - len(kept)))
    data = {key: values[kept] for key, values in vertex_data.items()}
    return TriangleMesh(
        vertices[kept], number[faces], name, data, face_data, origin if len(kept) < len(place) else None
    )


def _common(data: list[dict[str, NDArray]]) -> dict[str, NDArray]:
    """What all parts have, in the same shape."""
    shared = [key for key in data[0] if len({d[key].shape[1:] if key in d else None for d in data}) == 1]
    return {key: np.concatenate([d[key] for d in data]) for key in shared}
