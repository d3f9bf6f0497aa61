"""Content hashing of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import ArrayLike

from meshconv.errors import InputError
from meshconv.io.meshes.readers.tosca import triangles_beside
from meshconv.io.meshes.readers.vtk.blocks import files_of_blocks


def file_content(path: Path) -> str:
    """Hash of all that :func:`~meshconv.io.meshes.load.read_mesh` reads for a file.

    That is its bytes and its extension, which chooses the reader; for glTF also the buffers it names, for ``.vert`` the
    triangles beside it, for ``.vtm`` the files of its blocks.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        32 hexadecimal digits; independent of path and name.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    digest = hashlib.blake2b(f"{kind} {len(content)} ".encode(), digest_size=16)
    digest.update(content)
    for side in _beside(path, kind, content):
        part = side.read_bytes() if side.is_file() else b""
        digest.update(f"{len(part)} ".encode())
        digest.update(part)
    return digest.hexdigest()


def _beside(path: Path, kind: str, content: bytes) -> list[Path]:
    """Other files that belong to this one."""
    if kind == ".vert":
        return [triangles_beside(path)]
    if kind == ".vtm":
        return files_of_blocks(path)
    return _buffers(content, path.parent) if kind == ".gltf" else []


def _buffers(content: bytes, folder: Path) -> list[Path]:
    """Files that a glTF file keeps its numbers in; none if it is not one."""
    try:
        uris = [str(buffer["uri"]) for buffer in json.loads(content)["buffers"] if "uri" in buffer]
    except (ValueError, KeyError, TypeError):
        return []
    return [folder / unquote(uri) for uri in uris if not uri.startswith("data:")]


def array_content(*arrays: ArrayLike | torch.Tensor) -> str:
    """Hash of arrays: their values, shapes and types.

    Parameters
    ----------
    arrays
        Numbers; for a mesh without a file, its ``vertices`` and ``faces``.

    Examples
    --------
    >>> import numpy as np
    >>> array_content(np.arange(3)) == array_content(np.arange(3)) != array_content(np.arange(4))
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for values in arrays:
        array = np.asarray(values)
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
