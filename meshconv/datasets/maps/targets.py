"""Target fields of maps: of the same time, or ahead of the inputs in time."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.steps import has_dates, step_values
from meshconv.datasets.maps.variables import scalar_title
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.io.maps.fields import SphereFields
from meshconv.io.maps.units import same_unit

log = logging.getLogger(__name__)

_KEYS = {"scalars", "vectors", "lead", "steps", "test_steps", "history"}
# Steps of months differ by three days.
_SAME_STEP = 1.5


class Window(NamedTuple):
    """Positions of one sample along time: inputs, the latest last, and targets."""

    inputs: list[int]
    targets: list[int]


class MapTargets:
    """Target variables of :class:`~meshconv.datasets.SphereMaps`, and the samples that have them.

    Parameters
    ----------
    options : dict
        ``scalars`` and ``vectors`` as of :class:`~meshconv.datasets.maps.inputs.MapInputs`; ``lead``: time from inputs
        to targets, ``"6h"``, or a number in the unit of the coordinate, or of steps where it has none (left out: the
        same time); ``steps``: samples have that many targets, each a lead after the other, for rollouts;
        ``test_steps``: as many in the test, whose samples do not overlap; ``history``: number of maps that a network
        sees, a lead apart.
    inputs : MapInputs
        Of the network.

    Attributes
    ----------
    fields : MapInputs
        What reads the targets.
    names : list of str
        One a field: ``h``, ``u+v``.
    state : list of int or None
        The component of the inputs that each component of the targets is.
    statistics : list of dict
        Of each field over the training: ``mean`` and ``std`` (of vectors 0, and the root mean square of a component),
        ``change`` (root mean square from the latest input to the target; of vectors their length), ``centre`` and
        ``reach`` (all values are within).

    Raises
    ------
    InputError
        Unknown options, no variables, or numbers that are out of range.
    """

    def __init__(self, options: Mapping[str, Any], inputs: MapInputs):
        if not isinstance(options, Mapping) or not set(options) <= _KEYS:
            raise InputError(f"targets {options!r}: write {{scalars: [h], vectors: [[u, v]], lead: 6h, steps: 4}}")
        scalars, vectors = options.get("scalars") or (), options.get("vectors") or ()
        if not scalars and not vectors:
            raise InputError("targets: no variables are given; name them in scalars or vectors")
        self.fields = MapInputs(scalars, vectors, inputs.nside, None, inputs.domain)
        if any("computed" in entry for entry in self.fields.scalars):
            raise InputError("targets: what is computed is known at all times; name it in scalars of the inputs alone")
        self.lead = options.get("lead")
        self.steps, self.history = options.get("steps"), options.get("history", 1)
        self.test_steps = options.get("test_steps", self.steps)
        for name, value in (("steps", self.steps), ("test_steps", self.test_steps), ("history", self.history)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"targets: {name} {value!r} is not a positive whole number")
        if self.lead is None and (self.steps is not None or self.test_steps is not None or self.history > 1):
            raise InputError("targets: steps and history need the time between them; give lead: 6h, say")
        self.state = _state(self.fields, inputs)
        self.seconds: float | None = None
        self._apart = 0

    @property
    def names(self) -> list[str]:
        titles = [_title(scalar_title(entry), entry) for entry in self.fields.scalars]
        return titles + [_title("+".join(entry["names"]), entry) for entry in self.fields.vectors]

    @property
    def out_type(self) -> FieldType:
        return self.fields.in_type

    @property
    def statistics(self) -> list[dict[str, Any]]:
        return self.fields.statistics or []

    @property
    def spec(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            "scalars": [dict(s) for s in self.fields.scalars],
            "vectors": [dict(v) for v in self.fields.vectors],
            "lead": self.lead,
            "seconds": self.seconds,
            "history": self.history,
            "state": self.state,
            "statistics": self.statistics,
        }

    def check(self, fields: SphereFields, inputs: SphereFields) -> None:
        """Raise an :class:`InputError` where a target is missing, or in another unit than the input of its name."""
        for name in self.fields.variables:
            unit = fields.unit(name)
            if name not in inputs.dataset.variables or fields is inputs:
                continue
            other = inputs.unit(name)
            if unit is not None and other is not None and not same_unit(unit, other):
                raise InputError(
                    f"{fields.path}: target {name} is in {unit!r}, in the inputs {inputs.path} in {other!r}; convert "
                    "one of them"
                )

    def set_lead(self, fields: SphereFields, dimension: str | None) -> None:
        """Find the number of steps from inputs to targets.

        Raises
        ------
        InputError
            No time, times that occur twice, or a lead that is not a multiple of the step.
        """
        if self.lead is None:
            return
        if dimension is None or fields.dataset.sizes.get(dimension, 1) < 2:
            raise InputError(f"{fields.path}: targets at a lead time need several steps of time; name 'dimension'")
        times = step_values(fields, dimension)
        if times is None:
            if not isinstance(self.lead, int) or self.lead < 1:
                raise InputError(
                    f"{fields.path}: {dimension} has no values; give lead as a number of steps, not {self.lead!r}"
                )
            self._apart = self.lead
            return
        ordered = np.sort(times)
        twice = np.flatnonzero(np.diff(ordered) == 0)
        if len(twice):
            at = fields.dataset[dimension].values[np.argsort(times, kind="stable")[twice[0]]]
            raise InputError(
                f"{fields.path}: {dimension} {at} is there twice, which leaves open what follows; drop the duplicates "
                "(Dataset.drop_duplicates)"
            )
        step = float(np.median(np.diff(ordered)))
        dated = has_dates(fields, dimension)
        lead = _seconds(self.lead) if dated else _number(self.lead)
        count = lead / step
        if lead <= 0 or abs(count - round(count)) > 1e-6 or round(count) < 1:
            shown = f"{pd.Timedelta(seconds=step)}" if dated else f"{step:g}"
            raise InputError(
                f"{fields.path}: lead {self.lead} is not a positive multiple of the step, {shown}; give one that is"
            )
        self._apart, self.seconds = round(count), lead if dated else None

    def windows(self, fields: SphereFields, dimension: str, positions: Sequence[int], split: str) -> list[Window]:
        """The samples of a split, of equal steps without a gap; those that would cross one are counted."""
        if not positions:
            return []
        ahead = (self.test_steps if split == "test" else self.steps) or 1
        back, reach = (self.history - 1) * self._apart, ahead * self._apart
        times = step_values(fields, dimension)
        order = np.asarray(positions) if times is None else np.asarray(positions)[np.argsort(times[list(positions)])]
        index = order.astype(np.float64) if times is None else times[order].astype(np.float64)
        steps = np.diff(index)
        usual = 1.0 if times is None else float(np.median(np.diff(np.sort(times))))
        cut = np.flatnonzero(steps > _SAME_STEP * usual) + 1
        found, lost = [], 0
        stride = reach if split == "test" else 1
        for part in np.split(order, cut):
            starts = range(back, len(part) - reach, stride)
            lost += len(range(0, len(part), stride)) - len(starts)
            for k in starts:
                inputs = part[k - back : k + 1 : self._apart].tolist()
                found.append(Window(inputs, part[k + self._apart : k + reach + 1 : self._apart].tolist()))
        if lost and len(cut):
            said = "%s: %s: %d samples; %d more would cross one of %d gaps of %s, or its ends, and are left out"
            log.info(said, fields.path, split, len(found), lost, len(cut), dimension)
        if not found:
            said = (
                f"{fields.path}: {split}: no {1 + back + reach} steps of {dimension} without a gap, for history, lead "
                f"and {'test_steps' if split == 'test' else 'steps'}; lower one of them, or move the splits"
            )
            if split == "train":
                raise InputError(said)
            log.warning(said)
        return found

    def fit(self, samples: Iterator[tuple[NDArray, NDArray, NDArray]], fields: SphereFields) -> NDArray[np.float32]:
        """Take statistics of latest inputs ``[V, dim]``, targets ``[V, out]`` and masks ``[V]``; returns mean targets.

        Returns
        -------
        float32 ``[V, out]``
            The mean of each point over the samples: a climatology.
        """
        out, count = self.out_type, 0.0
        change = np.zeros(out.num_fields)
        compared = np.zeros(out.num_fields)
        low, high = np.full(out.num_fields, np.inf), np.full(out.num_fields, -np.inf)
        total: NDArray | float = 0.0

        def observed() -> Iterator[tuple[NDArray, NDArray]]:
            nonlocal total, count
            for given, target, mask in samples:
                yield target, mask
                total, count = total + target.astype(np.float64), count + 1
                values = out.invariants(torch.from_numpy(target[mask]).double()).numpy()
                if len(values):
                    np.fmin(low, np.fmin.reduce(values, axis=0), out=low)
                    np.fmax(high, np.fmax.reduce(values, axis=0), out=high)
                if self.state is not None:
                    off = torch.from_numpy((target - given[:, self.state])[mask]).double()
                    square = out.norms(off).square().numpy()
                    compared[:] += np.isfinite(square).sum(axis=0)
                    change[:] += np.nansum(square, axis=0)

        self.fields.fit(observed(), fields)
        first = out.multiplicities[0]
        for k, entry in enumerate(self.statistics):
            centre = entry["mean"] if k < first else 0.0
            entry["centre"], entry["reach"] = centre, float(max(high[k] - centre, centre - low[k]))
            size = math.sqrt(change[k] / compared[k]) if compared[k] else 0.0
            entry["change"] = size if size > 0 else entry["std"]
        return np.asarray(total / count, dtype=np.float32)

    def sizes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, size and change of each field, float64 ``[fields]``; the size of a vector is that of its length."""
        first = self.out_type.multiplicities[0]
        rows = [(e["mean"], e["std"] * (1.0 if k < first else math.sqrt(2)), e["change"])
                for k, e in enumerate(self.statistics)]  # fmt: skip
        mean, size, change = torch.tensor(rows, dtype=torch.float64).unbind(1)
        return mean, size, change


def _state(targets: MapInputs, inputs: MapInputs) -> list[int] | None:
    """The component of the inputs that each component of the targets is, None if one is not there."""

    def key(entry: Mapping[str, Any]) -> str:
        return repr(sorted((k, v) for k, v in entry.items() if v))

    scalars, vectors = [key(e) for e in inputs.scalars], [key(e) for e in inputs.vectors]
    s, v = len(scalars), len(vectors)
    try:
        of_scalars = [scalars.index(key(e)) for e in targets.scalars]
        of_vectors = [vectors.index(key(e)) for e in targets.vectors]
    except ValueError:
        return None
    return of_scalars + [s + k for k in of_vectors] + [s + v + k for k in of_vectors]


def _title(name: str, entry: Mapping[str, Any]) -> str:
    """A name of its own for each selected value."""
    return "_".join([name, *(str(value) for value in entry["select"].values())])


def _seconds(lead: Any) -> float:
    try:
        return pd.Timedelta(lead).total_seconds() if isinstance(lead, str) else 0.0
    except ValueError:
        return 0.0


def _number(lead: Any) -> float:
    return float(lead) if isinstance(lead, int | float) else 0.0
