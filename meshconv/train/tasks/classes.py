"""Classes of surfaces, and of their points, faces or edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.tables import write_table
from meshconv.train.metrics.confusion import Confusion
from meshconv.train.metrics.losses import ClassLoss, LossName
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.tasks.base import Task
from meshconv.viz.confusion import draw_confusion


class _ClassTask(Task):
    """Loss and metrics of classes.

    Parameters
    ----------
    network, in_type, options, learning_rate, weight_decay
        As in :class:`~meshconv.train.tasks.base.Task`; the data module has ``in_type``, ``class_names`` and ``spec``.
    class_names : list of str
    spec : dict
        How the data module made the inputs.
    label_smoothing, class_weights, loss, focal_gamma
        As in :class:`~meshconv.train.metrics.losses.ClassLoss`, where ``loss`` is ``kind``. ``class_weights:
        balanced`` counts the data module's training targets, ``class_counts``, when training starts.
    area_weights : bool, optional
        Whether points and faces count by their area, edges by their length, in loss and metrics. By default they do on
        maps, and on meshes count the same.
    """

    _of_points = False

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
        class_weights: list[float] | Literal["balanced"] | None = None,
        loss: LossName = "cross_entropy",
        focal_gamma: float = 2.0,
        area_weights: bool | None = None,
    ):
        if len(class_names or []) < 2:
            raise InputError(f"a classifier needs data of at least 2 classes, these have {class_names or 'none'}")
        super().__init__(network, in_type, len(class_names), options, learning_rate, weight_decay)
        self.save_hyperparameters()
        self.class_names = list(class_names)
        self.loss = ClassLoss(len(class_names), loss, class_weights, label_smoothing, focal_gamma)
        if area_weights and not self._of_points:
            raise InputError("area_weights is for points, faces and edges; whole surfaces count the same")
        self.weigh = spec.get("kind") == "maps" if area_weights is None else area_weights
        self.val_confusion, self.test_confusion = (Confusion(len(class_names)) for _ in range(2))

    def on_fit_start(self) -> None:
        if self.loss.balanced:
            counts = getattr(getattr(self.trainer, "datamodule", None), "class_counts", None)
            if counts is None:
                raise InputError("class_weights: balanced needs a data module with class_counts; give a list instead")
            self.loss.balance(self.match.counts(counts, len(self.class_names)).to(self.device))

    def _counted(self, batch: SurfaceBatch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits ``[N, classes]``, targets ``[N]`` and weights ``[N]`` of everything that counts."""
        batch = self.match(batch)
        logits = self(batch)
        counts = batch.target >= 0 if batch.mask is None else batch.mask & (batch.target >= 0)
        weights = point_weights(batch).expand(counts.shape)[counts] if self.weigh else None
        return logits[counts], batch.target[counts], weights

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        logits, target, weights = self._counted(batch)
        loss = self.loss(logits, target, weights)
        self.log_loss("train", loss, len(target))
        return loss

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        logits, target, weights = self._counted(batch)
        confusion = self.val_confusion if split == "val" else self.test_confusion
        confusion.update(logits.argmax(-1), target, weights)
        self.log_loss(split, self.loss(logits, target, weights), len(target))

    def on_validation_epoch_end(self) -> None:
        self._log_scores(self.val_confusion, "val")
        self.val_confusion.reset()

    def on_test_epoch_start(self) -> None:
        self.test_confusion.reset()  # at the end it is kept, for the files

    def on_test_epoch_end(self) -> None:
        self._log_scores(self.test_confusion, "test")
        iou = self.test_confusion.metrics.iou
        self.log_dict({f"test/iou/{n}": v for n, v in zip(self.class_names, iou, strict=True)}, sync_dist=True)

    def _log_scores(self, confusion: Confusion, split: str) -> None:
        metrics = confusion.metrics
        means = {"accuracy": metrics.accuracy, "mean_iou": metrics.mean_iou, "f1": metrics.mean_f1}
        self.log_dict({f"{split}/{name}": value for name, value in means.items()}, prog_bar=True, sync_dist=True)

    def test_details(self) -> dict[str, Any]:
        metrics = self.test_confusion.metrics
        share = metrics.confusion.sum(1) / metrics.confusion.sum()
        columns = {"share": share, **{n: getattr(metrics, n) for n in ("iou", "f1", "precision", "recall")}}
        rows = [{"name": n, **{k: float(v[c]) for k, v in columns.items()}} for c, n in enumerate(self.class_names)]
        return {"weighted_by": "area" if self.weigh else "count", "classes": rows}

    def write_test(self, folder: Path) -> None:
        """As any task, and ``confusion.csv`` and ``confusion.png``, with a row for each true class."""
        super().write_test(folder)
        confusion = self.test_confusion.compute().cpu().numpy()
        rows = [[name, *(f"{v:.9g}" for v in row)] for name, row in zip(self.class_names, confusion, strict=True)]
        write_table(folder / "confusion.csv", ["truth", *self.class_names], rows)
        with atomic_write(folder / "confusion.png") as part:
            draw_confusion(confusion, self.class_names).savefig(part, format="png", dpi=150)


class ClassificationTask(_ClassTask):
    """One class per surface."""


class SegmentationTask(_ClassTask):
    """One class per point, face or edge."""

    _of_points = True
