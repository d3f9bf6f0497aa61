"""Named arrays of meshes: in the mesh file, or in files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.load import read_mesh
from meshconv.io.meshes.overlays import find_overlay, read_overlay

Place = Literal["vertices", "faces"]


def read_array(
    source: Path | TriangleMesh, name: str, root: Path | None = None, element: Place = "vertices"
) -> NDArray[np.float64]:
    """Array of a mesh by its name, in the order of its file.

    The array ``wss`` of ``tubes/7.ply`` is looked for in ``tubes/7_wss.npy``, ``tubes/7.wss.npy``, ``tubes/wss/7.npy``,
    below the root in ``wss/tubes/7.npy``, in ``tubes/wss.npy``, and among the attributes of the mesh file: ``wss``, or
    for vectors ``wss_x``, ``wss_y`` and ``wss_z``. Of brain surfaces it may be an overlay
    (:func:`~meshconv.io.meshes.overlays.find_overlay`).

    Parameters
    ----------
    source : Path or TriangleMesh
    name : str
    root : Path, optional
        Of the data set.
    element : "vertices" | "faces"
        What it has values for; faces are the polygons of the file, or its cells.

    Returns
    -------
    float64 [n] or [n, 3]
        NaN where it is not finite.

    Raises
    ------
    InputError
        It is nowhere, cannot be read, belongs to other elements, or is of another shape.
    """
    place = None if isinstance(source, TriangleMesh) else find_array(source, name, root)
    if place is not None and place.suffix != ".npy":
        where, values = str(place), read_overlay(place, _count(source) if place.suffix == ".label" else None)
    elif place is None:
        raw = source if isinstance(source, TriangleMesh) else read_mesh(source, volume_surface=True)
        where, values = raw.name, _attribute(raw, name, root, element)
    else:
        where = str(place)
        try:
            values = np.load(place, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{place}: no array of numpy ({error}); write it with numpy.save") from error
    if values.dtype.kind not in "fiu" or values.shape[1:] not in ((), (1,), (3,)):
        shape = list(values.shape)
        raise InputError(f"{where}: array {name!r} is {values.dtype} {shape}; it takes numbers [n] or [n, 3]")
    values = values.astype(np.float64)
    values = values[:, 0] if values.shape[1:] == (1,) else values
    return np.where(np.isfinite(values), values, np.nan)


def find_array(mesh: Path, name: str, root: Path | None = None) -> Path | None:
    """The file beside a mesh, or below the root, that holds an array; None: there is none."""
    return next((place for place in _places(mesh, name, root) if place.is_file()), None) or find_overlay(mesh, name)


def _count(source: Path | TriangleMesh) -> int:
    raw = source if isinstance(source, TriangleMesh) else read_mesh(source)
    return raw.num_vertices if raw.origin is None else len(raw.origin.vertex_to)


def _places(mesh: Path, name: str, root: Path | None) -> list[Path]:
    folder = mesh.parent
    places = [*(folder / f"{mesh.stem}{mark}{name}.npy" for mark in "_.-"), folder / name / f"{mesh.stem}.npy"]
    if root is not None:
        places.append(root / name / mesh.relative_to(root).with_suffix(".npy"))
    return [*places, folder / f"{name}.npy"]


def _attribute(raw: TriangleMesh, name: str, root: Path | None, element: Place) -> NDArray:
    of = {"vertices": raw.vertex_data, "faces": raw.face_data}
    found = _named(of[element], name)
    if found is None:
        other: Place = "faces" if element == "vertices" else "vertices"
        if _named(of[other], name) is not None:
            raise InputError(f"{raw.name}: array {name!r} belongs to {other}, not to {element}; set element to {other}")
        has = ", ".join(of[element]) or "none"
        places = _places(Path(raw.name), name, root)
        raise InputError(
            f"{raw.name}: no field {name!r}: no attribute of {element}, which has {has}; no {places[0]}, no "
            f"{places[-1]}"
        )
    found = found.astype(np.float64) if found.dtype.kind in "biu" else found
    return raw.to_original_vertices(found) if element == "vertices" else raw.to_original_faces(found)


def _named(data: dict[str, NDArray], name: str) -> NDArray | None:
    """Values of this name; of vectors also in three columns."""
    for endings in (("",), ("_x", "_y", "_z"), ("x", "y", "z"), (".x", ".y", ".z"), ("_0", "_1", "_2")):
        columns = [data[name + end] for end in endings if name + end in data]
        if len(columns) == len(endings):
            return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    return None


def check_count(where: str, name: str, values: Sequence | NDArray, count: int, element: Place = "vertices") -> None:
    """Raise an ``InputError`` unless there is one value for each of ``count`` elements."""
    if len(values) != count:
        raise InputError(
            f"{where}: field {name!r} has {len(values)} values, the mesh {count} {element}; give one for each"
        )
