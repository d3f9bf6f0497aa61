"""Points without faces: files, normals, features, and data of classes and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from meshconv import InputError, PointCloud, TriangleMesh
from meshconv.datasets import MeshFolder, MeshNumbers, Preparation, prepare_mesh
from meshconv.geometry.features.cloud import cloud_features, shape_of_points
from meshconv.geometry.point_normals import estimate_normals
from meshconv.io import read_mesh
from meshconv.models import ShapeClassifier
from meshconv.train import ClassificationTask, Predictor


def sphere(count: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def torus(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, count))
    normal = np.stack([np.cos(u) * np.cos(v), np.sin(u) * np.cos(v), np.sin(v)], axis=1)
    return 2 * np.stack([np.cos(u), np.sin(u), 0 * u], axis=1) + 0.8 * normal, normal


@pytest.mark.parametrize("case", ["sphere", "torus", "two spheres"])
def test_normals_are_near_the_true_ones_and_outward(case: str) -> None:
    if case == "torus":
        points, wanted = torus(3000)
    else:
        points = wanted = sphere(1500)
    if case == "two spheres":
        points, wanted = np.concatenate([points, points + 5]), np.concatenate([wanted, wanted])
    cosine = (estimate_normals(points) * wanted).sum(axis=1)
    assert cosine.min() > 0.5 and np.median(cosine) > 0.99
    with pytest.raises(InputError, match="16 points; normals from 16"):
        estimate_normals(points[:16])


def test_curvature_of_points_is_that_of_the_surface() -> None:
    points = 3 * sphere(2000)
    graph = PointCloud(points, points).gauge_graph(nearest=16)
    a, b, c = shape_of_points(graph).unbind(-1)
    for found, wanted in ((a, 1 / 3), (b, 0.0), (c, 1 / 3)):
        assert float((found - wanted).abs().max()) < 0.02
    x = cloud_features(graph, ["curvature", "areas"])
    # On a sphere Gaussian and mean curvature are 1 in units of its own, up to the estimate of its area.
    assert float((x[:, :2] - np.arcsinh(1.0)).abs().median()) < 0.05
    with pytest.raises(InputError, match=r"a\.ply: points without faces have no feature 'hks'; .* curvature, areas"):
        cloud_features(graph, ["hks"], "a.ply")


def test_features_turn_with_the_points_and_keep_their_invariants() -> None:
    points, normals = torus(800)
    turn = Rotation.random(random_state=0).as_matrix()
    field_type = Preparation.from_spec({"features": ["curvature"]}).in_type
    found = [
        field_type.invariants(cloud_features(PointCloud(p, n).gauge_graph(nearest=12), ["curvature"]))
        for p, n in ((points, normals), (2 * points @ turn.T + 1, normals @ turn.T))
    ]
    torch.testing.assert_close(*found, atol=1e-8, rtol=1e-6)


def write_pcd(path: Path, points: np.ndarray, normals: np.ndarray, kind: str) -> None:
    names = "x y z normal_x normal_y normal_z"
    head = (f"# .PCD v0.7\nVERSION 0.7\nFIELDS {names}\nSIZE 4 4 4 4 4 4\nTYPE F F F F F F\nCOUNT 1 1 1 1 1 1\n"
            f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA {kind}\n")  # fmt: skip
    table = np.concatenate([points, normals], axis=1).astype("<f4")
    body = table.tobytes() if kind == "binary" else "\n".join(" ".join(map(repr, r)) for r in table.tolist()).encode()
    path.write_bytes(head.encode() + body)


def test_files_of_points(tmp_path: Path) -> None:
    points, normals = torus(200)
    rows = np.concatenate([points, normals], axis=1)
    (tmp_path / "a.xyz").write_text("x,y,z,nx,ny,nz\n" + "\n".join(",".join(f"{v:.9g}" for v in r) for r in rows))
    properties = [f"property float {n}" for n in ("x", "y", "z", "nx", "ny", "nz")]
    head = "\n".join(["ply", "format ascii 1.0", "element vertex 200", *properties, "end_header", ""])
    (tmp_path / "a.ply").write_text(head + "\n".join(" ".join(f"{v:.9g}" for v in r) for r in rows) + "\n")
    write_pcd(tmp_path / "a.pcd", points, normals, "ascii")
    write_pcd(tmp_path / "b.pcd", points, normals, "binary")
    for name in ("a.xyz", "a.ply", "a.pcd", "b.pcd"):
        cloud = read_mesh(tmp_path / name)
        assert cloud.num_faces == 0 and cloud.vertices == pytest.approx(points, abs=1e-6)
        assert cloud.vertex_data["normal"] == pytest.approx(normals, abs=1e-6)
    how = Preparation.from_spec({"features": ["curvature"], "nearest": 12})
    sample = prepare_mesh(tmp_path / "a.ply", how=how)
    graph = PointCloud(points, normals).gauge_graph(nearest=12)
    assert sample.surface.num_edges == graph.num_edges
    assert sample.x.numpy() == pytest.approx(cloud_features(graph, ["curvature"]).numpy(), abs=1e-3)


def test_columns_of_text_are_what_they_are(tmp_path: Path) -> None:
    points, normals = torus(20)
    colors = np.arange(60).reshape(20, 3) * 4 + 1
    path = tmp_path / "a.xyz"
    for head, parts, found in (
        ("", [colors], {"color": colors}),
        ("", [colors, normals], {"color": colors, "normal": normals}),
        ("20\nscan\n", [normals, colors], {"color": colors, "normal": normals}),
        ("//X Y Z R G B Nx Ny Nz\n", [colors, normals], {"color": colors, "normal": normals}),
        ("# x y z nx ny nz\n", [3 * normals], {"normal": 3 * normals}),
        ("x;y;z;intensity\n", [points[:, :1]], {"intensity": points[:, 0]}),
        ("", [points[:, :1]], {}),
    ):
        rows = np.concatenate([points, *parts], axis=1)
        path.write_text(head + "\n".join(" ".join(f"{v:.9g}" for v in r) for r in rows) + "\n")
        cloud = read_mesh(path)
        assert cloud.vertices == pytest.approx(points, abs=1e-8)
        assert set(cloud.vertex_data) == set(found)
        assert all(cloud.vertex_data[name] == pytest.approx(values, abs=1e-8) for name, values in found.items())


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("real", ["F 4", "F 8"])
@pytest.mark.parametrize("number", ["U 1", "U 2", "U 4", "I 1", "I 2", "I 4"])
def test_points_of_every_type(kind: str, real: str, number: str, tmp_path: Path) -> None:
    """A column of its own, one of three numbers, points that were not seen, and columns that fill up."""
    points, count = torus(30)[0], 30
    points[4] = np.nan
    form, types = {"F": "f", "U": "u", "I": "i"}, [real, real, real, number, real]
    dtypes = [f"<{form[t[0]]}{t[2]}" for t in types]
    label, flow = np.arange(count) % 5, np.arange(3 * count).reshape(count, 3) / 2
    columns = [points[:, 0], points[:, 1], points[:, 2], label, flow]
    sizes, kinds = (" ".join(t[k] for t in types) for k in (2, 0))
    head = (f"# made by hand\nVERSION .7\nFIELDS x y z label flow\nSIZE {sizes}\nTYPE {kinds}\nCOUNT 1 1 1 1 3\n"
            f"WIDTH {count}\nHEIGHT 1\nPOINTS {count}\nDATA {kind}\n")  # fmt: skip
    if kind == "ascii":
        rows = np.column_stack(columns).tolist()
        body = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in rows).encode()
    elif kind == "binary":
        table = np.empty(count, [(str(k), dtypes[k], c.shape[1:]) for k, c in enumerate(columns)])
        for k, column in enumerate(columns):
            table[str(k)] = column
        body = table.tobytes()
    else:
        whole = b"".join(c.astype(d).tobytes() for c, d in zip(columns, dtypes, strict=True))
        packed = b"".join(bytes([len(whole[k : k + 32]) - 1]) + whole[k : k + 32] for k in range(0, len(whole), 32))
        body = np.array([len(packed), len(whole)], "<u4").tobytes() + packed
    path = tmp_path / "a.pcd"
    path.write_bytes(head.encode() + body)
    cloud = read_mesh(path)
    seen = np.arange(count) != 4
    assert cloud.vertices == pytest.approx(points[seen], abs=1e-6)
    assert cloud.vertex_data["label"].tolist() == label[seen].tolist()
    assert cloud.vertex_data["label"].dtype == np.dtype(dtypes[3])
    assert cloud.vertex_data["flow"].tolist() == flow[seen].tolist()


def test_compressed_points_and_colours_of_the_point_cloud_library(tmp_path: Path) -> None:
    """Literal runs, and one that goes on with itself: ``x`` is 1 everywhere, ``y`` and ``z`` are counted."""
    count = 40
    y, rgb = np.arange(count, dtype="<f4"), np.arange(count, dtype="<u4") * 65536 + 0x0201
    rest = y.tobytes() + (2 * y).tobytes() + rgb.tobytes()
    literal = b"".join(bytes([len(rest[k : k + 32]) - 1]) + rest[k : k + 32] for k in range(0, len(rest), 32))
    # Four bytes, and 4 * 39 more that lie four before: the length beyond 9, the distance less 1.
    block = b"\x03" + np.float32(1).tobytes() + bytes([7 << 5, 4 * 39 - 9, 3]) + literal
    head = (f"VERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\nWIDTH {count}\nHEIGHT 1\n"
            f"POINTS {count}\nDATA binary_compressed\n")  # fmt: skip
    sizes = np.array([len(block), 16 * count], "<u4").tobytes()
    path = tmp_path / "a.pcd"
    path.write_bytes(head.encode() + sizes + block)
    cloud = read_mesh(path)
    assert cloud.vertices.tolist() == [[1, k, 2 * k] for k in range(count)]
    assert cloud.vertex_data["color"].tolist() == [[k, 2, 1] for k in range(count)]
    for damaged in (block[:-3], block[:4] + bytes([7 << 5, 250, 3]) + literal, b"\x20\x09" + block):
        path.write_bytes(head.encode() + np.array([len(damaged), 16 * count], "<u4").tobytes() + damaged)
        with pytest.raises(InputError, match="a compressed block") as error:
            read_mesh(path)
        assert str(error.value).startswith(f"{path}: ")
    text = head.replace("DATA binary_compressed", "DATA ascii").replace("F F F U", "F F F F").replace("40", "2")
    path.write_text(text + "0 0 0 4278190081\n1 1 1 4294967295\n")
    assert read_mesh(path).vertex_data["color"].tolist() == [[0, 0, 1], [255, 255, 255]]


def test_laser_scans(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = [0.001] * 3, [500000, 4000000, 0]
    scan = laspy.LasData(header)
    points = 10 * sphere(100) + [500000, 4000000, 50]
    scan.xyz = points
    scan.classification = np.arange(100) % 5
    scan.write(tmp_path / "a.las")
    cloud = read_mesh(tmp_path / "a.las")
    assert cloud.vertices == pytest.approx(points, abs=1e-3)
    assert cloud.vertex_data["classification"].tolist() == (np.arange(100) % 5).tolist()
    for factor in (1, 256):  # as 8 bits, and as the 16 that the format has
        scan.red, scan.green, scan.blue = np.arange(100) * factor, np.full(100, 200) * factor, np.zeros(100)
        scan.write(tmp_path / "c.las")
        color = read_mesh(tmp_path / "c.las").vertex_data["color"]
        assert color.dtype == np.uint8 and color.tolist() == [[k, 200, 0] for k in range(100)]
    for name in ("nx", "ny", "nz", "Height"):
        scan.add_extra_dim(laspy.ExtraBytesParams(name, np.float32))
    scan.nx, scan.ny, scan.nz, scan.Height = *sphere(100).T, np.arange(100.0)
    scan.write(tmp_path / "d.las")
    data = read_mesh(tmp_path / "d.las").vertex_data
    assert data["normal"] == pytest.approx(sphere(100), abs=1e-6) and data["height"].tolist() == list(range(100))
    content = bytearray((tmp_path / "a.las").read_bytes())
    content[107:111] = (2**31).to_bytes(4, "little")
    (tmp_path / "b.las").write_bytes(content)
    with pytest.raises(InputError, match=r"b\.las: .*2147483648 points promised"):
        read_mesh(tmp_path / "b.las")


def test_bad_files_of_points_are_one_line(tmp_path: Path) -> None:
    points, normals = torus(20)
    write_pcd(tmp_path / "a.pcd", points, normals, "binary")
    whole = (tmp_path / "a.pcd").read_bytes()
    for name, content, says in (
        ("a.pcd", whole[:-9], "20 points promised, fewer found"),
        ("b.pcd", whole.replace(b"DATA binary", b"DATA binary_packed"), "ascii, binary and binary_compressed are read"),
        ("f.pcd", whole.replace(b"DATA binary", b"DATA binary_compressed"), "20 points promised"),
        ("c.pcd", whole.replace(b"POINTS 20", b"POINTS 99999999999"), "promised"),
        ("d.pcd", whole.replace(b"FIELDS x", b"FIELDS q"), "x"),
        ("e.pcd", b"no points", "cannot be read as 'pcd'"),
        ("a.xyz", b"1 2 3\n4 5\n", "cannot be read as 'xyz'"),
        ("c.xyz", b"1 2 3 0.5 0.1 300\n4 5 6 0 1 0\n", "neither normals of length 1 nor colours to 255"),
        ("d.xyz", b"1 2 3\nnan nan nan\n4 5 6\n", "1 of 3 vertices have NaN"),
        ("b.xyz", b"one two\nthree four\nfive six\n", "cannot be read as 'xyz'"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=says) as error:
            read_mesh(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(error.value)
    (tmp_path / "few.xyz").write_text("\n".join(" ".join(map(str, p)) for p in points[:10]))
    for options, says in (
        ({"features": ["curvature"]}, "give triangles, or take them as points of a surface: nearest 16"),
        ({"features": ["curvature"], "nearest": 12}, "take at least 13"),
        ({"nearest": 6}, "no feature 'default'"),
        ({"features": ["curvature"], "nearest": 6, "num_levels": 2}, "take no num_levels"),
    ):
        path = tmp_path / ("few.xyz" if "13" in says else "more.xyz")
        (tmp_path / "more.xyz").write_text("\n".join(" ".join(map(str, p)) for p in points))
        with pytest.raises(InputError, match=says):
            prepare_mesh(path, how=Preparation.from_spec(options))


def test_points_are_classified_and_have_numbers(tmp_path: Path) -> None:
    rows = ["cloud,volume"]
    for k in range(4):
        for name, points in (("ball", sphere(150, k)), ("ring", torus(150, k)[0])):
            (tmp_path / name).mkdir(exist_ok=True)
            text = "\n".join(" ".join(f"{v:.6f}" for v in p) for p in (k + 1) * points)
            (tmp_path / name / f"{name}{k}.xyz").write_text(text)
            rows.append(f"{name}{k},{(k + 1) ** 3}")
    options = {"features": ["curvature"], "nearest": 12, "cache": False, "workers": 0}
    data = MeshFolder(str(tmp_path), test_fraction=0.25, **options)
    assert data.class_names == ["ball", "ring"]
    task = ClassificationTask("ShapeClassifier", str(data.in_type), data.class_names, data.spec, {"channels": 4})
    assert isinstance(task.network, ShapeClassifier)
    found = Predictor(task, "cpu", cache=False)(tmp_path / "ball" / "ball0.xyz")
    assert found.label in data.class_names
    given = TriangleMesh(sphere(150), np.zeros((0, 3), np.int64), "in memory")
    assert Predictor(task, "cpu", cache=False)(given).label in data.class_names
    (tmp_path / "volumes.csv").write_text("\n".join(rows))
    numbers = MeshNumbers(str(tmp_path), **options)
    assert sorted(float(s.target) for s in numbers.samples("train") + numbers.samples("test")) == sorted(
        float((k + 1) ** 3) for k in range(4) for _ in range(2)
    )


CLOUD = np.array([[0, 0, 0], [1.5, -2.25, 3], [4e3, 5, -6.125], [7, 8.5, 9], [-1, 0.5, 0.25]])
SIDES = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0], [0, 0, -1], [0, 1, 0.0]])
TINTS = np.array([[0, 1, 2], [255, 0, 9], [7, 7, 7], [100, 200, 250], [1, 0, 255]])
COLUMNS = {"normal": SIDES, "color": TINTS, "intensity": np.array([[0.5], [2], [3.25], [-4], [5]])}
# What stands behind the coordinates, and the names that a headline gives it.
BEHIND: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "x y z"), "normals": (["normal"], "x y z nx ny nz"), "colours": (["color"], "X Y Z R G B"),
    "both": (["color", "normal"], "x y z red green blue nx ny nz"), "intensity": (["intensity"], "x y z intensity"),
    "both turned": (["normal", "color"], "x y z normal_x normal_y normal_z r g b"),
}  # fmt: skip
ROWS: dict[str, tuple[str, str, str, str]] = {  # between columns, form of a number, before the rows, ends of lines
    "blanks": (" ", "{:.6g}", "", "\n"), "tabs": ("\t", "{:.6f}", "", "\n"), "commas": (",", "{:.6g}", "", "\r\n"),
    "commas, blanks": (", ", "{:.4e}", "", "\n"), "semicolons": (";", "{:+.6g}", "", "\n"),
    "decimal commas": (";", "{:.6f},", "", "\n"), "decimal commas, tabs": ("\t", "{:.3f},", "", "\r\n"),
    "count": (" ", "{:.6g}", "5\n", "\n"), "count, title": ("   ", "{:.6g}", "5\na scan # 7\n", "\n"),
    "comments": (" ", "{:.6g}", "# a scan\n# of 5\n\n", "\n"), "indented": (" ", "  {:.6g} ", "", "\r"),
}  # fmt: skip
NAMED = {"headline": "{}\n", "comment": "# {}\n", "slashes": "//{}\n"}


@pytest.mark.parametrize("what", BEHIND)
@pytest.mark.parametrize("how", [*ROWS, *NAMED])
def test_rows_of_numbers(how: str, what: str, tmp_path: Path) -> None:
    keys, names = BEHIND[what]
    between, form, before, end = ROWS.get(how, (" ", "{:.6g}", NAMED.get(how, "").format(names), "\n"))
    table = np.concatenate([CLOUD, *(COLUMNS[key] for key in keys)], axis=1)

    def word(value: float) -> str:
        return form[:-1].format(value).replace(".", ",") if form.endswith(",") else form.format(value)

    text = before + "".join(between.join(map(word, row)) + "\n" for row in table.tolist())
    path = tmp_path / "a.xyz"
    path.write_bytes(text.replace("\n", end).encode())
    cloud = read_mesh(path)
    assert cloud.vertices.tolist() == CLOUD.tolist() and cloud.num_faces == 0
    known = [key for key in keys if how in NAMED or key != "intensity"]
    assert set(cloud.vertex_data) == set(known)
    for key in known:
        assert np.array_equal(cloud.vertex_data[key], COLUMNS[key].squeeze())


PLY_TYPES = {"float": "f4", "double": "f8", "float32": "f4", "float64": "f8", "uchar": "u1", "uint8": "u1",
             "int": "i4", "short": "i2", "ushort": "u2", "int32": "i4"}  # fmt: skip


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize(
    "types", ["float uchar int", "double uint8 short", "float32 uchar ushort", "float64 uint8 int32"]
)
@pytest.mark.parametrize("layout", ["plain", "turned", "no faces promised", "camera"])
def test_points_of_ply(layout: str, types: str, form: str, tmp_path: Path) -> None:
    """Coordinates, normals, colours, a whole number and what other programs add, in several orders."""
    real, byte, whole = types.split()
    columns = [(name, kind, table[:, k]) for names, kind, table in (
                   (("x", "y", "z"), real, CLOUD), (("nx", "ny", "nz"), real, SIDES),
                   (("red", "green", "blue"), byte, TINTS), (("label",), whole, np.arange(5)[:, None] * 9))
               for k, name in enumerate(names)]  # fmt: skip
    if layout == "turned":
        columns = columns[::-1]
    head = ["ply", f"format {form} 1.0", "comment VCGLIB generated", "obj_info num_cols 5", "element vertex 5",
            *(f"property {kind} {name}" for name, kind, _ in columns)]  # fmt: skip
    camera = [("view_px", "float", np.array([2.5])), ("viewportx", "int", np.array([640]))]
    if layout == "camera":
        head += ["element camera 1", *(f"property {kind} {name}" for name, kind, _ in camera)]
    if layout == "no faces promised":
        head += ["element face 0", "property list uchar int vertex_indices"]

    def body(of: list) -> bytes:
        if form == "ascii":
            rows = zip(*(values.astype(PLY_TYPES[kind]).tolist() for _, kind, values in of), strict=True)
            return "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
        order = "<" if "little" in form else ">"
        table = np.empty(len(of[0][2]), [(name, order + PLY_TYPES[kind]) for name, kind, _ in of])
        for name, _, values in of:
            table[name] = values
        return table.tobytes()

    path = tmp_path / "a.ply"
    content = "\n".join([*head, "end_header", ""]).encode() + body(columns)
    path.write_bytes(content + (body(camera) if layout == "camera" else b""))
    cloud = read_mesh(path)
    assert cloud.vertices.tolist() == CLOUD.tolist() and cloud.num_faces == 0
    assert cloud.vertex_data["normal"].tolist() == SIDES.tolist()
    assert cloud.vertex_data["color"].tolist() == TINTS.tolist() and cloud.vertex_data["color"].dtype == np.uint8
    assert cloud.vertex_data["label"].tolist() == [0, 9, 18, 27, 36]


LASER = [("1.2", 0), ("1.2", 1), ("1.2", 2), ("1.2", 3), ("1.3", 1), ("1.3", 3), ("1.4", 0), ("1.4", 1), ("1.4", 2),
         ("1.4", 3), ("1.4", 6), ("1.4", 7), ("1.4", 8)]  # fmt: skip


@pytest.mark.parametrize(("version", "form"), LASER)
@pytest.mark.parametrize("place", ["fine", "coarse, far", "of their own"])
def test_laser_scans_of_every_version_and_form(place: str, version: str, form: int, tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=form, version=version)
    header.scales = [0.125, 0.25, 0.5] if "far" in place else [0.125] * 3
    header.offsets = [500000, -4000000, 100] if "far" in place else [0, 0, 0]
    points = np.array([[0, 0, 0], [1.5, -2.25, 3], [4000, 5, -6.5], [7, 8.5, 9]]) + np.array(header.offsets)
    if place == "of their own":
        header.add_extra_dim(laspy.ExtraBytesParams("Height", np.float64))
        header.add_extra_dim(laspy.ExtraBytesParams("tree", np.uint16))
    scan = laspy.LasData(header)
    scan.xyz = points
    scan.intensity, scan.classification = [0, 65535, 300, 4], [0, 2, 31, 5]
    colored = form in (2, 3, 7, 8)
    if colored:
        scan.red, scan.green, scan.blue = (np.array(TINTS[:4, k], np.uint16) * 256 for k in range(3))
    if place == "of their own":
        scan.Height, scan.tree = [0.25, 1e300, -3, 4], [0, 65535, 2, 3]
    scan.write(tmp_path / "a.las")
    cloud = read_mesh(tmp_path / "a.las")
    assert cloud.vertices.tolist() == points.tolist() and cloud.num_faces == 0
    data = {key: values.tolist() for key, values in cloud.vertex_data.items()}
    wanted = {"intensity": [0, 65535, 300, 4], "classification": [0, 2, 31, 5]}
    wanted |= {"color": TINTS[:4].tolist()} if colored else {}
    wanted |= {"height": [0.25, 1e300, -3, 4], "tree": [0, 65535, 2, 3]} if place == "of their own" else {}
    assert data == wanted
