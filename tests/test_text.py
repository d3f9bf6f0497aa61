"""Text as people have it: byte order marks, UTF-16, line ends of every system, indentation, tabs; in every reader."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from meshconv.datasets.meshes.layouts.classes import read_class_list
from meshconv.errors import InputError
from meshconv.io.meshes.labels import read_labels
from meshconv.io.meshes.load import read_mesh
from meshconv.io.text import decode_text

WAYS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "UTF-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big-endian": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "mark, CRLF, tabs": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").replace(" ", "\t").encode(),
    "an end of DOS": lambda text: text.encode() + b"\x1a",
    "an end in memory": lambda text: text.encode() + b"\0",
    "blanks round lines": lambda text: "\n".join(f"  {line} \t" for line in text.split("\n")).encode(),
}

POINTS = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n5 5 5\n"
FACES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))
TEXTS = {
    "obj": "".join(f"v {p}\n" for p in POINTS.split("\n")[:-1]) + "g one\nf 1 3 2\nf 1 2 4\ng two\nf -5 -2 -3\n"
           "f 2 3 \\\n4\n",
    "off": f"OFF\n5 4 0\n{POINTS}" + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES),
    "ply": "ply\nformat ascii 1.0\ncomment by hand\nelement vertex 5\nproperty float x\nproperty float y\n"
           "property float z\nelement face 4\nproperty list uchar int vertex_indices\nend_header\n"
           + POINTS + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES),
    "vtk": f"# vtk DataFile Version 3.0\ntitle\nASCII\nDATASET POLYDATA\nPOINTS 5 float\n{POINTS}METADATA\n"
           "INFORMATION 0\n\nPOLYGONS 4 16\n" + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES),
    "vtp": '<?xml version="1.0"?>\n<VTKFile type="PolyData"><PolyData>\n<Piece NumberOfPoints="5" NumberOfPolys="4">\n'
           f'<Points><DataArray type="Float32" NumberOfComponents="3">\n{POINTS}</DataArray></Points>\n<Polys>'
           '<DataArray type="Int64" Name="connectivity">\n' + "".join(f"{a} {b} {c}\n" for a, b, c in FACES)
           + '</DataArray><DataArray type="Int64" Name="offsets">\n3 6 9 12\n</DataArray></Polys>\n</Piece>\n'
           "</PolyData>\n</VTKFile>\n",
    "msh": "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n5\n"
           + "".join(f"{i} {p}\n" for i, p in enumerate(POINTS.split("\n")[:-1], start=1)) + "$EndNodes\n$Elements\n4\n"
           + "".join(f"{i} 2 2 1 1 {a + 1} {b + 1} {c + 1}\n" for i, (a, b, c) in enumerate(FACES)) + "$EndElements\n",
    "mesh": "MeshVersionFormatted 1\nDimension 3\nVertices\n5\n"
            + "".join(f"{p} 0\n" for p in POINTS.split("\n")[:-1]) + "Triangles\n4\n"
            + "".join(f"{a + 1} {b + 1} {c + 1} 7\n" for a, b, c in FACES) + "End\n",
    "stl": "solid s\n" + "".join(
        "facet normal 0 0 0\nouter loop\n" + "".join(f"vertex {POINTS.split(chr(10))[i]}\n" for i in face)
        + "endloop\nendfacet\n" for face in FACES) + "endsolid s\n",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", TEXTS)
def test_meshes(kind: str, way: str, tmp_path: Path) -> None:
    if kind in ("msh", "mesh"):
        pytest.importorskip("meshio")
    path = tmp_path / f"m.{kind}"
    path.write_bytes(WAYS[way](TEXTS[kind]))
    mesh = read_mesh(path)
    assert mesh.num_vertices == (4 if kind == "stl" else 5)  # STL has no vertices without faces
    corners = sorted(sorted(map(tuple, mesh.vertices[face].tolist())) for face in mesh.faces)
    points = np.array([p.split() for p in POINTS.split("\n")[:-1]], dtype=np.float64)
    assert corners == sorted(sorted(map(tuple, points[list(face)].tolist())) for face in FACES)
    if kind == "obj":
        assert mesh.face_data["group"].tolist() == ["one", "one", "two", "two"]


@pytest.mark.parametrize("way", WAYS)
def test_labels(way: str, tmp_path: Path) -> None:
    path = tmp_path / "m.seg"
    for text, expected in (("arm\nleg\narm\n", ["arm", "leg", "arm"]), ("3\n1\n2\n", [3, 1, 2]),
                           ("arm\n1 3\nleg\n2\n", ["arm", "leg", "arm"])):  # fmt: skip
        path.write_bytes(WAYS[way](text))
        assert read_labels(path).tolist() == expected
    (tmp_path / "m.json").write_bytes(WAYS[way]('{"labels": [3, 1, 2]}'))
    assert read_labels(tmp_path / "m.json").tolist() == [3, 1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_other_files_of_data_sets(way: str, tmp_path: Path) -> None:
    (tmp_path / "a.cla").write_bytes(WAYS[way]("PSB 1\n2 3\n\ncat 0 2\n1\n5\n\ndog 0 1\n2\n"))
    assert read_class_list(tmp_path / "a.cla") == {"1": "cat", "5": "cat", "2": "dog"}
    (tmp_path / "c.vert").write_bytes(WAYS[way](POINTS))
    (tmp_path / "c.tri").write_bytes(WAYS[way]("1 3 2\n1 2 4\n1 4 3\n2 3 4\n"))
    assert read_mesh(tmp_path / "c.vert").faces.tolist() == [list(face) for face in FACES]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_binary_ply_below_a_header_of_any_line_end(line_end: bytes, mark: bytes, tmp_path: Path) -> None:
    """The first byte of the body may look like a line end itself."""
    header = TEXTS["ply"].split("end_header\n")[0].replace("ascii", "binary_little_endian") + "end_header\n"
    points = np.frombuffer(b"\n\r\n\n" * 15, "<f4").reshape(5, 3)
    faces = np.insert(np.array(FACES, "<i4").view("u1").reshape(4, 12), 0, 3, axis=1)
    path = tmp_path / "m.ply"
    path.write_bytes(mark + header.encode().replace(b"\n", line_end) + points.tobytes() + faces.tobytes())
    mesh = read_mesh(path)
    assert (mesh.vertices == points).all()
    assert mesh.faces.tolist() == [list(face) for face in FACES]


def test_words_are_kept() -> None:
    assert decode_text("Tür\x85x\x0cy\n".encode()) == "Tür\x85x\x0cy\n"  # no line ends, though str.splitlines has them
    assert decode_text(b"T\xfcr") == "Tür"
    assert decode_text(b"") == ""
    assert decode_text(codecs.BOM_UTF8 + b"a\n" + codecs.BOM_UTF8 + b"b") == "a\nb"


@pytest.mark.parametrize("number", ["4294967298", "2.5", "99999999999999999999", "nan"])
@pytest.mark.parametrize("kind", ["ply", "vtk", "vtp"])
def test_a_corner_is_a_whole_number_of_its_type(kind: str, number: str, tmp_path: Path) -> None:
    """Not what is left of it: 4294967298 would be 2 in 32 bits."""
    path = tmp_path / f"m.{kind}"
    text = TEXTS[kind].replace("Int64", "Int32")
    head, tail = text.rsplit("1 2 3", 1)
    path.write_text(f"{head}1 {number} 3{tail}")
    with pytest.raises(InputError, match=rf"m.{kind}: cannot be read"):
        read_mesh(path)


def test_labels_of_tables_have_no_quotes_and_numbers_fit(tmp_path: Path) -> None:
    path = tmp_path / "m.seg"
    path.write_text('"arm";\n"leg";\n')
    assert read_labels(path).tolist() == ["arm", "leg"]
    path.write_text("0\n1e20\n")
    with pytest.raises(InputError, match=r"m\.seg: label 1e\+20 is too large"):
        read_labels(path)
