"""Regression: scalars and tangent fields at the vertices of surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.elements import file_origin
from meshconv.datasets.protocol import FieldData, demand
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.io.meshes.save import save_mesh
from meshconv.nn.ambient import to_ambient
from meshconv.ranks import mean_over_ranks
from meshconv.train.metrics.field_errors import FieldErrors
from meshconv.train.metrics.losses import OwnLoss
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.predict.files import write_array
from meshconv.train.predict.meshes import Meshes, MeshResult
from meshconv.train.tasks.base import Task


class RegressionTask(Task):
    """Regression of fields of any type per vertex, with the mean square error of normalised fields.

    Numbers are measured from their training mean in standard deviations, fields of order >= 1 in their root mean square
    length: nothing that has a direction. Both stand in the checkpoint. Vertices count by their area, and those whose
    target is NaN not at all.

    Parameters
    ----------
    network, in_type, spec, options
        As in :class:`~meshconv.train.tasks.base.Task`; the network takes the type of the outputs as its second argument
        (:class:`~meshconv.models.FieldUNet`).
    field_names : list of str
        Names of the fields, in the order of ``out_type``.
    area_weights
        False: all vertices count the same.
    loss : str, optional
        Path of another class (:class:`~meshconv.train.metrics.losses.OwnLoss`). It is called with known components,
        prediction and target ``[n]``, in the units above.
    loss_options : dict, optional
        Arguments of that class.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.
    """

    target_kind = "fields at the vertices"

    mean: Tensor
    size: Tensor

    def __init__(
        self,
        network: str,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        area_weights: bool = True,
        loss: str | None = None,
        loss_options: dict[str, Any] | None = None,
        **training: Any,
    ):
        if "out_type" not in spec:
            raise InputError(f"a regression needs data with fields to predict, these have none: {spec.get('data')}")
        super().__init__(network, in_type, spec, spec["out_type"], options, **training)
        self.loss = None if loss is None else OwnLoss(loss, loss_options)
        self.out_type, self.field_names, self.weigh = FieldType(spec["out_type"]), list(field_names), area_weights
        if len(field_names) != self.out_type.num_fields:
            raise InputError(f"{len(field_names)} names for {self.out_type.num_fields} fields of type {self.out_type}")
        self.register_buffer("mean", torch.zeros(self.out_type.dim))
        self.register_buffer("size", torch.ones(self.out_type.dim))
        self.val_errors, self.test_errors = FieldErrors(self.out_type), FieldErrors(self.out_type)

    def on_fit_start(self) -> None:
        if self.data is not None and self.trainer.ckpt_path is None:  # weights go with those of their training
            self.normalise(*demand(self.data, FieldData, "regression").target_statistics)

    def normalise(self, mean: Tensor, size: Tensor) -> None:
        """Set what the loss is measured from and in, ``[fields]``; the mean is 0 for fields of order >= 1."""
        if mean[self.out_type.multiplicities[0] :].any():
            raise ValueError(f"fields with a direction have no mean that is the same in every gauge, got {mean}")
        self.mean.copy_(self.out_type.per_component(mean))
        self.size.copy_(self.out_type.per_component(size))

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Fields ``[..., V, out_type.dim]`` in units of the data."""
        return super().forward(batch) * self.size + self.mean

    def compared(self, batch: SurfaceBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prediction, target, weights, and the loss."""
        batch = self.match(batch)
        predicted = self(batch)
        self.check_rows(predicted, batch.target)
        weights = point_weights(batch) if self.weigh else torch.ones(len(batch.target), device=predicted.device)
        if batch.mask is not None:
            weights = weights * batch.mask
        off = (predicted - batch.target) / self.size
        known = ~batch.target.isnan()
        a = weights.to(predicted.dtype)[:, None] * known
        if self.loss is not None:
            units = [((field - self.mean) / self.size)[known] for field in (predicted, batch.target)]
            return predicted, batch.target, weights, self.loss(*units, a[known] if self.weigh else None)
        total = mean_over_ranks(a.sum()) if self.training else a.sum()
        loss = (a * torch.where(known, off, 0.0) ** 2).sum() / total.clamp(min=torch.finfo(a.dtype).tiny)
        return predicted, batch.target, weights, loss

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        loss = self.compared(batch)[-1]
        self.log_loss("train", loss, len(batch.target))
        return loss

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        predicted, target, weights, loss = self.compared(batch)
        (self.val_errors if split == "val" else self.test_errors).update(predicted, target, weights)
        self.log_loss(split, loss, len(target))

    def on_validation_epoch_end(self) -> None:
        self._log_errors(self.val_errors, "val")

    def on_test_epoch_end(self) -> None:
        self._log_errors(self.test_errors, "test")

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshFieldValues]:
        for sample, output in meshes.outputs(self, meshes.prepare(), lambda sample: len(sample.x)):
            assert sample.origin is not None  # prepared from files or meshes
            graph = sample.surface.finest
            columns = list(output[:, self.out_type.slice(0)].unbind(1)) if 0 in self.out_type.orders else []
            if 1 in self.out_type.orders:
                vectors = f"{self.out_type.multiplicities[1]}x1"
                columns += to_ambient(output[:, self.out_type.slice(1)], graph, vectors).unbind(1)
            values = [sample.origin.to_original_vertices(column.numpy()) for column in columns]
            fields = dict(zip(self.field_names, values, strict=True))
            yield MeshFieldValues(sample.name, sample.source, fields)

    def _log_errors(self, measured: FieldErrors, split: str) -> None:
        found = measured.errors
        measured.reset()
        for name, values in found.items():
            fields = self.field_names[len(self.field_names) - len(values) :]
            shown = {f"{split}/{name}/{field}": value for field, value in zip(fields, values, strict=True)}
            self.log_dict(shown, prog_bar=name == "relative_l2", sync_dist=True)


@dataclass(frozen=True, eq=False)
class MeshFieldValues(MeshResult):
    """Fields at the vertices of a mesh's file.

    Attributes
    ----------
    fields : dict of float32 [V] or [V, 3]
        Numbers, and vectors in space; NaN where the repair left out a vertex.
    """

    fields: dict[str, NDArray[np.float32]]

    def row(self) -> dict[str, Any]:
        return {"file": self.name, **dict.fromkeys(self.fields)}

    def write(self, place: Path) -> dict[str, Path]:
        """``<place>_<field>.npy`` of each, and ``<place>.ply``, the mesh with all at its vertices."""
        written = {}
        for name, values in self.fields.items():
            written[name] = place.with_name(f"{place.name}_{name}.npy")
            write_array(written[name], values)
        raw = self.raw()
        place_of = file_origin(raw).vertex_from
        data = {name: values[place_of] for name, values in self.fields.items()}
        picture = place.with_name(f"{place.name}.ply")
        save_mesh(replace(raw, vertex_data=data, face_data={}), picture)
        return written | {"picture": picture}
