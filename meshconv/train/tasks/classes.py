"""Base class of classification and segmentation: loss, metrics, and files of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.protocol import ClassData, demand
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.tables import write_table
from meshconv.train.inference.classes import ClassInference
from meshconv.train.metrics.confusion import Confusion
from meshconv.train.metrics.losses import ClassLoss, OwnLoss
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.tasks.base import Task
from meshconv.viz.confusion import draw_confusion


class ClassTask(ClassInference, Task):
    """Loss and metrics of classes.

    Parameters
    ----------
    network, in_type, spec, options
        As in :class:`~meshconv.train.tasks.base.Task`.
    class_names : list of str
    label_smoothing, class_weights, focal_gamma
        As in :class:`~meshconv.train.metrics.losses.ClassLoss`, whose ``kind`` is ``loss``. ``class_weights: balanced``
        counts the data's training targets (:class:`~meshconv.datasets.protocol.ClassData`) when training starts.
    loss : str
        A kind of that loss, or the path of another class, see :class:`~meshconv.train.metrics.losses.OwnLoss`.
    loss_options : dict, optional
        Arguments of that class.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.
    """

    def __init__(
        self,
        network: str,
        in_type: str,
        class_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        *,
        label_smoothing: float = 0.0,
        class_weights: list[float] | Literal["balanced"] | None = None,
        loss: str = "cross_entropy",
        loss_options: dict[str, Any] | None = None,
        focal_gamma: float = 2.0,
        **training: Any,
    ):
        if len(class_names or []) < 2:
            found = ", ".join(class_names or []) or "none"
            raise InputError(f"a classifier needs data of at least two classes, these have {found}")
        super().__init__(network, in_type, spec, len(class_names), options, **training)
        self.loss: ClassLoss | OwnLoss
        if "." in loss:
            if class_weights is not None or label_smoothing:
                raise InputError(f"class_weights and label_smoothing are not for {loss}; give it loss_options")
            self.loss = OwnLoss(loss, loss_options)
        else:
            if loss_options:
                raise InputError(f"loss_options are for losses by class path, not for {loss}")
            self.loss = ClassLoss(len(class_names), loss, class_weights, label_smoothing, focal_gamma)
        self.weigh = False
        self.val_confusion, self.test_confusion = (Confusion(len(class_names)) for _ in range(2))

    def on_fit_start(self) -> None:
        if isinstance(self.loss, ClassLoss) and self.loss.balanced:
            data = demand(self.data, ClassData, "class_weights: balanced")
            self.loss.balance(self.match.counts(data.class_counts, len(self.class_names)).to(self.device))

    def counted(self, batch: SurfaceBatch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits ``[N, classes]``, targets ``[N]`` and weights ``[N]`` of everything that counts."""
        batch = self.match(batch)
        logits = self(batch)
        self.check_rows(logits, batch.target)
        counts = batch.target >= 0 if batch.mask is None else batch.mask & (batch.target >= 0)
        weights = point_weights(batch).expand(counts.shape)[counts] if self.weigh else None
        return logits[counts], batch.target[counts], weights

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        logits, target, weights = self.counted(batch)
        loss = self.loss(logits, target, weights)
        self.log_loss("train", loss, len(target))
        return loss

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        logits, target, weights = self.counted(batch)
        confusion = self.val_confusion if split == "val" else self.test_confusion
        confusion.update(logits.argmax(-1), target, weights)
        self.log_loss(split, self.loss(logits, target, weights), len(target))

    def on_validation_epoch_end(self) -> None:
        self._log_metrics(self.val_confusion, "val")
        self.val_confusion.reset()

    def on_test_epoch_start(self) -> None:
        self.test_confusion.reset()  # at the end it is kept, for the files

    def on_test_epoch_end(self) -> None:
        self._log_metrics(self.test_confusion, "test")
        iou = self.test_confusion.metrics.iou
        self.log_dict({f"test/iou/{n}": v for n, v in zip(self.class_names, iou, strict=True)}, sync_dist=True)

    def _log_metrics(self, confusion: Confusion, split: str) -> None:
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
