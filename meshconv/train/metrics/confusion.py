"""Classification metrics from a weighted confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Metrics of a confusion matrix; NaN where nothing was counted.

    Attributes
    ----------
    confusion : float64 Tensor [classes, classes]
        Total weight of points by true (row) and predicted class (column).
    """

    confusion: Tensor

    @property
    def accuracy(self) -> Tensor:
        """Share of correct predictions."""
        return self.confusion.diagonal().sum() / self.confusion.sum()

    @property
    def recall(self) -> Tensor:
        """Share of each class that is predicted correctly, ``[classes]``."""
        return self.confusion.diagonal() / self.confusion.sum(1)

    @property
    def precision(self) -> Tensor:
        """Share of correct predictions of each class, ``[classes]``."""
        return self.confusion.diagonal() / self.confusion.sum(0)

    @property
    def iou(self) -> Tensor:
        """Intersection over union of truth and prediction, ``[classes]``; NaN for a class that is in neither."""
        right = self.confusion.diagonal()
        return right / (self.confusion.sum(0) + self.confusion.sum(1) - right)

    @property
    def f1(self) -> Tensor:
        """Harmonic mean of precision and recall, ``[classes]``; NaN for a class that is in neither."""
        return 2 * self.confusion.diagonal() / (self.confusion.sum(0) + self.confusion.sum(1))

    @property
    def mean_iou(self) -> Tensor:
        """Mean over the classes in truth or prediction: one that is in neither is left out."""
        return self.iou.nanmean()

    @property
    def mean_f1(self) -> Tensor:
        """Mean over the classes in truth or prediction ("macro"): one that is in neither is left out."""
        return self.f1.nanmean()


class Confusion(Metric):
    """Weighted confusion matrix, summed over batches and processes in float64.

    Parameters
    ----------
    num_classes

    Notes
    -----
    ``tests/test_metrics.py`` compares with torchmetrics' accuracy, Jaccard index, F1 and confusion matrix, which
    know no weights, and with two processes.

    Examples
    --------
    >>> metric = Confusion(2)
    >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([1.0, 2.0, 3.0]))
    >>> metric.compute().tolist()
    [[1.0, 2.0], [0.0, 3.0]]
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        """Add points.

        Parameters
        ----------
        predicted, target : int64 Tensor [N]
            None below 0.
        weights : Tensor [N], optional
            All 1 by default.
        """
        cells = self.num_classes**2
        place = target * self.num_classes + predicted
        added = torch.bincount(place, None if weights is None else weights.to(torch.float64), cells)
        self.confusion += added.view_as(self.confusion)

    def compute(self) -> Tensor:
        return self.confusion

    @property
    def metrics(self) -> ClassMetrics:
        """Accuracy, IoU and the like, over all processes."""
        return ClassMetrics(self.compute())
