"""Files that promise, or unpack to, more than they can honestly hold: refused in one line, before it is in memory."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lz4 import block as lz4

from meshconv.errors import InputError
from meshconv.io.meshes.check import check_files
from meshconv.io.meshes.labels import read_labels
from meshconv.io.meshes.load import read_mesh

MB = 2**20


def threemf(path: Path, model: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", model)


def large_archive(path: Path) -> None:
    vertex = b'<vertex x="0" y="0" z="0"/>'
    threemf(path, b"<model><resources><object id='1'><mesh><vertices>" + vertex * (60 * MB // len(vertex)))


def multiplied_components(path: Path) -> None:
    """Ten levels of ten components each: ten thousand million tetrahedra in a kilobyte."""
    corners = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in corners)
    mesh = f'<mesh><vertices>{vertices}</vertices><triangles><triangle v1="0" v2="2" v3="1"/></triangles></mesh>'
    objects = f'<object id="0">{mesh}</object>'
    for level in range(1, 11):
        parts = f'<component objectid="{level - 1}"/>' * 10
        objects += f'<object id="{level}"><components>{parts}</components></object>'
    text = f"<model><resources>{objects}</resources><build><item objectid='10'/></build></model>"
    threemf(path, text.encode())


def many_items(path: Path) -> None:
    """An object that is built a hundred thousand times: a few kilobytes, since all items are the same."""
    items = "<item objectid='1'/>" * 100_000
    threemf(path, f"<model><resources><object id='1'/></resources><build>{items}</build></model>".encode())


def vtp(path: Path, attributes: str, block: bytes) -> None:
    array = f'<DataArray type="Float32" NumberOfComponents="3" format="binary">{block.decode()}</DataArray>'
    path.write_text(f"<VTKFile type='PolyData' {attributes}><PolyData><Piece NumberOfPoints='1'><Points>{array}"
                    "</Points></Piece></PolyData></VTKFile>")  # fmt: skip


def zlib_block(promised: int, unpacked: int) -> bytes:
    packed = zlib.compress(bytes(unpacked), 9)
    head = np.array([1, promised, 0, len(packed)], "<u4").tobytes()
    return base64.b64encode(head) + base64.b64encode(packed)


def lz4_block(promised: int, unpacked: int) -> bytes:
    packed = lz4.compress(bytes(unpacked), store_size=False)
    head = np.array([1, promised, 0, len(packed)], "<u4").tobytes()
    return base64.b64encode(head) + base64.b64encode(packed)


def gltf(path: Path, **change: object) -> None:
    scene = {"asset": {"version": "2.0"}, "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
             "accessors": [{"componentType": 5126, "count": 3, "type": "VEC3"}]} | change  # fmt: skip
    path.write_text(json.dumps(scene))


def many_instances(path: Path) -> None:
    """A million nodes would show one mesh of a thousand triangles."""
    data = base64.b64encode(np.random.default_rng(0).random((3000, 3), np.float32).tobytes()).decode()
    view = {"buffer": 0, "byteLength": 36000}
    gltf(path, buffers=[{"byteLength": 36000, "uri": f"data:;base64,{data}"}], bufferViews=[view],
         accessors=[{"componentType": 5126, "count": 3000, "type": "VEC3", "bufferView": 0}],
         nodes=[{"mesh": 0}] * 3000)  # fmt: skip


def array(values: np.ndarray, kind: str, name: str) -> str:
    packed = zlib.compress(values.tobytes())
    head = np.array([1, values.nbytes, 0, len(packed)], "<u4").tobytes()
    text = (base64.b64encode(head) + base64.b64encode(packed)).decode()
    width = values.shape[1] if values.ndim > 1 else 1
    about = f'type="{kind}" Name="{name}" NumberOfComponents="{width}" format="binary"'
    return f"<DataArray {about}>{text}</DataArray>"


COMPRESSED = 'compressor="vtkZLibDataCompressor"'
BY_LZ4 = 'compressor="vtkLZ4DataCompressor"'
BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "large.3mf": (large_archive, "unpacked"),
    "components.3mf": (multiplied_components, "unpacked"),
    "items.3mf": (many_items, "unpacked"),
    "large.3dxml": (large_archive, "unpacked"),
    "promised.vtp": (lambda p: vtp(p, COMPRESSED, zlib_block(64 * MB, 64 * MB)), "unpacked"),
    "more.vtp": (lambda p: vtp(p, COMPRESSED, zlib_block(12, 64 * MB)), "promises 12 bytes and holds more"),
    "fewer.vtp": (lambda p: vtp(p, COMPRESSED, zlib_block(24, 12)), "promises 24 bytes and holds 12"),
    "promised_lz4.vtp": (lambda p: vtp(p, BY_LZ4, lz4_block(64 * MB, 64 * MB)), "unpacked"),
    "more_lz4.vtp": (lambda p: vtp(p, BY_LZ4, lz4_block(12, 64 * MB)), "promises 12 bytes and holds others"),
    "fewer_lz4.vtp": (lambda p: vtp(p, BY_LZ4, lz4_block(24, 12)), "promises 24 bytes and holds"),
    "lh.white": (lambda p: p.write_bytes(b"\xff\xff\xfeby\n\n" + np.array([2**30, 2**30], ">i4").tobytes()), "too few"),
    "count.pcd": (lambda p: p.write_bytes(b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 999999999999\nDATA binary\n"),
                  "promised"),
    "raw.vtp": (lambda p: vtp(p, "", base64.b64encode(np.array([2**32 - 5], "<u4").tobytes())), "unpacked"),
    "empty.gltf": (lambda p: gltf(p, accessors=[{"componentType": 5126, "count": 2 * 10**9, "type": "VEC3"}]),
                   "unpacked"),
    "view.gltf": (lambda p: gltf(p, accessors=[{"componentType": 5126, "count": 10**12, "type": "VEC3",
                                                "bufferView": 0}],
                                 bufferViews=[{"buffer": 0, "byteLength": 12}],
                                 buffers=[{"byteLength": 12, "uri": "data:;base64," + "A" * 16}]), "do not fit"),
    "instances.gltf": (many_instances, "unpacked"),
    "tree.gltf": (lambda p: gltf(p, nodes=[{"children": [1, 1]}, {"mesh": 0}], scenes=[{"nodes": [0]}]),
                  "node 1 has two parents"),
    "deep.gltf": (lambda p: p.write_text("[" * 200_000), "cannot be read"),
    "outside.gltf": (lambda p: gltf(p, buffers=[{"byteLength": 9, "uri": "../../etc/passwd"}],
                                    bufferViews=[{"buffer": 0, "byteLength": 9}],
                                    accessors=[{"componentType": 5121, "count": 3, "type": "VEC3", "bufferView": 0}]),
                     "outside of its folder"),
    "list.ply": (lambda p: p.write_bytes(
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty list uint double x\nend_header\n"
        + b"\xff\xff\xff\xff"), "cannot be read"),
    "rows.ply": (lambda p: p.write_text("ply\nformat ascii 1.0\nelement vertex 99999999999999999999\n"
                                        "property float x\nend_header\n"), "promised"),
    "counts.off": (lambda p: p.write_text("OFF\n999999999999999999999 1 0\n0 0 0\n"), "promised"),
    "counts_binary.off": (lambda p: p.write_bytes(b"OFF BINARY\n" + np.array([2**31 - 1, 9, 0], ">i4").tobytes()),
                          "promised"),
    "count.stl": (lambda p: p.write_bytes(bytes(80) + b"\xff\xff\xff\xff" + bytes(50)), "4294967295 triangles"),
    "cells.vtk": (lambda p: p.write_text("# vtk DataFile Version 3.0\nt\nASCII\nDATASET POLYDATA\n"
                                         "POINTS 1 float\n0 0 0\nPOLYGONS 999999999999 3\n-1 -1 -1\n"),
                  "cells promised"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_line_and_little_memory(name: str, tmp_path: Path) -> None:
    write, says = BOMBS[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(InputError) as read:
        read_mesh(path)  # imports what it needs
    tracemalloc.start()
    with pytest.raises(InputError):
        read_mesh(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(read.value).startswith(f"{path}: ") and "\n" not in str(read.value)
    assert says in str(read.value)
    assert peak < 50 * MB
    assert check_files([path])[0].status == 2


@pytest.mark.parametrize("kind", ["vtp", "3mf"])
def test_what_repeats_itself_honestly_is_read(kind: str, tmp_path: Path) -> None:
    """A flat grid with a constant array shrinks well."""
    n = 120
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    points = np.stack([i, j, 0 * i], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (n * i + j)[:-1, :-1].reshape(-1)
    lower, upper = [corner, corner + n, corner + 1], [corner + 1, corner + n, corner + n + 1]
    faces = np.concatenate([np.stack(lower, axis=1), np.stack(upper, axis=1)])
    path = tmp_path / f"grid.{kind}"
    if kind == "3mf":
        vertices = "".join(f'<vertex x="{x}" y="{y}" z="0"/>' for x, y, _ in points.astype(int))
        triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in faces)
        whole = f"<mesh><vertices>{vertices}</vertices><triangles>{triangles}</triangles></mesh>"
        parts = f"<resources><object id='1'>{whole}</object></resources><build><item objectid='1'/></build>"
        threemf(path, f"<model>{parts}</model>".encode())
    else:
        arrays = "".join(
            [
                f"<Points>{array(points, 'Float32', 'Points')}</Points>",
                f"<PointData>{array(np.zeros(len(points)), 'Float64', 'zero')}</PointData>",
                f"<Polys>{array(faces.reshape(-1), 'Int64', 'connectivity')}",
                f"{array(3 * np.arange(1, len(faces) + 1), 'Int64', 'offsets')}</Polys>",
            ]
        )
        piece = f"<Piece NumberOfPoints='{len(points)}' NumberOfPolys='{len(faces)}'>{arrays}</Piece>"
        path.write_text(f"<VTKFile type='PolyData' {COMPRESSED}><PolyData>{piece}</PolyData></VTKFile>")
    mesh = read_mesh(path)
    assert (mesh.num_vertices, mesh.num_faces) == (n * n, len(faces))
    assert mesh.area == pytest.approx((n - 1) ** 2)


def test_an_array_of_labels_cannot_ask_for_more_than_its_file_has(tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, np.arange(100))
    content = path.read_bytes().replace(b"(100,)", b"(10000000000000,)".ljust(6))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"labels.npy: is no readable label file"):
        read_labels(path)
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"deep.json: is no readable label file"):
        read_labels(tmp_path / "deep.json")
