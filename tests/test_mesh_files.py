"""Labels and colours of every format, polygons, and damaged files of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from meshes import icosphere

from meshconv import InputError, TriangleMesh, load_mesh
from meshconv.io import mesh_formats, read_mesh, save_mesh

LABEL = np.arange(42, dtype=np.int32) * 3
QUALITY = np.linspace(0, 1, 80)
COLOR = np.stack([np.arange(42), np.full(42, 7), np.arange(42)[::-1]], axis=1).astype(np.uint8)


def labelled() -> TriangleMesh:
    mesh = icosphere(1)
    return TriangleMesh(mesh.vertices, mesh.faces, "", {"label": LABEL, "color": COLOR}, {"quality": QUALITY})


def test_ply_carries_every_property(tmp_path: Path) -> None:
    save_mesh(labelled(), tmp_path / "m.ply")
    mesh = read_mesh(tmp_path / "m.ply")
    assert np.array_equal(mesh.vertices, icosphere(1).vertices)
    assert mesh.vertex_data["label"].dtype == np.int32
    for found, expected in (
        (mesh.vertex_data["label"], LABEL),
        (mesh.vertex_data["color"], COLOR),
        (mesh.face_data["quality"], QUALITY),
    ):
        assert np.array_equal(found, expected)


POLYGONS = (
    "element vertex 5\nproperty double x\nproperty double y\nproperty double z\nproperty uchar label\n"
    "element face 3\nproperty int region\nproperty list uchar int vertex_indices\nend_header\n"
)


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_polygons_of_any_size(kind: str, tmp_path: Path) -> None:
    """A pyramid: a quadrilateral, two triangles; the labels of polygons go to their triangles."""
    head = f"ply\nformat {kind} 1.0\ncomment made by hand\n{POLYGONS}".encode()
    points = [(0, 0, 0, 1), (1, 0, 0, 2), (1, 1, 0, 3), (0, 1, 0, 4), (0.5, 0.5, 1, 5)]
    polygons = [(70, [0, 3, 2, 1]), (80, [0, 1, 4]), (90, [1, 2, 4])]
    if kind == "ascii":
        rows = [" ".join(map(str, p)) for p in points] + [f"{r} {len(c)} {' '.join(map(str, c))}" for r, c in polygons]
        body = "\n".join(rows).encode()
    else:
        order = "<" if "little" in kind else ">"
        body = b"".join(np.array(p, dtype=f"{order}3f8,u1").tobytes() for p in [(q[:3], q[3]) for q in points])
        for region, corners in polygons:
            body += np.array(region, f"{order}i4").tobytes() + bytes([len(corners)])
            body += np.array(corners, f"{order}i4").tobytes()
    path = tmp_path / "pyramid.ply"
    path.write_bytes(head + body)
    mesh = read_mesh(path)
    assert mesh.faces.tolist() == [[0, 3, 2], [0, 2, 1], [0, 1, 4], [1, 2, 4]]
    assert mesh.vertex_data["label"].tolist() == [1, 2, 3, 4, 5]
    assert mesh.face_data["region"].tolist() == [70, 70, 80, 90]
    assert mesh.vertices[4].tolist() == [0.5, 0.5, 1]
    assert mesh.origin.face_from.tolist() == [0, 0, 1, 2]
    assert mesh.to_original_faces(np.array([5, 6, 7, 8])).tolist() == [5, 7, 8]


def test_obj_carries_colours_groups_and_materials(tmp_path: Path) -> None:
    path = tmp_path / "m.obj"
    path.write_text(
        "o thing\nv 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 1 1 0 0 0 1\nv 0 1 0 0.5 0.5 0.5\nv 2 2 0 1 1 1\n"
        "f 1 2 3 4\ng wing left\nusemtl red\nf 2 5 3\n"
    )
    mesh = load_mesh(path)
    assert mesh.vertex_data["color"][3].tolist() == [0.5, 0.5, 0.5]
    assert mesh.face_data["group"].tolist() == ["", "", "wing left"]
    assert mesh.face_data["material"].tolist() == ["", "", "red"]
    assert mesh.face_data["object"].tolist() == ["thing"] * 3


def test_off_carries_colours(tmp_path: Path) -> None:
    path = tmp_path / "m.off"
    path.write_text(
        "COFF 4 2 0\n0 0 0 255 0 0 255\n1 0 0 0 255 0 255\n1 1 0 0 0 255 255\n0 1 0 9 9 9 255\n"
        "3 0 1 2 0.1 0.2 0.3\n3 0 2 3 1 1 1  # white\n"
    )
    mesh = load_mesh(path)
    assert mesh.vertex_data["color"].dtype == np.uint8
    assert mesh.vertex_data["color"][1].tolist() == [0, 255, 0, 255]
    assert mesh.face_data["color"].tolist() == [[0.1, 0.2, 0.3], [1, 1, 1]]


def test_glb_carries_vertex_colours_and_parts(tmp_path: Path) -> None:
    parts = trimesh.Scene()
    away = np.eye(4)
    away[0, 3] = 9
    for i, name in enumerate(("head", "tail")):
        part = trimesh.creation.icosphere(1)
        part.visual.vertex_colors = np.c_[COLOR, np.full(42, 255)]
        parts.add_geometry(part, geom_name=name, node_name=name, transform=away if i else np.eye(4))
    path = tmp_path / "m.glb"
    parts.export(path)
    mesh = load_mesh(path)
    assert sorted(np.unique(mesh.face_data["part"])) == ["head", "tail"]
    assert mesh.defects.components == 2
    head = np.unique(mesh.faces[mesh.face_data["part"] == "head"])
    color = {tuple(np.float32(p).tolist()): c for p, c in zip(icosphere(1).vertices, COLOR, strict=True)}
    expected = [color[tuple(p)].tolist() for p in mesh.vertices[head].tolist()]
    assert mesh.vertex_data["color"][head, :3].tolist() == expected


def test_stl_is_welded_and_leads_back_to_each_corner(tmp_path: Path) -> None:
    save_mesh(icosphere(1), tmp_path / "m.stl")
    mesh = load_mesh(tmp_path / "m.stl")
    assert (mesh.num_vertices, mesh.num_faces, mesh.half_edges.is_closed) == (42, 80, True)
    back = mesh.to_original_vertices(np.arange(42))
    assert np.array_equal(back.reshape(80, 3), mesh.faces)
    assert mesh.origin.changes.welded_vertices == 240 - 42


def test_a_dented_quadrilateral_is_cut_through_the_dent(tmp_path: Path) -> None:
    path = tmp_path / "m.obj"
    for turn in range(4):
        corners = np.roll([1, 2, 3, 4], turn)
        path.write_text(f"v 0 0 0\nv 2 -1 0\nv 0.5 0 0\nv 2 1 0\nf {' '.join(map(str, corners))}\n")
        mesh = read_mesh(path)
        assert mesh.area == pytest.approx(0.5)
        assert {0, 2} <= set(mesh.faces[0]) & set(mesh.faces[1])


@pytest.mark.skipif("3mf" not in mesh_formats(), reason="lxml is absent")
def test_3mf(tmp_path: Path) -> None:
    trimesh.Trimesh(*(lambda m: (m.vertices, m.faces))(icosphere(1)), process=False).export(tmp_path / "m.3mf")
    mesh = load_mesh(tmp_path / "m.3mf")
    assert (mesh.num_vertices, mesh.num_faces, mesh.defects.problems()) == (42, 80, [])


def _contents() -> dict[str, bytes]:
    mesh = labelled()
    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    lines = [f"{x} {y} {z} 1 2 3 255" for x, y, z in mesh.vertices] + [f"3 {a} {b} {c} 9 8 7" for a, b, c in mesh.faces]
    found = {
        "text.ply": shape.export(file_type="ply", encoding="ascii"),
        "color.off": "\n".join(["COFF", "42 80 0", *lines, ""]).encode(),
        "plain.obj": shape.export(file_type="obj").encode(),
        "binary.stl": shape.export(file_type="stl"),
        "text.stl": shape.export(file_type="stl_ascii").encode(),
        "scene.glb": shape.export(file_type="glb"),
    }
    return found | ({"pack.3mf": shape.export(file_type="3mf")} if "3mf" in mesh_formats() else {})


@pytest.mark.parametrize("name", [*_contents(), "data.ply"])
def test_damaged_files_are_meshes_or_errors(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    if name == "data.ply":
        save_mesh(labelled(), path)
    else:
        path.write_bytes(_contents()[name])
    good = path.read_bytes()
    assert load_mesh(path).num_faces == 80
    rng = np.random.default_rng(1)
    refused = []
    for trial in range(60):
        bad = bytearray(good)
        if trial % 3 == 0:
            bad = bad[: rng.integers(0, len(good))]
        for _ in range((0, 1, 6)[trial % 3]):
            bad[rng.integers(min(len(bad), 300 if trial % 2 else len(bad)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            load_mesh(path).gauge_graph().validate()
        except InputError as error:
            refused.append(str(error))
    assert len(refused) >= 10
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in refused)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "m.ply",
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n",
            "no property 'y'",
        ),
        ("m.ply", "ply\nformat ascii 1.0\nelement vertex 99999999999999\nproperty float x\nend_header\n0", "promised"),
        ("m.ply", f"ply\nformat binary_little_endian 1.0\n{POLYGONS}", "promised|buffer"),
        ("m.ply", "ply\nformat morse 1.0\nend_header\n", "morse"),
        ("m.ply", "ply\nformat ascii 1.0\n", "header has no end"),
        ("m.off", "OFF BINARY\n", "truncated or damaged"),
        ("m.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n", "fewer corners than it promises"),
        ("m.off", "OFF\n3 99999999999 0\n0 0 0\n", "truncated"),
        ("m.off", "PLY\n", "first word is not OFF"),
    ],
)
def test_errors_of_the_readers(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=says):
        load_mesh(tmp_path / name)
