"""Predicted classes of maps, written on the grid that the inputs came on."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import torch
import xarray as xr
from dask import array as dask_array
from numpy.typing import NDArray

from meshconv.datasets.map_inputs import MapInputs
from meshconv.errors import InputError
from meshconv.geometry.healpix import HealpixSphere
from meshconv.geometry.regrid import Regridder
from meshconv.io.atomic import atomic_write
from meshconv.io.sphere_fields import SphereFields, open_fields
from meshconv.train.tasks import Task


def predict_maps(task: Task, path: Path, target: Path, pixel_order: str | None = None) -> None:
    """Write label and class probabilities for every step of a file, with its own grid, coordinates and attributes.

    One step at a time is in memory. The file appears as a whole or not at all. Where an input is missing there is no
    label.

    Parameters
    ----------
    task
        Trained on :class:`~meshconv.datasets.sphere_maps.SphereMaps`.
    path, target
        Input (NetCDF or Zarr) and output (NetCDF).
    pixel_order
        As of :func:`~meshconv.io.sphere_fields.open_fields`.

    Raises
    ------
    InputError
        The input lacks a variable or a selected value, or the output cannot be written.
    """
    spec = task.hparams["spec"]
    fields = open_fields(path, pixel_order)
    predict = _StepPredictor(task, fields)
    dimension = spec["dimension"] if spec["dimension"] in fields.dataset.sizes else None
    leading = () if dimension is None else (dimension,)
    shape = (len(spec["class_names"]), *(fields.dataset.sizes[d] for d in fields.dims))
    steps = [{}] if dimension is None else [{dimension: k} for k in range(fields.dataset.sizes[dimension])]
    # The first step at once: what is wrong with the input shows before a file is begun.
    first = predict(steps[0])
    later = [dask_array.from_delayed(dask.delayed(predict)(at), shape, np.float32) for at in steps[1:]]
    probability = dask_array.stack([dask_array.from_array(first, chunks=shape), *later])
    labels = np.asarray(spec["class_values"], dtype=np.int16)
    missing = np.int16(np.setdiff1d(np.arange(-1, -len(labels) - 2, -1), labels)[-1])
    label = probability.map_blocks(_label, labels, missing, drop_axis=1, dtype=np.int16)
    if dimension is None:
        probability, label = probability[0], label[0]
    names = ["_".join(name.split()) for name in spec["class_names"]]
    source = fields.dataset
    crs = {n: source[n] for n in source.variables if "grid_mapping_name" in source[n].attrs}
    on_map = {"grid_mapping": str(next(iter(crs)))} if crs else {}
    flags = {"flag_values": labels, "flag_meanings": " ".join(names)}
    kept = [n for n in source.coords if set(source[n].dims) <= {*fields.dims, *leading}]
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
        {**{n: source[n] for n in kept if n not in crs}, "class": ("class", np.asarray(names, dtype=object))},
        {**source.attrs, "title": "classes predicted by meshconv", "source": f"predicted from {path.name}"},
    )
    packed = {"zlib": True, "complevel": 4}
    encoding = {"label": {**packed, "_FillValue": missing}, "probability": {**packed, "_FillValue": np.float32(np.nan)}}
    try:
        with atomic_write(target) as part, dask.config.set(scheduler="synchronous"):
            result.to_netcdf(part, engine="netcdf4", encoding=encoding)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error


def _label(probability: NDArray, labels: NDArray[np.int16], missing: np.int16) -> NDArray[np.int16]:
    """Value of the most probable class, ``[steps, classes, ...]`` to ``[steps, ...]``."""
    known = np.isfinite(probability).all(axis=1)
    return np.where(known, labels[np.nan_to_num(probability).argmax(axis=1)], missing)


class _StepPredictor:
    """Probabilities ``[classes, *grid]`` of one step, NaN where an input is missing."""

    def __init__(self, task: Task, fields: SphereFields):
        self.task, self.fields = task, fields
        self.inputs = MapInputs(**task.hparams["spec"]["inputs"])
        self.regridder = self.inputs.regridder(fields)
        sphere = self.inputs.sphere
        levels = len(getattr(task.network, "down", [None]))
        self.hierarchy = sphere.hierarchy(levels).to(torch.float32)
        same = isinstance(fields.grid, HealpixSphere) and fields.grid.nside == sphere.nside
        self.back = None if same else Regridder(sphere, fields.grid, "bilinear")

    def __call__(self, at: dict[str, int]) -> NDArray[np.float32]:
        x, present = self.inputs.normalise(self.inputs.raw(self.fields, self.regridder, at))
        with torch.no_grad():
            scores = self.task.network(torch.from_numpy(x)[None], self.hierarchy)[0]
        probability = np.where(present, scores.softmax(-1).T.numpy(), np.nan)
        if self.back is not None:
            probability = self.back(probability)
        return self.fields.to_file_grid(probability).astype(np.float32)
