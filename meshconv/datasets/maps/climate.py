"""The climate of the Earth on HEALPix: Koeppen-Geiger zones from fields of temperature and rain."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.maps.climate_inputs import (
    CLIMATE_INPUTS,
    DEFAULT_INPUTS,
    climate_field,
    load_inputs,
    normalise_inputs,
    transform_input,
)
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.maps.climate import HealpixMaps, open_healpix

__all__ = ["CLIMATE_INPUTS", "KoeppenClimate", "find_climate_file", "load_inputs"]


_BLOCK_NSIDE = 4  # that of the folds: validation blocks are cut the same way


@functools.lru_cache(maxsize=4)
def _hierarchy(nside: int, num_levels: int) -> Hierarchy:
    """Shared by the data modules of all folds; nothing changes a hierarchy in place."""
    return HealpixSphere(nside).hierarchy(num_levels).to(torch.float32)


class KoeppenClimate(lightning.LightningDataModule):
    """Koeppen-Geiger zone of every land pixel, with whole blocks of 15 degrees held out.

    Each loader yields one :class:`SurfaceBatch`: the whole sphere, whose ``mask`` selects the land
    pixels that count. Neighbouring pixels are nearly copies of each other, so a split by single pixels
    would test interpolation; folds are blocks of HEALPix nside 4.

    Parameters
    ----------
    path
        NetCDF file; a relative one is looked for in the working directory, then in the repository.
    inputs
        Names out of ``CLIMATE_INPUTS``; default: annual mean temperature and precipitation,
        topography, land fraction.
    fold
        The held-out fold, for testing.
    zones
        ``"two_letter"`` (14 classes: Af, Am, As, Aw, BS, BW, ...) or ``"main"`` (5: A to E).
    val_fraction
        Share of the training blocks that is kept for validation instead.
    num_levels
        Levels of :attr:`hierarchy`.
    seed
        Of the choice of validation blocks.

    Attributes
    ----------
    class_names, input_names : list of str
    maps : HealpixMaps
        The file.
    target : int64 Tensor [npix]
        Class, -1 where there is no land.
    x : float32 Tensor [npix, num_inputs]
        Normalised by mean and standard deviation over the land pixels of the training split.

    Raises
    ------
    InputError
        On a file that is missing or lacks something, an unknown input, zones or fold.
    """

    def __init__(
        self,
        path: str = "data/koeppen_hp64.nc",
        inputs: Sequence[str] = DEFAULT_INPUTS,
        fold: int = 0,
        zones: Literal["two_letter", "main"] = "two_letter",
        val_fraction: float = 0.0,
        num_levels: int = 2,
        seed: int = 0,
    ):
        super().__init__()
        unknown = [name for name in inputs if name not in CLIMATE_INPUTS]
        if unknown or not inputs:
            raise InputError(f"inputs: {', '.join(unknown) or 'none given'}; use some of {', '.join(CLIMATE_INPUTS)}")
        if zones not in ("two_letter", "main"):
            raise InputError(f"zones {zones!r} is not known; use 'two_letter' or 'main'")
        if not 0 <= val_fraction < 1:
            raise InputError(f"val_fraction {val_fraction} is not in [0, 1)")
        self.input_names, self.zones, self.num_levels = list(inputs), zones, num_levels
        chosen = [CLIMATE_INPUTS[name] for name in inputs]
        wanted = dict.fromkeys([*(c.variable for c in chosen), "koeppen_two_letter", "fold"])
        self.maps = open_healpix(find_climate_file(path), list(wanted))
        self.target, self.class_names = _targets(self.maps, zones)
        self.masks = self._split(fold, val_fraction, seed)
        self._inputs = [self._fit_input(name) for name in self.input_names]
        self.x = normalise_inputs(self.maps, self._inputs)[0]

    def _split(self, fold: int, val_fraction: float, seed: int) -> dict[str, Tensor]:
        land = self.target >= 0
        folds = torch.from_numpy(self.maps.dataset["fold"].values.astype(np.int64))
        if fold not in folds:
            raise InputError(f"{self.maps.path}: no fold {fold}; it has {', '.join(map(str, folds.unique().tolist()))}")
        test, train = land & (folds == fold), land & (folds != fold)
        val = torch.zeros_like(train)
        if val_fraction > 0:
            if self.maps.nside < _BLOCK_NSIDE:
                raise InputError(f"{self.maps.path}: nside {self.maps.nside} is too coarse for blocks")
            block = torch.arange(self.maps.npix) // (self.maps.nside // _BLOCK_NSIDE) ** 2
            blocks = block[train].unique()
            order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed))
            count = min(max(round(len(blocks) * val_fraction), 1), len(blocks) - 1)
            val = train & torch.isin(block, blocks[order[:count]])
        masks = {"train": train & ~val, "val": val, "test": test, "predict": land}
        if not masks["train"].any():
            raise InputError(f"{self.maps.path}: no land outside of fold {fold} is left for training")
        return masks

    def _fit_input(self, name: str) -> dict[str, Any]:
        variable, months, transform = CLIMATE_INPUTS[name]
        entry: dict[str, Any] = {
            "name": name,
            "variable": variable,
            "months": months,
            "transform": transform,
            "unit": self.maps.dataset[variable].attrs.get("units", ""),
        }
        field = climate_field(self.maps.dataset, variable, months, self.maps.path)
        values = transform_input(field, entry, self.maps.path)[self.masks["train"].numpy()]
        # a field that is constant over the training pixels says nothing, but must not divide by zero
        return entry | {"mean": float(values.mean()), "std": float(values.std()) or 1.0}

    @property
    def in_type(self) -> FieldType:
        return FieldType(f"{len(self.input_names)}x0")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_counts(self) -> Tensor:
        """Training pixels of each class, int64 ``[num_classes]``."""
        return torch.bincount(self.target[self.masks["train"]], minlength=self.num_classes)

    @property
    def spec(self) -> dict[str, Any]:
        """How inputs are made, in plain values: what :func:`load_inputs` needs."""
        return {
            "kind": "healpix",
            "zones": self.zones,
            "class_names": list(self.class_names),
            "inputs": [dict(entry) for entry in self._inputs],
        }

    @property
    def hierarchy(self) -> Hierarchy:
        """Nested spheres in float32, finest first."""
        return _hierarchy(self.maps.nside, self.num_levels)

    def batch(self, split: Literal["train", "val", "test", "predict"]) -> SurfaceBatch:
        """The whole sphere, with the mask of a split; ``"predict"`` is all land."""
        return SurfaceBatch(
            x=self.x[None],
            surface=self.hierarchy,
            target=self.target[None],
            mask=self.masks[split][None],
            names=[str(self.maps.path)],
        )

    def _loader(self, split: Literal["train", "val", "test", "predict"]) -> DataLoader:
        return DataLoader([self.batch(split)], batch_size=None)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list:
        return self._loader("val") if self.masks["val"].any() else []

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader:
        return self._loader("predict")


def find_climate_file(path: str | Path) -> Path:
    """The file itself, or below the repository that this package is imported from."""
    path = Path(path).expanduser()
    repository = Path(__file__).resolve().parents[3]
    for candidate in (path, repository / path):
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{path}: no such file here or in {repository}; work in a clone of the repository, or build it "
        "with data/build_koeppen.py"
    )


def _targets(maps: HealpixMaps, zones: str) -> tuple[Tensor, list[str]]:
    """Class of every pixel (-1: no land) and the names of the classes, by the file's own flags."""
    labels = maps.dataset["koeppen_two_letter"]
    meanings = str(labels.attrs.get("flag_meanings", "")).split()
    values = np.atleast_1d(labels.attrs.get("flag_values", [])).tolist()
    if not values or len(values) != len(meanings) or not set(np.unique(labels)) <= set(values):
        raise InputError(f"{maps.path}: flag_values and flag_meanings of koeppen_two_letter do not explain its labels")
    names = {int(v): m for v, m in zip(values, meanings, strict=True) if v >= 0}
    if zones == "main":
        names = {v: m[0] for v, m in names.items()}
    classes = sorted(set(names.values()))
    target = np.full(maps.npix, -1, dtype=np.int64)
    for value, name in names.items():
        target[labels.values == value] = classes.index(name)
    return torch.from_numpy(target), classes
