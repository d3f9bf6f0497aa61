"""Data module of maps whose fields are the targets, without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch.utils.data import DataLoader

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.class_path import class_path
from meshconv.datasets.data_module import LightningDataModule
from meshconv.datasets.loader import Loader
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.module import usual_nside
from meshconv.datasets.maps.spec import inputs_of_spec
from meshconv.datasets.maps.steps import split_steps, step_dimension
from meshconv.datasets.maps.surface import MapSurface
from meshconv.datasets.maps.variables import Variable
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.inference_mode import outside_inference_mode
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.fields import open_fields
from meshconv.io.maps.places.healpix_netcdf import PixelOrder
from meshconv.progress import track


class MapFields(LightningDataModule):
    """Data module of one field on maps of any grid, each step a sample: what tasks without labels learn from.

    Inputs are 1 at every point, targets the field in its own unit, NaN where it is missing.

    Parameters
    ----------
    inputs, nside, dimension, num_levels, batch_size, num_workers, domain, radius, pixel_order, cache
        As in :class:`~meshconv.datasets.SphereMaps`.
    field
        Name of a variable, or ``{name: t, select: {level: 850}}``; of a vector both: ``[u10, v10]``.
    splits : dict, optional
        First and last value along ``dimension``, see :func:`~meshconv.datasets.maps.steps.split_steps`.

    Raises
    ------
    InputError
        Files or variables that do not fit, with the remedy; a single map, which cannot be split.
    """

    in_type = FieldType("1x0")

    def __init__(
        self,
        inputs: str | Sequence[str] | xr.Dataset,
        field: Variable | Sequence[str],
        *,
        nside: int | Literal["native"] | None = None,
        dimension: str | None = "time",
        splits: Mapping[str, Any] | None = None,
        num_levels: int = 2,
        batch_size: int = 4,
        num_workers: int = 0,
        domain: Mapping[str, Any] | None = None,
        radius: float | None = None,
        cache: bool | str | None = True,
        pixel_order: PixelOrder | None = None,
    ):
        super().__init__()
        vector = isinstance(field, Sequence) and not isinstance(field, str)
        entries: tuple[list, list] = ([], [field]) if vector else ([field], [])
        wanted = MapInputs(*entries, nside or "native")
        self.fields = open_fields(inputs, pixel_order, wanted.variables)
        self.dimension = step_dimension(self.fields.dataset, dimension)
        if self.dimension is None:
            raise InputError(f"{self.fields.path}: a single map cannot be split; name the dimension of the samples")
        self.inputs = MapInputs(*entries, nside or usual_nside(self.fields), None, domain, radius)
        self.surface = MapSurface(self.inputs, self.fields, Cache.choose(cache))
        self.steps = split_steps(self.fields, self.dimension, splits)
        self.num_levels, self.batch_size, self.num_workers = num_levels, batch_size, num_workers
        self.out_type = self.inputs.in_type
        self.field_names = ["_".join(wanted.variables)]
        few = self.steps["train"][:: max(len(self.steps["train"]) // 64, 1)]
        everywhere = np.ones(len(self.surface.points), dtype=bool)
        self.inputs.fit(((self.raw(step), everywhere) for step in track(few, "statistics", "step")), self.fields)

    @property
    def target_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and size of the field, float64 ``[1]``."""
        (entry,) = self.inputs.statistics or [{}]
        return torch.tensor([entry["mean"]]).double(), torch.tensor([entry["std"]]).double()

    @staticmethod
    def inputs_from(spec: Mapping[str, Any]) -> MapInputs:
        """:class:`~meshconv.datasets.maps.inputs.MapInputs` of a :attr:`spec`."""
        return inputs_of_spec(spec)

    @property
    def spec(self) -> dict[str, Any]:
        """How the field is read, in plain values."""
        return {
            "data": class_path(type(self)),
            "area_weights": True,
            "out_type": str(self.out_type),
            "dimension": self.dimension,
            "inputs": self.inputs.spec,
        }

    def take_statistics(self, spec: Mapping[str, Any]) -> None:
        """Take the normalisation of a training from its :attr:`spec`."""
        self.inputs.statistics = [dict(entry) for entry in spec["inputs"]["statistics"]]
        self.inputs.check_units(self.fields)

    def raw(self, step: int) -> np.ndarray:
        """The field at one step, float32 ``[V, dim]``, NaN where missing."""
        assert self.dimension is not None
        return self.surface.raw({self.dimension: step})[0].astype(np.float32)

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """Levels of the network's points, finest first, float32."""
        with outside_inference_mode():
            return self.surface.hierarchy(self.num_levels)

    def train_dataloader(self) -> DataLoader | list:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader | list:
        return self._loader("test")

    def _loader(self, split: Literal["train", "val", "test"]) -> DataLoader | list:
        if not self.steps[split]:
            return []
        hierarchy = self.hierarchy

        def collate(steps: list[int]) -> SurfaceBatch:
            target = torch.from_numpy(np.stack([self.raw(step) for step in steps]))
            names = [self.fields.step_name(self.dimension, step) for step in steps]
            return SurfaceBatch(target.new_ones(*target.shape[:-1], 1), hierarchy, target, None, names)

        return Loader(
            self.steps[split],  # type: ignore[arg-type]
            self.batch_size,
            train=split == "train",
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )
