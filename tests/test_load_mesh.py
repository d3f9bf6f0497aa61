"""Mesh files: what is read from each format, and each way a file can be bad."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from meshes import icosphere, torus

from meshconv import InputError, load_mesh
from meshconv.io import mesh_formats, read_mesh

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
PLY = (
    "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
)
OFF = "OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def to_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


@pytest.mark.parametrize("kind", ["obj", "ply", "off", "stl", "stl_ascii", "glb", "gltf", "3mf"])
def test_every_format_gives_the_same_surface(kind: str, tmp_path: Path) -> None:
    mesh = torus()
    path = tmp_path / f"torus.{kind.removesuffix('_ascii')}"
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    if kind == "gltf":
        for name, content in whole.export(file_type=kind).items():
            (path if name == "model.gltf" else tmp_path / name).write_bytes(content)
    else:
        whole.export(path, file_type=kind)
    read = load_mesh(path)
    assert read.name == str(path)
    assert (read.num_vertices, read.num_faces) == (mesh.num_vertices, mesh.num_faces)
    assert read.area == pytest.approx(mesh.area, rel=1e-5)
    assert read.half_edges.is_closed
    corners = [m.vertices[m.faces].reshape(-1, 9) for m in (mesh, read)]
    a, b = (np.sort(c.reshape(-1, 3, 3).sum(1), axis=0) for c in corners)
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("name", ["m.OBJ", "m.Ply", "m.OFF"])
def test_extensions_in_capitals(name: str, write: Callable[..., Path]) -> None:
    text = {"obj": SQUARE + "f 1 2 3 4\n", "ply": PLY + "4 0 1 2 3\n", "off": OFF + "4 0 1 2 3\n"}
    mesh = load_mesh(write(name, text[name[2:].lower()]))
    assert mesh.num_vertices == 4
    assert mesh.num_faces == 2
    assert mesh.area == pytest.approx(1.0)


def test_obj_keeps_vertices_and_their_order(write: Callable[..., Path]) -> None:
    """Unused vertices, texture seams, groups, polygons, negative indices, comments and continued lines."""
    text = (
        "# made by hand\nmtllib none.mtl\nv 9 9 9\n" + SQUARE + "vt 0 0\nvt 1 1\nvn 0 0 1\n"
        "g one\nf 2/1/1 3/2/1 4/1/1 # here\ng two\nusemtl red\nf 2//1 4//1 \\\n5//1\n"
        "v 0.5 2 0 1.0 0.2 0.3\nf -1 -2 -3\n"
        "v 0 0 1\nf 2 3 4 5 7\n"
    )
    mesh = read_mesh(write("m.obj", text))
    assert mesh.vertices[0].tolist() == [9, 9, 9]
    assert mesh.num_vertices == 7
    assert mesh.faces.tolist() == [[1, 2, 3], [1, 3, 4], [5, 4, 3], [1, 2, 3], [1, 3, 4], [1, 4, 6]]


def test_scene_parts_are_put_in_place(tmp_path: Path) -> None:
    box = trimesh.creation.box()
    scene = trimesh.Scene()
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    scene.add_geometry(box, transform=np.diag([2, 2, 2, 1.0]))
    path = tmp_path / "scene.glb"
    scene.export(path)
    mesh = load_mesh(path)
    assert (mesh.num_vertices, mesh.num_faces) == (16, 24)
    assert mesh.area == pytest.approx(6 + 24)
    assert mesh.vertices.max(axis=0) == pytest.approx([5.5, 1, 1])


def test_reading_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.ply"
    path.write_bytes(b"\x00\xff" * 100)
    with pytest.raises(InputError):
        load_mesh(path)
    assert capfd.readouterr() == ("", "")


BAD = {
    "empty.obj": ("", "empty (0 bytes)"),
    "empty.stl": ("", "empty (0 bytes)"),
    "noise.obj": (bytes(range(256)) * 9, "no vertices found"),
    "unknown.foo": ("v 0 0 0", "'.foo' is not a mesh format"),
    "bare": ("v 0 0 0", "'' is not a mesh format"),
    "archive.zip": ("PK", "'.zip' is not a mesh format"),
    "cloud.obj": (SQUARE, "no faces"),
    "cloud.xyz": ("0 0 0\n1 1 1\n2 3 4\n", "3 vertices but no faces"),
    "cloud.ply": (PLY.replace("element face 1", "element face 0"), "no faces"),
    "nan.obj": (
        SQUARE + "v nan 0 0\nv 1 inf 1\nf 1 5 6\n",
        "2 of 6 vertices have NaN or infinite coordinates, the first is vertex 4",
    ),
    "nan.off": (OFF.replace("1 1 0\n0", "1 nan 0\n0") + "3 0 1 2\n", "1 of 4 vertices have NaN"),
    "range.obj": (SQUARE + "f 1 2 3\nf 1 2 9\n", "face 1 with [0, 1, 8]; indices run from 0 to 3"),
    "range.ply": (PLY + "3 0 1 77\n", "face 0 with [0, 1, 77]"),
    "range.off": (OFF + "3 0 1 77\n", "range.off: "),
    "back.obj": (SQUARE + "f -1 -2 -9\n", "face 0 with"),
    "zero.obj": (SQUARE + "f 0 1 2\n", "line 5 ('f') uses index 0"),
    "word.obj": ("v 0 zero 0\nf 1 1 1\n", "not a number"),
    "float.obj": (SQUARE + "f 1 2 3.5\n", "not a number"),
    "giant.obj": (SQUARE + "f 1 2 99999999999999999999999\n", "not a number"),
    "short_face.obj": (SQUARE + "f 1 2", "no faces"),
    "short_vertex.obj": ("v 0 0 0\nv 1 0\n", "line 2 ('v') has 2 values"),
    "flat.obj": ("v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "no area"),
    "header.ply": ("ply\nformat ascii 1.0\nelement vertex 1000000000000\n", "header.ply: "),
    "solid.stl": ("solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0\n", "solid.stl: "),
    "scene.gltf": ("{}", "scene.gltf: "),
    "outside.gltf": ('{"asset": {"version": "2.0"}, "buffers": [{"uri": "gone.bin", "byteLength": 9}]}', "gltf: "),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_line(name: str, write: Callable[..., Path]) -> None:
    content, says = BAD[name]
    path = write(name, content)
    with pytest.raises(InputError) as caught:
        load_mesh(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", ["obj", "ply", "off", "stl", "stl_ascii", "glb", "3mf"])
def test_truncated_or_flipped_file_is_a_mesh_or_an_input_error(kind: str, tmp_path: Path) -> None:
    mesh = icosphere(1)
    path = tmp_path / f"m.{kind}"
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path, file_type=kind)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for trial in range(60):
        bad = bytearray(good)
        if trial % 2:
            bad = bad[: rng.integers(0, len(good) - 1)]
        else:
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            load_mesh(path).gauge_graph().validate()
        except InputError as error:
            refused.append(str(error))
    assert len(refused) >= 10
    assert all(message.startswith(str(path)) and "\n" not in message for message in refused)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.obj"
    os.mkfifo(fifo)
    for path, says in (
        (tmp_path, "is a directory"),
        (tmp_path / "gone.obj", "no such file"),
        (fifo, "not a regular file"),
        (tmp_path / "a\0b.obj", "a\0b.obj: "),
    ):
        with pytest.raises(InputError, match=f".*{says}"):
            load_mesh(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(write: Callable[..., Path]) -> None:
    path = write("locked.obj", SQUARE + "f 1 2 3\n")
    path.chmod(0)
    with pytest.raises(InputError, match="permission"):
        load_mesh(path)


def test_formats() -> None:
    assert {"obj", "ply", "off", "stl", "glb", "gltf"} <= set(mesh_formats())
    assert not {"zip", "tar.gz"} & set(mesh_formats())
