"""Data module of maps on the sphere, from NetCDF files or Zarr stores: with classes, or with target fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import dask
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from meshconv.datasets.batch import Resident, SeriesBatch, SurfaceBatch
from meshconv.datasets.class_path import class_path
from meshconv.datasets.data_module import LightningDataModule
from meshconv.datasets.loader import Loader
from meshconv.datasets.maps.frames import Frames
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.labels import UNKNOWN, MapLabels, parse_label
from meshconv.datasets.maps.spec import inputs_of_spec
from meshconv.datasets.maps.splits import block_masks, variable_masks
from meshconv.datasets.maps.steps import common_steps, split_steps, step_dimension
from meshconv.datasets.maps.surface import MapSurface
from meshconv.datasets.maps.targets import MapTargets, Window
from meshconv.datasets.maps.variables import Variable
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.sphere.regrid import cells_of_a_sphere
from meshconv.inference_mode import outside_inference_mode
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.fields import SphereFields, open_fields
from meshconv.io.maps.places.healpix_netcdf import PixelOrder
from meshconv.progress import track

Split = Literal["train", "val", "test"]

# Bytes of samples that stay in memory, and of variables that are read at once.
KEPT_BYTES, READ_BYTES = 1 << 30, 1 << 28


class SphereMaps(LightningDataModule):
    """Data module of maps on any grid with labels or target fields, regridded to a HEALPix sphere or on native points.

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
        Files of the label or the targets, if not among the inputs; on any grid. Samples are the common steps along
        ``dimension``.
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
        radius of the neighbourhoods, for about 22 neighbours: see :class:`~meshconv.datasets.maps.inputs.MapInputs`.
    test_inputs, test_labels
        Test files instead of a part of ``inputs`` and ``labels``; all of their steps, with the classes and the
        normalisation of the training set.
    targets : dict, optional
        Fields to predict instead of classes, of the same time or ahead: ``{"scalars": ["h"], "vectors": [["u", "v"]],
        "lead": "6h", "steps": 4}``, see :class:`~meshconv.datasets.maps.targets.MapTargets`. Inputs that are no targets
        are forcings, known ahead; those without time are static.
    pixel_order : {"nest", "ring"}, optional
        Pixel order of HEALPix files without the attribute.
    cache
        Folder of regridding weights; true: ``MESHCONV_CACHE`` or ``~/.cache/meshconv``; false: nothing is kept.

    Attributes
    ----------
    class_names : list of str
        With a label.
    field_names : list of str
        With targets; also ``out_type``.
    in_type : FieldType

    Raises
    ------
    InputError
        Files, variables or labels that do not fit, with the remedy.
    """

    target_kind: ClassVar[tuple[str, ...]] = ("a class for each element", "fields at the vertices")

    climatology: torch.Tensor | None = None
    """Mean of the training's targets at each point, float32 ``[V, out]``."""

    def __init__(
        self,
        inputs: str | Sequence[str] | xr.Dataset,
        label: Variable | None = None,
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
        radius: float | None = 2.7,
        cache: bool | str | None = True,
        pixel_order: PixelOrder | None = None,
        test_inputs: str | Sequence[str] | xr.Dataset | None = None,
        test_labels: str | Sequence[str] | xr.Dataset | None = None,
        targets: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if test_labels is not None and test_inputs is None:
            raise InputError("test_labels are given without test_inputs; give both")
        self._test_data: dict[str, Any] = {"inputs": test_inputs, "labels": test_labels}
        if (label is None) == (targets is None):
            raise InputError("give a label, the variable with the classes, or targets, the fields to predict")
        given = MapInputs(scalars, vectors, nside or "native", None, domain)
        self._target_options = targets
        if label is not None:
            name, select = parse_label(label)
        asked = MapTargets(targets, given).fields.variables if targets is not None else [name]
        self.fields = open_fields(inputs, pixel_order, [*given.variables, *asked])
        self.label_fields = self.fields if labels is None else open_fields(labels, pixel_order, asked)
        self.num_levels = num_levels
        self._wanted_dimension = dimension
        self.dimension = step_dimension(self.fields.dataset, dimension)
        self.label_dimension = step_dimension(self.label_fields.dataset, dimension)
        if self.dimension is not None and self.fields.dataset.sizes.get(self.dimension):
            both = common_steps(self.fields, self.dimension, self.label_fields, self.label_dimension)
            if both is not None and self.label_dimension is not None:
                self.fields = self.fields.steps(self.dimension, both[0])
                self.label_fields = self.label_fields.steps(self.label_dimension, both[1])
        self.fields = self.fields.in_memory(given.variables, READ_BYTES)
        self.label_fields = self.label_fields.in_memory(asked, READ_BYTES)
        self.batch_size, self.num_workers = batch_size, num_workers
        self._cache, self._pixel_order = cache, pixel_order
        self.inputs = MapInputs(scalars, vectors, nside or usual_nside(self.fields), None, domain, radius)
        self.surface = MapSurface(self.inputs, self.fields, Cache.choose(cache))
        self.targets: MapTargets | None = None
        if targets is None:
            if self.dimension is not None and self.fields.dataset.sizes.get(self.dimension) == 0:
                raise InputError(f"{self.fields.path}: no steps along {self.dimension}; give a file that has some")
            self.labels = MapLabels(self.label_fields, name, select, self.label_dimension, classes, ignore)
            self.class_names = self.labels.names
            self._labels_to_grid = self.surface.label_regridder(self.label_fields)
        else:
            self.targets = MapTargets(targets, self.inputs)
            self.targets.check(self.label_fields, self.fields)
            self.targets.set_lead(self.fields, self.dimension)
            self.field_names, self.out_type = self.targets.names, self.targets.out_type
            self._labels_to_grid = self.surface.target_regridder(self.label_fields)
        self.steps, self._blocks = self._split(splits)
        self._windows = {split: self._windows_of(split) for split in self.steps}
        self._kept: dict[int, tuple[NDArray, NDArray]] = {}
        self._fit()

    def _windows_of(self, split: str) -> list[Window]:
        """Positions along time of the samples of a split."""
        steps = self.steps[split]
        if self.targets is None or self.targets.lead is None or self.dimension is None:
            return [Window([step], [step]) for step in steps]
        return self.targets.windows(self.fields, self.dimension, steps, split)

    def _fit(self) -> None:
        """Take the statistics of some training samples; without any they are those of the training."""
        windows = self._windows["train"]
        few = windows[:: max(len(windows) // 64, 1)]
        if not few:
            return
        shown = track(few, "statistics", "step")
        if self.targets is None:
            samples = (self.arrays(window.inputs[-1]) for window in shown)
            self.inputs.fit(((raw, self._counts(target, "train")) for raw, target in samples), self.fields)
            return
        ends = ((self.arrays(w.inputs[-1])[0], self.arrays(w.targets[0])[1]) for w in shown)
        pairs = ((raw, target, self._counts(target, "train")) for raw, target in ends)
        self.climatology = torch.from_numpy(self.targets.fit(pairs, self.label_fields))
        latest = (self.arrays(window.inputs[-1]) for window in few)
        self.inputs.fit(((raw, self._counts(target, "train")) for raw, target in latest), self.fields)

    @property
    def in_type(self) -> FieldType:
        return self.inputs.in_type if self.targets is None else self.targets.history * self.inputs.in_type

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

    @property
    def target_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and size of each target field, see :class:`~meshconv.datasets.protocol.FieldData`."""
        return self._of_targets.sizes()[:2]

    @property
    def change_sizes(self) -> torch.Tensor:
        """Size of the change of each field from inputs to target."""
        return self._of_targets.sizes()[2]

    @property
    def _of_targets(self) -> MapTargets:
        if self.targets is None:
            raise AttributeError("the data have a label and no targets")
        return self.targets

    @staticmethod
    def inputs_from(spec: Mapping[str, Any]) -> MapInputs:
        """:class:`~meshconv.datasets.maps.inputs.MapInputs` of a :attr:`spec`."""
        if "targets" not in spec and "class_values" not in spec:
            raise InputError("class_values are missing")
        return inputs_of_spec(spec)

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of the inputs, in plain values."""
        shared = {
            "data": class_path(type(self)),
            "area_weights": True,
            # A network of a single map predicts series as well.
            "dimension": self.dimension or self._wanted_dimension,
            "inputs": self.inputs.spec,
        }
        if self.targets is not None:
            return {**shared, "out_type": str(self.out_type), "targets": self.targets.spec}
        return {**shared, "class_names": list(self.class_names), "class_values": self.labels.first_values}

    def take_statistics(self, spec: Mapping[str, Any]) -> None:
        """Take the normalisation of a training with the same inputs from its :attr:`spec`.

        Raises
        ------
        InputError
            The files have other units than those of the training.
        """
        self.inputs.statistics = [dict(entry) for entry in spec["inputs"]["statistics"]]
        self.inputs.check_units(self.fields)
        if self.targets is not None:
            self.targets.fields.statistics = [dict(entry) for entry in spec["targets"]["statistics"]]
            self.targets.fields.check_units(self.label_fields)

    def _split(
        self, splits: Mapping[str, Any] | Literal["test"] | None
    ) -> tuple[dict[str, list[int]], dict[str, NDArray] | None]:
        if isinstance(splits, str) and splits != "test":
            raise InputError(f"splits {splits!r}: write test, or {{train: [first, last], test: [first, last]}}")
        if splits == "test" and self.dimension not in self.fields.dataset.sizes:
            self.dimension = None
            return {"train": [], "val": [], "test": [0]}, None
        if isinstance(splits, Mapping) and "variable" in splits:
            masks = variable_masks(splits, self.fields, self.label_fields, self.surface, _known(self._target(0)))
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

    def _target(self, step: int) -> NDArray:
        """Class of each point, -1 where unknown; or target fields, float32 ``[V, out]``, NaN where unknown."""
        if self.targets is not None:
            at = {} if self.label_dimension is None else {self.label_dimension: step}
            fields = self.targets.fields.raw(self.label_fields, self._labels_to_grid, at)[0]
            return self.surface.inside(fields).astype(np.float32)
        target = self.labels.classes(step)
        if self._labels_to_grid is not None:
            target = self._labels_to_grid.majority(target, UNKNOWN)
        return self.surface.inside(target)

    def _counts(self, target: NDArray, split: Split) -> NDArray:
        known = _known(target) & self.surface.core
        return known if self._blocks is None else known & self._blocks[split]

    def sample(self, step: int, split: Split) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs ``[V, dim]``, target ``[V]`` or ``[V, out]`` and mask ``[V]`` of one step."""
        raw, target = self.arrays(step)
        x, present = self.inputs.normalise(raw)
        mask = self._counts(target, split) & present
        return torch.from_numpy(x), torch.from_numpy(target), torch.from_numpy(mask)

    def windowed(self, window: Window, split: Split) -> tuple[torch.Tensor, ...]:
        """Inputs, target and mask of a sample; of a series targets ``[K, V, out]``, and inputs ahead as a fourth."""
        if self.targets is None or self.targets.lead is None:
            return self.sample(window.inputs[-1], split)
        frames, targets = [self.inputs.normalise(self.arrays(k)[0]) for k in window.inputs], []
        mask = np.logical_and.reduce([present for _, present in frames])
        for k in window.targets:
            targets.append(self.arrays(k)[1])
            mask &= self._counts(targets[-1], split)
        x = self._frames.join(torch.from_numpy(np.stack([x for x, _ in frames])))
        if self.targets.steps is None and self.targets.test_steps is None:
            return x, torch.from_numpy(targets[0]), torch.from_numpy(mask)
        later = [self.inputs.normalise(self.arrays(k)[0])[0] for k in window.targets[:-1]]
        ahead = np.stack(later) if later else np.empty((0, *frames[0][0].shape), np.float32)
        return x, torch.from_numpy(np.stack(targets)), torch.from_numpy(mask), torch.from_numpy(ahead)

    @cached_property
    def _frames(self) -> Frames:
        return Frames(self.inputs, self._of_targets.history)

    @cached_property
    def _separate(self) -> SphereMaps:
        """Data of the test files, if given."""
        spec = self.inputs.spec
        inputs: Any = {name: spec[name] for name in ("scalars", "vectors", "nside", "domain", "radius")}
        wanted = {"targets": self._target_options} if self.targets is not None else self.labels.options
        maps = SphereMaps(
            **self._test_data, **wanted, splits="test", dimension=self._wanted_dimension,
            num_levels=self.num_levels, batch_size=self.batch_size, num_workers=self.num_workers, cache=self._cache,
            pixel_order=self._pixel_order, **inputs,
        )  # fmt: skip
        maps.take_statistics(self.spec)
        return maps

    def _loader(self, split: Split) -> DataLoader | list:
        if split == "test" and self._test_data["inputs"] is not None:
            return self._separate._loader("test")
        windows = self._windows[split]
        if split == "train" and not windows:
            raise InputError(f"{self.fields.path}: splits: nothing is for training")
        if not windows:
            return []
        surface: Any = None  # worker processes do not send it with each batch

        def collate(samples: list[tuple[int, tuple[torch.Tensor, ...]]]) -> SurfaceBatch:
            x, target, mask, *ahead = (torch.stack(parts) for parts in zip(*(s for _, s in samples), strict=True))
            names = [self.fields.step_name(self.dimension, k) for k, _ in samples]
            if ahead:
                return SeriesBatch(x, surface, target, mask, names, ahead=ahead[0])
            return SurfaceBatch(x, surface, target, mask, names)

        data = _Samples(self, windows, split)
        return Loader(
            data,
            self.batch_size,
            train=split == "train",
            collate_fn=collate,
            finish=self._on_surface,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=self._start_worker,
        )

    def _on_surface(self, batch: SurfaceBatch) -> SurfaceBatch:
        return replace(batch, surface=self.hierarchy)

    def transfer_batch_to_device(self, batch: SurfaceBatch, device: torch.device, dataloader_idx: int) -> SurfaceBatch:
        """The surface that all batches share is moved once."""
        for maps in (self, self.__dict__.get("_separate")):
            if maps is not None and batch.surface is maps.hierarchy:
                batch = replace(batch, surface=maps._resident.on(device))
        return batch.to(device, non_blocking=True)

    @cached_property
    def _resident(self) -> Resident:
        return Resident(self.hierarchy)

    def hashes(self) -> dict[str, str]:
        """Hashes of the files of inputs and labels, or of what the training takes of them where they are no files."""
        plain = json.dumps(self.spec, sort_keys=True, default=str).encode()
        found = {"data": hashlib.blake2b(plain, digest_size=16).hexdigest()}
        for name, fields in (("inputs", self.fields), ("labels", self.label_fields)):
            if fields.path.is_file():
                total = hashlib.blake2b(digest_size=16)
                with fields.path.open("rb") as stream:
                    while block := stream.read(1 << 22):
                        total.update(block)
                found[name] = total.hexdigest()
        return found

    def _start_worker(self, _: int) -> None:
        """A forked process has none of its parent's threads, and would share the place where it reads in a file."""
        dask.config.set(scheduler="synchronous")
        for fields in (self.fields, self.label_fields):
            fields.dataset.close()  # opens again when it is read

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """Levels of the network's points, finest first, float32."""
        with outside_inference_mode():
            return self.surface.hierarchy(self.num_levels)

    @property
    def target_steps(self) -> int:
        """Targets of a training sample, each a lead after the other; 0: none is ahead step by step."""
        return self._of_targets.steps or 0

    @property
    def test_data(self) -> SphereMaps:
        """What the test is of: the module itself, or that of the test files."""
        return self if self._test_data["inputs"] is None else self._separate

    def train_dataloader(self) -> DataLoader | list:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader | list:
        return self._loader("test")


class _Samples(Dataset):
    """Samples of a data module as a map-style data set."""

    def __init__(self, maps: SphereMaps, windows: list[Window], split: Split):
        self.maps, self.windows, self.split = maps, windows, split

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[int, tuple[torch.Tensor, ...]]:
        window = self.windows[index]
        return window.inputs[-1], self.maps.windowed(window, self.split)


def _known(target: NDArray) -> NDArray[np.bool_]:
    """Points with a class, or with a value of some target field."""
    return target >= 0 if target.ndim == 1 else np.isfinite(target).any(axis=1)


def usual_nside(fields: SphereFields) -> int:
    """The power of two whose pixels are about as large as the grid's mean cell: of a nested sphere its own."""
    return int(2 ** np.clip(np.round(np.log2(cells_of_a_sphere(fields.grid) / 12) / 2), 0, 16))
