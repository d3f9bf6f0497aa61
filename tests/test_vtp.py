"""VTK's XML files of polygons: every way they hold numbers; what cannot be read."""

from __future__ import annotations

import base64
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lz4 import block as lz4_block

from meshconv import InputError
from meshconv.io import read_mesh

POINTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]], dtype=np.float32)
ARRAYS = {  # the four sides of a pyramid, of which two make one polygon each, and a line before them
    "Points": {"": POINTS},
    "PointData": {"shear": np.arange(15.0).reshape(5, 3), "N": POINTS, "part": np.array([3, 1, 2, 2, 9], np.int16)},
    "CellData": {"kind": np.array([7, 0, 1, 2], np.uint8)},
    "Lines": {"connectivity": np.array([0, 4], np.int64), "offsets": np.array([2], np.int64)},
    "Polys": {"connectivity": np.array([0, 3, 2, 1, 0, 1, 4, 1, 2, 4]), "offsets": np.array([4, 7, 10])},
}
Encode = Callable[[bytes], bytes]


def pack(values: bytes, head: str, compress: Encode | None, encode: Encode) -> bytes:
    """A block as VTK writes it: header and numbers together, or, compressed, after one another."""
    if compress is None:
        return encode(np.array(len(values), head).tobytes() + values)
    cut = 16
    parts = [values[i : i + cut] for i in range(0, len(values), cut)]
    packed = [compress(part) for part in parts]
    header = [len(parts), cut, len(values) % cut, *map(len, packed)]
    return encode(np.array(header, head).tobytes()) + encode(b"".join(packed))


def document(
    layout: str,
    order: str = "<",
    head: str = "u4",
    compress: Encode | None = None,
    raw: bool = False,
    name: str = "",
    content: dict[str, dict[str, np.ndarray]] = ARRAYS,
) -> bytes:
    """A file of one piece, all arrays in one layout."""
    appended, body = b"", b""
    encode: Encode = bytes if raw else base64.b64encode
    for where, arrays in content.items():
        body += f'<{where} Normals="N">'.encode() if where == "PointData" else f"<{where}>".encode()
        for key, a in arrays.items():
            kind = {"f": "Float", "i": "Int", "u": "UInt"}[a.dtype.kind] + str(8 * a.dtype.itemsize)
            width = a.shape[1] if a.ndim == 2 else 1
            body += f'<DataArray type="{kind}" Name="{key}" NumberOfComponents="{width}" format="{layout}" '.encode()
            block = pack(a.astype(a.dtype.newbyteorder(order)).tobytes(), order + head, compress, encode)
            if layout == "appended":
                body += f'offset="{len(appended)}"/>'.encode()
                appended += block
            else:
                text = " ".join(map(repr, a.ravel().tolist())).encode() if layout == "ascii" else block
                body += b">\n" + text + b"\n</DataArray>"
        body += f"</{where}>".encode()
    if layout == "appended":
        appended = b'<AppendedData encoding="%s">\n _%s\n</AppendedData>' % (b"raw" if raw else b"base64", appended)
    about = {"<": "LittleEndian", ">": "BigEndian"}[order], {"u4": "UInt32", "u8": "UInt64"}[head]
    first = '<VTKFile type="PolyData" version="1.0" byte_order="{}" header_type="{}"'.format(*about)
    first += f' compressor="{name}">' if name else ">"
    counts = 'NumberOfPoints="5" NumberOfLines="1" NumberOfPolys="3"'
    piece = f"<PolyData><Piece {counts}>".encode() + body + b"</Piece></PolyData>"
    return b'<?xml version="1.0"?>\n' + first.encode() + piece + appended + b"</VTKFile>"




def lz4(block: bytes) -> bytes:
    return lz4_block.compress(block, store_size=False)


LAYOUTS = {
    "text": document("ascii"),
    "base64": document("binary"),
    "base64, wide header, big-endian": document("binary", ">", "u8"),
    "base64, zlib": document("binary", compress=zlib.compress, name="vtkZLibDataCompressor"),
    "base64, LZ4": document("binary", compress=lz4, name="vtkLZ4DataCompressor"),
    "raw, LZ4, wide header, big-endian": document("appended", ">", "u8", lz4, True, "vtkLZ4DataCompressor"),
    "appended, raw": document("appended", raw=True),
    "appended, raw, LZMA, big-endian": document("appended", ">", "u8", lzma.compress, True, "vtkLZMADataCompressor"),
    "appended, base64, zlib": document("appended", "<", "u8", zlib.compress, False, "vtkZLibDataCompressor"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "pyramid.vtp"
    path.write_bytes(LAYOUTS[layout])
    mesh = read_mesh(path)
    assert (mesh.vertices == POINTS).all()
    assert set(mesh.vertex_data) == {"shear", "part"}  # normals are computed, not read
    assert mesh.vertex_data["shear"][4].tolist() == [12, 13, 14]
    assert mesh.vertex_data["part"].tolist() == [3, 1, 2, 2, 9]
    assert mesh.num_faces == 4
    assert mesh.to_original_faces(mesh.face_data["kind"]).tolist() == [0, 1, 2]
    assert sorted(map(sorted, mesh.faces[2:].tolist())) == [[0, 1, 4], [1, 2, 4]]


def as_grid(**options: Any) -> bytes:
    """The same polygons as cells of an unstructured grid."""
    lines, polygons = ARRAYS["Lines"], ARRAYS["Polys"]
    cells = {"connectivity": np.concatenate([lines["connectivity"], polygons["connectivity"]]),
             "offsets": np.concatenate([lines["offsets"], polygons["offsets"] + 2]),
             "types": np.array([3, 9, 5, 5], np.uint8)}  # fmt: skip
    kept = {key: value for key, value in ARRAYS.items() if key not in ("Lines", "Polys")}
    content = document(**options, content={**kept, "Cells": cells}).replace(b"PolyData", b"UnstructuredGrid")
    return content.replace(b'NumberOfLines="1" NumberOfPolys="3"', b'NumberOfCells="4"')


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("head", ["u4", "u8"])
@pytest.mark.parametrize("compressor", ["", "vtkZLibDataCompressor", "vtkLZMADataCompressor", "vtkLZ4DataCompressor"])
@pytest.mark.parametrize("layout", ["binary", "appended", "appended raw"])
def test_every_combination_of_layouts(layout: str, compressor: str, head: str, order: str, tmp_path: Path) -> None:
    """96 files, polygons and grids."""
    pack_by = {"": None, "vtkZLibDataCompressor": zlib.compress, "vtkLZMADataCompressor": lzma.compress,
               "vtkLZ4DataCompressor": lz4}[compressor]  # fmt: skip
    options: dict[str, Any] = {"layout": layout.split()[0], "order": order, "head": head, "compress": pack_by,
                               "raw": layout.endswith("raw"), "name": compressor}  # fmt: skip
    for suffix, content in ((".vtp", document(**options)), (".vtu", as_grid(**options))):
        path = tmp_path / f"pyramid{suffix}"
        path.write_bytes(content)
        mesh = read_mesh(path)
        assert np.array_equal(mesh.vertices, POINTS) and mesh.num_faces == 4
        assert mesh.vertex_data["shear"].tolist() == ARRAYS["PointData"]["shear"].tolist()
        assert mesh.vertex_data["part"].tolist() == [3, 1, 2, 2, 9] and mesh.vertex_data["part"].dtype == np.int16
        assert mesh.to_original_faces(mesh.face_data["kind"]).tolist() == [0, 1, 2]


def test_pieces_are_joined(tmp_path: Path) -> None:
    whole = document("ascii")
    start, end = whole.index(b"<Piece"), whole.index(b"</PolyData>")
    other = whole[start:end].replace(b'Name="shear"', b'Name="stress"')
    (tmp_path / "two.vtp").write_bytes(whole[:end] + other + whole[end:])
    mesh = read_mesh(tmp_path / "two.vtp")
    assert mesh.num_vertices == 10 and mesh.num_faces == 8
    assert mesh.faces[4:].min() == 5
    assert set(mesh.vertex_data) == {"part"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LAYOUTS["base64"][:700], "cannot be read"),
        (LAYOUTS["appended, raw"][:-40], "cut short"),
        (LAYOUTS["text"].replace(b'"PolyData"', b'"ImageData"'), "ImageData where"),
        (LAYOUTS["text"].replace(b"NumberOfLines", b"NumberOfStrips"), "1 Strips do not fit 0 corners"),
        (LAYOUTS["text"].replace(b"3 1 2 2 9", b"3 1 2 2 99999999999999999999999"), "too large"),
        (LAYOUTS["text"].replace(b"4 7 10", b"4 9223372036854775807 10"), "offsets of its 3 Polys do not fit"),
        (LAYOUTS["text"].replace(b'NumberOfPolys="3"', b'NumberOfPolys="-3"'), "-3 elements"),
        (LAYOUTS["appended, raw"].replace(b'offset="0"', b'offset="-9"'), "offset -9 lies outside"),
        (LAYOUTS["text"].replace(b"<VTKFile", b'<!DOCTYPE a [<!ENTITY b "9">]><VTKFile', 1), "document type"),
        (LAYOUTS["base64, zlib"].replace(b"ZLib", b"Zstd"), "vtkZstdDataCompressor is not known"),
        (LAYOUTS["base64, zlib"].replace(b"eJ", b"eK"), "cannot be read"),
        (LAYOUTS["text"].replace(b"3 1 2 2 9", b"3 1 2 2"), "'part' has 4 rows for 5"),
        (LAYOUTS["text"].replace(b'NumberOfPolys="3"', b'NumberOfPolys="4"'), "cannot be read"),
        (b"# vtk DataFile Version 3.0\n", "legacy VTK file"),
        (b"<VTKFile type='PolyData'><PolyData/></VTKFile>", "no piece"),
    ],
)
def test_what_cannot_be_read(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.vtp"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        read_mesh(path)
    assert "bad.vtp" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("layout", ["text", "appended, raw, LZMA, big-endian"])
def test_flat_cells_of_an_unstructured_grid(layout: str, tmp_path: Path) -> None:
    """The pyramid's base as a pixel, a line, a triangle and a strip."""
    types = np.array([8, 3, 5, 6], np.uint8)
    cells = {"connectivity": np.array([0, 1, 3, 2, 0, 4, 0, 1, 4, 0, 4, 3, 2]), "offsets": np.array([4, 6, 9, 13])}
    grid = {**ARRAYS, "CellData": {"kind": np.array([7, 0, 1, 2], np.uint8)}, "Cells": {**cells, "types": types}}
    del grid["Lines"], grid["Polys"]
    options: dict[str, Any] = {"layout": "ascii"}
    if layout != "text":
        options = {"layout": "appended", "order": ">", "head": "u8", "compress": lzma.compress, "raw": True,
                   "name": "vtkLZMADataCompressor"}  # fmt: skip
    content = document(**options, content=grid)
    content = content.replace(b"PolyData", b"UnstructuredGrid")
    content = content.replace(b'NumberOfLines="1" NumberOfPolys="3"', b'NumberOfCells="4"')
    path = tmp_path / "pyramid.vtu"
    path.write_bytes(content)
    mesh = read_mesh(path)
    assert mesh.face_data["kind"].tolist() == [7, 7, 1, 2, 2]
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert areas[:2].sum() == pytest.approx(1)
    assert mesh.faces[2:].tolist() == [[0, 1, 4], [0, 4, 3], [2, 3, 4]]
