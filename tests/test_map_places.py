"""Where the points of a map lie: coordinates of the variables asked for, projections, radians, numbers of pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
from map_case import one_line, save

from meshconv import HealpixSphere, InputError
from meshconv.datasets.maps.module import SphereMaps
from meshconv.geometry.sphere.latlon import LatLonGrid
from meshconv.io.maps.fields import SphereFields, open_fields

LAT = {"units": "degrees_north", "standard_name": "latitude"}
LON = {"units": "degrees_east", "standard_name": "longitude"}


def unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    la, lo = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)], axis=-1)


def value(xyz: np.ndarray) -> np.ndarray:
    """A field that tells every place from every other."""
    return xyz @ np.array([1.0, 2.0, 4.0])


def t_at(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    return value(unit_vectors(lat, lon))


def check(fields: SphereFields, name: str = "t", tolerance: float = 1e-6) -> None:
    found, wanted = fields.values(name), value(fields.grid.xyz)
    known = np.isfinite(found)
    assert known.any()
    np.testing.assert_allclose(found[known], np.broadcast_to(wanted, found.shape)[known], atol=tolerance)


def patch(shape: tuple[int, int] = (21, 31)) -> tuple[np.ndarray, np.ndarray]:
    """A curvilinear region."""
    la, lo = np.meshgrid(np.linspace(30, 50, shape[0]), np.linspace(0, 30, shape[1]), indexing="ij")
    return la + 0.1 * np.sin(np.radians(9 * lo)), lo


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
    for name, value in zip(names, (la, lo), strict=True):
        data[name] = ("n", value, {} if name == names[which] else {"units": "degrees"})
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


# Rotated and projected grids.


def projected(
    mapping: dict, y: np.ndarray, x: np.ndarray, names: tuple[str, str], marks: tuple[dict, dict]
) -> xr.Dataset:
    """A map whose values are those of the true places by formulas of ours, so that pyproj is checked too."""
    lat, lon = TRUE[mapping["grid_mapping_name"]](*np.meshgrid(y, x, indexing="ij"))
    coords = {n: (n, v, a) for n, v, a in zip(names, (y, x), marks, strict=True)}
    label = (names, (lat > lat.mean()).astype(np.int8))
    return xr.Dataset(
        {"t": (names, t_at(lat, lon), {"grid_mapping": "crs"}), "event": label, "crs": ((), 0, mapping)}, coords
    )


POLE = {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.25}
POLE |= {"grid_north_pole_longitude": -162.0, "north_pole_grid_longitude": 20.0}


def rotated(rlat: np.ndarray, rlon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true north pole lies at rotated (39.25, 20); the rotated one at (39.25, -162)."""
    pole = np.array([unit_vectors(np.array(39.25), np.array(20.0))])[0]
    own = unit_vectors(rlat, rlon)
    sine = own @ pole
    up = np.array([0, 0, 1.0])
    # longitude counted at the true pole from the meridian through the rotated one
    toward = up - (up @ pole) * pole
    toward /= np.linalg.norm(toward)
    angle = np.degrees(np.arctan2(own @ np.cross(pole, toward), own @ toward))
    return np.degrees(np.arcsin(sine)), -162.0 + angle


def stereographic(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 90 - 2 * np.degrees(np.arctan(np.hypot(x, y) / 2 / 6371229)), -45 + np.degrees(np.arctan2(x, -y))


def mercator(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.degrees(np.arctan(np.sinh(y / 6371229))), 10 + np.degrees(x / 6371229)


TRUE = {"rotated_latitude_longitude": rotated, "polar_stereographic": stereographic, "mercator": mercator}
ROTATED = (
    {"standard_name": "grid_latitude", "units": "degrees"},
    {"standard_name": "grid_longitude", "units": "degrees"},
)
METRES = (
    {"standard_name": "projection_y_coordinate", "units": "m"},
    {"standard_name": "projection_x_coordinate", "units": "m"},
)
BALL = {"earth_radius": 6371229.0}
NORTH = {"grid_mapping_name": "polar_stereographic", "latitude_of_projection_origin": 90.0} | BALL
NORTH |= {"straight_vertical_longitude_from_pole": -45.0, "scale_factor_at_projection_origin": 1.0}
WIDE = {"grid_mapping_name": "mercator", "longitude_of_projection_origin": 10.0, "standard_parallel": 0.0} | BALL
DEG, KM = np.linspace(-20, 20, 21), np.linspace(-3e6, 4e6, 23)

PROJECTED = {
    "rotated": projected(POLE, DEG, DEG + 3, ("rlat", "rlon"), ROTATED),
    "rotated, called lat and lon": projected(POLE, DEG, DEG + 3, ("lat", "lon"), ROTATED),
    "rotated, not marked": projected(POLE, DEG, DEG + 3, ("lat", "lon"), ({}, {})),
    "rotated, by units alone": projected(
        POLE, DEG, DEG + 3, ("lat", "lon"), ({"units": "degrees_north"}, {"units": "degrees_east"})
    ),
    "polar stereographic": projected(NORTH, KM, KM + 1e5, ("y", "x"), METRES),
    "mercator": projected(WIDE, KM, KM + 1e5, ("y", "x"), METRES),
}  # fmt: skip


@pytest.mark.parametrize("name", PROJECTED)
def test_projections(tmp_path, name):
    path = save(PROJECTED[name], tmp_path / "a.nc")
    for asked in ((), ("t",), ("event",)):
        fields = open_fields(path, variables=asked)
        assert fields.dims == PROJECTED[name]["t"].dims and fields.grid.num_points == PROJECTED[name]["t"].size
        check(fields, tolerance=1e-6)
        # what is written for a prediction has the true places
        assert fields.dataset[fields.coordinates[0]].attrs["standard_name"] == "latitude"


def test_scan_angles_of_a_satellite(tmp_path):
    """Angles times the height are metres; what is not the Earth is left out."""
    mapping = {"grid_mapping_name": "geostationary", "perspective_point_height": 35786023.0, "sweep_angle_axis": "x"}
    mapping |= {"longitude_of_projection_origin": -75.0, "semi_major_axis": 6378137.0, "semi_minor_axis": 6378137.0}
    angle = np.linspace(-0.16, 0.16, 33)
    marks = [{"standard_name": f"projection_{k}_coordinate", "units": "rad"} for k in "yx"]
    data = xr.Dataset(
        {"t": (("y", "x"), np.ones((33, 33)), {"grid_mapping": "goes"}), "goes": ((), 0, mapping)},
        {"y": ("y", angle, marks[0]), "x": ("x", angle, marks[1])},
    )
    grid = open_fields(save(data, tmp_path / "a.nc")).grid
    assert 500 < grid.num_points < 33 * 33
    # the Earth's disc is the cap that the satellite sees: cos of its angle is radius / distance
    below = unit_vectors(np.array(0.0), np.array(-75.0))
    cosines = grid.xyz @ below
    assert cosines.max() > 1 - 1e-9 and cosines.min() > 6378137 / (6378137 + 35786023)


def test_projections_that_cannot_be_computed(tmp_path):
    def refused(data: xr.Dataset, message: str) -> None:
        with pytest.raises(InputError, match=message) as error:
            open_fields(save(data, tmp_path / "a.nc"))
        one_line(error)

    bare = PROJECTED["rotated, called lat and lon"]
    lost = bare.drop_vars("crs")
    refused(lost, "lat and lon are coordinates of a rotated or projected grid, and t has no grid_mapping")
    strange = bare.assign(crs=((), 0, {"grid_mapping_name": "cubistic"}))
    refused(strange, r"grid_mapping crs \(cubistic\) is not supported .*; correct it, or add true latitude")
    short = bare.assign(crs=((), 0, {"grid_mapping_name": "rotated_latitude_longitude"}))
    refused(short, "'grid_north_pole_latitude' is missing")
    feet = PROJECTED["mercator"].copy()
    feet["x"].attrs["units"] = "furlong"
    refused(feet, "x of a projected grid is in 'furlong'; convert it to metres")


def test_true_coordinates_come_before_computed_ones(tmp_path):
    data = PROJECTED["rotated"]
    la, lo = patch((21, 21))
    both = data.assign(t=(("rlat", "rlon"), t_at(la, lo), data["t"].attrs)).assign_coords(
        lat=(("rlat", "rlon"), la, LAT), lon=(("rlat", "rlon"), lo, LON)
    )
    check(open_fields(save(both, tmp_path / "a.nc")))


# Several grids in a file.


def sphere_points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    p = np.random.default_rng(seed).normal(size=(count, 3))
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    return np.degrees(np.arcsin(p[:, 2])), np.degrees(np.arctan2(p[:, 1], p[:, 0]))


def ugrid() -> xr.Dataset:
    """Values on faces, nodes and edges, coordinates as variables, those of the faces last."""
    variables = {}
    for k, (place, count) in enumerate({"node": 300, "edge": 500, "face": 200}.items()):
        lat, lon = sphere_points(count, k)
        at = {"mesh": "mesh", "location": place, "coordinates": f"mesh_{place}_y mesh_{place}_x"}
        variables |= {f"mesh_{place}_x": (place, lon, LON), f"mesh_{place}_y": (place, lat, LAT)}
        variables |= {f"of_{place}": (place, t_at(lat, lon), at)}
    event = (variables["of_face"][1] > 0).astype(np.int8)
    return xr.Dataset({**variables, "event": ("face", event), "rain": ("face", event * 1.0)})


def test_coordinates_of_the_variables_asked_for(tmp_path):
    path = save(ugrid(), tmp_path / "a.nc")
    for place in ("node", "edge", "face"):
        check(open_fields(path, variables=[f"of_{place}"]), f"of_{place}")
    check(open_fields(path), "of_face")  # most variables
    found = SphereMaps(str(path), "event", scalars=["of_face"], nside="native", num_levels=1, cache=False)
    assert found.surface.grid.num_points == 200


def test_faces_of_which_only_the_corners_have_coordinates(tmp_path):
    """An octahedron's faces and one of four corners, counted from one."""
    lat, lon = np.array([0, 0, 0, 0, 90, -90.0]), np.array([0, 90, 180, 270, 0, 0.0])
    faces = np.array([[a, (a + 1) % 4, pole] for pole in (4, 5) for a in range(4)]) + 1
    table = np.concatenate([np.c_[faces, np.full(8, -999)], [[1, 2, 3, 4]]])[:8]
    topology = {"cf_role": "mesh_topology", "topology_dimension": 2, "node_coordinates": "x y"}
    topology |= {"face_node_connectivity": "corners"}
    z = np.repeat([1, -1], 4) * 3**-0.5
    data = xr.Dataset({
        "mesh": ((), 0, topology), "x": ("node", lon, LON), "y": ("node", lat, LAT), "t": ("face", z),
        "corners": (("face", "most"), table.astype(np.int32), {"start_index": 1, "_FillValue": np.int32(-999)}),
    })  # fmt: skip
    fields = open_fields(save(data, tmp_path / "a.nc"), variables=["t"])
    np.testing.assert_allclose(fields.values("t"), fields.grid.xyz[:, 2], atol=1e-12)
    wrong = data.assign(corners=(("face", "most"), table[:, :3] + 9, {"start_index": 1}))
    with pytest.raises(InputError, match="corners that are none of the 6 nodes; correct start_index"):
        open_fields(save(wrong, tmp_path / "b.nc"), variables=["t"])


def test_two_latitude_longitude_grids(tmp_path):
    grids = {"": np.arange(-80, 81, 20.0), "_2": np.arange(-85, 86, 10.0)}
    data = {}
    for end, lat in grids.items():
        lon = np.arange(0, 360, 20.0)
        dims = (f"lat{end}", f"lon{end}")
        t = t_at(*np.meshgrid(lat, lon, indexing="ij"))
        data[f"t{end}"] = xr.DataArray(t, {dims[0]: lat, dims[1]: lon}, dims)
    path = save(xr.Dataset(data), tmp_path / "a.nc")
    for end, lat in grids.items():
        fields = open_fields(path, variables=[f"t{end}"])
        assert fields.grid.shape[0] == len(lat)
        check(fields, f"t{end}")


@pytest.mark.parametrize(
    "names",
    [
        ("lat_rho", "lon_rho"), ("TLAT", "TLONG"), ("TLAT", "TLON"), ("nav_lat", "nav_lon"), ("XLAT", "XLONG"),
        ("geolat_t", "geolon_t"), ("geolat", "geolon"), ("gphit", "glamt"), ("YC", "XC"), ("lats", "lons"),
        ("grid_lat", "grid_lon"), ("plat", "plon"), ("XLAT_M", "XLONG_M"), ("Latitude", "Longitude"),
    ],
)  # fmt: skip
def test_usual_names(tmp_path, names):
    """Without attributes, and beside the points of another staggering, which come first."""
    la, lo = patch()
    dims = ("y", "x")
    data = xr.Dataset(
        {
            "ULAT": (dims, la + 0.3),
            "ULONG": (dims, lo + 0.3),
            "lat_u": (("y", "xu"), la[:, 1:]),
            "t": (dims, t_at(la, lo)),
        }
    )
    data = data.assign({names[0]: (dims, la), names[1]: (dims, lo)})
    check(open_fields(save(data, tmp_path / "a.nc")))


@pytest.mark.parametrize("names", [("grid_yt", "grid_xt"), ("yt_ocean", "xt_ocean"), ("latitude", "longitude")])
def test_usual_names_of_axes(tmp_path, names):
    lat, lon = np.arange(-80, 81, 20.0), np.arange(0, 360, 20.0)
    t = t_at(*np.meshgrid(lat, lon, indexing="ij"))
    data = xr.Dataset({"t": (names, t)}, {names[0]: lat, names[1]: lon})
    check(open_fields(save(data, tmp_path / "a.nc")))


def test_the_attribute_coordinates_tells_points_of_one_shape_apart(tmp_path):
    """POP and CICE: T and U points have the same dimensions."""
    la, lo = patch()
    dims = ("nlat", "nlon")
    data = xr.Dataset(
        {"t": (dims, t_at(la, lo)), "u": (dims, t_at(la + 0.5, lo + 0.5))},
        {"TLAT": (dims, la), "TLONG": (dims, lo), "ULAT": (dims, la + 0.5), "ULONG": (dims, lo + 0.5)},
    )
    data["t"].encoding["coordinates"], data["u"].encoding["coordinates"] = "TLONG TLAT", "ULONG ULAT"
    path = save(data, tmp_path / "a.nc")
    for name in ("t", "u"):
        check(open_fields(path, variables=[name]), name)


def test_true_places_before_nominal_axes(tmp_path):
    """MOM's tripolar grid has an axis of latitudes that are true in the south only."""
    la, lo = patch()
    data = xr.Dataset(
        {"t": (("yt_ocean", "xt_ocean"), t_at(la, lo)), "geolat_t": (("yt_ocean", "xt_ocean"), la),
         "geolon_t": (("yt_ocean", "xt_ocean"), lo)},
        {"yt_ocean": ("yt_ocean", la[:, 0], {"units": "degrees_N"}),
         "xt_ocean": ("xt_ocean", lo[0], {"units": "degrees_E"})},
    )  # fmt: skip
    check(open_fields(save(data, tmp_path / "a.nc")))


# Coordinates along time and along faces.


@pytest.mark.parametrize("count", [1, 3])
def test_coordinates_at_every_time(tmp_path, count):
    la, lo = patch()
    dims = ("Time", "south_north", "west_east")
    data = xr.Dataset(
        {"t": (dims, np.stack([t_at(la, lo)] * count)), "height": (dims[1:], t_at(la, lo))},
        {"XLAT": (dims, np.stack([la] * count), {"units": "degree_north"}),
         "XLONG": (dims, np.stack([lo + 360 * (k % 2) for k in range(count)]), {"units": "degree_east"})},
    )  # fmt: skip
    path = save(data, tmp_path / "a.nc")
    for name in ("t", "height"):
        fields = open_fields(path, variables=[name])
        assert fields.dims == dims[1:]
        check(fields, name)
    if count > 1:
        data["XLAT"][2] += 0.5
        with pytest.raises(InputError, match="XLAT changes along Time; moving grids are not supported"):
            open_fields(save(data, tmp_path / "b.nc"))


def cubed_sphere(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of equiangular cells on six faces, ``[6, n, n]``."""
    a, b = np.meshgrid(*[np.tan(np.radians(np.linspace(-45, 45, n, endpoint=False) + 45 / n))] * 2, indexing="ij")
    one = np.ones_like(a)
    faces = [(one, a, b), (-a, one, b), (-one, -a, b), (a, -one, b), (-b, a, one), (b, a, -one)]
    x, y, z = np.stack([np.stack(f) for f in faces], axis=1)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def healpix_faces(nside: int) -> tuple[np.ndarray, np.ndarray]:
    f, y, x = np.meshgrid(np.arange(12), np.arange(nside), np.arange(nside), indexing="ij")
    lon, lat = healpy.pix2ang(nside, healpy.xyf2pix(nside, x, y, f, nest=True), nest=True, lonlat=True)
    return lat, lon


@pytest.mark.parametrize("make", [lambda: cubed_sphere(6), lambda: healpix_faces(4)])
@pytest.mark.parametrize("order", [("face", "y", "x"), ("y", "x", "face")])
def test_faces(tmp_path, make: Callable[[], tuple[np.ndarray, np.ndarray]], order):
    lat, lon = make()
    dims = ("face", "y", "x")
    data = xr.Dataset({"t": (dims, t_at(lat, lon))}, {"lat": (dims, lat, LAT), "lon": (dims, lon, LON)}).transpose(
        *order
    )
    fields = open_fields(save(data, tmp_path / "a.nc"))
    assert fields.grid.num_points == lat.size and abs(fields.grid.areas.sum() - 4 * np.pi) < 1e-9
    check(fields)
    np.testing.assert_array_equal(fields.to_file_grid(fields.values("t")), data["t"].transpose(*fields.dims))


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
