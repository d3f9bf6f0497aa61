"""Prediction of fields and of classes at the vertices or faces of meshes, by one network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from meshconv.datasets.meshes.transfer.elements import ElementLabels, elements_of_file
from meshconv.datasets.meshes.transfer.file_fields import fields_in_space
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.train.inference.regression import MeshFieldValues, RegressionInference
from meshconv.train.predict.meshes import Meshes, MeshResult


class JointInference(RegressionInference):
    """Fields in units of the data, and logits of classes among their scalars.

    Attributes
    ----------
    labels : dict of str to list
        Values of the classes of each label.
    classes : dict of str to slice
        Components of each label's logits.
    """

    @classmethod
    def check_spec(cls, spec: Mapping[str, Any]) -> None:
        super().check_spec(spec)
        labels = spec.get("labels")
        if not isinstance(labels, dict) or not all(
            isinstance(values, list) and len(values) > 1 and all(type(v) in (int, str) for v in values)
            for values in labels.values()
        ):
            raise InputError(f"labels {labels!r} are no lists of whole numbers or words by name")

    def complete(self) -> None:
        super().complete()
        self.labels: dict[str, list[int | str]] = self.spec["labels"]
        counts = [len(values) for values in self.labels.values()]
        vectors = sum(self.out_type.multiplicities[1:])
        names = [f"{name}={value}" for name, values in self.labels.items() for value in values]
        first = next((k for k in range(len(self.field_names)) if self.field_names[k : k + len(names)] == names), None)
        if first is None:
            raise InputError(f"fields {', '.join(self.field_names)} have no classes {', '.join(names)} among them")
        ends = np.cumsum([first, *counts]).tolist()
        self.classes = {name: slice(*ends[k : k + 2]) for k, name in enumerate(self.labels)}
        self.fields_type = FieldType.from_multiplicities([self.out_type.multiplicities[0] - len(names), vectors])
        self.fields_names = self.field_names[:first] + self.field_names[ends[-1] :]

    def of_fields(self, x: Tensor) -> Tensor:
        """Components of the fields alone, ``[..., fields_type.dim]``."""
        ends = list(self.classes.values())
        return torch.cat([x[..., : ends[0].start], x[..., ends[-1].stop :]], dim=-1)

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        """Fields, and of each label the values of the most probable classes: words by their numbers among the classes.

        Where the file has no place for an element a field is NaN, and a class -1.
        """
        kind: Literal["vertices", "faces"] = "faces" if self.on_faces else "vertices"
        samples = meshes.prepare(ElementLabels(kind))
        for sample, output in meshes.outputs(self, samples, lambda s: len(s.target)):
            fields: dict[str, Any] = fields_in_space(
                self.of_fields(output), self.fields_type, self.fields_names, self.tangent, self.on_faces, sample
            )
            place = elements_of_file(kind, sample, sample.raw())
            for name, part in self.classes.items():
                values = self.labels[name]
                numbers = values if all(isinstance(v, int) for v in values) else range(len(values))
                found = np.append(np.array(numbers, dtype=np.int32), np.int32(-1))
                fields[name] = found[np.where(place >= 0, output[:, part].argmax(-1).numpy()[place], -1)]
            yield MeshFieldValues(sample.name, sample.source, fields, kind)
