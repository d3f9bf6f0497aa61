"""Protocols of data modules, as tasks require them.

A task is constructed with ``in_type``, the names of what it predicts and ``spec``, plain values that stand in its
checkpoint; ``meshconv fit`` links them. The data module itself is the trainer's, which holds that of the current fit or
test: ``Task.setup`` alone takes it from there (the argument ``data`` where the trainer has none). A data module
of one's own has :class:`TaskData`, and of the others those that its tasks name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from meshconv.datasets.class_path import class_path
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import MeshSample
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Rings


@runtime_checkable
class TaskData(Protocol):
    """Protocol of data modules for any task.

    Attributes
    ----------
    in_type : FieldType
        Of the inputs.
    num_levels : int
        Levels of the surfaces in the batches; 1: graphs.
    spec : dict
        How inputs are made, in plain values, for prediction. ``spec["data"]`` is the data module's class path;
        ``spec["area_weights"]`` is true where points stand for their areas.

    A class attribute ``target_kind`` may say what the targets are, see :func:`check_target`.
    """

    @property
    def in_type(self) -> FieldType: ...
    @property
    def num_levels(self) -> int: ...
    @property
    def spec(self) -> dict[str, Any]: ...


@runtime_checkable
class PredictableData(TaskData, Protocol):
    """Protocol of data modules for prediction: inputs for new files.

    ``inputs_from`` makes of a :attr:`spec` what makes inputs: a
    :class:`~meshconv.datasets.meshes.preparation.Preparation`, or
    :class:`~meshconv.datasets.maps.inputs.MapInputs`.
    """

    @staticmethod
    def inputs_from(spec: dict[str, Any]) -> Any: ...


@runtime_checkable
class NormalisedData(Protocol):
    """Protocol of data normalised by statistics of the training: taken from its :attr:`TaskData.spec` by others."""

    def take_statistics(self, spec: dict[str, Any]) -> None: ...


@runtime_checkable
class PatchedData(Protocol):
    """Protocol of data in patches: the halo is as wide as the network sees, which its task sets."""

    reach: Sequence[Rings] | None


@runtime_checkable
class ClassData(Protocol):
    """Protocol of data with classes: names, and number of training targets of each class, int64 ``[classes]``."""

    @property
    def class_names(self) -> list[str]: ...
    @property
    def class_counts(self) -> Tensor: ...


@runtime_checkable
class FieldData(Protocol):
    """Protocol of data with fields: names, type, and mean and scale of each field, float64 ``[fields]``."""

    @property
    def field_names(self) -> list[str]: ...
    @property
    def out_type(self) -> FieldType: ...
    @property
    def target_statistics(self) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class SeriesData(FieldData, Protocol):
    """Protocol of data with fields that are among the inputs.

    ``change_sizes``: root mean square of the change of each field from the inputs to the target, float64 ``[fields]``.
    """

    @property
    def change_sizes(self) -> Tensor: ...


@runtime_checkable
class RolloutData(SeriesData, Protocol):
    """Protocol of data for forecasts.

    ``target_steps``: targets of a training sample, each a lead after the other; ``climatology``: mean of the training's
    targets at each point, float32 ``[V, out]``, None without a training; ``test_data``: the module that the test is of.
    """

    @property
    def target_steps(self) -> int: ...
    @property
    def climatology(self) -> Tensor | None: ...
    @property
    def test_data(self) -> Any: ...


@runtime_checkable
class PairData(Protocol):
    """Protocol of data with pairs: meshes of a split, their preparation, and pairs of their indices."""

    @property
    def how(self) -> Preparation: ...
    def samples(self, split: str) -> list[MeshSample]: ...
    def pairs(self, split: str) -> list[tuple[int, int]]: ...


def check_target(task: type, data: type) -> None:
    """Compare what a task learns with what a data module has, by their ``target_kind``; without one anything goes.

    A data module that has several kinds, by its options, gives a tuple.

    Raises
    ------
    InputError
        They are not the same.
    """
    wanted, given = getattr(task, "target_kind", None), getattr(data, "target_kind", None)
    kinds = (given,) if isinstance(given, str) else given
    if wanted is not None and kinds is not None and wanted not in kinds:
        has = " or ".join(kinds)
        raise InputError(
            f"{task.__name__} learns {wanted}, {data.__name__} has {has}; use the configuration of one of them"
        )


def demand(data: Any, protocol: Any, why: str) -> Any:
    """The data module, checked against a protocol of this file.

    Raises
    ------
    InputError
        It names what is missing, and ``why`` that is asked for.
    """
    if not isinstance(data, protocol):
        missing = [n for n in dir(protocol) if not n.startswith("_") and not hasattr(data, n)]
        given = "none is given (data)" if data is None else f"{class_path(type(data))} lacks {', '.join(missing)}"
        raise InputError(f"{why} needs a data module that is a {protocol.__name__}, but {given}")
    return data
