"""What is optimised and measured: one Lightning module per kind of task."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from meshconv import models
from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError


class Task(lightning.LightningModule):
    """Cross-entropy, AdamW with a one-cycle schedule, metrics on every split.

    All arguments are plain values and stand in the checkpoint, so that it is enough to predict.

    Parameters
    ----------
    network : str
        Name of a class in :mod:`meshconv.models`.
    options : dict
        Its arguments besides ``in_type`` and ``num_classes``.
    in_type : str
        Field type of the inputs; the data module knows it.
    class_names : list of str
    spec : dict
        How the data module made the inputs.
    learning_rate, weight_decay
        Peak of the schedule, and AdamW's decay.
    label_smoothing
        Share of the target spread over all classes.
    class_weights : list of float, optional
        Weight of each class in the loss.
    """

    def __init__(
        self,
        network: str,
        in_type: str,
        class_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        if len(class_names) < 2:
            raise InputError(f"a classifier needs at least 2 classes, the data has {len(class_names)}: {class_names}")
        known = {name: getattr(models, name) for name in models.__all__}
        if network not in known:
            raise InputError(f"network {network!r} is not known; use one of {', '.join(known)}")
        try:
            self.network: nn.Module = known[network](in_type, len(class_names), **(options or {}))
        except TypeError as error:
            raise InputError(f"options of {network}: {error}") from error
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        if weights is not None and len(weights) != len(class_names):
            raise InputError(f"class_weights has {len(weights)} entries for {len(class_names)} classes")
        self.loss = nn.CrossEntropyLoss(weights, ignore_index=-1, label_smoothing=label_smoothing)
        metrics = self._metrics(len(class_names))
        self.val_metrics, self.test_metrics = metrics.clone("val/"), metrics.clone("test/")

    @staticmethod
    def _metrics(num_classes: int) -> MetricCollection:
        return MetricCollection({"accuracy": MulticlassAccuracy(num_classes, average="micro")})

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Class scores: of each surface, or of each point."""
        return self.network(batch.x, batch.surface)

    def _scored(self, batch: SurfaceBatch) -> tuple[Tensor, Tensor]:
        """Scores ``[N, classes]`` and targets ``[N]`` of everything that counts."""
        scores = self(batch)
        counts = batch.target >= 0 if batch.mask is None else batch.mask & (batch.target >= 0)
        return scores[counts], batch.target[counts]

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        scores, target = self._scored(batch)
        loss = self.loss(scores, target)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(target))
        return loss

    def validation_step(self, batch: SurfaceBatch, index: int) -> None:
        self._evaluate(batch, self.val_metrics, "val")

    def test_step(self, batch: SurfaceBatch, index: int) -> None:
        self._evaluate(batch, self.test_metrics, "test")

    def _evaluate(self, batch: SurfaceBatch, metrics: MetricCollection, split: str) -> None:
        scores, target = self._scored(batch)
        metrics.update(scores, target)
        size = len(target)
        self.log(f"{split}/loss", self.loss(scores, target), on_epoch=True, batch_size=size)
        self.log_dict(metrics, on_epoch=True, prog_bar=True, batch_size=size)

    def configure_optimizers(self) -> Any:
        rate = self.hparams["learning_rate"]
        optimizer = torch.optim.AdamW(self.parameters(), rate, weight_decay=self.hparams["weight_decay"])
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ClassificationTask(Task):
    """One class per surface."""


class SegmentationTask(Task):
    """One class per point; metrics are accuracy over points, and mean IoU over the classes in truth or prediction."""

    @staticmethod
    def _metrics(num_classes: int) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "mean_iou": MulticlassJaccardIndex(num_classes, average="macro"),
            }
        )
