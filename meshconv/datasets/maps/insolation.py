"""Insolation at the top of the atmosphere, a forcing that is known at any time without a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.io.maps.fields import SphereFields

#: Power through an area that faces the sun at one astronomical unit, W m-2 (Kopp and Lean 2011).
SOLAR_CONSTANT = 1361.0
UNIT = "W m-2"
_JULIAN_DAY_2000 = 2451545.0
# Tropical, in days.
_YEAR = 365.2422


def insolation(time: Any, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Power of sunlight on a horizontal area above the atmosphere, W m-2, float64 ``[V]``.

    .. math:: S_0 E \max(0, \sin\varphi \sin\delta + \cos\varphi \cos\delta \cos H)

    with declination :math:`\delta`, squared ratio E of an astronomical unit and the distance to the sun, and hour
    angle H by the low-precision formulas of the Astronomical Almanac: within 0.01 degrees from 1950 to 2050.

    Parameters
    ----------
    time : pandas.Timestamp or cftime.datetime
        In UTC. In calendars of climate models a share of the year is the same share of a tropical year.
    xyz : [V, 3]
        Unit vectors of the points.

    Examples
    --------
    >>> equator = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    >>> insolation(pd.Timestamp("2020-03-20 12:00"), equator).round().tolist()
    [1371.0, 0.0]
    """
    n = _days_since_2000(time)
    mean_longitude, anomaly = np.radians(280.460 + 0.9856474 * n), np.radians(357.528 + 0.9856003 * n)
    longitude = mean_longitude + np.radians(1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 4e-7 * n)
    distance = 1.00014 - 0.01671 * np.cos(anomaly) - 0.00014 * np.cos(2 * anomaly)
    # Of the sun, in the plane of the equator from the equinox on; the mean sun is above Greenwich at noon.
    right_ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
    height = np.sin(obliquity) * np.sin(longitude)
    hours = time.hour + time.minute / 60 + time.second / 3600
    below = right_ascension - mean_longitude + np.pi * (1 - hours / 12)
    flat = np.sqrt(1 - height**2)
    sun = np.array([flat * np.cos(below), flat * np.sin(below), height])
    return SOLAR_CONSTANT / distance**2 * np.maximum(xyz @ sun, 0.0)


def insolation_at(fields: SphereFields, at: Mapping[str, int], xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """:func:`insolation` at a step of a file.

    Raises
    ------
    InputError
        The step has no date.
    """
    for dimension, position in at.items():
        index = fields.dataset.indexes.get(dimension)
        if isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex):
            return insolation(index[position], xyz)
    raise InputError(f"{fields.path}: insolation needs the date of each map; give the file a time with dates")


def _days_since_2000(time: Any) -> float:
    """Days since noon of the first of January 2000."""
    if isinstance(time, pd.Timestamp):
        return time.to_julian_date() - _JULIAN_DAY_2000
    days = {"noleap": 365, "365_day": 365, "360_day": 360, "all_leap": 366, "366_day": 366}.get(time.calendar)
    if days is None:
        return float(time.toordinal(fractional=True)) - _JULIAN_DAY_2000
    day = time.timetuple().tm_yday - 1 + (time.hour + time.minute / 60 + time.second / 3600) / 24
    return (time.year - 2000 + day / days) * _YEAR - 0.5
