"""Segmentation: one class per point, face or edge, of meshes and of maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.train.inference.segmentation import SegmentationInference
from meshconv.train.report.case import Case, each_surface
from meshconv.train.tasks.classes import ClassTask


class SegmentationTask(SegmentationInference, ClassTask):
    """One class per point, face or edge.

    Parameters
    ----------
    network, in_type, class_names, spec, options
        As in :class:`~meshconv.train.tasks.base.Task`, and names of the classes.
    area_weights : bool, optional
        Whether points and faces count by their area, edges by their length, in loss and metrics. By default as the data
        have it: on maps they do, on meshes all count the same.
    classes
        Further arguments of :class:`~meshconv.train.tasks.classes.ClassTask`.
    """

    target_kind = "a class for each element"

    def __init__(
        self,
        network: str,
        in_type: str,
        class_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        area_weights: bool | None = None,
        **classes: Any,
    ):
        super().__init__(network, in_type, class_names, spec, options, **classes)
        self.weigh = bool(self.spec.get("area_weights")) if area_weights is None else area_weights

    def cases(self, batch: SurfaceBatch, output: Tensor) -> Iterator[Case]:
        """By the share of wrong elements."""
        at = "points" if "inputs" in self.spec else self.spec.get("element", "vertices")
        probabilities = output.detach().softmax(-1).cpu().numpy()
        target = batch.target.cpu().numpy()
        mask = None if batch.mask is None else batch.mask.cpu().numpy()
        for name, place in each_surface(batch):
            p, truth = probabilities[place], target[place]
            counts = truth >= 0 if mask is None else (truth >= 0) & mask[place]
            if not counts.any():
                continue
            said = p.argmax(-1)
            wrong = float((said != truth)[counts].mean())
            # What does not count is not shown as right or wrong.
            true = {"class": np.where(counts, truth, -1)}
            shown = {"class": np.where(counts, said, -1), "probability": np.where(counts, p.max(-1), np.nan)}
            about = f"{wrong:.1%} wrong", f"of {counts.sum():,} {at}"
            yield Case(name, wrong, *about, true, shown, at, tuple(self.class_names))
