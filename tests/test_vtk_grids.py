"""VTK's grids: files that VTK 9.7 wrote, surfaces of volumes, collections of blocks, and arrays added to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from meshes import icosphere

from meshconv import InputError, load_mesh
from meshconv.io import read_mesh, save_mesh
from meshconv.io.cache.content import file_content
from meshconv.io.meshes.load import read_polygons
from meshconv.io.meshes.save import save_beside
from meshconv.io.meshes.save_vtk import with_arrays

# Written by VTK itself, in the ways that the names say, of three small grids.
FILES = Path(__file__).parent / "data" / "vtk"
# Points and areas that VTK computed, and numbers of polygons and of their cells in the file.
GRIDS = {
    "polygons_raw_lz4.vtp": (9, 5.236068, [1, 2, 3, 4, 5, 6]),
    "polygons_binary_5.1.vtk": (9, 5.236068, [1, 2, 3, 4, 5, 6]),
    "flat_base64_zlib_big_endian.vtu": (16, 4.766124, [0, 1, 2, 3, 4]),
    "volumes_inline_lzma_big_endian.vtu": (16, 13.602093, None),
    "volumes_4.2.vtk": (16, 13.602093, None),
}


def area(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@pytest.mark.parametrize("name", GRIDS)
def test_what_vtk_wrote_is_what_is_read(name: str) -> None:
    points, size, rows = GRIDS[name]
    content = read_polygons(FILES / name, volume_surface=True)
    assert len(content.vertices) == points
    mesh = content.triangles(name)
    assert area(mesh.vertices, mesh.faces) == pytest.approx(size, rel=1e-6)
    cells = content.cells if rows is None else np.array(rows)
    assert cells is not None
    assert set(content.vertex_data) == set(content.polygon_data) == {"scalar", "vec", "lab", "u", "big"}
    total = content.num_cells if rows is None else 7
    for data, number, place in ((content.vertex_data, points, np.arange(points)), (content.polygon_data, total, cells)):
        assert data["scalar"] == pytest.approx(np.linspace(-1, 1, number)[place], rel=1e-5)
        assert data["vec"] == pytest.approx((np.arange(3 * number) / 7).reshape(-1, 3)[place], rel=1e-5)
        assert data["lab"].tolist() == (place % 3).tolist() and data["lab"].dtype == np.int32
        assert data["u"].tolist() == place.tolist() and data["u"].dtype == np.uint8
        assert data["big"].tolist() == (place + 2**40).tolist() and data["big"].dtype == np.int64


def grid(points: list, cells: list[tuple[int, list[int]]], more: str = "") -> str:
    lines = [" ".join(map(str, [len(c), *c])) for _, c in cells]
    types = " ".join(str(kind) for kind, _ in cells)
    size = sum(1 + len(c) for _, c in cells)
    text = "\n".join(" ".join(map(str, p)) for p in points)
    head = f"# vtk DataFile Version 3.0\nt\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS {len(points)} double\n{text}\n"
    body = "\n".join([f"CELLS {len(cells)} {size}", *lines, f"CELL_TYPES {len(cells)}", types, more])
    return head + body


CUBE = [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]


@pytest.mark.parametrize("turned", [False, True])
def test_the_surface_of_volumes_is_closed_and_outward_and_knows_its_cells(turned: bool, tmp_path: Path) -> None:
    """A cube under a pyramid, with a wedge and two tetrahedra: inner faces are gone, whatever the orders."""
    points = [*CUBE, (0.5, 0.5, 2), (2, 0, 0), (2, 1, 0), (5, 0, 0), (6, 0, 0), (5, 1, 0), (5, 0, 1), (5, 0, -1),
              (0.4, 0.4, 0.4)]  # fmt: skip
    wedge = [1, 5, 9, 3, 7, 10] if turned else [1, 9, 5, 3, 10, 7]
    cells = [(12, [0, 1, 3, 2, 4, 5, 7, 6]), (14, [4, 5, 7, 6, 8]), (13, wedge), (1, [16]), (10, [11, 12, 13, 14]),
             (10, [12, 11, 13, 15])]  # fmt: skip
    path = tmp_path / "g.vtk"
    path.write_text(grid(points, cells, "CELL_DATA 6\nSCALARS p double 1\nLOOKUP_TABLE default\n10 11 12 13 14 15\n"))
    with pytest.raises(InputError, match=r"g\.vtk: it holds 5 volume cells; set volume_surface to true"):
        read_mesh(path)
    mesh = load_mesh(path, volume_surface=True)
    assert mesh.num_vertices == 16  # the loose point is inside
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(1 + 1 / 3 + 1 / 2 + 2 / 6)
    assert sorted(set(mesh.face_data["p"].tolist())) == [10, 11, 12, 14, 15]
    back = mesh.to_original_faces(mesh.face_data["p"])
    assert np.isnan(back[3]) and back[[0, 1, 2, 4, 5]].tolist() == [10, 11, 12, 14, 15]
    assert mesh.to_original_vertices(mesh.vertices[:, 0])[:16].tolist() == [p[0] for p in points[:16]]


@pytest.mark.parametrize(("mark", "faces"), [(0, 20), (1, 10), (32, 12)])
def test_ghosts_of_volumes_close_no_surface(mark: int, faces: int, tmp_path: Path) -> None:
    """Two cubes side by side: the face to a neighbour's cube is inside, the face to a hidden one is not."""
    points = [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1, 2)]
    cells = [(11, [k + n for n in (0, 1, 3, 4, 6, 7, 9, 10)]) for k in (0, 1)]
    path = tmp_path / "g.vtk"
    path.write_text(grid(points, cells, f"CELL_DATA 2\nSCALARS vtkGhostType unsigned_char\n0 {mark}\n"))
    mesh = load_mesh(path, volume_surface=True)
    assert mesh.num_faces == faces and mesh.num_vertices == (12 if faces == 20 else 8)
    assert len(mesh.to_original_faces(mesh.face_data["vtkGhostType"])) == 2


def test_ghosts_of_polygons_get_no_prediction(tmp_path: Path) -> None:
    ball = icosphere(1)
    ghost = np.where(np.arange(80) % 3 == 0, 1, 0).astype(np.uint8)
    save_mesh(type(ball)(ball.vertices, ball.faces, "", {}, {"vtkGhostType": ghost}), tmp_path / "b.vtu")
    mesh = read_mesh(tmp_path / "b.vtu")
    assert np.array_equal(mesh.faces, ball.faces[ghost == 0])
    again = save_beside(tmp_path / "b.vtu", tmp_path / "out", {}, {"p": mesh.faces[:, 0] * 1.0})
    assert again is not None
    text = again.read_bytes().replace(b"vtkGhostType", b"vtkGhostWord")
    (tmp_path / "all.vtu").write_bytes(text)
    found = read_mesh(tmp_path / "all.vtu").face_data["predicted_p"]
    assert np.array_equal(np.isnan(found), ghost == 1) and np.array_equal(found[ghost == 0], mesh.faces[:, 0])


def test_mixed_and_impossible_cells_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "g.vtk"
    for cells, says in (
        ([(12, [0, 1, 3, 2, 4, 5, 7, 6]), (5, [0, 1, 2])], "1 volume cells beside 1 polygons"),
        ([(12, [0, 1, 3, 2])], "cell 0 of type 12 has 4 corners"),
        ([(22, [0, 1, 2, 4, 5, 6])], "cells of type 22 are curved"),
        ([(10, [0, 1, 2, 9])], "a tetra has a corner that does not exist"),
    ):
        path.write_text(grid(CUBE, cells))
        with pytest.raises(InputError, match=says) as error:
            read_mesh(path, volume_surface="beside" not in says)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_blocks_are_one_mesh_with_their_names(tmp_path: Path) -> None:
    ball = icosphere(1)
    for name, shift in (("wall", 0.0), ("lid", 3.0)):
        moved = type(ball)(ball.vertices + shift, ball.faces, "", {"p": ball.vertices[:, 0] + shift})
        save_mesh(moved, tmp_path / f"{name}.vtp")
    (tmp_path / "inside.vtk").write_text(grid(CUBE, [(12, [0, 1, 3, 2, 4, 5, 7, 6])]))
    blocks = "".join(f'<DataSet index="{k}" name="{n}" file="{f}"/>' for k, (n, f) in enumerate(
        [("inner", "inside.vtk"), ("wall", "wall.vtp"), ("top", "lid.vtp")]))  # fmt: skip
    path = tmp_path / "all.vtm"
    kind = "vtkMultiBlockDataSet"
    text = f'<VTKFile type="{kind}"><{kind}><Block>{blocks}</Block></{kind}></VTKFile>'
    path.write_text(text)
    mesh = load_mesh(path)
    assert mesh.num_vertices == 2 * ball.num_vertices
    assert mesh.face_data["part"].tolist() == ["wall"] * ball.num_faces + ["top"] * ball.num_faces
    assert mesh.vertex_data["p"] == pytest.approx(mesh.vertices[:, 0])
    within = blocks.replace('name="wall" ', "").replace('name="top" ', "")
    path.write_text(text.replace(blocks, f'<Block name="car"><Piece name="body">{within}</Piece></Block>'))
    assert load_mesh(path).face_data["part"].tolist() == ["body"] * 2 * ball.num_faces
    path.write_text(text)
    before = file_content(path)
    save_mesh(ball, tmp_path / "lid.vtp")
    assert file_content(path) != before
    for wrong, says in (("../wall.vtp", "outside of its folder"), ("wall.vtp", "twice"), ("no.vtp", "not there")):
        path.write_text(text.replace("lid.vtp", wrong))
        with pytest.raises(InputError, match=says) as error:
            load_mesh(path)
        assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", ["vtp", "vtu"])
def test_saved_meshes_keep_every_digit_and_all_numbers(kind: str, tmp_path: Path) -> None:
    ball = icosphere(1)
    data = {"p": np.random.default_rng(0).normal(size=42), "v": ball.vertices.astype(np.float32)}
    of_faces = {"label": np.arange(80, dtype=np.int64) + 2**40, "flag": np.arange(80) % 2 == 0}
    save_mesh(type(ball)(ball.vertices, ball.faces, "", data, of_faces), tmp_path / f"m.{kind}")
    mesh = read_mesh(tmp_path / f"m.{kind}")
    assert np.array_equal(mesh.vertices, ball.vertices) and np.array_equal(mesh.faces, ball.faces)
    assert all(np.array_equal(mesh.vertex_data[k], v) and mesh.vertex_data[k].dtype == v.dtype for k, v in data.items())
    assert all(np.array_equal(mesh.face_data[k], v) for k, v in of_faces.items())


@pytest.mark.parametrize("name", [name for name in GRIDS if not name.endswith(".vtk")])
def test_arrays_are_added_and_no_other_byte_changes(name: str) -> None:
    path = FILES / name
    before, own = path.read_bytes(), read_polygons(path, volume_surface=True)
    cells = own.num_cells or len(own.sizes)
    at, on = {"new <p>": np.arange(len(own.vertices)) / 3}, {"new": np.arange(cells, dtype=np.float32)}
    content = with_arrays(path, at, on)
    rest = content
    for _ in range(2):
        start = rest.index(b'\n<DataArray type="Float', rest.index(b"Data>" if _ == 0 else b"<CellData"))
        rest = rest[:start] + rest[rest.index(b"</DataArray>\n", start) + len(b"</DataArray>\n") :]
    assert rest == before
    with pytest.raises(ValueError, match="arrays are not of its"):
        with_arrays(path, {"p": np.zeros(3)}, {})


@pytest.mark.parametrize("name", GRIDS)
def test_a_file_is_written_again_with_predictions(name: str, tmp_path: Path) -> None:
    own = read_polygons(FILES / name, volume_surface=True)
    cells = own.num_cells or len(own.sizes)
    pressure, label = np.arange(len(own.vertices)) / 3, np.arange(cells, dtype=np.int32)
    again = save_beside(FILES / name, tmp_path / "out", {"p": pressure}, {"label": label})
    assert again is not None and again.suffix == ("." + name.split(".")[-1]).replace("k", "p")
    found = read_polygons(again, volume_surface=True)
    assert found.vertex_data["predicted_p"] == pytest.approx(pressure)
    ours, theirs = (content.triangles("") for content in (own, found))
    assert np.array_equal(ours.vertices[ours.faces], theirs.vertices[theirs.faces])
    own.polygon_data["number"] = np.arange(cells) if own.cells is None else own.cells
    numbered = own.triangles("").face_data["number"]
    assert theirs.face_data["predicted_label"].tolist() == numbered.tolist()
    for key, values in own.vertex_data.items():
        assert np.array_equal(found.vertex_data[key], values)
    assert save_beside(Path("mesh.ply"), tmp_path / "out", {}, {}) is None

