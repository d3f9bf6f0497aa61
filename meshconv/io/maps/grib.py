"""Maps from GRIB, the format of weather services."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import xarray as xr

from meshconv.errors import InputError, first_line
from meshconv.extras import require
from meshconv.io.unpack import check_expansion

GRIB_SUFFIXES = (".grib", ".grb", ".grib1", ".grib2", ".grb1", ".grb2")
# Of most levels there is one, or the variable says which.
_LEVEL = "typeOfLevel"
# Bytes before a message: a heading of the WMO.
_HEADING = 128
_APART = "write each kind to a file of its own, as grib_copy does"
# Orders of points for which the library gives latitudes and longitudes of others.
_ORDERS = {"iScansNegatively": "from east to west", "jPointsAreConsecutive": "column by column",
           "alternativeRowScanning": "back in every other row"}  # fmt: skip
_KEPT = ("time", "step", "valid_time", "number")


def is_grib(path: Path) -> bool:
    """Whether a file is one, by its name."""
    return path.suffix.lower() in GRIB_SUFFIXES


def open_grib(path: Path) -> xr.Dataset:
    """Maps of a GRIB file, of both editions, lazy.

    Parameters
    ----------
    path : Path

    Returns
    -------
    xarray.Dataset
        A variable for each kind of field, by the names of ecCodes, with all its times, steps, levels and members.
        Fields of one name on several kinds of levels have that kind behind it, ``t_isobaricInhPa``.

    Raises
    ------
    InputError
        Cut short, damaged, no fields, fields on several grids, or points in another order than row by row from west to
        east.
    """
    require(f"{path}: GRIB", "grib")
    import cfgrib

    try:
        _check_messages(path)
        # No index beside the file, whose folder may not be ours; what cannot be read is no matter of a log.
        options = {"indexpath": "", "errors": "raise", "read_keys": ["alternativeRowScanning"]}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "In a future version of xarray", FutureWarning)  # cfgrib's own affair
            parts = cfgrib.open_datasets(str(path), backend_kwargs=options, chunks={}, squeeze=True)
        return _joined(parts, path)
    except InputError:
        raise
    # The library fails in any way on a damaged file.
    except Exception as error:
        raise InputError(f"{path}: cannot be read as GRIB ({first_line(error)}); copy or download it again") from error


def _check_messages(path: Path) -> None:
    """Raise ``ValueError`` where messages end early: the library leaves the rest out and goes on."""
    size, at, count = path.stat().st_size, 0, 0
    with path.open("rb") as stream:
        while at < size:
            stream.seek(at)
            between = stream.read(_HEADING)
            begin = between.find(b"GRIB")
            if begin < 0 and count and not between.strip(b"\0\r\n\3 "):
                break  # what fills up the last block
            if begin < 0:
                raise ValueError(f"no message begins at byte {at}")
            at += begin
            stream.seek(at)
            head = stream.read(16)
            length = int.from_bytes(head[4:7] if head[7:8] == b"\1" else head[8:16], "big")
            if length < 16 or at + length > size:
                raise ValueError(f"message {count + 1} has {length} bytes, {size - at} are left: it was cut short")
            stream.seek(at + length - 4)
            if stream.read(4) != b"7777":
                raise ValueError(f"message {count + 1} does not end where it says")
            at, count = at + length, count + 1
    if not count:
        raise ValueError("it has no messages")


def _joined(parts: list[xr.Dataset], path: Path) -> xr.Dataset:
    """Data sets of one grid as one, without the levels that a variable has but one of."""
    for part in parts:
        if "latitude" not in part.coords:
            raise ValueError(f"{', '.join(map(str, part.data_vars))} has no latitudes")
        for variable in part.data_vars.values():
            order = next((says for key, says in _ORDERS.items() if variable.attrs.get(f"GRIB_{key}") == 1), None)
            if order is not None and "latitude" in variable.dims:
                raise InputError(f"{path}: its points go {order}; write them row by row from west to east")
        check_expansion(16 * part["latitude"].size, path.stat().st_size)
        for angle in ("latitude", "longitude"):
            if not np.array_equal(part[angle], parts[0][angle]):
                raise InputError(f"{path}: its fields are on several grids; {_APART}")
    for axis in ("time", "step", "number"):
        kinds = {part[axis].item() if not part[axis].ndim else None: part for part in parts if axis in part.coords}
        if len(kinds) > 1:
            said = "; ".join(f"{', '.join(map(str, part.data_vars))} {_said(part[axis])}" for part in kinds.values())
            raise InputError(f"{path}: its fields are not all of one {axis} ({said}); {_APART}")
    names = Counter(str(name) for part in parts for name in part.data_vars)
    found: dict[str, xr.DataArray] = {}
    for part in parts:
        for key, variable in part.data_vars.items():
            name = str(key)
            kind = str(variable.attrs.get(f"GRIB_{_LEVEL}", "level"))
            places = [c for c in variable.coords if not variable[c].ndim and c not in _KEPT]
            called = name if names[name] == 1 else f"{name}_{kind}"
            level = [str(variable[c].item()) for c in places if c == kind]
            if called in found and level:
                called = f"{called}_{level[0].removesuffix('.0')}"
            if called in found:
                raise InputError(f"{path}: it has {called} twice; {_APART}")
            found[called] = variable.drop_vars(places)
    named = [values.rename(name) for name, values in found.items()]
    return xr.merge(named, compat="override", join="outer", combine_attrs="override")


def _said(coordinate: xr.DataArray) -> str:
    """Its value, or how many there are."""
    value = coordinate.values.ravel()[0]
    if coordinate.ndim:
        return f"{coordinate.size} of them"
    if coordinate.dtype.kind == "m":
        return f"{value / np.timedelta64(1, 'h'):g} h"
    return str(np.datetime_as_string(value, "m")) if coordinate.dtype.kind == "M" else str(value)
