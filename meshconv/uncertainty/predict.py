"""Predictions with their uncertainty, beside what any prediction has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.transfer.elements import edges_of, file_origin
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.train.inference.classification import MeshClass
from meshconv.train.inference.regression import MeshFieldValues
from meshconv.train.inference.segmentation import MeshLabels
from meshconv.train.predict.files import write_array
from meshconv.train.predict.meshes import Meshes, MeshResult
from meshconv.train.predict.predictor import Predictor
from meshconv.train.tasks.regression import RegressionTask
from meshconv.uncertainty.calibrated import load_calibrated
from meshconv.uncertainty.calibration import Calibration, sampled
from meshconv.uncertainty.conformal import prediction_sets
from meshconv.uncertainty.measures import entropy
from meshconv.uncertainty.outputs import network_arguments
from meshconv.viz.colors import Continuous
from meshconv.viz.mesh import draw_mesh

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps
    from meshconv.train.tasks.base import Task


class UncertainPredictor(Predictor):
    """Predictor of a calibrated checkpoint; results have their uncertainty.

    Classes have ``entropy``, in nats, of the calibrated probabilities, and the set of classes that holds the truth with
    the level of the calibration. Fields have ``<name>_deviation``, the standard deviation of a component, and
    ``<name>_radius``: with the level of the calibration the truth is within it.

    Parameters
    ----------
    checkpoint : str, Path or (Task, Calibration)
        Written by ``meshconv calibrate``; or what :func:`~meshconv.uncertainty.calibrate` makes.
    device, trust, cache, workers
        As of :class:`~meshconv.train.Predictor`.

    Raises
    ------
    InputError
        The checkpoint was not calibrated.

    Examples
    --------
    >>> predict = UncertainPredictor("calibrated.ckpt")  # doctest: +SKIP
    >>> predict("new.ply").members  # doctest: +SKIP
    ['cat', 'dog']
    """

    def __init__(
        self, checkpoint: Any, device: str = "auto", trust: Sequence[str] = (), cache: bool | str | None = True,
        workers: int | None = None,
    ):  # fmt: skip
        made: tuple[Task, Calibration] = (
            checkpoint if isinstance(checkpoint, tuple) else load_calibrated(checkpoint, trust)
        )
        task, self.calibration = made
        self.network = sampled(task)
        super().__init__(task, device, trust, cache, workers)

    def of_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        if isinstance(self.task, RegressionTask):
            yield from self._fields_of_meshes(self.task, meshes)
            return
        threshold = self.calibration.thresholds[0]
        for result in super().of_meshes(meshes):
            kind = UncertainClass if isinstance(result, MeshClass) else UncertainLabels
            yield kind(**{f.name: getattr(result, f.name) for f in fields(result)}, threshold=threshold)

    def of_maps(self, maps: Maps) -> xr.Dataset:
        result = super().of_maps(maps)
        return self._with_spread(result, maps) if isinstance(self.task, RegressionTask) else self._with_sets(result)

    def spread(self, task: RegressionTask, batch: SurfaceBatch) -> tuple[Tensor, Tensor]:
        """Fields ``[..., V, out]``; deviations and radii, one after the other, ``[..., V, 2 num_fields]``."""
        mean, variance = self.network.moments(*network_arguments(batch))
        deviations = self.calibration.deviations(variance)
        both = torch.stack([deviations, self.calibration.radii(deviations)], dim=-2) * _units(task)
        offset = task.mean if task.frames is None else task.latest(batch.x)
        return mean * task.size + offset, both.flatten(-2)

    def _fields_of_meshes(self, task: RegressionTask, meshes: Meshes) -> Iterator[MeshFieldValues]:
        def network(batch: SurfaceBatch) -> Tensor:
            return torch.cat(self.spread(task, batch), dim=-1)

        names = _names(task)
        for sample, output in meshes.outputs(network, meshes.prepare(), lambda sample: len(sample.x)):
            assert sample.origin is not None  # prepared from files or meshes
            found = task.fields_in_space(sample, output[:, : task.out_type.dim])
            columns = output[:, task.out_type.dim :].unbind(1)
            found |= {
                name: sample.origin.to_original_vertices(column.numpy())
                for name, column in zip(names, columns, strict=True)
            }
            yield MeshFieldValues(sample.name, sample.source, found)

    def _with_spread(self, result: xr.Dataset, maps: Maps) -> xr.Dataset:
        task = self.task
        assert isinstance(task, RegressionTask)
        names = _names(task)
        values = maps.values(lambda batch: self.spread(task, batch)[1], len(names))
        _, units = maps.names_of(task.spec["targets"])
        scalars, kind = task.out_type.multiplicities[0], task.out_type
        of_field = units[:scalars] + units[scalars::2]  # a vector has two variables
        said = {"deviation": "standard deviation of a component",
                "radius": f"holds the truth with probability {self.calibration.level:g}"}  # fmt: skip
        for k, name in enumerate(names):
            unit = of_field[k % kind.num_fields]
            attributes = {"long_name": said[name.rsplit("_", 1)[1]]} | ({} if unit is None else {"units": unit})
            result[name] = maps.variable(values[:, k], np.float32(np.nan), (), **attributes)
        return result

    def _with_sets(self, result: xr.Dataset) -> xr.Dataset:
        p = result["probability"].variable
        axis, data = p.dims.index("class"), p.data
        threshold = self.calibration.thresholds[0]

        def sets(values: NDArray) -> NDArray:
            last = np.moveaxis(values, axis, -1)
            return np.moveaxis(prediction_sets(last, threshold), -1, axis).astype(np.int8)

        def size(values: NDArray) -> NDArray:
            count = sets(values).sum(axis).astype(np.float32)
            return np.where(np.isfinite(values).all(axis), count, np.float32(np.nan))

        def nats(values: NDArray) -> NDArray:
            return entropy(np.moveaxis(values, axis, -1)).astype(np.float32)

        lazy = hasattr(data, "map_blocks")
        level = self.calibration.level
        says = f"set of classes that holds the true one with probability {level:g}"
        for name, compute, text in (("entropy", nats, "entropy in nats"), ("set_size", size, "classes in the set")):
            values = data.map_blocks(compute, drop_axis=axis, dtype=np.float32) if lazy else compute(data)
            result[name] = p.isel({"class": 0}).copy(data=values)
            result[name].attrs.update(long_name=text)
        result["in_set"] = p.copy(data=data.map_blocks(sets, dtype=np.int8) if lazy else sets(data))
        result["in_set"].attrs.update(long_name=says)
        result["in_set"].encoding = {"zlib": True, "complevel": 4}
        return result


@dataclass(frozen=True, eq=False)
class UncertainClass(MeshClass):
    """The class of a mesh, and the set of classes that holds it with the level of the calibration.

    Attributes
    ----------
    threshold : float
        Of :func:`~meshconv.uncertainty.prediction_sets`.
    """

    threshold: float

    columns = (*MeshClass.columns, "entropy", "set")

    @property
    def members(self) -> list[str]:
        """Names of the classes in the set."""
        inside = prediction_sets(self.probabilities, self.threshold)
        return [name for name, here in zip(self.class_names, inside, strict=True) if here]

    def row(self) -> dict[str, Any]:
        return super().row() | {"entropy": float(entropy(self.probabilities)), "set": " ".join(self.members)}


@dataclass(frozen=True, eq=False)
class UncertainLabels(MeshLabels):
    """Labels of a mesh's elements, with the entropy and the set of each.

    Attributes
    ----------
    threshold : float
        Of :func:`~meshconv.uncertainty.prediction_sets`.
    """

    threshold: float

    columns = (*MeshLabels.columns, "entropy", "set_size")

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Of each element, in nats, ``[n]``; NaN where it has no place."""
        return entropy(self.probabilities)

    @property
    def sets(self) -> NDArray[np.bool_]:
        """Whether a class is in the set of an element, ``[n, classes]``."""
        return prediction_sets(self.probabilities, self.threshold)

    def row(self) -> dict[str, Any]:
        known = self.classes >= 0
        means = [float(v[known].mean()) if known.any() else None for v in (self.entropy, self.sets.sum(1))]
        spread = {"entropy": means[0], "set_size": means[1], "entropies": None, "sets": None, "uncertainty": None}
        return super().row() | spread

    def write(self, place: Path) -> dict[str, Path]:
        """As any labels; ``<place>_entropy.npy``, ``<place>_sets.npy``, and ``<place>_uncertainty.png``, a picture."""
        keys = ("entropies", "sets", "uncertainty")
        ends = ("entropy.npy", "sets.npy", "uncertainty.png")
        written = {key: place.with_name(f"{place.name}_{end}") for key, end in zip(keys, ends, strict=True)}
        write_array(written["entropies"], self.entropy.astype(np.float32))
        write_array(written["sets"], self.sets)
        with atomic_write(written["uncertainty"]) as part:
            self.picture().savefig(part, format="png")
        return super().write(place) | written

    def picture(self) -> Figure:
        """Entropy and number of classes in the sets, side by side."""
        raw = self.raw()
        figure = Figure(figsize=(9, 4.6), dpi=110, layout="compressed")
        most = float(np.log(len(self.class_names)))
        for k, (title, values, limits) in enumerate([
            ("entropy, nats", self.entropy, (0.0, most)),
            ("classes in the set", np.where(self.classes >= 0, self.sets.sum(1), np.nan), (1.0, self.sets.shape[1])),
        ]):  # fmt: skip
            ax = figure.add_subplot(1, 2, k + 1)
            shown = draw_mesh(ax, raw, self._on_mesh(values), colors=Continuous("cividis", limits))
            shown.set(cmap="cividis", clim=limits)
            figure.colorbar(shown, ax=ax, shrink=0.7, label=title)
        return figure

    def _on_mesh(self, values: NDArray) -> NDArray:
        """Values at the vertices or faces of the mesh as it was read; a vertex has the mean of its edges."""
        raw = self.raw()
        if self.element == "edges":
            ends, known = edges_of(raw.faces), np.isfinite(values)
            total, count = (np.zeros(raw.num_vertices) for _ in range(2))
            for end in ends.T:
                np.add.at(total, end[known], values[known])
                np.add.at(count, end[known], 1)
            return np.where(count > 0, total / np.maximum(count, 1), np.nan)
        origin = file_origin(raw)
        return values[origin.face_from if self.element == "faces" else origin.vertex_from]


def _names(task: RegressionTask) -> list[str]:
    """Names of deviations, then of radii."""
    names = ["_".join(re.findall(r"\w+", name)) for name in task.field_names]
    found = [f"{name}_{what}" for what in ("deviation", "radius") for name in names]
    taken = [name for name in found if name in task.field_names]
    if taken:
        raise InputError(f"{taken[0]} is a field of the prediction; rename it to have deviations beside it")
    return found


def _units(task: RegressionTask) -> Tensor:
    """Size of each field, ``[num_fields]``."""
    kind = task.out_type
    first = kind.per_component(torch.arange(kind.num_fields, device=task.size.device))
    size = task.size.new_zeros(kind.num_fields)
    return size.scatter(0, first, task.size)
