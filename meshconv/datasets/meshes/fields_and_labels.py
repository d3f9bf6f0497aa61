"""Data module of several tasks at once: fields and classes at the vertices or faces of meshes, and their numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from meshconv.datasets.meshes.fields import MeshFields
from meshconv.datasets.meshes.layouts.arrays import Place
from meshconv.datasets.meshes.layouts.segments import LabelledFile
from meshconv.datasets.meshes.numbers import number_statistics, numbers_of
from meshconv.datasets.meshes.sample import PreparedMesh
from meshconv.datasets.meshes.segments import labels_of
from meshconv.datasets.meshes.transfer.elements import ElementLabels
from meshconv.errors import InputError
from meshconv.fields import FieldType

log = logging.getLogger(__name__)


class MeshFieldsAndLabels(MeshFields):
    """Data module of fields, as :class:`MeshFields` has them, with classes at their elements or numbers of the meshes.

    A label is an attribute of the mesh files with whole numbers or words, or an overlay (``aparc``). Its classes are
    the values that occur. Each is a scalar behind those of the fields, 1 where an element is of the class and else 0,
    which :class:`~meshconv.train.JointTask` learns as logits. Behind these each number is a scalar that is the same at
    all elements of a mesh, and NaN where unknown.

    Parameters
    ----------
    root, fields, element, tangent, test_fraction, val_fraction
        As of :class:`MeshFields`.
    labels : list of str
        Names of the attributes.
    numbers : list of str
        Columns of a table, as :class:`MeshNumbers` reads them: drag beside pressure, age beside thickness. Meshes
        without a row are left out. Numbers that depend on the absolute size need ``size: true``.
    table
        Path of the table, below ``root`` or any. By default the only ``.csv`` or ``.tsv`` file below it.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Attributes
    ----------
    labels : dict of str to list
        The values of each, ascending.
    field_names : list of str
        Names of the scalars, then ``side=1`` for the class 1 of ``side``, then of numbers, then of vectors.

    Raises
    ------
    InputError
        As of :class:`MeshFields` and :class:`MeshNumbers`; a label that is not there, or has one value alone.
    """

    target_kind: ClassVar[str] = "fields at the vertices with classes or numbers"

    def __init__(
        self,
        root: str,
        fields: Sequence[str],
        labels: Sequence[str] = (),
        numbers: Sequence[str] = (),
        table: str | None = None,
        element: Place = "vertices",
        tangent: bool = True,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        **options: Any,
    ):
        super().__init__(root, fields, element, tangent, test_fraction, val_fraction, **options)
        if not labels and not numbers:
            raise InputError("labels and numbers are empty: name some; fields alone are MeshFields (--config regress)")
        if len({*fields, *labels, *numbers}) < len(fields) + len(labels) + len(numbers):
            raise InputError(f"labels {list(labels)}, numbers {list(numbers)}: name each once and none of the fields")
        if numbers and self.max_vertices is not None:
            raise InputError(f"max_vertices {self.max_vertices}: a patch has no number of its mesh; leave one out")
        if table is not None and not numbers:
            raise InputError(f"table {table}: name columns of it in numbers")
        self.numbers = list(numbers)
        paths = sorted(path for files in self.files.values() for path, _ in files)
        of_meshes = numbers_of(self.root, paths, numbers, table)[1] if numbers else {path: [] for path in paths}
        given = self._given(labels)
        occur = {name: {v for values in given.values() for v in values[name].tolist()} for name in labels}
        self.labels = {name: sorted(values, key=lambda v: (isinstance(v, str), v)) for name, values in occur.items()}
        for name, values in self.labels.items():
            if len(values) < 2:
                raise InputError(f"{root}: label {name!r} has the value {values[0]!r} alone; leave it out")
        scalars, vectors = self.out_type.multiplicities[0], sum(self.out_type.multiplicities[1:])
        columns = [f"{name}={value}" for name, values in self.labels.items() for value in values]
        self.classes = slice(scalars, scalars + len(columns))
        self.whole = slice(self.classes.stop, self.classes.stop + len(numbers))
        self.field_names[scalars:scalars] = [*columns, *numbers]
        self.out_type = FieldType.from_multiplicities([self.whole.stop, vectors])
        for split, files in self.files.items():
            self.files[split] = [
                (path, _All(target, self._classes(path, given[path]), tuple(of_meshes[path]), scalars))
                for path, target in files
                if path in given and path in of_meshes and callable(target)
            ]

    def _given(self, labels: Sequence[str]) -> dict[Path, dict[str, np.ndarray]]:
        """Values of the labels of each file that has all of them."""
        found, problem = {}, ""
        for path in [path for files in self.files.values() for path, _ in files]:
            try:
                found[path] = {name: labels_of(LabelledFile(path, None), name, self.element) for name in labels}
            except InputError as error:
                if self.strict:
                    raise
                log.warning("skipped: %s", error)
                problem = problem or str(error)
        if not found:
            raise InputError(f"{self.root}: no mesh has the labels {', '.join(labels)}: {problem}")
        return found

    def _classes(self, path: Path, given: dict[str, np.ndarray]) -> list[tuple[ElementLabels, int]]:
        """Of each label the class of each element, and how many classes there are."""
        found = []
        for name, values in self.labels.items():
            number = {value: k for k, value in enumerate(values)}
            classes = np.array([number[value] for value in given[name].tolist()], dtype=np.int64)
            found.append((ElementLabels(self.element, classes, f"{path}: label {name!r}"), len(values)))
        return found

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of inputs and targets, in plain values."""
        labels = {name: list(values) for name, values in self.labels.items()}
        return {**super().spec, "labels": labels, "numbers": list(self.numbers)}

    @cached_property
    def target_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """As of :class:`MeshFields` and :class:`MeshNumbers`; 0 and 1 of classes, whose logits have no unit."""
        of_meshes = torch.stack([sample.target[0, self.whole] for sample in self.samples("train")]).to(torch.float64)
        numbers = number_statistics(self.root, self.numbers, of_meshes)
        mean, size = super().target_statistics
        mean[self.whole], size[self.whole] = numbers
        mean[self.classes], size[self.classes] = 0.0, 1.0
        return mean, size


@dataclass(frozen=True)
class _All:
    """Fields with classes and numbers as scalars behind ``scalars`` of them."""

    fields: Callable[[PreparedMesh], tuple[torch.Tensor, torch.Tensor | None]]
    labels: list[tuple[ElementLabels, int]]
    numbers: tuple[float, ...]
    scalars: int

    def __call__(self, mesh: PreparedMesh) -> tuple[torch.Tensor, torch.Tensor | None]:
        target, elements = self.fields(mesh)
        parts = []
        for label, count in self.labels:
            classes = label(mesh)[0]
            known = classes >= 0 if elements is not None else (classes >= 0) & (mesh.surface.finest.areas > 0)
            one = torch.nn.functional.one_hot(classes.clamp(min=0), count).to(target.dtype)
            parts.append(torch.where(known[:, None], one, torch.nan))
        parts.append(target.new_tensor(self.numbers).expand(len(target), -1))
        return torch.cat([target[:, : self.scalars], *parts, target[:, self.scalars :]], dim=1), elements
