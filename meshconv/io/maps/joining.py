"""Joining of data sets along the coordinates in which they differ."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from meshconv.errors import InputError
from meshconv.io.maps.alignment import aligned
from meshconv.io.maps.units import same_unit

log = logging.getLogger(__name__)

READ_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError)
_SPACE = ("lat", "lon", "latitude", "longitude", "x", "y", "cell", "cells", "ncells")


def join(files: Sequence[Path], parts: list[xr.Dataset]) -> xr.Dataset:
    """The content of open files, lazy, as :func:`~meshconv.io.maps.files.open_files` tells.

    Raises
    ------
    InputError
        Data sets that do not go together: other grids, calendars, units or overlapping steps.
    """
    _check_units(files, parts)
    _check_calendars(files, parts)
    parts = aligned(files, parts)
    dimension = _step_dimension(parts)
    _check_overlap(files, parts, dimension)
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
            _in_order(files, parts), join="exact", compat="no_conflicts", data_vars="minimal", coords="minimal",
            combine_attrs="override",
        )  # fmt: skip
        return joined
    except READ_ERRORS as error:
        reason = _other_places(files, parts) or one_line(error)
        raise InputError(
            f"{files[0]}: and {len(files) - 1} more files do not go together ({reason}); give files of one "
            "grid whose times do not overlap, or name labels of another grid apart in 'labels'"
        ) from error


def _in_order(files: Sequence[Path], parts: list[xr.Dataset]) -> list[xr.Dataset]:
    """Files of the same variables whose steps interleave as one data set, its steps in their order; others as given."""
    groups: dict[frozenset, list[int]] = {}
    for k, part in enumerate(parts):
        groups.setdefault(frozenset(map(str, part.data_vars)), []).append(k)
    ordered = []
    for members in groups.values():
        group = [parts[k] for k in members]
        dimension = _interleaved(group)
        if dimension is None:
            ordered += group
            continue
        whole: Any = xr.concat(
            group, dimension, data_vars="minimal", coords="minimal", compat="no_conflicts", join="exact",
            combine_attrs="override",
        )  # fmt: skip
        ordered.append(whole.sortby(dimension))
        log.info("%s: its %s interleaves with that of %d other files; the steps of all are put in order",
                 files[members[0]], dimension, len(members) - 1)  # fmt: skip
    return ordered


def _interleaved(parts: Sequence[xr.Dataset]) -> Hashable | None:
    """The one dimension in which data sets differ, if their ranges along it overlap; None otherwise."""
    differing = {d for part in parts for d, index in part.indexes.items() if not index.equals(parts[0].indexes.get(d))}
    if len(differing) != 1:
        return None
    (dimension,) = differing
    indexes = [part.indexes[dimension] for part in parts if len(part.indexes.get(dimension, ()))]
    if str(dimension).lower() in _SPACE or len(indexes) < len(parts):
        return None
    ends = sorted((index.min(), index.max()) for index in indexes)
    return dimension if any(start < end for (_, end), (start, _) in pairwise(ends)) else None


def _other_places(files: Sequence[Path], parts: Sequence[xr.Dataset]) -> str | None:
    """The first coordinate of numbers in which a file differs from an earlier one, None if none does."""
    first: dict[Any, tuple[pd.Index, Path]] = {}
    for file, part in zip(files, parts, strict=True):
        for name, index in part.indexes.items():
            if index.dtype.kind not in "iuf":
                continue
            known, where = first.setdefault(name, (index, file))
            if len(known) != len(index):
                return f"{name} has {len(index)} values in {file}, {len(known)} in {where}"
            if not index.equals(known):
                apart = abs(index.to_numpy(float) - known.to_numpy(float)).max()
                return f"{name} in {file} differs by up to {apart:.3g} from that in {where}"
    return None


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


def _check_overlap(files: Sequence[Path], parts: Sequence[xr.Dataset], steps: str | None) -> None:
    """Refuse steps that two files of a variable share, along any dimension but that of files of one step each."""
    for name, dim in {(n, d) for part in parts for n, v in part.data_vars.items() for d in v.dims}:
        if dim == steps or str(dim).lower() in _SPACE:
            continue
        owners: dict[Any, Path] = {}
        seen: dict[Any, list[xr.Dataset]] = {}
        for file, part in zip(files, parts, strict=True):
            index = part.indexes.get(dim) if name in part and dim in part[name].dims else None
            ends = None if index is None or not len(index) else (len(index), index[0], index[-1])
            if index is None or ends is None:
                continue
            alike = [other for other in seen.get(ends, []) if index.equals(other.indexes[dim])]
            seen.setdefault(ends, []).append(part)
            if alike and not any(_same_indexes(part[name], other[name]) for other in alike):
                continue  # of the same steps throughout: another part of the sphere
            twice = next((value for value in index if owners.get(value, file) is not file), None)
            if twice is not None:
                raise InputError(
                    f"{file}: {dim} {twice} is also in {owners[twice]}; files of one series share no step: cut one of "
                    "them, or leave it out"
                )
            owners.update(dict.fromkeys(index, file))


def _same_indexes(one: xr.DataArray, other: xr.DataArray) -> bool:
    """Whether two parts of a variable have the same coordinates along all dimensions."""
    return one.indexes.keys() == other.indexes.keys() and all(
        v.equals(other.indexes[k]) for k, v in one.indexes.items()
    )


def _step_dimension(parts: Sequence[xr.Dataset]) -> str | None:
    """The dimension along which every file has one step; None if there is none or it is not clear."""
    single = [{str(d) for d in part.indexes if part.sizes[d] == 1 and str(d).lower() not in _SPACE} for part in parts]
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


def one_line(error: BaseException) -> str:
    """The first line of another library's error, short enough to quote."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
