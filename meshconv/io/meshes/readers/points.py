"""Points without faces: XYZ, PCD and LAS."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.meshes.readers.libraries import in_one_line
from meshconv.io.text import decode_text, read_text
from meshconv.io.unpack import check_expansion, inflate

_NONE = np.zeros(0, np.int64)
_PCD = {("F", 4): "f4", ("F", 8): "f8", **{(k, n): f"{k.lower()}{n}" for k in "IU" for n in (1, 2, 4, 8)}}

_DECIMAL = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")

# Colours as the bytes of one number, blue first.
_PACKED = ("rgb", "rgba")


def read_xyz(path: Path) -> PolygonFile:
    """Rows of x, y, z and more numbers; a count, a headline and comments are left out.

    Columns have the names of a headline. Without one, columns of three behind the coordinates are normals if they are
    of length 1, and colours if they are whole numbers up to 255; others are left out.

    Raises
    ------
    InputError
        No rows of three numbers or more, or three columns that could be normals and are neither these nor colours.
    """
    given = [" ".join(_columns(line)) for line in read_text(path).split("\n")]
    lines = [line.split("#")[0].split() for line in given]
    lines = [line for line in lines if line]
    start = next((k for k, line in enumerate(lines[:2]) if len(line) >= 3 and all(map(_is_number, line))), 2)
    try:
        table = np.array(lines[start:], dtype=np.float64)
        if table.ndim != 2 or table.shape[1] < 3:
            raise ValueError("no rows of three numbers")
        names = next((n for n in map(_names, given[:3]) if n[:3] == ["x", "y", "z"] and len(n) == table.shape[1]), None)
        data = _by_kind(table[:, 3:]) if names is None else dict(zip(names[3:], table.T[3:], strict=True))
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as 'xyz' ({first_line(error)}); write x y z, or x y z nx ny nz, a "
                         "line") from error  # fmt: skip
    return PolygonFile(table[:, :3], _NONE, _NONE, _joined(data))


def _columns(line: str) -> list[str]:
    """Words of a line between blanks, commas or semicolons; a comma inside of numbers between the others is a point."""
    words = line.replace(";", " ").split()
    commas = [word.count(",") for word in words]
    inside = all(_DECIMAL.fullmatch(word) for word, count in zip(words, commas, strict=True) if count)
    if len(words) >= 3 and max(commas) == 1 and inside:
        return [word.replace(",", ".") for word in words]
    return line.replace(",", " ").replace(";", " ").split()


def _names(line: str) -> list[str]:
    """Words of a headline, behind a mark of comments or not."""
    return line.lower().lstrip("#/ ").split()


def _by_kind(columns: NDArray[np.float64]) -> dict[str, NDArray]:
    """Normals and colours among columns without names, three at a time from the first."""
    data: dict[str, NDArray] = {}
    for k in range(0, columns.shape[1] - 2, 3):
        block = columns[:, k : k + 3]
        length = np.linalg.norm(block, axis=1)
        if "normal" not in data and (np.abs(length - 1) < 0.05).all():
            data["normal"] = block
        elif "color" not in data and ((block >= 0) & (block <= 255) & (block == np.round(block))).all():
            data["color"] = block.astype(np.uint8)
        elif not k:
            raise ValueError("columns 4 to 6 are neither normals of length 1 nor colours to 255; name the columns in "
                             "the first line")  # fmt: skip
    return data


def _joined(data: dict[str, NDArray]) -> dict[str, NDArray]:
    """Data by name, with components of normals and colours as one array."""
    for names, joined in (
        (("nx", "ny", "nz"), "normal"),
        (("normal_x", "normal_y", "normal_z"), "normal"),
        (("r", "g", "b"), "color"),
        (("red", "green", "blue"), "color"),
    ):
        if set(names) <= set(data):
            data[joined] = np.stack([data.pop(n) for n in names], axis=1)
    return data


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_pcd(path: Path) -> PolygonFile:
    """Points of the Point Cloud Library, as text, binary or compressed, with their normals and other numbers.

    Raises
    ------
    InputError
        Another layout, or fewer points than promised.
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
        elif head["DATA"] == ["binary_compressed"]:  # column after column
            packed, size = np.frombuffer(content, "<u4", 2, at).tolist()
            if size != count * row.itemsize or packed > len(content) - at - 8:
                raise ValueError(f"{count} points promised, {size} bytes of them found")
            check_expansion(size, len(content))
            block, columns = inflate(content[at + 8 : at + 8 + packed], size, "lzf"), {}
            ends = np.cumsum([count * row[k].itemsize for k in range(len(names))]).tolist()
            for k, (name, end) in enumerate(zip(names, ends, strict=True)):
                kind, width = row[k].base, widths[k]
                columns[name] = np.frombuffer(block, kind, count * width, end - count * row[k].itemsize)
                columns[name] = columns[name].reshape(count, width)
        elif head["DATA"] == ["ascii"]:
            numbers = np.array(decode_text(content[at:]).split(), dtype=np.float64)
            if count * sum(widths) != len(numbers):
                raise ValueError(f"{count} points promised, others found")
            parts = np.split(numbers.reshape(count, -1), np.cumsum(widths)[:-1], axis=1)
            columns = {n: part.astype(row[f"{k}"].base) for k, (n, part) in enumerate(zip(names, parts, strict=True))}
            for n, part in zip(names, parts, strict=True):
                if n in _PACKED and (part == np.round(part)).all():  # no bits of a real number
                    columns[n] = part.astype(np.int64).astype(np.uint32)
        else:
            raise ValueError(f"data are {' '.join(head['DATA'])}; ascii, binary and binary_compressed are read")
        points = np.concatenate([columns.pop(n) for n in "xyz"], axis=1).astype(np.float64)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: cannot be read as 'pcd' ({first_line(error)}); save it as ply") from error
    known = np.isfinite(points).all(axis=1)  # scanners mark what they did not see
    kept = {name: values[known] for name, values in columns.items() if name != "_"}
    data: dict[str, NDArray] = {name: v[:, 0] if v.shape[1] == 1 else v for name, v in kept.items()}
    for name in [n for n in _PACKED if n in data and data[n].dtype.itemsize == 4]:
        data["color"] = np.ascontiguousarray(data.pop(name)).view("u1").reshape(-1, 4)[:, 2::-1]
    data = _joined(data)
    if "normal" in data:
        data["normal"] = data["normal"].astype(np.float64)
    return PolygonFile(points[known], _NONE, _NONE, data)


@in_one_line
def read_las(path: Path) -> PolygonFile:
    """Points of a laser scan in their coordinates, with intensity, class, colours of 8 bits and its own dimensions."""
    import laspy

    with laspy.open(path) as stream:
        count, size = stream.header.point_count, stream.header.point_format.size
        if count * size > path.stat().st_size:
            raise ValueError(f"{count} points promised in {path.stat().st_size} bytes")
        cloud = stream.read()
    data = {"intensity": np.asarray(cloud.intensity), "classification": np.asarray(cloud.classification)}
    if {"red", "green", "blue"} <= set(cloud.point_format.dimension_names):
        color = np.stack([np.asarray(cloud[n]) for n in ("red", "green", "blue")], axis=1)
        # Of 16 bits; programs that have 8 of them write these as they are.
        data["color"] = (color >> 8 if color.max(initial=0) > 255 else color).astype(np.uint8)
    own = {name.lower(): np.asarray(cloud[name]) for name in cloud.point_format.extra_dimension_names}
    return PolygonFile(np.asarray(cloud.xyz, dtype=np.float64), _NONE, _NONE, {**data, **_joined(own)})


FORMATS = (
    MeshFormat("XYZ", (".xyz",), read_xyz),
    MeshFormat("PCD", (".pcd",), read_pcd),
    MeshFormat("LAS", (".las",), read_las, package="laspy"),
)
