"""VTK's XML files of polygons (``.vtp``, ``.vtu``): text, base64 and appended data, compressed or not."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, join_pieces
from meshconv.io.meshes.readers.vtk.cells import GHOSTS, Cells, GridCells, grid_cells
from meshconv.io.text import decode_text
from meshconv.io.unpack import check_expansion, inflate

_TYPES = {f"{name}{bits}": f"{kind}{bits // 8}" for name, kind, all_bits in
          (("Int", "i", (8, 16, 32, 64)), ("UInt", "u", (8, 16, 32, 64)), ("Float", "f", (32, 64)))
          for bits in all_bits}  # fmt: skip
_HEADS = {"UInt32": "u4", "UInt64": "u8"}
_METHODS: dict[str | None, str] = {"vtkZLibDataCompressor": "zlib", "vtkLZMADataCompressor": "lzma",
                                   "vtkLZ4DataCompressor": "lz4"}  # fmt: skip
_APPENDED = re.compile(rb"<AppendedData[^>]*>\s*_")


def read_vtp(path: Path) -> PolygonFile:
    """Read a VTK XML file whose data set is PolyData, or an UnstructuredGrid of flat cells or of volumes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Strips behind the polygons, and arrays of points and of these under their names, ``[n]`` or
        ``[n, components]``, of all pieces one after the other. Loose points, lines and ghost cells are left
        out, as are texts and normals.

    Raises
    ------
    InputError
        Not this format, another data set, a compressor other than zlib, LZMA and LZ4, curved cells, volumes in several
        pieces, fewer numbers than the file promises, or more than it can hold.
    """
    try:
        file = VtkFile(path.read_bytes())
        pieces = [_piece(file, element) for element in file.pieces]
        if not pieces:
            raise ValueError("it has no piece")
        if len(pieces) > 1 and any(piece.volumes for piece in pieces):
            raise ValueError(f"its volume cells are in {len(pieces)} pieces, between which lie faces; merge them")
    except (ValueError, KeyError, OverflowError, ElementTree.ParseError, binascii.Error) as error:
        raise InputError(
            f"{path}: cannot be read as '{path.suffix[1:]}' ({first_line(error)}); save it as polydata or as ply"
        ) from error
    return join_pieces(pieces, str(path))


class VtkFile:
    """The elements of a file, and the numbers behind them; ``ValueError`` and its kin where they are damaged."""

    def __init__(self, content: bytes):
        self.size, self.unpacked = len(content), 0
        found = _APPENDED.search(content)
        self.appended = b""
        if found:  # may hold any bytes, which is no XML
            end = content.rfind(b"</AppendedData>")
            if end < found.end():
                raise ValueError("the appended data are cut short")
            self.appended, content = content[found.end() : end], content[: found.end()] + content[end:]
        text = decode_text(content).strip()
        if "<!DOCTYPE" in text:  # entities could multiply what is read
            raise ValueError("it has a document type, which no file of polygons needs")
        self.head_bytes = content
        self.root = ElementTree.fromstring(text)
        self.data_set = self.root.get("type")
        if self.root.tag != "VTKFile" or self.data_set not in ("PolyData", "UnstructuredGrid"):
            raise ValueError(f"{self.root.tag} of type {self.data_set} where VTKFile of PolyData belongs")
        self.order: Literal["<", ">"] = ">" if self.root.get("byte_order") == "BigEndian" else "<"
        self.head = np.dtype(_HEADS[self.root.get("header_type", "UInt32")]).newbyteorder(self.order)
        self.compressor = self.root.get("compressor")
        if self.compressor is not None and self.compressor not in _METHODS:
            raise ValueError(f"compressor {self.compressor} is not known; zlib, LZMA and LZ4 are")
        appended = self.root.find("AppendedData")
        self.raw = appended is not None and appended.get("encoding") == "raw"

    @property
    def pieces(self) -> list[ElementTree.Element]:
        return self.root.findall(f"{self.data_set}/Piece")

    def array(self, element: ElementTree.Element) -> NDArray:
        """Numbers of a ``DataArray``, ``[n]`` or ``[n, components]``."""
        dtype = np.dtype(_TYPES[element.get("type", "")])
        layout = element.get("format", "ascii")
        if layout == "ascii":
            values = np.array((element.text or "").split(), dtype=np.float64 if dtype.kind == "f" else object)
            values = values.astype(dtype)
        else:
            if layout == "appended":
                offset = int(element.attrib["offset"])
                if not 0 <= offset <= len(self.appended):
                    raise ValueError(f"offset {offset} lies outside of the appended data")
                block, raw = memoryview(self.appended)[offset:], self.raw
            else:
                block, raw = memoryview((element.text or "").strip().encode()), False
            values = np.frombuffer(self._unpack(block, raw), dtype.newbyteorder(self.order)).astype(dtype)
        width = int(element.get("NumberOfComponents") or 1)
        return values.reshape(-1, width) if width > 1 else values

    def _unpack(self, block: memoryview, raw: bool) -> bytes:
        """The bytes of one array, behind a header that tells how many there are."""
        size = self.head.itemsize

        def part(at: int, count: int) -> tuple[bytes, int]:
            """So many bytes that are encoded together, and where the next begin."""
            end = at + (count if raw else 4 * -(-count // 3))
            found = bytes(block[at:end]) if raw else base64.b64decode(block[at:end])
            if len(found) < count:
                raise ValueError(f"{count} bytes promised, {len(found)} found")
            return found[:count], end

        def numbers(count: int) -> list[int]:
            return np.frombuffer(part(0, count * size)[0], self.head).tolist()

        def promised(count: int) -> None:
            """Count bytes before they are unpacked: many arrays can name one block."""
            self.unpacked += count
            check_expansion(self.unpacked, self.size)

        if self.compressor is None:
            (length,) = numbers(1)
            promised(length)
            return part(0, size + length)[0][size:]
        (count,) = numbers(1)
        _, whole, rest, *sizes = numbers(3 + count)
        lengths = [whole] * count
        if count and rest:
            lengths[-1] = rest
        promised(sum(lengths))
        packed, _ = part(part(0, (3 + count) * size)[1], sum(sizes))
        ends = np.cumsum(sizes).tolist()
        blocks = (packed[end - packed_size : end] for end, packed_size in zip(ends, sizes, strict=True))
        method = _METHODS[self.compressor]
        return b"".join(inflate(b, length, method) for b, length in zip(blocks, lengths, strict=True))


def counts_of(piece: ElementTree.Element) -> dict[str, int]:
    """Elements of each kind in a piece, as it says."""
    kinds = ("Points", "Cells", "Verts", "Lines", "Polys", "Strips")
    count = {kind: int(piece.get(f"NumberOf{kind}") or 0) for kind in kinds}
    if min(count.values()) < 0:
        raise ValueError(f"a piece with {min(count.values())} elements")
    return count


def cells_of(file: VtkFile, piece: ElementTree.Element) -> GridCells:
    """The cells of a piece that are its own."""
    arrays = {a.get("Name", ""): a for a in piece.findall("CellData/DataArray")}
    return _every_cell(file, piece).own({name: file.array(arrays[name]) for name in GHOSTS if name in arrays})


def _every_cell(file: VtkFile, piece: ElementTree.Element) -> GridCells:
    count = counts_of(piece)
    if file.data_set == "UnstructuredGrid":
        types = [file.array(a) for a in piece.findall("Cells/DataArray") if a.get("Name") == "types"]
        all_types = np.concatenate(types).astype(np.int64) if types else np.zeros(0, np.int64)
        return grid_cells(_cells(file, piece, "Cells", count["Cells"]), all_types)
    polygons, bands = (_cells(file, piece, kind, count[kind]) for kind in ("Polys", "Strips"))
    sizes, corners = (np.concatenate([a, b]) for a, b in zip(polygons, bands, strict=True))
    loose = count["Verts"] + count["Lines"]
    if loose + len(sizes) > file.size:  # an element takes a byte at least
        raise ValueError(f"{loose} points and lines promised")
    return GridCells(
        (sizes, corners), np.arange(len(sizes)) >= count["Polys"], np.arange(loose + len(sizes)) >= loose, [], ""
    )


def _piece(file: VtkFile, piece: ElementTree.Element) -> PolygonFile:
    count, points = counts_of(piece)["Points"], piece.find("Points/DataArray")
    vertices = np.zeros((0, 3)) if points is None else file.array(points).reshape(-1, 3).astype(np.float64)
    if len(vertices) != count:
        raise ValueError(f"{count} points promised, {len(vertices)} found")
    grid = cells_of(file, piece)
    data: list[dict[str, NDArray]] = []
    for where, rows in (("PointData", count), ("CellData", len(grid.kept))):
        found: dict[str, NDArray] = {}
        element = piece.find(where)
        for array in () if element is None else element.findall("DataArray"):
            name = array.get("Name", "")
            if array.get("type") in _TYPES and element is not None and name != element.get("Normals"):
                values = file.array(array)
                if len(values) != rows:
                    raise ValueError(f"array {name!r} has {len(values)} rows for {rows}")
                found[name] = values
        data.append(found)
    at_vertices, of_cells = data
    sizes, corners = grid.flat
    of_polygons = {name: values[grid.kept] for name, values in of_cells.items()}
    volumes = grid.surface(vertices, at_vertices, of_cells)
    return PolygonFile(vertices, corners, sizes, at_vertices, of_polygons, grid.strips, volumes=volumes)


def _cells(file: VtkFile, piece: ElementTree.Element, kind: str, count: int) -> Cells:
    """Sizes and corners of the cells of one kind."""
    arrays = {a.get("Name"): file.array(a).astype(np.int64).reshape(-1) for a in piece.findall(f"{kind}/DataArray")}
    ends = arrays.get("offsets", np.zeros(0, np.int64))[:count]
    corners = arrays.get("connectivity", np.zeros(0, np.int64))
    if len(ends) < count or (count and ends[-1] > len(corners)) or (np.diff(ends, prepend=0) < 0).any():
        raise ValueError(f"the offsets of its {count} {kind} do not fit {len(corners)} corners")
    return np.diff(ends, prepend=0), corners[: ends[-1] if count else 0]


FORMATS = (MeshFormat("VTK XML", (".vtp", ".vtu"), read_vtp),)
