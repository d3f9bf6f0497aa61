"""Pictures and report: the right pixel at the right place, everything in one safe file."""

from __future__ import annotations

import base64
import io
import re
from types import SimpleNamespace

import healpy
import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from meshconv import InputError
from meshconv.demo import (
    ClimateResults,
    Field,
    ModelResults,
    Report,
    ShapeResults,
    report as report_module,
    write_report,
)
from meshconv.viz import (
    Categorical,
    Continuous,
    MapView,
    MeshView,
    contact_sheet,
    draw_healpix,
    draw_mesh,
    html as page_html,
    relief,
    zone_colors,
)
from meshconv.viz.colors import KOEPPEN_COLORS, NO_DATA
from meshconv.viz.mesh import RIGHT, WRONG, view_rotation

NSIDE = 16
NPIX = 12 * NSIDE**2
XYZ = np.stack(healpy.pix2vec(NSIDE, np.arange(NPIX), nest=True), axis=1)


def axes():
    return Figure().add_subplot()


def pixels(values, **options):
    return np.asarray(draw_healpix(axes(), values, **{"columns": 400, **options}).get_array())


def bumpy(seed=0, count=300):
    """A stretched sphere with one bump, at the vertex that is returned too."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    faces = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    inward = np.einsum("fi,fi->f", np.cross(b, c), a) < 0
    faces[inward] = faces[inward][:, ::-1]
    top = 7
    height = 1 + 0.5 * np.exp(-(1 - points @ points[top]) / 0.04)
    vertices = points * height[:, None] * [1.0, 1.3, 1.7]
    return SimpleNamespace(vertices=vertices, faces=faces), top


# Maps of the sphere


def test_mollweide_has_equal_areas():
    picture = pixels((XYZ[:, 2] > 0.5).astype(int), colors=Categorical(["#000000", "#ffffff"]))
    inside = picture[..., 3] == 1
    white = inside & (picture[..., 0] == 1)
    assert inside.mean() == pytest.approx(np.pi / 4, abs=2e-3)
    assert white.sum() / inside.sum() == pytest.approx((XYZ[:, 2] > 0.5).mean(), abs=5e-3)
    assert not white[picture.shape[0] // 2 :].any()  # north is up


@pytest.mark.parametrize("quarter", [-1, 1])
def test_mollweide_runs_from_west_to_east(quarter):
    # On the equator of the map, x is the longitude.
    lit = int(healpy.vec2pix(NSIDE, 0, quarter, 0, nest=True))
    values = np.zeros(NPIX, dtype=int)
    values[lit] = 1
    picture = pixels(values, colors=Categorical(["#000000", "#ffffff"]), columns=800)
    _, column = np.argwhere((picture[..., 0] == 1) & (picture[..., 3] == 1)).mean(axis=0)
    assert column == pytest.approx(400 + 200 * quarter, abs=8)


def test_orthographic_centre_and_east():
    values = np.full(NPIX, 0)
    values[healpy.ang2pix(NSIDE, 77.0, 12.0, lonlat=True, nest=True)] = 1
    values[healpy.ang2pix(NSIDE, 100.0, 12.0, lonlat=True, nest=True)] = 2
    colors = ["#000000", "#ff0000", "#0000ff"]
    picture = pixels(values, colors=Categorical(colors), view=MapView("orthographic", (12.0, 77.0)), columns=401)
    assert tuple(picture[200, 200, :3]) == to_rgb("#ff0000")
    blue = np.argwhere((picture[..., 2] == 1) & (picture[..., 3] == 1)).mean(axis=0)
    assert blue[1] == pytest.approx(200.5 + 200.5 * np.sin(np.deg2rad(23)) * np.cos(0.2), abs=6)


def test_ring_and_nest_draw_the_same_map():
    field = XYZ @ [0.3, -0.5, 1.0]
    ring = healpy.reorder(field, n2r=True)
    assert not np.array_equal(ring, field)
    np.testing.assert_array_equal(pixels(field), pixels(ring, pixel_order="ring"))


def test_no_data_is_grey_and_pale_is_paler():
    values = np.where(XYZ[:, 2] > 0, 0.0, np.nan)
    picture = pixels(values, colors=Categorical(["#ff0000"]))
    seen = {tuple(c) for c in picture[picture[..., 3] == 1][:, :3]}
    assert seen == {to_rgb("#ff0000"), to_rgb(NO_DATA)}
    faded = pixels(values, colors=Categorical(["#ff0000"]), pale=XYZ[:, 0] > 0)
    kinds = {tuple(np.round(c, 2)) for c in faded[faded[..., 3] == 1][:, :3]}
    assert len(kinds) == 3
    assert any(r == 1 and 0.5 < g == b < 0.9 for r, g, b in kinds)


def test_legend_names_what_occurs_and_colour_bar_has_its_unit():
    ax = axes()
    draw_healpix(ax, np.arange(NPIX) % 2, colors=Categorical(["r", "g", "b"], "ABC"))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A", "B"]
    ax = axes()
    draw_healpix(ax, XYZ[:, 2], colors=Continuous(unit="mm per year"))
    assert ax.get_figure().axes[1].get_xlabel() == "mm per year"


def test_zones_have_their_own_colours():
    assert zone_colors(["EF", "Af"]) == [KOEPPEN_COLORS["EF"], KOEPPEN_COLORS["Af"]]
    assert len(set(KOEPPEN_COLORS.values())) == len(KOEPPEN_COLORS)
    assert len(set(zone_colors([str(i) for i in range(16)]))) == 16


def test_bad_maps_are_refused():
    with pytest.raises(InputError, match=r"\(100,\) is not 12 nside\^2"):
        draw_healpix(axes(), np.zeros(100))
    with pytest.raises(InputError, match="1 of them for 12 categories; give one colour for each"):
        draw_healpix(axes(), np.arange(12), colors=Categorical(["r"]))


# Meshes


def test_view_does_not_depend_on_how_the_mesh_lies():
    mesh, _ = bumpy()
    first = view_rotation(mesh.vertices, mesh.faces)
    assert np.linalg.det(first) == pytest.approx(1)
    turn = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    moved = 3.0 * mesh.vertices @ turn.T + [5.0, -1.0, 2.0]
    second = view_rotation(moved, mesh.faces)
    centred = mesh.vertices - mesh.vertices.mean(axis=0)
    np.testing.assert_allclose(3.0 * centred @ first.T, (moved - moved.mean(axis=0)) @ second.T, atol=1e-9)
    spread = np.ptp(centred @ first.T, axis=0)
    assert spread[0] > spread[1] > spread[2]


def test_nearer_faces_are_painted_later_and_size_does_not_matter():
    near_and_far = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1.0]])
    mesh = SimpleNamespace(vertices=near_and_far, faces=np.array([[3, 4, 5], [0, 1, 2]]))
    options = {"view": MeshView(np.eye(3), 0.0, 0.0)}
    drawn = draw_mesh(axes(), mesh, np.array([0, 1]), colors=Categorical(["#ff0000", "#0000ff"]), **options)
    colors = drawn.get_facecolor()
    assert colors[0, 2] > colors[0, 0]  # blue, far, first
    assert colors[1, 0] > colors[1, 2]  # red, near, last
    larger = SimpleNamespace(vertices=1e-6 * near_and_far, faces=mesh.faces)
    small = draw_mesh(axes(), larger, **options)
    np.testing.assert_allclose(small.get_paths()[0].vertices, drawn.get_paths()[0].vertices, atol=1e-9)
    assert np.abs(small.get_paths()[0].vertices).max() <= 0.5 + 1e-9


def test_faces_towards_the_light_are_brighter():
    mesh, _ = bumpy()
    shade = draw_mesh(axes(), mesh).get_facecolor()[:, :3].mean(axis=1)
    assert shade.max() > 1.4 * shade.min()


def test_vertex_labels_colour_faces_by_majority():
    mesh = SimpleNamespace(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    drawn = draw_mesh(axes(), mesh, np.array([0, 1, 1]), colors=Categorical(["#ff0000", "#0000ff"]))
    assert drawn.get_facecolor()[0, 2] > drawn.get_facecolor()[0, 0]
    with pytest.raises(InputError, match="one value for each vertex or each face"):
        draw_mesh(axes(), mesh, np.zeros(2))


def test_relief_is_highest_on_the_bump_and_knows_no_size():
    mesh, top = bumpy()
    height = relief(mesh)
    assert np.linalg.norm(mesh.vertices[height.argmax()] - mesh.vertices[top]) < 0.3
    larger = SimpleNamespace(vertices=50 * mesh.vertices + 3, faces=mesh.faces)
    np.testing.assert_allclose(relief(larger), height, atol=1e-9)


def test_contact_sheet_writes_each_title_in_its_colour():
    mesh, _ = bumpy(count=60)
    sheet = contact_sheet([mesh] * 3, ["a", "b", "c"], [RIGHT, WRONG, RIGHT], notes=["", "is d", ""])
    texts = {text.get_text(): text.get_color() for text in sheet.texts if text.get_text()}
    assert texts == {"a": RIGHT, "b": WRONG, "is d": WRONG, "c": RIGHT}
    assert len(sheet.axes) == 3
    with pytest.raises(InputError, match="expected one of each"):
        contact_sheet([mesh], ["a", "b"], [RIGHT])


# Report


def climate(**changes):
    truth = np.where(XYZ[:, 2] > 0, 0, 1)
    truth[XYZ[:, 0] > 0.8] = -1
    prediction, baseline = truth.copy(), truth.copy()
    prediction[XYZ[:, 1] > 0.9] = 1
    baseline[XYZ[:, 1] > 0.5] = 1
    return ClimateResults(
        **{
            "fields": [Field("Heat <i>", XYZ[:, 2], "K & more")],
            "zones": ["Af", "<EF>"],
            "truth": truth,
            "prediction": prediction,
            "baseline_prediction": baseline,
            "held_out": XYZ[:, 1] > 0,
            "model": ModelResults("Net", 0.91, 0.5, [0.5, np.nan], 2e-7, 1234, 121.0),
            "baseline": ModelResults("Plain", 0.80, 0.4, [0.6, 0.2]),
            **changes,
        }
    )


def shapes(**changes):
    meshes = [bumpy(seed, 40)[0] for seed in range(4)]
    return ShapeResults(
        **{
            "meshes": meshes,
            "classes": ["egg_round", "<b>pear</b>"],
            "truth": np.array([0, 0, 1, 1]),
            "prediction": np.array([0, 0, 1, 0]),
            "baseline_prediction": np.array([1, 0, 1, 0]),
            "model": ModelResults("Shape net", 0.75, gauge_error=3e-7),
            "baseline": ModelResults("Alone", 0.5),
            "command": "meshconv fit --config 'a<b'",
            **changes,
        }
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    report = Report(
        "Demo <script>", "0.1", "a day", 200.0, {"CPU & co": "2 <cores>"}, "make demo",
        climate(), shapes(),
    )  # fmt: skip
    path = write_report(tmp_path_factory.mktemp("report") / "new" / "report.html", report)
    return path.read_text(encoding="utf-8")


def test_report_escapes_all_text(text):
    assert "Demo &lt;script&gt;" in text
    assert "CPU &amp; co" in text
    assert "a&lt;b" in text
    for tag in ("<script", "<cores>", "<EF>", "<b>pear", "Heat <i>"):
        assert tag not in text


def test_report_needs_no_network_and_its_pictures_open(text):
    assert "http" not in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    images = re.findall(r'<img alt="[^"]+" src="data:image/png;base64,([^"]+)"', text)
    assert len(images) == text.count("<img") == 1 + 4 + 1 + 2
    for image in images:
        picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(image)))
        assert np.ptp(picture[..., :3]) > 0.3


def test_report_states_the_numbers_given(text):
    for number in ("91.0%", "0.500", "2.0e-07", "3.0e-07", "1,234", "2 min 1 s", "3 min 20 s"):
        assert number in text
    assert '<span class="better">91.0%</span>' in text
    assert "Net is 10.0 points of mean IoU above Plain." in text
    assert "All 4 test meshes, 3 of 4 shown are correct." in text


def test_report_counts_who_is_right_in_held_out_blocks_alone(text):
    results = climate()
    counted = results.held_out & (results.truth >= 0)
    only = counted & (results.prediction == results.truth)
    only &= results.baseline_prediction != results.truth
    assert 0 < only.sum() < counted.sum()
    assert f"only Net correct: {only.sum() / counted.sum():.1%}" in text


def test_report_says_so_when_the_baseline_is_ahead():
    worse = shapes(model=ModelResults("Shape net", 0.5), baseline=ModelResults("Alone", 0.75))
    page = report_module.render_report(Report("T", "1", "d", 1.0, shapes=worse))
    assert "Alone is 25.0 points of accuracy above Shape net." in page
    assert "HEALPix" not in page


def test_larger_number_is_marked_and_nan_is_a_dash():
    assert page_html.larger(0.1, 0.2, ".1f") == ("0.1", '<span class="better">0.2</span>')
    assert page_html.larger(float("nan"), 0.2, ".1f") == ("–", "0.2")
    assert page_html.larger(0.21, 0.22, ".1f") == ("0.2", "0.2")


def test_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write_report(tmp_path / "report.html", Report("First", "1", "d", 1.0))
    monkeypatch.setattr(report_module.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(path, Report("Second", "1", "d", 1.0))
    assert "First" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_results_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"prediction: shape \(12,\) is not that of truth"):
        climate(prediction=np.zeros(12, dtype=int))
    with pytest.raises(InputError, match="Net: 3 class_iou for 2 zones"):
        climate(model=ModelResults("Net", 0.5, 0.5, [0.1, 0.2, 0.3]))
    with pytest.raises(InputError, match="one class for each of 4 meshes"):
        shapes(truth=np.zeros(3, dtype=int))
    with pytest.raises(InputError, match="classes 0 to 2 are not all among the 2 named"):
        shapes(prediction=np.array([0, 1, 2, 0]))
