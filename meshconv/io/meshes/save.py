"""TriangleMesh -> mesh files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.meshes.load import read_polygons
from meshconv.io.meshes.polygons import PolygonFile
from meshconv.io.meshes.save_vtk import XML_SUFFIXES, vtk_xml, with_arrays

_PLY_TYPES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint",
              "f4": "float", "f8": "double"}  # fmt: skip
_TEXT = {"obj", "off"}
_BINARY = {"stl", "glb"}
_VTK: dict[str, Literal["PolyData", "UnstructuredGrid"]] = {"vtp": "PolyData", "vtu": "UnstructuredGrid"}


def save_formats() -> list[str]:
    """File extensions that :func:`save_mesh` writes, without the dot."""
    return sorted({"ply", *_TEXT, *_BINARY, *_VTK})


def save_mesh(mesh: TriangleMesh, path: str | os.PathLike[str]) -> None:
    """Write a mesh.

    Parameters
    ----------
    mesh : TriangleMesh
    path : str or path
        PLY, VTP and VTU keep every digit and all numeric data of vertices and faces; OBJ and OFF keep the coordinates
        to 17 digits; STL and GLB round them to float32, and STL forgets which vertices are one.

    Raises
    ------
    InputError
        Another extension, or a file that cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in save_formats():
        raise InputError(f"{path}: extension '{path.suffix}' cannot be written; use {', '.join(save_formats())}")
    if kind == "ply":
        content: str | bytes = _ply(mesh)
    elif kind in _VTK:
        size = np.full(mesh.num_faces, 3)
        polygons = PolygonFile(mesh.vertices, mesh.faces.reshape(-1), size, mesh.vertex_data, mesh.face_data)
        content = vtk_xml(polygons, _VTK[kind])
    elif kind == "obj":
        content = _rows("v", mesh.vertices, ".17g") + _rows("f", mesh.faces + 1, "d")
    elif kind == "off":
        head = f"OFF\n{mesh.num_vertices} {mesh.num_faces} 0\n"
        content = head + _rows("", mesh.vertices, ".17g") + _rows("3", mesh.faces, "d")
    else:
        import trimesh

        content = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type=kind)  # type: ignore[assignment]
    _write(path, content.encode() if isinstance(content, str) else content)


def save_beside(
    source: Path, place: Path, at_vertices: Mapping[str, NDArray], of_polygons: Mapping[str, NDArray]
) -> Path | None:
    """Write a file of VTK's kinds again with more arrays: predictions beside what it had.

    Parameters
    ----------
    source : Path
        ``.vtp`` or ``.vtu``: nothing else in it changes. ``.vtk`` or ``.vtm``: its points, polygons and their numeric
        arrays become a ``.vtp``.
    place : Path
        Of the written file, without extension.
    at_vertices, of_polygons : mapping of arrays [V, ...] and [P, ...]
        In the order of the file; ``predicted_`` is put before their names.

    Returns
    -------
    Path or None
        None where ``source`` is no file of VTK.

    Raises
    ------
    InputError
        The file has changed since it was read, or the new one cannot be written.
    """
    suffix = source.suffix.lower()
    if suffix not in (*XML_SUFFIXES, ".vtk", ".vtm"):
        return None
    target = place.with_name(place.name + (suffix if suffix in XML_SUFFIXES else ".vtp"))
    given = [{f"predicted_{name}": values for name, values in data.items()} for data in (at_vertices, of_polygons)]
    try:
        if suffix in XML_SUFFIXES:
            content = with_arrays(source, *given)
        else:
            read = read_polygons(source, volume_surface=True)
            on = given[1] if read.cells is None else {name: values[read.cells] for name, values in given[1].items()}
            at = {**read.vertex_data, **given[0]}
            content = vtk_xml(_without_strips(replace(read, vertex_data=at, polygon_data={**read.polygon_data, **on})))
    except (ValueError, OSError) as error:
        raise InputError(f"{source}: predictions cannot be added to it ({error}); use those beside it") from error
    _write(target, content)
    return target


def _without_strips(content: PolygonFile) -> PolygonFile:
    """The same with strips cut into triangles."""
    if content.strips is None or not content.strips.any():
        return content
    faces, polygon = content.cut()
    data = {name: values[polygon] for name, values in content.polygon_data.items()}
    size = np.full(len(faces), 3)
    return replace(content, corners=faces.reshape(-1), sizes=size, polygon_data=data, strips=None)


def _write(path: Path, content: bytes) -> None:
    try:
        with atomic_write(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _rows(first: str, values: NDArray, form: str) -> str:
    line = " ".join(([first] if first else []) + [f"%{form}"] * values.shape[1]) + "\n"
    return "".join([line % tuple(row) for row in values.tolist()])


def _ply(mesh: TriangleMesh) -> bytes:
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {mesh.num_vertices}"]
    fields = [(axis, mesh.vertices[:, i]) for i, axis in enumerate("xyz")] + _columns(mesh.vertex_data)
    header += [f"property {_PLY_TYPES[values.dtype.str[1:]]} {name}" for name, values in fields]
    header += [f"element face {mesh.num_faces}", "property list uchar int vertex_indices"]
    columns = _columns(mesh.face_data)
    header += [f"property {_PLY_TYPES[values.dtype.str[1:]]} {name}" for name, values in columns]
    size = np.full(mesh.num_faces, 3, dtype=np.uint8)
    faces: list[tuple[str, NDArray]] = [("size", size), ("corners", mesh.faces.astype(np.int32)), *columns]
    head = "\n".join([*header, "end_header\n"]).encode("ascii", errors="replace")
    return head + _table(fields, mesh.num_vertices) + _table(faces, mesh.num_faces)


def _columns(data: dict[str, NDArray]) -> list[tuple[str, NDArray]]:
    """Numeric data as columns under names without spaces; words are left out, wide integers become double."""
    found = []
    for key, values in data.items():
        if values.dtype.kind not in "biuf":
            continue
        if values.dtype.str[1:] not in _PLY_TYPES:
            values = values.astype(np.uint8 if values.dtype.kind == "b" else np.float64)
        name = "_".join(key.split()) or "data"
        if key == "color" and values.ndim == 2 and values.shape[1] in (3, 4):
            found += list(zip(("red", "green", "blue", "alpha"), values.T, strict=False))
        else:
            flat = values.reshape(len(values), -1)
            found += [(name if flat.shape[1] == 1 else f"{name}_{i}", flat[:, i]) for i in range(flat.shape[1])]
    return found


def _table(columns: list[tuple[str, NDArray]], size: int) -> bytes:
    kinds = [(f"{i}", v.dtype.newbyteorder("<"), v.shape[1:]) for i, (_, v) in enumerate(columns)]
    table = np.empty(size, dtype=np.dtype(kinds))
    for i, (_, values) in enumerate(columns):
        table[f"{i}"] = values
    return table.tobytes()
