"""True latitudes and longitudes of rotated and projected grids, from their CF ``grid_mapping``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from meshconv.errors import InputError

_STANDARD = (
    {"grid_latitude", "projection_y_coordinate", "projection_y_angular_coordinate"},
    {"grid_longitude", "projection_x_coordinate", "projection_x_angular_coordinate"},
)
# Standard names of coordinates that are no latitude and longitude, whatever they are called.
NOT_TRUE = _STANDARD[0] | _STANDARD[1]
_NAMES = (
    {"y", "rlat", "yc", "northing", "lat", "latitude", "grid_latitude"},
    {"x", "rlon", "xc", "easting", "lon", "longitude", "grid_longitude"},
)
_NEW = (("lat", "lon"), ("latitude", "longitude"), ("true_lat", "true_lon"))
_TRUE = {"latitude_longitude", "healpix"}
_METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "km": 1e3, "kilometer": 1e3}
_DEGREES = {"rad": 180 / np.pi, "radian": 180 / np.pi, "radians": 180 / np.pi}
_RADIANS = {"rad": 1.0, "radian": 1.0, "radians": 1.0, "microradian": 1e-6, "microradians": 1e-6}


def grid_mapping(dataset: xr.Dataset, name: str) -> str | None:
    """Name of the variable that describes the projection of a variable, None if its latitudes are true.

    A variable without one has that of others along the same dimensions; labels often lack the attribute.
    """
    said = _said(dataset, name)
    if said is None:
        last = set(dataset[name].dims[-2:])
        horizontal = [str(n) for n, v in dataset.data_vars.items() if len(last) == 2 and last <= set(v.dims)]
        said = next((m for m in (_said(dataset, n) for n in horizontal) if m is not None), None)
    if said is None or _kind(dataset, said) in _TRUE:
        return None
    return said


def is_cylindrical(dataset: xr.Dataset, mapping: str) -> bool:
    """Whether rows of the projected grid have one latitude each, and columns one longitude."""
    return "mercator" in _kind(dataset, mapping) and "transverse" not in _kind(dataset, mapping)


def project(dataset: xr.Dataset, name: str, path: Path) -> tuple[xr.Dataset, str, str] | None:
    """The data set with two-dimensional latitude and longitude of a variable's grid, and their names.

    None where neither coordinates nor attributes speak of a projection. Points that the projection does not reach (the
    sky beside the Earth that a satellite sees) are NaN.

    Raises
    ------
    InputError
        Coordinates of a projection without its parameters, or with unsupported ones.
    """
    y, x = (_axis(dataset, name, kind) for kind in (0, 1))
    if y is None or x is None:
        return None
    mapping = grid_mapping(dataset, name)
    marked = dataset[y].attrs.get("standard_name") in NOT_TRUE or y.startswith("rlat")
    if mapping is None and marked:  # tools that cut files lose the attribute; the one that is left describes the grid
        there = [str(n) for n in dataset.variables if _kind(dataset, str(n)) not in ("", *_TRUE)]
        mapping = there[0] if len(there) == 1 else None
    if mapping is None:
        if not marked:
            return None
        raise InputError(
            f"{path}: {y} and {x} are coordinates of a rotated or projected grid, and {name} has no grid_mapping that "
            "describes it; add that, or true latitude and longitude along both"
        )
    lat, lon = _true_places(dataset, mapping, y, x, path)
    taken = [str(n) for n in dataset.variables]
    names = next(p for p in _NEW if not {*p} & {*taken})
    dims = (*dataset[y].dims, *dataset[x].dims)
    new = {
        names[0]: (dims, lat, {"standard_name": "latitude", "units": "degrees_north"}),
        names[1]: (dims, lon, {"standard_name": "longitude", "units": "degrees_east"}),
    }
    return dataset.assign_coords(new), *names


def _true_places(dataset: xr.Dataset, mapping: str, y: str, x: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes and longitudes in degrees, ``[rows, columns]``, NaN where there are none."""
    import pyproj  # slow to import: only where it is used

    attributes = {k: _plain(v) for k, v in dataset[mapping].attrs.items()}
    attributes["grid_mapping_name"] = _kind(dataset, mapping)
    try:
        crs = pyproj.CRS.from_cf(attributes)
        base = crs.source_crs or crs.geodetic_crs
        transformer = pyproj.Transformer.from_crs(crs, base, always_xy=True)
        factor = crs.axis_info[0].unit_conversion_factor if crs.is_projected else 1.0
    except (pyproj.exceptions.ProjError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0][:120]
        raise InputError(
            f"{path}: grid_mapping {mapping} ({_kind(dataset, mapping) or 'without a name'}) is not supported "
            f"({reason}); correct it, or add true latitude and longitude along {y} and {x}"
        ) from error
    height = attributes.get("perspective_point_height", 1.0)
    rows, columns = (_in_crs_units(dataset[n], crs.is_projected, factor, height, path) for n in (y, x))
    x_all, y_all = np.meshgrid(columns, rows)
    lon, lat = transformer.transform(x_all, y_all, errcheck=False)
    there = np.isfinite(lat) & np.isfinite(lon) & (np.abs(lat) <= 90 + 1e-9)
    meridian = attributes.get("longitude_of_prime_meridian", 0.0)
    return np.where(there, lat, np.nan), np.where(there, lon + meridian, np.nan)


def _in_crs_units(coordinate: xr.DataArray, projected: bool, factor: float, height: float, path: Path) -> np.ndarray:
    values, unit = np.asarray(coordinate.values, dtype=np.float64), str(coordinate.attrs.get("units", "")).strip()
    if not projected:
        return values * _DEGREES.get(unit, 1.0)
    if unit in _METRES or unit in ("", "1"):
        return values * _METRES.get(unit, 1.0) / factor
    if unit in _RADIANS and height > 1:
        return values * _RADIANS[unit] * height  # a satellite's scan angles
    raise InputError(f"{path}: {coordinate.name} of a projected grid is in {unit!r}; convert it to metres")


def _axis(dataset: xr.Dataset, name: str, kind: int) -> str | None:
    """The coordinate along y (kind 0) or x (1) of a variable's grid."""
    lines = [str(d) for d in dataset[name].dims if d in dataset.variables and dataset[d].dtype.kind in "fiu"]
    tests = (
        lambda n: dataset[n].attrs.get("standard_name") in _STANDARD[kind],
        lambda n: n.lower() in _NAMES[kind],
        lambda n: dataset[n].attrs.get("axis") == "YX"[kind],
    )
    return next((n for test in tests for n in lines if test(n)), None)


def _said(dataset: xr.Dataset, name: str) -> str | None:
    variable = dataset[name]
    text = str(variable.attrs.get("grid_mapping") or variable.encoding.get("grid_mapping") or "")
    # CF's long form is "crs: x y other: lat lon"; the first is that of the grid.
    first = text.split()[0].rstrip(":") if text.split() else None
    return first if first in dataset.variables else None


def _kind(dataset: xr.Dataset, mapping: str) -> str:
    attributes = dataset[mapping].attrs
    kind = str(attributes.get("grid_mapping_name", "")).strip().lower()
    if not kind and str(attributes.get("crs_wkt", attributes.get("spatial_ref", ""))).upper().startswith("GEOG"):
        return "latitude_longitude"
    return kind


def _plain(value: Any) -> Any:
    """Attributes come as NumPy numbers, of one element as arrays, and of some tools as text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
