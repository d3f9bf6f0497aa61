"""Prediction of fields and of classes at the vertices or faces of meshes, and of their numbers, by one network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.transfer.elements import ElementLabels, elements_of_file
from meshconv.datasets.meshes.transfer.file_fields import fields_in_space
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.nn.pool import GlobalPool
from meshconv.train.inference.regression import MeshFieldValues, RegressionInference
from meshconv.train.predict.meshes import Meshes, MeshResult


@dataclass(frozen=True, eq=False)
class MeshJointValues(MeshFieldValues):
    """Fields and classes at the vertices or faces of a mesh's file, and numbers of the mesh.

    Attributes
    ----------
    numbers : dict of str to float
    """

    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]  # those of the task's numbers
        return ("file", *self.numbers) if self.numbers else ()

    def row(self) -> dict[str, Any]:
        return {**super().row(), **self.numbers}


class JointInference(RegressionInference):
    r"""Fields in units of the data, and among their scalars logits of classes, and numbers of the mesh.

    A number is the mean of a scalar f of the network over the mesh, by areas a of vertices, a third of the triangles
    round each: :math:`n = \sum_v a_v f_v / \sum_v a_v`. All vertices and faces of the mesh have it in the output. An
    integral such as drag is that mean times the area.

    Attributes
    ----------
    labels : dict of str to list
        Values of the classes of each label.
    classes : dict of str to slice
        Components of each label's logits.
    numbers : list of str
    whole : slice
        Components of the numbers.
    """

    @classmethod
    def check_spec(cls, spec: Mapping[str, Any]) -> None:
        super().check_spec(spec)
        labels, numbers = spec.get("labels"), spec.get("numbers", [])
        if not isinstance(labels, dict) or not all(
            isinstance(values, list) and len(values) > 1 and all(type(v) in (int, str) for v in values)
            for values in labels.values()
        ):
            raise InputError(f"labels {labels!r} are no lists of whole numbers or words by name")
        named = isinstance(numbers, list) and all(isinstance(name, str) for name in numbers)
        if not named or len(set(numbers)) < len(numbers):
            raise InputError(f"numbers {numbers!r} are no list of names, each once")
        if not labels and not numbers:
            raise InputError("there are no labels and no numbers")

    def complete(self) -> None:
        super().complete()
        self.labels: dict[str, list[int | str]] = self.spec["labels"]
        self.numbers: list[str] = self.spec.get("numbers", [])
        names = [*(f"{name}={value}" for name, values in self.labels.items() for value in values), *self.numbers]
        fields = self.out_type.multiplicities[0] - len(names)  # scalars before these
        first = next((k for k in range(fields + 1) if self.field_names[k : k + len(names)] == names), None)
        if first is None:
            raise InputError(f"{', '.join(names)} are not among the scalars of {', '.join(self.field_names)}")
        ends = np.cumsum([first, *(len(values) for values in self.labels.values())]).tolist()
        self.classes = {name: slice(*ends[k : k + 2]) for k, name in enumerate(self.labels)}
        self.whole = slice(ends[-1], first + len(names))
        self.others = slice(first, first + len(names))
        self.fields_type = FieldType.from_multiplicities([fields, *self.out_type.multiplicities[1:]])
        self.fields_names = self.field_names[: self.others.start] + self.field_names[self.others.stop :]
        self.mean_over_mesh = GlobalPool(f"{len(self.numbers)}x0", "area") if self.numbers else None

    def at_points(self, batch: SurfaceBatch) -> Tensor:
        x, graph = super().at_points(batch), batch.surface.finest
        if self.mean_over_mesh is None:
            return x
        numbers = self.mean_over_mesh(x[..., self.whole], graph)[..., graph.batch_index, :]
        return torch.cat([x[..., : self.whole.start], numbers, x[..., self.whole.stop :]], dim=-1)

    def describe_output(self) -> dict[str, Any]:
        """``numbers`` are names of columns whose rows are all alike."""
        return {**super().describe_output(), **({"numbers": list(self.numbers)} if self.numbers else {})}

    def of_fields(self, x: Tensor) -> Tensor:
        """Components of the fields alone, ``[..., fields_type.dim]``."""
        return torch.cat([x[..., : self.others.start], x[..., self.others.stop :]], dim=-1)

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        """Fields, numbers, and of each label the values of the likeliest classes: words by their place among them.

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
            of_mesh = dict(zip(self.numbers, output[0, self.whole].tolist(), strict=True))
            yield MeshJointValues(sample.name, sample.source, fields, kind, of_mesh)
