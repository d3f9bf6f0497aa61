"""Data module of several tasks at once: fields, and classes by several names, at the vertices or faces of meshes."""

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
from meshconv.datasets.meshes.sample import PreparedMesh
from meshconv.datasets.meshes.segments import labels_of
from meshconv.datasets.meshes.transfer.elements import ElementLabels
from meshconv.errors import InputError
from meshconv.fields import FieldType

log = logging.getLogger(__name__)


class MeshFieldsAndLabels(MeshFields):
    """Data module of fields, as :class:`MeshFields` has them, and of classes at the same vertices or faces.

    A label is an attribute of the mesh files with whole numbers or words, or an overlay (``aparc``). Its classes are
    the values that occur. Each is a scalar behind those of the fields, 1 where an element is of the class and else 0,
    which :class:`~meshconv.train.JointTask` learns as logits.

    Parameters
    ----------
    root, fields, element, tangent, test_fraction, val_fraction
        As of :class:`MeshFields`.
    labels : list of str
        Names of the attributes.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Attributes
    ----------
    labels : dict of str to list
        The values of each, ascending.
    field_names : list of str
        Names of the scalars, then ``side=1`` for the class 1 of ``side``, then of vectors.

    Raises
    ------
    InputError
        As of :class:`MeshFields`; a label that is not there, or has one value alone.
    """

    target_kind: ClassVar[str] = "fields and classes at the vertices"

    def __init__(
        self,
        root: str,
        fields: Sequence[str],
        labels: Sequence[str],
        element: Place = "vertices",
        tangent: bool = True,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        **options: Any,
    ):
        super().__init__(root, fields, element, tangent, test_fraction, val_fraction, **options)
        if not labels or len({*labels, *fields}) < len(labels) + len(fields):
            raise InputError(f"labels {list(labels)}: name at least one, each once and none of the fields")
        given = self._given(labels)
        occur = {name: {v for values in given.values() for v in values[name].tolist()} for name in labels}
        self.labels = {name: sorted(values, key=lambda v: (isinstance(v, str), v)) for name, values in occur.items()}
        for name, values in self.labels.items():
            if len(values) < 2:
                raise InputError(f"{root}: label {name!r} has the value {values[0]!r} alone; leave it out")
        scalars, vectors = self.out_type.multiplicities[0], sum(self.out_type.multiplicities[1:])
        columns = [f"{name}={value}" for name, values in self.labels.items() for value in values]
        self.field_names[scalars:scalars] = columns
        self.out_type = FieldType.from_multiplicities([scalars + len(columns), vectors])
        self.classes = slice(scalars, scalars + len(columns))
        for split, files in self.files.items():
            self.files[split] = [
                (path, _Both(target, self._classes(path, given[path]), scalars))
                for path, target in files
                if path in given and callable(target)
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
        return {**super().spec, "labels": {name: list(values) for name, values in self.labels.items()}}

    @cached_property
    def target_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """As of :class:`MeshFields`; 0 and 1 of classes, whose logits have no unit."""
        mean, size = super().target_statistics
        mean[self.classes], size[self.classes] = 0.0, 1.0
        return mean, size


@dataclass(frozen=True)
class _Both:
    """Fields with classes as scalars behind ``scalars`` of them."""

    fields: Callable[[PreparedMesh], tuple[torch.Tensor, torch.Tensor | None]]
    labels: list[tuple[ElementLabels, int]]
    scalars: int

    def __call__(self, mesh: PreparedMesh) -> tuple[torch.Tensor, torch.Tensor | None]:
        target, elements = self.fields(mesh)
        parts = []
        for label, count in self.labels:
            classes = label(mesh)[0]
            known = classes >= 0 if elements is not None else (classes >= 0) & (mesh.surface.finest.areas > 0)
            one = torch.nn.functional.one_hot(classes.clamp(min=0), count).to(target.dtype)
            parts.append(torch.where(known[:, None], one, torch.nan))
        return torch.cat([target[:, : self.scalars], *parts, target[:, self.scalars :]], dim=1), elements

