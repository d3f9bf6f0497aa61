"""Formats that need a library of their own: read where it is installed, and named where it is not."""

from __future__ import annotations

import base64
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from meshconv.errors import InputError
from meshconv.io.meshes.load import load_mesh, mesh_formats, read_mesh

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
NUMBERS, INDICES = " ".join(map(str, POINTS.ravel())), " ".join(map(str, FACES.ravel()))


def gifti(points: bytes, faces: bytes) -> str:
    arrays = ""
    for intent, kind, width, block in (("POINTSET", "FLOAT32", 3, points), ("TRIANGLE", "INT32", 3, faces)):
        text = base64.b64encode(zlib.compress(block, 9)).decode()
        arrays += (f'<DataArray Intent="NIFTI_INTENT_{intent}" DataType="NIFTI_TYPE_{kind}" '
                   'ArrayIndexingOrder="RowMajorOrder" Dimensionality="2" '
                   f'Dim0="4" Dim1="{width}" Encoding="GZipBase64Binary" Endian="LittleEndian" ExternalFileName="" '
                   f'ExternalFileOffset=""><Data>{text}</Data></DataArray>')  # fmt: skip
    return f'<?xml version="1.0"?><GIFTI Version="1.0" NumberOfDataArrays="2">{arrays}</GIFTI>'


def amf() -> str:
    vertices = "".join(
        f"<vertex><coordinates><x>{x}</x><y>{y}</y><z>{z}</z></coordinates></vertex>" for x, y, z in POINTS.tolist()
    )
    faces = "".join(f"<triangle><v1>{a}</v1><v2>{b}</v2><v3>{c}</v3></triangle>" for a, b, c in FACES.tolist())
    mesh = f"<mesh><vertices>{vertices}</vertices><volume>{faces}</volume></mesh>"
    return f'<?xml version="1.0"?><amf unit="millimeter"><object id="0">{mesh}</object></amf>'


def x3d() -> str:
    corners = " ".join(f"{a} {b} {c} -1" for a, b, c in FACES.tolist())
    shape = f'<Shape><IndexedFaceSet coordIndex="{corners}"><Coordinate point="{NUMBERS}"/></IndexedFaceSet></Shape>'
    return f'<?xml version="1.0"?><X3D version="3.0" profile="Immersive"><Scene>{shape}</Scene></X3D>'


def dae() -> str:
    source = (f'<source id="p"><float_array id="a" count="12">{NUMBERS}</float_array><technique_common><accessor '
              'source="#a" count="4" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>'
              '<param name="Z" type="float"/></accessor></technique_common></source>')  # fmt: skip
    mesh = (f'<mesh>{source}<vertices id="v"><input semantic="POSITION" source="#p"/></vertices><triangles count="4">'
            f'<input semantic="VERTEX" source="#v" offset="0"/><p>{INDICES}</p></triangles></mesh>')  # fmt: skip
    return ('<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1"><asset>'
            "<up_axis>Z_UP</up_axis></asset>"
            f'<library_geometries><geometry id="g">{mesh}</geometry></library_geometries><library_visual_scenes>'
            '<visual_scene id="s"><node><instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>'
            '<scene><instance_visual_scene url="#s"/></scene></COLLADA>')  # fmt: skip


def test_collada_with_a_material_that_is_absent(tmp_path: Path) -> None:
    """Materials are no part of the surface, though pycollada leaves out what has them."""
    pytest.importorskip("collada")
    pytest.importorskip("assimp_py")
    target = '<instance_material symbol="m" target="#absent"/>'
    bound = f"<bind_material><technique_common>{target}</technique_common></bind_material>"
    content = dae().replace('<instance_geometry url="#g"/>', f'<instance_geometry url="#g">{bound}</instance_geometry>')
    (tmp_path / "m.dae").write_text(content)
    mesh = load_mesh(tmp_path / "m.dae")
    assert (mesh.num_vertices, mesh.num_faces) == (4, 4)
    assert mesh.area == pytest.approx(1.5 + np.sqrt(3) / 2, rel=1e-6)


def msh() -> str:
    nodes = "".join(f"{i + 1} {x} {y} {z}\n" for i, (x, y, z) in enumerate(POINTS.tolist()))
    elements = "".join(f"{i + 1} 2 2 {i % 2} 1 {a + 1} {b + 1} {c + 1}\n" for i, (a, b, c) in enumerate(FACES.tolist()))
    return (f"$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n4\n{nodes}$EndNodes\n"
            f"$Elements\n4\n{elements}$EndElements\n")  # fmt: skip


FILES = {
    "gii": ("nibabel", lambda: gifti(POINTS.tobytes(), FACES.tobytes())),
    "amf": ("assimp_py", amf),
    "x3d": ("assimp_py", x3d),
    "dae": ("collada", dae),
    "msh": ("numpy", msh),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_tetrahedron(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    package, content = FILES[kind]
    pytest.importorskip(package)
    assert kind in mesh_formats()
    path = tmp_path / f"m.{kind}"
    path.write_text(content())
    mesh = load_mesh(path)
    assert (mesh.num_vertices, mesh.num_faces) == (4, 4)
    assert mesh.area == pytest.approx(1.5 + np.sqrt(3) / 2, rel=1e-6)
    assert mesh.defects.problems() == []
    if kind == "msh":
        assert mesh.face_data["gmsh:physical"].tolist() == [0, 1, 0, 1]
    path.write_text(content()[: len(content()) // 2])
    with pytest.raises(InputError, match=rf"m.{kind}: ") as error:
        load_mesh(path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It alone is asked for, not all of its extra."""
    path = tmp_path / "m.mesh"
    path.write_text("MeshVersionFormatted 1\n")
    for name in ("meshio", "nibabel"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=r"m\.mesh: Medit needs meshio, which .*: pip install 'meshconv\[formats\]'$"):
        load_mesh(path)
    assert not {"mesh", "gii"} & set(mesh_formats()) and "dae" in mesh_formats()


def test_a_gifti_bomb(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    (tmp_path / "m.gii").write_text(gifti(bytes(2**26), FACES.tobytes()))
    with pytest.raises(InputError, match="are unpacked"):
        read_mesh(tmp_path / "m.gii")


def test_a_gifti_reads_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    (tmp_path / "other").write_bytes(POINTS.tobytes())
    text = gifti(POINTS.tobytes(), FACES.tobytes()).replace('ExternalFileName=""', 'ExternalFileName="other"', 1)
    (tmp_path / "m.gii").write_text(text.replace("GZipBase64Binary", "ExternalFileBinary", 1))
    with pytest.raises(InputError, match=r"m\.gii: .*its arrays are in another file"):
        read_mesh(tmp_path / "m.gii")


@pytest.mark.parametrize(("version", "number"), [("2.2", None), ("4.0", "<i4"), ("4.1", "<u8")])
def test_numbers_of_binary_gmsh_nodes_take_no_memory(tmp_path: Path, version: str, number: str | None) -> None:
    meshio = pytest.importorskip("meshio")
    path = tmp_path / "m.msh"
    meshio.gmsh.write(path, meshio.Mesh(POINTS, [("triangle", FACES)]), fmt_version=version, binary=True)
    mesh = load_mesh(path)
    assert (mesh.num_vertices, mesh.num_faces) == (4, 4)
    content = path.read_bytes()
    begin = content.index(b"$Nodes\n") + 7
    if number is None:
        path.write_bytes(content[:begin] + content[begin:].replace(b"4\n", b"2000000000\n", 1))
        says = "numbers promised, fewer found"
    else:
        at = begin + (16 if version == "4.0" else 32) + 20  # the first number of a node
        large = np.array(2_000_000_000, dtype=number).tobytes()
        path.write_bytes(content[:at] + large + content[at + len(large) :])
        says = "node 1 does not exist"
    with pytest.raises(InputError, match=rf"m\.msh: .*{says}"):
        load_mesh(path)


def test_numbers_of_gmsh_nodes_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "m.msh").write_text(
        msh().replace("\n4 0", "\n10 0").replace(" 4\n", " 10\n").replace(" 4 3\n", " 10 3\n")
    )
    assert read_mesh(tmp_path / "m.msh").num_vertices == 4
    (tmp_path / "m.msh").write_text(msh().replace("\n4 0", "\n2000000000 0"))
    with pytest.raises(InputError, match="node 4 does not exist"):
        read_mesh(tmp_path / "m.msh")


def test_a_zipped_amf(tmp_path: Path) -> None:
    pytest.importorskip("assimp_py")
    for name, size in (("m.amf", 4), ("x.txt", 0)):
        with zipfile.ZipFile(tmp_path / "m.amf", "w") as archive:
            archive.writestr(name, amf())
        if size:
            assert read_mesh(tmp_path / "m.amf").num_faces == size
        else:
            with pytest.raises(InputError, match=r"m\.amf: .*its archive has 0 files that end in \.amf"):
                read_mesh(tmp_path / "m.amf")


def test_a_missing_corner_of_amf_is_no_other_one(tmp_path: Path) -> None:
    pytest.importorskip("assimp_py")
    (tmp_path / "m.amf").write_text(amf().replace("<v1>0</v1>", "", 1))
    with pytest.raises(InputError, match="3 corners of 4 triangles"):
        read_mesh(tmp_path / "m.amf")
