"""Matching of data to a checkpoint: names are mapped, inputs have to be the same."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.train.networks import network_class, network_options

# Entries of a data module's specification in which data may differ from those of the training, and go on to hold.
_OF_THE_DATA = ("on_defect", "max_faces", "max_vertices", "augment", "variant", "dimension", "relative_to")
# What is matched by name, or taken from the training whatever the data have.
_OF_THE_TRAINING = ("class_names", "class_values", "out_type", "statistics", "mean", "std", "labels", "numbers")
_NAMES = {"class_names": "classes", "field_names": "fields"}


def combine(trained: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a task that was ``trained`` takes of other data: ``in_type``, ``class_names``, ``field_names``, ``spec``.

    And ``compact``, what a compressed network was left with, which is the training's alone.

    Classes and fields are those of the training, in its order: the data may have some of them, in any order.

    Parameters
    ----------
    trained : mapping
        Hyperparameters of a checkpoint.
    given : mapping
        The same entries, of a data module; None where it has no such thing.

    Raises
    ------
    InputError
        The data have other names, are of another kind, or prepared in another way.
    """
    old, new = trained["spec"], given["spec"] or {}
    if old.get("data") != new.get("data"):
        raise InputError(f"trained on {old.get('data')}, the data are {new.get('data')}; use others")
    _check_same(_seen(old), _seen(new))
    for key, what in _NAMES.items():
        if trained.get(key) is not None:
            _check_names(trained[key], given[key] or [], what)
    if "out_type" in old and "out_type" in new:
        _field_components(old["out_type"], trained["field_names"], new["out_type"], given["field_names"])
    if trained["in_type"] != given["in_type"]:
        raise InputError(f"trained on inputs {trained['in_type']}, here they are {given['in_type']}; choose the same")
    spec = {**old, **{key: new[key] for key in _OF_THE_DATA if key in new}}
    return {**{key: trained.get(key) for key in ("in_type", "compact", *_NAMES)}, "spec": spec}


def check_network(trained: Mapping[str, Any], given: Mapping[str, Any], kept: Sequence[str] = ()) -> None:
    """Raise an :class:`InputError` where a configuration asks for another network than a checkpoint has.

    Parameters
    ----------
    trained, given : mapping
        With ``network`` and its ``options``; what is left out has the network's default.
    kept
        Further arguments of the task that have to be the same, where both have them.
    """
    old, new = trained.get("network"), given.get("network")
    if old != new:
        raise InputError(f"has the network {old}, here it is {new}; give --model.init_args.network {old}")
    if new is None:
        return
    names = inspect.signature(network_class(new)).parameters
    options = [network_options(new, config.get("options")) for config in (trained, given)]
    for key in dict.fromkeys([*options[0], *options[1]]):
        if key not in names and not any(p.kind is p.VAR_KEYWORD for p in names.values()):
            raise InputError(f"options of {new}: there is no {key}; leave it out")
        _check_kept(key, *(o.get(key) for o in options))
    for key in kept:
        if key in trained and key in given:
            _check_kept(key, trained[key], given[key])


def _check_kept(key: str, was: Any, now: Any) -> None:
    was, now = _plain(was), _plain(now)
    if was != now:
        said = f"its network has {key} {was}, here it is {now}"
        raise InputError(f"{said}; a trained network keeps its options: give the same, or train anew without it")


@dataclass(frozen=True)
class TargetMatch:
    """Targets of data in the numbers of a task.

    Attributes
    ----------
    classes : int64 Tensor [data's classes] or None
        The task's class of each of the data's; None: they are the same.
    components : int64 Tensor [task's components] or None
        The data's component of each of the task's fields, -1 where the data do not have it.
    """

    classes: Tensor | None = None
    components: Tensor | None = None

    @classmethod
    def of(cls, hparams: Mapping[str, Any], data: Any) -> TargetMatch:
        """Between a task, by its hyperparameters, and a data module; the same numbers if it has no names."""
        spec = hparams.get("spec", {})
        fields, classes = (getattr(data, key, None) for key in ("field_names", "class_names"))
        if hparams.get("field_names") is not None and fields is not None:
            components = _field_components(spec["out_type"], hparams["field_names"], str(data.out_type), fields)
            return cls(components=None if components == list(range(len(components))) else torch.tensor(components))
        if hparams.get("class_names") is None or classes is None or list(classes) == list(hparams["class_names"]):
            return cls()
        _check_names(hparams["class_names"], classes, "classes")
        return cls(torch.tensor([list(hparams["class_names"]).index(name) for name in classes]))

    def __call__(self, batch: SurfaceBatch) -> SurfaceBatch:
        """The batch with the task's targets: -1 and NaN stay, and stand where the data do not know a field."""
        if self.classes is not None:
            classes = self.classes.to(batch.target.device)
            target = torch.where(batch.target >= 0, classes[batch.target.clamp(min=0)], batch.target)
            return replace(batch, target=target)
        if self.components is not None:
            components = self.components.to(batch.target.device)
            target = batch.target[..., components.clamp(min=0)].masked_fill(components < 0, torch.nan)
            return replace(batch, target=target)
        return batch

    def counts(self, counts: Tensor, num_classes: int) -> Tensor:
        """Counts of the data's classes as those of the task's, int64 ``[num_classes]``."""
        if self.classes is None:
            return counts
        return counts.new_zeros(num_classes).index_add(0, self.classes.to(counts.device), counts)


def _check_names(trained: Sequence[str], given: Sequence[str], what: str) -> None:
    unknown = [name for name in given if name not in trained]
    if unknown:
        raise InputError(
            f"trained on the {what} {', '.join(trained)}; the data have {', '.join(map(str, unknown))} as well: "
            "rename or leave them out"
        )


def _field_components(old: str, old_names: Sequence[str], new: str, new_names: Sequence[str]) -> list[int]:
    """Of each component of the old type, its place in the new one, or -1."""
    _check_names(old_names, new_names, "fields")
    wanted, there = _components(FieldType(old), old_names), _components(FieldType(new), new_names)
    for name in new_names:
        orders = [sum(n == name for n, _ in part) for part in (wanted, there)]
        if orders[0] != orders[1]:
            raise InputError(f"field {name} had {orders[0]} components in training, the data have {orders[1]} of it")
    return [there.index(entry) if entry in there else -1 for entry in wanted]


def _components(field_type: FieldType, names: Sequence[str]) -> list[tuple[str, int]]:
    """Name of the field of each component, and which of its components it is."""
    found: list[tuple[str, int]] = []
    seen: Counter[str] = Counter()
    for field in field_type.per_component(torch.arange(field_type.num_fields)).tolist():
        found.append((names[field], seen[names[field]]))
        seen[names[field]] += 1
    return found


def _seen(spec: Any) -> Any:
    """What of a specification decides what a network sees."""
    if isinstance(spec, Mapping):
        return {k: _seen(v) for k, v in spec.items() if k not in (*_OF_THE_DATA, *_OF_THE_TRAINING)}
    return [_seen(v) for v in spec] if isinstance(spec, list | tuple) else spec


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any], within: str = "") -> None:
    for key in dict.fromkeys([*old, *new]):
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            _check_same(was, now, f"{within}{key}.")
        elif was != now:
            raise InputError(
                f"trained with {within}{key} {was}, the data have {now}; a network sees what it was trained on: "
                "give the same, or train anew without it"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
