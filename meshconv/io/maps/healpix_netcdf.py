"""What a NetCDF file says of its HEALPix pixels: which dimension, which nside, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from meshconv.errors import InputError

PixelOrder = Literal["nest", "ring"]

_ORDERS: dict[str, PixelOrder] = {"nest": "nest", "nested": "nest", "ring": "ring"}
# CF >= 1.13 and xdggs say indexing_scheme, the files of ICON say healpix_order, FITS says ORDERING.
_ORDER_KEYS = ("indexing_scheme", "healpix_order", "pixel_order", "ordering")
_LEVEL_KEYS = ("refinement_level", "level")
_NSIDE_KEYS = ("healpix_nside", "nside")
_DIMENSION_NAMES = ("cell", "cells", "cell_ids", "healpix_index", "pix", "pixel", "ncells")

_Declaration = tuple[str, dict[str, Any]]


def declarations(dataset: xr.Dataset) -> Iterator[_Declaration]:
    """Attributes that may describe the pixels, with where they stand.

    Variables that are a HEALPix grid mapping (CF) or carry HEALPix cell indices (CF, xdggs), and the
    global attributes.
    """
    for name, variable in dataset.variables.items():
        attributes = {str(k).lower(): v for k, v in variable.attrs.items()}
        kinds = (attributes.get("grid_mapping_name"), attributes.get("grid_name"))
        if "healpix" in kinds or attributes.get("standard_name") == "healpix_index":
            yield str(name), attributes
    # a bare "level" among the global attributes may mean anything
    yield (
        "global attributes",
        {str(k).lower(): v for k, v in dataset.attrs.items() if str(k).lower() != "level"},
    )


def declared_order(dataset: xr.Dataset, path: Path) -> tuple[PixelOrder, str] | None:
    """Pixel order by the file's attributes, and the attribute; None if it is silent.

    Raises
    ------
    InputError
        If attributes contradict each other or name an order that is not nested or ring.
    """
    found: tuple[PixelOrder, str] | None = None
    for place, attributes in declarations(dataset):
        for key in _ORDER_KEYS:
            if key not in attributes:
                continue
            text = str(attributes[key])
            where = f"{place}: {key} = {text!r}"
            order = _ORDERS.get(text.lower())
            if order is None:
                raise InputError(f"{path}: {where} is not supported; store the map as 'nested' or 'ring'")
            if found is not None and found[0] != order:
                raise InputError(f"{path}: attributes contradict each other ({found[1]}; {where}); correct one")
            found = found or (order, where)
    return found


def choose_order(dataset: xr.Dataset, path: Path, pixel_order: str | None) -> PixelOrder:
    """Pixel order from the attributes and what the caller says, which must not contradict them."""
    declared = declared_order(dataset, path)
    if pixel_order is None:
        if declared is None:
            raise InputError(
                f"{path}: no attribute gives the pixel order; add indexing_scheme = 'nested' or 'ring' "
                "to its grid mapping, or pass pixel_order='nest' or 'ring'"
            )
        return declared[0]
    if pixel_order not in ("nest", "ring"):
        raise InputError(f"{path}: pixel_order {pixel_order!r} is not known; use 'nest' or 'ring'")
    if declared is not None and declared[0] != pixel_order:
        raise InputError(
            f"{path}: pixel_order {pixel_order!r} contradicts the file ({declared[1]}); "
            "leave pixel_order out or correct the attribute"
        )
    return _ORDERS[pixel_order]


def index_coordinate(dataset: xr.Dataset) -> str | None:
    """Name of the one-dimensional variable with HEALPix indices, None if there is none."""
    for name, variable in dataset.variables.items():
        attributes = variable.attrs
        if variable.ndim == 1 and (
            attributes.get("standard_name") == "healpix_index"
            or attributes.get("grid_name") == "healpix"
            or name in ("cell_ids", "healpix_index")
        ):
            return str(name)
    return None


def cell_dimension(dataset: xr.Dataset, variables: list[str], path: Path) -> str:
    """The dimension that counts pixels: that of the index coordinate, by name, or the longest."""
    index = index_coordinate(dataset)
    if index is not None:
        return str(dataset[index].dims[0])
    sizes = {str(d): dataset.sizes[d] for name in variables for d in dataset[name].dims}
    if not sizes:
        raise InputError(f"{path}: {', '.join(variables) or 'no variable'} has no dimension of pixels")
    named = [d for d in _DIMENSION_NAMES if d in sizes]
    return named[0] if named else max(sizes, key=lambda d: sizes[d])


def check_nside(dataset: xr.Dataset, dimension: str, path: Path) -> int:
    """nside from the number of pixels, which the file's own level or nside must not contradict.

    Raises
    ------
    InputError
        If the count is not ``12 nside^2`` with nside a power of two (nested order needs that), or
        contradicts the attributes.
    """
    count = dataset.sizes[dimension]
    nside = max(round((count / 12) ** 0.5), 1)
    if 12 * nside * nside != count:
        raise InputError(
            f"{path}: dimension {dimension!r} has {count} pixels, which is not 12 nside^2 (nside {nside} "
            f"has {12 * nside * nside}); give a map of the full sphere, or for a part of it the attribute "
            "refinement_level and a coordinate cell_ids with the pixels' indices"
        )
    if nside & (nside - 1):
        raise InputError(
            f"{path}: {count} pixels are nside {nside}, which is not a power of two and has no nested "
            "order; store it as 'ring', or resample it"
        )
    for place, attributes in declarations(dataset):
        for key in (*_NSIDE_KEYS, *_LEVEL_KEYS):
            if key in attributes and _said_nside(key, attributes[key]) != nside:
                raise InputError(
                    f"{path}: {place}: {key} = {attributes[key]} contradicts dimension {dimension!r}, "
                    f"which has {count} pixels (nside {nside}); correct the attribute"
                )
    return nside


def declared_nside(dataset: xr.Dataset) -> int | None:
    """nside by the first attribute that gives a level or nside; None if the file is silent."""
    for _, attributes in declarations(dataset):
        for key in (*_NSIDE_KEYS, *_LEVEL_KEYS):
            said = _said_nside(key, attributes[key]) if key in attributes else float("nan")
            if said >= 1 and said == round(said):
                return int(said)
    return None


def _said_nside(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return float("nan")  # equals no nside
    return number if key in _NSIDE_KEYS else 2.0**number


def file_positions(dataset: xr.Dataset, dimension: str, nside: int, order: PixelOrder, path: Path) -> np.ndarray:
    """Position in the file of every nested pixel, int64 ``[12 nside^2]``.

    Raises
    ------
    InputError
        If the file's HEALPix indices are not each pixel once, or its latitudes are not those of the
        pixels: then the order is not what the attributes say.
    """
    import healpy  # GPL-2 and slow to import: only where it is used

    npix = 12 * nside * nside
    name = index_coordinate(dataset)
    pixels = np.arange(npix) if name is None else np.asarray(dataset[name].values)
    if not np.array_equal(np.sort(pixels), np.arange(npix)):
        raise InputError(f"{path}: {name} does not hold each of 0..{npix - 1} once; give a map of the full sphere")
    pixels = pixels.astype(np.int64)
    nested = pixels if order == "nest" else healpy.ring2nest(nside, pixels)
    positions = np.argsort(nested)
    for label, variable in dataset.variables.items():
        attributes = variable.attrs
        if variable.dims == (dimension,) and (
            attributes.get("standard_name") == "latitude" or label in ("lat", "latitude")
        ):
            scale = 180.0 / np.pi if str(attributes.get("units", "")).startswith("rad") else 1.0
            said = np.asarray(variable.values, dtype=np.float64)[positions] * scale
            true = healpy.pix2ang(nside, np.arange(npix), nest=True, lonlat=True)[1]
            # 0.3 degrees: latitudes on an ellipsoid differ that much, a wrong order differs by tens
            wrong = int((np.abs(said - true) > max(0.3, 30.0 / nside)).sum())
            if wrong:
                raise InputError(
                    f"{path}: {label} of {wrong} pixels contradicts the pixel order {order!r}; correct "
                    "the attribute that gives the order, or the coordinate"
                )
    return positions
