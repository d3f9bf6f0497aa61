"""Input variables of maps: selection, mean over a dimension, and function of the values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from meshconv.datasets.maps import insolation
from meshconv.errors import InputError
from meshconv.io.maps.directions import RelativeTo
from meshconv.io.maps.fields import SphereFields

Variable = str | Mapping[str, Any]


class Function(NamedTuple):
    """A function of the number in the unit of the training: in another unit it would be another input.

    Parameters
    ----------
    apply
        Of an array.
    zero
        Whether it takes 0; all take positive values and no negative ones.
    """

    apply: Callable[[NDArray], NDArray]
    zero: bool


#: By name. Amounts such as precipitation and humidity span orders of magnitude, and their ratios matter.
FUNCTIONS: dict[str, Function] = {
    "log1p": Function(np.log1p, True),
    "log": Function(np.log, False),
    "sqrt": Function(np.sqrt, True),
}
#: Scalars that need no file but the time, and their units.
COMPUTED = {"insolation": insolation.UNIT}
# Amounts that were packed into 16 bits come back a little below 0: as a share of the largest.
_PACKING = 1e-4


def parse_scalars(entries: Sequence[Variable]) -> list[dict[str, Any]]:
    """Scalars in plain values, each with ``name`` and ``select``, ``mean`` and ``function`` where they are given.

    A list of values to select makes an input of each, unless it is averaged over. ``{"name": "insolation", "computed":
    True}`` is not in the file (:func:`~meshconv.datasets.maps.insolation.insolation`).

    Raises
    ------
    InputError
        An entry of another form, or an unknown function.

    Examples
    --------
    >>> parse_scalars([{"name": "tp", "select": {"month": [1, 7]}}])
    [{'name': 'tp', 'select': {'month': 1}}, {'name': 'tp', 'select': {'month': 7}}]
    """
    if isinstance(entries, str | Mapping):
        raise InputError(f"scalars {entries!r}: write a list, [{entries}]")
    scalars = []
    for entry in entries:
        given: dict[str, Any] = {"name": entry} if isinstance(entry, str) else dict(entry)
        if given.get("computed"):
            if given.get("name") not in COMPUTED or set(given) - {"name", "select", "computed"}:
                raise InputError(f"scalar input {entry!r}: what is computed is {{name: insolation, computed: true}}")
            scalars.append({"name": given["name"], "select": {}, "computed": True})
            continue
        if not isinstance(given.get("name"), str) or not set(given) <= {"name", "select", "mean", "function"}:
            raise InputError(
                f"scalar input {entry!r}: write a variable's name, or {{name: t, select: {{level: 850}}, mean: month, "
                "function: log1p}, of which all but the name may be left out"
            )
        function = given.get("function")
        if function is not None and function not in FUNCTIONS:
            raise InputError(
                f"scalar input {given['name']}: function {function!r} is not known; use {', '.join(FUNCTIONS)}"
            )
        scalars += [
            {"name": given["name"], **one, **({} if function is None else {"function": function})}
            for one in _selections(given)
        ]
    return scalars


def parse_vectors(entries: Sequence[Sequence[str] | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pairs of components in plain values, each with ``names`` and ``select``; ``mean`` and ``relative_to`` if given.

    As :func:`parse_scalars`; a function of a component would depend on the frame.
    """
    vectors = []
    for entry in entries:
        given: dict[str, Any] = dict(entry) if isinstance(entry, Mapping) else {"names": entry}
        names = given.get("names")
        pair = isinstance(names, Sequence) and not isinstance(names, str) and len(names) == 2
        if not pair or not set(given) <= {"names", "select", "mean", "relative_to"}:
            raise InputError(
                f"vector input {entry!r}: write [eastward, northward], or {{names: [u, v], select: {{level: 850}}, "
                "mean: month, relative_to: grid}, of which all but the names may be left out"
            )
        along = {} if given.get("relative_to") is None else {"relative_to": given["relative_to"]}
        if along and along["relative_to"] not in get_args(RelativeTo):
            raise InputError(f"vector input {entry!r}: relative_to is earth or grid, not {along['relative_to']!r}")
        vectors += [{"names": [str(n) for n in given["names"]], **one, **along} for one in _selections(given)]
    return vectors


def read_map(fields: SphereFields, name: str, entry: Mapping[str, Any], at: Mapping[str, int]) -> NDArray[np.float64]:
    """What a parsed entry takes of a variable, in the file's unit, float64 ``[V]``.

    Raises
    ------
    InputError
        As :meth:`~meshconv.io.maps.fields.SphereFields.values`; also a dimension that is neither selected from nor
        averaged over, or a mean over the steps.
    """
    select, mean = entry["select"], entry.get("mean")
    if mean in at:
        raise InputError(
            f"{fields.path}: variable {name}: each step of {mean} is a sample, there is no mean over it; write "
            "'dimension: null' for a single map, or leave 'mean' out"
        )
    values = fields.values(name, select, at, allow_missing=True, mean=mean)
    if values.size != values.shape[-1]:
        known = {*fields.dims, *at, *select, mean}
        left = [str(d) for d, n in fields.dataset[name].sizes.items() if d not in known and n > 1] or ["level"]
        raise InputError(
            f"{fields.path}: variable {name} has also dimension {', '.join(left)}; select one value of it: "
            f"{{name: {name}, select: {{{left[0]}: ...}}}}, or take the mean: {{name: {name}, mean: {left[0]}}}"
        )
    return values.ravel()


def apply_function(values: NDArray[np.float64], entry: Mapping[str, Any], fields: SphereFields) -> NDArray[np.float64]:
    """An entry's function of values in the unit of the training, NaN where they are; as they are if it has none.

    Raises
    ------
    InputError
        Values that the function does not take.
    """
    if entry.get("function") is None:
        return values
    function = FUNCTIONS[entry["function"]]
    values = np.where(values > -_PACKING * np.nanmax(values, initial=0), np.maximum(values, 0), values)
    wrong = values < 0 if function.zero else values <= 0
    if wrong.any():
        what, least = ("negative", "0") if function.zero else ("not positive", "a small value, or use log1p")
        raise InputError(
            f"{fields.path}: variable {entry['name']} is {what} in {int(wrong.sum())} of {values.size} points, of "
            f"which {entry['function']} has no value; set them to {least}"
        )
    return function.apply(values)


def scalar_title(entry: Mapping[str, Any]) -> str:
    """``log1p(tp)``: what the values are of."""
    return f"{entry['function']}({entry['name']})" if "function" in entry else entry["name"]


def _selections(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``select`` and ``mean``, once for each of several values to select."""
    select, mean = given.get("select") or {}, given.get("mean")
    if not isinstance(select, Mapping) or not isinstance(mean, str | None):
        raise InputError(f"input {dict(given)}: write select: {{level: 850}} and mean: month")
    many = [(k, v if isinstance(v, list | tuple) and k != mean else [v]) for k, v in select.items()]
    averaged = {} if mean is None else {"mean": mean}
    return [
        {"select": dict(zip(select, values, strict=True)), **averaged}
        for values in itertools.product(*(values for _, values in many))
    ]
