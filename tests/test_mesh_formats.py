"""Mesh formats by their lesser known sides: strips and fans, words over free lines, binary kinds, parts, extensions."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meshconv.datasets import MeshSegments
from meshconv.errors import InputError
from meshconv.io.meshes import readers
from meshconv.io.meshes.check import check_files
from meshconv.io.meshes.formats import MESH_FORMATS, find_formats
from meshconv.io.meshes.load import load_mesh, mesh_formats, read_mesh
from meshconv.io.meshes.strips import strip_triangles

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
STRIP = [0, 2, 1, 3, 0, 2]
LINES = ["0 0 0", "1 0 0", "0 1 0", "0 0 1"]


def is_tetrahedron(path: Path) -> None:
    mesh = load_mesh(path)
    assert (mesh.num_vertices, mesh.num_faces) == (4, 4)
    assert mesh.area == pytest.approx(1.5 + np.sqrt(3) / 2)
    assert mesh.defects.problems() == []
    assert mesh.origin is not None
    assert mesh.origin.changes.turned_faces == 0  # the winding is right as read


def test_strips_agree_with_their_neighbours() -> None:
    """Every other triangle is turned, counted anew behind a -1; triangles that only lead on are left out."""
    corners = np.array([*STRIP, -1, 5, 6, 7, 8, 9, 9, 9, 8, -1, 1, 2])
    faces, row = strip_triangles(corners, np.array([len(STRIP) + 7, len(corners) - len(STRIP) - 7]))
    assert faces.tolist() == [[0, 2, 1], [3, 1, 2], [1, 3, 0], [2, 0, 3], [5, 6, 7], [8, 7, 6], [7, 8, 9]]
    assert row.tolist() == [0] * 7


def ply(kind: str) -> bytes:
    order = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}[kind]
    head = (f"ply\nformat {kind} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
            "element tristrips 1\nproperty list int int vertex_indices\nend_header\n")  # fmt: skip
    strip = [9, 0, 2, 1, 3, -1, 1, 3, 0, 2]
    if kind == "ascii":
        return (head + "\n".join(LINES) + "\n" + " ".join(map(str, strip)) + "\n").encode()
    return head.encode() + POINTS.astype(order + "f4").tobytes() + np.array(strip, order + "i4").tobytes()


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_strips(kind: str, tmp_path: Path) -> None:
    (tmp_path / "m.ply").write_bytes(ply(kind))
    is_tetrahedron(tmp_path / "m.ply")


OFF_FACES = "\n".join(f"3 {a} {b} {c}" for a, b, c in FACES)
OFFS = {
    "faces over lines": f"OFF\n4 4 6\n{chr(10).join(LINES)}\n3 0\n2 1\n\n3 0\n1\n3\n3 0 3 2\n3\n1 2\n3\n",
    "all in one line": f"OFF 4 4 6 {' '.join(LINES)} {OFF_FACES}".replace("\n", " "),
    "a word a line": f"OFF 4 4 6 {' '.join(LINES)} {OFF_FACES}".replace(" ", "\n"),
    "without the first word": f"4 4 6\n{chr(10).join(LINES)}\n{OFF_FACES}",
    "two vertices a line": f"OFF\n4 4 6\n{LINES[0]} {LINES[1]}\n{LINES[2]} {LINES[3]}\n{OFF_FACES}",
    "two faces a line": f"OFF\n4 4 6\n{chr(10).join(LINES)}\n3 0 2 1 3 0 1 3\n3 0 3 2 3 1 2 3",
    "without edges": f"OFF\n4 4\n{chr(10).join(LINES)}\n{OFF_FACES}",
    "counts behind the word": f"OFF 4 4 0\n{chr(10).join(LINES)}\n{OFF_FACES}",
    "comments": "OFF # a\n# b\n4 4 6 # c\n" + "\n".join(f"{p} # d" for p in LINES) + f"\n#e\n{OFF_FACES} #",
    "lower case": f"off\n4 4 6\n{chr(10).join(LINES)}\n{OFF_FACES}",
    "normals": "NOFF\n4 4 6\n" + "\n".join(f"{p} 0 0 1" for p in LINES) + f"\n{OFF_FACES}",
    "texture": "STOFF\n4 4 6\n" + "\n".join(f"{p} 0.5 0.5" for p in LINES) + f"\n{OFF_FACES}",
    "colours over lines": "COFF\n4 4 6\n" + "\n".join(f"{p}\n0.5 0.5 0.5 1" for p in LINES) + f"\n{OFF_FACES}",
}


@pytest.mark.parametrize("name", OFFS)
def test_off_is_a_sequence_of_words(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.off").write_text(OFFS[name])
    is_tetrahedron(tmp_path / "m.off")


def test_off_colours(tmp_path: Path) -> None:
    rows = "\n".join(f"{p} 0 0 1 255 0 0 9 0.5 0.5" for p in LINES)
    faces = "\n".join(f"3 {a} {b} {c} {k} 0 255 128" for k, (a, b, c) in enumerate(FACES))
    (tmp_path / "m.off").write_text(f"STCNOFF\n4 4 6\n{rows}\n{faces}\n")
    mesh = read_mesh(tmp_path / "m.off")
    assert mesh.vertex_data["color"].tolist() == [[255, 0, 0, 9]] * 4
    assert mesh.face_data["color"].tolist() == [[k, 0, 255, 128] for k in range(4)]
    broken = "\n".join(f"3 {a}\n{b} {c} {k} 0 255" for k, (a, b, c) in enumerate(FACES))
    (tmp_path / "n.off").write_text(f"OFF\n4 4 6\n{chr(10).join(LINES)}\n{broken}\n")
    assert read_mesh(tmp_path / "n.off").face_data["color"].tolist() == [[k, 0, 255] for k in range(4)]


@pytest.mark.parametrize("colored", [False, True])
def test_binary_off(colored: bool, tmp_path: Path) -> None:
    words = np.array([4, 4, 6], ">i4").tobytes()
    rows = np.hstack([POINTS, np.tile(np.float32([0.5, 0, 1, 1]), (4, 1))]) if colored else POINTS
    words += rows.astype(">f4").tobytes()
    for face in FACES:
        words += np.array([3, *face, 4 * colored], ">i4").tobytes() + np.full(4 * colored, 0.25, ">f4").tobytes()
    path = tmp_path / "m.off"
    path.write_bytes((b"COFF" if colored else b"OFF") + b" BINARY\n" + words)
    is_tetrahedron(path)
    if colored:
        assert read_mesh(path).vertex_data["color"].tolist() == [[0.5, 0, 1, 1]] * 4
        assert read_mesh(path).face_data["color"].tolist() == [[0.25] * 4] * 4
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"m.off: cannot be read as 'off'"):
        read_mesh(path)


@pytest.mark.parametrize("header", ["4OFF", "nOFF\n3", "4nOFF\n3"])
def test_off_of_other_dimensions_is_refused(header: str, tmp_path: Path) -> None:
    (tmp_path / "m.off").write_text(f"{header}\n4 4 6\n{chr(10).join(LINES)}\n{OFF_FACES}")
    with pytest.raises(InputError, match="other than three dimensions"):
        read_mesh(tmp_path / "m.off")


def binary_stl(header: bytes) -> bytes:
    table = np.zeros(4, [("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")])
    table["c"] = POINTS[FACES]
    return header.ljust(80) + np.array([4], "<u4").tobytes() + table.tobytes()


def ascii_stl(faces: np.ndarray = FACES, close: bool = True, name: str = "s") -> str:
    text = f"solid {name}\n"
    for face in faces:
        text += "facet normal 0 0 0\nouter loop\n" + "".join(f"vertex {LINES[i]}\n" for i in face)
        text += "endloop\nendfacet\n"
    return text + (f"endsolid {name}\n" if close else "")


STLS: dict[str, bytes] = {
    "binary": binary_stl(b"binary"),
    "binary that begins with solid": binary_stl(b"solid by a program"),
    "bytes behind": binary_stl(b"binary") + b"made by a program",
    "solid, bytes behind": binary_stl(b"solid facet") + bytes(7),
    "text": ascii_stl().encode(),
    "text without an end": ascii_stl(close=False).encode(),
    "several solids": (ascii_stl(FACES[:1], name="low end") + ascii_stl(FACES[1:], name="rest")).encode(),
    "several solids without ends": (ascii_stl(FACES[:1], close=False) + ascii_stl(FACES[1:], close=False)).encode(),
    "without a name": ascii_stl(name="").encode(),
    "capitals": ascii_stl().upper().encode(),
    "comments behind": ascii_stl().encode() + b"\n\nmade by a program\n",
}


@pytest.mark.parametrize("name", STLS)
def test_stl(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.stl").write_bytes(STLS[name])
    is_tetrahedron(tmp_path / "m.stl")


def test_solids_are_parts(tmp_path: Path) -> None:
    (tmp_path / "m.stl").write_bytes(STLS["several solids"])
    assert read_mesh(tmp_path / "m.stl").face_data["part"].tolist() == ["low end", *["rest"] * 3]


@pytest.mark.parametrize("name", ["binary", "text", "several solids"])
def test_a_cut_stl_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.stl").write_bytes(STLS[name][: len(STLS[name]) * 2 // 3])
    with pytest.raises(InputError, match=r"m.stl: cannot be read as 'stl'"):
        read_mesh(tmp_path / "m.stl")


def test_obj_faces_of_two_corners_are_left_out_and_reported(tmp_path: Path) -> None:
    text = "".join(f"v {p}\n" for p in LINES) + "".join(f"fo {a + 1} {b + 1} {c + 1}\n" for a, b, c in FACES)
    path = tmp_path / "m.obj"
    path.write_text(text + "f 1 2\nf\nl 1 2\n")
    is_tetrahedron(path)
    assert str(load_mesh(path).origin.changes) == "2 faces of fewer than three corners left out"
    check = check_files([path], tmp_path / "mended.ply")[0]
    assert check.problems == ("2 faces of fewer than three corners",)
    assert check.status == 0  # written without them
    labels = read_mesh(path).to_original_faces(np.arange(4))
    assert labels.tolist() == [0, 1, 2, 3, -1, -1]  # the file's faces are counted with them


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_vertex_that_no_face_uses_needs_no_place(value: str, tmp_path: Path) -> None:
    text = f"v {value} 0 0\n" + "".join(f"v {p}\n" for p in LINES)
    path = tmp_path / "m.obj"
    path.write_text(text + "".join(f"f {a + 2} {b + 2} {c + 2}\n" for a, b, c in FACES))
    mesh = load_mesh(path)
    assert mesh.num_vertices == 5 and mesh.vertices[0].tolist() == [0.5, 0.5, 0.5]
    assert mesh.origin is not None and mesh.origin.changes.placed_vertices == 1
    assert load_mesh(path, isolated="drop").num_vertices == 4
    path.write_text(path.read_text() + "f 1 2 3\n")
    with pytest.raises(InputError, match="1 of 5 vertices have NaN or infinite"):
        load_mesh(path)


VTK = "# vtk DataFile Version 3.0\nt\nASCII\nDATASET {}\nPOINTS 5 float\n{}\n1 1 0\n"


@pytest.mark.parametrize("kind", ["vtktypeint32", "vtktypeint64", "vtktypeuint64", "vtkIdType", "int"])
@pytest.mark.parametrize("binary", [False, True])
def test_vtk_offsets_of_any_type(kind: str, binary: bool, tmp_path: Path) -> None:
    dtype = ">i4" if kind in ("vtktypeint32", "int") else ">i8"

    def block(values: np.ndarray, kind: str) -> bytes:
        return values.astype(kind).tobytes() if binary else " ".join(map(str, values.ravel().tolist())).encode()

    head = f"# vtk DataFile Version 5.1\nt\n{'BINARY' if binary else 'ASCII'}\nDATASET POLYDATA\nPOINTS 4 float\n"
    content = [head.encode(), block(POINTS, ">f4"), f"\nPOLYGONS 5 12\nOFFSETS {kind}\n".encode(),
               block(np.arange(0, 13, 3), dtype), f"\nCONNECTIVITY {kind}\n".encode(), block(FACES, dtype)]  # fmt: skip
    (tmp_path / "m.vtk").write_bytes(b"".join(content) + b"\n")
    is_tetrahedron(tmp_path / "m.vtk")


def test_ply_diffuse_colours(tmp_path: Path) -> None:
    head = ply("ascii").partition(b"element tristrips")[0]
    head += b"element face 4\nproperty list uchar int vertex_indices\n"
    head += b"".join(b"property uchar diffuse_%s\n" % c for c in (b"red", b"green", b"blue"))
    points = b"\n".join(line.encode() for line in LINES)
    rows = b"".join(b"3 %d %d %d %d 0 7\n" % (*face, k) for k, face in enumerate(FACES.tolist()))
    (tmp_path / "m.ply").write_bytes(head + b"end_header\n" + points + b"\n" + rows)
    assert load_mesh(tmp_path / "m.ply").face_data["color"].tolist() == [[k, 0, 7] for k in range(4)]


def test_vtk_strips_behind_lines_and_polygons(tmp_path: Path) -> None:
    text = VTK.format("POLYDATA", "\n".join(LINES)) + (
        "TRIANGLE_STRIPS 1 5\n4 0 2 1 4\nPOLYGONS 1 4\n3 0 1 3\nLINES 1 3\n2 0 1\n"
        "CELL_DATA 3\nSCALARS lab int 1\nLOOKUP_TABLE default\n7 8 9\n"
    )
    (tmp_path / "m.vtk").write_text(text)
    mesh = read_mesh(tmp_path / "m.vtk")
    assert mesh.faces.tolist() == [[0, 1, 3], [0, 2, 1], [4, 1, 2]]
    assert mesh.face_data["lab"].tolist() == [8, 9, 9]
    assert mesh.to_original_faces(mesh.face_data["lab"]).tolist() == [8, 9]


@pytest.mark.parametrize("binary", [False, True])
def test_vtk_unstructured_flat_cells(binary: bool, tmp_path: Path) -> None:
    cells = [[1], [0, 1], [0, 2, 1], [0, 1, 2, 4], [0, 1, 4, 2], [0, 2, 1, 4], [0, 1, 3]]
    types = [1, 3, 5, 8, 9, 6, 7]
    numbers = [n for cell in cells for n in (len(cell), *cell)]
    path = tmp_path / "m.vtk"
    if binary:
        points = np.vstack([POINTS, [1, 1, 0]])
        path.write_bytes(
            b"# vtk DataFile Version 3.0\nt\nBINARY\nDATASET UNSTRUCTURED_GRID\nPOINTS 5 float\n"
            + points.astype(">f4").tobytes() + f"\nCELLS 7 {len(numbers)}\n".encode()
            + np.array(numbers, ">i4").tobytes() + b"\nCELL_TYPES 7\n" + np.array(types, ">i4").tobytes()
            + b"\nCELL_DATA 7\nSCALARS lab int 1\nLOOKUP_TABLE default\n" + np.arange(7, dtype=">i4").tobytes()
        )  # fmt: skip
    else:
        text = VTK.format("UNSTRUCTURED_GRID", "\n".join(LINES)) + f"CELLS 7 {len(numbers)}\n{numbers}\n"
        text += f"CELL_TYPES 7\n{types}\nCELL_DATA 7\nSCALARS lab int 1\nLOOKUP_TABLE default\n0 1 2 3 4 5 6\n"
        path.write_text(text.translate(str.maketrans("", "", "[],")))
    mesh = read_mesh(path)
    assert mesh.face_data["lab"].tolist() == [2, 3, 3, 4, 4, 5, 5, 6]
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    areas = np.bincount(mesh.face_data["lab"], np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)[2:]
    assert areas == pytest.approx([0.5, 1, 1, 1, 0.5])
    path.write_bytes(path.read_bytes().replace(b"1 3 5 8 9 6 7", b"1 3 5 8 10 6 7"))
    if not binary:
        with pytest.raises(InputError, match="1 volume cells beside 4 polygons; set volume_surface"):
            read_mesh(path)


def gltf(change: Callable[[dict[str, Any]], None] = lambda scene: None, indices: np.ndarray = FACES) -> str:
    """A tetrahedron with its indices behind its points in one buffer."""
    data = POINTS.tobytes() + np.asarray(indices, "<u2").tobytes()
    scene: dict[str, Any] = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "buffers": [{"uri": "data:application/octet-stream;base64," + base64.b64encode(data).decode(),
                     "byteLength": len(data)}],
        "bufferViews": [{"buffer": 0, "byteLength": 48}, {"buffer": 0, "byteOffset": 48, "byteLength": len(data) - 48}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
                      {"bufferView": 1, "componentType": 5123, "count": np.size(indices), "type": "SCALAR"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
    }  # fmt: skip
    change(scene)
    return json.dumps(scene)


@pytest.mark.parametrize(
    ("mode", "indices"), [(4, FACES), (5, STRIP), (6, [3, 0, 1, 2, 0])], ids=["triangles", "strip", "fan"]
)
def test_gltf_modes(mode: int, indices: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "m.gltf"
    path.write_text(gltf(lambda s: s["meshes"][0]["primitives"][0].update(mode=mode), indices))
    if mode != 6:
        is_tetrahedron(path)
    else:
        assert read_mesh(path).faces.tolist() == [[3, 0, 1], [3, 1, 2], [3, 2, 0]]


def test_gltf_sparse_and_normalized_numbers(tmp_path: Path) -> None:
    def sparse(scene: dict[str, Any]) -> None:
        """Vertex 3 is moved to (0, 0, 1): stored as a change of what the buffer has."""
        values = np.array([0, 0, 1], "<f4").tobytes() + np.array([3], "<u2").tobytes()
        scene["buffers"].append({"uri": "data:;base64," + base64.b64encode(values).decode(), "byteLength": 14})
        scene["bufferViews"] += [{"buffer": 1, "byteLength": 12}, {"buffer": 1, "byteOffset": 12, "byteLength": 2}]
        where = {"bufferView": 3, "componentType": 5123}
        scene["accessors"][0]["sparse"] = {"count": 1, "indices": where, "values": {"bufferView": 2}}
        moved = POINTS.copy()
        moved[3] = 9
        data = moved.tobytes() + np.asarray(FACES, "<u2").tobytes()
        scene["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(data).decode()

    (tmp_path / "sparse.gltf").write_text(gltf(sparse))
    is_tetrahedron(tmp_path / "sparse.gltf")

    def normalized(scene: dict[str, Any]) -> None:
        data = (POINTS * 32767).astype("<i2").tobytes() + np.asarray(FACES, "<u2").tobytes()
        scene["buffers"][0] = {"uri": "data:;base64," + base64.b64encode(data).decode(), "byteLength": len(data)}
        scene["bufferViews"] = [{"buffer": 0, "byteLength": 24}, {"buffer": 0, "byteOffset": 24, "byteLength": 24}]
        scene["accessors"][0] |= {"componentType": 5122, "normalized": True}
        scene["extensionsRequired"] = ["KHR_mesh_quantization"]

    (tmp_path / "short.gltf").write_text(gltf(normalized))
    is_tetrahedron(tmp_path / "short.gltf")


def test_gltf_nodes_turn_scale_and_mirror(tmp_path: Path) -> None:
    def place(scene: dict[str, Any]) -> None:
        half = float(np.sqrt(0.5))
        scene["nodes"] = [{"children": [1, 2], "translation": [10, 0, 0], "name": "both"},
                          {"mesh": 0, "rotation": [0, 0, half, half], "scale": [2, 2, 2], "name": "turned"},
                          {"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1]}]  # fmt: skip

    (tmp_path / "m.gltf").write_text(gltf(place))
    mesh = load_mesh(tmp_path / "m.gltf")
    turned = [[10, 0, 0], [10, 2, 0], [8, 0, 0], [10, 0, 2]]
    np.testing.assert_allclose(mesh.vertices[:4], turned, atol=1e-6)
    np.testing.assert_allclose(mesh.vertices[4:], POINTS * [-1, 1, 1] + [10, 0, 5], atol=1e-6)
    assert mesh.origin is None or mesh.origin.changes.turned_faces == 0
    assert mesh.face_data["part"].tolist() == ["turned"] * 4 + ["part 1"] * 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.update(extensionsRequired=["KHR_draco_mesh_compression"]), "extension KHR_draco_mesh_compression"),
        (lambda s: s.update(extensionsRequired=["EXT_meshopt_compression"]), "extension EXT_meshopt_compression"),
        (lambda s: s["nodes"][0].update(extensions={"EXT_mesh_gpu_instancing": {}}), "EXT_mesh_gpu_instancing"),
        (lambda s: (s["accessors"][0].pop("bufferView"),
                    s["meshes"][0]["primitives"][0].update(extensions={"KHR_draco_mesh_compression": {}})),
         "KHR_draco_mesh_compression"),
        (lambda s: s["asset"].update(version="1.0"), "version 1.0"),
        (lambda s: s["meshes"][0]["primitives"][0].update(mode=1), "no triangles"),
        (lambda s: s["accessors"][1].update(count=10), "10 corners"),
        (lambda s: s["accessors"][1].update(count=-3), "-3 elements"),
        (lambda s: s["bufferViews"][0].update(byteOffset=-8), "do not fit"),
        (lambda s: s["nodes"][0].update(children=[0]), "two parents"),
        (lambda s: s["buffers"][0].update(uri="gone.bin"), "gone.bin' cannot be opened"),
    ],
)  # fmt: skip
def test_gltf_that_is_not_read_says_why(change: Callable[..., Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "m.gltf").write_text(gltf(change))
    with pytest.raises(InputError, match=says) as error:
        load_mesh(tmp_path / "m.gltf")
    assert "\n" not in str(error.value)


CORE = 'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"'
AWAY = "1 0 0 0 1 0 0 0 1 9 0 0"
PRODUCTION = 'xmlns:p="http://schemas.microsoft.com/3dmanufacturing/production/2015/06"'


def object_3mf(number: int, name: str, scale: float = 1) -> str:
    points = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in (POINTS * scale).tolist())
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in FACES)
    mesh = f"<mesh><vertices>{points}</vertices><triangles>{faces}</triangles></mesh>"
    return f'<object id="{number}" name="{name}" type="model">{mesh}</object>'


def write_3mf(path: Path, **models: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in models.items():
            archive.writestr(f"3D/{name}.model", content)


def test_3mf_objects_in_files_of_their_own(tmp_path: Path) -> None:
    """Two files may number their objects alike."""
    root = (
        f'<model {CORE} {PRODUCTION} requiredextensions="p"><resources>{object_3mf(1, "here")}'
        f'<object id="2"><components><component objectid="1" p:path="/3D/other.model" transform="{AWAY}"/>'
        '</components></object></resources><build><item objectid="1"/><item objectid="2"/>'
        '<item objectid="1" p:path="/3D/other.model" transform="-1 0 0 0 1 0 0 0 1 0 0 9"/></build></model>'
    )
    other = f"<model {CORE}><resources>{object_3mf(1, 'there', 2)}</resources><build/></model>"
    path = tmp_path / "m.3mf"
    write_3mf(path, **{"3dmodel": root, "other": other})
    mesh = load_mesh(path)
    expected = [POINTS, 2 * POINTS + [9, 0, 0], 2 * POINTS * [-1, 1, 1] + [0, 0, 9]]
    np.testing.assert_allclose(mesh.vertices, np.concatenate(expected))
    assert mesh.face_data["part"].tolist() == ["here"] * 4 + ["there"] * 8
    assert mesh.origin is None or mesh.origin.changes.turned_faces == 0
    write_3mf(path, **{"3dmodel": root})
    with pytest.raises(InputError, match=r"part 3d/other\.model is not in the archive"):
        load_mesh(path)


def test_colours_of_3mf_are_labels(tmp_path: Path) -> None:
    """Of a triangle, else of its object; of materials too, and grey where there is none among painted ones."""
    plain = object_3mf(1, "a")
    first, second, _, last = (f'v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in FACES)
    painted = plain.replace(first, first.replace("/>", ' pid="7" p1="1" p2="1" p3="1"/>'))
    painted = painted.replace(second, second.replace("/>", ' pid="8" p1="0"/>'))
    painted = painted.replace(last, last.replace("/>", ' p1="0"/>'))
    groups = ('<m:colorgroup id="7"><m:color color="#00FF00"/><m:color color="#FF000080"/></m:colorgroup>'
              '<basematerials id="8"><base name="x" displaycolor="#0000ff"/></basematerials>')  # fmt: skip
    space = 'xmlns:m="http://schemas.microsoft.com/3dmanufacturing/material/2015/02"'
    colors = {}
    for name, one in (("object", painted.replace('type="model"', 'type="model" pid="7" pindex="1"')),
                      ("bare", painted), ("plain", plain)):  # fmt: skip
        model = f'<model {CORE} {space}><resources>{groups}{one}</resources><build><item objectid="1"/></build></model>'
        (tmp_path / name).mkdir()
        write_3mf(tmp_path / name / "m.3mf", **{"3dmodel": model})
        colors[name] = load_mesh(tmp_path / name / "m.3mf").face_data.get("color")
    red, green, blue, grey = [255, 0, 0], [0, 255, 0], [0, 0, 255], [160, 160, 160]
    assert colors["object"].tolist() == [red, blue, red, green]
    assert colors["bare"].tolist() == [red, blue, grey, grey]
    assert colors["plain"] is None
    shutil.copy(tmp_path / "object" / "m.3mf", tmp_path / "object" / "n.3mf")
    data = MeshSegments(str(tmp_path / "object"), attribute="color", test_fraction=0.5, cache=False)
    assert data.element == "faces" and data.class_names == ["#0000ff", "#00ff00", "#ff0000"]
    write_3mf(tmp_path / "m.3mf", **{"3dmodel": model.replace(plain, painted).replace('p1="1"', 'p1="9"')})
    with pytest.raises(InputError, match=r"m\.3mf: cannot be read as '3mf' \(index 9 is out of bounds"):
        load_mesh(tmp_path / "m.3mf")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (f'<model {CORE} xmlns:b="http://schemas.microsoft.com/3dmanufacturing/beamlattice/2017/02" '
         'requiredextensions="b"/>', "3MF extension http.*beamlattice"),
        (f'<model {CORE}><resources><object id="1"><components><component objectid="1"/></components></object>'
         '</resources><build><item objectid="1"/></build></model>', "component of itself"),
        (f'<model {CORE}><build><item objectid="7"/></build></model>', "object 7 of 3d/3dmodel.model does not exist"),
        (f"<model {CORE}><build/></model>", "no object with triangles"),
        (f"<model {CORE}>", "cannot be read as '3mf'"),
        ("", "cannot be read as '3mf'"),
    ],
)  # fmt: skip
def test_3mf_that_is_not_read_says_why(model: str, says: str, tmp_path: Path) -> None:
    write_3mf(tmp_path / "m.3mf", **{"3dmodel": model})
    with pytest.raises(InputError, match=says) as error:
        load_mesh(tmp_path / "m.3mf")
    assert "\n" not in str(error.value)


def test_lists_of_formats_hold_what_can_be_read(tmp_path: Path) -> None:
    suffixes = [suffix for form in MESH_FORMATS for suffix in form.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert {"obj", "ply", "off", "stl", "glb", "gltf", "3mf", "vtk", "vtp", "vert"} <= set(mesh_formats())
    assert not {"xyz", "dxf", "zip"} & set(mesh_formats())  # no faces in them
    (tmp_path / "m.dxf").write_text("0\nSECTION\n")
    with pytest.raises(InputError, match=r"'.dxf' files hold drawings, no faces\); convert it to one of .*obj"):
        load_mesh(tmp_path / "m.dxf")


def test_a_format_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text(
        "from meshconv.io.meshes.polygons import MeshFormat\n"
        "FORMATS = (MeshFormat('a format of this test', ('.only',), lambda path: None),)\n"
    )
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path)])
    found = list(find_formats())
    assert [form.name for form in found if form not in MESH_FORMATS] == ["a format of this test"]
    assert set(MESH_FORMATS) < set(found)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.obj", gzip.compress(b"v 0 0 0"), "this is packed with gzip, no Wavefront OBJ file; unpack it with gunzip"),
        ("m.stl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "fetch it with git lfs pull"),
        ("m.off", b"PK\x03\x04" + bytes(99), "this is a ZIP archive, no OFF file"),
        ("m.ply", b"\n<!DOCTYPE html>\n<html></html>", "this is a web page"),
        ("m.3mf", b"PK\x03\x04" + bytes(99), "no readable zip archive"),
        ("m.obj", b"f 1 2 99999999999999999999", "a number is too large"),
    ],
)
def test_other_files_are_called_what_they_are(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_mesh(tmp_path / name)
