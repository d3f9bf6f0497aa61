"""Brain surfaces: FreeSurfer's and GIFTI's files, overlays by name, and a common grid by the sphere."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import numpy as np
import pytest
from meshes import icosphere

from meshconv import InputError, TriangleMesh, load_mesh
from meshconv.datasets import MeshFields, MeshNumbers, MeshSegments, Preparation, prepare_mesh
from meshconv.geometry import SphericalRegistration, icosahedral_sphere
from meshconv.io.meshes.overlays import read_overlay

nibabel = pytest.importorskip("nibabel")
fs = nibabel.freesurfer
TABLE = np.array([[25, 5, 25, 0, 0], [220, 20, 20, 0, 0], [20, 220, 20, 0, 0]])
NAMES = [b"unknown", b"cuneus", b"insula"]


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    """Two subjects as recon-all leaves them, of 162 vertices a side."""
    for number, name in enumerate(("sub-1", "sub-2")):
        surf, label = (tmp_path / name / part for part in ("surf", "label"))
        surf.mkdir(parents=True)
        label.mkdir()
        ball = icosphere(2)
        for kind, scale in (("white", [70, 100, 60 + number]), ("pial", [72, 102, 63]), ("sphere.reg", 100)):
            fs.write_geometry(surf / f"lh.{kind}", ball.vertices * scale, ball.faces)
        z = ball.vertices[:, 2]
        for kind, values in (("thickness", 2.5 + z), ("curv", z**2)):
            fs.write_morph_data(surf / f"lh.{kind}", values)
        fs.write_annot(label / "lh.aparc.annot", np.where(z > 0, 1, 2), TABLE, NAMES, fill_ctab=True)
        lines = "\n".join(f"{k} 0 0 0 0" for k in np.flatnonzero(z > 0))
        (label / "lh.cortex.label").write_text(f"#!ascii label\n{(z > 0).sum()}\n{lines}\n")
    (tmp_path / "ages.csv").write_text("subject,age\nsub-1,30\nsub-2,50\n")
    return tmp_path


OPTIONS = {"cache": False, "workers": 0, "test_fraction": 0.5, "features": ["areas"], "pattern": "*/surf/lh.white"}


def test_surfaces_and_overlays_of_freesurfer(subjects: Path) -> None:
    path, ball = subjects / "sub-1" / "surf" / "lh.white", icosphere(2)
    mesh = load_mesh(path)
    assert mesh.vertices == pytest.approx(ball.vertices * [70, 100, 60], rel=1e-6)
    assert np.array_equal(mesh.faces, ball.faces)
    z = ball.vertices[:, 2]
    how = Preparation.from_spec({"features": ["areas"], "scalars": ["thickness", "curv", "cortex"]})
    x = prepare_mesh(path, how=how).x.numpy()
    assert x[:, 1:] == pytest.approx(np.stack([2.5 + z, z**2, z > 0], axis=1), abs=1e-6)
    data = MeshFields(str(subjects), ["thickness"], scalars=["curv"], **OPTIONS)
    assert [len(data.files[k]) for k in ("train", "test")] == [1, 1]
    assert data.samples("train")[0].target[:, 0].numpy() == pytest.approx(2.5 + z, abs=1e-6)


@pytest.mark.parametrize("kind", [b"\xff\xff\xff", b"\xff\xff\xfd"])
def test_quadrilaterals_of_old_surfaces_are_two_triangles(kind: bytes, tmp_path: Path) -> None:
    cube = np.array([(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    quads = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
    points = (100 * cube).astype(">i2") if kind[2] == 255 else cube.astype(">f4")
    threes = b"".join(int(k).to_bytes(3, "big") for k in (8, 6))
    path = tmp_path / "lh.white"
    path.write_bytes(kind + threes + points.tobytes() + b"".join(int(k).to_bytes(3, "big") for k in quads.ravel()))
    mesh = load_mesh(path)
    assert mesh.vertices.tolist() == cube.tolist() and mesh.num_faces == 12
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="too few for what it promises"):
        load_mesh(path)


def test_annotations_are_labels_and_rows_of_a_table_are_subjects(subjects: Path) -> None:
    data = MeshSegments(str(subjects), attribute="aparc", **OPTIONS)
    assert data.class_names == ["cuneus", "insula"] and data.element == "vertices"
    z = icosphere(2).vertices[:, 2]
    assert data.samples("train")[0].target.tolist() == np.where(z > 0, 0, 1).tolist()
    ages = MeshNumbers(str(subjects), scalars=["thickness"], **OPTIONS)
    found = {Path(s.name).parts[-3]: float(s.target) for part in ("train", "test") for s in ages.samples(part)}
    assert found == {"sub-1": 30, "sub-2": 50}
    with pytest.raises(InputError, match=r"none of 6 mesh files is named like '\*/lh.black'"):
        MeshNumbers(str(subjects), **{**OPTIONS, "pattern": "*/lh.black"})


def gifti(path: Path, *arrays: tuple[np.ndarray, str], table: dict[int, str] | None = None) -> None:
    image = nibabel.gifti.GiftiImage()
    for values, intent in arrays:
        image.add_gifti_data_array(nibabel.gifti.GiftiDataArray(values, intent=intent))
    for key, name in (table or {}).items():
        entry = nibabel.gifti.GiftiLabel(key, 1, 0, 0, 1)
        entry.label = name
        image.labeltable.labels.append(entry)
    nibabel.save(image, path)


def test_overlays_of_gifti_are_found_by_the_other_words_of_the_name(tmp_path: Path) -> None:
    ball = icosphere(2)
    values = {side: ball.vertices[:, 2].astype(np.float32) + k for k, side in enumerate("LR")}
    for side in "LR":
        surface = (ball.vertices.astype(np.float32), "NIFTI_INTENT_POINTSET"), (ball.faces.astype(np.int32),
                                                                                "NIFTI_INTENT_TRIANGLE")  # fmt: skip
        gifti(tmp_path / f"1.{side}.midthickness.32k_fs_LR.surf.gii", *surface)
        gifti(tmp_path / f"1.{side}.thickness.32k_fs_LR.shape.gii", (values[side], "NIFTI_INTENT_SHAPE"))
        labels = (ball.vertices[:, 0] > 0).astype(np.int32), "NIFTI_INTENT_LABEL"
        gifti(tmp_path / f"1.{side}.aparc.32k_fs_LR.label.gii", labels, table={0: "???", 1: "insula"})
    how = Preparation.from_spec({"features": ["areas"], "scalars": ["thickness"]})
    for side in "LR":
        x = prepare_mesh(tmp_path / f"1.{side}.midthickness.32k_fs_LR.surf.gii", how=how).x
        assert x[:, 1].numpy() == pytest.approx(values[side])
    data = MeshSegments(str(tmp_path), attribute="aparc", test_fraction=0.5, cache=False, workers=0,
                        pattern="*.surf.gii")  # fmt: skip
    assert data.class_names == ["???", "insula"]


def test_overlays_of_one_name_and_two_kinds_are_told_apart(tmp_path: Path) -> None:
    ball = icosphere(1)
    surface = tmp_path / "1.L.white.surf.gii"
    gifti(surface, (ball.vertices.astype(np.float32), "NIFTI_INTENT_POINTSET"),
          (ball.faces.astype(np.int32), "NIFTI_INTENT_TRIANGLE"))  # fmt: skip
    for k, kind in enumerate(("shape", "func")):
        gifti(tmp_path / f"1.L.depth.{kind}.gii", (np.full(42, k, np.float32) + ball.vertices[:, 0].astype("f4"),
                                                   "NIFTI_INTENT_NONE"))  # fmt: skip
    with pytest.raises(InputError, match=r"'depth' is \S+func\.gii and \S+shape\.gii; name its kind"):
        prepare_mesh(surface, how=Preparation.from_spec({"scalars": ["depth"]}))
    for k, name in enumerate(("depth.shape", "depth.func")):
        x = prepare_mesh(surface, how=Preparation.from_spec({"features": ["areas"], "scalars": [name]})).x
        assert x[:, 1].numpy() == pytest.approx(k + ball.vertices[:, 0], abs=1e-6)


@pytest.mark.parametrize("encoding", ["ASCII", "Base64Binary", "GZipBase64Binary"])
@pytest.mark.parametrize("order", ["RowMajorOrder", "ColumnMajorOrder"])
@pytest.mark.parametrize("endian", ["Little", "Big"])
def test_gifti_in_every_layout_with_arrays_of_its_own(encoding: str, order: str, endian: str, tmp_path: Path) -> None:
    ball, curved = icosphere(1), np.linspace(-1, 1, 42)
    arrays = []
    for values, kind, intent in ((ball.vertices, "f4", "POINTSET"), (ball.faces, "i4", "TRIANGLE"),
                                 (curved, "f4", "SHAPE")):  # fmt: skip
        flat = values.ravel("C" if order[0] == "R" else "F")
        block = flat.astype("<>"[endian == "Big"] + kind).tobytes()
        block = zlib.compress(block) if encoding[0] == "G" else block
        text = " ".join(map(str, flat.tolist())) if encoding == "ASCII" else base64.b64encode(block).decode()
        dims = " ".join(f'Dim{k}="{n}"' for k, n in enumerate(values.shape))
        arrays.append(
            f'<DataArray Intent="NIFTI_INTENT_{intent}" DataType="NIFTI_TYPE_{"FLOAT" if kind[0] == "f" else "INT"}32" '
            f'ArrayIndexingOrder="{order}" Dimensionality="{values.ndim}" {dims} Encoding="{encoding}" '
            f'Endian="{endian}Endian" ExternalFileName="" ExternalFileOffset=""><MetaData><MD><Name>Name</Name>'
            f"<Value>{intent}</Value></MD></MetaData><Data>{text}</Data></DataArray>"
        )
    path = tmp_path / "a.surf.gii"
    path.write_text(f'<?xml version="1.0"?><GIFTI Version="1.0" NumberOfDataArrays="3">{"".join(arrays)}</GIFTI>')
    mesh = load_mesh(path)
    assert mesh.vertices == pytest.approx(ball.vertices, abs=1e-6) and np.array_equal(mesh.faces, ball.faces)
    assert mesh.vertex_data["SHAPE"] == pytest.approx(curved, abs=1e-6)


def test_bad_overlays_are_one_line(subjects: Path, tmp_path: Path) -> None:
    surf, label = subjects / "sub-1" / "surf", subjects / "sub-1" / "label"
    how = Preparation.from_spec({"scalars": ["thickness"]})
    fs.write_morph_data(surf / "lh.thickness", np.ones(161))
    with pytest.raises(InputError, match="'thickness' has 161 values, the mesh 162 vertices"):
        prepare_mesh(surf / "lh.white", how=how)
    with pytest.raises(InputError, match="takes numbers"):
        prepare_mesh(surf / "lh.white", how=Preparation.from_spec({"scalars": ["aparc"]}))
    whole = (label / "lh.aparc.annot").read_bytes()
    (label / "lh.aparc.annot").write_bytes(whole[: 4 + 8 * 162] + bytes(4))
    gifti(tmp_path / "a.label.gii", (np.arange(3, dtype=np.int32), "NIFTI_INTENT_LABEL"), table={0: "a", 1: "b"})
    (surf / "lh.sulc").write_bytes(b"\xff\xff\xff" + np.array([2**31 - 1, 1, 1], ">i4").tobytes())
    (surf / "lh.curv").write_bytes(b"\xff\xff\xfe\x00\x00\x05")
    for path, says in (
        (label / "lh.aparc.annot", "[Tt]able"),
        (tmp_path / "a.label.gii", "label 2 has no name in its table"),
        (surf / "lh.sulc", "too few for 2147483647 vertices"),
        (surf / "lh.curv", "too few"),
        (label / "lh.cortex.label", "does not tell the number of vertices"),
    ):
        with pytest.raises(InputError, match=says) as error:
            read_overlay(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    (surf / "lh.pial").write_bytes(b"\xff\xff\xfeby\n\n" + np.array([2**30, 2**30], ">i4").tobytes())
    with pytest.raises(InputError, match="too few for what it promises"):
        load_mesh(surf / "lh.pial")


def test_a_registration_keeps_constants_and_integrals_and_labels_of_areas() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    to_grid = SphericalRegistration(100 * points, 3)
    grid = icosahedral_sphere(3)
    assert to_grid(np.full(4000, 7.0)) == pytest.approx(np.full(grid.num_points, 7.0))
    harmonic = points[:, 0] * points[:, 2]
    found = to_grid(np.stack([harmonic, points[:, 1]]))
    assert found.shape == (2, grid.num_points)
    assert np.abs(found[0] - grid.xyz[:, 0] * grid.xyz[:, 2]).max() < 0.05
    assert (found[1] * grid.areas).sum() == pytest.approx((points[:, 1] * to_grid.source.areas).sum(), abs=0.02)
    caps = np.where(points[:, 2] > 0.5, 1, 0)
    clear = np.abs(grid.xyz[:, 2] - 0.5) > 0.15
    assert np.array_equal(to_grid.labels(caps)[clear], (grid.xyz[:, 2] > 0.5).astype(int)[clear])
    assert (to_grid.labels(np.full(4000, -1)) == -1).all()


def test_surfaces_on_the_common_grid_have_its_points_and_triangles() -> None:
    ball = icosphere(4)
    data = {"thickness": 2 + ball.vertices[:, 0], "part": (ball.vertices[:, 1] > 0).astype(np.int64)}
    cortex = TriangleMesh(ball.vertices * [70, 100, 60], ball.faces, "lh", data)
    to_grid = SphericalRegistration(ball, 3)
    common = to_grid.surface(cortex)
    grid = icosahedral_sphere(3).xyz
    assert common.num_vertices == 642 and common.num_faces == 1280
    assert np.abs(common.vertices - grid * [70, 100, 60]).max() < 1.0
    assert np.abs(common.vertex_data["thickness"] - 2 - grid[:, 0]).max() < 0.02
    a, b, c = common.vertices[common.faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(4 / 3 * np.pi * 70 * 100 * 60, rel=0.02)
    with pytest.raises(InputError, match="lh: 42 vertices, its sphere has 2562"):
        to_grid.surface(TriangleMesh(icosphere(1).vertices, icosphere(1).faces, "lh"))
