"""Data module of maps on the sphere, from NetCDF files or Zarr stores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import dask
import lightning
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.class_path import class_path
from meshconv.datasets.loader import Loader
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.splits import block_masks, variable_masks
from meshconv.datasets.maps.steps import common_steps, split_steps, step_dimension
from meshconv.datasets.maps.surface import MapSurface
from meshconv.datasets.maps.variables import Variable, parse_scalars
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.sphere.regrid import cells_of_a_sphere
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.fields import SphereFields, open_fields
from meshconv.io.maps.missing import small_fills
from meshconv.io.maps.places.healpix_netcdf import PixelOrder
from meshconv.progress import track

log = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]

_MISSING = -1
# No label of a file: -1 may be a class.
_NO_LABEL = int(np.iinfo(np.int64).min)
# Bytes of samples that stay in memory.
KEPT_BYTES = 1 << 30


class SphereMaps(lightning.LightningDataModule):
    """Data module of maps on any grid with labels, regridded to one HEALPix sphere or on native points.

    Every step along ``dimension`` is a sample, split by time; without it the single map is split into blocks of 15
    degrees. Maps are read and regridded on demand, so the data may be larger than memory.

    Parameters
    ----------
    inputs
        File, pattern, Zarr store, address of one (``https://...``), list of files, or an open data set, see
        :func:`~meshconv.io.maps.fields.open_fields`.
    label
        Variable with the class of each point, or ``{"name": "event", "select": {"person": 1}}``.
    labels
        Files of the label, if not among the inputs; on any grid. Samples are the common steps along ``dimension``.
    scalars, vectors
        See :class:`~meshconv.datasets.maps.inputs.MapInputs`.
    classes : dict or list, optional
        Name of each label value; by default the label's ``flag_meanings``, or the occurring values. Values with
        the same name are one class, written in predictions as the first of them.
    ignore : list of int
        Label values to exclude.
    nside
        Resolution of the sphere; by default that of the input, or the power of two with about as many pixels as its
        grid. ``"native"``: no regridding, the network works on the HEALPix pixels or unstructured points of the input.
    dimension
        Dimension of the samples, by this or another name of time; None for a single map.
    splits : dict, optional
        ``{"train": ["2010", "2016"], "test": ["2018", "2020"]}``: first and last value along ``dimension``, both
        included; ``"test"``: all are for testing; default and details:
        :func:`~meshconv.datasets.maps.steps.split_steps`. One step is split into blocks. ``{"variable": "fold", "test":
        0, "val": [1]}``: in space, at every step, by the values of an integer map; other values are for training.
        ``"val_fraction": 0.2`` takes a share of the training set, in blocks of 15 degrees, for validation.
    num_levels, batch_size, num_workers
        Levels of the hierarchy; options of the loaders.
    domain, radius
        Domain, ``{variable: lsm, below: 0.5}`` or ``{lat: [-30, 30], lon: [120, 280]}``, and
        radius of the neighbourhoods: see :class:`~meshconv.datasets.maps.inputs.MapInputs`.
    test_inputs, test_labels
        Test files instead of a part of ``inputs`` and ``labels``; all of their steps, with the classes and the
        normalisation of the training set.
    pixel_order : {"nest", "ring"}, optional
        Pixel order of HEALPix files without the attribute.
    cache
        Folder of regridding weights; true: ``MESHCONV_CACHE`` or ``~/.cache/meshconv``; false: nothing is kept.

    Attributes
    ----------
    class_names : list of str
    in_type : FieldType

    Raises
    ------
    InputError
        Files, variables or labels that do not fit, with the remedy.
    """

    target_kind: ClassVar[str] = "a class for each element"

    def __init__(
        self,
        inputs: str | Sequence[str] | xr.Dataset,
        label: Variable,
        labels: str | Sequence[str] | xr.Dataset | None = None,
        scalars: Sequence[Variable] = (),
        vectors: Sequence[Sequence[str] | Mapping[str, Any]] = (),
        classes: Mapping[int, str] | Sequence[str] | None = None,
        ignore: Sequence[int] = (),
        *,
        nside: int | Literal["native"] | None = None,
        dimension: str | None = "time",
        splits: Mapping[str, Any] | Literal["test"] | None = None,
        num_levels: int = 3,
        batch_size: int = 4,
        num_workers: int = 0,
        domain: Mapping[str, Any] | None = None,
        radius: float | None = None,
        cache: str | bool = True,
        pixel_order: PixelOrder | None = None,
        test_inputs: str | Sequence[str] | xr.Dataset | None = None,
        test_labels: str | Sequence[str] | xr.Dataset | None = None,
    ):
        super().__init__()
        if test_labels is not None and test_inputs is None:
            raise InputError("test_labels are given without test_inputs; give both")
        self._test_data: dict[str, Any] = {"inputs": test_inputs, "labels": test_labels}
        (of_label,) = parse_scalars([label])
        if set(of_label) != {"name", "select"}:
            raise InputError(f"label {label!r}: write a variable's name, or {{name: event, select: {{person: 1}}}}")
        self.label, self._label_select = str(of_label["name"]), of_label["select"]
        wanted = MapInputs(scalars, vectors, nside or "native").variables
        self.fields = open_fields(inputs, pixel_order, [*wanted, self.label])
        self.label_fields = self.fields if labels is None else open_fields(labels, pixel_order, [self.label])
        self.num_levels = num_levels
        self._wanted_dimension = dimension
        self.dimension = step_dimension(self.fields.dataset, dimension)
        self.label_dimension = step_dimension(self.label_fields.dataset, dimension)
        if self.dimension is not None and self.fields.dataset.sizes.get(self.dimension):
            both = common_steps(self.fields, self.dimension, self.label_fields, self.label_dimension)
            if both is not None and self.label_dimension is not None:
                self.fields = self.fields.steps(self.dimension, both[0])
                self.label_fields = self.label_fields.steps(self.label_dimension, both[1])
        self.batch_size, self.num_workers = batch_size, num_workers
        self._cache, self._pixel_order = cache, pixel_order
        self.inputs = MapInputs(scalars, vectors, nside or usual_nside(self.fields), None, domain, radius)
        self.surface = MapSurface(self.inputs, self.fields, Cache.choose(cache))
        self.values = self._classes(classes, list(ignore))
        self.class_names = list(dict.fromkeys(self.values.values()))
        self._labels_to_grid = self.surface.label_regridder(self.label_fields)
        self.steps, self._blocks = self._split(splits)
        self._kept: dict[int, tuple[NDArray, NDArray]] = {}
        few = self.steps["train"][:: max(len(self.steps["train"]) // 64, 1)]
        if few:  # a module that is for testing alone takes the statistics of the training
            samples = map(self.arrays, track(few, "statistics", "step"))
            self.inputs.fit(((raw, self._counts(target, "train")) for raw, target in samples), self.fields)

    @property
    def in_type(self) -> FieldType:
        return self.inputs.in_type

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def class_counts(self) -> torch.Tensor:
        """Training points of each class, int64 ``[num_classes]``: reads the labels of every training step."""
        counts = np.zeros(self.num_classes, dtype=np.int64)
        for step in track(self.steps["train"], "labels", "step"):
            target = self._kept[step][1] if step in self._kept else self._target(step)
            counts += np.bincount(target[self._counts(target, "train")], minlength=self.num_classes)
        return torch.from_numpy(counts)

    @staticmethod
    def inputs_from(spec: Mapping[str, Any]) -> MapInputs:
        """:class:`~meshconv.datasets.maps.inputs.MapInputs` of a :attr:`spec`."""
        return MapInputs(**spec["inputs"])

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of the inputs, in plain values."""
        return {
            "data": class_path(type(self)),
            "area_weights": True,
            "class_names": list(self.class_names),
            "class_values": [next(v for v, n in self.values.items() if n == name) for name in self.class_names],
            # A network of a single map predicts series as well.
            "dimension": self.dimension or self._wanted_dimension,
            "inputs": self.inputs.spec,
        }

    def take_statistics(self, spec: Mapping[str, Any]) -> None:
        """Take the normalisation of a training with the same inputs from its :attr:`spec`.

        Raises
        ------
        InputError
            The files have other units than those of the training.
        """
        self.inputs.statistics = [dict(entry) for entry in spec["inputs"]["statistics"]]
        self.inputs.check_units(self.fields)

    def _classes(self, classes: Mapping[int, str] | Sequence[str] | None, ignore: list[int]) -> dict[int, str]:
        """Name of each label value."""
        array = self.label_fields.variable(self.label)
        attributes, fill = array.attrs, array.encoding.get("_FillValue")
        self._ignored, self._filled = ignore, _NO_LABEL
        if self.dimension is not None and self.fields.dataset.sizes.get(self.dimension) == 0:
            raise InputError(f"{self.fields.path}: no steps along {self.dimension}; give a file that has some")
        if classes is not None:
            named = dict(classes) if isinstance(classes, Mapping) else dict(enumerate(classes))
        elif "flag_values" in attributes and "flag_meanings" in attributes:
            values = np.atleast_1d(attributes["flag_values"]).tolist()
            meanings = str(attributes["flag_meanings"]).split()
            if len(values) != len(meanings):
                raise InputError(
                    f"{self.label_fields.path}: label {self.label} has {len(values)} flag_values and {len(meanings)} "
                    "flag_meanings; name the classes in 'classes'"
                )
            named = dict(zip(values, meanings, strict=True))
        else:
            count = self.label_fields.dataset.sizes.get(self.label_dimension, 1) if self.label_dimension else 1
            some = np.unique(np.linspace(0, count - 1, min(count, 16)).astype(int))
            found: set[int] = set()
            for step in track(some.tolist(), "classes", "step"):
                found |= set(np.unique(self._raw_label(step)).tolist())
            whole = np.array(sorted(found - {_NO_LABEL}), dtype=np.float64)
            fills = [int(v) for v in whole[small_fills(whole)] if v not in ignore]
            if fills:
                self._ignored = ignore = [*ignore, *fills]
                log.warning(
                    "%s: %s of label %s does not count; if it is a class, name all in 'classes'",
                    self.label_fields.path, fills[0], self.label,
                )  # fmt: skip
            named = {value: str(value) for value in sorted(found - {_NO_LABEL})}
            if fill == 0:
                log.warning(
                    "%s: 0 is the fill value of label %s and does not count; if it is a class, name all in 'classes'",
                    self.label_fields.path, self.label,
                )  # fmt: skip
        named = {int(v): str(n) for v, n in named.items() if int(v) not in ignore}
        if fill in named:
            self._filled = int(fill)
        if not named:
            raise InputError(
                f"{self.label_fields.path}: label {self.label} has no classes; name them in 'classes', or choose "
                "another label"
            )
        return named

    def _raw_label(self, step: int) -> NDArray:
        """Labels as in the file, int64; ``_NO_LABEL`` where there is none."""
        at = {} if self.label_dimension is None else {self.label_dimension: step}
        values = self.label_fields.values(self.label, self._label_select, at, allow_missing=True)
        if values.size != values.shape[-1]:
            raise InputError(
                f"{self.label_fields.path}: label {self.label} has dimensions "
                f"{self.label_fields.dataset[self.label].dims}; a map and {self.dimension} are supported: "
                f"select one value of the others, {{name: {self.label}, select: {{...: ...}}}}, or name 'dimension'"
            )
        values = values.ravel()
        known = np.isfinite(values)
        rounded = np.round(np.where(known, values, 0))
        if np.abs(rounded - values)[known].max(initial=0) > 1e-6:
            worst = float(values[known][np.abs(rounded - values)[known].argmax()])
            raise InputError(
                f"{self.label_fields.path}: label {self.label} holds {worst:g}, classes are whole numbers: round it, "
                "or choose another label"
            )
        return np.where(known, rounded.astype(np.int64), self._filled)

    def _split(
        self, splits: Mapping[str, Any] | Literal["test"] | None
    ) -> tuple[dict[str, list[int]], dict[str, NDArray] | None]:
        if isinstance(splits, str) and splits != "test":
            raise InputError(f"splits {splits!r}: write test, or {{train: [first, last], test: [first, last]}}")
        if splits == "test" and self.dimension not in self.fields.dataset.sizes:
            self.dimension = None
            return {"train": [], "val": [], "test": [0]}, None
        if isinstance(splits, Mapping) and "variable" in splits:
            masks = variable_masks(splits, self.fields, self.label_fields, self.surface, self._target(0) >= 0)
            every = list(range(self.fields.dataset.sizes[self.dimension])) if self.dimension else [0]
            return {name: every if mask.any() else [] for name, mask in masks.items()}, masks
        if self.dimension is None or self.dimension not in self.fields.dataset.sizes:
            if splits is not None:
                raise InputError(
                    f"{self.fields.path}: splits need a dimension; the data have none that is time: name one in "
                    "'dimension', or leave 'splits' out"
                )
            self.dimension = None
            return {"train": [0], "val": [0], "test": [0]}, block_masks(self.surface.points)
        if splits is None and self.fields.dataset.sizes[self.dimension] == 1:
            return {"train": [0], "val": [0], "test": [0]}, block_masks(self.surface.points)
        return split_steps(self.fields, self.dimension, splits), None

    def arrays(self, step: int) -> tuple[NDArray, NDArray]:
        """Raw inputs float32 ``[V, dim]`` and class of each point, int64 ``[V]``, -1 where unknown."""
        if step in self._kept:
            return self._kept[step]
        at = {} if self.dimension is None else {self.dimension: step}
        raw, target = self.surface.raw(at)[0].astype(np.float32), self._target(step)
        # Every worker keeps its own.
        if (len(self._kept) + 1) * (raw.nbytes + target.nbytes) * max(self.num_workers, 1) < KEPT_BYTES:
            self._kept[step] = raw, target
        return raw, target

    def _target(self, step: int) -> NDArray[np.int64]:
        """Class of each point, -1 where unknown."""
        label = self._raw_label(step)
        strange = np.setdiff1d(label, [*self.values, *self._ignored, _NO_LABEL])
        if len(strange):
            raise InputError(
                f"{self.label_fields.path}: label {self.label} holds {strange[0]}, which is none of the classes "
                f"{list(self.values)}; add it to classes or to ignore"
            )
        target = np.full(len(label), _MISSING, dtype=np.int64)
        for value, name in self.values.items():
            target[label == value] = self.class_names.index(name)
        if self._labels_to_grid is not None:
            target = self._labels_to_grid.majority(target, _MISSING)
        return self.surface.inside(target)

    def _counts(self, target: NDArray, split: Split) -> NDArray:
        return (target >= 0) if self._blocks is None else (target >= 0) & self._blocks[split]

    def sample(self, step: int, split: Split) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs ``[V, dim]``, target ``[V]`` and mask ``[V]`` of one step."""
        raw, target = self.arrays(step)
        x, present = self.inputs.normalise(raw)
        mask = self._counts(target, split) & present
        return torch.from_numpy(x), torch.from_numpy(target), torch.from_numpy(mask)

    @cached_property
    def _separate(self) -> SphereMaps:
        """Data of the test files, if given."""
        spec = self.inputs.spec
        inputs: Any = {name: spec[name] for name in ("scalars", "vectors", "nside", "domain", "radius")}
        label: Any = {"name": self.label, "select": self._label_select}
        maps = SphereMaps(
            **self._test_data, label=label, classes=self.values, ignore=self._ignored, splits="test",
            dimension=self._wanted_dimension, num_levels=self.num_levels, batch_size=self.batch_size,
            num_workers=self.num_workers, cache=self._cache, pixel_order=self._pixel_order, **inputs,
        )  # fmt: skip
        maps.take_statistics(self.spec)
        return maps

    def _loader(self, split: Split) -> DataLoader | list:
        if split == "test" and self._test_data["inputs"] is not None:
            return self._separate._loader("test")
        steps = self.steps[split]
        if split == "train" and not steps:
            raise InputError(f"{self.fields.path}: splits: nothing is for training")
        if not steps:
            return []
        hierarchy = self.hierarchy

        def collate(samples: list[tuple[int, tuple[torch.Tensor, ...]]]) -> SurfaceBatch:
            x, target, mask = (torch.stack(parts) for parts in zip(*(s for _, s in samples), strict=True))
            return SurfaceBatch(x, hierarchy, target, mask, [f"{self.fields.path}:{k}" for k, _ in samples])

        data = _Steps(self, steps, split)
        return Loader(
            data,
            self.batch_size,
            train=split == "train",
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=self._start_worker,
        )

    def _start_worker(self, _: int) -> None:
        """A forked process has none of its parent's threads, and would share the place where it reads in a file."""
        dask.config.set(scheduler="synchronous")
        for fields in (self.fields, self.label_fields):
            fields.dataset.close()  # opens again when it is read

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """Levels of the network's points, finest first, float32."""
        return self.surface.hierarchy(self.num_levels)

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


def usual_nside(fields: SphereFields) -> int:
    """The power of two whose pixels are about as large as the grid's mean cell: of a nested sphere its own."""
    return int(2 ** np.clip(np.round(np.log2(cells_of_a_sphere(fields.grid) / 12) / 2), 0, 16))
