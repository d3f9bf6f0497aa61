"""Steps of maps along time: their dimension, and their split into training, validation and test set."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from meshconv.errors import InputError
from meshconv.io.maps.fields import SphereFields

log = logging.getLogger(__name__)

_DATE = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")


def step_dimension(dataset: xr.Dataset, name: str | None) -> str | None:
    """``name`` if the data have it, else the dimension that is time by another name (``valid_time``, ``Time``).

    None if ``name`` is None or no dimension is time.
    """
    if name is None or name in dataset.sizes:
        return name
    alike = [str(d) for d in dataset.sizes if str(d).lower() == name.lower()]
    if alike or name != "time":
        return alike[0] if alike else None
    times = [str(d) for d, index in dataset.indexes.items() if d in dataset.sizes and _is_time(dataset[d], index)]
    return times[0] if len(times) == 1 else None


def split_steps(
    fields: SphereFields, dimension: str, splits: Mapping[str, Sequence[Any]] | Literal["test"] | None
) -> dict[str, list[int]]:
    """Positions of the steps of each split along ``dimension``.

    Parameters
    ----------
    splits
        First and last value, both included: parts of dates as in ``["2010", "2016-06"]``, numbers where the coordinate
        has numbers, positions where there is none. None: the last fifth is for testing, the tenth before it for
        validation; steps of the same time stay together. ``"test"``: all are for testing.

    Raises
    ------
    InputError
        Too few steps, values that do not exist, steps in two splits.
    """
    count = fields.dataset.sizes[dimension]
    index = _index(fields, dimension)
    order = np.arange(count) if index is None else np.asarray(index.argsort())
    if splits == "test":
        return {"train": [], "val": [], "test": order.tolist()}
    if splits is None:
        # Steps of one time hold the same weather: labels of two people must not be on both sides.
        first = np.arange(count) if index is None else np.unique(index[order], return_inverse=True)[1]
        number = int(first[-1]) + 1
        if number < 3:
            raise InputError(
                f"{fields.path}: {number} steps of {dimension} are too few to split; give at least 3, or one to split "
                "it into blocks of the sphere"
            )
        test, val = max(number // 5, 1), max(number // 10, 1)
        cuts = np.searchsorted(first, [number - test - val, number - test])
        parts = np.split(order, cuts)
        return {name: sorted(part.tolist()) for name, part in zip(("train", "val", "test"), parts, strict=True)}
    steps: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for name, ends in splits.items():
        if name not in steps or isinstance(ends, str) or len(ends) != 2:
            raise InputError(f"splits: {name}: {ends}; write train, val or test: [first, last]")
        steps[name] = _between(fields, dimension, index, order, name, list(ends))
    if not steps["train"]:
        raise InputError(
            f"splits: nothing of {fields.path} is for training; it has {count} steps{_range(index, dimension)}; "
            "give train values among them"
        )
    twice = set(steps["train"]) & set(steps["val"] + steps["test"])
    if twice:
        raise InputError(
            f"splits: {len(twice)} steps are for training and for something else as well; move one of the ends"
        )
    return steps


def common_steps(
    fields: SphereFields, dimension: str, labels: SphereFields, label_dimension: str | None
) -> tuple[list[int], list[int]] | None:
    """Positions of the steps that inputs and labels both have; None where they have the same, or labels have none.

    Times match up to half a step of the inputs: a day may be stamped at noon or midnight.

    Raises
    ------
    InputError
        No step in common, different numbers of steps without coordinate, or a time that occurs twice.
    """
    if labels is fields or label_dimension is None:
        return None
    count, other = fields.dataset.sizes[dimension], labels.dataset.sizes[label_dimension]
    one, two = _index(fields, dimension), _index(labels, label_dimension)
    if one is None or two is None:
        if other != count:
            raise InputError(
                f"{labels.path}: {other} steps of {label_dimension} for {count} of the inputs in {fields.path}, and no "
                "times that tell which; cut both to the same"
            )
        return None
    if isinstance(one, pd.DatetimeIndex) and isinstance(two, pd.DatetimeIndex):
        a, b = (index.to_numpy().astype("datetime64[s]").astype(np.int64) for index in (one, two))
        step = np.diff(np.unique(a))
        reach = 0.5 * step.min() if len(step) else 0.0
    else:
        numbers = {str(value): k for k, value in enumerate(dict.fromkeys(map(str, [*one, *two])))}
        a, b = (np.array([numbers[str(value)] for value in index], dtype=np.int64) for index in (one, two))
        reach = 0.0
    if count == other and (np.abs(a - b) <= reach).all():
        return None
    order = np.argsort(a, kind="stable")
    after = np.searchsorted(a[order], b).clip(0, count - 1)
    before = (after - 1).clip(0)
    nearest = order[np.where(np.abs(a[order[before]] - b) < np.abs(a[order[after]] - b), before, after)]
    known = np.flatnonzero(np.abs(a[nearest] - b) <= reach)
    if not len(known):
        raise InputError(
            f"{labels.path}: step 0 of {label_dimension} is {two[0]}, in {fields.path} {one[0]}, and no step is the "
            "same; cut both to the same steps"
        )
    wanted = nearest[known]
    if len(np.unique(wanted)) < len(wanted) or len(np.unique(a)) < count:
        raise InputError(
            f"{labels.path}: {other} steps of {label_dimension} for {count} of the inputs in {fields.path}, some of "
            "one time; cut both to the same"
        )
    said = "%s: %d of %d steps of the inputs have labels, of which there are %d; those are the samples"
    log.info(said, labels.path, len(known), count, other)
    by_time = np.argsort(wanted)
    return wanted[by_time].tolist(), known[by_time].tolist()


def step_values(fields: SphereFields, dimension: str) -> np.ndarray | None:
    """Values along the dimension as numbers, of dates in seconds, float64; None where it has no coordinate."""
    index = _index(fields, dimension)
    if index is None:
        return None
    if isinstance(index, pd.DatetimeIndex):
        return index.to_numpy().astype("datetime64[ms]").astype(np.int64) / 1e3
    if isinstance(index, xr.CFTimeIndex):
        return (index - index[0]).total_seconds().to_numpy()
    return index.to_numpy(np.float64) if index.dtype.kind in "iuf" else np.arange(len(index), dtype=np.float64)


def has_dates(fields: SphereFields, dimension: str) -> bool:
    """Whether the values along the dimension are dates, of any calendar."""
    return isinstance(_index(fields, dimension), pd.DatetimeIndex | xr.CFTimeIndex)


def _index(fields: SphereFields, dimension: str) -> pd.Index | None:
    """Values along the dimension; texts with a date in them, such as file names, are dates."""
    index = fields.dataset.indexes.get(dimension)
    if index is None or not len(index) or not isinstance(index[0], str):
        return index
    found = [_DATE.search(str(value)) for value in index]
    if not all(found):
        return index
    try:
        return pd.DatetimeIndex([match[1] for match in found if match])
    except ValueError:
        return index


def _is_time(coordinate: xr.DataArray, index: pd.Index) -> bool:
    dated = isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex)
    return dated or coordinate.attrs.get("axis") == "T" or coordinate.attrs.get("standard_name") == "time"


def _between(
    fields: SphereFields, dimension: str, index: pd.Index | None, order: np.ndarray, name: str, ends: list[Any]
) -> list[int]:
    if index is None:
        if not all(isinstance(e, int) for e in ends):
            raise InputError(
                f"splits: {name}: {ends}: {dimension} has no values in {fields.path}; give positions from 0 to "
                f"{len(order) - 1}, or a file with times"
            )
        return [k for k in range(ends[0], ends[1] + 1) if 0 <= k < len(order)]
    if index.dtype.kind not in "iuf":
        # Years written without quotes are numbers to YAML.
        ends = [str(e) if isinstance(e, int) else e for e in ends]
    try:
        if index.dtype.kind in "iuf":
            ends = [float(e) for e in ends]
        return sorted(order[index[order].slice_indexer(*ends)].tolist())
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"splits: {name}: {ends} are no values of {dimension}{_range(index, dimension)}; give two of them, "
            "of dates as much as tells them apart"
        ) from error


def _range(index: pd.Index | None, dimension: str) -> str:
    return "" if index is None or not len(index) else f", which runs from {index.min()} to {index.max()}"
