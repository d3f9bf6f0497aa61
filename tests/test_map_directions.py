"""Vectors along the axes of a file's grid: turned where the axes are known, refused where nothing is said of them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from map_case import save

from meshconv import InputError
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.surface import MapSurface
from meshconv.io.maps.fields import SphereFields, open_fields

X_Y = {"u": {"standard_name": "x_wind"}, "v": {"standard_name": "y_wind"}}
EAST_NORTH = {"u": {"standard_name": "eastward_wind"}, "v": {"standard_name": "northward_wind"}}
POLE = {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.25,
        "grid_north_pole_longitude": -162.0}  # fmt: skip


def rotated(count: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latitude, longitude and turn of the axis x, anticlockwise from east, of EURO-CORDEX; radians ``[rows, cols]``."""
    b, a = np.meshgrid(*[np.radians(np.linspace(-15, 15, count))] * 2, indexing="ij")
    pole_lat, pole_lon = np.radians(POLE["grid_north_pole_latitude"]), np.radians(POLE["grid_north_pole_longitude"])
    z = np.array([np.cos(pole_lat) * np.cos(pole_lon), np.cos(pole_lat) * np.sin(pole_lon), np.sin(pole_lat)])
    # Where both rotated coordinates are 0: opposite the pole's meridian, 90 degrees from the pole.
    x = -np.array([np.sin(pole_lat) * np.cos(pole_lon), np.sin(pole_lat) * np.sin(pole_lon), -np.cos(pole_lat)])
    y = np.cross(z, x)
    ca, sa, cb, sb = (f(v)[..., None] for v in (a, b) for f in (np.cos, np.sin))
    places = cb * ca * x + cb * sa * y + sb * z
    lat, lon = np.arcsin(places[..., 2]), np.arctan2(places[..., 1], places[..., 0])
    east = np.stack([-np.sin(lon), np.cos(lon), 0 * lon], -1)
    north = np.cross(places, east)
    along = ca * y - sa * x  # of growing rotated longitude
    return lat, lon, np.arctan2((along * north).sum(-1), (along * east).sum(-1))


def on_rotated(attributes: dict, coordinates: bool = True, **extra) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """A wind in closed form whose components are along the rotated axes, with its east and north component."""
    lat, lon, turn = rotated()
    east, north = 5 + 3 * np.sin(lat), 2 * np.cos(lon)
    u, v = np.cos(turn) * east + np.sin(turn) * north, -np.sin(turn) * east + np.cos(turn) * north
    line = np.linspace(-15, 15, len(lat))
    data = xr.Dataset(
        {n: (("rlat", "rlon"), w, {"units": "m s-1", "grid_mapping": "crs", **attributes.get(n, {})})
         for n, w in (("u", u), ("v", v))},
        {"rlat": ("rlat", line, {"standard_name": "grid_latitude", "units": "degrees"}),
         "rlon": ("rlon", line, {"standard_name": "grid_longitude", "units": "degrees"})},
        extra,
    )  # fmt: skip
    data["crs"] = ((), 0, POLE)
    if coordinates:
        places = {"lat": (lat, "north"), "lon": (lon, "east")}
        data = data.assign_coords({n: (("rlat", "rlon"), np.degrees(v), {"units": f"degrees_{k}"})
                                   for n, (v, k) in places.items()})  # fmt: skip
    return data, east, north


def components(fields: SphereFields, relative_to: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    return fields.earth_components(["u", "v"], fields.values("u"), fields.values("v"), relative_to)


def check(fields: SphereFields, east: np.ndarray, north: np.ndarray, relative_to: str | None = None) -> None:
    for found, wanted in zip(components(fields, relative_to), (east, north), strict=True):
        np.testing.assert_allclose(fields.to_file_grid(found), wanted, atol=0.02)


SAID = {
    "CF": (X_Y, {}),
    "CF's older name": ({n: {"standard_name": f"grid_{k}ward_wind"} for n, k in (("u", "east"), ("v", "north"))}, {}),
    "ocean": ({"u": {"standard_name": "sea_water_x_velocity"}, "v": {"standard_name": "sea_water_y_velocity"}}, {}),
    "cfgrib": ({n: {"GRIB_uvRelativeToGrid": 1} for n in "uv"}, {}),
    "cfgrib says more than the name": ({n: {**EAST_NORTH[n], "GRIB_uvRelativeToGrid": np.int64(1)} for n in "uv"}, {}),
    "of the file": ({}, {"uvRelativeToGrid": "1"}),
    "description": ({"u": {"long_name": "x-component of wind"}, "v": {"long_name": "y-component of wind"}}, {}),
    "words": ({n: {"description": f"{n} wind component relative to grid"} for n in "uv"}, {}),
    "axis": ({"u": {"long_name": "ocean current along i-axis"}, "v": {"long_name": "ocean current along j-axis"}}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("coordinates", [True, False])
def test_components_along_a_rotated_grid_are_turned(tmp_path, caplog, name, coordinates):
    attributes, of_the_file = SAID[name]
    data, east, north = on_rotated(attributes, coordinates)
    with caplog.at_level(logging.INFO):
        check(open_fields(save(data.assign_attrs(of_the_file), tmp_path / "a.nc")), east, north)
    assert "are turned towards east and north, by up to" in caplog.text


@pytest.mark.parametrize(
    ("flip", "order"),
    [(["rlat"], "yx"), (["rlon"], "yx"), (["rlat", "rlon"], "xy"), ([], "xy")],
)
def test_the_order_of_rows_and_columns_does_not_matter(tmp_path, flip, order):
    data, east, north = on_rotated(X_Y)
    data = data.assign(e=(("rlat", "rlon"), east), n=(("rlat", "rlon"), north))
    data = data.isel({d: slice(None, None, -1) for d in flip})
    data = data.transpose(*({"y": "rlat", "x": "rlon"}[k] for k in order))
    fields = open_fields(save(data, tmp_path / "a.nc"))
    check(fields, *(fields.to_file_grid(fields.values(n)) for n in "en"))


@pytest.mark.parametrize(
    "attributes",
    [
        EAST_NORTH,
        {n: {"GRIB_uvRelativeToGrid": 0} for n in "uv"},
        {"u": {"long_name": "Zonal wind"}, "v": {"long_name": "Meridional wind"}},
        {n: {"description": "10m wind rotated to Earth coordinates"} for n in "uv"},
    ],
)
def test_components_towards_east_and_north_stay(tmp_path, attributes):
    data, _, _ = on_rotated(attributes)
    fields = open_fields(save(data, tmp_path / "a.nc"))
    for found, name in zip(components(fields), "uv", strict=True):
        np.testing.assert_array_equal(found, fields.values(name))


def test_what_nothing_is_said_of_is_asked(tmp_path):
    data, east, north = on_rotated({"u": {"long_name": "10 metre U wind component"}})
    fields = open_fields(save(data, tmp_path / "a.nc"))
    with pytest.raises(InputError, match=r"a.nc: \[u, v\] may be along the axes .* relative_to: grid}, or earth"):
        components(fields)
    check(fields, east, north, "grid")
    np.testing.assert_array_equal(components(fields, "earth")[0], fields.values("u"))


def test_contradictions_are_refused(tmp_path):
    data, _, _ = on_rotated({"u": X_Y["u"], "v": EAST_NORTH["v"]})
    with pytest.raises(InputError, match="contradict each other"):
        components(open_fields(save(data, tmp_path / "a.nc")))
    data, _, _ = on_rotated(X_Y)
    with pytest.raises(InputError, match="contradict relative_to: earth"):
        components(open_fields(save(data, tmp_path / "b.nc")), "earth")
    for known in (EAST_NORTH, X_Y):
        data, _, _ = on_rotated({"u": known["v"], "v": known["u"]})
        with pytest.raises(InputError, match="write the eastward component first"):
            components(open_fields(save(data, tmp_path / f"{len(str(known))}.nc")))


def wrf(**attributes) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    data, east, north = on_rotated({"u": {"description": "U at 10 M"}, "v": {"description": "V at 10 M"}})
    data = data.drop_vars(["crs", "rlat", "rlon"]).rename(rlat="south_north", rlon="west_east", lat="XLAT", lon="XLONG")
    for name in "uv":
        data[name].attrs.pop("grid_mapping")
    return data.rename(u="U10", v="V10").assign_attrs(attributes), east, north


def test_winds_of_wrf_are_along_its_grid(tmp_path):
    data, east, north = wrf(TITLE=" OUTPUT FROM WRF V4.2 MODEL", MAP_PROJ=6)
    fields = open_fields(save(data.expand_dims("Time"), tmp_path / "a.nc"))
    u, v = (fields.values(n, at={"Time": 0}) for n in ("U10", "V10"))
    for found, wanted in zip(fields.earth_components(["U10", "V10"], u, v), (east, north), strict=True):
        np.testing.assert_allclose(fields.to_file_grid(found), wanted, atol=0.02)


def test_axes_that_run_east_and_north_need_no_word(tmp_path):
    """Latitudes times longitudes, also where both are two-dimensional; points in no order have east alone."""
    la, lo = np.meshgrid(np.linspace(50, 30, 11), np.linspace(0, 20, 16), indexing="ij")
    rng = np.random.default_rng(0)
    winds = {n: (("y", "x"), rng.normal(size=la.shape), {"units": "m/s"}) for n in "uv"}
    places = {"lat": (("y", "x"), la, {"units": "degrees_north"}), "lon": (("y", "x"), lo, {"units": "degrees_east"})}
    cells = xr.Dataset(winds, places).stack(cell=("y", "x")).reset_index("cell").drop_vars(["x", "y"], errors="ignore")
    for k, data in enumerate((xr.Dataset(winds, places), cells)):
        fields = open_fields(save(data, tmp_path / f"{k}.nc"))
        for found, name in zip(components(fields), "uv", strict=True):
            np.testing.assert_array_equal(found, fields.values(name))
    for name in "uv":
        cells[name].attrs["standard_name"] = X_Y[name]["standard_name"]
    with pytest.raises(InputError, match=r"are along the axes of the grid, and .* \(its points are in no rows\)"):
        components(open_fields(save(cells, tmp_path / "x.nc")))


def test_axes_that_are_not_at_right_angles(tmp_path):
    j, i = np.meshgrid(np.arange(12.0), np.arange(15.0), indexing="ij")
    data = xr.Dataset(
        {n: (("j", "i"), j, {"standard_name": X_Y[n]["standard_name"]}) for n in "uv"},
        {n: (("j", "i"), values, {"units": f"degrees_{side}"})
         for n, values, side in (("lat", 10 + j, "north"), ("lon", i + j / 2, "east"))},
    )  # fmt: skip
    with pytest.raises(InputError, match=r"its axes are not at right angles"):
        components(open_fields(save(data, tmp_path / "a.nc")))


def test_places_that_are_missing_and_columns_that_close_the_globe(tmp_path):
    """As of ocean models: land has no coordinates, the last columns are the first ones again."""
    j, i = np.meshgrid(np.radians(np.linspace(-60, 60, 40)), np.radians(np.arange(0, 366, 3.0)), indexing="ij")
    tilt = np.radians(20)
    x, y, z = np.cos(j) * np.cos(i), np.cos(j) * np.sin(i), np.sin(j)
    y, z = np.cos(tilt) * y - np.sin(tilt) * z, np.sin(tilt) * y + np.cos(tilt) * z
    lat, lon = np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x))
    lat[10:14, 20:30] = lon[10:14, 20:30] = np.nan
    ones = np.ones(lat.shape)
    data = xr.Dataset(
        {"u": (("j", "i"), ones, X_Y["u"]), "v": (("j", "i"), 0 * ones, X_Y["v"])},
        {"lat": (("j", "i"), lat, {"units": "degrees_north"}), "lon": (("j", "i"), lon, {"units": "degrees_east"})},
    )
    fields = open_fields(save(data, tmp_path / "a.nc"))
    east, north = components(fields)
    # A turn about the tilted axis: along its parallels everywhere.
    axis = np.array([0, -np.sin(tilt), np.cos(tilt)])
    along = np.cross(axis, fields.grid.xyz)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    found = east[:, None] * fields.grid.frames[:, 1] - north[:, None] * fields.grid.frames[:, 0]
    np.testing.assert_allclose((found * along).sum(1), 1, atol=2e-3)


def test_inputs_of_a_network_are_turned(tmp_path: Path):
    """The same wind, said either way, gives the same inputs."""
    data, east, north = on_rotated(X_Y)
    turned = data.assign(u=(("rlat", "rlon"), east, EAST_NORTH["u"]), v=(("rlat", "rlon"), north, EAST_NORTH["v"]))
    raws = []
    for k, one in enumerate((data, turned)):
        fields = open_fields(save(one, tmp_path / f"{k}.nc"))
        raws.append(MapSurface(MapInputs([], [["u", "v"]], 32), fields).raw({})[0])
    np.testing.assert_allclose(raws[0], raws[1], atol=0.02)
    silent, _, _ = on_rotated({})
    fields = open_fields(save(silent, tmp_path / "s.nc"))
    entry = {"names": ["u", "v"], "relative_to": "grid"}
    assert MapInputs([], [entry], 32).spec["vectors"] == [{"names": ["u", "v"], "select": {}, "relative_to": "grid"}]
    np.testing.assert_allclose(MapSurface(MapInputs([], [entry], 32), fields).raw({})[0], raws[0], atol=1e-9)
    with pytest.raises(InputError, match="relative_to is earth or grid, not 'north'"):
        MapInputs([], [{**entry, "relative_to": "north"}], 32)
