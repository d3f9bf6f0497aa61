"""Meshes of Gmsh: shells, the surface of solids, physical groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from roof import PLACES, ROOF, SOLID

from meshconv import InputError, load_mesh
from meshconv.io import read_mesh


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
