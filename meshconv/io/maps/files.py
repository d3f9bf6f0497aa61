"""NetCDF files and Zarr stores as one lazy data set: opened, checked and joined."""

from __future__ import annotations

import glob
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import xarray as xr

from meshconv.errors import InputError
from meshconv.io.maps.declared import check_declared
from meshconv.io.maps.fits import is_fits, open_fits
from meshconv.io.maps.grib import is_grib, open_grib
from meshconv.io.maps.joining import READ_ERRORS, join, one_line
from meshconv.io.maps.missing import fill_values
from meshconv.io.maps.signatures import check_signature
from meshconv.progress import track
from meshconv.shipped import find_data

log = logging.getLogger(__name__)


def find_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files and Zarr directories that names and patterns stand for, in this order; none twice.

    A name at which there is nothing may be that of data that ship.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found: dict[Path, None] = {}
    for item in given:
        text = str(find_data(item))
        matches = sorted(glob.glob(text)) if glob.has_magic(text) and not Path(text).exists() else [text]
        if not matches or not Path(matches[-1]).exists():
            raise InputError(f"{item}: no such file; give NetCDF files or a Zarr store")
        found.update(dict.fromkeys(map(Path, matches)))
    if not found:
        raise InputError("no files are given; give NetCDF files or a Zarr store")
    return list(found)


def open_files(files: Sequence[Path]) -> xr.Dataset:
    """The content of all files, lazy, joined along the coordinates in which they differ.

    Files of one step each are put in the order of their step; two of the same step stay two (the labels of two
    people, say), and a variable without that dimension belongs to its file's step.

    Raises
    ------
    InputError
        Unreadable files, or such as do not go together: other grids, calendars, units or overlapping steps.
    """
    parts = [_open_one(file) for file in track(files, "opening", "file")]
    if len(parts) == 1:
        return parts[0]

    def close() -> None:
        for part in parts:
            part.close()

    joined = join(files, parts)
    joined.set_close(close)
    return joined


def _open_one(path: Path) -> xr.Dataset:
    if path.is_file() and (is_fits(path) or is_grib(path)):
        return open_fits(path) if is_fits(path) else open_grib(path)
    engine: Any = "zarr" if path.is_dir() else "netcdf4"
    try:
        _check_kind(path)
        with warnings.catch_warnings():
            # Several fill values of a variable are all missing: nothing to tell.
            warnings.filterwarnings("ignore", "variable .* has multiple fill values", xr.SerializationWarning)
            dataset = _decoded(path, engine)
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(
            f"{path}: not readable as NetCDF or Zarr ({one_line(error)}); copy or download it again"
        ) from error
    try:
        _check_times(dataset, path, engine)
    except InputError:
        dataset.close()
        raise
    return dataset


def _decoded(path: Path, engine: Any) -> xr.Dataset:
    try:
        coder = xr.coders.CFDatetimeCoder(use_cftime=None)
        return xr.open_dataset(path, engine=engine, chunks={}, decode_times=coder)
    except (ValueError, OverflowError) as error:  # the second of fill values, which the check of times names
        if "decode time" not in str(error) and "time values outside" not in str(error):
            raise
        # Months and years are no fixed spans in most calendars; their numbers still tell steps apart.
        dataset = xr.open_dataset(path, engine=engine, chunks={}, decode_times=False)
        units = [str(v.attrs.get("units", "")) for v in dataset.variables.values()]
        unit = next((unit for unit in units if "since" in unit), "")
        log.warning("%s: times in %r cannot be read as dates; they stay numbers", path, unit)
        return dataset


def _check_times(dataset: xr.Dataset, path: Path, engine: Any) -> None:
    """Steps of no time cannot be put in order, split or selected."""
    for name, index in dataset.indexes.items():
        dated = index.dtype.kind in "mMO" or "since" in str(dataset[name].attrs.get("units", ""))
        if isinstance(index, xr.CFTimeIndex):  # which has the first date for none
            with xr.open_dataset(path, engine=engine, decode_times=False) as stored:
                index = pd.Index(stored[name].to_numpy())
        wrong = np.asarray(pd.isna(index)) | (index.dtype.kind in "iuf" and fill_values(index.to_numpy()))
        if dated and wrong.any():
            k = int(wrong.argmax())
            raise InputError(
                f"{path}: {name} is missing at {int(wrong.sum())} of {len(index)} steps, first at step {k} (counted "
                "from 0); complete the coordinate, or leave these steps out"
            )
        again = index.duplicated()
        if dated and again.any():
            log.warning(
                "%s: %d of %d steps of %s are there twice, the first is %s; each counts, drop them "
                "(Dataset.drop_duplicates) unless they differ",
                path, int(again.sum()), len(index), name, index[again][0],
            )  # fmt: skip


def _check_kind(path: Path) -> None:
    """By what is there: the libraries say of anything else only that they have failed."""
    if path.is_dir():
        if not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata")):
            inside = "; for the files in it, write '.../*.nc'" if any(path.glob("*.nc")) else ""
            raise ValueError(f"a directory, but not a Zarr store{inside}")
        check_declared(path)
        return
    check_signature(path)
    _check_length(path)
    check_declared(path)


def _check_length(path: Path) -> None:
    """The library reads zeros where a classic file was cut short; those of HDF5 it refuses itself."""
    with path.open("rb") as stream:
        if stream.read(3) != b"CDF":
            return
    with netCDF4.Dataset(path) as content:
        needed = sum(v.size * v.dtype.itemsize for v in content.variables.values())
    if path.stat().st_size < needed:
        raise ValueError(f"{path.stat().st_size} bytes, its variables take {needed}: it was cut short")
