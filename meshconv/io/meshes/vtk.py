"""Legacy VTK files of polygons, ASCII and binary, with the data of their points and cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.io.meshes.polygons import PolygonFile

_TYPES = {"bit": "u1", "char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2", "int": "i4",
          "unsigned_int": "u4", "long": "i8", "unsigned_long": "u8", "vtktypeint64": "i8", "vtkidtype": "i8",
          "float": "f4", "double": "f8"}  # fmt: skip
_CELLS = ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS")
# Components of an attribute of this kind; normals are computed, not read.
_COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9}


def read_vtk(path: Path) -> PolygonFile:
    """Read a legacy VTK file whose data set is POLYDATA.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Scalars, vectors, tensors and field arrays of points and polygons under their names, ``[n]`` or
        ``[n, components]``. Loose points and lines are left out.

    Raises
    ------
    InputError
        Not this format, another data set than POLYDATA, triangle strips, or fewer numbers than the file promises.
    """
    body = _Body(path.read_bytes())
    points, cells = np.zeros((0, 3)), {}
    data: dict[str, dict[str, NDArray]] = {"POINT_DATA": {}, "CELL_DATA": {}}
    size = {"POINT_DATA": 0, "CELL_DATA": 0}
    where = ""
    try:
        body.header()
        while (words := body.line()) is not None:
            key = words[0].upper()
            if key == "POINTS":
                points = body.values(3 * int(words[1]), words[2]).reshape(-1, 3).astype(np.float64)
            elif key in _CELLS:
                cells[key] = body.cells(words)
            elif key in data:
                where, size[key] = key, int(words[1])
            elif key == "METADATA":
                body.skip_block()
            elif where:
                body.attribute(key, words, size[where], data[where])
            elif key == "FIELD":
                body.attribute(key, words, 0, {})
            else:
                raise ValueError(f"{words[0]!r} is not understood")
        if "TRIANGLE_STRIPS" in cells:
            raise ValueError("triangle strips are not read; convert them to polygons")
        sizes, corners = cells.get("POLYGONS", (np.zeros(0, np.int64), np.zeros(0, np.int64)))
        before = sum(len(cells[key][0]) for key in ("VERTICES", "LINES") if key in cells)
        of_cells = {name: values[before:] for name, values in data["CELL_DATA"].items()}
        for name, values, count in (*((n, v, len(points)) for n, v in data["POINT_DATA"].items()),
                                    *((n, v, len(sizes)) for n, v in of_cells.items())):  # fmt: skip
            if len(values) != count:
                raise ValueError(f"array {name!r} has {len(values)} rows for {count}")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        reason = f"no type {error}" if isinstance(error, KeyError) else str(error).splitlines()[0][:120]
        raise InputError(f"{path}: cannot be read as 'vtk' ({reason}); save it as legacy polydata or as ply") from error
    return PolygonFile(points, corners, sizes, data["POINT_DATA"], of_cells)


class _Body:
    """Lines of text and blocks of numbers, one after the other."""

    def __init__(self, content: bytes):
        self.content, self.at, self.binary = content, 0, False

    def header(self) -> None:
        first = self.content[:200].split(b"\n")[0]
        if not first.lower().startswith(b"# vtk datafile"):
            raise ValueError("the first line is not '# vtk DataFile Version'")
        for _ in range(2):  # that line and the title, which may be empty
            self.at = self.content.index(b"\n", self.at) + 1
        kind, data_set = self.line(), self.line()
        self.binary = kind == ["BINARY"]
        if kind not in (["ASCII"], ["BINARY"]) or data_set is None or data_set[0].upper() != "DATASET":
            raise ValueError(f"{kind} and {data_set} where ASCII or BINARY and DATASET belong")
        if data_set[1].upper() != "POLYDATA":
            raise ValueError(f"the data set is {data_set[1]}, not POLYDATA")

    def line(self) -> list[str] | None:
        """Words of the next line that has any; None at the end."""
        while self.at < len(self.content):
            end = self.content.find(b"\n", self.at)
            end = len(self.content) if end < 0 else end
            words = self.content[self.at : end].decode("utf-8", errors="replace").split()
            self.at = end + 1
            if words:
                return words
        return None

    def skip_block(self) -> None:
        """Up to the next empty line."""
        end = self.content.find(b"\n\n", self.at)
        self.at = len(self.content) if end < 0 else end + 2

    def values(self, count: int, kind: str) -> NDArray:
        dtype = np.dtype(_TYPES[kind.lower()])
        if count < 0:
            raise ValueError(f"{count} numbers promised")
        if self.binary:
            end = self.at + count * dtype.itemsize
            if end > len(self.content):
                raise ValueError(f"{count} numbers promised, fewer found")
            block = np.frombuffer(self.content[self.at : end], dtype.newbyteorder(">"))
            self.at = end
            return block.astype(dtype)
        words = self.content[self.at :].split(None, count)
        if len(words) < count:
            raise ValueError(f"{count} numbers promised, {len(words)} found")
        self.at = len(self.content) - (len(words[count]) if len(words) > count else 0)
        return np.array(words[:count], dtype=np.float64 if dtype.kind == "f" else np.int64).astype(dtype)

    def cells(self, words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sizes and corners of cells, in the layout of version 5 or of those before."""
        place = self.at
        following = self.line()
        if following is not None and following[0].upper() == "OFFSETS":
            offsets = self.values(int(words[1]), following[1]).astype(np.int64)
            connectivity = self.line()
            if connectivity is None:
                raise ValueError("no CONNECTIVITY")
            return np.diff(offsets), self.values(int(words[2]), connectivity[1]).astype(np.int64)
        self.at = place
        block = self.values(int(words[2]), "int").astype(np.int64)
        starts: list[int] = []
        at = 0
        while at < len(block) and len(starts) < int(words[1]):
            starts.append(at)
            at += int(block[at]) + 1
        if len(starts) != int(words[1]) or at != len(block):
            raise ValueError(f"{words[1]} cells promised, which {words[2]} numbers do not make")
        return block[starts], np.delete(block, starts)

    def attribute(self, key: str, words: list[str], rows: int, found: dict[str, NDArray]) -> None:
        """One array, or those of a field, under their names."""
        if key == "FIELD":
            for _ in range(int(words[2])):
                line = self.line()
                if line is not None and line[0].upper() == "METADATA":
                    self.skip_block()
                    line = self.line()
                if line is None:
                    raise ValueError("a field ends early")
                name, kind = line[0], line[3]
                width, count = int(line[1]), int(line[2])
                values = self.values(width * count, kind)
                found[name] = values.reshape(count, width) if width != 1 else values
        elif key == "SCALARS":
            width = int(words[3]) if len(words) > 3 else 1
            place = self.at
            table = self.line()
            if table is None or table[0].upper() != "LOOKUP_TABLE":
                self.at = place
            values = self.values(rows * width, words[2])
            found[words[1]] = values.reshape(rows, width) if width > 1 else values
        elif key in _COMPONENTS:
            values = self.values(rows * _COMPONENTS[key], words[2]).reshape(rows, -1)
            if key != "NORMALS":
                found[words[1]] = values
        elif key in ("COLOR_SCALARS", "LOOKUP_TABLE"):
            width, count = (int(words[2]), rows) if key == "COLOR_SCALARS" else (4, int(words[2]))
            values = self.values(count * width, "unsigned_char" if self.binary else "float").reshape(count, width)
            if key == "COLOR_SCALARS" and width in (3, 4):
                found["color"] = values if self.binary else np.round(255 * values).astype(np.uint8)
        elif key == "TEXTURE_COORDINATES":
            self.values(rows * int(words[2]), words[3])
        else:
            raise ValueError(f"attribute {words[0]!r} is not understood")
