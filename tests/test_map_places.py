"""Where the points of a map lie: numbers and faces of pixels, radians and degrees."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
from map_case import one_line, save
from place_case import LAT, LON, check, healpix_faces, patch, t_at, value

from meshconv import HealpixSphere, InputError
from meshconv.geometry.sphere.latlon import LatLonGrid
from meshconv.io.maps.fields import open_fields

# Numbers along HEALPix pixels.


def icon(nside: int, pixels: np.ndarray, name: str = "cell", dim: str = "cell", **crs) -> xr.Dataset:
    nest = crs.get("healpix_order") != "ring" and not nside & (nside - 1)
    z = value(np.stack(healpy.pix2vec(nside, pixels.astype(int), nest=nest), -1))
    mapping = {"grid_mapping_name": "healpix", "healpix_order": "nest"} | crs
    return xr.Dataset({"t": (dim, z), "crs": ((), 0, mapping)}, {name: (dim, pixels)})


PIXELS = np.random.default_rng(0).permutation(3072)


@pytest.mark.parametrize(
    ("data", "nside"),
    [
        (icon(32, np.arange(1000, 5000), healpix_nside=32), 32),
        (icon(16, PIXELS, healpix_nside=16), 16),
        (icon(16, PIXELS), 16),
        (icon(64, np.arange(3072, 6144), healpix_nside=64), 64),
        (icon(64, np.arange(3072), healpix_nside=64), 64),
        (icon(16, PIXELS[:500].astype(float), refinement_level=4), 16),
        (icon(16, PIXELS, dim="values", name="values"), 16),
        (icon(16, PIXELS[:99], dim="ncells", name="cell", healpix_order="ring", healpix_nside=16), 16),
        (icon(24, np.arange(100, 900), healpix_order="ring", healpix_nside=24), 24),
        (icon(16, PIXELS, name="global_index", healpix_nside=16), 16),
        (icon(16, PIXELS[:99], name="number", healpix_nside=16), 16),
        (icon(16, np.arange(3072), name="basin", healpix_nside=16).assign(basin=("cell", PIXELS // 3)), 16),
    ],
)
def test_numbers_along_pixels_are_their_indices(tmp_path, data, nside):
    fields = open_fields(save(data, tmp_path / "a.nc"))
    assert isinstance(fields.grid.whole, HealpixSphere) and fields.grid.nside == fields.grid.whole.nside == nside
    check(fields)
    assert np.isfinite(fields.values("t")).sum() == data["t"].size
    np.testing.assert_array_equal(fields.to_file_grid(fields.values("t")), data["t"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (icon(64, np.arange(3072, 6144)), "cell holds 3072, nside 16 has .* finer sphere give its refinement_level"),
        (icon(16, np.arange(3072)).assign_coords(cell=np.arange(1, 3073)), "cell holds 3072, nside 16 has pixels"),
        (icon(16, np.arange(3072)).assign_coords(cell=np.arange(3072) + 0.5), "cell holds 0.5, nside 16 has pixels"),
        (icon(16, np.r_[5, np.arange(3071)], healpix_nside=16), "cell holds 5 twice; drop the copies"),
        (
            icon(24, np.arange(100, 900), healpix_nside=24),
            "nside 24 .* not a power of two .* no nested order; store it",
        ),
        (icon(24, np.arange(100)).drop_vars("cell"), "of any nside healpix_nside.* and a coordinate cell_ids"),
        (
            icon(16, PIXELS[:99], healpix_nside=16).assign(lat=("cell", np.full(99, 85.0)), lon=("cell", np.zeros(99))),
            "lat of .* pixels contradicts the pixel order 'nest' of nside 16",
        ),
    ],
)
def test_numbers_that_cannot_be_indices(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as error:
        open_fields(save(data, tmp_path / "a.nc"))
    one_line(error)


@pytest.mark.parametrize(
    ("first", "placed", "said"), [(1, False, True), (0, False, False), (5, False, False), (1, True, False)]
)
def test_numbers_of_a_part_that_may_count_from_one(tmp_path, caplog, first, placed, said):
    """They are taken as indices from 0, which is said where nothing tells."""
    pixels = np.arange(first, first + 100)
    data = icon(16, pixels, healpix_nside=16)
    if placed:
        lon, lat = healpy.pix2ang(16, pixels, nest=True, lonlat=True)
        data = data.assign_coords(lat=("cell", lat), lon=("cell", lon))
    check(open_fields(save(data, tmp_path / "a.nc")))
    assert ("cell is 1 to 100, and indices of pixels count from 0; if it counts from 1" in caplog.text) == said


# Radians and degrees.


def points(names: tuple[str, str], lat: np.ndarray, lon: np.ndarray, units: tuple[str, str] | None) -> xr.Dataset:
    t = t_at(lat, lon)
    radians = [np.radians(lat), np.radians(lon % 360)]
    attributes = [{}, {}] if units is None else [{"units": u} for u in units]
    places = {n: ("n", r, a) for n, r, a in zip(names, radians, attributes, strict=True)}
    return xr.Dataset({"t": ("n", t), **places})


@pytest.mark.parametrize("names", [("latCell", "lonCell"), ("latVertex", "lonVertex"), ("latEdge", "lonEdge")])
def test_a_region_of_mpas_is_in_radians(tmp_path, names):
    la, lo = np.meshgrid(np.linspace(20, 60, 21), np.linspace(-100, -60, 21))
    check(open_fields(save(points(names, la.ravel(), lo.ravel(), None), tmp_path / "a.nc")))


@pytest.mark.parametrize("names", [("latCell", "lonCell"), ("lat", "lon")])
@pytest.mark.parametrize("which", [0, 1])
def test_a_unit_of_one_is_that_of_the_other(tmp_path, names, which):
    la, lo = (v.ravel() for v in patch())
    data = points(names, la, lo, ("radian", "radian"))
    del data[names[which]].attrs["units"]
    check(open_fields(save(data, tmp_path / "a.nc")))
    for name, angle in zip(names, (la, lo), strict=True):
        data[name] = ("n", angle, {} if name == names[which] else {"units": "degrees"})
    check(open_fields(save(data, tmp_path / "b.nc")))
    data[names[which]] = ("n", np.radians((la, lo)[which]))
    if names[0] == "latCell":
        with pytest.raises(InputError, match=rf"{names[which]} up to .* degrees or radians, the other is in degrees"):
            open_fields(save(data, tmp_path / "c.nc"))


def test_radians_or_degrees_is_asked(tmp_path):
    la, lo = (v.ravel() for v in patch())
    data = points(("lat", "lon"), la, lo, None)
    with pytest.raises(InputError, match=r"lat up to 0.8\d+ and lon .* no units and may be degrees or radians; give"):
        open_fields(save(data, tmp_path / "a.nc"))
    check(open_fields(save(points(("lat", "lon"), la, lo, ("radians", "rad")), tmp_path / "b.nc")))
    degrees = data.assign(t=("n", t_at(data["lat"].values, data["lon"].values)))
    degrees["lat"].attrs["units"] = "degrees"
    check(open_fields(save(degrees, tmp_path / "c.nc")))


@pytest.mark.parametrize("units", [("radian", "radian"), ("degrees_north", "degrees_east")])
@pytest.mark.parametrize("beyond", [0.0, 1e-6])
def test_poles_in_single_precision(tmp_path, units, beyond):
    """float32(pi / 2) is beyond the pole."""
    lat, lon = np.linspace(90, -90, 19), np.arange(0, 360, 10.0)
    data = xr.Dataset({"t": (("lat", "lon"), t_at(*np.meshgrid(lat, lon, indexing="ij")))})
    scale = np.pi / 180 if units[0] == "radian" else 1.0
    rows, columns = (lat * scale * (1 + beyond / 90)).astype(np.float32), (lon * scale).astype(np.float32)
    data = data.assign_coords(lat=("lat", rows, {"units": units[0]}), lon=("lon", columns, {"units": units[1]}))
    fields = open_fields(save(data, tmp_path / "a.nc"))
    assert isinstance(fields.grid, LatLonGrid) and np.abs(fields.grid.lat_deg).max() == 90
    check(fields, tolerance=1e-5)


@pytest.mark.parametrize("which", [["lat"], ["lon"], ["lat", "lon"]])
@pytest.mark.parametrize("east", [0.0, -180.0])
@pytest.mark.parametrize("crossed", [True, False])
def test_radians_that_are_called_degrees(tmp_path, which, east, crossed):
    lat, lon = np.linspace(-88, 88, 45), np.arange(0, 360, 4.0) + east
    la, lo = np.meshgrid(lat, lon, indexing="ij")
    dims = ("lat", "lon") if crossed else ("y", "x")
    places = {"lat": ("lat", lat), "lon": ("lon", lon)} if crossed else {"lat": (dims, la), "lon": (dims, lo)}
    data = xr.Dataset({"t": (dims, t_at(la, lo))}, places)
    for name, unit in (("lat", "degrees_north"), ("lon", "degrees_east")):
        data[name].attrs["units"] = unit
    check(open_fields(save(data, tmp_path / "right.nc")))
    for name in which:
        data = data.assign_coords({name: (data[name].dims, np.radians(data[name].values), data[name].attrs)})
    with pytest.raises(InputError, match=f"x.nc: {' and '.join(which)} cover the globe in radians, from .* 'radian'"):
        open_fields(save(data, tmp_path / "x.nc"))


@pytest.mark.parametrize("which", ["degrees_south", "deg S", "°S"])
def test_degrees_towards_south_and_west(tmp_path, which):
    la, lo = patch()
    west = {"degrees_south": "degrees_west", "deg S": "degree W", "°S": "°W"}[which]
    places = {"lat": (("y", "x"), -la, {"units": which}), "lon": (("y", "x"), -lo, {"units": west})}
    check(open_fields(save(xr.Dataset({"t": (("y", "x"), t_at(la, lo))}, places), tmp_path / "a.nc")))


def test_colatitudes_and_names_that_contradict_units(tmp_path):
    la, lo = patch()
    said = {"units": "degrees", "long_name": "colatitude"}
    places = {"lat": (("y", "x"), 90 - la, said), "lon": (("y", "x"), lo, LON)}
    with pytest.raises(InputError, match="lat is a colatitude"):
        open_fields(save(xr.Dataset({"t": (("y", "x"), t_at(la, lo))}, places), tmp_path / "a.nc"))
    units = [{"units": f"degrees_{k}"} for k in ("east", "north")]
    swapped = {"lat": (("y", "x"), lo, units[0]), "lon": (("y", "x"), la, units[1])}
    with pytest.raises(InputError, match="no latitude found"):
        open_fields(save(xr.Dataset({"t": (("y", "x"), t_at(la, lo))}, swapped), tmp_path / "b.nc"))


def test_small_regions_and_bands_at_the_equator_are_no_radians(tmp_path):
    for k, (lat, lon) in enumerate([(np.linspace(-1.5, 1.5, 13), np.arange(0, 360, 5.0)),
                                    (np.linspace(-1.2, 1.2, 9), np.linspace(0, 6.2, 20)),
                                    (np.linspace(-80, 80, 33), np.linspace(0, 5, 20))]):  # fmt: skip
        data = xr.Dataset({"t": (("lat", "lon"), t_at(*np.meshgrid(lat, lon, indexing="ij")))})
        data = data.assign_coords(lat=("lat", lat, LAT), lon=("lon", lon, LON))
        check(open_fields(save(data, tmp_path / f"{k}.nc")))


@pytest.mark.parametrize("fill", [-1.6375e30, 1e20, 9.96921e36, -9999.0])
@pytest.mark.parametrize("which", ["lat", "lon"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("units", [None, "radian"])
def test_undeclared_fill_values_of_coordinates(tmp_path, caplog, fill, which, kind, units):
    """Points without a place are left out, as are those whose fill value is declared; said once."""
    la, lo = patch()
    scale, attributes = (1.0, {}) if units is None else (np.pi / 180, {"units": units})
    both = {n: (("y", "x"), (v * scale).astype(kind), attributes) for n, v in (("lat", la), ("lon", lo))}
    data = xr.Dataset({"t": (("y", "x"), t_at(la, lo))}, both)
    data[which][3:5, 7:9] = fill
    path = save(data, tmp_path / f"{which}{fill}{kind}{units}.nc", encoding={n: {"_FillValue": None} for n in both})
    for _ in range(2):
        fields = open_fields(path)
        assert fields.grid.num_points == la.size - 4
        check(fields, tolerance=1e-5)
    assert np.isnan(fields.to_file_grid(fields.values("t"))[3:5, 7:9]).all()
    assert caplog.text.count(f"{which} holds {fill:g}, which counts as missing") == 1


def test_places_off_the_sphere(tmp_path):
    """Angles in another unit are no fill values, nor is what stands along an axis."""
    la, lo = patch()
    data = xr.Dataset({"t": (("y", "x"), t_at(la, lo))}, {"lat": (("y", "x"), la * 100), "lon": (("y", "x"), lo)})
    with pytest.raises(InputError, match=r"latitude 3.* is out of .* at 651 of 651 points of lat; if that is a fill"):
        open_fields(save(data, tmp_path / "a.nc"))
    axes = xr.Dataset({"t": (("lat", "lon"), t_at(la, lo))}, {"lat": la[:, 0], "lon": np.r_[lo[0, :-1], 1e20]})
    with pytest.raises(InputError, match=r"longitude 1e\+20 is out of .* at 1 of 31 points of lon"):
        open_fields(save(axes, tmp_path / "b.nc"))


# Faces of HEALPix.


def test_faces_of_healpix_without_coordinates(tmp_path):
    """Nothing says in which order the pixels of a face are."""
    mapping = {"grid_mapping_name": "healpix", "refinement_level": 2}
    data = xr.Dataset({"t": (("face", "y", "x"), np.ones((12, 4, 4))), "crs": ((), 0, mapping)})
    with pytest.raises(
        InputError, match=r"faces of HEALPix pixels .* add latitude and longitude along .* one dimension of pixels"
    ):
        open_fields(save(data, tmp_path / "a.nc"))
    lat, lon = healpix_faces(4)
    places = {"lat": (("face", "y", "x"), lat, LAT), "lon": (("face", "y", "x"), lon, LON)}
    whole = data.assign(t=(("face", "y", "x"), t_at(lat, lon))).assign_coords(places)
    check(open_fields(save(whole, tmp_path / "b.nc")))


@pytest.mark.parametrize("dims", [("face", "y", "x"), ("face", "height", "width"), ("face", "n", "nested")])
@pytest.mark.parametrize("times", [0, 3])
def test_nested_faces_of_healpix(tmp_path, caplog, dims, times):
    """A nested map cut into faces: said, as pictures of the faces would look alike."""
    z = value(HealpixSphere(4).xyz)
    faces = z.reshape(12, 4, 4) * np.ones((max(times, 1), 1, 1, 1))
    data = xr.Dataset({"t": (("time", *dims), faces)}) if times else xr.Dataset({"t": (dims, faces[0])})
    silent = "nested" in dims
    if not silent:
        data["crs"] = ((), 0, {"grid_mapping_name": "healpix", "indexing_scheme": "nested", "refinement_level": 2})
    elif not times:
        data.attrs = {"nside": 4, "ordering": "NESTED"}
    fields = open_fields(save(data, tmp_path / "a.nc"), "nest" if silent and times else None)
    assert fields.dims == ("cell",) and "read in nested order as they are stored" in caplog.text
    check(fields)
    ring = data.drop_vars("crs", errors="ignore").assign_attrs(nside=4, ordering="RING")
    with pytest.raises(InputError, match=r"is on faces .* which maps in ring order do not have|contradicts"):
        open_fields(save(ring, tmp_path / "r.nc"))


def test_a_latitude_longitude_map_beside_healpix(tmp_path):
    lat, lon = np.arange(-80, 81, 20.0), np.arange(0, 360, 20.0)
    data = icon(16, PIXELS).assign_coords(lat=lat, lon=lon)
    data["regular"] = (("lat", "lon"), t_at(*np.meshgrid(lat, lon, indexing="ij")))
    path: Path = save(data, tmp_path / "a.nc")
    check(open_fields(path, variables=["regular"]), "regular")
    check(open_fields(path, variables=["t"]))
