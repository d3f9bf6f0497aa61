"""Regression of numbers of whole meshes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.fields import FieldType
from meshconv.train.inference.shape_regression import ShapeRegressionInference
from meshconv.train.metrics.number_errors import NumberErrors
from meshconv.train.report.case import Case
from meshconv.train.tasks.regression import RegressionTask


class ShapeRegressionTask(ShapeRegressionInference, RegressionTask):
    """A number or several per mesh, with the mean square error of numbers in standard deviations of the training.

    Mean and standard deviation of the training stand in the checkpoint. Meshes whose number is unknown do not count in
    it.

    Parameters
    ----------
    network, in_type, spec, options
        As in :class:`~meshconv.train.tasks.base.Task` (:class:`~meshconv.models.ShapeRegressor`).
    field_names : list of str
        Names of the numbers.
    loss, loss_options, field_weights
        As in :class:`~meshconv.train.tasks.regression.RegressionTask`.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.
    """

    target_kind = "numbers for each mesh"

    def __init__(
        self,
        network: str,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        *,
        loss: str | None = None,
        loss_options: dict[str, Any] | None = None,
        field_weights: Mapping[str, float] | None = None,
        **training: Any,
    ):
        training["area_weights"] = False  # a mesh has one area
        super().__init__(
            network, in_type, field_names, spec, options, loss=loss, loss_options=loss_options,
            field_weights=field_weights, **training,
        )  # fmt: skip
        count = FieldType(spec["out_type"]).dim
        self.val_numbers, self.test_numbers = NumberErrors(count), NumberErrors(count)

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        predicted, target, _, loss = self.compared(batch)
        measured = self.val_numbers if split == "val" else self.test_numbers
        measured.update(predicted, target)
        self.log_loss(split, loss, len(target))

    def on_validation_epoch_start(self) -> None:
        self.val_numbers.measure_from(self.mean)

    def on_test_epoch_start(self) -> None:
        self.test_numbers.measure_from(self.mean)

    def on_validation_epoch_end(self) -> None:
        self._log_numbers(self.val_numbers, "val")

    def on_test_epoch_end(self) -> None:
        self._log_numbers(self.test_numbers, "test")

    def cases(self, batch: SurfaceBatch, output: Tensor) -> Iterator[Case]:
        """By the root mean square error in the numbers' standard deviations."""
        sizes = self.size.cpu()
        for name, said, truth in zip(batch.names, output.detach().cpu(), batch.target.cpu(), strict=True):
            square = ((said - truth) / sizes) ** 2
            if square.isnan().all():
                continue
            texts = [", ".join(f"{n} {v:.4g}" for n, v in zip(self.field_names, x.tolist(), strict=True))
                     for x in (said, truth)]  # fmt: skip
            yield Case(name, float(square.nanmean().sqrt()), texts[0], f"is {texts[1]}")

    def _log_numbers(self, measured: NumberErrors, split: str) -> None:
        found = measured.errors
        measured.reset()
        self.log_errors(found, self.field_names, split, "r2")
