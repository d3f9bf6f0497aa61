"""Classification: one class per surface."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.train.inference.classification import ClassificationInference
from meshconv.train.report.case import Case
from meshconv.train.tasks.classes import ClassTask


class ClassificationTask(ClassificationInference, ClassTask):
    """One class per surface."""

    target_kind = "a class for each mesh"

    def cases(self, batch: SurfaceBatch, output: Tensor) -> Iterator[Case]:
        """By the logarithm of the true class's probability."""
        probabilities = output.detach().double().softmax(-1).cpu()
        for name, p, target in zip(batch.names, probabilities, batch.target.tolist(), strict=True):
            if target < 0:
                continue
            best = int(p.argmax())
            note = "right" if best == target else f"is {self.class_names[target]}"
            error = -float(p[target].clamp(min=1e-300).log())
            yield Case(name, error, f"{self.class_names[best]} ({p[best]:.0%})", note)
