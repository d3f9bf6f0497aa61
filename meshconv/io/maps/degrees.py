"""Coordinates in degrees, whatever unit a file has them in."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError

_MPAS = {f"{kind}{place}" for kind in ("lat", "lon") for place in ("cell", "edge", "vertex")}  # radians by definition
_NONE = {"", "1", "none", "unknown", "unitless"}
# Single precision puts a pole up to 8e-6 degrees beyond it.
_BEYOND_POLE_DEG = 1e-4
_MOST_LON_DEG = 1080.0


def degrees(lat: xr.DataArray, lon: xr.DataArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of latitude and longitude in degrees; latitudes that rounding put beyond a pole lie on it.

    Without units they are degrees, but radians where MPAS's names (``latCell``, ``lonCell``) say so.

    Raises
    ------
    InputError
        Other units, values that may be degrees or radians, fill values that are not declared, places off the sphere.
    """
    values = [np.asarray(v.values, dtype=np.float64) for v in (lat, lon)]
    units = [_unit(v) for v in (lat, lon)]
    if not any(units):
        units = [_unsaid(lat, lon, *values)] * 2
    both = [np.degrees(v) if u == "rad" else v for v, u in zip(values, units, strict=True)]
    for variable, value, most in zip((lat, lon), both, (90 + _BEYOND_POLE_DEG, _MOST_LON_DEG), strict=True):
        with np.errstate(invalid="ignore"):
            wrong = np.abs(value) > most
        if wrong.any():
            fill = bool((np.abs(value[wrong]) > 999).all())
            remedy = "if that is a fill value, give it the attribute _FillValue" if fill else "correct the coordinate"
            kind = "latitude" if variable is lat else "longitude"
            raise InputError(
                f"{kind} {value[wrong][0]:g} is out of {'-90..90' if variable is lat else '-1080..1080'} degrees, at "
                f"{int(wrong.sum())} of {value.size} points of {variable.name}; {remedy}"
            )
    return np.clip(both[0], -90, 90), both[1]


def _unit(variable: xr.DataArray) -> str | None:
    text = str(variable.attrs.get("units", "")).strip().lower()
    if text.startswith("rad"):
        return "rad"
    if text.startswith(("deg", "°")):
        return "deg"
    if text in _NONE:
        return None
    raise InputError(f"{variable.name} is in {text!r}; give latitudes and longitudes in degrees or radians")


def _unsaid(lat: xr.DataArray, lon: xr.DataArray, lat_values: NDArray, lon_values: NDArray) -> str:
    most = np.nanmax(np.abs(lat_values), initial=0), np.nanmax(np.abs(lon_values), initial=0)
    if most[0] > np.pi / 2 + 1e-6 or most[1] > 2 * np.pi + 1e-6:
        return "deg"
    if str(lat.name).lower() in _MPAS and str(lon.name).lower() in _MPAS:
        return "rad"
    raise InputError(
        f"{lat.name} up to {most[0]:.3g} and {lon.name} up to {most[1]:.3g} have no units and may be degrees or "
        "radians; give them the attribute units, 'degrees_north' and 'degrees_east' or 'radian'"
    )
