"""Grids of a file: several of them, coordinates by their usual names and attributes, faces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from map_case import save
from place_case import LAT, LON, check, healpix_faces, patch, t_at

from meshconv import InputError
from meshconv.datasets.maps.module import SphereMaps
from meshconv.io.maps.fields import open_fields


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


def test_coordinates_in_a_file_of_the_grid(tmp_path):
    whole = ugrid()
    places = [name for name in whole.variables if str(name).endswith(("_x", "_y"))]
    grid, data = save(whole[places], tmp_path / "grid.nc"), save(whole.drop_vars(places), tmp_path / "data.nc")
    with pytest.raises(InputError, match=r"in another file, give both: \[DATA\.nc, GRID\.nc\]"):
        open_fields(data, variables=["of_node"])
    for place in ("node", "edge", "face"):
        check(open_fields([data, grid], variables=[f"of_{place}"]), f"of_{place}")
    files = [str(data), str(grid)]
    found = SphereMaps(files, "event", scalars=["of_face"], nside="native", num_levels=1, cache=False)
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
        ("CLAT", "CLONG"), ("gridlat_0", "gridlon_0"), ("g0_lat_1", "g0_lon_2"),
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
