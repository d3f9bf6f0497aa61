"""Alignment of files whose coordinates differ by rounding, or of which one has no time."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

log = logging.getLogger(__name__)

# Of a coordinate's span: float32 has 360 degrees up to 3e-5.
_ROUNDING = 1e-6


def aligned(files: Sequence[Path], parts: list[xr.Dataset]) -> list[xr.Dataset]:
    """Data sets ready to be joined: the same coordinates where they differ by rounding, maps without a time of theirs.

    A file whose variables are in no other file and whose times are in none either, while the others have more of them,
    holds what does not change: of one time, or the same at all. What is taken as the same is said once.
    """
    return _without_own_times(files, _with_one_grid(files, parts))


def _with_one_grid(files: Sequence[Path], parts: list[xr.Dataset]) -> list[xr.Dataset]:
    """Coordinates of numbers that are those of the first file up to rounding are replaced by them."""
    first: dict[Hashable, xr.DataArray] = {}
    done, largest, where = [], 0.0, files[0]
    for file, part in zip(files, parts, strict=True):
        same = {}
        for name, own in part.coords.items():
            if own.dtype.kind != "f" or not own.ndim:
                continue
            known = first.setdefault(name, own)
            if known is own or known.dims != own.dims or known.shape != own.shape:
                continue
            a, b = (np.asarray(c.values, np.float64) for c in (known, own))
            apart = float(np.nanmax(np.abs(a - b), initial=0))
            if 0 < apart <= _ROUNDING * float(np.ptp(a[np.isfinite(a)])) and (np.isnan(a) == np.isnan(b)).all():
                same[name] = known.variable
                largest, where = max(largest, apart), file
        done.append(part.assign_coords(same) if same else part)
    if largest:
        log.info("%s: coordinates differ from those of %s by %.1e at most; they are taken as the same",
                 where, files[0], largest)  # fmt: skip
    return done


def _without_own_times(files: Sequence[Path], parts: list[xr.Dataset]) -> list[xr.Dataset]:
    dimension = _time(parts)
    if dimension is None:
        return parts
    done, static = [], []
    for file, part in zip(files, parts, strict=True):
        others = [other for other in parts if other is not part and dimension in other.indexes]
        own = {n for n, v in part.data_vars.items() if dimension in v.dims}
        alone = own and not any(own & set(other.data_vars) for other in others)
        index = part.indexes.get(dimension)
        longer = index is not None and any(len(other.indexes[dimension]) > 1 for other in others)
        elsewhere = index is not None and longer and not any(index.equals(other.indexes[dimension]) for other in others)
        if alone and elsewhere and all(_constant(part[name], dimension) for name in own):
            part = part.isel({dimension: 0}, drop=True)
            static.append(f"{file.name} ({', '.join(map(str, sorted(map(str, own))))})")
        done.append(part)
    if static and len(static) < len(parts):
        log.info("%s: the same at every %s, whatever its own", "; ".join(static), dimension)
        return done
    return parts


def _time(parts: Sequence[xr.Dataset]) -> str | None:
    """The dimension that is time in several of the files."""
    names = [str(d) for part in parts for d, index in part.indexes.items() if index.dtype.kind == "M" or d == "time"]
    often = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return often[0] if len(often) == 1 else None


def _constant(variable: xr.DataArray, dimension: str) -> bool:
    """Whether values are the same at all steps; those of one step are."""
    if variable.sizes[dimension] == 1:
        return True
    first = variable.isel({dimension: 0}).values
    rest = (variable.isel({dimension: k}).values for k in range(1, variable.sizes[dimension]))
    return all(np.array_equal(first, other, equal_nan=first.dtype.kind == "f") for other in rest)
