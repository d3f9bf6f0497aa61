"""Classification: one class per surface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.train.predict.meshes import Meshes, MeshResult
from meshconv.train.report.case import Case
from meshconv.train.tasks.classes import ClassTask


@dataclass(frozen=True, eq=False)
class MeshClass(MeshResult):
    """The class of a mesh.

    Attributes
    ----------
    label : str
        The most probable class.
    probability : float
        Its probability.
    probabilities : float32 [classes]
    class_names : list of str
    """

    label: str
    probability: float
    probabilities: NDArray[np.float32]
    class_names: list[str]

    columns: ClassVar[tuple[str, ...]] = ("file", "class", "probability")

    def row(self) -> dict[str, Any]:
        each = dict(zip(self.class_names, self.probabilities.tolist(), strict=True))
        return {"file": self.name, "class": self.label, "probability": self.probability, "probabilities": each}


class ClassificationTask(ClassTask):
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

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshClass]:
        names = self.class_names
        for sample, logits in meshes.outputs(self, meshes.prepare(), lambda _: 1):
            p = logits[0].softmax(-1)
            best = int(p.argmax())
            yield MeshClass(sample.name, sample.source, names[best], float(p[best]), p.numpy(), names)
