"""Meshes of finite elements: Abaqus, Nastran and Gmsh, their shells, the surface of their solids, and their sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshconv import InputError, load_mesh
from meshconv.io import read_mesh

NODES = "10, 0, 0, 0\n20, 1, 0, 0\n30, 1, 1, 0\n40, 0, 1, 0\n50, 0.5, 0.5, 1\n"
INP = f"""*HEADING
 a roof
** comment
*Node, nset=ALL
{NODES}*Element, type=S3, elset=ROOF
7, 10, 20, 50
3, 20, 30, 50
9, 30, 40, 50
2, 40, 10, 50
*ELEMENT, TYPE=S4R
1, 10, 40, 30, 20
*Elset, elset=FLOOR
1,
*NSET, NSET=TOP, GENERATE
41, 4000000000, 1
*MATERIAL, NAME=STEEL
"""


def test_shells_of_abaqus_and_their_sets(tmp_path: Path) -> None:
    path = tmp_path / "roof.inp"
    path.write_text(INP.replace("\n", "\r\n"))
    mesh = load_mesh(path)
    assert mesh.vertices.tolist()[4] == [0.5, 0.5, 1] and mesh.num_faces == 6
    of_polygons = mesh.to_original_faces(mesh.face_data["element"])
    assert of_polygons.tolist() == [7, 3, 9, 2, 1]
    assert mesh.face_data["elset"].tolist() == ["ROOF"] * 4 + ["FLOOR"] * 2
    assert mesh.vertex_data["node"].tolist() == [10, 20, 30, 40, 50]
    assert mesh.vertex_data["nset"].tolist() == ["", "", "", "", "TOP"]


def test_solids_of_abaqus(tmp_path: Path) -> None:
    path = tmp_path / "solid.inp"
    path.write_text(f"*NODE\n{NODES}*ELEMENT, TYPE=C3D4, ELSET=A\n1, 10, 20, 30, 50\n2, 10, 30, 40, 50\n")
    with pytest.raises(InputError, match="2 volume cells; set volume_surface"):
        load_mesh(path)
    mesh = load_mesh(path, volume_surface=True)
    assert mesh.num_faces == 6 and mesh.face_data["elset"].tolist() == ["A"] * 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("*HEADING", "*INCLUDE, INPUT=/etc/passwd"), "includes another file"),
        (("TYPE=S4R", "TYPE=S8R"), "elements of type S8R are curved"),
        (("1, 10, 40, 30, 20", "1, 10, 40, 30, 99"), "99"),
        (("1, 10, 40, 30, 20", "7, 10, 40, 30, 20"), "element 7 is defined twice"),
        (("20, 1, 0, 0", "10, 1, 0, 0"), "node 10 is defined twice"),
        (("1, 10, 40, 30, 20", "1, 10, 40, 30"), "make no elements of type S4R"),
        (("*Node, nset=ALL", "*Node, system=C"), "cylindrical or spherical"),
        (("20, 1, 0, 0", "20, 1, 0, zero"), "zero"),
    ],
)
def test_bad_abaqus_files_are_one_line(change: tuple[str, str], says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.inp"
    path.write_text(INP.replace(*change))
    with pytest.raises(InputError, match=says) as error:
        read_mesh(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)



def card(*fields: object) -> str:
    return "".join(f"{field:<8}" if k == 0 else f"{field:>8}" for k, field in enumerate(fields)) + "\n"


BDF = "$ a roof\n" + "".join([
    card("GRID", 10, "", "0.", "0.", "0."), card("GRID", 20, "", "1.", "0.", "0."),
    card("GRID", 30, "", "1.", "1.", "0."), "GRID,40,,0.,1.,0.\n", card("GRID", 50, "", ".5", ".5", "1.0"),
    card("CTRIA3", 1, 1, 10, 20, 50), card("CTRIA3", 2, 1, 20, 30, 50), card("CTRIA3", 3, 2, 30, 40, 50),
    card("CTRIA3", 4, 2, 40, 10, 50), card("CQUAD4", 5, 3, 10, 40, 30, 20),
])  # fmt: skip


@pytest.mark.parametrize("frame", ["{}", "SOL 101\nCEND\nBEGIN BULK\n{}ENDDATA\n"])
def test_shells_of_nastran(frame: str, tmp_path: Path) -> None:
    path = tmp_path / "roof.bdf"
    path.write_text(frame.format(BDF))
    mesh = load_mesh(path)
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]]
    assert mesh.num_faces == 6 and len(mesh.half_edges.edge_halfedge) == 9
    assert mesh.face_data["nastran:ref"].tolist() == [1, 1, 2, 2, 3, 3]


def test_nastran_points_in_other_coordinates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "roof.bdf"
    path.write_text(BDF.replace(card("GRID", 20, "")[:-1], card("GRID", 20, 7)[:-1]))
    with pytest.raises(InputError, match="coordinate system 7"):
        load_mesh(path)
    path.write_text("INCLUDE '/etc/passwd'\n" + BDF)
    with pytest.raises(InputError, match="includes another file"):
        load_mesh(path)


def test_solids_of_gmsh(tmp_path: Path) -> None:
    """Triangles of the boundary are the surface where the file has some; else the faces of the tetrahedra."""
    path = tmp_path / "solid.msh"
    points = "\n".join(f"{k + 1} {x} {y} {z}" for k, (x, y, z) in
                       enumerate([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]))  # fmt: skip
    head = f"$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n5\n{points}\n$EndNodes\n$Elements\n"
    path.write_text(head + "2\n1 4 2 1 1 1 2 3 4\n2 4 2 1 1 2 3 4 5\n$EndElements\n")
    with pytest.raises(InputError, match="2 volume cells; set volume_surface"):
        load_mesh(path)
    mesh = load_mesh(path, volume_surface=True)
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert mesh.num_faces == 6
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(1 / 6 + 1 / 3)
    path.write_text(head + "2\n1 4 2 1 1 1 2 3 4\n2 2 2 1 1 1 3 2\n$EndElements\n")
    assert load_mesh(path).num_faces == 1
