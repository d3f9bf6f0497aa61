"""ShapeNet-Car: pressure on cars (Umetani and Bickel 2018), with the split that later work compares on."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshconv.datasets.meshes.fields import MeshFields
from meshconv.datasets.meshes.files import Split, cut
from meshconv.datasets.meshes.layouts.segments import LabelledFile
from meshconv.errors import InputError

log = logging.getLogger(__name__)

_MESH = "quadpress_smpl.vtk"


class ShapeNetCar(MeshFields):
    """Data module of ShapeNet-Car: ``root/param0/<car>/quadpress_smpl.vtk`` with ``press.npy`` beside it.

    Cars of one of the nine folders ``param0`` to ``param8`` are for testing: with the first, 100 of 889. Cars without
    one of the two files are left out, which the published set has four of. Points that no quadrilateral uses have no
    target.

    Parameters
    ----------
    root
        The folder ``training_data`` of the archive, or the one above it.
    fold
        Number of the folder for testing.
    val_fraction
        Share of the training cars for validation.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Raises
    ------
    InputError
        No such folders or files.
    """

    def __init__(self, root: str, fold: int = 0, val_fraction: float = 0.0, **options: Any):
        given = Path(root)
        folder = given / "training_data" if (given / "training_data").is_dir() else given
        if not (folder / f"param{fold}").is_dir():
            raise InputError(f"{folder}: no folder param{fold}; give the folder training_data of ShapeNet-Car")
        self.fold = fold
        options.setdefault("pattern", f"param*/*/{_MESH}")
        super().__init__(str(folder), ["press"], test_fraction=0.0, val_fraction=val_fraction, **options)

    def split(
        self, pairs: Sequence[LabelledFile], test_fraction: float, val_fraction: float
    ) -> dict[Split, list[LabelledFile]]:
        """Cars of one folder are for testing; those without a pressure are left out."""
        whole = [pair for pair in pairs if pair.mesh.with_name("press.npy").is_file()]
        cars = {path for path in self.root.glob("param*/*") if path.is_dir()}
        left = len(cars) - len(whole)
        if left:
            log.warning("%s: %d of %d cars lack %s or press.npy and are left out", self.root, left, len(cars), _MESH)
        test = [pair for pair in whole if pair.mesh.parts[-3] == f"param{self.fold}"]
        rest = [pair for pair in whole if pair not in set(test)]
        train, val = cut(rest, val_fraction, random.Random(f"{self.seed}/cars"))
        return {"train": train, "val": val, "test": sorted(test)}
