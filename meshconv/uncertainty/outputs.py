"""Outputs of a task on a split of its data, with targets, areas, and the surface of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.progress import Progress
from meshconv.train.checkpoints.matching import TargetMatch, combine
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.tasks.base import Task
from meshconv.train.tasks.classes import ClassTask
from meshconv.train.tasks.forecast import ForecastTask
from meshconv.train.tasks.joint import JointTask
from meshconv.train.tasks.regression import RegressionTask
from meshconv.train.tasks.shape_regression import ShapeRegressionTask
from meshconv.uncertainty.sampled import Kind, Sampled


@dataclass(frozen=True)
class Outputs:
    """What a network gives where the truth is known; N points, elements or surfaces.

    Attributes
    ----------
    samples : float Tensor [S, N, out]
        Logits, or fields in units of the network.
    target : int64 [N] or float [N, out]
        Classes, or fields in those units, NaN where unknown.
    weights : float64 [N]
        Areas, or 1.
    surface : int64 [N]
    """

    samples: Tensor
    target: Tensor
    weights: Tensor
    surface: Tensor


def kind_of(task: Task) -> Kind:
    """Whether a task predicts classes or fields; an :class:`~meshconv.InputError` for any other."""
    if isinstance(task, ClassTask):
        return "classes"
    if isinstance(task, RegressionTask) and not isinstance(task, ForecastTask | JointTask | ShapeRegressionTask):
        if task.on_faces or not task.tangent:
            raise InputError("uncertainty is of fields at vertices whose vectors are tangential; train with those")
        return "fields"
    raise InputError(f"{type(task).__name__}: uncertainty is of classification, segmentation and regression")


def network_arguments(batch: SurfaceBatch) -> tuple:
    """What a task calls its network with."""
    given = [part for part in (batch.elements, batch.shares) if part is not None]
    return (batch.x, batch.surface, *given)


def batches_of(task: Task, data: Any, split: str) -> Iterator[tuple[SurfaceBatch, Tensor, Tensor, Tensor]]:
    """Batches of a split; and of each which rows of the output count, their targets and weights.

    Raises
    ------
    InputError
        The data do not fit the task, or have no such split.
    """
    keys = ("in_type", "class_names", "field_names", "spec")
    given = {key: getattr(data, key, None) for key in keys}
    combine(task.hparams, given | {"in_type": str(given["in_type"])})
    match = TargetMatch.of(task.hparams, data)
    if hasattr(data, "take_statistics"):
        data.take_statistics(task.spec)
    loader = getattr(data, f"{split}_dataloader")()
    if not len(loader):
        raise InputError(f"the data have no split {split}; set val_fraction above 0, or use another --split")
    with Progress(len(loader), f"{split} data", "batch") as progress, torch.no_grad():
        for batch in loader:
            batch = match(batch.to(task.device))
            yield batch, *_counted(task, batch)
            progress.update()


def collect(task: Task, data: Any, split: str, network: Sampled) -> Outputs:
    """Outputs of all samples of a network on a split of a task's data."""
    parts: list[tuple[Tensor, ...]] = []
    start = 0
    for batch, counts, target, weights in batches_of(task, data, split):
        numbers = _surfaces(batch, counts)
        outputs = network.samples(*network_arguments(batch))[:, counts]
        parts.append((outputs.cpu(), target.cpu(), weights.cpu(), (numbers[counts] + start).cpu()))
        start += int(numbers.max()) + 1
    samples, *others = (list(part) for part in zip(*parts, strict=True))
    found = Outputs(torch.cat(samples, dim=1), *map(torch.cat, others))
    if not len(found.target):
        raise InputError(f"the split {split} has no targets; use another --split")
    return found


def _counted(task: Task, batch: SurfaceBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Rows that count, bool as the targets; targets of these, of fields in units of the network; and weights."""
    target = batch.target
    if isinstance(task, RegressionTask):
        counts = torch.isfinite(target).any(-1)
        mean = task.mean if task.frames is None else task.latest(batch.x)
        target = (target - mean) / task.size
    else:
        counts = target >= 0
    if batch.mask is not None:
        counts = counts & batch.mask
    weigh = bool(getattr(task, "weigh", False))
    weights = point_weights(batch).expand(counts.shape) if weigh else torch.ones_like(counts, dtype=torch.float64)
    return counts, target[counts], weights[counts]


def _surfaces(batch: SurfaceBatch, counts: Tensor) -> Tensor:
    """Number of the surface of each row of the output."""
    graph = batch.surface.finest
    if batch.x.ndim == 3:
        return torch.arange(len(batch.x), device=counts.device)[:, None].expand(counts.shape)
    if batch.elements is not None:
        return graph.batch_index[batch.elements[:, 0]]
    return torch.arange(len(counts), device=counts.device) if len(counts) == graph.num_graphs else graph.batch_index
