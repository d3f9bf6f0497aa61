"""Relative errors of each mesh."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from meshconv.fields import FieldType


class MeshErrors(Metric):
    r"""Mean over meshes of the relative error of each field, over points that all count the same.

    :math:`\frac1G \sum_g \sqrt{\sum_{p \in g} |p-t|^2 / \sum_{p \in g} |t|^2}`, as benchmarks of simulations state it.
    Meshes without a known value of a field, or on which it is 0, do not count in its mean.

    Parameters
    ----------
    field_type : FieldType or str

    Examples
    --------
    >>> metric = MeshErrors("1x0")
    >>> metric.update(torch.tensor([[1.0], [1.0], [4.0]]), torch.tensor([[2.0], [2.0], [4.0]]), torch.tensor([0, 0, 1]))
    >>> float(metric.relative_l2)
    0.25
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, field_type: FieldType | str):
        super().__init__()
        self.field_type = FieldType(field_type)
        # Relative errors, and number of meshes.
        zeros = torch.zeros(2, self.field_type.num_fields, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor, mesh: Tensor) -> None:
        """Add points ``[N, dim]`` with the number of the mesh of each ``[N]``; NaN in the target is unknown."""
        predicted, target = predicted.to(torch.float64), target.to(torch.float64)
        truth = self.field_type.norms(target)
        known = ~truth.isnan()
        error = torch.where(known, self.field_type.norms(predicted - target), 0.0)
        count = int(mesh.max()) + 1 if len(mesh) else 0
        both = torch.stack([error**2, torch.where(known, truth, 0.0) ** 2])
        of_meshes = both.new_zeros(2, count, both.shape[-1]).index_add(1, mesh, both)
        there = of_meshes[1] > 0
        ratio = torch.where(there, of_meshes[0] / torch.where(there, of_meshes[1], 1.0), 0.0)
        self.sums += torch.stack([ratio.sqrt().sum(0), there.sum(0).to(torch.float64)])

    def compute(self) -> Tensor:
        return self.sums

    @property
    def relative_l2(self) -> Tensor:
        """Mean relative error ``[fields]`` over all processes; NaN where nothing was compared."""
        total, count = self.compute()
        return total / count
