"""Mesh files of every common format -> :class:`~meshconv.geometry.mesh.TriangleMesh`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.mesh import TriangleMesh
from meshconv.io.obj import read_obj

_ARCHIVES = {"zip", "bz2", "tar.bz2", "tar.gz"}
# These store a vertex once per face, or once per normal and texture coordinate.
_SPLIT_VERTICES = {"stl", "stl_ascii", "glb", "gltf"}


def mesh_formats() -> list[str]:
    """File extensions that :func:`load_mesh` reads here, without the dot."""
    return sorted(set(trimesh.available_formats()) - _ARCHIVES)


def load_mesh(path: str | os.PathLike[str]) -> TriangleMesh:
    """Read a triangle mesh from a file.

    Vertices keep the order of the file. Polygons are cut into triangles, the parts of a scene are put in place and
    joined to one mesh, coincident vertices are welded in formats that split them by design (STL, GLB, glTF).

    Parameters
    ----------
    path : str or path
        OBJ, PLY, OFF, STL, GLB, glTF and whatever else :func:`mesh_formats` lists.

    Returns
    -------
    TriangleMesh
        ``name`` is the path.

    Raises
    ------
    InputError
        Missing, a directory, empty, truncated or of unknown format; no faces; NaN or infinite coordinates; a face
        index without a vertex; no area. One line with the file, the value and what to do.

    Examples
    --------
    >>> load_mesh("no/such/file.obj")
    Traceback (most recent call last):
        ...
    meshconv.errors.InputError: no/such/file.obj: no such file; check the path
    """
    path = Path(path)
    kind = _check_file(path)
    if kind == "obj":
        vertices, faces = read_obj(path)
    else:
        vertices, faces = _read_with_trimesh(path, kind)
    if len(vertices) == 0:
        raise InputError(f"{path}: no vertices found; the file is damaged or no '{kind}' mesh")
    mesh = TriangleMesh(vertices, faces, name=str(path))
    mesh.check_area()
    return mesh


def _check_file(path: Path) -> str:
    """Extension of a file that exists, can be opened, has content and a known format."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a directory; name a mesh file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file; save the mesh to disk first")
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be opened ({reason}); check its permissions") from error
    kind = path.suffix.lower().lstrip(".")
    if kind not in mesh_formats():
        raise InputError(
            f"{path}: extension '{path.suffix}' is not a mesh format that can be read here; "
            f"convert it to one of {', '.join(mesh_formats())}"
        )
    if empty:
        raise InputError(f"{path}: the file is empty (0 bytes); export the mesh again")
    return kind


def _read_with_trimesh(path: Path, kind: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            loaded = trimesh.load(str(path), file_type=kind, process=False)
            parts = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
            arrays = [_arrays(part, weld=kind in _SPLIT_VERTICES) for part in parts]
    # A parser can fail in any way on a damaged file, and all of them mean the same to the user.
    except Exception as error:
        # trimesh asks an optional package to guess the encoding of what should have been text.
        lines = [type(error).__name__] if not str(error).strip() else str(error).strip().splitlines()
        reason = "not a valid header, and not text" if isinstance(error, ImportError) else lines[0][:120]
        raise InputError(
            f"{path}: cannot be read as '{kind}' ({reason}); the file is truncated, damaged or of another format"
        ) from error
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in arrays])
    vertices = np.concatenate([np.zeros((0, 3)), *(v for v, _ in arrays)])
    faces = [f + offset for (_, f), offset in zip(arrays, offsets, strict=False)]
    return vertices, np.concatenate([np.zeros((0, 3), dtype=np.int64), *faces])


def _arrays(part: object, weld: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices and faces of one part, in three dimensions, faces checked against this part's own vertices."""
    vertices = np.asarray(getattr(part, "vertices", np.zeros((0, 3))), dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        vertices = np.zeros((len(vertices), 3))
    faces = np.asarray(getattr(part, "faces", ()), dtype=np.int64).reshape(-1, 3)
    return _weld(vertices, faces) if weld else (vertices, faces)


def _weld(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Join vertices with equal coordinates; the first of each stays, in its place."""
    if len(vertices) == 0 or (faces.size and not 0 <= faces.min() <= faces.max() < len(vertices)):
        return vertices, faces
    key = vertices + 0.0  # -0.0 becomes 0.0
    order = np.lexsort(key.T)
    new = np.append(True, (key[order][1:] != key[order][:-1]).any(axis=1))
    group = np.empty(len(vertices), dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    # lexsort is stable, so the first of each run is the lowest number.
    first = order[new]
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(len(first))
    return vertices[np.sort(first)], rank[group][faces]
