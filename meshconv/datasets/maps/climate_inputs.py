"""Scalar inputs from climate fields: what is taken of the months, and how it is normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from meshconv.errors import InputError
from meshconv.io.maps.climate import HealpixMaps, open_healpix


class ClimateInput(NamedTuple):
    """One scalar input: a variable, what is taken of its months, and a function that evens it out."""

    variable: str
    months: Literal["mean", "january", "july", "none"]
    transform: Literal["identity", "log1p"]


#: Inputs by name. Precipitation spans four decades, and zones are told apart by its ratios.
CLIMATE_INPUTS: dict[str, ClimateInput] = {
    "t2m_mean": ClimateInput("t2m", "mean", "identity"),
    "t2m_jan": ClimateInput("t2m", "january", "identity"),
    "t2m_jul": ClimateInput("t2m", "july", "identity"),
    "tp_mean": ClimateInput("tp", "mean", "log1p"),
    "tp_jan": ClimateInput("tp", "january", "log1p"),
    "tp_jul": ClimateInput("tp", "july", "log1p"),
    "elevation": ClimateInput("elevation", "none", "identity"),
    "land_fraction": ClimateInput("land_fraction", "none", "identity"),
}
DEFAULT_INPUTS = ("t2m_mean", "tp_mean", "elevation", "land_fraction")

_TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": np.asarray,
    "log1p": np.log1p,
}
_MONTH = {"january": 0, "july": 6}


def climate_field(dataset: xr.Dataset, variable: str, months: str, path: Path) -> np.ndarray:
    """One input in its own unit, float64 ``[npix]``.

    Raises
    ------
    InputError
        If the variable has not the months it needs, or values are missing.
    """
    field = dataset[variable].transpose(..., "cell")
    values = np.asarray(field.values, dtype=np.float64)
    if values.ndim != (1 if months == "none" else 2) or (values.ndim == 2 and len(values) != 12):
        needed = "[cell]" if months == "none" else "[12 months, cell]"
        raise InputError(f"{path}: variable {variable} has shape {values.shape}; it has to be {needed}")
    if missing := int((~np.isfinite(values)).any(axis=tuple(range(values.ndim - 1))).sum()):
        raise InputError(
            f"{path}: variable {variable} has no finite value in {missing} of {values.shape[-1]} cells; fill them"
        )
    if months == "mean":
        return values.mean(axis=0)
    return values if months == "none" else values[_MONTH[months]]


def load_inputs(path: str | Path, spec: dict[str, Any], pixel_order: str | None = None) -> tuple[Tensor, HealpixMaps]:
    """Read the inputs of a trained network from a NetCDF file, normalised as in training.

    Parameters
    ----------
    path
        NetCDF file with the variables of the training file, at any nside that is a power of two.
    spec
        :attr:`KoeppenClimate.spec` of the training.
    pixel_order
        As in :func:`~meshconv.io.maps.climate.open_healpix`.

    Returns
    -------
    x : float32 Tensor [1, npix, len(spec["inputs"])]
        In nested order.
    maps : HealpixMaps
        The file, for :func:`~meshconv.io.maps.climate.write_labels`.

    Raises
    ------
    InputError
        As :func:`~meshconv.io.maps.climate.open_healpix`; also for missing values, missing months and
        for units other than those of the training.
    """
    path = Path(path)
    inputs = spec["inputs"]
    maps = open_healpix(path, list(dict.fromkeys(i["variable"] for i in inputs)), pixel_order)
    return normalise_inputs(maps, inputs), maps


def normalise_inputs(maps: HealpixMaps, inputs: Sequence[dict[str, Any]]) -> Tensor:
    """Inputs with mean 0 and standard deviation 1 over the training pixels, float32 ``[1, npix, n]``."""
    columns = []
    for entry in inputs:
        variable = entry["variable"]
        unit = maps.dataset[variable].attrs.get("units", entry["unit"])
        if unit != entry["unit"]:
            raise InputError(
                f"{maps.path}: variable {variable} is in {unit!r}, training was in {entry['unit']!r}; "
                "convert it and correct its units"
            )
        field = climate_field(maps.dataset, variable, entry["months"], maps.path)
        columns.append((transform_input(field, entry, maps.path) - entry["mean"]) / entry["std"])
    return torch.from_numpy(np.stack(columns, axis=-1)[None]).to(torch.float32)


def transform_input(field: np.ndarray, entry: dict[str, Any], path: Path) -> np.ndarray:
    """Even a field out; a negative amount is an error."""
    if entry["transform"] == "log1p" and field.min() < 0:
        raise InputError(
            f"{path}: variable {entry['variable']} is negative in {int((field < 0).sum())} cells; "
            "an amount cannot be, set them to 0"
        )
    return _TRANSFORMS[entry["transform"]](field)
