"""VTK's XML files of polygons (``.vtp``): text, base64 and appended data, compressed or not."""

from __future__ import annotations

import base64
import binascii
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.io.meshes.polygons import PolygonFile

_TYPES = {f"{name}{bits}": f"{kind}{bits // 8}" for name, kind, all_bits in
          (("Int", "i", (8, 16, 32, 64)), ("UInt", "u", (8, 16, 32, 64)), ("Float", "f", (32, 64)))
          for bits in all_bits}  # fmt: skip
_DECOMPRESS: dict[str | None, Callable[[bytes], bytes]] = {
    "vtkZLibDataCompressor": zlib.decompress, "vtkLZMADataCompressor": lzma.decompress
}  # fmt: skip
_APPENDED = re.compile(rb"<AppendedData[^>]*>\s*_")


def read_vtp(path: Path) -> PolygonFile:
    """Read a VTK XML file whose data set is PolyData.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Arrays of points and polygons under their names, ``[n]`` or ``[n, components]``, of all pieces one after the
        other. Loose points and lines are left out, as are texts and normals.

    Raises
    ------
    InputError
        Not this format, another data set, triangle strips, a compressor other than zlib or LZMA, or fewer numbers than
        the file promises.
    """
    try:
        file = _File(path.read_bytes())
        pieces = [_piece(file, element) for element in file.root.findall("PolyData/Piece")]
        if not pieces:
            raise ValueError("it has no piece")
        return _join(pieces)
    except (ValueError, KeyError, ElementTree.ParseError, binascii.Error, zlib.error, lzma.LZMAError) as error:
        reason = f"{error} is missing or unknown" if isinstance(error, KeyError) else str(error).splitlines()[0][:120]
        raise InputError(f"{path}: cannot be read as 'vtp' ({reason}); save it as polydata or as ply") from error


class _File:
    """The elements of a file, and the numbers behind them."""

    def __init__(self, content: bytes):
        found = _APPENDED.search(content)
        self.appended = b""
        if found:  # may hold any bytes, which is no XML
            end = content.rfind(b"</AppendedData>")
            if end < found.end():
                raise ValueError("the appended data are cut short")
            self.appended, content = content[found.end() : end], content[: found.end()] + content[end:]
        self.root = ElementTree.fromstring(content)
        if self.root.tag != "VTKFile" or self.root.get("type") != "PolyData":
            raise ValueError(f"{self.root.tag} of type {self.root.get('type')} where VTKFile of PolyData belongs")
        self.order: Literal["<", ">"] = ">" if self.root.get("byte_order") == "BigEndian" else "<"
        self.head = np.dtype(_TYPES[self.root.get("header_type", "UInt32")]).newbyteorder(self.order)
        self.compressor = self.root.get("compressor")
        if self.compressor is not None and self.compressor not in _DECOMPRESS:
            raise ValueError(f"compressor {self.compressor} is not known, zlib and LZMA are")
        appended = self.root.find("AppendedData")
        self.raw = appended is not None and appended.get("encoding") == "raw"

    def array(self, element: ElementTree.Element) -> NDArray:
        """Numbers of a ``DataArray``, ``[n]`` or ``[n, components]``."""
        dtype = np.dtype(_TYPES[element.get("type", "")])
        layout = element.get("format", "ascii")
        if layout == "ascii":
            values = np.array((element.text or "").split(), dtype=np.float64 if dtype.kind == "f" else object)
            values = values.astype(dtype)
        else:
            if layout == "appended":
                block, raw = self.appended[int(element.attrib["offset"]) :], self.raw
            else:
                block, raw = (element.text or "").strip().encode(), False
            values = np.frombuffer(self._unpack(block, raw), dtype.newbyteorder(self.order)).astype(dtype)
        width = int(element.get("NumberOfComponents") or 1)
        return values.reshape(-1, width) if width > 1 else values

    def _unpack(self, block: bytes, raw: bool) -> bytes:
        """The bytes of one array, behind a header that tells how many there are."""
        size = self.head.itemsize

        def part(at: int, count: int) -> tuple[bytes, int]:
            """So many bytes that are encoded together, and where the next begin."""
            end = at + (count if raw else 4 * -(-count // 3))
            found = block[at:end] if raw else base64.b64decode(block[at:end])
            if len(found) < count:
                raise ValueError(f"{count} bytes promised, {len(found)} found")
            return found[:count], end

        def numbers(count: int) -> list[int]:
            return np.frombuffer(part(0, count * size)[0], self.head).tolist()

        if self.compressor is None:
            return part(0, size + numbers(1)[0])[0][size:]
        (count,) = numbers(1)
        sizes = numbers(3 + count)[3:]
        packed, _ = part(part(0, (3 + count) * size)[1], sum(sizes))
        ends = np.cumsum(sizes)
        blocks = (packed[end - length : end] for end, length in zip(ends, sizes, strict=True))
        return b"".join(map(_DECOMPRESS[self.compressor], blocks))


def _piece(file: _File, piece: ElementTree.Element) -> PolygonFile:
    count = {kind: int(piece.get(f"NumberOf{kind}") or 0) for kind in ("Points", "Verts", "Lines", "Strips", "Polys")}
    if count["Strips"]:
        raise ValueError("triangle strips are not read; convert them to polygons")
    points = piece.find("Points/DataArray")
    vertices = np.zeros((0, 3)) if points is None else file.array(points).reshape(-1, 3).astype(np.float64)
    cells = {a.get("Name"): file.array(a).astype(np.int64) for a in piece.findall("Polys/DataArray")}
    ends = cells.get("offsets", np.zeros(0, np.int64))[: count["Polys"]]
    sizes = np.diff(ends, prepend=0)
    corners = cells.get("connectivity", np.zeros(0, np.int64))[: sizes.sum()]
    before = count["Verts"] + count["Lines"]
    data: list[dict[str, NDArray]] = []
    for where, rows, skip in (("PointData", count["Points"], 0), ("CellData", before + count["Polys"], before)):
        found: dict[str, NDArray] = {}
        element = piece.find(where)
        for array in () if element is None else element.findall("DataArray"):
            name = array.get("Name", "")
            if array.get("type") in _TYPES and element is not None and name != element.get("Normals"):
                values = file.array(array)
                if len(values) != rows:
                    raise ValueError(f"array {name!r} has {len(values)} rows for {rows}")
                found[name] = values[skip:]
        data.append(found)
    fewer = (len(vertices), len(ends), len(corners)) != (count["Points"], count["Polys"], sizes.sum())
    if fewer or (sizes < 0).any():
        raise ValueError("points or polygons are fewer than promised")
    return PolygonFile(vertices, corners, sizes, *data)


def _join(pieces: list[PolygonFile]) -> PolygonFile:
    """All pieces as one file; data that some piece lacks are left out."""
    starts = np.cumsum([0, *(len(p.vertices) for p in pieces)])
    corners = np.concatenate([p.corners + start for p, start in zip(pieces, starts[:-1], strict=True)])
    vertices, sizes = (np.concatenate([getattr(p, name) for p in pieces]) for name in ("vertices", "sizes"))
    data = [
        {name: np.concatenate([getattr(p, kind)[name] for p in pieces]) for name in getattr(pieces[0], kind)
         if all(name in getattr(p, kind) for p in pieces)}
        for kind in ("vertex_data", "polygon_data")
    ]  # fmt: skip
    return PolygonFile(vertices, corners, sizes, *data)
