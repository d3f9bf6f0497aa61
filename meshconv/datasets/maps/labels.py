"""Labels of maps: a variable of whole numbers as the class of each point."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.datasets.maps.variables import Variable, parse_scalars
from meshconv.errors import InputError
from meshconv.io.maps.fields import SphereFields
from meshconv.io.maps.missing import small_fills
from meshconv.progress import track

log = logging.getLogger(__name__)

UNKNOWN = -1
"""Class of points without one."""

# No label of a file: -1 may be one.
_NO_LABEL = int(np.iinfo(np.int64).min)


class MapLabels:
    """Classes of the points of labelled maps.

    Parameters
    ----------
    fields
        The files of the label.
    variable, select
        The label, and what is selected of it: see :func:`parse_label`.
    dimension
        Dimension of the steps, None for a single map.
    classes, ignore
        As of :class:`~meshconv.datasets.SphereMaps`.

    Attributes
    ----------
    values : dict of int to str
        Name of the class of each label value.
    names : list of str
        Of the classes, each once.

    Raises
    ------
    InputError
        A label that is no map of whole numbers, or without classes.
    """

    def __init__(
        self,
        fields: SphereFields,
        variable: str,
        select: Mapping[str, Any],
        dimension: str | None,
        classes: Mapping[int, str] | Sequence[str] | None = None,
        ignore: Sequence[int] = (),
    ):
        self.fields, self.variable, self.select, self.dimension = fields, variable, dict(select), dimension
        self._ignored, self._filled = list(ignore), _NO_LABEL
        array = fields.variable(variable)
        fill = array.encoding.get("_FillValue")
        if isinstance(classes, Mapping):
            named = dict(classes)
        elif classes is not None:
            named = dict(enumerate(classes))
        elif "flag_values" in array.attrs and "flag_meanings" in array.attrs:
            named = self._flags(array.attrs)
        else:
            named = self._occurring(fill)
        self.values = {int(v): str(n) for v, n in named.items() if int(v) not in self._ignored}
        self.names = list(dict.fromkeys(self.values.values()))
        if fill in self.values:
            self._filled = int(fill)
        if not self.values:
            raise InputError(
                f"{fields.path}: label {variable} has no classes; name them in 'classes', or choose another label"
            )

    @property
    def first_values(self) -> list[int]:
        """The first label value of each class, which predictions are written as."""
        return [next(value for value, name in self.values.items() if name == wanted) for wanted in self.names]

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of :class:`~meshconv.datasets.SphereMaps` for the same label and classes."""
        label = {"name": self.variable, "select": self.select}
        return {"label": label, "classes": self.values, "ignore": self._ignored}

    def classes(self, step: int) -> NDArray[np.int64]:
        """Class of each point of the file at a step, :data:`UNKNOWN` where there is none.

        Raises
        ------
        InputError
            The label has other dimensions, other numbers, or a value that is no class.
        """
        label = self._stored(step)
        strange = np.setdiff1d(label, [*self.values, *self._ignored, _NO_LABEL])
        if len(strange):
            raise InputError(
                f"{self.fields.path}: label {self.variable} holds {strange[0]}, which is none of the classes "
                f"{list(self.values)}; add it to classes or to ignore"
            )
        classes = np.full(len(label), UNKNOWN, dtype=np.int64)
        for value, name in self.values.items():
            classes[label == value] = self.names.index(name)
        return classes

    def _flags(self, attributes: Mapping[str, Any]) -> dict[int, str]:
        """Names by the attributes of CF."""
        values = np.atleast_1d(attributes["flag_values"]).tolist()
        meanings = str(attributes["flag_meanings"]).split()
        if len(values) != len(meanings):
            raise InputError(
                f"{self.fields.path}: label {self.variable} has {len(values)} flag_values and {len(meanings)} "
                "flag_meanings; name the classes in 'classes'"
            )
        return dict(zip(values, meanings, strict=True))

    def _occurring(self, fill: Any) -> dict[int, str]:
        """The values of some steps, but fill values, which are ignored from here on."""
        count = self.fields.dataset.sizes.get(self.dimension, 1) if self.dimension else 1
        some = np.unique(np.linspace(0, count - 1, min(count, 16)).astype(int))
        found: set[int] = set()
        for step in track(some.tolist(), "classes", "step"):
            found |= set(np.unique(self._stored(step)).tolist())
        whole = np.array(sorted(found - {_NO_LABEL}), dtype=np.float64)
        fills = [int(v) for v in whole[small_fills(whole)] if v not in self._ignored]
        if fills:
            self._ignored += fills
            log.warning(
                "%s: %s of label %s does not count; if it is a class, name all in 'classes'",
                self.fields.path, fills[0], self.variable,
            )  # fmt: skip
        if fill == 0:
            log.warning(
                "%s: 0 is the fill value of label %s and does not count; if it is a class, name all in 'classes'",
                self.fields.path, self.variable,
            )  # fmt: skip
        return {value: str(value) for value in sorted(found - {_NO_LABEL})}

    def _stored(self, step: int) -> NDArray[np.int64]:
        """Labels as in the file; ``_NO_LABEL`` where there is none."""
        at = {} if self.dimension is None else {self.dimension: step}
        values = self.fields.values(self.variable, self.select, at, allow_missing=True)
        if values.size != values.shape[-1]:
            dims, along = self.fields.dataset[self.variable].dims, self.dimension
            wanted = f"those of one map{'' if along is None else f' and {along}'}"
            raise InputError(
                f"{self.fields.path}: label {self.variable} has dimensions {dims}, not {wanted}: select one value of "
                f"the others, {{name: {self.variable}, select: {{...: ...}}}}, or name 'dimension'"
            )
        values = values.ravel()
        known = np.isfinite(values)
        rounded = np.round(np.where(known, values, 0))
        if np.abs(rounded - values)[known].max(initial=0) > 1e-6:
            worst = float(values[known][np.abs(rounded - values)[known].argmax()])
            raise InputError(
                f"{self.fields.path}: label {self.variable} holds {worst:g}, classes are whole numbers: round it, "
                "or choose another label"
            )
        return np.where(known, rounded.astype(np.int64), self._filled)


def parse_label(label: Variable) -> tuple[str, dict[str, Any]]:
    """Name of the variable with the classes, and what is selected of it."""
    (parsed,) = parse_scalars([label])
    if set(parsed) != {"name", "select"}:
        raise InputError(f"label {label!r}: write a variable's name, or {{name: event, select: {{person: 1}}}}")
    return str(parsed["name"]), parsed["select"]
