"""Selection of values of dimensions, by coordinate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from meshconv.errors import InputError

_Data = TypeVar("_Data", xr.DataArray, xr.Dataset)


def choose(data: _Data, key: str, value: Any, path: Path) -> _Data:
    """``data`` at a value of the coordinate ``key``, at a position where the dimension has no coordinate.

    Numbers are found up to rounding (level 0.995 in float32), times by as much of the date as tells them apart, spans
    of time as ``"6h"`` or as the number that the file has (``step`` of a forecast). The coordinate stays, as a scalar.

    Raises
    ------
    InputError
        No such value; the range of the coordinate is named.
    """
    index = data.indexes.get(key)
    try:
        return data.isel({key: value}) if index is None else data.sel({key: _label(data[key], index, value)})
    except (KeyError, IndexError, TypeError, ValueError) as error:
        ends = f"{data[key].values[0]} .. {data[key].values[-1]}" if data.sizes[key] else "nothing"
        raise InputError(f"{path}: {key} has no {value!r}; it runs from {ends}") from error


def choose_all(dataset: xr.Dataset, select: Mapping[str, Any], places: tuple[str, ...], path: Path) -> xr.Dataset:
    """A data set at values of some dimensions; variables without them stay as they are.

    Parameters
    ----------
    dataset, select
    places
        The dimensions of the grid, which are not selected from.
    path
        Of the file, for messages.

    Raises
    ------
    InputError
        No such dimension or value.
    """
    for key, value in select.items():
        single = key in dataset.coords and not dataset[key].ndim
        if key in places or (key not in dataset.sizes and not single):
            known = ", ".join(str(d) for d in dataset.sizes if d not in places) or "none"
            raise InputError(f"{path}: no dimension {key} to select from; there is {known}")
        if single:  # there is one value; it has to be this
            choose(dataset[key].expand_dims(key), key, value, path)
        else:
            dataset = choose(dataset, key, value, path)
    return dataset


def parse_selection(texts: list[str]) -> dict[str, Any]:
    """``["member=3", "step=6h"]`` as written on a command line; numbers are numbers.

    Examples
    --------
    >>> parse_selection(["member=3", "level=0.5", "step=6h"])
    {'member': 3, 'level': 0.5, 'step': '6h'}
    """
    selection = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise InputError(f"select {text!r}: write a dimension and a value, member=3")
        selection[key] = _number(value)
    return selection


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _label(coordinate: xr.DataArray, index: pd.Index, value: Any) -> Any:
    """``value`` in the type of the index."""
    if isinstance(value, list | tuple):
        return [_label(coordinate, index, v) for v in value]
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if isinstance(index, pd.TimedeltaIndex):
        unit = str(coordinate.encoding.get("units", coordinate.attrs.get("units", "hours")))
        return pd.to_timedelta(value, unit) if number else pd.Timedelta(value)
    if number and isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex):
        return str(value)  # years are numbers to YAML
    if number and index.dtype.kind == "f" and len(index):
        near = index[int(np.abs(index.to_numpy() - value).argmin())]
        return near if np.isclose(near, value, rtol=1e-6, atol=0) else value
    texts = [str(v) for v in index] if index.dtype.kind in "OUS" or isinstance(value, str) else []
    if texts and value not in index and not isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex):
        # "0005" is 5, and a number as text is that number.
        alike = [k for k, text in enumerate(texts) if text == str(value) or _number(text) == _number(str(value))]
        return index[alike[0]] if len(alike) == 1 else value
    return value
