"""Results in the report, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from meshconv.errors import InputError
from meshconv.viz.relief import Mesh

__all__ = ["ClimateResults", "Field", "ModelResults", "Report", "ShapeResults"]


@dataclass(frozen=True)
class ModelResults:
    """A trained model and its test metrics.

    Parameters
    ----------
    name : str
    accuracy : float
        Share of right answers, 0 to 1.
    mean_iou : float, optional
        Mean intersection over union of the classes that occur, 0 to 1.
    class_iou : sequence of float
        One for each class; NaN where the class does not occur.
    gauge_error : float, optional
        Relative change of the trained network's output under a random change of gauge; None for a
        model to which gauges mean nothing.
    parameters : int, optional
        Trained numbers.
    seconds : float, optional
        Time of training.
    """

    name: str
    accuracy: float
    mean_iou: float | None = None
    class_iou: Sequence[float] = ()
    gauge_error: float | None = None
    parameters: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Field:
    """One input map: float [npix] in NEST order, NaN where unknown, with its unit."""

    name: str
    values: np.ndarray
    unit: str
    cmap: str = "viridis"


@dataclass(frozen=True)
class ClimateResults:
    """The map task: inputs, truth and predictions of two models.

    Parameters
    ----------
    fields : sequence of Field
        Inputs.
    zones : sequence of str
        Class names.
    truth, prediction, baseline_prediction : int array [npix]
        Class numbers, NEST order; negative is not scored (ocean). Predictions count where truth is
        not negative.
    held_out : bool array [npix]
        Pixels of the test blocks.
    model, baseline : ModelResults
        The gauge network and the network without neighbours, trained alike.
    command : str
        What to type to get these numbers.
    note : str
        A sentence on the data and how it is split.
    """

    fields: Sequence[Field]
    zones: Sequence[str]
    truth: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray
    held_out: np.ndarray
    model: ModelResults
    baseline: ModelResults
    command: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        size = np.shape(self.truth)
        for name in ("prediction", "baseline_prediction", "held_out"):
            if np.shape(getattr(self, name)) != size:
                shape = np.shape(getattr(self, name))
                raise InputError(f"{name}: shape {shape} is not that of truth, {size}")
        for score in (self.model, self.baseline):
            if len(score.class_iou) not in (0, len(self.zones)):
                raise InputError(
                    f"{score.name}: {len(score.class_iou)} class_iou for {len(self.zones)} zones, "
                    "give one for each zone or none"
                )


@dataclass(frozen=True)
class ShapeResults:
    """The mesh task: test meshes, and predictions of two models.

    Parameters
    ----------
    meshes : sequence of Mesh
        Test meshes.
    classes : sequence of str
        Class names.
    truth, prediction, baseline_prediction : int array [len(meshes)]
        Class numbers.
    model, baseline : ModelResults
        The gauge network and the network without neighbours, trained alike.
    command, note : str
        As in :class:`ClimateResults`.
    """

    meshes: Sequence[Mesh]
    classes: Sequence[str]
    truth: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray
    model: ModelResults
    baseline: ModelResults
    command: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("truth", "prediction", "baseline_prediction"):
            numbers = np.asarray(getattr(self, name))
            if numbers.shape != (len(self.meshes),):
                raise InputError(
                    f"{name}: shape {numbers.shape}, expected one class for each of {len(self.meshes)} meshes"
                )
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self.classes):
                raise InputError(
                    f"{name}: classes {numbers.min()} to {numbers.max()} are not all among the "
                    f"{len(self.classes)} named"
                )


@dataclass(frozen=True)
class Report:
    """Everything on the page; a part that is None is left out.

    Parameters
    ----------
    title, version, date : str
        ``date`` in the form to be shown.
    seconds : float
        Time of the whole run.
    environment : mapping of str to str
        Machine and versions, in the order to be shown.
    command : str
        What to type to get this page.
    """

    title: str
    version: str
    date: str
    seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    climate: ClimateResults | None = None
    shapes: ShapeResults | None = None
