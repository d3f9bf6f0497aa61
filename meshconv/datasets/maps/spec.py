"""Specifications of maps in checkpoints, which may come from any file: all values are looked at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.targets import MapTargets
from meshconv.errors import InputError


def inputs_of_spec(spec: Mapping[str, Any]) -> MapInputs:
    """The inputs of a data module's ``spec``, with the statistics of the training.

    Raises
    ------
    InputError
        Values of another kind than data modules write, or that contradict each other.
    """
    if not isinstance(spec.get("dimension", 0), str | None):
        raise InputError(f"dimension {spec.get('dimension')!r} is not the name of one")
    values = spec.get("class_values", [])
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise InputError(f"class_values {values!r} are not whole numbers")
    inputs = MapInputs(**spec["inputs"])
    if isinstance(inputs.nside, bool):
        raise InputError(f"nside {inputs.nside} is no number")
    _check_statistics(inputs.statistics, len(inputs.spec["scalars"]) + len(inputs.spec["vectors"]), ("mean", "std"))
    if "targets" in spec:
        _check_targets(spec["targets"], inputs, spec.get("out_type"))
    return inputs


def _check_targets(given: Any, inputs: MapInputs, out_type: Any) -> None:
    """Compare :attr:`MapTargets.spec <meshconv.datasets.maps.targets.MapTargets.spec>` with one of these inputs."""
    if not isinstance(given, Mapping):
        raise InputError(f"targets {given!r} are no table")
    targets = MapTargets({key: given.get(key) for key in ("scalars", "vectors", "lead", "history")}, inputs)
    compared = (("entries", sorted(given), sorted(targets.spec)), ("state", given.get("state"), targets.state),
                ("out_type", out_type, str(targets.out_type)))  # fmt: skip
    for key, said, value in compared:
        if said != value:
            raise InputError(f"targets: {key} {said!r} have to be {value!r} for these variables")
    lead, seconds = targets.lead, given["seconds"]
    if not isinstance(lead, str | int | float | None) or not (seconds is None or (_is_number(seconds) and seconds > 0)):
        raise InputError(f"targets: lead {lead!r} of {seconds!r} seconds is no time")
    _check_statistics(given["statistics"], targets.out_type.num_fields, ("mean", "std", "change", "centre", "reach"))


def _check_statistics(found: Any, count: int, names: Sequence[str]) -> None:
    """Numbers for each field: those by which values are divided are positive."""
    if not isinstance(found, Sequence) or len(found) != count:
        raise InputError(f"statistics {str(found)[:80]} are not one entry for each of {count} fields")
    for entry in found:
        for name in names:
            value: Any = entry.get(name) if isinstance(entry, Mapping) else None
            if not _is_number(value) or (name == "std" and value <= 0):
                raise InputError(f"statistics: {name} {value!r} is not a number that a training writes")
        if not isinstance(entry.get("units"), str | None):
            raise InputError(f"statistics: units {entry['units']!r} are no text")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
