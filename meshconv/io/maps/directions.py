"""Directions of vector components: towards east and north, or along the axes of the file's grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError

#: What components are relative to.
RelativeTo = Literal["earth", "grid"]

# Standard names and descriptions. Those of the grid come first: grid_eastward_wind is along the grid.
_GRID = re.compile(
    r"grid[\s_-]*(eastward|northward|relative|oriented)|relative[\s_-]+to[\s_-]+(the[\s_-]+)?(model[\s_-]+)?grid"
    r"|(^|[\s_-])[xyij]([\s_-]*(direction|component|axis|velocity|wind|stress|current))|(^|_)[xy]_"
)
_EARTH = re.compile(
    r"eastward|northward|zonal|meridional|(earth|geographic)[\s_-]*(relative|rotated|coordinates?|grid)"
    r"|(relative|rotated)[\s_-]*to[\s_-]*(the[\s_-]*)?earth|true (east|north)"
)
_FIRST = re.compile(r"eastward|zonal|(^|_)x_")
_SECOND = re.compile(r"northward|meridional|(^|_)y_")
_TEXTS = ("standard_name", "long_name", "description", "GRIB_name", "comment")
# Of WRF, whose own winds say only "U at 10 M".
_WRF = re.compile(r"U10|V10|U|V|U_PL|V_PL|UU|VV")
# Names of dimensions, in lower case; without one of them the last one is x.
_Y = re.compile(r"y\w*|j|rlat\w*|lat\w*|grid_lat\w*|south_north|n?nj|nlat|eta\w*|northing|rows?|projection_y\w*")
_X = re.compile(r"x\w*|i|rlon\w*|lon\w*|grid_lon\w*|west_east|n?ni|nlon|easting|col\w*|projection_x\w*")
_SMALL = 1e-3  # radians: such a turn is no error
_SKEW = np.radians(5.0)


def relative_to(variable: xr.DataArray, dataset: xr.Dataset) -> RelativeTo | None:
    """What a component is relative to, by the attributes of variable and file; None if they are silent.

    GRIB's flag ``uvRelativeToGrid`` counts first, then standard name and descriptions; WRF's own variables are along
    its grid.
    """
    for attributes in (variable.attrs, dataset.attrs):
        flag = next((v for k, v in attributes.items() if str(k).lower().endswith("uvrelativetogrid")), None)
        if flag is not None:
            return "earth" if str(flag).strip().lower() in ("0", "0.0", "false", "no", "none", "") else "grid"
    for key in _TEXTS:
        text = str(variable.attrs.get(key, "")).lower()
        if _GRID.search(text):
            return "grid"
        if _EARTH.search(text):
            return "earth"
    wrf = "MAP_PROJ" in dataset.attrs or "WRF" in str(dataset.attrs.get("TITLE", ""))
    return "grid" if wrf and _WRF.fullmatch(str(variable.name).upper()) else None


def check_order(names: Sequence[str], components: Sequence[xr.DataArray], path: Path) -> None:
    """Raise an :class:`InputError` where a pair is written north before east."""
    said = [str(component.attrs.get("standard_name", "")).lower() for component in components]
    if _SECOND.search(said[0]) and _FIRST.search(said[1]):
        raise InputError(
            f"{path}: [{', '.join(names)}] is {said[0]} before {said[1]}; write the eastward component first"
        )


def order_of_axes(dataset: xr.Dataset, dims: Sequence[str]) -> tuple[int, int, int]:
    """Places of y and x among the last two of ``dims``, counted from the end, and whether x increases: 1 or -1."""
    last, other = (dims[k] for k in (-1, -2))
    swapped = all(_is_axis(dataset, d, kind) for d, kind in ((last, "Y"), (other, "X")))
    y, x = (-1, -2) if swapped else (-2, -1)
    index = dataset.indexes.get(dims[x])
    falls = index is not None and index.dtype.kind in "iuf" and len(index) > 1 and index.is_monotonic_decreasing
    return y, x, -1 if falls else 1


def _is_axis(dataset: xr.Dataset, dim: str, axis: str) -> bool:
    said = dataset[dim].attrs.get("axis") if dim in dataset.variables else None
    return said == axis if said in ("X", "Y") else bool((_Y if axis == "Y" else _X).fullmatch(dim.lower()))


def grid_axes(xyz: NDArray[np.float64], sign: int, frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions of a grid's axes at its points: x along the last dimension, y at right angles, anticlockwise from x.

    The direction of x is that of the circles through neighbours. Whether rows are stored from the south or from the
    north does not matter.

    Parameters
    ----------
    xyz : [..., rows, columns, 3]
        Unit vectors, NaN where there are none.
    sign
        1 or -1: whether x increases along its dimension.
    frames : [..., rows, columns, 3, 3]
        South, east and outward.

    Returns
    -------
    [..., rows, columns, 2, 2]
        East and north component of x, then of y; NaN where a point has no neighbour.

    Raises
    ------
    ValueError
        The axes are not at right angles, or there is one row or column alone.
    """
    if min(xyz.shape[-3:-1]) < 2:
        raise ValueError("it has one row or column alone")
    along_y, along_x = _slope(xyz, -3), _slope(xyz, -2) * sign
    south, east = frames[..., 0, :], frames[..., 1, :]
    plane = [np.stack([(d * east).sum(-1), -(d * south).sum(-1)], -1) for d in (along_x, along_y)]
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (p / np.linalg.norm(p, axis=-1, keepdims=True) for p in plane)
    across = np.stack([-x[..., 1], x[..., 0]], axis=-1)
    side = (across * y).sum(-1)
    known = np.isfinite(side)
    if not known.any():
        raise ValueError("no point has neighbours along both axes")
    if np.median(np.abs(side[known])) < np.cos(_SKEW):
        raise ValueError("its axes are not at right angles")
    return np.stack([x, across], axis=-2)


def _slope(xyz: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Directions of growing place along an axis: tangents of the circles through three neighbours.

    They are exact where rows are circles, as in all rotated grids, at any spacing. Of the neighbours on both sides,
    else of two on one side, else of one.
    """
    moved = np.moveaxis(xyz, axis, 0)
    blank = np.full_like(moved[:1], np.nan)
    before, after = np.concatenate([blank, moved[:-1]]), np.concatenate([moved[1:], blank])
    after2, before2 = np.concatenate([after[1:], blank]), np.concatenate([blank, before[:-1]])
    slope = np.full_like(moved, np.nan)
    pairs: list[tuple[NDArray | None, NDArray | None]] = [(after, before), (after, after2), (before2, before)]
    for ahead, behind in [*pairs, (after, None), (None, before)]:
        with np.errstate(invalid="ignore", divide="ignore"):
            found = _inverted(ahead, moved) - _inverted(behind, moved)
        slope = np.where(np.isfinite(slope).all(-1, keepdims=True), slope, found)
    return np.moveaxis(slope, 0, axis)


def _inverted(points: NDArray[np.float64] | None, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inversion of points in the unit spheres around others, which makes lines of the circles through these."""
    if points is None:
        return np.zeros_like(at)
    off = points - at
    return off / (off**2).sum(-1, keepdims=True)


def is_turned(axes: NDArray[np.float64]) -> bool:
    """Whether axes of :func:`grid_axes` run anywhere else than along parallels and meridians."""
    return bool(np.nanmax(np.abs(np.abs(axes) - np.eye(2)), initial=0.0) > _SMALL)
