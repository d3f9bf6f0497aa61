"""Predicted classes of maps, written on the grid that the inputs came on."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import dask
import numpy as np
import torch
import xarray as xr
from dask import array as dask_array
from numpy.typing import NDArray

from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.steps import step_dimension
from meshconv.datasets.maps.surface import MapSurface
from meshconv.errors import InputError
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.fields import SphereFields, open_fields
from meshconv.io.maps.healpix_netcdf import choose_order
from meshconv.io.maps.healpix_pixels import with_healpix_attributes
from meshconv.train.tasks.base import Task

log = logging.getLogger(__name__)


def predict_maps(
    task: Task,
    paths: Path | Sequence[Path],
    target: Path,
    pixel_order: str | None = None,
    cache: Cache | None = None,
    select: Mapping[str, Any] | None = None,
    dimension: Sequence[str] | None = None,
) -> None:
    """Write label and class probabilities for every step of the input, with its own grid, coordinates and attributes.

    One step at a time is in memory. The file appears as a whole or not at all. Where an input is missing there is no
    label. HEALPix pixels are declared as CF (>= 1.13) has it, also where the input leaves that out.

    Parameters
    ----------
    task
        Trained on :class:`~meshconv.datasets.maps.module.SphereMaps`.
    paths, target
        Input (NetCDF or Zarr; several files are joined as in training) and output (NetCDF).
    pixel_order
        As of :func:`~meshconv.io.maps.fields.open_fields`.
    cache
        Of regridding weights.
    select
        Values of dimensions, ``{"member": 3}``, also in place of those that the training selected.
    dimension
        Dimensions to predict along, such as ``["step", "member"]``; by default that of the training.

    Raises
    ------
    InputError
        The input lacks a variable or a selected value, has other units than the training, or nowhere all inputs; or
        the output cannot be written.
    """
    inputs = MapInputs(**task.hparams["spec"]["inputs"])
    fields = open_fields(paths, pixel_order, inputs.variables)
    try:
        _check_selection(task, select or {})
        _write(task, fields.select(select or {}), target, pixel_order, cache, dimension)
    finally:
        fields.dataset.close()


def _check_selection(task: Task, select: Mapping[str, Any]) -> None:
    inputs = task.hparams["spec"]["inputs"]
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
    missing = [d for d in asked if d not in fields.dataset.sizes or d in fields.dims]
    if missing:
        known = ", ".join(str(d) for d in fields.dataset.sizes if d not in fields.dims) or "none"
        raise InputError(f"{fields.path}: no dimension {missing[0]} to predict along; there is {known}")
    return tuple(dict.fromkeys(asked))


def _write(
    task: Task,
    fields: SphereFields,
    target: Path,
    pixel_order: str | None,
    cache: Cache | None,
    dimension: Sequence[str] | None,
) -> None:
    spec, path = task.hparams["spec"], fields.path
    order = None if fields.coordinates else choose_order(fields.dataset, path, pixel_order)
    predict = _StepPredictor(task, fields, cache)
    leading = _leading(fields, spec["dimension"], dimension)
    sizes = tuple(fields.dataset.sizes[d] for d in leading)
    shape = (len(spec["class_names"]), *(fields.dataset.sizes[d] for d in fields.dims))
    if 0 in sizes:
        raise InputError(f"{path}: no steps along {leading[sizes.index(0)]}, there is nothing to predict")
    steps = [dict(zip(leading, position, strict=True)) for position in np.ndindex(*sizes)]
    # The first step at once: what is wrong with the input shows before a file is begun.
    first = predict(steps[0])
    later = [dask_array.from_delayed(dask.delayed(predict)(at), shape, np.float32) for at in steps[1:]]
    probability = dask_array.stack([dask_array.from_array(first, chunks=shape), *later])
    labels = np.asarray(spec["class_values"])
    labels = labels.astype(np.result_type(np.int16, *map(np.min_scalar_type, labels)))
    missing = np.setdiff1d(np.arange(-1, -len(labels) - 2, -1, dtype=labels.dtype), labels)[-1]
    label = probability.map_blocks(_label, labels, missing, drop_axis=1, dtype=labels.dtype)
    probability, label = probability.reshape((*sizes, *shape)), label.reshape((*sizes, *shape[1:]))
    names = ["_".join(name.split()) for name in spec["class_names"]]
    source = fields.dataset.assign_coords({n: fields.dataset[n] for n in fields.coordinates})
    # The one level or member of a file stays with what is predicted from it.
    source = source.squeeze([d for d, n in source.sizes.items() if n == 1 and d not in (*fields.dims, *leading)])
    if fields.positions is not None and order is not None:
        sphere = cast(HealpixSphere, fields.grid.whole)
        source = with_healpix_attributes(source, fields.dims[0], sphere, fields.positions, order)
    crs = {n: source[n].variable for n in source.variables if "grid_mapping_name" in source[n].attrs}
    on_map = {"grid_mapping": str(next(iter(crs)))} if crs else {}
    flags = {"flag_values": labels, "flag_meanings": " ".join(names)}
    own = {"label", "probability", "class"}
    kept = [n for n in source.coords if n not in own and set(source[n].dims) <= {*fields.dims, *leading}]
    for name in kept:
        source[name].attrs.pop("bounds", None)  # corners of cells are not written
    titles = {"Conventions": "CF-1.13", "title": "classes predicted by meshconv"}
    titles["source"] = f"predicted from {path.name}"
    result = xr.Dataset(
        {
            "label": ((*leading, *fields.dims), label, {"long_name": "most probable class", **flags, **on_map}),
            "probability": (
                (*leading, "class", *fields.dims),
                probability,
                {"long_name": "probability of the class", "units": "1", **on_map},
            ),
            **crs,
        },
        {**{n: source[n].variable for n in kept if n not in crs}, "class": ("class", np.asarray(names, dtype=object))},
        {**source.attrs, **titles},
    )
    for attributes in (result.attrs, *(variable.attrs for variable in result.variables.values())):
        attributes.update({key: _storable(value) for key, value in attributes.items()})
    packed = {"zlib": True, "complevel": 4}
    encoding = {"label": {**packed, "_FillValue": missing}, "probability": {**packed, "_FillValue": np.float32(np.nan)}}
    try:
        with atomic_write(target) as part, dask.config.set(scheduler="synchronous"):
            result.to_netcdf(part, engine="netcdf4", encoding=encoding)
            predict.report(len(steps))
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("NetCDF"):
            raise  # of a full disk the library says "NetCDF: HDF error"
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{target}: cannot be written ({reason}); see to space and permissions there") from error


def _storable(value: Any) -> Any:
    """Zarr stores have attributes that NetCDF has not, such as objects and truth values: their text."""
    values = value if isinstance(value, list | tuple) and len(value) else [value]
    plain = all(isinstance(v, str | int | float | np.generic | np.ndarray) and not isinstance(v, bool) for v in values)
    return value if plain else json.dumps(value, default=str)


def _label(probability: NDArray, labels: NDArray, missing: np.signedinteger) -> NDArray:
    """Value of the most probable class, ``[steps, classes, ...]`` to ``[steps, ...]``."""
    known = np.isfinite(probability).all(axis=1)
    return np.where(known, labels[np.nan_to_num(probability).argmax(axis=1)], missing)


class _StepPredictor:
    """Probabilities ``[classes, *grid]`` of one step, NaN where an input is missing or the domain ends."""

    def __init__(self, task: Task, fields: SphereFields, cache: Cache | None):
        self.task, self.fields = task, fields
        self.inputs = MapInputs(**task.hparams["spec"]["inputs"])
        self.inputs.check_units(fields)
        self.empty = 0
        self.surface = MapSurface(self.inputs, fields, cache)
        self.hierarchy = self.surface.hierarchy(task.num_levels or 1)

    def __call__(self, at: dict[str, int]) -> NDArray[np.float32]:
        raw, known = self.surface.raw(at)
        x, present = self.inputs.normalise(raw)
        self.empty += not present.any()
        if not any(at.values()):
            for line in self.inputs.far_off(raw):
                log.warning("%s: %s", self.fields.path, line)
        with torch.no_grad():
            logits = self.task.network(torch.from_numpy(x)[None], self.hierarchy)[0]
        probability = np.where(present, logits.softmax(-1).T.numpy(), np.nan)
        return self.surface.to_file(probability, known).astype(np.float32)

    def report(self, steps: int) -> None:
        """Say how many steps were missing; an :class:`InputError` if all were."""
        if self.empty == steps:
            raise InputError(
                f"{self.fields.path}: no point has a value of every input at any step, there is nothing to predict; "
                "give the missing variables"
            )
        if self.empty:
            said = "%s: %d of %d steps lack an input everywhere and have no labels"
            log.warning(said, self.fields.path, self.empty, steps)
