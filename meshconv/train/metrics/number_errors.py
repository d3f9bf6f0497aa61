"""Errors of numbers of whole meshes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class NumberErrors(Metric):
    r"""Errors of each number over meshes, summed over batches and processes in float64.

    With truths t and predictions p of those that are known: the mean absolute error :math:`\sum |p-t| / n`, the
    relative error :math:`\sum |p-t| / \sum |t|`, the root mean square error, and the coefficient of determination
    :math:`R^2 = 1 - \sum (p-t)^2 / \sum (t-\bar t)^2`, which is 0 for the mean of the truths and 1 for no error.

    Parameters
    ----------
    count
        Of numbers.

    Examples
    --------
    >>> metric = NumberErrors(1)
    >>> metric.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]))
    >>> round(float(metric.errors["mae"]), 3), round(float(metric.errors["relative_error"]), 3)
    (1.0, 0.4)
    """

    full_state_update = False
    sums: Tensor
    about: Tensor

    def __init__(self, count: int):
        super().__init__()
        # Number, absolute error, squared error, absolute truth, truth and its square, these two about a fixed number.
        self.add_state("sums", torch.zeros(6, count, dtype=torch.float64), dist_reduce_fx="sum")
        self.register_buffer("about", torch.zeros(count, dtype=torch.float64), persistent=False)

    def measure_from(self, about: Tensor) -> None:
        """Sums of squares are about these numbers ``[count]``, near the truths, and so keep their digits."""
        self.about.copy_(about)

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add meshes ``[G, count]``; targets that are NaN are unknown."""
        predicted, target = predicted.to(torch.float64), target.to(torch.float64)
        known = ~target.isnan()
        error, off = (predicted - target).abs(), target - self.about
        rows = (known.to(torch.float64), error, error**2, target.abs(), off, off**2)
        self.sums += torch.stack([torch.where(known, row, 0.0).sum(0) for row in rows])

    def compute(self) -> Tensor:
        return self.sums

    @property
    def errors(self) -> dict[str, Tensor]:
        """Errors by name, ``[count]``, over all processes; NaN where nothing was compared, or all truths are one."""
        number, absolute, square, size, off, off_square = self.compute()
        spread = off_square - off**2 / number
        return {
            "mae": absolute / number,
            "relative_error": absolute / size,
            "rmse": (square / number).sqrt(),
            "r2": torch.where(spread > 1e-12 * off_square, 1 - square / spread, torch.nan),
        }
