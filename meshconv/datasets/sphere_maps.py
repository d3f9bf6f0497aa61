"""Segmentation of maps on the sphere, from a user's own NetCDF files or Zarr stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.map_inputs import MapInputs, Variable
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.healpix import HealpixSphere
from meshconv.geometry.regrid import Regridder
from meshconv.io.sphere_fields import SphereFields, open_fields

Split = Literal["train", "val", "test"]

_MISSING = -1
_BLOCK_NSIDE = 4
_KEPT_BYTES = 1 << 30


class SphereMaps(lightning.LightningDataModule):
    """Maps of any grid and their labels, as samples on one HEALPix sphere.

    Every step along ``dimension`` is a sample, split by time; without it the single map is split into blocks of 15
    degrees. A map is read and regridded when it is asked for, so the data may be larger than memory.

    Parameters
    ----------
    inputs
        File, pattern, Zarr store or list of files, see :func:`~meshconv.io.sphere_fields.open_fields`.
    label
        Variable with the class of each point.
    labels
        Where the label is, if not among the inputs; of any grid, with the same steps along ``dimension``.
    scalars, vectors
        See :class:`~meshconv.datasets.map_inputs.MapInputs`.
    classes : dict or list, optional
        Name of each label value; by default those of the label's ``flag_meanings``, or the values that occur.
    ignore : list of int
        Label values that count as unknown.
    nside
        Of the sphere; by default the input's, or the power of two with about as many pixels as its grid.
    dimension
        Along which samples are counted; None for a single map.
    splits : dict, optional
        ``{"train": ["2010", "2016"], "test": ["2018", "2020"]}``: first and last value along ``dimension``, both
        included. By default the last fifth is for testing and the tenth before it for validation.
    num_levels, batch_size, num_workers
        Levels of the hierarchy; of the loaders.

    Attributes
    ----------
    class_names : list of str
    in_type : FieldType

    Raises
    ------
    InputError
        Files, variables or labels that do not fit, with the remedy.
    """

    def __init__(
        self,
        inputs: str | Sequence[str],
        label: str,
        labels: str | Sequence[str] | None = None,
        scalars: Sequence[Variable] = (),
        vectors: Sequence[Sequence[str] | Mapping[str, Any]] = (),
        classes: Mapping[int, str] | Sequence[str] | None = None,
        ignore: Sequence[int] = (),
        nside: int | None = None,
        dimension: str | None = "time",
        splits: Mapping[str, Sequence[Any]] | None = None,
        num_levels: int = 3,
        batch_size: int = 4,
        num_workers: int = 0,
    ):
        super().__init__()
        self.fields = open_fields(inputs)
        self.label_fields = self.fields if labels is None else open_fields(labels)
        self.label, self.dimension, self.num_levels = label, dimension, num_levels
        self.batch_size, self.num_workers = batch_size, num_workers
        self.inputs = MapInputs(scalars, vectors, nside or _usual_nside(self.fields))
        self.values, self.class_names = self._classes(classes, list(ignore))
        self._to_sphere = self.inputs.regridder(self.fields)
        self._labels_to_sphere = _label_regridder(self.label_fields, self.inputs.sphere)
        self.steps, self._blocks = self._split(splits)
        self._kept: dict[int, tuple[NDArray, NDArray]] = {}
        few = self.steps["train"][:: max(len(self.steps["train"]) // 64, 1)]
        self.inputs.fit((raw, self._counts(target, "train")) for raw, target in map(self._sample, few))

    @property
    def in_type(self) -> FieldType:
        return self.inputs.in_type

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def spec(self) -> dict[str, Any]:
        """How inputs are made, in plain values."""
        return {
            "kind": "maps",
            "class_names": list(self.class_names),
            "class_values": [int(v) for v in self.values],
            "dimension": self.dimension,
            "inputs": self.inputs.spec,
        }

    def _classes(
        self, classes: Mapping[int, str] | Sequence[str] | None, ignore: list[int]
    ) -> tuple[list[int], list[str]]:
        array = self.label_fields._variable(self.label)
        attributes = array.attrs
        if classes is not None:
            named = dict(classes) if isinstance(classes, Mapping) else dict(enumerate(classes))
        elif "flag_values" in attributes and "flag_meanings" in attributes:
            values = np.atleast_1d(attributes["flag_values"]).tolist()
            named = dict(zip(values, str(attributes["flag_meanings"]).split(), strict=False))
        else:
            count = self.label_fields.dataset.sizes.get(self.dimension, 1) if self.dimension else 1
            some = np.unique(np.linspace(0, count - 1, min(count, 16)).astype(int))
            found: set[int] = set()
            for step in some:
                found |= set(np.unique(self._raw_label(int(step))).tolist())
            named = {value: str(value) for value in sorted(found)}
        named = {int(v): str(n) for v, n in named.items() if int(v) not in [*ignore, _MISSING]}
        if len(named) < 2:
            raise InputError(f"{self.label_fields.path}: label {self.label} has classes {list(named)}; it takes two")
        self._ignored = ignore
        return list(named), list(named.values())

    def _raw_label(self, step: int) -> NDArray:
        """Labels as in the file, int64; -1 where there is none."""
        at = {} if self.dimension is None else {self.dimension: step}
        values = self.label_fields.values(self.label, {}, at)
        if values.ndim != 1:
            raise InputError(
                f"{self.label_fields.path}: label {self.label} has dimensions "
                f"{self.label_fields.dataset[self.label].dims}; a map and {self.dimension} are what is understood"
            )
        known = np.isfinite(values)
        rounded = np.where(known, np.round(np.where(known, values, 0)), _MISSING)
        if np.abs(rounded - values)[known].max(initial=0) > 1e-6:
            worst = float(values[known][np.abs(rounded - values)[known].argmax()])
            raise InputError(f"{self.label_fields.path}: label {self.label} holds {worst:g}, classes are whole numbers")
        return rounded.astype(np.int64)

    def _split(
        self, splits: Mapping[str, Sequence[Any]] | None
    ) -> tuple[dict[str, list[int]], dict[str, NDArray] | None]:
        if self.dimension is None or self.dimension not in self.fields.dataset.sizes:
            if splits is not None:
                raise InputError(f"{self.fields.path}: splits need a dimension; the data have no {self.dimension}")
            self.dimension = None
            return {"train": [0], "val": [0], "test": [0]}, _block_masks(self.inputs.sphere)
        count = self.fields.dataset.sizes[self.dimension]
        other = self.label_fields.dataset.sizes.get(self.dimension)
        if other != count:
            raise InputError(
                f"{self.label_fields.path}: {other} steps of {self.dimension} for {count} of the inputs in "
                f"{self.fields.path}; cut both to the same"
            )
        if splits is None:
            if count < 3:
                raise InputError(f"{self.fields.path}: {count} steps of {self.dimension} are too few to split")
            test, val = max(count // 5, 1), max(count // 10, 1)
            order = list(range(count))
            first, second = count - test - val, count - test
            return {"train": order[:first], "val": order[first:second], "test": order[second:]}, None
        steps: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        index = self.fields.dataset.indexes.get(self.dimension)
        for name, ends in splits.items():
            if name not in steps or len(ends) != 2:
                raise InputError(f"splits: {name}: {list(ends)}; write train, val or test: [first, last]")
            # Years written without quotes are numbers to YAML.
            dates = index is not None and index.dtype.kind not in "iuf"
            bounds: list[Any] = [str(e) if dates and isinstance(e, int) else e for e in ends]
            first, last = bounds
            try:
                chosen = range(first, last + 1) if index is None else range(count)[index.slice_indexer(first, last)]
                steps[name] = [step for step in chosen if 0 <= step < count]
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"splits: {name}: {list(ends)} are no values of {self.dimension} ({error})") from error
        if not steps["train"]:
            raise InputError(f"splits: nothing of {self.fields.path} is for training; it has {count} steps")
        twice = set(steps["train"]) & set(steps["val"] + steps["test"])
        if twice:
            raise InputError(f"splits: {len(twice)} steps are for training and for something else as well")
        return steps, None

    def _sample(self, step: int) -> tuple[NDArray, NDArray]:
        """Raw inputs float64 ``[V, dim]`` and class of each point, int64 ``[V]``, -1 where unknown."""
        if step in self._kept:
            return self._kept[step]
        at = {} if self.dimension is None else {self.dimension: step}
        raw = self.inputs.raw(self.fields, self._to_sphere, at)
        label = self._raw_label(step)
        strange = np.setdiff1d(label, [*self.values, *self._ignored, _MISSING])
        if len(strange):
            raise InputError(
                f"{self.label_fields.path}: label {self.label} holds {strange[0]}, which is none of the classes "
                f"{self.values}; add it to classes or to ignore"
            )
        target = np.full(len(label), _MISSING, dtype=np.int64)
        for k, value in enumerate(self.values):
            target[label == value] = k
        if self._labels_to_sphere is not None:
            target = self._labels_to_sphere.majority(target, _MISSING)
        if (len(self._kept) + 1) * (raw.nbytes + target.nbytes) < _KEPT_BYTES:
            self._kept[step] = raw, target
        return raw, target

    def _counts(self, target: NDArray, split: Split) -> NDArray:
        return (target >= 0) if self._blocks is None else (target >= 0) & self._blocks[split]

    def sample(self, step: int, split: Split) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs ``[V, dim]``, target ``[V]`` and mask ``[V]`` of one step."""
        raw, target = self._sample(step)
        x, present = self.inputs.normalise(raw)
        mask = self._counts(target, split) & present
        return torch.from_numpy(x), torch.from_numpy(target), torch.from_numpy(mask)

    def _loader(self, split: Split) -> DataLoader | list:
        steps = self.steps[split]
        if not steps:
            return []
        hierarchy = self.inputs.sphere.hierarchy(self.num_levels).to(torch.float32)

        def collate(samples: list[tuple[int, tuple[torch.Tensor, ...]]]) -> SurfaceBatch:
            x, target, mask = (torch.stack(parts) for parts in zip(*(s for _, s in samples), strict=True))
            return SurfaceBatch(x, hierarchy, target, mask, [f"{self.fields.path}:{k}" for k, _ in samples])

        data = _Steps(self, steps, split)
        return DataLoader(
            data,
            self.batch_size,
            shuffle=split == "train",
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def train_dataloader(self) -> DataLoader | list:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader | list:
        return self._loader("test")


class _Steps(Dataset):
    """Steps of a data module as a map-style data set."""

    def __init__(self, maps: SphereMaps, steps: list[int], split: Split):
        self.maps, self.steps, self.split = maps, steps, split

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[int, tuple[torch.Tensor, ...]]:
        step = self.steps[index]
        return step, self.maps.sample(step, self.split)


def _usual_nside(fields: SphereFields) -> int:
    """The input's own, or the power of two whose pixels are about as large as the grid's mean cell."""
    if isinstance(fields.grid, HealpixSphere):
        return fields.grid.nside
    cells = 4 * np.pi * fields.grid.num_points / float(fields.grid.areas.sum())
    return int(2 ** np.clip(np.round(np.log2(cells / 12) / 2), 0, 10))


def _label_regridder(fields: SphereFields, sphere: HealpixSphere) -> Regridder | None:
    grid = fields.grid
    if isinstance(grid, HealpixSphere) and grid.nside == sphere.nside:
        return None
    return Regridder(grid, sphere, "conservative")


def _block_masks(sphere: HealpixSphere) -> dict[str, NDArray]:
    """Blocks of HEALPix nside 4 in random order: a fifth for testing, a tenth for validation."""
    if sphere.nside < _BLOCK_NSIDE:
        raise InputError(f"nside {sphere.nside} is too coarse to split one map into blocks of nside {_BLOCK_NSIDE}")
    blocks = np.random.default_rng(0).permutation(12 * _BLOCK_NSIDE**2)
    block = np.arange(sphere.npix) // (sphere.nside // _BLOCK_NSIDE) ** 2
    test, val = len(blocks) // 5, len(blocks) // 10
    parts = {"test": blocks[:test], "val": blocks[test : test + val], "train": blocks[test + val :]}
    return {name: np.isin(block, part) for name, part in parts.items()}
