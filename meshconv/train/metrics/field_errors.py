"""Errors of predicted fields."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from meshconv.fields import FieldType


class FieldErrors(Metric):
    r"""Errors of each field over weighted points, summed over batches and processes in float64.

    With weights a, truth t and prediction p: the root mean square error :math:`\sqrt{\sum a |p-t|^2 / \sum a}`, the
    relative error :math:`\sqrt{\sum a |p-t|^2 / \sum a |t|^2}`, and of fields of order >= 1 the mean cosine
    :math:`\sum a \, p \cdot t / (|p||t|) / \sum a` over points where neither vanishes. All are gauge-invariant.

    Parameters
    ----------
    field_type : FieldType or str

    Notes
    -----
    ``tests/test_regression.py`` compares with torchmetrics, and in another gauge.

    Examples
    --------
    >>> metric = FieldErrors("1x1")
    >>> metric.update(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]]), torch.ones(1))
    >>> round(float(metric.errors["rmse"]), 3)
    2.236
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, field_type: FieldType | str):
        super().__init__()
        self.field_type = FieldType(field_type)
        # Weight, squared error, squared truth, weight where directions are compared, their cosines.
        zeros = torch.zeros(5, self.field_type.num_fields, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor, weights: Tensor) -> None:
        """Add points; components of the target that are NaN are unknown.

        Parameters
        ----------
        predicted, target : Tensor [N, dim]
        weights : Tensor [N]
        """
        predicted, target = predicted.to(torch.float64), target.to(torch.float64)
        truth = self.field_type.norms(target)
        known = ~truth.isnan()
        a = weights.to(torch.float64)[:, None] * known
        error = self.field_type.norms(predicted - target)
        lengths = self.field_type.norms(predicted)
        dot = (lengths**2 + truth**2 - error**2) / 2
        both = lengths * truth
        compared = a * (both > 0)
        cosine = torch.where(both > 0, dot / both, 0.0).clamp(-1, 1)
        rows = (a, a * error**2, a * truth**2, compared, compared * cosine)
        self.sums += torch.stack([torch.where(known, row, 0.0).sum(0) for row in rows])

    def compute(self) -> Tensor:
        return self.sums

    @property
    def errors(self) -> dict[str, Tensor]:
        """Errors by name, ``[fields]``, over all processes; ``cosine`` is of fields of order >= 1 alone.

        NaN where nothing was compared.
        """
        weight, error, truth, compared, cosine = self.compute()
        first = self.field_type.multiplicities[0]
        return {
            "rmse": (error / weight).sqrt(),
            "relative_l2": (error / truth).sqrt(),
            "cosine": (cosine / compared)[first:],
        }
