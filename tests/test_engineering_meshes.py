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


# A roof over a square floor, a line and a point; two tetrahedra below one another.
PLACES = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 1.5]])
ROOF: list[tuple[int, list[list[int]], int]] = [  # kind of Gmsh, corners, group
    (15, [[0]], 3), (1, [[0, 1], [1, 2]], 4), (2, [[0, 1, 4], [1, 2, 4]], 7), (2, [[2, 3, 4], [3, 0, 4]], 8),
    (3, [[0, 3, 2, 1]], 9),
]  # fmt: skip
SOLID = [(4, [[0, 1, 2, 4], [0, 2, 3, 4]], 7)]
DIMENSION = {15: 0, 1: 1, 2: 2, 3: 2, 4: 3}


def gmsh(version: str, order: str = "", start: int = 1, step: int = 1, turned: bool = False, names: bool = True,
         entities: bool = True, elements: list[tuple[int, list[list[int]], int]] = ROOF, data: bool = False,
         before: str = "", end: str = "\n", parametric: bool = False) -> bytes:  # fmt: skip
    """A mesh in a version of the format, its nodes numbered from ``start`` in steps, the last one first or not."""

    def put(kind: str, *values: object) -> bytes:
        flat = np.concatenate([np.ravel(v) for v in values])
        return flat.astype(order + kind).tobytes() if order else (" ".join(map(str, flat.tolist())) + "\n").encode()

    def section(name: str, content: bytes) -> bytes:
        close = f"$END{name}" if name.isupper() else f"$End{name}"
        return f"${name}\n".encode() + content + (b"\n" if order else b"") + f"{close}\n".encode()

    four, size = version.startswith("4"), "u8"
    old = version == "4.0"
    tags = start + step * np.arange(5)
    rows = list(range(5))[::-1] if turned else list(range(5))
    parts = []
    if version != "1":
        head = f"{version} {int(bool(order))} 8\n".encode() + (np.array([1], order + "i4").tobytes() if order else b"")
        parts.append(before.encode() + section("MeshFormat", head))
    if names:
        named = "".join(f'{d} {g} "{n}"\n' for d, g, n in ((2, 7, "south"), (2, 8, "north part"), (3, 7, "body")))
        parts.append(b"$PhysicalNames\n3\n" + named.encode() + b"$EndPhysicalNames\n")
    if four and entities:
        content = put(size, [sum(DIMENSION[k] == d for k, _, _ in elements) for d in range(4)])
        for d in range(4):
            for number, (kind, _, group) in enumerate(elements):
                if DIMENSION[kind] == d:
                    box = [0.0] * (3 if d == 0 and not old else 6)
                    content += put("i4", [number + 1]) + put("f8", box) + put(size, [0 if kind == 1 else 1])
                    content += b"" if kind == 1 else put("i4", [group])
                    content += put(size, [0]) if d else b""
        parts.append(section("Entities", content))
    if not four:
        content = b"5\n" + b"".join(put("i4", [tags[k]])[: None if order else -1] + b" " * (not order)
                                    + put("f8", PLACES[k]) for k in rows)  # fmt: skip
        parts.append(section("NOD" if version == "1" else "Nodes", content))
    else:
        content = put(size, [2, 5] if old else [2, 5, tags.min(), tags.max()])
        for dimension, chosen in ((0, rows[:1]), (2, rows[1:])):
            content += put("i4", [1, dimension, parametric] if old else [dimension, 1, parametric])
            content += put(size, [len(chosen)])
            extra = [0.25] * (dimension * parametric)
            if old:
                content += b"".join(put("i4", [tags[k]]) + put("f8", PLACES[k], extra) for k in chosen)
            else:
                content += put(size, [tags[k] for k in chosen])
                content += b"".join(put("f8", PLACES[k], extra) for k in chosen)
        parts.append(section("Nodes", content))
    count, number = sum(len(c) for _, c, _ in elements), 20
    content = f"{count}\n".encode() if not four else put(size, [len(elements), count] + ([] if old else [20, 90]))
    for entity, (kind, cells, group) in enumerate(elements, start=1):
        of = [[number + 2 * k, *tags[cell]] for k, cell in enumerate(cells)]
        number += 2 * len(cells)
        if four:
            content += put("i4", [entity, DIMENSION[kind], kind] if old else [DIMENSION[kind], entity, kind])
            content += put(size, [len(cells)]) + put("i4" if old else size, of)
        elif order:
            content += put("i4", [kind, len(cells), 2]) + put("i4", [[r[0], group, entity, *r[1:]] for r in of])
        elif version == "1":
            content += b"".join(put("i4", [r[0], kind, group, entity, len(r) - 1, *r[1:]]) for r in of)
        else:
            content += b"".join(put("i4", [r[0], kind, 2, group, entity, *r[1:]]) for r in of)
    parts.append(section("ELM" if version == "1" else "Elements", content))
    if data:
        for name, width, keys in (("NodeData", 1, tags[1:]), ("ElementData", 3, [28, 26])):
            head = f'1\n"{name} p"\n1\n0.0\n3\n0\n{width}\n{len(keys)}\n'.encode()
            parts.append(section(name, head + b"".join(
                put("i4", [k])[: None if order else -1] + b" " * (not order) + put("f8", [float(k)] * width)
                for k in keys)))  # fmt: skip
    content = b"".join(parts)
    return content if order else content.replace(b"\n", end.encode())


GMSH: dict[str, tuple[str, dict[str, object]]] = {
    **{f"{v} {o or 'text'} {k}": (v, {"order": o, **options})
       for v in ("2.2", "4.0", "4.1") for o in ("", "<", ">") for k, options in {
           "plain": {}, "gaps, turned": {"start": 100, "step": 7, "turned": True}, "no names": {"names": False},
           "data": {"data": True, "start": 3}, "volumes": {"elements": SOLID}}.items()},
    **{f"{v} {o or 'text'} {k}": (v, {"order": o, **options}) for v in ("4.0", "4.1") for o in ("", "<")
       for k, options in {"no entities": {"entities": False}, "parametric": {"parametric": True}}.items()},
    "1": ("1", {"names": False}), "1 gaps": ("1", {"names": False, "start": 9, "step": 4}), "2": ("2", {}),
    "2.1": ("2.1", {}), "Windows": ("2.2", {"end": "\r\n"}), "4": ("4", {}),
    "comment": ("4.1", {"before": "$Comments\nby hand\n$EndComments\n"}),
}  # fmt: skip


@pytest.mark.parametrize("name", GMSH)
def test_meshes_of_gmsh(name: str, tmp_path: Path) -> None:
    version, options = GMSH[name]
    path = tmp_path / "roof.msh"
    path.write_bytes(gmsh(version, **options))  # type: ignore[arg-type]
    turned, solid = bool(options.get("turned")), "elements" in options
    mesh = read_mesh(path, volume_surface=solid)
    assert mesh.num_vertices == 5 and mesh.num_faces == 6
    assert mesh.vertices.tolist() == (PLACES[::-1] if turned else PLACES).tolist()
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(2)
    with_groups = not (version[0] == "4" and options.get("entities") is False)
    group = mesh.to_original_faces(mesh.face_data["gmsh:physical"]).tolist()
    assert group == ([7, 7] if solid else [7, 7, 8, 8, 9] if with_groups else [0] * 5)
    entity = mesh.to_original_faces(mesh.face_data["gmsh:geometrical"]).tolist()
    assert entity == ([1, 1] if solid else [3, 3, 4, 4, 5])
    if options.get("names", True):
        wanted = ["body"] * 2 if solid else ["south"] * 2 + ["north part"] * 2 + [""] if with_groups else [""] * 5
        assert mesh.to_original_faces(mesh.face_data["physical"]).tolist() == wanted
    if options.get("data"):
        assert np.array_equal(mesh.vertex_data["NodeData p"], [np.nan, 4, 5, 6, 7], equal_nan=True)
        found = mesh.to_original_faces(mesh.face_data["ElementData p"])
        assert np.array_equal(found[:, 2], [26, 28, np.nan, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((b"4.1 0 8", b"5.0 0 8"), "version 5 is not known"),
        ((b"34 1 4 3 2\n", b"34 1 4 3 9\n"), "node 9 does not exist"),
        ((b"$EndNodes", b"$EndKnots"), "section Nodes has no end"),
        ((b"\n2 5 3\n1\n", b"\n2 5 10\n1\n"), "promised"),
        ((b"\n2 5 3\n1\n34 1 4 3 2\n", b"\n2 5 9\n1\n34 1 2 3 4 5 1\n"), "type 9 are curved; write linear ones"),
    ],
)
def test_bad_gmsh_files_are_one_line(change: tuple[bytes, bytes], says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.msh"
    path.write_bytes(gmsh("4.1").replace(*change))
    with pytest.raises(InputError, match=says) as error:
        read_mesh(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def fields(name: str, *words: object, way: str = "small", filler: str = "") -> str:
    """A card in a layout: of fields of 8 or of 16 characters, or of words with commas between them."""
    text = ["" if w is None else str(w) for w in words]
    if way == "free":
        rows = [text[k : k + 8] for k in range(0, len(text), 8)]
        return "\n".join(",".join([name if not k else "", *row]) for k, row in enumerate(rows)) + "\n"
    star, width, count = ("*", 16, 4) if way == "large" else ("", 8, 8)
    if way == "free large":
        rows = [text[k : k + 4] for k in range(0, len(text), 4)]
        return "\n".join(",".join([name + "*" if not k else "*", *row]) for k, row in enumerate(rows)) + "\n"
    lines = []
    for k in range(0, len(text), count):
        first = name + star if not k else (star or "+") + filler
        more = filler and k + count < len(text)
        lines.append(f"{first:<8}" + "".join(f"{w:>{width}}" for w in text[k : k + count]).ljust(72 - 8)
                     + (("*" if star else "+") + filler if more else ""))  # fmt: skip
    return "\n".join(line.rstrip() for line in lines) + "\n"


def nastran(way: str = "small", real: str = "{:.1f}", ids: int = 1, step: int = 1, shells: tuple[str, str] = ("CTRIA3",
            "CQUAD4"), solid: str = "", frame: str = "{}", more: str = "", tail: tuple[object, ...] = (),
            cells_first: bool = False, frame_field: object = None, filler: str = "") -> str:  # fmt: skip
    points = "".join(fields("GRID", ids + step * k, frame_field, *(real.format(v) if v else None if real == "blank" else
                            (real if real != "blank" else "{:.1f}").format(v) for v in xyz), way=way, filler=filler)
                     for k, xyz in enumerate(PLACES))  # fmt: skip
    cells, number = "", 50
    if solid:
        for cell in SOLID[0][1]:
            cells += fields(solid, number, 7, *(ids + step * c for c in cell), way=way, filler=filler)
            number += 3
    else:
        for kind, of, group in ROOF[2:]:
            for cell in of:
                name = shells[kind - 2]
                cells += fields(name, number, group, *(ids + step * c for c in cell), *tail, way=way, filler=filler)
                number += 3
    return frame.format(more + (cells + points if cells_first else points + cells))


WHOLE = "SOL 101\nCEND\nTITLE = A ROOF\nBEGIN BULK\n{}ENDDATA\nGRID, 1,, nonsense\n"
NASTRAN: dict[str, dict[str, object]] = {
    **{f"{way} {k}": {"way": way, **options} for way in ("small", "large", "free", "free large") for k, options in {
        "plain": {}, "whole file": {"frame": WHOLE}, "gaps": {"ids": 1001, "step": 13}, "solids": {"solid": "CTETRA"},
        "angle and offset": {"tail": ("30.", "0.05")}, "cells first": {"cells_first": True},
        "frame 0": {"frame_field": 0}, "exponents": {"real": "{:.2e}"}}.items()},
    "no E": {"real": "{:.1f}+0"}, "double": {"real": "{:.1f}D+00", "way": "large"}, "no zero": {"real": "{:.0f}."},
    "R": {"shells": ("CTRIAR", "CQUADR")}, "shear": {"shells": ("CTRIA3", "CSHEAR")},
    "comments": {"more": "$ a roof\n$\n\nPSHELL  7       1       0.1\nMAT1,1,2.1+5,,.3 $ steel\n"},
    "beams": {"more": "CBAR,900,4,1,2,0.,0.,1.\nCONM2   901     1       0       0.5\nSPC1,1,123456,1,THRU,3\n"},
    "continued": {"way": "large", "filler": "A1"}, "super": {"frame": "BEGIN SUPER=1 BULK\n{}ENDDATA\n"},
    "param": {"more": "PARAM,POST,-1\nFORCE,1,1,0,1.,0.,0.,-1.\n"}, "default": {"more": "GRDSET,,0,,,,0,456\n"},
}  # fmt: skip


@pytest.mark.parametrize("name", [*NASTRAN, "small letters", "tabs", "Windows"])
def test_meshes_of_nastran(name: str, tmp_path: Path) -> None:
    options = NASTRAN.get(name, {})
    text = nastran(**options)  # type: ignore[arg-type]
    real = str(options.get("real", "{:.1f}"))
    if name == "small letters":
        text = text.lower()
    elif name == "tabs":
        text = "".join("\t".join(line[k : k + 8].strip() for k in range(0, len(line), 8)) + "\n"
                       for line in text.split("\n"))  # fmt: skip
    elif name == "Windows":
        text = text.replace("\n", "\r\n")
    path = tmp_path / "roof.bdf"
    path.write_bytes(text.encode())
    mesh = read_mesh(path, volume_surface="solid" in options)
    wanted = np.round(PLACES) if real == "{:.0f}." else PLACES
    assert mesh.vertices.tolist() == wanted.tolist() and mesh.num_faces == 6
    ids, step = int(str(options.get("ids", 1))), int(str(options.get("step", 1)))
    assert mesh.vertex_data["node"].tolist() == [ids + step * k for k in range(5)]
    of = {key: mesh.to_original_faces(values).tolist() for key, values in mesh.face_data.items()}
    assert of == ({"element": [50, 53], "nastran:ref": [7, 7]} if "solid" in options
                  else {"element": [50, 53, 56, 59, 62], "nastran:ref": [7, 7, 8, 8, 9]})  # fmt: skip
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(4 / 3 * wanted[4, 2])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("CTRIA6,1,1,1,2,3,4,5,1\n", "elements CTRIA6 are curved"),
        ("CQUAD8  1       1       1       2       3       4       5       1       2       3\n", "CQUAD8 are curved"),
        ("CTETRA,1,1,1,2,3,4,5,1\n,2,3,4,5\n", "element 1 of 10 points is curved"),
        ("CTRIA3,1,1,1,2,99\n", "point 99 does not exist"),
        ("CTRIA3,50,1,1,2,3\n", "element 50 is defined twice"),
        ("GRID,1,,0.,0.,0.\n", "point 1 is defined twice"),
        ("GRID,7,,0.,x,0.\n", "float"),
        ("GRDSET,,5\n", "coordinate system 5"),
    ],
)
def test_bad_nastran_files_are_one_line(more: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.bdf"
    path.write_text(nastran(more=more))
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
