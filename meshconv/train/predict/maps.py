"""Prediction of maps, on the grid of their file."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import dask
import numpy as np
import torch
import xarray as xr
from dask import array as dask_array
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.steps import step_dimension
from meshconv.datasets.maps.surface import MapSurface
from meshconv.datasets.maps.variables import scalar_title
from meshconv.errors import InputError, PlaceError, first_line
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.fields import SphereFields
from meshconv.io.maps.places.healpix_netcdf import choose_order
from meshconv.io.maps.places.healpix_pixels import with_healpix_attributes
from meshconv.progress import Progress

log = logging.getLogger(__name__)

# Points of the network that go through it at once: several steps of a coarse map, one of a fine one.
_POINTS = 1 << 18


class Maps:
    """Prediction of every step of a map, with regridding to the points of the network and back.

    Parameters
    ----------
    fields : SphereFields
        The input.
    spec : dict
        Of the training.
    num_levels : int
        Of the network.
    device
        Of the network.
    pixel_order
        As of :func:`~meshconv.io.maps.fields.open_fields`.
    cache
        Of regridding weights.
    select
        Values of dimensions, ``{"member": 3}``, also in place of those that the training selected.
    dimension
        Dimensions to predict along, such as ``["step", "member"]``; by default that of the training.

    Attributes
    ----------
    progress : Progress
        Of the steps; a context in which they are predicted.

    Raises
    ------
    InputError
        The input lacks a variable or a selected value, or has other units than the training.
    """

    def __init__(
        self,
        fields: SphereFields,
        spec: Mapping[str, Any],
        num_levels: int,
        device: torch.device,
        pixel_order: str | None = None,
        cache: Cache | None = None,
        select: Mapping[str, Any] | None = None,
        dimension: Sequence[str] | None = None,
    ):
        _check_selection(spec, select or {})
        fields = fields.select(select or {})
        self.fields, self.device = fields, device
        self._order = None if fields.coordinates else choose_order(fields.dataset, fields.path, pixel_order)
        self.inputs = MapInputs(**spec["inputs"])
        self.inputs.check_units(fields)
        self.surface = MapSurface(self.inputs, fields, cache)
        self.hierarchy = self.surface.hierarchy(num_levels).to(device)
        self.leading = _leading(fields, spec["dimension"], dimension)
        sizes = [fields.dataset.sizes[d] for d in self.leading]
        if 0 in sizes:
            empty = self.leading[sizes.index(0)]
            raise InputError(f"{fields.path}: no steps along {empty}, there is nothing to predict")
        self.steps = [dict(zip(self.leading, position, strict=True)) for position in np.ndindex(*sizes)]
        self._without: set[int] = set()
        self.progress = Progress(len(self.steps), f"predicting {fields.path.name}", "step")

    def variable(
        self, values: dask_array.Array | NDArray, missing: Any, between: tuple[str, ...], **attributes: Any
    ) -> xr.Variable:
        """A variable of ``values [steps, *between, *grid]`` on the dimensions of steps and grid, for NetCDF."""
        sizes = [self.fields.dataset.sizes[d] for d in self.leading]
        dims = (*self.leading, *between, *self.fields.dims)
        packed = {"zlib": True, "complevel": 4, "_FillValue": missing}
        return xr.Variable(dims, values.reshape((*sizes, *values.shape[1:])), attributes, packed)

    def values(self, predict: Callable[[SurfaceBatch], Tensor], count: int) -> dask_array.Array:
        """What ``predict`` gives for each point, ``[S, V, count]``, as ``[count, *grid]`` of each step.

        Steps are computed when they are read, some at once; the first ones right away, so that what is wrong with the
        input shows before a file is begun. NaN where an input is missing or the domain ends.

        Returns
        -------
        dask array, float32 ``[steps, count, *grid]``
        """
        return self._arrays(predict, count, self.surface.to_file)

    def fields_of(
        self, predict: Callable[[SurfaceBatch], Tensor], targets: Mapping[str, Any]
    ) -> dict[str, xr.Variable]:
        """Variables of what ``predict`` gives, the fields of :attr:`~meshconv.datasets.maps.targets.MapTargets.spec`.

        A vector is two variables, its eastward and northward component.
        """
        names, units = self.names_of(targets)
        kind = MapInputs(targets["scalars"], targets["vectors"], self.inputs.nside).in_type

        def outward(values: NDArray, known: NDArray[np.bool_]) -> NDArray:
            return self.surface.fields_to_file(values.T, kind, known)

        values = self._arrays(predict, len(names), outward)
        found = {}
        for k, (name, unit) in enumerate(zip(names, units, strict=True)):
            attributes = {} if unit is None else {"units": unit}
            found[name] = self.variable(values[:, k], np.float32(np.nan), (), **attributes)
        return found

    def times_after(self, lead: float) -> dict[str, xr.Variable]:
        """The time coordinate of what is predicted a lead ahead: seconds where it has dates, else in its unit."""
        if not lead or len(self.leading) != 1:
            return {}
        (dimension,) = self.leading
        index = self.fields.dataset.indexes.get(dimension)
        if index is None or index.dtype.kind not in "Miuf" + "O" * isinstance(index, xr.CFTimeIndex):
            return {}
        ahead = lead if index.dtype.kind in "iuf" else datetime.timedelta(seconds=lead)
        attributes = {k: v for k, v in self.fields.dataset[dimension].attrs.items() if k != "bounds"}
        return {dimension: xr.Variable((dimension,), index + ahead, attributes)}

    @staticmethod
    def names_of(targets: Mapping[str, Any]) -> tuple[list[str], list[str | None]]:
        """Names and units of the variables of :meth:`fields_of`."""
        names = [scalar_title(s) for s in targets["scalars"]] + [n for v in targets["vectors"] for n in v["names"]]
        units = [entry.get("units") for entry in targets["statistics"]]
        first = len(targets["scalars"])
        return names, units[:first] + [unit for unit in units[first:] for _ in range(2)]

    def _arrays(
        self,
        predict: Callable[[SurfaceBatch], Tensor],
        count: int,
        outward: Callable[[NDArray, NDArray[np.bool_]], NDArray],
    ) -> dask_array.Array:
        several = max(_POINTS // self.hierarchy.finest.num_vertices, 1)
        parts = [range(len(self.steps))[k : k + several] for k in range(0, len(self.steps), several)]
        grid = [self.fields.dataset.sizes[d] for d in self.fields.dims]
        arrays: list[dask_array.Array] = []
        for part in parts:
            shape = (len(part), count, *grid)
            if arrays:
                later = dask.delayed(self._values)(predict, part, outward)
                arrays.append(dask_array.from_delayed(later, shape, np.float32))
            else:
                arrays.append(dask_array.from_array(self._values(predict, part, outward), chunks=shape))
        return dask_array.concatenate(arrays)

    def _values(
        self,
        predict: Callable[[SurfaceBatch], Tensor],
        steps: range,
        outward: Callable[[NDArray, NDArray[np.bool_]], NDArray],
    ) -> NDArray[np.float32]:
        try:
            raws, knowns = zip(*(self.surface.raw(self.steps[k]) for k in steps), strict=True)
        except (OSError, RuntimeError) as error:
            reason = first_line(error)
            raise InputError(f"{self.fields.path}: cannot be read ({reason}); copy or download it again") from error
        inputs = [self.inputs.normalise(raw) for raw in raws]
        for k, (_, present) in zip(steps, inputs, strict=True):
            if not present.any():
                self._without.add(k)
        if 0 in steps:
            for line in self.inputs.far_off(raws[0]):
                log.warning("%s: %s", self.fields.path, line)
        x = torch.from_numpy(np.stack([x for x, _ in inputs])).to(self.device)
        names = [f"{self.fields.path}:{k}" for k in steps]
        with torch.no_grad():
            output = predict(SurfaceBatch(x, self.hierarchy, x.new_empty(0), None, names)).cpu().numpy()
        on_grid = [
            outward(np.where(present, values.T, np.nan), known)
            for values, (_, present), known in zip(output, inputs, knowns, strict=True)
        ]
        self.progress.update(len(steps))
        return np.stack(on_grid).astype(np.float32)

    def dataset(self, variables: Mapping[str, xr.Variable], coords: Mapping[str, Any], title: str) -> xr.Dataset:
        """Variables of :meth:`variable` with the grid, coordinates and attributes of the input.

        HEALPix pixels are declared according to CF (>= 1.13), also where the input does not declare them.
        """
        fields = self.fields
        source = fields.dataset.assign_coords({n: fields.dataset[n] for n in fields.coordinates})
        # The one level or member of a file stays with what is predicted from it.
        placed = {*fields.dims, *self.leading}
        source = source.squeeze([d for d, n in source.sizes.items() if n == 1 and d not in placed])
        if fields.positions is not None and self._order is not None:
            sphere = cast(HealpixSphere, fields.grid.whole)
            source = with_healpix_attributes(source, fields.dims[0], sphere, fields.positions, self._order)
        crs = {n: source[n].variable for n in source.variables if "grid_mapping_name" in source[n].attrs}
        own = {*variables, *coords}
        kept = [n for n in source.coords if n not in own and set(source[n].dims) <= placed]
        for name in kept:
            source[name].attrs.pop("bounds", None)  # corners of cells are not written
        for variable in variables.values():
            variable.attrs.update({"grid_mapping": str(next(iter(crs)))} if crs else {})
        titles = {"Conventions": "CF-1.13", "title": title, "source": f"predicted from {fields.path.name}"}
        result = xr.Dataset(
            {**variables, **crs},
            {**{n: source[n].variable for n in kept if n not in crs}, **coords},
            {**source.attrs, **titles},
        )
        for attributes in (result.attrs, *(variable.attrs for variable in result.variables.values())):
            attributes.update({key: _storable(value) for key, value in attributes.items()})
        return result

    def report(self) -> None:
        """Report the number of steps without inputs; an :class:`InputError` if that is all of them."""
        if len(self._without) == len(self.steps):
            raise InputError(
                f"{self.fields.path}: no point has a value of every input at any step, there is nothing to predict; "
                "give the missing variables"
            )
        if self._without:
            said = "%s: %d of %d steps lack an input everywhere and have no labels"
            log.warning(said, self.fields.path, len(self._without), len(self.steps))


def _check_selection(spec: Mapping[str, Any], select: Mapping[str, Any]) -> None:
    inputs = spec["inputs"]
    for key in select:
        trained = {str(e["select"][key]) for e in [*inputs["scalars"], *inputs["vectors"]] if key in e["select"]}
        if len(trained) > 1:
            raise InputError(
                f"select {key}: the network was trained on {key} {', '.join(sorted(trained))} together; leave it out"
            )


def _leading(fields: SphereFields, trained: str | None, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Dimensions to predict along."""
    if asked is None:
        found = step_dimension(fields.dataset, trained)
        return () if found is None else (found,)
    asked = [asked] if isinstance(asked, str) else asked
    missing = [d for d in asked if d not in fields.dataset.sizes or d in fields.dims]
    if missing:
        known = ", ".join(str(d) for d in fields.dataset.sizes if d not in fields.dims) or "none"
        raise InputError(f"{fields.path}: no dimension {missing[0]} to predict along; there is {known}")
    return tuple(dict.fromkeys(asked))


def load(result: xr.Dataset, maps: Maps) -> xr.Dataset:
    """A result with all its steps in memory."""
    with dask.config.set(scheduler="synchronous"):
        loaded = result.load()
    maps.report()
    return loaded


def write(result: xr.Dataset, maps: Maps, target: Path) -> None:
    """Write a result as NetCDF, some steps at a time; the file appears as a whole or not at all."""
    try:
        with atomic_write(target) as part, dask.config.set(scheduler="synchronous"):
            result.to_netcdf(part, engine="netcdf4")
            maps.report()
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("NetCDF"):
            raise  # of a full disk the library says "NetCDF: HDF error"
        reason = getattr(error, "strerror", None) or error
        raise PlaceError(f"{target}: cannot be written ({reason}); see to space and permissions there") from error


def _storable(value: Any) -> Any:
    """Zarr stores have attributes that NetCDF has not, such as objects and truth values: their text."""
    values = value if isinstance(value, list | tuple) and len(value) else [value]
    plain = all(isinstance(v, str | int | float | np.generic | np.ndarray) and not isinstance(v, bool) for v in values)
    return value if plain else json.dumps(value, default=str)
