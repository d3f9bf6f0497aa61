"""Prediction of one class per surface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.train.inference.classes import ClassInference
from meshconv.train.predict.meshes import Meshes, MeshResult


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


class ClassificationInference(ClassInference):
    """One class per surface."""

    @classmethod
    def check_spec(cls, spec: Mapping[str, Any]) -> None:
        super().check_spec(spec)
        if "class_values" in spec or "inputs" in spec:
            raise InputError("its data have a class for each element, a classification has one for each mesh")

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshClass]:
        names = self.class_names
        for sample, logits in meshes.outputs(self, meshes.prepare(), lambda _: 1):
            p = logits[0].softmax(-1)
            best = int(p.argmax())
            yield MeshClass(sample.name, sample.source, names[best], float(p[best]), p.numpy(), names)
