"""Pictures of predictions: which files, what colour where, on every grid, with coastlines and without."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from meshconv import HealpixSphere, InputError
from meshconv.geometry import LatLonGrid, icosahedral_sphere
from meshconv.viz import Categorical, MapView, coastlines as module, draw_field, write_maps, zone_colors
from meshconv.viz.colors import NO_DATA

NAMES = ["quiet", "vortex"]


def prediction(grid: str, path: Path, steps: int = 3) -> Path:
    """Class 1 on the northern hemisphere, except where it is missing: longitudes 0 to 90."""
    if grid == "lat_lon":
        lat, lon = np.arange(-88, 90, 4.0), np.arange(0, 360, 4.0)
        la, lo = np.meshgrid(lat, lon, indexing="ij")
        dims, coords = ("lat", "lon"), {"lat": lat, "lon": lon}
    elif grid == "healpix":
        lo, la = healpy.pix2ang(16, np.arange(3072), nest=True, lonlat=True)
        attributes = {"grid_name": "healpix", "level": 4, "indexing_scheme": "nested"}
        dims, coords = ("cell",), {"cell_ids": ("cell", np.arange(3072), attributes)}
    else:
        sphere = icosahedral_sphere(4)
        la, lo = 90 - np.degrees(sphere.theta), np.degrees(sphere.phi) % 360
        dims, coords = ("cell",), {"lat": ("cell", la), "lon": ("cell", lo)}
    label = np.where(lo < 90, np.nan, la > 0)
    share = np.stack([1 - label, label])
    flags = {"flag_values": np.array([0, 1], np.int16), "flag_meanings": " ".join(NAMES)}
    xr.Dataset(
        {
            "label": (("time", *dims), np.stack([label] * steps), flags),
            "probability": (("time", "class", *dims), np.stack([share] * steps)),
        },
        {**coords, "time": np.arange(steps), "class": np.array(NAMES, dtype=object)},
    ).to_netcdf(path, engine="netcdf4")
    return path


def colours(picture: Path) -> np.ndarray:
    """The upper half holds the map: colours at two points of the north, one east in the data, one south."""
    image = imread(picture)[..., :3]
    height, width = image.shape[:2]
    return image[
        [int(0.18 * height), int(0.18 * height), int(0.36 * height)],
        [int(0.3 * width), int(0.6 * width), int(0.3 * width)],
    ]


@pytest.mark.parametrize("grid", ["lat_lon", "healpix", "points"])
def test_label_on_every_grid(tmp_path, grid):
    written = write_maps(prediction(grid, tmp_path / "a.nc"), [1])
    assert [p.name for p in written] == ["a_1.png"]
    expected = [to_rgb(zone_colors(NAMES)[1]), to_rgb(NO_DATA), to_rgb(zone_colors(NAMES)[0])]
    np.testing.assert_allclose(colours(written[0]), expected, atol=0.01)


@pytest.mark.slow
def test_which_files(tmp_path):
    path = prediction("lat_lon", tmp_path / "a.nc")
    names = [p.name for p in write_maps(path, None, "vortex")]
    assert names == ["a_0.png", "a_0_vortex.png", "a_2.png", "a_2_vortex.png"]
    assert [p.name for p in write_maps(prediction("healpix", tmp_path / "b.nc", 1))] == ["b.png"]
    assert [p.name for p in write_maps(path, [-1])] == ["a_2.png"]
    with pytest.raises(InputError, match="no step 3; it has 3, counted from 0"):
        write_maps(path, [3])
    with pytest.raises(InputError, match="no class 'storm'; it has quiet, vortex"):
        write_maps(path, None, "storm")
    xr.Dataset(
        {"t": (("lat", "lon"), np.zeros((3, 4)))}, {"lat": [-60.0, 0, 60], "lon": [0.0, 90, 180, 270]}
    ).to_netcdf(tmp_path / "c.nc", engine="netcdf4")
    with pytest.raises(
        InputError, match="no variable label with flag_meanings; give a file that meshconv predict wrote"
    ):
        write_maps(tmp_path / "c.nc")


def test_outside_of_a_region_is_missing():
    grid = LatLonGrid(np.arange(20, 60, 2.0), np.arange(0, 60, 2.0))
    ax = Figure().add_subplot()
    image = draw_field(
        ax, grid, np.zeros(grid.num_points), colors=Categorical(["#ff0000"], ["x"], missing=True), columns=80,
    )  # fmt: skip
    seen = {tuple(c) for c in np.asarray(image.get_array())[..., :3][np.asarray(image.get_array())[..., 3] > 0]}
    assert seen == {to_rgb("#ff0000"), to_rgb(NO_DATA)}
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["x", "missing"]
    with pytest.raises(InputError, match=r"shape \(3,\) for 600 points of the grid; give one each"):
        draw_field(ax, grid, np.zeros(3))


def test_colours_are_told_apart_without_green_or_red():
    """Distance in luminance and blue-yellow of any two of up to 9 classes, as those see it who miss a cone."""
    for count in (2, 6, 9):
        rgb = np.array([to_rgb(c) for c in zone_colors([f"class {k}" for k in range(count)])])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        # Vienot, Brettel, Mollon 1999: what a deuteranope has for red and green.
        seen = np.stack([0.29275 * linear[:, 0] + 0.70725 * linear[:, 1], linear[:, 2]], axis=1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(count, 1)]
        assert apart.min() > 0.08


@pytest.fixture
def fresh():
    module.coastlines.cache_clear()
    yield
    module.coastlines.cache_clear()


def _cartopy(monkeypatch, reader) -> None:
    package, io, shapereader = (types.ModuleType(n) for n in ("cartopy", "cartopy.io", "cartopy.io.shapereader"))
    shapereader.natural_earth = reader  # type: ignore[attr-defined]
    line = types.SimpleNamespace(coords=[(170.0, 0.0), (-170.0, 10.0), (-160.0, 20.0)])
    shapes = [types.SimpleNamespace(geoms=[line]), line]
    shapereader.Reader = lambda path: types.SimpleNamespace(geometries=lambda: shapes)  # type: ignore[attr-defined]
    io.shapereader = shapereader  # type: ignore[attr-defined]
    for name, value in (("cartopy", package), ("cartopy.io", io), ("cartopy.io.shapereader", shapereader)):
        monkeypatch.setitem(sys.modules, name, value)


@pytest.mark.usefixtures("fresh")
def test_coastlines(monkeypatch):
    """With cartopy lines are drawn, cut where they leave the map on one side and come back on the other."""
    _cartopy(monkeypatch, lambda **_: "a file")
    lines = module.coastlines()
    assert len(lines) == 2 and lines[0].tolist()[0] == [0.0, 170.0]
    ax = Figure().add_subplot()
    draw_field(ax, HealpixSphere(2), np.zeros(48), coast=lines, columns=40)
    x = ax.get_lines()[0].get_xdata()
    assert np.isnan(x[1]) and x[0] > 1.8 and x[2] < -1.5
    before = len(ax.get_lines())
    draw_field(ax, HealpixSphere(2), np.zeros(48), view=MapView("orthographic"), coast=lines, columns=40)
    assert np.isnan(ax.get_lines()[before].get_xdata()).all()  # all on the far side


@pytest.mark.usefixtures("fresh")
def test_without_coastlines(monkeypatch, caplog):
    def unreachable(**_):
        raise OSError("no network")

    _cartopy(monkeypatch, unreachable)
    assert module.coastlines() == ()
    assert (
        "maps without coastlines: cartopy has no Natural Earth data and cannot fetch them (no network)" in caplog.text
    )
    module.coastlines.cache_clear()
    caplog.clear()
    monkeypatch.setitem(sys.modules, "cartopy", None)
    monkeypatch.setitem(sys.modules, "cartopy.io", None)
    assert module.coastlines() == () and not caplog.text


def test_a_region_is_drawn_from_its_middle(tmp_path):
    lat, lon = np.arange(-40, -9, 1.0), np.arange(160, 221, 1.0)  # across the date line
    label = np.tile((lon > 190).astype(float), (len(lat), 1))
    flags = {"flag_values": np.array([0, 1], np.int16), "flag_meanings": " ".join(NAMES)}
    xr.Dataset({"label": (("lat", "lon"), label, flags)}, {"lat": lat, "lon": lon}).to_netcdf(tmp_path / "a.nc")
    image = imread(write_maps(tmp_path / "a.nc")[0])[..., :3]
    half = image[: int(0.78 * image.shape[0]), : int(0.42 * image.shape[1])]  # without legend and overview
    west, east = (np.abs(half - np.array(to_rgb(c))).max(axis=-1) < 0.02 for c in zone_colors(NAMES))
    assert min(west.mean(), east.mean()) > 0.06  # of the sphere itself the region is a twenty-fifth
    assert np.nonzero(west)[1].max() <= np.nonzero(east)[1].min() + 2
    np.testing.assert_allclose(west.sum(), east.sum(), rtol=0.05)


def test_parallels_and_meridians_of_a_region_have_names():
    grid = LatLonGrid(np.arange(20, 60, 2.0), np.arange(-30, 31, 2.0))
    ax = Figure().add_subplot()
    view = MapView("orthographic", (40.0, 0.0), 25.0)
    image = draw_field(ax, grid, np.arange(grid.num_points), view=view, columns=100)
    assert {t.get_text() for t in ax.texts} >= {"30°N", "40°N", "0°"}
    for text in ax.texts:  # on the frame, where the line of that name meets it
        x, y = np.array(text.get_position()) / np.sin(np.radians(25))
        assert min(x, y) == pytest.approx(-1, abs=0.03) and max(np.abs([x, y])) <= 1
    np.testing.assert_allclose(image.get_extent(), np.sin(np.radians(25)) * np.array([-1, 1, -1, 1]))
