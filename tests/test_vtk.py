"""Legacy VTK files: text, binary and the layout of version 5; labels of points and cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from segments import body, halves

from meshconv import InputError, load_mesh
from meshconv.datasets import MeshSegments
from meshconv.io import read_mesh

QUADS = """# vtk DataFile Version 3.0
a box without its lid
ASCII
DATASET POLYDATA
POINTS 8 float
0 0 0  1 0 0  1 1 0
0 1 0  0 0 1  1 0 1  1 1 1  0 1 1
LINES 1 3
2 0 6
POLYGONS 5 25
4 0 3 2 1
4 0 1 5 4
4 1 2 6 5
4 2 3 7 6
4 3 0 4 7
CELL_DATA 6
SCALARS part int 1
LOOKUP_TABLE default
9 1 2 2 2 1
POINT_DATA 8
VECTORS shear double
1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0.5
NORMALS n float
0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1
FIELD more 2
height 1 8 float
0 0 0 0 1 1 1 1
METADATA
INFORMATION 0

pair 2 8 int
0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
"""


def test_text_with_every_kind_of_data(tmp_path: Path) -> None:
    path = tmp_path / "box.vtk"
    path.write_text(QUADS)
    mesh = read_mesh(path)
    assert mesh.vertices[6].tolist() == [1, 1, 1]
    assert mesh.num_faces == 10
    assert mesh.face_data["part"].tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 1, 1]
    assert mesh.origin is not None
    assert mesh.to_original_faces(mesh.face_data["part"]).tolist() == [1, 2, 2, 2, 1]
    assert mesh.vertex_data["shear"][7].tolist() == [1, 0, 0.5]
    assert mesh.vertex_data["height"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert mesh.vertex_data["pair"][3].tolist() == [6, 7]
    assert set(mesh.vertex_data) == {"shear", "height", "pair"}


def binary(path: Path, seed: int, kind: str, version: int) -> None:
    """A body as other programs write it: big-endian, cells in the old or the new layout."""
    mesh, labels = body(seed), halves(body(seed), kind, 3)
    parts = [f"# vtk DataFile Version {version}.1\nbody\nBINARY\nDATASET POLYDATA\nPOINTS {mesh.num_vertices} double\n"]
    blocks: list[bytes] = [parts[0].encode(), mesh.vertices.astype(">f8").tobytes()]
    if version == 5:
        offsets = 3 * np.arange(mesh.num_faces + 1)
        blocks += [f"\nPOLYGONS {len(offsets)} {mesh.faces.size}\nOFFSETS vtktypeint64\n".encode(),
                   offsets.astype(">i8").tobytes(), b"\nCONNECTIVITY vtktypeint64\n",
                   mesh.faces.astype(">i8").tobytes()]  # fmt: skip
    else:
        rows = np.insert(mesh.faces, 0, 3, axis=1)
        blocks += [f"\nPOLYGONS {len(rows)} {rows.size}\n".encode(), rows.astype(">i4").tobytes()]
    name = "POINT_DATA" if kind == "vertices" else "CELL_DATA"
    blocks += [f"\n{name} {len(labels)}\nSCALARS region short\nLOOKUP_TABLE default\n".encode(),
               labels.astype(">i2").tobytes(), b"\n"]  # fmt: skip
    path.write_bytes(b"".join(blocks))


@pytest.mark.parametrize("kind", ["vertices", "faces"])
@pytest.mark.parametrize("version", [4, 5])
def test_labels_in_binary_files(tmp_path: Path, kind: str, version: int) -> None:
    for k in range(3):
        binary(tmp_path / f"{k}.vtk", k, kind, version)
    mesh = load_mesh(tmp_path / "0.vtk")
    np.testing.assert_array_equal(mesh.vertices, body(0).vertices)
    np.testing.assert_array_equal(mesh.faces, body(0).faces)
    data = MeshSegments(str(tmp_path), cache=False, workers=0)
    assert (data.element, data.class_values) == (kind, [3, 4])
    sample = data.samples("test")[0]
    assert sample.target.tolist() == halves(body(int(Path(sample.name).stem)), kind).tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("# vtk DataFile", "# ply"), "the first line"),
        (("POLYDATA", "STRUCTURED_GRID"), "STRUCTURED_GRID, not POLYDATA"),
        (("POLYGONS 5 25", "POLYGONS 5 24"), "5 cells promised"),
        (("POLYGONS 5 25\n4", "POLYGONS 99999999999 25\n-1"), "cells promised"),
        (("POLYGONS 5 25\n4 0", "POLYGONS 5 25\n4 99999999999999999999"), "too large"),
        (("POINTS 8 float", "POINTS 99999999999999999999999 float"), "fewer found"),
        (("POINTS 8 float", "POINTS 8 quad"), "no type 'quad'"),
        (("CELL_DATA 6", "CELL_DATA 5"), "is not supported|promised|rows for"),
        (("14 15\n", "14\n"), "16 numbers promised, 15 found"),
        (("VECTORS shear", "GLYPHS shear"), "'GLYPHS' is not supported"),
    ],
)
def test_bad_files_name_what_is_wrong(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    path = tmp_path / "bad.vtk"
    path.write_text(QUADS.replace(*change))
    with pytest.raises(InputError, match=f"bad.vtk: cannot be read as 'vtk' .*({says})"):
        read_mesh(path)


@pytest.mark.parametrize("kind", ["ASCII", "BINARY"])
def test_all_that_vtk_writes_beside_numbers(kind: str, tmp_path: Path) -> None:
    """Identifiers of four bytes, packed bits, texts (one is empty, one long), and names with characters encoded."""
    binary = kind == "BINARY"

    def block(values: np.ndarray, dtype: str) -> bytes:
        return values.astype(dtype).tobytes() if binary else " ".join(map(str, values.ravel().tolist())).encode()

    bits = np.array([1, 0, 0, 1, 1, 0, 1, 0, 1, 1])
    texts = [b"a word", b"", b"x" * 100, *[b"y"] * 7]
    packed = b"".join(
        (bytes([192 | len(t)]) if len(t) < 64 else (len(t) | 2 << 14).to_bytes(2, "big")) + t for t in texts
    )
    points = np.stack([np.arange(10.0), np.arange(10.0) ** 2, np.zeros(10)], axis=1)
    head = f"# vtk DataFile Version 4.2\nt\n{kind}\nDATASET POLYDATA\nPOINTS 10 float\n"
    parts = [head.encode(), block(points, ">f4"),
             b"\nPOLYGONS 1 4\n", block(np.array([3, 0, 1, 2]), ">i4"),
             b"\nPOINT_DATA 10\nGLOBAL_IDS ids vtkIdType\n",
             block(np.arange(10) + 5, ">i4"), b"\nSCALARS p%20(Pa) double\nLOOKUP_TABLE default\n",
             block(np.arange(10) / 3, ">f8"), b"\nFIELD FieldData 4\n50%25%20quantile 1 10 float\n",
             block(np.arange(10), ">f4"), b"\nwords 1 10 string\n", packed if binary else b"\n".join(texts),
             b"\nflag 1 10 bit\n", np.packbits(bits).tobytes() if binary else block(bits, "i1"),
             b"\nnumber 1 10 unsigned_long\n", block(np.arange(10, dtype=np.uint64) + 2**63, ">u8"), b"\n"]  # fmt: skip
    path = tmp_path / "m.vtk"
    path.write_bytes(b"".join(parts))
    data = read_mesh(path).vertex_data
    assert set(data) == {"ids", "p (Pa)", "50% quantile", "flag", "number"}
    assert data["ids"].tolist() == list(range(5, 15)) and data["flag"].tolist() == bits.tolist()
    assert data["p (Pa)"] == pytest.approx(np.arange(10) / 3) and data["50% quantile"].tolist() == list(range(10))
    assert data["number"].tolist() == [2**63 + k for k in range(10)]


# A pyramid over the unit square, open below or not, with a loose point and a line, as files in the wild hold it.
PLACES = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 3], [5, 5, 5]])
SIDES = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
BASE = [0, 3, 2, 1]
STRIP = [0, 1, 4, 2]
# Cells by kind, with the triangles of each in the file's order of polygons, then strips.
SHAPES: dict[str, dict[str, list[list[int]]]] = {
    "triangles": {"POLYGONS": [*SIDES, BASE[:3], [0, 2, 1]][:4]},
    "quad and triangles": {"POLYGONS": [BASE, *SIDES]},
    "with line and point": {"LINES": [[0, 4], [1, 4, 2]], "VERTICES": [[5]], "POLYGONS": [*SIDES, BASE]},
    "strips": {"TRIANGLE_STRIPS": [STRIP], "POLYGONS": [BASE, SIDES[3]]},
}
TYPE_OF = {"VERTICES": 1, "LINES": 4, "TRIANGLE_STRIPS": 6}


def legacy(shape: str = "quad and triangles", version: str = "3.0", binary: bool = False, grid: bool = False,
           real: str = "float", ids: str = "vtktypeint64", head: str = "", tail: str = "", first: str = "POINT_DATA",
           lower: bool = False, end: str = "\n", title: str = "a title", polygons: int = 7) -> bytes:  # fmt: skip
    """A file, from the version's layout of cells to the end of lines."""
    code = {"float": "f4", "double": "f8", "int": "i4", "short": "i2", "long": "i8", "unsigned_char": "u1",
            "vtktypeint64": "i8", "vtktypeint32": "i4"}  # fmt: skip

    def numbers(values: object, kind: str) -> bytes:
        flat = np.array(values).ravel()
        if binary:
            return flat.astype(">" + code[kind]).tobytes() + b"\n"
        rows = [flat[k : k + 5] for k in range(0, len(flat), 5)]
        return "".join(" ".join(map(str, row.tolist())) + end for row in rows).encode()

    def word(text: str) -> bytes:
        text = text.lower() if lower else text
        return (text + ("\n" if binary else end)).encode()

    def cells(keyword: str, of: list[list[int]]) -> bytes:
        flat = [k for cell in of for k in cell]
        if version >= "5":
            offsets = np.cumsum([0, *map(len, of)])
            return (word(f"{keyword} {len(of) + 1} {len(flat)}") + word(f"OFFSETS {ids}") + numbers(offsets, ids)
                    + word(f"CONNECTIVITY {ids}") + numbers(flat, ids))  # fmt: skip
        rows = [n for cell in of for n in (len(cell), *cell)]
        return word(f"{keyword} {len(of)} {len(rows)}") + numbers(rows, "int")

    kinds = SHAPES[shape]
    parts = [f"# vtk DataFile Version {version}{end}{title}{end}".encode(), word("BINARY" if binary else "ASCII"),
             word(f"DATASET {'UNSTRUCTURED_GRID' if grid else 'POLYDATA'}"), head.encode(),
             word(f"POINTS 6 {real}"), numbers(PLACES, real), b"\n" if version >= "4" else b""]  # fmt: skip
    every = [(kind, cell) for kind, found in kinds.items() for cell in found]
    if grid:
        parts.append(cells("CELLS", [cell for _, cell in every]))
        types = [TYPE_OF.get(kind, {3: 5, 4: 9}[len(c)] if polygons == 0 else 7) if kind != "LINES" or len(c) > 2 else 3
                 for kind, c in every]  # fmt: skip
        parts += [word(f"CELL_TYPES {len(types)}"), numbers(types, "int")]
    else:
        parts += [cells(kind, found) for kind, found in kinds.items()]
    count = len(every)
    data = {"POINT_DATA": word("POINT_DATA 6") + word("SCALARS height double 1") + word("LOOKUP_TABLE default")
            + numbers(PLACES[:, 2] / 2, "double") + word("VECTORS way float") + numbers(PLACES, "float"),
            "CELL_DATA": word(f"CELL_DATA {count}") + word("FIELD FieldData 1") + word(f"mark 1 {count} int")
            + numbers(np.arange(count) + 100, "int")}  # fmt: skip
    parts += [data.pop(first), *data.values(), tail.encode()]
    return b"".join(parts)


TIME = "FIELD FieldData 1\nTIME 1 1 double\n0.5\n"
LEGACY: dict[str, dict[str, object]] = {
    **{f"{'binary' if b else 'text'} {'grid' if g else 'polydata'} {v} {s}": {
        "binary": b, "grid": g, "version": v, "shape": s}
       for b in (False, True) for g in (False, True) for v in ("2.0", "4.2", "5.1") for s in SHAPES},
    **{f"points of {real} {b}": {"real": real, "binary": b}
       for real in ("double", "int", "short", "long", "unsigned_char") for b in (False, True)},
    "indices of 32 bits": {"version": "5.1", "binary": True, "ids": "vtktypeint32"},
    "version 1": {"version": "1.0"}, "small letters": {"lower": True}, "lines of Windows": {"end": "\r\n"},
    "no title": {"title": ""}, "cells first": {"first": "CELL_DATA"}, "blank lines": {"tail": "\n\n\n"},
    "time of VisIt": {"head": TIME}, "binary title": {"title": "BINARY data \u00e9"},
    "metadata": {"version": "4.2", "tail": "METADATA\nINFORMATION 1\nNAME L2 LOCATION vtk\nDATA 1\n\n"},
    "types of each size": {"grid": True, "polygons": 0}, "binary, types": {"grid": True, "polygons": 0, "binary": True},
}  # fmt: skip


@pytest.mark.parametrize("name", LEGACY)
def test_files_as_programs_write_them(name: str, tmp_path: Path) -> None:
    options = LEGACY[name]
    path = tmp_path / "pyramid.vtk"
    path.write_bytes(legacy(**options))  # type: ignore[arg-type]
    kinds = SHAPES[str(options.get("shape", "quad and triangles"))]
    mesh = read_mesh(path)
    assert mesh.vertices.tolist() == PLACES.tolist()
    assert mesh.vertex_data["height"].tolist() == (PLACES[:, 2] / 2).tolist()
    assert mesh.vertex_data["way"].tolist() == PLACES.tolist()
    order = list(kinds) if options.get("grid") else ["VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS"]
    rows = [(kind, cell) for kind in order for cell in kinds.get(kind, [])]
    flat = [(k, kind, cell) for k, (kind, cell) in enumerate(rows) if kind in ("POLYGONS", "TRIANGLE_STRIPS")]
    assert mesh.to_original_faces(mesh.face_data["mark"]).tolist() == [100 + k for k, _, _ in flat]
    assert mesh.num_faces == sum(len(cell) - 2 for _, _, cell in flat)
    for k, kind, cell in flat:
        ours = mesh.faces[mesh.face_data["mark"] == 100 + k].tolist()
        if kind == "TRIANGLE_STRIPS":  # every other one is turned
            assert [sorted(f) for f in ours] == [sorted(cell[i : i + 3]) for i in range(len(cell) - 2)]
        else:
            assert {k for face in ours for k in face} == set(cell)


def test_ghost_cells_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "piece.vtk"
    head = legacy().split(b"CELL_DATA")[0].decode()
    for array, left in (("vtkGhostType 1 5 unsigned_char\n0 1 0 32 8", [0, 2, 4]),
                        ("vtkGhostLevels 1 5 unsigned_char\n0 0 1 2 0", [0, 1, 4])):  # fmt: skip
        path.write_text(f"{head}CELL_DATA 5\nFIELD FieldData 2\n{array}\nmark 1 5 int\n0 1 2 3 4\n")
        mesh = read_mesh(path)
        assert mesh.to_original_faces(mesh.face_data["mark"]).tolist() == left
        assert mesh.num_faces == 4 and mesh.num_vertices == 6
