"""Mesh formats by their lesser known sides: strips and fans, words over free lines, binary kinds, parts, extensions."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from tetrahedron_case import FACES, LINES, POINTS, STRIP, is_tetrahedron

from meshconv.errors import InputError
from meshconv.io.meshes import readers
from meshconv.io.meshes.check import check_files
from meshconv.io.meshes.formats import MESH_FORMATS, find_formats
from meshconv.io.meshes.load import load_mesh, mesh_formats, read_mesh
from meshconv.io.meshes.strips import strip_triangles


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
    dtype = ">i4" if kind in ("vtktypeint32", "vtkIdType", "int") else ">i8"

    def block(values: np.ndarray, kind: str) -> bytes:
        return values.astype(kind).tobytes() if binary else " ".join(map(str, values.ravel().tolist())).encode()

    head = f"# vtk DataFile Version 5.1\nt\n{'BINARY' if binary else 'ASCII'}\nDATASET POLYDATA\nPOINTS 4 float\n"
    content = [head.encode(), block(POINTS, ">f4"), f"\nPOLYGONS 5 12\nOFFSETS {kind}\n".encode(),
               block(np.arange(0, 13, 3), dtype), f"\nCONNECTIVITY {kind}\n".encode(), block(FACES, dtype)]  # fmt: skip
    (tmp_path / "m.vtk").write_bytes(b"".join(content) + b"\n")
    is_tetrahedron(tmp_path / "m.vtk")


def test_ply_rows_that_end_with_more_numbers_than_the_header_names(tmp_path: Path) -> None:
    """As sequences of words these would be other faces; a file whose rows are not its lines is such a sequence."""
    header = ("ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
              "element face 4\nproperty list uchar int vertex_indices\nend_header\n")  # fmt: skip
    rows = [" ".join(map(str, point)) for point in POINTS.tolist()] + [
        "3 " + " ".join(map(str, face)) for face in FACES.tolist()
    ]
    plain = tmp_path / "plain.ply"
    for end, between in (("", "\n"), (" 9 1 1 1", "\n"), ("", " ")):
        plain.write_text(header + between.join(row + end for row in rows) + "\n")
        is_tetrahedron(plain)


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


def test_lists_of_formats_hold_what_can_be_read(tmp_path: Path) -> None:
    suffixes = [suffix for form in MESH_FORMATS for suffix in form.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert {"obj", "ply", "off", "stl", "glb", "gltf", "3mf", "vtk", "vtp", "vert"} <= set(mesh_formats())
    assert not {"pts", "dxf", "zip"} & set(mesh_formats())  # no faces in them
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
        ("m.obj", gzip.compress(b"v 0", mtime=0), "packed with gzip, no Wavefront OBJ file; unpack it with gunzip"),
        ("m.stl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "fetch it with git lfs pull"),
        ("m.off", b"PK\x03\x04" + bytes(99), "this is a ZIP archive, no OFF file"),
        ("m.ply", b"\n<!DOCTYPE html>\n<html></html>", "this is a web page"),
        ("m.3mf", b"PK\x03\x04" + bytes(99), "no readable zip archive"),
        ("m.obj", b"ply\nformat ascii 1.0\n", "this is a PLY file, no Wavefront OBJ; let its name end in .ply"),
        ("m.stl", b"glTF" + bytes(99), "this is a glTF.* file, no STL; let its name end in .glb"),
        ("m.obj", b"f 1 2 99999999999999999999", "a number is too large"),
    ],
)
def test_other_files_are_called_what_they_are(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_mesh(tmp_path / name)
