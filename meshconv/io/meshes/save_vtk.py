"""VTK's XML files, written: polygons with their data, and arrays added to a file whose own bytes stay."""

from __future__ import annotations

import base64
import lzma
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from meshconv.extras import require
from meshconv.io.meshes.polygons import PolygonFile
from meshconv.io.meshes.readers.vtk.xml import VtkFile, cells_of, counts_of

_KINDS = {"f": "Float", "i": "Int", "u": "UInt"}
_TAG = re.compile(rb"<\w+(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
#: Extensions of the files to which arrays can be added.
XML_SUFFIXES = (".vtp", ".vtu")


def _lz4(block: bytes) -> bytes:
    require("a file that is compressed with LZ4", "formats", only="lz4")
    import lz4.block

    return lz4.block.compress(block, store_size=False)


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "vtkZLibDataCompressor": zlib.compress,
    "vtkLZMADataCompressor": lzma.compress,
    "vtkLZ4DataCompressor": _lz4,
}


class _Layout(NamedTuple):
    """How a file holds its numbers."""

    order: Literal["<", ">"]
    head: np.dtype
    compressor: str | None

    def array(self, name: str, values: NDArray) -> bytes:
        """A ``DataArray``, its numbers in base64."""
        values = values.astype(np.uint8) if values.dtype.kind == "b" else values
        values = values.astype(np.float32) if values.dtype == np.float16 else values
        kind = f"{_KINDS[values.dtype.kind]}{8 * values.dtype.itemsize}"
        width = int(np.prod(values.shape[1:], dtype=np.int64))
        about = f'type="{kind}" Name={quoteattr(name)} NumberOfComponents="{width}" format="binary"'
        block = np.ascontiguousarray(values, values.dtype.newbyteorder(self.order)).tobytes()
        return f"<DataArray {about}>".encode() + self._packed(block) + b"</DataArray>\n"

    def arrays(self, data: Mapping[str, NDArray]) -> bytes:
        """All numeric ones; words have no place."""
        return b"".join(self.array(name, values) for name, values in data.items() if values.dtype.kind in "biuf")

    def _packed(self, block: bytes) -> bytes:
        if self.compressor is None:
            return base64.b64encode(np.array([len(block)], self.head).tobytes() + block)
        if not block:
            return base64.b64encode(np.zeros(3, self.head).tobytes())
        packed = _COMPRESS[self.compressor](block)
        head = np.array([1, len(block), 0, len(packed)], self.head)
        return base64.b64encode(head.tobytes()) + base64.b64encode(packed)


def vtk_xml(content: PolygonFile, kind: Literal["PolyData", "UnstructuredGrid"] = "PolyData") -> bytes:
    """A file of polygons with all numeric data of vertices and polygons, compressed with zlib."""
    layout = _Layout("<", np.dtype("<u8"), "vtkZLibDataCompressor")
    ends = np.cumsum(content.sizes)
    cells = {"connectivity": content.corners.astype(np.int64), "offsets": ends}
    if kind == "PolyData":
        count, where = f'NumberOfPolys="{len(ends)}"', b"Polys"
    else:
        count, where = f'NumberOfCells="{len(ends)}"', b"Cells"
        # A triangle, a quadrilateral, or another polygon.
        cells["types"] = np.choose(np.clip(content.sizes - 3, 0, 2), [5, 9, 7]).astype(np.uint8)
    head = (f'<?xml version="1.0"?>\n<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" '
            f'header_type="UInt64" compressor="{layout.compressor}">\n<{kind}>\n'
            f'<Piece NumberOfPoints="{len(content.vertices)}" {count}>\n')  # fmt: skip
    parts = [head.encode(), b"<PointData>\n", layout.arrays(content.vertex_data), b"</PointData>\n<CellData>\n",
             layout.arrays(content.polygon_data), b"</CellData>\n<Points>\n", layout.array("Points", content.vertices),
             b"</Points>\n<", where, b">\n", layout.arrays(cells), b"</", where, b">\n",
             f"</Piece>\n</{kind}>\n</VTKFile>\n".encode()]  # fmt: skip
    return b"".join(parts)


def with_arrays(path: Path, at_points: Mapping[str, NDArray], of_cells: Mapping[str, NDArray]) -> bytes:
    """A ``.vtp`` or ``.vtu`` file with more arrays; all that it had stays as it is, byte by byte.

    Parameters
    ----------
    path : Path
    at_points : mapping of arrays [V, ...]
        Of all its points.
    of_cells : mapping of arrays [P, ...]
        Of its polygons, or of its cells where they are volumes. Loose points and lines have NaN, or -1.

    Raises
    ------
    ValueError
        The file is damaged, or has another number of points or cells.
    """
    content = path.read_bytes()
    file = VtkFile(content)
    layout = _Layout(file.order, file.head, file.compressor)
    texts: list[dict[bytes, bytes]] = []
    point = cell = 0
    for piece in file.pieces:
        points, grid = counts_of(piece)["Points"], cells_of(file, piece)
        polygons = len(grid.kept) if grid.volumes else int(grid.kept.sum())
        here = {name: values[point : point + points] for name, values in at_points.items()}
        on = {name: values[cell : cell + polygons] for name, values in of_cells.items()}
        if not grid.volumes:
            on = {name: _spread(values, grid.kept) for name, values in on.items()}
        texts.append({b"PointData": layout.arrays(here), b"CellData": layout.arrays(on)})
        point, cell = point + points, cell + polygons
    if any(len(v) != point for v in at_points.values()) or any(len(v) != cell for v in of_cells.values()):
        raise ValueError(f"arrays are not of its {point} points and {cell} cells")
    return _inserted(content, file.head_bytes, texts)


def _spread(values: NDArray, kept: NDArray[np.bool_]) -> NDArray:
    """Values of polygons at these of all cells."""
    whole = np.full((len(kept), *values.shape[1:]), np.nan if values.dtype.kind == "f" else -1).astype(values.dtype)
    whole[kept] = values
    return whole


def _inserted(content: bytes, markup: bytes, texts: list[dict[bytes, bytes]]) -> bytes:
    """Text put into elements of each piece; ``markup`` is the file without appended data, which come last."""
    places: list[tuple[int, bytes]] = []
    for number, (piece, inside) in enumerate(_places(markup)):
        for name, text in texts[number].items():
            if not text:
                continue
            tag = _TAG.match(markup, inside.get(name, piece))
            if tag is None or (tag[0].endswith(b"/>") and name not in inside):
                raise ValueError(f"piece {number} is not as XML files of VTK are")
            if name not in inside:
                places.append((tag.end(), b"\n<" + name + b">\n" + text + b"</" + name + b">\n"))
            elif tag[0].endswith(b"/>"):
                places.append((tag.end() - 2, b">\n" + text + b"</" + name + b"\0"))  # its own > ends the closing tag
            else:
                places.append((tag.end(), b"\n" + text))
    parts, at = [], 0
    for place, text in sorted(places):
        parts += [content[at:place], text.removesuffix(b"\0")]
        at = place + (1 if text.endswith(b"\0") else 0)
    return b"".join([*parts, content[at:]])


def _places(markup: bytes) -> list[tuple[int, dict[bytes, int]]]:
    """Where each piece, and in it PointData and CellData, begin."""
    start = len(markup) - len(markup.lstrip())
    found: list[tuple[int, dict[bytes, int]]] = []
    parser = expat.ParserCreate()

    def begin(name: str, _: dict[str, str]) -> None:
        place = start + parser.CurrentByteIndex
        if name == "Piece":
            found.append((place, {}))
        elif name in ("PointData", "CellData") and found:
            found[-1][1][name.encode()] = place

    parser.StartElementHandler = begin
    try:
        parser.Parse(markup[start:], True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    return found
