"""NetCDF files and Zarr stores as one lazy data set: opened, checked and joined."""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import xarray as xr

from meshconv.errors import InputError
from meshconv.io.maps.units import same_unit

log = logging.getLogger(__name__)

_SPACE = ("lat", "lon", "latitude", "longitude", "x", "y", "cell", "cells", "ncells")
_READ_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError)


def find_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files and Zarr directories that names and patterns stand for, in this order; none twice."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found: dict[Path, None] = {}
    for item in given:
        text = str(Path(item).expanduser())
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
    parts = [_open_one(file) for file in files]
    if len(parts) == 1:
        return parts[0]

    def close() -> None:
        for part in parts:
            part.close()

    joined = _join(files, parts)
    joined.set_close(close)
    return joined


def _join(files: Sequence[Path], parts: list[xr.Dataset]) -> xr.Dataset:
    _check_units(files, parts)
    _check_calendars(files, parts)
    dimension = _step_dimension(parts)
    try:
        if dimension is not None:
            parts = [_of_a_step(part, dimension) for part in parts]
            if all(set(part.data_vars) == set(parts[0].data_vars) for part in parts):
                order = sorted(range(len(parts)), key=lambda k: parts[k][dimension].values[0])
                return xr.concat(
                    [parts[k] for k in order], dimension, data_vars="all", coords="minimal", compat="override",
                    join="exact", combine_attrs="override",
                )  # fmt: skip
        joined: Any = xr.combine_by_coords(
            parts, join="exact", compat="no_conflicts", data_vars="minimal", coords="minimal", combine_attrs="override"
        )
        return joined
    except _READ_ERRORS as error:
        raise InputError(
            f"{files[0]}: and {len(files) - 1} more files do not go together ({_one_line(error)}); give files of one "
            "grid whose times do not overlap, or name labels of another grid apart in 'labels'"
        ) from error


def check_signature(path: Path) -> None:
    """Raise ``ValueError`` if the first bytes of a file are not those of NetCDF."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if start[:3] != b"CDF" and start != b"\x89HDF\r\n\x1a\n":
        raise ValueError("it begins neither as HDF5 nor as classic NetCDF" if start else "it is empty")


def _open_one(path: Path) -> xr.Dataset:
    try:
        _check_kind(path)
        engine: Any = "zarr" if path.is_dir() else "netcdf4"
        try:
            coder = xr.coders.CFDatetimeCoder(use_cftime=None)
            return xr.open_dataset(path, engine=engine, chunks={}, decode_times=coder)
        except ValueError as error:
            if "decode time" not in str(error):
                raise
            # Months and years are no fixed spans in most calendars; their numbers still tell steps apart.
            dataset = xr.open_dataset(path, engine=engine, chunks={}, decode_times=False)
            units = [str(v.attrs.get("units", "")) for v in dataset.variables.values()]
            unit = next((unit for unit in units if "since" in unit), "")
            log.warning("%s: times in %r cannot be read as dates; they stay numbers", path, unit)
            return dataset
    except _READ_ERRORS as error:
        raise InputError(
            f"{path}: not readable as NetCDF or Zarr ({_one_line(error)}); copy or download it again"
        ) from error


def _check_kind(path: Path) -> None:
    """By what is there: the libraries say of anything else only that they have failed."""
    if path.is_dir():
        if not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata")):
            inside = "; for the files in it, write '.../*.nc'" if any(path.glob("*.nc")) else ""
            raise ValueError(f"a directory, but not a Zarr store{inside}")
        return
    check_signature(path)
    _check_length(path)


def _check_length(path: Path) -> None:
    """The library reads zeros where a classic file was cut short; those of HDF5 it refuses itself."""
    with path.open("rb") as stream:
        if stream.read(3) != b"CDF":
            return
    with netCDF4.Dataset(path) as content:
        needed = sum(v.size * v.dtype.itemsize for v in content.variables.values())
    if path.stat().st_size < needed:
        raise ValueError(f"{path.stat().st_size} bytes, its variables take {needed}: it was cut short")


def _one_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _check_units(files: Sequence[Path], parts: Sequence[xr.Dataset]) -> None:
    """Joining would keep the first file's units for all values."""
    seen: dict[Any, tuple[str, Path]] = {}
    for file, part in zip(files, parts, strict=True):
        for name, variable in part.data_vars.items():
            unit = variable.attrs.get("units")
            if unit is None:
                continue
            first, where = seen.setdefault(name, (str(unit), file))
            if not same_unit(first, str(unit)):
                raise InputError(
                    f"{file}: {name} is in {unit!r}, in {where} in {first!r}; convert the values of one and correct "
                    "its attribute 'units'"
                )


def _check_calendars(files: Sequence[Path], parts: Sequence[xr.Dataset]) -> None:
    seen: dict[Any, tuple[str, Path]] = {}
    for file, part in zip(files, parts, strict=True):
        for name in part.indexes:
            calendar = part[name].encoding.get("calendar")
            if calendar is None:
                continue
            kind = {"gregorian": "standard", "proleptic_gregorian": "standard"}.get(calendar, calendar)
            first, where = seen.setdefault(name, (kind, file))
            if first != kind:
                raise InputError(
                    f"{file}: {name} has the calendar {kind!r}, in {where} {first!r}; convert one of them with "
                    "xarray's Dataset.convert_calendar"
                )


def _step_dimension(parts: Sequence[xr.Dataset]) -> str | None:
    """The dimension along which every file has one step; None if there is none or it is not clear."""
    single = [
        {str(d) for d in part.indexes if part.sizes[d] == 1 and str(d).lower() not in _SPACE} for part in parts
    ]
    common = sorted(set.intersection(*single))
    differing = [d for d in common if len({str(part[d].values[0]) for part in parts}) > 1]
    chosen = differing or [d for d in common if d.lower() == "time"] or common
    return chosen[0] if len(chosen) == 1 else None


def _of_a_step(part: xr.Dataset, dimension: str) -> xr.Dataset:
    """Maps without the dimension get it: what stands in a file of one step belongs to it."""
    without = {
        name: variable.expand_dims(dimension)
        for name, variable in part.data_vars.items()
        if dimension not in variable.dims and variable.ndim
    }
    return part.assign(without)
