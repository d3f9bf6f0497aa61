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


XML = '<?xml version="1.0" encoding="UTF-8"?>'
DOCTYPE = '<!DOCTYPE GIFTI SYSTEM "http://www.nitrc.org/frs/download.php/115/gifti.dtd">'
CODES = {"FLOAT32": "f4", "FLOAT64": "f8", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "INT16": "i2", "UINT32": "u4"}


def data_array(values: np.ndarray, intent: str, kind: str, encoding: str = "GZipBase64Binary", order: str = "Row",
               endian: str = "Little", name: str = "", matrix: bool = False) -> str:  # fmt: skip
    """An array as GIFTI holds it."""
    flat = values.ravel("C" if order == "Row" else "F").astype(CODES[kind])
    block = flat.astype("<>"[endian == "Big"] + CODES[kind]).tobytes()
    block = zlib.compress(block) if encoding[0] == "G" else block
    text = " ".join(map(str, flat.tolist())) if encoding == "ASCII" else base64.b64encode(block).decode()
    dims = " ".join(f'Dim{k}="{n}"' for k, n in enumerate(values.shape))
    meta = f"<MD><Name><![CDATA[Name]]></Name><Value>{name}</Value></MD>" if name else ""
    space = ("<CoordinateSystemTransformMatrix><DataSpace>NIFTI_XFORM_UNKNOWN</DataSpace><TransformedSpace>"
             "NIFTI_XFORM_TALAIRACH</TransformedSpace><MatrixData>1 0 0 5 0 1 0 0 0 0 1 0 0 0 0 1</MatrixData>"
             "</CoordinateSystemTransformMatrix>") if matrix else ""  # fmt: skip
    return (f'<DataArray Intent="NIFTI_INTENT_{intent}" DataType="NIFTI_TYPE_{kind}" '
            f'ArrayIndexingOrder="{order}MajorOrder" Dimensionality="{values.ndim}" {dims} Encoding="{encoding}" '
            f'Endian="{endian}Endian" ExternalFileName="" ExternalFileOffset="">'
            f"<MetaData>{meta}</MetaData>{space}<Data>{text}</Data></DataArray>")  # fmt: skip


def gifti_text(*arrays: str, table: str = "", head: str = XML) -> str:
    return f'{head}<GIFTI Version="1.0" NumberOfDataArrays="{len(arrays)}"><MetaData/>{table}{"".join(arrays)}</GIFTI>'


SURFACES: dict[str, dict[str, object]] = {
    **{f"{e} {o} {n}": {"encoding": e, "order": o, "endian": n} for e in ("ASCII", "Base64Binary", "GZipBase64Binary")
       for o in ("Row", "Column") for n in ("Little", "Big")},
    **{f"{p} {f} {e}": {"points": p, "faces": f, "encoding": e} for p in ("FLOAT32", "FLOAT64")
       for f in ("INT32", "INT64", "UINT32", "INT16") for e in ("ASCII", "GZipBase64Binary")},
    "faces first": {"turned": True}, "document type": {"head": XML + DOCTYPE}, "no declaration": {"head": ""},
    "matrix": {"matrix": True}, "line ends": {"head": XML + "\r\n"},
}  # fmt: skip


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_of_gifti_with_arrays_of_their_own(name: str, tmp_path: Path) -> None:
    options = dict(SURFACES[name])
    ball, curved = icosphere(1), np.arange(42) / 4
    points, faces = str(options.pop("points", "FLOAT32")), str(options.pop("faces", "INT32"))
    head, turned = str(options.pop("head", XML)), bool(options.pop("turned", False))
    vertices = ball.vertices.astype(CODES[points])
    of_points: dict = {**options}
    of_faces: dict = {key: value for key, value in options.items() if key != "matrix"}
    arrays = [data_array(vertices, "POINTSET", points, **of_points),
              data_array(ball.faces, "TRIANGLE", faces, **of_faces),
              data_array(curved, "SHAPE", "FLOAT32", name="curv", **of_faces)]  # fmt: skip
    path = tmp_path / "a.surf.gii"
    path.write_text(gifti_text(*(arrays[::-1] if turned else arrays), head=head))
    mesh = load_mesh(path)
    assert np.array_equal(mesh.vertices, vertices) and np.array_equal(mesh.faces, ball.faces)
    assert mesh.vertex_data["curv"].tolist() == curved.tolist()


TABLE_OF_NAMES = ('<LabelTable><Label Key="0" Red="0" Green="0" Blue="0" Alpha="0"><![CDATA[???]]></Label>'
                  '<Label Key="7" Red="1" Green="0" Blue="0" Alpha="1">L_V1 &amp; V2</Label>'
                  '<Label Key="30">insula</Label></LabelTable>')  # fmt: skip
OVERLAYS: dict[str, tuple[str, dict[str, object]]] = {
    **{f"{i} {k} {e}": (i, {"kind": k, "encoding": e}) for i, k in (
        ("SHAPE", "FLOAT32"), ("NONE", "FLOAT32"), ("TIME_SERIES", "FLOAT32"), ("NORMAL", "FLOAT64"),
        ("CORREL", "FLOAT32"), ("ZSCORE", "FLOAT32"), ("SHAPE", "INT32"), ("NONE", "UINT8"), ("ESTIMATE", "FLOAT32"))
       for e in ("ASCII", "Base64Binary", "GZipBase64Binary")},
    **{f"LABEL {k} {e}": ("LABEL", {"kind": k, "encoding": e}) for k in ("INT32", "UINT8", "INT16", "FLOAT32")
       for e in ("ASCII", "GZipBase64Binary")},
    "a column": ("SHAPE", {"kind": "FLOAT32", "column": True}),
    "big": ("SHAPE", {"kind": "FLOAT32", "endian": "Big"}),
    "labels, a column": ("LABEL", {"kind": "INT32", "column": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_of_gifti(name: str, tmp_path: Path) -> None:
    intent, of = OVERLAYS[name]
    options: dict = dict(of)
    values = np.array([0, 7, 30, 7, 0]) if intent == "LABEL" else np.array([0, 2, 5, 2, 1])
    shaped = values[:, None] if options.pop("column", False) else values
    path = tmp_path / f"a.{'label' if intent == 'LABEL' else 'func'}.gii"
    table = TABLE_OF_NAMES if intent == "LABEL" else ""
    path.write_text(gifti_text(data_array(shaped, intent, **options), table=table))
    names = {0: "???", 7: "L_V1 & V2", 30: "insula"}
    wanted = [names[v] for v in values.tolist()] if intent == "LABEL" else values.tolist()
    assert read_overlay(path).tolist() == wanted


def geometry(stamp: str = "created by x on Mon", tail: bytes = b"", counts: tuple[int, int] = (42, 80)) -> bytes:
    """Triangles as FreeSurfer writes them."""
    ball = icosphere(1)
    return (b"\xff\xff\xfe" + stamp.encode() + b"\n\n" + np.array(counts, ">i4").tobytes()
            + ball.vertices.astype(">f4").tobytes() + ball.faces.astype(">i4").tobytes() + tail)  # fmt: skip


VOLUME = (np.array([2, 0, 20], ">i4").tobytes() + b"valid = 1  # volume info valid\nfilename = orig.mgz\n"
          b"volume = 256 256 256\nvoxelsize = 1 1 1\nxras = -1 0 0\nyras = 0 0 -1\nzras = 0 1 0\n"
          b"cras = 5 10 15\n")  # fmt: skip
CONTENTS = {"plain": geometry(), "no stamp": geometry(""), "letters": geometry("créé par x"),
            "volume": geometry(tail=VOLUME), "command line": geometry(tail=b"\0\0\0\3\0\0\0\4mris")}  # fmt: skip
NAMES_OF = ("lh.white", "rh.pial", "lh.inflated", "rh.sphere", "lh.sphere.reg", "lh.smoothwm", "lh.midthickness",
            "lh.orig", "rh.orig.nofix", "lh.white.preaparc", "lh.qsphere.nofix")  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", NAMES_OF)
def test_surfaces_of_freesurfer(name: str, content: str, tmp_path: Path) -> None:
    path, ball = tmp_path / name, icosphere(1)
    path.write_bytes(CONTENTS[content])
    mesh = load_mesh(path)
    assert np.array_equal(mesh.vertices, ball.vertices.astype(np.float32)) and np.array_equal(mesh.faces, ball.faces)


def annotation(table: int = 2, vertices: list[int] | None = None, left_out: bool = False, colours: bool = True,
               last: int = 2) -> bytes:  # fmt: skip
    """Five vertices of three labels with a table of the new layout, which may lack entries, or of the old one."""
    number = [25 + 5 * 256 + 25 * 65536, 220 + 20 * 256 + 20 * 65536, 20 + 220 * 256 + 20 * 65536, 0, 1 << 16]
    of = [0, 1, 3 if left_out else 2, 1, last]
    order = list(range(5)) if vertices is None else vertices
    rows = [v for k in order for v in (k, number[of[k]])]
    entries = list(zip(("unknown", "cuneus", "insula"), TABLE.tolist(), strict=True))

    def words(*values: int) -> bytes:
        return np.array(values, ">i4").tobytes()

    def text(name: str) -> bytes:
        return words(len(name) + 1) + name.encode() + b"\0"

    head = words(5, *rows)
    if not colours:
        return head + words(0)
    if table == 1:
        return head + words(1, 3) + text("lut.txt") + b"".join(text(n) + words(*c[:4]) for n, c in entries)
    listed = b"".join(words(k) + text(n) + words(*c[:4]) for k, (n, c) in enumerate(entries))
    return head + words(1, -2, 3) + text("lut.txt") + words(3) + listed


def curv(values: np.ndarray, old: bool = False, faces: int = 80) -> bytes:
    if old:
        rows = np.round(100 * values).astype(">i2").tobytes()
        return len(values).to_bytes(3, "big") + faces.to_bytes(3, "big") + rows
    return b"\xff\xff\xff" + np.array([len(values), faces, 1], ">i4").tobytes() + values.astype(">f4").tobytes()


WORDS = ["unknown", "cuneus", "insula", "cuneus", "insula"]
MARKS = [0.0, 1.0, 0.0, 1.0, 1.0]
LABEL = "#!ascii label  , from subject x vox2ras=TkReg\n3\n1  0.0 0.0 0.0 0.5\n3  1 2 3 0\n4 -1 -2 -3 0\n"
FIVE = np.array([0, 0.25, -1.5, 3, 2])
OF_VERTICES: dict[str, tuple[str, bytes, list]] = {
    **{f"{name} {'old' if old else 'new'} {faces}": (name, curv(FIVE, old, faces), FIVE.tolist())
       for name in ("lh.curv", "rh.sulc", "lh.thickness", "lh.area", "lh.volume", "lh.jacobian_white", "lh.curv.pial")
       for old, faces in ((False, 80), (False, 0), (True, 80))},
    "annotation": ("lh.a.annot", annotation(), WORDS), "old table": ("lh.a.annot", annotation(1), WORDS),
    "turned": ("lh.a.annot", annotation(vertices=[4, 2, 0, 1, 3]), WORDS),
    "without label": ("lh.a.annot", annotation(left_out=True), [*WORDS[:2], "", *WORDS[3:]]),
    "old, without label": ("lh.a.annot", annotation(1, left_out=True), [*WORDS[:2], "", *WORDS[3:]]),
    "old, turned": ("lh.a.annot", annotation(1, vertices=[1, 0, 2, 4, 3]), WORDS),
    "label": ("lh.c.label", LABEL.encode(), MARKS),
    "plain": ("lh.c.label", LABEL.replace("vox2ras", "x").encode(), MARKS),
    "Windows": ("lh.c.label", LABEL.replace("\n", "\r\n").encode(), MARKS),
    "one vertex": ("lh.c.label", b"#!ascii label\n1\n2 0 0 0 0\n", [0, 0, 1, 0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_VERTICES)
def test_overlays_of_freesurfer(name: str, tmp_path: Path) -> None:
    file, content, wanted = OF_VERTICES[name]
    path = tmp_path / file
    path.write_bytes(content)
    assert read_overlay(path, 5).tolist() == wanted


def test_annotations_that_would_name_wrong_labels_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "lh.a.annot"
    for content, says in (
        (annotation(last=4), "label 65536 is not in its table"),
        (annotation(vertices=[0, 1, 2, 3, 3]), "its vertices are not 0 to 4"),
        (annotation(colours=False), "table not found"),
        (annotation()[: 4 + 8 * 5], "ends too early"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=says) as error:
            read_overlay(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


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
