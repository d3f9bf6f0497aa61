"""Meshes of Abaqus: shells, the surface of solids, sets, instances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from roof import PLACES, ROOF, SOLID

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


def abaqus(shells: tuple[str, str] = ("S3", "S4R"), solid: str = "", step: int = 1, frame: str = "{}",
           keyword: str = "*NODE", gap: str = ", ", coordinates: str = "{}", wrapped: bool = False, before: str = "",
           cells_first: bool = False, sets: bool = True) -> str:  # fmt: skip
    """The roof as one part."""
    nodes = keyword + "\n" + "".join(gap.join([str(10 + step * k), *(coordinates.format(v) for v in xyz)]) + "\n"
                                     for k, xyz in enumerate(PLACES.tolist()))  # fmt: skip
    blocks = [(solid, SOLID[0][1], "BODY")] if solid else [
        (shells[kind - 2], cells, {7: "SOUTH", 8: "NORTH", 9: "FLOOR"}[group]) for kind, cells, group in ROOF[2:]]
    cells, number = "", 40
    for kind, rows, name in blocks:
        of = f",\n ELSET={name}" if wrapped else f", ELSET={name}" if sets else ""
        cells += f"*ELEMENT, TYPE={kind}{of}\n"
        for row in rows:
            text = gap.join(map(str, [number, *(10 + step * c for c in row)]))
            cells += (text.replace(gap, "," + "\n", 1) if wrapped else text) + "\n"
            number += 3
    return frame.format(before + (cells + nodes if cells_first else nodes + cells))


PART = "*HEADING\nx\n*PART, NAME=Roof\n{}*END PART\n"
ASSEMBLY = PART + "*ASSEMBLY, NAME=A\n*INSTANCE, NAME=Roof-1, PART=Roof\n*END INSTANCE\n*END ASSEMBLY\n"
STEP = "*STEP\n*STATIC\n1., 1.\n*BOUNDARY\n10, 1, 3\n*CLOAD\n14, 3, -1.\n*END STEP\n"
ABAQUS: dict[str, dict[str, object]] = {
    "plain": {}, "gaps": {"step": 17}, "cells first": {"cells_first": True}, "wrapped": {"wrapped": True},
    "one part": {"frame": PART}, "assembly": {"frame": ASSEMBLY}, "no blanks": {"gap": ","}, "wide": {"gap": " ,   "},
    "exponents": {"coordinates": "{:.3E}"}, "no sets": {"sets": False}, "small letters": {"keyword": "*node, nset=all"},
    "spaces": {"keyword": "*Node , NSET = All"}, "system": {"keyword": "*NODE, SYSTEM=R"},
    "heading": {"before": "*HEADING\n a title, with = signs\n** a comment\n"},
    "step": {"frame": "{}" + STEP}, "property": {"frame": "{}*SHELL SECTION, ELSET=SOUTH, MATERIAL=M\n0.1, 5\n"},
    "surface": {"frame": "{}*SURFACE, NAME=S, TYPE=ELEMENT\nSOUTH, SPOS\n"},
    "beams": {"frame": "{}*ELEMENT, TYPE=B31, ELSET=BEAM\n900, 10, 11\n"},
    "mass": {"frame": "{}*ELEMENT, TYPE=MASS\n900, 10\n*MASS, ELSET=X\n3.\n"},
    **{f"shells {' '.join(s)}": {"shells": s} for s in (
        ("S3R", "S4"), ("S3RS", "S4RS"), ("R3D3", "R3D4"), ("M3D3", "M3D4R"), ("CPS3", "CPS4R"), ("CPE3", "CPE4RH"),
        ("STRI3", "S4R5"), ("DS3", "DS4"), ("SFM3D3", "SFM3D4"), ("CAX3", "CAX4"), ("DC2D3", "DC2D4"))},
    **{f"solids {s}": {"solid": s} for s in ("C3D4", "C3D4H", "DC3D4", "AC3D4", "C3D4T")},
    "solids in an assembly": {"solid": "C3D4", "frame": ASSEMBLY},
}  # fmt: skip


@pytest.mark.parametrize("name", [*ABAQUS, "Windows", "marked UTF-8"])
def test_meshes_of_abaqus(name: str, tmp_path: Path) -> None:
    options = ABAQUS.get(name, {})
    text = abaqus(**options)  # type: ignore[arg-type]
    path = tmp_path / "roof.inp"
    path.write_bytes(text.replace("\n", "\r\n").encode() if name == "Windows"
                     else text.encode("utf-8-sig" if name == "marked UTF-8" else "utf-8"))  # fmt: skip
    solid = "solid" in options
    mesh = read_mesh(path, volume_surface=solid)
    assert mesh.vertices.tolist() == PLACES.tolist() and mesh.num_faces == 6
    assert mesh.vertex_data["node"].tolist() == [10 + int(str(options.get("step", 1))) * k for k in range(5)]
    of = {key: mesh.to_original_faces(values).tolist() for key, values in mesh.face_data.items()}
    sets = {"elset": ["BODY"] * 2 if solid else ["SOUTH"] * 2 + ["NORTH"] * 2 + ["FLOOR"]}
    assert of == {"element": [40, 43] if solid else [40, 43, 46, 49, 52]} | (sets if options.get("sets", True) else {})
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(2)


@pytest.mark.parametrize("solid", ["", "C3D4"])
def test_instances_of_abaqus_are_where_the_assembly_places_them(solid: str, tmp_path: Path) -> None:
    """One as it is, one shifted, one shifted and turned by 90 degrees about an axis through (1, 0, 0)."""
    path = tmp_path / "roofs.inp"
    instances = "".join(f"*INSTANCE, NAME={n}, PART=roof\n{lines}*END INSTANCE\n" for n, lines in (
        ("a", ""), ("b", "10., 0., 0.\n"), ("c", "0., 0., 5.\n1., 0., 0., 1., 0., 2., 90.\n")))  # fmt: skip
    path.write_text(abaqus(solid=solid, frame=PART) + f"*ASSEMBLY, NAME=A\n{instances}*NODE\n1, 0., 0., 0.\n"
                    "*NSET, NSET=TOP, INSTANCE=b\n14\n*ELSET, ELSET=LAST, INSTANCE=C\n43,\n"
                    "*END ASSEMBLY\n")  # fmt: skip
    mesh = read_mesh(path, volume_surface=bool(solid))
    x, y, z = PLACES.T
    turned = np.stack([1 - y, x - 1, z + 5], axis=1)
    assert mesh.vertices == pytest.approx(np.concatenate([PLACES, PLACES + np.array([10, 0, 0]), turned]), abs=1e-12)
    assert mesh.face_data["instance"].tolist() == ["a"] * 6 + ["b"] * 6 + ["c"] * 6
    assert mesh.vertex_data["node"].tolist() == [10, 11, 12, 13, 14] * 3
    assert np.flatnonzero(mesh.vertex_data["nset"] == "TOP").tolist() == [9]
    last = mesh.to_original_faces(np.char.endswith(mesh.face_data["elset"], "+LAST"))
    assert np.flatnonzero(last).tolist() == ([5] if solid else [11])
    whole = path.read_text()
    path.write_text(whole.replace("1., 0., 2., 90.", "1., 0., 0., 90."))
    with pytest.raises(InputError, match="an instance turns about an axis of no length"):
        read_mesh(path)
    path.write_text(whole.replace("PART=roof", "PART=shed", 1))
    with pytest.raises(InputError, match="instance a is of part shed, which does not exist"):
        read_mesh(path)
    path.write_text(abaqus(before="*NGEN\n1, 9, 1\n"))
    with pytest.raises(InputError, match=r"it makes or moves nodes or elements by \*NGEN"):
        read_mesh(path)
