"""Points without faces: XYZ, PCD and LAS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.meshes.readers.libraries import in_one_line
from meshconv.io.text import decode_text, read_text

_NONE = np.zeros(0, np.int64)
_PCD = {("F", 4): "f4", ("F", 8): "f8", **{(k, n): f"{k.lower()}{n}" for k in "IU" for n in (1, 2, 4, 8)}}


def read_xyz(path: Path) -> PolygonFile:
    """Rows of x, y, z, and where there are six numbers or more the normal; a headline and comments are left out."""
    lines = [line.split("#")[0].replace(",", " ").replace(";", " ").split() for line in read_text(path).split("\n")]
    lines = [line for line in lines if line]
    start = next((k for k, line in enumerate(lines[:2]) if _is_number(line[0]) and len(line) >= 3), 2)
    try:
        table = np.array(lines[start:], dtype=np.float64)
        if table.ndim != 2 or table.shape[1] < 3:
            raise ValueError("no rows of three numbers")
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as 'xyz' ({first_line(error)}); write x y z, or x y z nx ny nz, a "
                         "line") from error  # fmt: skip
    data = {"normal": table[:, 3:6]} if table.shape[1] >= 6 else {}
    return PolygonFile(table[:, :3], _NONE, _NONE, data)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_pcd(path: Path) -> PolygonFile:
    """Points of the Point Cloud Library, as text or binary, with their normals and other numbers.

    Raises
    ------
    InputError
        Another layout (``binary_compressed``), or fewer points than promised.
    """
    content = path.read_bytes()
    head: dict[str, list[str]] = {}
    at = 0
    try:
        while "DATA" not in head:
            end = content.index(b"\n", at)
            words = decode_text(content[at:end]).split("#")[0].split()
            at = end + 1
            if words:
                head[words[0].upper()] = words[1:]
        names, count = head["FIELDS"], int(head["POINTS"][0])
        sizes, kinds = map(int, head["SIZE"]), head["TYPE"]
        widths = [int(n) for n in head.get("COUNT", ["1"] * len(names))]
        row = np.dtype([(f"{k}", "<" + _PCD[kind, size], (width,)) for k, (size, kind, width) in
                        enumerate(zip(sizes, kinds, widths, strict=True))])  # fmt: skip
        if head["DATA"] == ["binary"]:
            if not 0 <= count * row.itemsize <= len(content) - at:
                raise ValueError(f"{count} points promised, fewer found")
            table = np.frombuffer(content, row, count, at)
            columns = {n: table[f"{k}"] for k, n in enumerate(names)}
        elif head["DATA"] == ["ascii"]:
            numbers = np.array(decode_text(content[at:]).split(), dtype=np.float64)
            if count * sum(widths) != len(numbers):
                raise ValueError(f"{count} points promised, others found")
            parts = np.split(numbers.reshape(count, -1), np.cumsum(widths)[:-1], axis=1)
            columns = {n: part.astype(row[f"{k}"].base) for k, (n, part) in enumerate(zip(names, parts, strict=True))}
        else:
            raise ValueError(f"data are {' '.join(head['DATA'])}, ascii and binary are read")
        points = np.concatenate([columns.pop(n) for n in "xyz"], axis=1).astype(np.float64)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: cannot be read as 'pcd' ({first_line(error)}); save it as ply") from error
    known = np.isfinite(points).all(axis=1)  # scanners mark what they did not see
    kept = {name: values[known] for name, values in columns.items() if name != "_"}
    data: dict[str, NDArray] = {name: v[:, 0] if v.shape[1] == 1 else v for name, v in kept.items()}
    if {"normal_x", "normal_y", "normal_z"} <= set(data):
        data["normal"] = np.stack([data.pop(f"normal_{n}") for n in "xyz"], axis=1).astype(np.float64)
    return PolygonFile(points[known], _NONE, _NONE, data)


@in_one_line
def read_las(path: Path) -> PolygonFile:
    """Points of a laser scan in their coordinates, with intensity, class and colours."""
    import laspy

    with laspy.open(path) as stream:
        count, size = stream.header.point_count, stream.header.point_format.size
        if count * size > path.stat().st_size:
            raise ValueError(f"{count} points promised in {path.stat().st_size} bytes")
        cloud = stream.read()
    data = {"intensity": np.asarray(cloud.intensity), "classification": np.asarray(cloud.classification)}
    if {"red", "green", "blue"} <= set(cloud.point_format.dimension_names):
        data["color"] = np.stack([np.asarray(cloud[n]) for n in ("red", "green", "blue")], axis=1)
    return PolygonFile(np.asarray(cloud.xyz, dtype=np.float64), _NONE, _NONE, data)


FORMATS = (
    MeshFormat("XYZ", (".xyz",), read_xyz),
    MeshFormat("PCD", (".pcd",), read_pcd),
    MeshFormat("LAS", (".las",), read_las, package="laspy"),
)
