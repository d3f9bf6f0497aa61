"""Several tasks at once: fields and classes at the vertices or faces of meshes, and their numbers, by one network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import ModuleDict, functional

from meshconv.datasets.batch import SurfaceBatch
from meshconv.fields import FieldType
from meshconv.ranks import mean_over_ranks
from meshconv.train.inference.joint import JointInference
from meshconv.train.metrics.confusion import Confusion
from meshconv.train.metrics.number_errors import NumberErrors
from meshconv.train.tasks.regression import RegressionTask


class JointTask(JointInference, RegressionTask):
    r"""Fields and classes at the vertices or faces of meshes, and numbers of whole meshes.

    The loss is :math:`L + w \sum_k H_k + v N`: the mean square error of the normalised fields as of
    :class:`~meshconv.train.RegressionTask`, and of each label the mean cross entropy of its classes. Elements count by
    their area in both, those whose field or class is unknown not at all. N is the mean over meshes and their known
    numbers of :math:`(n - t)^2 / s^2`, with the standard deviation s of the training's numbers t, and the mean
    :math:`n = \sum_v a_v f_v / \sum_v a_v` of a further scalar f of the network over the mesh, by areas a of vertices.
    An integral such as drag is that mean times the area. ``field_weights`` weigh numbers among each other, too.

    Parameters
    ----------
    network, in_type, field_names, spec, options
        As of :class:`~meshconv.train.RegressionTask`, of :class:`~meshconv.datasets.MeshFieldsAndLabels`.
    label_weight, number_weight
        The weights w and v.
    training
        Further arguments of :class:`~meshconv.train.RegressionTask`.
    """

    target_kind = "fields at the vertices with classes or numbers"

    def __init__(
        self,
        network: str,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        *,
        label_weight: float = 1.0,
        number_weight: float = 1.0,
        **training: Any,
    ):
        super().__init__(network, in_type, field_names, spec, options, **training)
        self.label_weight, self.number_weight = label_weight, number_weight
        counts = {str(k): len(values) for k, values in enumerate(self.labels.values())}
        self.val_classes = ModuleDict({k: Confusion(count) for k, count in counts.items()})
        self.test_classes = ModuleDict({k: Confusion(count) for k, count in counts.items()})
        self.val_numbers, self.test_numbers = (NumberErrors(len(self.numbers)) for _ in range(2))

    @property
    def measured(self) -> tuple[FieldType, list[str]]:
        return self.fields_type, self.fields_names

    def of_measured(self, x: Tensor) -> Tensor:
        return self.of_fields(x)

    def of_meshes(self, x: Tensor, batch: SurfaceBatch) -> Tensor:
        """Numbers ``[G, numbers]`` of each mesh in outputs or targets: those of its first element."""
        member = batch.member
        first = torch.searchsorted(member, torch.arange(batch.surface.finest.num_graphs, device=member.device))
        return x[first, self.whole]

    def compared(self, batch: SurfaceBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        predicted, target, weights, loss = super().compared(batch)
        if not self.numbers:
            return predicted, target, weights, loss
        said, true = self.of_meshes(predicted, batch), self.of_meshes(target, batch)
        known = ~true.isnan()
        a = known * self.weight[self.whole]
        square = torch.where(known, (said - true) / self.size[self.whole], 0.0) ** 2
        total = mean_over_ranks(a.sum()) if self.training else a.sum()
        of_numbers = (a * square).sum() / total.clamp(min=torch.finfo(a.dtype).tiny)
        return predicted, target, weights, loss + self.number_weight * of_numbers

    def error(self, predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        fields = target.clone()
        fields[..., self.whole] = torch.nan
        loss = predicted.new_zeros(())
        for part in self.classes.values():
            truth = target[..., part]
            fields[..., part] = torch.nan
            known = ~truth.isnan().all(-1)
            a = weights.to(predicted.dtype)[known]
            said, true = predicted[..., part][known], truth[known].nan_to_num().argmax(-1)
            total = mean_over_ranks(a.sum()) if self.training else a.sum()
            entropy = (a * functional.cross_entropy(said, true, reduction="none")).sum()
            loss = loss + entropy / total.clamp(min=torch.finfo(a.dtype).tiny)
        return super().error(predicted, fields, weights) + self.label_weight * loss

    def measure_others(self, batch: SurfaceBatch, predicted: Tensor, target: Tensor, split: str) -> None:
        if self.numbers:
            numbers = self.val_numbers if split == "val" else self.test_numbers
            numbers.update(self.of_meshes(predicted, batch), self.of_meshes(target, batch))
        measured = self.val_classes if split == "val" else self.test_classes
        for metric, part in zip(measured.values(), self.classes.values(), strict=True):
            truth = target[..., part]
            known = ~truth.isnan().all(-1)
            assert isinstance(metric, Confusion)
            metric.update(predicted[..., part][known].argmax(-1), truth[known].nan_to_num().argmax(-1))

    def on_validation_epoch_start(self) -> None:
        self.val_numbers.measure_from(self.mean[self.whole])

    def on_test_epoch_start(self) -> None:
        self.test_numbers.measure_from(self.mean[self.whole])

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self._log_others(self.val_classes, self.val_numbers, "val")

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self._log_others(self.test_classes, self.test_numbers, "test")

    def _log_others(self, measured: ModuleDict, numbers: NumberErrors, split: str) -> None:
        if self.numbers:
            self.log_errors(numbers.errors, self.numbers, split, "r2")
            numbers.reset()
        for name, metric in zip(self.labels, measured.values(), strict=True):
            assert isinstance(metric, Confusion)
            found = metric.metrics
            metric.reset()
            if found.confusion.any():
                shown = {f"{split}/accuracy/{name}": found.accuracy, f"{split}/mean_iou/{name}": found.mean_iou}
                self.log_dict(shown, prog_bar=True, sync_dist=True)
