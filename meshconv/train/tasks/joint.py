"""Several tasks at once: fields and classes at the vertices or faces of meshes, by one network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import ModuleDict, functional

from meshconv.fields import FieldType
from meshconv.ranks import mean_over_ranks
from meshconv.train.inference.joint import JointInference
from meshconv.train.metrics.confusion import Confusion
from meshconv.train.tasks.regression import RegressionTask


class JointTask(JointInference, RegressionTask):
    r"""Fields and classes at the vertices or faces of meshes.

    The loss is :math:`L + w \sum_k H_k`: the mean square error of the normalised fields as of
    :class:`~meshconv.train.RegressionTask`, and of each label the mean cross entropy of its classes. Elements count by
    their area in both, those whose field or class is unknown not at all.

    Parameters
    ----------
    network, in_type, field_names, spec, options
        As of :class:`~meshconv.train.RegressionTask`, of :class:`~meshconv.datasets.MeshFieldsAndLabels`.
    label_weight
        The weight w.
    training
        Further arguments of :class:`~meshconv.train.RegressionTask`.
    """

    target_kind = "fields and classes at the vertices"

    def __init__(
        self,
        network: str,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        *,
        label_weight: float = 1.0,
        **training: Any,
    ):
        super().__init__(network, in_type, field_names, spec, options, **training)
        self.label_weight = label_weight
        counts = {str(k): len(values) for k, values in enumerate(self.labels.values())}
        self.val_classes = ModuleDict({k: Confusion(count) for k, count in counts.items()})
        self.test_classes = ModuleDict({k: Confusion(count) for k, count in counts.items()})

    @property
    def measured(self) -> tuple[FieldType, list[str]]:
        return self.fields_type, self.fields_names

    def of_measured(self, x: Tensor) -> Tensor:
        return self.of_fields(x)

    def error(self, predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        fields = target.clone()
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

    def count_classes(self, predicted: Tensor, target: Tensor, split: str) -> None:
        measured = self.val_classes if split == "val" else self.test_classes
        for metric, part in zip(measured.values(), self.classes.values(), strict=True):
            truth = target[..., part]
            known = ~truth.isnan().all(-1)
            assert isinstance(metric, Confusion)
            metric.update(predicted[..., part][known].argmax(-1), truth[known].nan_to_num().argmax(-1))

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self._log_classes(self.val_classes, "val")

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self._log_classes(self.test_classes, "test")

    def _log_classes(self, measured: ModuleDict, split: str) -> None:
        for name, metric in zip(self.labels, measured.values(), strict=True):
            assert isinstance(metric, Confusion)
            found = metric.metrics
            metric.reset()
            if found.confusion.any():
                shown = {f"{split}/accuracy/{name}": found.accuracy, f"{split}/mean_iou/{name}": found.mean_iou}
                self.log_dict(shown, prog_bar=True, sync_dist=True)
