"""A folder of meshes with one sub-folder per class."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import torch

from meshconv.datasets.mesh_data import MeshData, check_fractions, cut, meshes_in, warn_of_duplicates
from meshconv.errors import InputError

log = logging.getLogger(__name__)


class MeshFolder(MeshData):
    """Meshes in ``root/<class>/train|test/<file>``, or in ``root/<class>/<file>`` with a seeded split.

    Parameters
    ----------
    root
        The folder; every format that trimesh reads.
    test_fraction
        Share of each class for testing where the folder has no ``train`` and ``test``.
    val_fraction
        Share of each class's training meshes for validation.
    options
        Preparation and batches: see :class:`~meshconv.datasets.mesh_data.MeshData`.

    Attributes
    ----------
    class_names : list of str
        Sub-folders, sorted.
    """

    def __init__(self, root: str, test_fraction: float = 0.2, val_fraction: float = 0.0, **options: Any):
        super().__init__(**options)
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        self.root = Path(root)
        files = find_mesh_files(self.root)
        self.class_names = sorted(files)
        for label, name in enumerate(self.class_names):
            split = split_class(files[name], test_fraction, val_fraction, random.Random(f"{self.seed}/{name}"))
            if not split["train"]:
                raise InputError(f"{self.root / name}: no training mesh is left for class {name!r}")
            if test_fraction > 0 and not split["test"]:
                log.warning("%s: no test mesh of class %r", self.root / name, name)
            for part, paths in split.items():
                self.files[part] += [(path, label) for path in paths]
        warn_of_duplicates(*([path for path, _ in self.files[part]] for part in ("train", "test")))

    @property
    def spec(self) -> dict[str, Any]:
        """How inputs are made, for prediction."""
        return {"kind": "meshes", **self.how.spec}

    @property
    def class_counts(self) -> torch.Tensor:
        """Training meshes of each class, int64 ``[classes]``."""
        return torch.tensor([label for _, label in self.files["train"]]).bincount(minlength=len(self.class_names))


def find_mesh_files(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Mesh files per class and part (``"train"``, ``"test"``, or ``""`` directly in the class folder).

    Raises
    ------
    InputError
        If the folder is missing, holds no meshes, or only one class.
    """
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; give one with a sub-folder of meshes per class")
    found: dict[str, dict[str, list[Path]]] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        parts = {part: meshes_in(folder / part) for part in ("train", "test")}
        if not any(parts.values()):
            parts = {"": meshes_in(folder)}
        if any(parts.values()):
            found[folder.name] = parts
        else:
            log.warning("%s: no mesh files, so no class %r", folder, folder.name)
    if not found:
        loose = len(meshes_in(root))
        hint = f" ({loose} lie directly in it)" if loose else ""
        raise InputError(f"{root}: no meshes in class sub-folders{hint}; put them in {root}/<class>/<file>")
    if len(found) == 1:
        raise InputError(f"{root}: only one class, {next(iter(found))!r}; a classifier needs at least two")
    return found


def split_class(
    parts: dict[str, list[Path]], test_fraction: float, val_fraction: float, rng: random.Random
) -> dict[str, list[Path]]:
    """Training, validation and test files of one class; at least one of several is kept for each wanted part."""
    if "" in parts:
        train, test = cut(parts[""], test_fraction, rng)
    else:
        train, test = list(parts["train"]), list(parts["test"])
    train, val = cut(train, val_fraction, rng)
    return {"train": train, "val": val, "test": test}
