"""Numbers and tangent fields at the vertices of surfaces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.train.metrics.field_errors import FieldErrors
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.tasks.base import Task


class RegressionTask(Task):
    """Fields of any type per vertex: mean square error in units of what the training data vary by.

    Numbers are measured from their training mean in standard deviations, fields of order >= 1 in their root mean square
    length: nothing that has a direction. Both stand in the checkpoint. Vertices count by their area, and those whose
    target is NaN not at all.

    Parameters
    ----------
    network, in_type, options, learning_rate, weight_decay
        As in :class:`~meshconv.train.tasks.base.Task`; the network takes the type of the outputs as its second argument
        (:class:`~meshconv.models.FieldUNet`).
    field_names : list of str
        Names of the fields, in the order of ``out_type``.
    spec : dict
        How the data module made the inputs, and ``out_type``.
    area_weights
        False: all vertices count the same.
    """

    mean: Tensor
    size: Tensor

    def __init__(
        self,
        network: str,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        area_weights: bool = True,
    ):
        if "out_type" not in spec:
            raise InputError(f"a regression needs data with fields to predict, these have none: {spec.get('kind')}")
        super().__init__(network, in_type, spec["out_type"], options, learning_rate, weight_decay)
        self.save_hyperparameters()
        self.out_type, self.field_names, self.weigh = FieldType(spec["out_type"]), list(field_names), area_weights
        if len(field_names) != self.out_type.num_fields:
            raise InputError(f"{len(field_names)} names for {self.out_type.num_fields} fields of type {self.out_type}")
        self.register_buffer("mean", torch.zeros(self.out_type.dim))
        self.register_buffer("size", torch.ones(self.out_type.dim))
        self.val_errors, self.test_errors = FieldErrors(self.out_type), FieldErrors(self.out_type)

    def on_fit_start(self) -> None:
        statistics = getattr(getattr(self.trainer, "datamodule", None), "target_statistics", None)
        if statistics is not None and self.trainer.ckpt_path is None:  # weights go with those of their training
            self.normalise(*statistics)

    def normalise(self, mean: Tensor, size: Tensor) -> None:
        """Set what the loss is measured from and in, ``[fields]``; the mean is 0 for fields of order >= 1."""
        if mean[self.out_type.multiplicities[0] :].any():
            raise ValueError(f"fields with a direction have no mean that is the same in every gauge, got {mean}")
        self.mean.copy_(self.out_type.per_component(mean))
        self.size.copy_(self.out_type.per_component(size))

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Fields ``[..., V, out_type.dim]`` in units of the data."""
        return super().forward(batch) * self.size + self.mean

    def _compared(self, batch: SurfaceBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prediction, target, weights, and the loss."""
        batch = self.match(batch)
        predicted = self(batch)
        weights = point_weights(batch) if self.weigh else torch.ones(len(batch.target), device=predicted.device)
        if batch.mask is not None:
            weights = weights * batch.mask
        off = (predicted - batch.target) / self.size
        known = ~batch.target.isnan()
        a = weights.to(predicted.dtype)[:, None] * known
        loss = (a * torch.where(known, off, 0.0) ** 2).sum() / a.sum().clamp(min=torch.finfo(a.dtype).tiny)
        return predicted, batch.target, weights, loss

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        loss = self._compared(batch)[-1]
        self.log_loss("train", loss, len(batch.target))
        return loss

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        predicted, target, weights, loss = self._compared(batch)
        (self.val_errors if split == "val" else self.test_errors).update(predicted, target, weights)
        self.log_loss(split, loss, len(target))

    def on_validation_epoch_end(self) -> None:
        self._log_errors(self.val_errors, "val")

    def on_test_epoch_end(self) -> None:
        self._log_errors(self.test_errors, "test")

    def _log_errors(self, measured: FieldErrors, split: str) -> None:
        found = measured.errors
        measured.reset()
        for name, values in found.items():
            fields = self.field_names[len(self.field_names) - len(values) :]
            shown = {f"{split}/{name}/{field}": value for field, value in zip(fields, values, strict=True)}
            self.log_dict(shown, prog_bar=name == "relative_l2", sync_dist=True)
