"""Conversion of coordinates to degrees."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.io.maps.missing import say_once, without_missing

_MPAS = {f"{kind}{place}" for kind in ("lat", "lon") for place in ("cell", "edge", "vertex")}  # radians by definition
_SOUTH_WEST = re.compile(r"deg(ree)?s?[\s_]*(south|west)|deg(ree)?s?[\s_]+[sw]|°\s*[sw]")
_NONE = {"", "1", "none", "unknown", "unitless"}
# Single precision puts a pole up to 8e-6 degrees beyond it.
_BEYOND_POLE_DEG = 1e-4
_MOST_LON_DEG = 900.0
# Numbers that no angle has in any unit, if they are all the same: -999, 9999, 1e20.
_LEAST_FILL = 999.0


def degrees(lat: xr.DataArray, lon: xr.DataArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of latitude and longitude in degrees; latitudes that rounding put beyond a pole lie on it.

    Without units they are degrees, but radians where MPAS's names (``latCell``, ``lonCell``) say so; where one of them
    has a unit, the other has the same.

    Raises
    ------
    InputError
        Other units, values that may be degrees or radians, or cover the globe in radians and are said to be degrees;
        fill values that are not declared, places off the sphere.
    """
    values = [np.asarray(v.values, dtype=np.float64) * _side(v) for v in (lat, lon)]
    if "colatitude" in f"{lat.attrs.get('standard_name', '')} {lat.attrs.get('long_name', '')}".lower():
        raise InputError(f"{lat.name} is a colatitude, from the north pole; give latitudes, 90 degrees less it")
    units = [_unit(v) for v in (lat, lon)]
    if not any(units):
        units = [_unsaid(lat, lon, *values)] * 2
    elif None in units:
        units = [
            unit or _as_the_other(v, x, o) for unit, v, x, o in zip(units, (lat, lon), values, units[::-1], strict=True)
        ]
    if units == ["deg", "deg"]:
        _check_extent(lat, lon, *values)
    both = [np.degrees(v) if u == "rad" else v for v, u in zip(values, units, strict=True)]
    for variable, value, most in zip((lat, lon), both, (90 + _BEYOND_POLE_DEG, _MOST_LON_DEG), strict=True):
        with np.errstate(invalid="ignore"):
            wrong = np.abs(value) > most
        if wrong.any():
            fill = bool((np.abs(value[wrong]) >= _LEAST_FILL).all())
            remedy = "if that is a fill value, give it the attribute _FillValue" if fill else "correct the coordinate"
            kind = "latitude" if variable is lat else "longitude"
            raise InputError(
                f"{kind} {value[wrong][0]:g} is out of {'-90..90' if variable is lat else '-900..900'} degrees, at "
                f"{int(wrong.sum())} of {value.size} points of {variable.name}; {remedy}"
            )
    return np.clip(both[0], -90, 90), both[1]


def without_fills(coordinate: xr.DataArray, path: Path) -> xr.DataArray:
    """A coordinate of points, NaN where it holds a fill value, declared or not; said once.

    Raises no error: numbers that are neither angles nor all the same stay, for :func:`degrees`.
    """
    values = np.asarray(without_missing(coordinate, coordinate, path).values)
    with np.errstate(invalid="ignore"):
        large = np.abs(values) >= _LEAST_FILL
    if large.any() and len(np.unique(values[large])) == 1:
        say_once(
            f"{path}: {coordinate.name} holds {values[large][0]:g}, which counts as missing; declare it as _FillValue"
        )
        values = np.where(large, np.nan, values)
    return coordinate.copy(data=values)


def _side(variable: xr.DataArray) -> int:
    """-1 where a coordinate counts towards south or west."""
    return -1 if _SOUTH_WEST.fullmatch(_units_text(variable)) else 1


def _units_text(variable: xr.DataArray) -> str:
    return str(variable.attrs.get("units", "")).strip().lower()


def _unit(variable: xr.DataArray) -> str | None:
    text = _units_text(variable)
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


def _check_extent(lat: xr.DataArray, lon: xr.DataArray, lat_values: NDArray, lon_values: NDArray) -> None:
    """Radians under the name of degrees: the globe would be a speck of three by six degrees at the equator."""
    la, lo = (v[np.isfinite(v)] for v in (lat_values, lon_values))
    if not len(la) or not len(lo):
        return
    # From pole to pole and all around, but for the cells at the ends.
    north_south = np.pi / 2 + 1e-6 >= np.abs(la).max() and np.ptp(la) > 0.9 * np.pi
    around = lo.min() >= -np.pi - 1e-6 and lo.max() <= 2 * np.pi + 1e-6 and np.ptp(lo) > 0.9 * 2 * np.pi
    # A band along the equator is no globe: of one coordinate alone the other has to be the globe's in degrees.
    poles = north_south and min(-la.min(), la.max()) > 0.955 * np.pi / 2
    wrong = [lat] if poles and np.ptp(lo) > 324 else [lon] if around and np.ptp(la) > 162 else []
    wrong = [lat, lon] if north_south and around else wrong
    if wrong:
        names = " and ".join(str(v.name) for v in wrong)
        raise InputError(
            f"{names} cover the globe in radians, from {la.min():.4g} to {la.max():.4g} and {lo.min():.4g} to "
            f"{lo.max():.4g}, but are said to be in degrees; correct the attribute units to 'radian'"
        )


def _as_the_other(variable: xr.DataArray, values: NDArray, unit: str | None) -> str:
    """Unit of a coordinate that lacks it where the other has one."""
    most = float(np.nanmax(np.abs(values), initial=0))
    if unit == "rad":
        return "deg" if most > 2 * np.pi + 1e-6 else "rad"
    if str(variable.name).lower() in _MPAS and most <= 2 * np.pi + 1e-6:
        raise InputError(
            f"{variable.name} up to {most:.3g} has no units and may be degrees or radians, the other is in degrees; "
            "give it the attribute units"
        )
    return "deg"
