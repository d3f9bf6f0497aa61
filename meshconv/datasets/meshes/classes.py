"""Data module of mesh classification."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any, ClassVar

import torch

from meshconv.datasets.loader import Loader
from meshconv.datasets.meshes.files import check_fractions, cut, warn_of_duplicates
from meshconv.datasets.meshes.layouts.classes import find_mesh_files
from meshconv.datasets.meshes.module import MeshData
from meshconv.errors import InputError

log = logging.getLogger(__name__)


class MeshFolder(MeshData):
    """Data module of meshes in ``root/<class>/train|test/<file>``, or ``root/<class>/<file>`` with a random split.

    Other layouts are described in :func:`~meshconv.datasets.meshes.layouts.classes.find_mesh_files`.

    Parameters
    ----------
    root
        The folder; every format that :func:`~meshconv.io.meshes.load.load_mesh` reads.
    test_fraction
        Share of each class for testing where the folder has no ``train`` and ``test``; 1: all are for testing.
    val_fraction
        Share of each class's training meshes for validation.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Attributes
    ----------
    class_names : list of str
        Sorted.
    """

    target_kind: ClassVar[str] = "a class for each mesh"

    def __init__(self, root: str, test_fraction: float = 0.2, val_fraction: float = 0.0, **options: Any):
        super().__init__(**options)
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        self.root = Path(root)
        files = find_mesh_files(self.root, self.pattern)
        self.class_names = sorted(files)
        for label, name in enumerate(self.class_names):
            split = split_class(files[name], test_fraction, val_fraction, random.Random(f"{self.seed}/{name}"))
            if test_fraction > 0 and not split["test"]:
                log.warning("%s: no test mesh of class %r", self.root / name, name)
            for part, paths in split.items():
                self.files[part] += [(path, label) for path in paths]
        warn_of_duplicates(*([path for path, _ in self.files[part]] for part in ("train", "test")))

    def train_dataloader(self) -> Loader:
        for name, count in zip(self.class_names, self.class_counts.tolist(), strict=True):
            if not count:
                raise InputError(
                    f"{self.root / name}: no training mesh is left for class {name!r}; put some of it there, or take "
                    "those for testing away"
                )
        return super().train_dataloader()

    @property
    def class_counts(self) -> torch.Tensor:
        """Training meshes of each class, int64 ``[classes]``."""
        labels = torch.tensor([label for _, label in self.files["train"]], dtype=torch.int64)
        return labels.bincount(minlength=len(self.class_names))


def split_class(
    parts: dict[str, list[Path]], test_fraction: float, val_fraction: float, rng: random.Random
) -> dict[str, list[Path]]:
    """Training, validation and test files of one class; at least one of several is kept for each wanted part."""
    train, val, test = (list(parts.get(name, [])) for name in ("train", "val", "test"))
    if "" in parts:
        train, test = cut(parts[""], test_fraction, rng)
    if not val:
        train, val = cut(train, val_fraction, rng)
    return {"train": train, "val": val, "test": test}
