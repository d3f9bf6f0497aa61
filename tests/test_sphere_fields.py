"""Maps of the sphere from NetCDF and Zarr: grids recognised, values where they belong, errors in one line."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr

from meshconv import HealpixSphere, InputError
from meshconv.geometry import LatLonGrid, PointSphere, Regridder, icosahedral_sphere
from meshconv.io import open_fields

LAT, LON = np.arange(-87.5, 90, 5), np.arange(0, 360, 5.0)
TIMES = np.array(["2020-01-15", "2020-02-15", "2020-03-15"], dtype="datetime64[ns]")


def smooth(xyz: np.ndarray) -> np.ndarray:
    return 2 + xyz[..., 0] - 0.5 * xyz[..., 1] * xyz[..., 2]


def on(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    la, lo = np.radians(lat), np.radians(lon)
    return smooth(np.stack([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)], axis=-1))


def rectilinear(lat: np.ndarray = LAT, lon: np.ndarray = LON, names: tuple[str, str] = ("lat", "lon")) -> xr.Dataset:
    grid = np.meshgrid(lat, lon, indexing="ij")
    values = on(*grid) + np.arange(3)[:, None, None]
    coords = {
        "time": TIMES,
        names[0]: (names[0], lat, {"units": "degrees_north", "standard_name": "latitude"}),
        names[1]: (names[1], lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    return xr.Dataset({"t": (("time", *names), values, {"units": "K"}), "note": ((), 1)}, coords)


def write(dataset: xr.Dataset, path: Path) -> Path:
    if path.suffix == ".zarr":
        dataset.to_zarr(path, zarr_format=2)
    else:
        dataset.to_netcdf(path, engine="netcdf4", format="NETCDF3_64BIT" if path.suffix == ".nc3" else "NETCDF4")
    return path


def check(path: Path | list[Path] | str, tolerance: float = 1e-12) -> None:
    fields = open_fields(path)
    values = fields.values("t")
    assert values.shape == (3, fields.grid.num_points)
    np.testing.assert_allclose(values, smooth(fields.grid.xyz) + np.arange(3)[:, None], atol=tolerance)
    np.testing.assert_array_equal(
        fields.to_file_grid(values), fields.dataset["t"].transpose("time", *fields.dims).values.astype(np.float64)
    )


LAYOUTS = {
    "as it is": rectilinear(),
    "north first": rectilinear(LAT[::-1]),
    "from -180": rectilinear(lon=(LON + 180) % 360 - 180),
    "ascending from -180": rectilinear(lon=LON - 180),
    "gaussian": rectilinear(np.degrees(np.arcsin(np.polynomial.legendre.leggauss(24)[0]))),
    "other names": rectilinear(names=("y", "x")),
    "with poles, wrapped": rectilinear(np.linspace(90, -90, 37), np.linspace(0, 360, 73)),
    "region": rectilinear(np.arange(30, 60, 2.0), np.arange(350, 400, 2.0) % 360),
    "transposed": rectilinear().transpose("lon", "time", "lat"),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("suffix", [".nc", ".nc3", ".zarr"])
def test_latitude_longitude(tmp_path, name, suffix):
    path = write(LAYOUTS[name], tmp_path / f"a{suffix}")
    check(path)
    assert isinstance(open_fields(path).grid, LatLonGrid)


def test_names_alone_are_enough(tmp_path):
    bare = rectilinear().drop_attrs()
    check(write(bare, tmp_path / "a.nc"))
    check(write(bare.rename(lat="latitude", lon="longitude"), tmp_path / "b.nc"))
    check(write(bare.rename(lat="Latitude", lon="LONGITUDE"), tmp_path / "c.nc"))


def unstructured(radians: bool) -> xr.Dataset:
    sphere = icosahedral_sphere(3)
    lat, lon = np.pi / 2 - sphere.theta, sphere.phi
    unit = "radian" if radians else "degrees"
    lat, lon = (lat, lon) if radians else (np.degrees(lat), np.degrees(lon))
    return xr.Dataset(
        {"t": (("time", "cell"), smooth(sphere.xyz) + np.arange(3)[:, None])},
        {
            "time": TIMES,
            "clat": ("cell", lat, {"units": unit, "standard_name": "latitude"}),
            "clon": ("cell", lon, {"units": unit, "standard_name": "longitude"}),
            # corners of the cells, as in ICON's files, are no cell centres
            "clat_vertices": (("cell", "nv"), np.stack([lat] * 3, 1), {"units": unit}),
        },
    )


@pytest.mark.parametrize("radians", [True, False])
def test_unstructured_cells(tmp_path, radians):
    path = write(unstructured(radians), tmp_path / "icon.nc")
    check(path)
    grid = open_fields(path).grid
    assert isinstance(grid, PointSphere) and grid.gauge_graph().num_edges == 6 * 642 - 12


def test_curvilinear_with_points_without_coordinates(tmp_path):
    """As ocean models have them: two-dimensional coordinates, unset on land."""
    la, lo = np.meshgrid(np.arange(-80, 81, 4.0), np.arange(0, 360, 4.0), indexing="ij")
    la, lo = la + 2 * np.sin(np.radians(lo)), (lo + 3 * np.sin(np.radians(3 * la))) % 360
    values = on(la, lo) + np.arange(3)[:, None, None]
    la[5:8, 10:20] = np.nan
    data = xr.Dataset(
        {"t": (("time", "y", "x"), values)}, {"time": TIMES, "nav_lat": (("y", "x"), la), "nav_lon": (("y", "x"), lo)}
    )
    fields = open_fields(write(data, tmp_path / "orca.nc"))
    assert fields.grid.num_points == la.size - 30 and fields.dims == ("y", "x")
    np.testing.assert_allclose(fields.values("t")[2], smooth(fields.grid.xyz) + 2, atol=1e-12)
    back = fields.to_file_grid(fields.values("t"))
    assert np.array_equal(np.isnan(back[0]), np.isnan(la))
    np.testing.assert_array_equal(back[:, ~np.isnan(la)], values[:, ~np.isnan(la)])


def test_seams_of_an_ocean_grid(tmp_path, caplog):
    """Columns that repeat where the grid closes, in single precision and with longitudes to 180 both ways."""
    la, lo = np.meshgrid(np.arange(-80, 81, 4.0), np.arange(-180, 188, 4.0), indexing="ij")
    la = la + 2 * np.sin(np.radians(lo))
    data = xr.Dataset(
        {
            "t": (("time", "y", "x"), on(la, lo) + np.arange(3)[:, None, None]),
            "nav_lat": (("y", "x"), la.astype(np.float32)),
            "nav_lon": (("y", "x"), ((lo + 180) % 360 - 180 + 360 * (lo == 180)).astype(np.float32)),
        },
        {"time": TIMES},
    )
    with caplog.at_level("INFO"):
        fields = open_fields(write(data, tmp_path / "orca.nc"))
    assert fields.grid.num_points == la[:, :-2].size and "82 of 3772 points are duplicates" in caplog.text
    np.testing.assert_allclose(fields.values("t")[0], smooth(fields.grid.xyz), atol=1e-6)
    np.testing.assert_allclose(fields.to_file_grid(fields.values("t")), data["t"], atol=1e-12)


@pytest.mark.parametrize("order", ["nested", "ring"])
def test_healpix(tmp_path, order):
    xyz = np.stack(healpy.pix2vec(4, np.arange(192), nest=order == "nested"), -1)
    crs = {"grid_mapping_name": "healpix", "indexing_scheme": order, "refinement_level": 2}
    data = xr.Dataset(
        {"t": (("time", "cell"), smooth(xyz) + np.arange(3)[:, None]), "crs": ((), 0, crs)}, {"time": TIMES}
    )
    path = write(data, tmp_path / "h.nc")
    check(path)
    assert isinstance(open_fields(path).grid, HealpixSphere)


def test_several_files_are_joined(tmp_path):
    data = rectilinear()
    paths = [write(data.isel(time=[k]), tmp_path / f"part_{k}.nc") for k in (2, 0, 1)]
    check(paths)
    check(str(tmp_path / "part_*.nc"))
    extra = rectilinear()[["t"]].rename(t="u")
    fields = open_fields([*paths, write(extra, tmp_path / "u.nc")])
    assert fields.variables == ["t", "u"]


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    fields = open_fields(write(rectilinear(), tmp_path / "a.zarr"))
    assert fields.dataset["t"].chunks is not None
    assert fields.values("t", {"time": "2020-02-15"}).shape == (LAT.size * LON.size,)


def test_selection(tmp_path):
    fields = open_fields(write(rectilinear().rename(time="month").drop_vars("month"), tmp_path / "a.nc"))
    np.testing.assert_allclose(fields.values("t", {"month": 1}), smooth(fields.grid.xyz) + 1)
    with pytest.raises(InputError, match=r"no dimension level to select from, but month"):
        fields.values("t", {"level": 850})
    with pytest.raises(InputError, match="month has no 7"):
        fields.values("t", {"month": 7})
    dated = open_fields(write(rectilinear(), tmp_path / "b.nc"))
    with pytest.raises(InputError, match="time has no '2021-01-15'; it runs from 2020-01-15"):
        dated.values("t", {"time": "2021-01-15"})


def test_fill_values_are_missing(tmp_path):
    data = rectilinear()
    data["t"][:, 4:9, 10:30] = np.nan
    data.to_netcdf(
        tmp_path / "a.nc",
        encoding={"t": {"dtype": "int16", "scale_factor": 0.001, "add_offset": 3.0, "_FillValue": -32768}},
    )
    values = open_fields(tmp_path / "a.nc").values("t")
    assert np.isnan(values).sum() == 3 * 5 * 20 and np.nanmax(np.abs(values - 3)) < 3
    fields = open_fields(tmp_path / "a.nc")
    regridded = Regridder(fields.grid, HealpixSphere(8))(values)
    assert 0 < np.isnan(regridded[0]).sum() < 100


def test_truncated_file(tmp_path):
    path = write(rectilinear(), tmp_path / "a.nc")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"a\.nc: not readable as NetCDF or Zarr"):
        open_fields(path)


def corrupted(change):
    def make(folder: Path) -> Path:
        return write(change(rectilinear()), folder / "a.nc")

    return make


def text(folder: Path) -> Path:
    (folder / "a.nc").write_text("lat,lon\n")
    return folder / "a.nc"


def other_grids(folder: Path) -> list[Path]:
    return [
        write(rectilinear(), folder / "a.nc"),
        write(rectilinear(LAT[:-1]).assign_coords(time=TIMES + np.timedelta64(365, "D")), folder / "b.nc"),
    ]


def other_calendars(folder: Path) -> list[Path]:
    one, two = rectilinear(), rectilinear()
    two = two.assign_coords(time=xr.date_range("2021-01-01", periods=3, freq="MS", calendar="360_day", use_cftime=True))
    return [write(one, folder / "a.nc"), write(two, folder / "b.nc")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.nc", "none.nc: no such file"),
        (lambda folder: folder / "*.nc", "no such file"),
        (lambda folder: [], "no files are given"),
        (lambda folder: folder, "a directory, but not a Zarr store"),
        (text, "neither as HDF5 nor as classic NetCDF"),
        (corrupted(lambda d: d.drop_vars("lat")), "no latitude found and no HEALPix attributes; .* coordinate lat"),
        (corrupted(lambda d: d.assign_coords(lat=np.sort(LAT) * 1.2)), "latitude .* is out of -90..90"),
        (corrupted(lambda d: d.assign_coords(lon=np.where(LON == 50, 45.0, LON))), "longitude 45 degrees occurs twice"),
        (corrupted(lambda d: d.assign_coords(lat=np.roll(LAT, 3))), "neither ascend nor descend"),
        (other_grids, "a.nc: and 1 more files do not go together"),
        (other_calendars, "time has the calendar '360_day', in .* 'standard'; convert one of them"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path, make, message):
    with pytest.raises(InputError, match=message) as error:
        open_fields(make(tmp_path))
    assert "\n" not in str(error.value)


def test_bad_variables(tmp_path):
    data = rectilinear().assign(word=(("lat", "lon"), np.full((LAT.size, LON.size), "x", dtype=object)),
                                empty=(("lat", "lon"), np.full((LAT.size, LON.size), np.nan)))  # fmt: skip
    fields = open_fields(write(data, tmp_path / "a.nc"))
    cases = {"rain": "no variable rain; the file has t", "note": "a map needs", "word": "not numbers"}
    for name, message in (cases | {"empty": "no value in all"}).items():
        with pytest.raises(InputError, match=message):
            fields.values(name)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_columns_and_a_row_that_an_ocean_grid_repeats(dtype, tmp_path):
    """Copies lie some 1e-7 apart where they are rounded; the first counts, and predictions go to both."""
    lat, lon = np.meshgrid(np.linspace(-78, 86, 42), 73.3 + 4.0 * np.arange(92), indexing="ij")
    lat, lon = np.concatenate([lat, lat[-2:-1, ::-1]]), np.concatenate([lon, lon[-2:-1, ::-1] + 360])
    if dtype == "f8":
        lat, lon = (a + 3e-6 * np.random.default_rng(0).normal(size=a.shape) for a in (lat, lon))
    t = on(lat, lon)
    t[:, 90:], t[-1] = 99.0, 99.0
    data = xr.Dataset(
        {"t": (("y", "x"), t)}, {"nav_lat": (("y", "x"), lat.astype(dtype)), "nav_lon": (("y", "x"), lon.astype(dtype))}
    )
    fields = open_fields(write(data, tmp_path / "a.nc"))
    assert fields.grid.num_points == 42 * 90
    np.testing.assert_allclose(fields.values("t"), smooth(fields.grid.xyz), atol=1e-5)
    assert fields.grid.areas.min() > 1e-6
    fields.grid.gauge_graph().validate()
    back = fields.to_file_grid(fields.values("t"))
    np.testing.assert_allclose(back, on(lat, lon), atol=1e-5)
