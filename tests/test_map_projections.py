"""Rotated and projected grids: true places by formulas of ours."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from map_case import one_line, save
from place_case import LAT, LON, check, patch, t_at, unit_vectors

from meshconv import InputError
from meshconv.io.maps.fields import open_fields


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
