"""Loading of checkpoints."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.overrides import TorchFunctionMode

from meshconv.datasets.class_path import check_trust, constructor_parameters, import_class
from meshconv.datasets.protocol import check_target
from meshconv.errors import InputError, first_line
from meshconv.fields import FieldType
from meshconv.train.checkpoints.file import check_format, checkpoint_path, read_checkpoint
from meshconv.train.tasks.base import Task

# Hyperparameters that may be the paths of classes.
_CLASSES = ("network", "loss")
# Arguments of tasks that no checkpoint says anything of.
_OF_A_TRAINING = {"out", "data", "optimizer", "schedule", "pretrained", "freeze"}

# Numbers that a network may allocate while it is built, besides four times those of its weights: tables and the like.
_SLACK = 1 << 20
# The same for a network that was compressed, which is built whole first.
_WHOLE = 1 << 24
# What each tensor counts for at least, so that their number has a bound as well.
_LEAST = 512


def load_task(path: str | os.PathLike, trust: Sequence[str] = ()) -> Task:
    """Load a checkpoint that ``meshconv fit`` wrote, or one that ships, ready to predict.

    Only tensors and plain values are read (``weights_only``), and only meshconv's own classes are imported, so a file
    from elsewhere cannot run code; and a network that is larger than its weights in the file is not built.

    Parameters
    ----------
    path
        Or the name of one that ships (``meshconv models``).
    trust
        Packages whose classes the checkpoint may name too, as ``("my_package",)``: their code is run.

    Raises
    ------
    InputError
        If the file is missing, not a checkpoint, not one of meshconv's, names a class that is not trusted, or its
        weights are not finite.
    """
    path = checkpoint_path(path)
    return task_of(read_checkpoint(path), path, trust)


def task_of(content: Mapping[str, Any], path: Path, trust: Sequence[str] = ()) -> Task:
    """The task of a checkpoint's content, as :func:`read_checkpoint` has it."""
    hparams = content["hyper_parameters"]
    said = content.get("meshconv")
    check_format(said, path)
    spec = hparams.get("spec")
    if not isinstance(said, dict) or "task" not in said or not isinstance(spec, dict):
        raise InputError(f"{path}: a checkpoint of something else than a meshconv task; use one from meshconv fit")
    most = 4 * sum(value.numel() for value in content["state_dict"].values())
    most += _SLACK if hparams.get("compact") is None else _WHOLE
    task = make_task(path, said["task"], hparams, trust, most)
    try:
        task.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        network = hparams.get("network")
        raise InputError(f"{path}: weights do not fit the network {network} ({first_line(error)})") from error
    return task.eval()


def make_task(path: Path, name: Any, hparams: Mapping[str, Any], trust: Sequence[str], most: int = _SLACK) -> Task:
    """The task of these hyperparameters, with weights as they are drawn.

    Parameters
    ----------
    path
        Where they come from, for messages.
    name
        Class path of the task.
    hparams
        With a ``spec``.
    trust
        Packages whose classes may be imported.
    most
        Numbers that may be allocated; a network of more is not built.

    Raises
    ------
    InputError
        A class that is not trusted, or hyperparameters that no task takes.
    """
    spec = hparams["spec"]
    # Nothing is imported before all that is named has been checked.
    named = [value for value in map(hparams.get, _CLASSES) if isinstance(value, str) and "." in value]
    for class_name in [name, spec.get("data", name), *named]:
        check_trust(class_name, trust, path)
    try:
        cls = import_class(name, Task)
        data = import_class(spec["data"], LightningDataModule) if "data" in spec else None
        check_hyperparameters(hparams, cls, data)
        known = constructor_parameters(cls).keys() - _OF_A_TRAINING
        with _Bounded(most):
            return cls(**{key: value for key, value in hparams.items() if key in known})
    except Exception as error:  # of values of any kind, whatever takes them raises
        raise InputError(f"{path}: no task can be made of its hyperparameters ({first_line(error)})") from error


def check_hyperparameters(hparams: Mapping[str, Any], task: type[Task], data: type | None) -> None:
    """Look at all of a checkpoint's hyperparameters that are not the network's own.

    What makes the inputs from files is made once: it shows values of another kind.

    Raises
    ------
    Exception
        Of any kind, where values are of another one: whatever takes them raises.
    """
    spec = hparams["spec"]
    if data is not None:
        check_target(task, data)
        data.inputs_from(spec)  # type: ignore[attr-defined]
    for key in ("class_names", "field_names"):
        names = hparams.get(key, [])
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
            raise InputError(f"{key} {names!r} is not a list of names, each once")
    values = spec.get("class_values")
    names = hparams.get("class_names")
    if values is not None and names is not None and (not isinstance(values, list) or len(values) != len(names)):
        raise InputError(f"class_values {values!r} are not one for each of the classes {names}")


def check_inputs(task: Task, data: type, path: Any) -> None:
    """Raise an :class:`InputError` unless what a task's ``spec`` makes of files is what its network takes."""
    made = data.inputs_from(task.spec)  # type: ignore[attr-defined]
    # Of some data a network sees always the same, of a series several maps at once.
    fixed = vars(data).get("in_type")
    seen = fixed if isinstance(fixed, FieldType) else task.spec.get("targets", {}).get("history", 1) * made.in_type
    levels = getattr(made, "num_levels", task.num_levels)
    if seen != FieldType(task.hparams["in_type"]) or task.num_levels not in (None, levels):
        raise InputError(
            f"{path}: the network takes {task.hparams['in_type']} on {task.num_levels or 'any'} levels, its spec makes "
            f"{seen} on {levels or 1}; use a file that meshconv fit wrote"
        )


class _Bounded(TorchFunctionMode):
    """Context that refuses to allocate more than a number of values in total."""

    _BY_SIZE = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange, torch.eye)

    def __init__(self, most: int):
        super().__init__()
        self.left = most

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self._BY_SIZE:
            self.left -= max(math.prod(_sizes(args[:1] if func is torch.full else args)), _LEAST)
            if self.left < 0:
                raise InputError("the network would be larger than its weights in the file")
        return func(*args, **(kwargs or {}))


def _sizes(values: Any) -> Iterator[int]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _sizes(value)
        elif isinstance(value, int):
            yield value
