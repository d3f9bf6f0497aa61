"""Missing values: declared fill values, valid ranges, and undeclared fill values."""

from __future__ import annotations

import functools
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# healpy, CMIP, netCDF, ROMS, CESM and MITgcm, GrADS, Ferret, the largest numbers of both precisions, and round ones.
_FILLS = np.array(
    [-1.6375e30, 1e20, 9.969209968386869e36, 1e37, 1e36, 1e35, 9.999e20, -9.99e33, -9e33, 1e34, 1e33, 1e30, 1e31, 1e32,
     1e38, 1.7e308, 1e300, float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)]
)  # fmt: skip
_FILLS = np.concatenate([_FILLS, -_FILLS])
_LEAST_FILL = 9.9e19
# What netCDF fills with, and what NaN becomes as a whole number.
_WHOLE_FILLS = {
    "int16": [-32767, -32768], "uint16": [65535], "int32": [-2147483647, -2147483648], "uint32": [4294967295],
    "int64": [-9223372036854775806, -9223372036854775808], "uint64": [18446744073709551614],
}  # fmt: skip
# Written for "nothing here" where a number can be meant too: only if all else is far away.
_SMALL_FILLS = np.array(
    [k * s for k in (999, 9999, 99999, 999999, 999.9, 9999.9, 99999.9, 9999.99, 888.88, 8888, 32767, 32768, 65535,
                    2147483647, 2147483648, 1e10, 1e15, 1e16) for s in (1, -1)], float
)
_FAR = 3.0
# Other spellings of the attributes that declare what is missing, in lower case.
_OTHER_NAMES = {"fillvalue", "fill_value", "_fillval", "fillval", "missingvalue", "missing_data", "missing", "nodata",
                "no_data", "nodata_value", "no_data_value", "nodatavalue"}  # fmt: skip
_RTOL = 2e-7  # float64 attributes of float32 values differ by rounding


def fill_values(values: NDArray) -> NDArray[np.bool_]:
    """Where numbers are those that programs write for "nothing here", whether a file declares them or not."""
    if values.dtype.kind != "f":
        return np.isin(values, np.array(_WHOLE_FILLS.get(values.dtype.name, []), dtype=values.dtype))
    found = np.abs(values) > _LEAST_FILL
    if found.any():  # seldom, and the comparisons take time
        found[found] = _close(values[found], _FILLS)
    return found


def small_fills(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where numbers are -9999 and its like, farther from all others than these span three times."""
    finite = np.isfinite(numbers)
    found = np.zeros(numbers.shape, dtype=bool)
    ends = np.array([numbers.min(where=finite, initial=np.inf), numbers.max(where=finite, initial=-np.inf)])
    if not _close(ends, _SMALL_FILLS).any():
        return found  # what is far from all others is the least or the largest; seldom, and comparisons take time
    found[finite] = _close(numbers[finite], _SMALL_FILLS)
    others = numbers[finite & ~found]
    if not found.any() or not len(others):
        return found
    low, high = others.min(), others.max()
    return found & (np.maximum(low - numbers, numbers - high) > _FAR * max(high - low, 1e-3 * max(abs(low), abs(high))))


def without_missing(array: xr.DataArray, variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Values as float64, NaN where they are missing; lazy as they were.

    Missing are ``_FillValue`` and ``missing_value`` (also as text, or in another precision than the values), what lies
    outside of ``valid_min``, ``valid_max`` or ``valid_range``, and :func:`fill_values` and, of floating-point numbers,
    :func:`small_fills` that are not declared; what is left out for these is logged once. ``flag_values`` are never
    missing.

    Parameters
    ----------
    array
        Numbers, a selection of ``variable``.
    variable
        With attributes and encoding.
    path
        Of the file, for messages.
    """
    flags = np.atleast_1d(variable.attrs.get("flag_values", []))
    stored = np.dtype(variable.encoding.get("dtype", array.dtype))
    packed = stored.kind in "iu" and ("scale_factor" in variable.encoding or "add_offset" in variable.encoding)
    scale, offset = (
        float(np.ravel(variable.encoding.get(k, default))[0]) for k, default in (("scale_factor", 1), ("add_offset", 0))
    )
    texts = [_numbers(variable.encoding.get(k, variable.attrs.get(k))) for k in ("_FillValue", "missing_value")]
    texts += [_numbers(value) for key, value in variable.attrs.items() if str(key).lower() in _OTHER_NAMES]
    declared = np.concatenate([np.atleast_1d(t) for t in texts]) if not packed else np.array([])
    # Of packed numbers the library masks what is declared; what netCDF filled is not.
    bare = packed and not {"_FillValue", "missing_value"} & set(variable.encoding)
    fills = scale * np.array(_WHOLE_FILLS.get(stored.name, []) if bare else [], dtype=np.float64) + offset
    low, high = _limits(variable, stored, (scale, offset) if packed else None)
    where = f"{path}: {variable.name}"

    def mask(values: NDArray) -> NDArray[np.float64]:
        numbers = values.astype(np.float64)
        known = np.isfinite(numbers) & ~_close(numbers, declared)
        fill = known & (fill_values(values) | _close(numbers, fills))
        if values.dtype.kind == "f" and not packed:
            fill |= small_fills(np.where(known & ~fill, numbers, np.nan))
        with np.errstate(invalid="ignore"):
            out = known & ~fill & ((numbers < low) | (numbers > high))
        if len(flags):
            flagged = np.isin(values, flags)
            known, fill, out = known | flagged, fill & ~flagged, out & ~flagged
        if fill.any():
            say_once(f"{where} holds {values[fill][0]:g}, which counts as missing; declare it as _FillValue")
        if out.any():
            say_once(
                f"{where} holds {values[out][0]:g}, out of its valid range {low:g}..{high:g}; it counts as missing"
            )
        return np.where(known & ~fill & ~out, numbers, np.nan)

    return xr.apply_ufunc(mask, array, dask="parallelized", output_dtypes=[np.float64])


def _close(values: NDArray, wanted: NDArray) -> NDArray[np.bool_]:
    found = np.zeros(values.shape, dtype=bool)
    with np.errstate(invalid="ignore", over="ignore"):
        for one in np.unique(wanted):
            found |= np.abs(values / one - 1) < _RTOL if one else values == 0
    return found


def _limits(variable: xr.DataArray, stored: np.dtype, packing: tuple[float, float] | None) -> tuple[float, float]:
    """Least and largest valid value, infinite where there is none.

    CF has them in the units of packed numbers, netCDF's guide in those of unpacked ones where their type is that.
    """
    both = variable.attrs.get("valid_range")
    if both is None:
        ends = [variable.attrs.get("valid_min"), variable.attrs.get("valid_max")]
    else:
        ends = list(np.ravel(_numbers(both) if isinstance(both, str) else both))
    limits = [_limit(end, variable, stored, packing) for end in ends]
    if len(limits) != 2:
        return -np.inf, np.inf
    low, high = reversed(limits) if packing is not None and packing[0] < 0 else limits
    # Half a step of packing is rounding, as is the last digit of an attribute in another precision.
    slack = [abs(packing[0]) / 2 if packing is not None else abs(end or 0.0) * _RTOL for end in (low, high)]
    low, high = -np.inf if low is None else low - slack[0], np.inf if high is None else high + slack[1]
    return (low, high) if low <= high else (-np.inf, np.inf)


def _limit(end: Any, variable: xr.DataArray, stored: np.dtype, packing: tuple[float, float] | None) -> float | None:
    value = _numbers(end)
    if len(value) != 1:
        return None
    number, whole = float(value[0]), np.asarray(end).dtype.kind in "iu"
    if whole and number < 0 and str(variable.encoding.get("_Unsigned", "")).lower() == "true":
        number += 2.0 ** (8 * stored.itemsize)
    return number * packing[0] + packing[1] if packing is not None and whole else number


def _numbers(value: Any) -> NDArray[np.float64]:
    """Numbers of an attribute, also of a text; none where it has none."""
    if isinstance(value, str):
        value = [re.sub(r"(?<=[\d.])[fFdDlL]$", "", text) for text in re.split(r"[\s,]+", value) if text]
    try:
        numbers = np.atleast_1d(np.asarray([] if value is None else value, dtype=np.float64)).ravel()
    except (TypeError, ValueError):
        return np.array([])
    return numbers[np.isfinite(numbers)]


@functools.lru_cache(maxsize=1024)
def say_once(message: str) -> None:
    """Log a warning unless it has been logged."""
    log.warning("%s", message)
