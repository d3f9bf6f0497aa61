"""Loading of checkpoints: to predict, without Lightning, or as the task that was trained."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from meshconv.datasets.class_path import check_trust, constructor_parameters, import_class
from meshconv.datasets.protocol import check_target
from meshconv.errors import InputError, first_line
from meshconv.extras import require
from meshconv.train.checkpoints.file import check_format, checkpoint_path, read_checkpoint
from meshconv.train.inference.base import Inference

if TYPE_CHECKING:
    from meshconv.train.tasks.base import Task

Own = TypeVar("Own", bound=Inference)

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
    """Load a checkpoint that ``meshconv fit`` wrote, or one that ships, as the task that was trained.

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


def load_inference(path: str | os.PathLike, trust: Sequence[str] = ()) -> Inference:
    """Load a checkpoint to predict: the inference of its task, or a task of one's own; else as :func:`load_task`."""
    path = checkpoint_path(path)
    return _of_content(make_inference, read_checkpoint(path), path, trust)


def task_of(content: Mapping[str, Any], path: Path, trust: Sequence[str] = ()) -> Task:
    """The task of a checkpoint's content, as :func:`read_checkpoint` has it."""
    return _of_content(make_task, content, path, trust)


def _of_content(make: Callable[..., Any], content: Mapping[str, Any], path: Path, trust: Sequence[str]) -> Any:
    hparams = content["hyper_parameters"]
    said = content.get("meshconv")
    check_format(said, path)
    spec = hparams.get("spec")
    if not isinstance(said, dict) or "task" not in said or not isinstance(spec, dict):
        raise InputError(f"{path}: a checkpoint of something else than a meshconv task; use one from meshconv fit")
    most = 4 * sum(value.numel() for value in content["state_dict"].values())
    most += _SLACK if hparams.get("compact") is None else _WHOLE
    made = make(path, said["task"], hparams, trust, most)
    own = made.state_dict()
    weights = {key: w for key, w in content["state_dict"].items() if key in own or not key.startswith("loss.")}
    try:  # an inference has no loss
        made.load_state_dict(weights)
    except RuntimeError as error:
        network = hparams.get("network")
        raise InputError(f"{path}: weights do not fit the network {network} ({first_line(error)})") from error
    return made.eval()


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
    require(f"{path}: the task {name}", "train")

    def find() -> Callable[[], Task]:
        from lightning import LightningDataModule

        from meshconv.train.tasks.base import Task

        spec = hparams["spec"]
        cls = import_class(name, Task)
        check_hyperparameters(hparams, cls, import_class(spec["data"], LightningDataModule) if "data" in spec else None)
        known = constructor_parameters(cls).keys() - _OF_A_TRAINING
        return partial(cls, **{key: value for key, value in hparams.items() if key in known})

    return _checked(find, path, name, hparams, trust, most)


def make_inference(
    path: Path, name: Any, hparams: Mapping[str, Any], trust: Sequence[str], most: int = _SLACK
) -> Inference:
    """As :func:`make_task`, the inference of the task; a task of one's own is its own."""
    cls = inference_class(name)
    if cls is None:
        return make_task(path, name, hparams, trust, most)

    def find() -> Callable[[], Inference]:
        check_names(hparams)
        cls.check_spec(hparams["spec"])
        return partial(cls.of, hparams)

    return _checked(find, path, name, hparams, trust, most)


def inference_class(name: Any) -> type[Inference] | None:
    """The inference of a task that ships, by the task's class path; None for another task.

    Examples
    --------
    >>> inference_class("meshconv.train.SegmentationTask").__name__
    'SegmentationInference'
    """
    package, _, task = str(name).rpartition(".")
    if not f"{package}.".startswith("meshconv.train."):
        return None
    try:
        return import_class(f"meshconv.train.{task.removesuffix('Task')}Inference", Inference)
    except InputError:
        return None


def _checked(
    find: Callable[[], Callable[[], Own]], path: Path, name: Any, hparams: Mapping[str, Any], trust: Sequence[str],
    most: int,
) -> Own:  # fmt: skip
    """What is made of hyperparameters by what is found for them."""
    # Nothing is imported before all that is named has been checked.
    named = [value for value in map(hparams.get, _CLASSES) if isinstance(value, str) and "." in value]
    for class_name in [name, hparams["spec"].get("data", name), *named]:
        check_trust(class_name, trust, path)
    try:
        make = find()
        with _Bounded(most):
            return make()
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
    if data is not None:
        check_target(task, data)
        data.inputs_from(hparams["spec"])  # type: ignore[attr-defined]
    check_names(hparams)


def check_names(hparams: Mapping[str, Any]) -> None:
    """Raise an :class:`InputError` unless names of classes or fields, and the labels of classes, are such."""
    for key in ("class_names", "field_names"):
        names = hparams.get(key, [])
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
            raise InputError(f"{key} {names!r} is not a list of names, each once")
    values = hparams["spec"].get("class_values")
    names = hparams.get("class_names")
    if values is not None and names is not None and (not isinstance(values, list) or len(values) != len(names)):
        raise InputError(f"class_values {values!r} are not one for each of the classes {names}")


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
