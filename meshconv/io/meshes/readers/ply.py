"""PLY, ASCII and binary: vertices and polygons with every property they have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.text import as_type, decode_text

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("int64", "long"), "i8"),
    **dict.fromkeys(("uint64", "ulong"), "u8"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_BYTE_ORDER = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_CORNERS = ("vertex_indices", "vertex_index")
# Normals of meshes are left out: they are computed, and a repair would make them wrong.
_GEOMETRY = ("x", "y", "z", "nx", "ny", "nz")
_MOST_LINES = 10_000
_BEGINS = re.compile(rb"\s*ply[ \t]*(\r\n|\n|\r)", re.IGNORECASE)


class _Property(NamedTuple):
    name: str
    dtype: np.dtype
    count_dtype: np.dtype | None  # of a list


class _Element(NamedTuple):
    name: str
    rows: int
    properties: list[_Property]


# A column of values, or of lists: their sizes and all their entries.
Column = NDArray | tuple[NDArray[np.int64], NDArray]


def read_ply(path: Path) -> PolygonFile:
    """Read a PLY file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Faces, or strips of triangles. Data are all scalar properties of vertices and of these under their names; red,
        green, blue (and alpha), with ``diffuse_`` before them or not, are joined to ``color``. Normals and lists other
        than the corners (texture coordinates) are left out.

    Raises
    ------
    InputError
        Not this format, a header that promises more than the file holds, or something that is not a number.
    """
    content = path.read_bytes()
    try:
        elements, body = _header(content)
        columns: dict[str, dict[str, Column]] = {}
        needed = [e.name for e in elements if e.name in ("vertex", "face", "tristrips")]
        for element in elements:
            columns[element.name] = body.read(element)
            if all(name in columns for name in needed):
                break
        vertex, face, strips = (columns.get(name, {}) for name in ("vertex", "face", "tristrips"))
        vertices = np.stack([np.asarray(vertex[k], dtype=np.float64) for k in "xyz"], axis=1)
        of_faces, of_strips = _corners(face), _corners(strips)
    except (ValueError, KeyError, IndexError, OverflowError, TypeError) as error:
        reason = f"no property {error}" if isinstance(error, KeyError) else first_line(error)
        raise InputError(
            f"{path}: cannot be read as 'ply' ({reason}); the file is truncated, damaged or of another format"
        ) from error
    sizes, corners = (np.concatenate([a, b]) for a, b in zip(of_faces, of_strips, strict=True))
    is_strip = np.arange(len(sizes)) >= len(of_faces[0])
    data = _data(strips if len(of_faces[0]) == 0 else face if len(of_strips[0]) == 0 else {})
    at_vertices = _data(vertex)
    if not len(sizes) and all(isinstance(vertex.get(key), np.ndarray) for key in _GEOMETRY[3:]):
        at_vertices["normal"] = np.stack([vertex[key] for key in _GEOMETRY[3:]], axis=1).astype(np.float64)
    return PolygonFile(vertices, corners, sizes, at_vertices, data, is_strip)


def _corners(columns: dict[str, Column]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sizes and corners of faces or strips."""
    name = next((k for k in _CORNERS if k in columns), None)
    if name is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    sizes, corners = columns[name]
    if not np.isfinite(np.asarray(corners, dtype=np.float64)).all():
        raise ValueError("corners of faces are not numbers")
    return sizes, corners.astype(np.int64)


def _header(content: bytes) -> tuple[list[_Element], _Text | _Binary]:
    """Elements, and what reads the body."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content[:3].lower() != b"ply":  # UTF-16, which only text can be
        content = decode_text(content).encode()
    begins = _BEGINS.match(content)
    if begins is None:
        raise ValueError("not a valid header")
    elements: list[_Element] = []
    order, start, line_end = None, begins.end(), begins[1]
    for _ in range(_MOST_LINES):
        end = content.find(line_end, start)
        if end < 0:
            end = len(content)
        words = content[start:end].decode("utf-8", errors="replace").split()
        start = end + len(line_end)
        if words[:1] == ["end_header"]:
            if order is None:
                break
            rows = sum(element.rows for element in elements)
            return elements, _Text(content[start:], rows) if order == "=" else _Binary(content, start)
        if words[:1] == ["format"]:
            order = _BYTE_ORDER[words[1]]
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2]), []))
            if elements[-1].rows < 0:
                raise ValueError(f"element {words[1]} {words[2]}")
        elif words[:1] == ["property"]:
            kinds = [np.dtype((order or "=") + _TYPES[w]) for w in words[1:-1] if w != "list"]
            size = kinds[0] if words[1] == "list" else None
            elements[-1].properties.append(_Property(words[-1], kinds[-1], size))
        if end == len(content):
            break
    raise ValueError("the header has no end")


class _Text:
    """Body of an ASCII file: a row a line where the lines are as many as the rows, a sequence of words otherwise.

    Some programs end rows with numbers that the header does not name; on lines of their own these are left out.
    """

    def __init__(self, body: bytes, rows: int):
        lines = [line for line in body.splitlines() if not line.isspace() and line]
        self.lines = lines if len(lines) == rows else None
        self.words = [] if self.lines is not None else body.split()
        self.at = self.row = 0

    def read(self, element: _Element) -> dict[str, Column]:
        if self.lines is None and element.rows * len(element.properties) > len(self.words) - self.at:
            raise ValueError(f"{element.rows} of {element.name!r} promised, fewer found")
        if all(p.count_dtype is None for p in element.properties):
            width = len(element.properties)
            words = self._table(element.rows, width) if self.lines is not None else self._take(element.rows * width)
            block = np.array(words, dtype=np.float64).reshape(element.rows, width)
            return {p.name: as_type(block[:, i], p.dtype) for i, p in enumerate(element.properties)}
        values: list[list[bytes]] = [[] for _ in element.properties]
        sizes: list[list[int]] = [[] for _ in element.properties]
        for _ in range(element.rows):
            if self.lines is not None:
                self.words, self.at = self.lines[self.row].split(), 0
                self.row += 1
            for i, p in enumerate(element.properties):
                size = 1 if p.count_dtype is None else int(self._take(1)[0])
                values[i] += self._take(size)
                sizes[i].append(size)
        out: dict[str, Column] = {}
        for p, value, size_list in zip(element.properties, values, sizes, strict=True):
            column = as_type(np.array(value, dtype=np.float64), p.dtype)
            out[p.name] = column if p.count_dtype is None else (np.array(size_list, dtype=np.int64), column)
        return out

    def _table(self, rows: int, width: int) -> list[bytes]:
        """The first words of each of the next lines."""
        assert self.lines is not None
        lines = self.lines[self.row : self.row + rows]
        self.row += rows
        words = b" ".join(lines).split()
        if len(words) == rows * width:
            return words
        found = [line.split()[:width] for line in lines]
        if any(len(row) < width for row in found):
            raise ValueError(f"a line of fewer than {width} numbers")
        return [word for row in found for word in row]

    def _take(self, count: int) -> list[bytes]:
        if not 0 <= count <= len(self.words) - self.at:
            raise ValueError(f"{count} values promised, {len(self.words) - self.at} left")
        self.at += count
        return self.words[self.at - count : self.at]


class _Binary:
    """Body of a binary file."""

    def __init__(self, content: bytes, at: int):
        self.content, self.at = content, at

    def read(self, element: _Element) -> dict[str, Column]:
        if element.rows == 0:
            return {p.name: _empty(p) for p in element.properties}
        sizes = self._sizes_of_first(element)
        fields = []
        for p, size in zip(element.properties, sizes, strict=True):
            if p.count_dtype is not None:
                fields.append((f"size of {p.name}", p.count_dtype))
            fields.append((p.name, p.dtype, (size,)) if p.count_dtype is not None else (p.name, p.dtype))  # type: ignore[arg-type]
        dtype = np.dtype(fields)
        if element.rows * dtype.itemsize <= len(self.content) - self.at:
            table = np.frombuffer(self.content, dtype, element.rows, self.at)
            lists = [(p, s) for p, s in zip(element.properties, sizes, strict=True) if p.count_dtype is not None]
            if all((table[f"size of {p.name}"] == size).all() for p, size in lists):
                self.at += element.rows * dtype.itemsize
                return {p.name: _column(table, p) for p in element.properties}
        return self._read_uneven(element)

    def _sizes_of_first(self, element: _Element) -> list[int]:
        at, sizes = self.at, []
        for p in element.properties:
            size = 1
            if p.count_dtype is not None:
                size = int(np.frombuffer(self.content, p.count_dtype, 1, at)[0])
                at += p.count_dtype.itemsize
            if not 0 <= size <= len(self.content):
                raise ValueError(f"a list of {size} values in {element.name!r}")
            sizes.append(size)
            at += size * p.dtype.itemsize
        return sizes

    def _read_uneven(self, element: _Element) -> dict[str, Column]:
        """Row by row: lists of different sizes."""
        smallest = sum((p.count_dtype or p.dtype).itemsize for p in element.properties)
        if element.rows * smallest > len(self.content) - self.at:
            raise ValueError(f"{element.rows} of {element.name!r} promised, fewer found")
        # Where each row's values begin, then all of them at once: an array for every row would take twenty times more.
        starts = np.zeros((len(element.properties), element.rows), dtype=np.int64)
        sizes = np.ones((len(element.properties), element.rows), dtype=np.int64)
        at, content = self.at, self.content
        for row in range(element.rows):
            for i, p in enumerate(element.properties):
                size = 1
                if p.count_dtype is not None:
                    size = _count(content, at, p.count_dtype)
                    at += p.count_dtype.itemsize
                    sizes[i, row] = size
                starts[i, row] = at
                at += size * p.dtype.itemsize
            if at > len(content):
                raise ValueError(f"{element.rows} of {element.name!r} promised, fewer found")
        self.at = at
        out: dict[str, Column] = {}
        for p, start, length in zip(element.properties, starts, sizes, strict=True):
            column = self._gather(start, length, p.dtype)
            out[p.name] = column if p.count_dtype is None else (length, column)
        return out

    def _gather(self, starts: NDArray[np.int64], sizes: NDArray[np.int64], dtype: np.dtype) -> NDArray:
        """Values that begin at some bytes, so many from each."""
        width = dtype.itemsize
        begin = np.repeat(starts - width * (np.cumsum(sizes) - sizes), sizes)
        first = begin + width * np.arange(len(begin))
        found = np.frombuffer(self.content, np.uint8)[first[:, None] + np.arange(width)]
        return _native(np.ascontiguousarray(found).view(dtype).reshape(-1))


def _count(content: bytes, at: int, dtype: np.dtype) -> int:
    """Size of a list."""
    size = content[at] if dtype.itemsize == 1 and dtype.kind == "u" else int(np.frombuffer(content, dtype, 1, at)[0])
    if not 0 <= size <= len(content):
        raise ValueError(f"a list of {size} values")
    return size


def _column(table: NDArray, p: _Property) -> Column:
    values = _native(table[p.name])
    if p.count_dtype is None:
        return values
    return np.full(len(table), values.shape[1], dtype=np.int64), values.ravel()


def _empty(p: _Property) -> Column:
    values = np.zeros(0, dtype=p.dtype.newbyteorder("="))
    return values if p.count_dtype is None else (np.zeros(0, dtype=np.int64), values)


def _native(values: NDArray) -> NDArray:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def _data(columns: dict[str, Column]) -> dict[str, NDArray]:
    """Scalar properties; colours joined."""
    data = {k: v for k, v in columns.items() if isinstance(v, np.ndarray) and k not in _GEOMETRY}
    for kind in ("", "diffuse_"):
        channels = [kind + k for k in ("red", "green", "blue", "alpha") if kind + k in data]
        if len(channels) >= 3 and channels[2] == f"{kind}blue" and "color" not in data:
            data["color"] = np.stack([data.pop(k) for k in channels], axis=1)
    return data


FORMATS = (MeshFormat("PLY", (".ply",), read_ply),)
