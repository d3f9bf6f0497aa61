"""Meshes of Nastran: shells, the surface of solids, properties, coordinate systems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from roof import PLACES, ROOF, SOLID

from meshconv import InputError, load_mesh
from meshconv.io import read_mesh


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
