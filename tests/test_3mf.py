"""3MF: objects, parts, colours, and what is not read."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tetrahedron_case import FACES, POINTS

from meshconv.datasets import MeshSegments
from meshconv.errors import InputError
from meshconv.io.meshes.load import load_mesh

CORE = 'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"'
AWAY = "1 0 0 0 1 0 0 0 1 9 0 0"
PRODUCTION = 'xmlns:p="http://schemas.microsoft.com/3dmanufacturing/production/2015/06"'


def object_3mf(number: int, name: str, scale: float = 1) -> str:
    points = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in (POINTS * scale).tolist())
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in FACES)
    mesh = f"<mesh><vertices>{points}</vertices><triangles>{faces}</triangles></mesh>"
    return f'<object id="{number}" name="{name}" type="model">{mesh}</object>'


def write_3mf(path: Path, **models: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in models.items():
            archive.writestr(f"3D/{name}.model", content)


def test_3mf_objects_in_files_of_their_own(tmp_path: Path) -> None:
    """Two files may number their objects alike."""
    root = (
        f'<model {CORE} {PRODUCTION} requiredextensions="p"><resources>{object_3mf(1, "here")}'
        f'<object id="2"><components><component objectid="1" p:path="/3D/other.model" transform="{AWAY}"/>'
        '</components></object></resources><build><item objectid="1"/><item objectid="2"/>'
        '<item objectid="1" p:path="/3D/other.model" transform="-1 0 0 0 1 0 0 0 1 0 0 9"/></build></model>'
    )
    other = f"<model {CORE}><resources>{object_3mf(1, 'there', 2)}</resources><build/></model>"
    path = tmp_path / "m.3mf"
    write_3mf(path, **{"3dmodel": root, "other": other})
    mesh = load_mesh(path)
    expected = [POINTS, 2 * POINTS + [9, 0, 0], 2 * POINTS * [-1, 1, 1] + [0, 0, 9]]
    np.testing.assert_allclose(mesh.vertices, np.concatenate(expected))
    assert mesh.face_data["part"].tolist() == ["here"] * 4 + ["there"] * 8
    assert mesh.origin is None or mesh.origin.changes.turned_faces == 0
    write_3mf(path, **{"3dmodel": root})
    with pytest.raises(InputError, match=r"part 3d/other\.model is not in the archive"):
        load_mesh(path)


def test_colours_of_3mf_are_labels(tmp_path: Path) -> None:
    """Of a triangle, else of its object; of materials too, and grey where there is none among painted ones."""
    plain = object_3mf(1, "a")
    first, second, _, last = (f'v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in FACES)
    painted = plain.replace(first, first.replace("/>", ' pid="7" p1="1" p2="1" p3="1"/>'))
    painted = painted.replace(second, second.replace("/>", ' pid="8" p1="0"/>'))
    painted = painted.replace(last, last.replace("/>", ' p1="0"/>'))
    groups = ('<m:colorgroup id="7"><m:color color="#00FF00"/><m:color color="#FF000080"/></m:colorgroup>'
              '<basematerials id="8"><base name="x" displaycolor="#0000ff"/></basematerials>')  # fmt: skip
    space = 'xmlns:m="http://schemas.microsoft.com/3dmanufacturing/material/2015/02"'
    colors = {}
    for name, one in (("object", painted.replace('type="model"', 'type="model" pid="7" pindex="1"')),
                      ("bare", painted), ("plain", plain)):  # fmt: skip
        model = f'<model {CORE} {space}><resources>{groups}{one}</resources><build><item objectid="1"/></build></model>'
        (tmp_path / name).mkdir()
        write_3mf(tmp_path / name / "m.3mf", **{"3dmodel": model})
        colors[name] = load_mesh(tmp_path / name / "m.3mf").face_data.get("color")
    red, green, blue, grey = [255, 0, 0], [0, 255, 0], [0, 0, 255], [160, 160, 160]
    assert colors["object"].tolist() == [red, blue, red, green]
    assert colors["bare"].tolist() == [red, blue, grey, grey]
    assert colors["plain"] is None
    shutil.copy(tmp_path / "object" / "m.3mf", tmp_path / "object" / "n.3mf")
    data = MeshSegments(str(tmp_path / "object"), attribute="color", test_fraction=0.5, cache=False)
    assert data.element == "faces" and data.class_names == ["#0000ff", "#00ff00", "#ff0000"]
    write_3mf(tmp_path / "m.3mf", **{"3dmodel": model.replace(plain, painted).replace('p1="1"', 'p1="9"')})
    with pytest.raises(InputError, match=r"m\.3mf: cannot be read as '3mf' \(index 9 is out of bounds"):
        load_mesh(tmp_path / "m.3mf")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (f'<model {CORE} xmlns:b="http://schemas.microsoft.com/3dmanufacturing/beamlattice/2017/02" '
         'requiredextensions="b"/>', "3MF extension http.*beamlattice"),
        (f'<model {CORE}><resources><object id="1"><components><component objectid="1"/></components></object>'
         '</resources><build><item objectid="1"/></build></model>', "component of itself"),
        (f'<model {CORE}><build><item objectid="7"/></build></model>', "object 7 of 3d/3dmodel.model does not exist"),
        (f"<model {CORE}><build/></model>", "no object with triangles"),
        (f"<model {CORE}>", "cannot be read as '3mf'"),
        ("", "cannot be read as '3mf'"),
    ],
)  # fmt: skip
def test_3mf_that_is_not_read_says_why(model: str, says: str, tmp_path: Path) -> None:
    write_3mf(tmp_path / "m.3mf", **{"3dmodel": model})
    with pytest.raises(InputError, match=says) as error:
        load_mesh(tmp_path / "m.3mf")
    assert "\n" not in str(error.value)
