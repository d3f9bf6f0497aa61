"""HEALPix metadata of NetCDF files: dimension, nside and pixel order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError

log = logging.getLogger(__name__)

PixelOrder = Literal["nest", "ring"]
Array = NDArray[Any]

_ORDERS: dict[str, PixelOrder] = {"nest": "nest", "nested": "nest", "ring": "ring"}
# CF >= 1.13 and xdggs say indexing_scheme, the files of ICON say healpix_order, FITS says ORDERING.
_ORDER_KEYS = ("indexing_scheme", "healpix_order", "pixel_order", "ordering")
_LEVEL_KEYS = ("refinement_level", "level")
_NSIDE_KEYS = ("healpix_nside", "nside")
# Of finer spheres no library numbers the pixels in 64 bits.
_LARGEST_NSIDE = 1 << 29
_INDEX_NAMES = ("cell_ids", "healpix_index")
_DIMENSION_NAMES = ("cell", "cells", *_INDEX_NAMES, "cell_id", "pix", "pixel", "pixels", "ipix", "ncells")

_PLACES = ("lat", "lon")

_Declaration = tuple[str, dict[str, Any]]


def declarations(dataset: xr.Dataset) -> Iterator[_Declaration]:
    """Attributes that may describe the pixels, with where they stand.

    Variables that are a HEALPix grid mapping (CF) or carry HEALPix cell indices (CF, xdggs), and the
    global attributes.
    """
    for name, variable in dataset.variables.items():
        attributes = {str(k).lower(): v for k, v in variable.attrs.items()}
        kinds = [str(attributes.get(key, "")).lower() for key in ("grid_mapping_name", "grid_name")]
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
    """Pixel order from the attributes or the argument, which must not contradict each other."""
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


def is_healpix(dataset: xr.Dataset) -> bool:
    """Whether attributes anywhere declare HEALPix pixels."""
    places = dict(declarations(dataset))
    general = places.pop("global attributes")
    # As attributes of the whole file: ICON's names, or those of FITS.
    return (
        bool(places)
        or not general.keys().isdisjoint(("healpix_nside", "healpix_order"))
        or {"nside", "ordering"} <= general.keys()
    )


def index_coordinate(dataset: xr.Dataset, dimension: str | None = None) -> str | None:
    """Name of the one-dimensional variable with HEALPix indices, None if there is none.

    What attributes or usual names say, else numbers along the ``dimension`` of pixels called as it or as pixels are,
    else whole numbers along it of which none is there twice.
    """
    lines = {str(n): v for n, v in dataset.variables.items() if v.ndim == 1 and dimension in (None, *v.dims)}
    for name, variable in lines.items():
        attributes = variable.attrs
        if attributes.get("standard_name") == "healpix_index" or attributes.get("grid_name") == "healpix":
            return name
    names = [*_INDEX_NAMES, *([] if dimension is None else [dimension, *_DIMENSION_NAMES])]
    known = next((n for n in names if n in lines and lines[n].dtype.kind in "iuf"), None)
    if known is not None or dimension is None:
        return known
    return next((n for n, v in lines.items() if v.dims == (dimension,) and _numbers_pixels(v)), None)


def _numbers_pixels(variable: xr.Variable) -> bool:
    """Whether whole numbers are those of different pixels, whatever they are called; labels repeat."""
    if variable.dtype.kind not in "iu" or variable.size < 12:
        return False
    values = np.asarray(variable.values)
    return values.min() >= 0 and len(np.unique(values)) == len(values)


def cell_dimension(dataset: xr.Dataset, variables: list[str], path: Path) -> str:
    """The dimension that counts pixels: that of the index coordinate, by name, by size (12 nside^2) or the longest."""
    index = index_coordinate(dataset)
    if index is not None:
        return str(dataset[index].dims[0])
    sizes = {str(d): dataset.sizes[d] for name in variables for d in dataset[name].dims}
    if not sizes:
        raise InputError(f"{path}: {', '.join(variables) or 'no variable'} has no dimension of pixels")
    named = [d for d in _DIMENSION_NAMES if d in sizes]
    return named[0] if named else max(sizes, key=lambda d: (_count_nside(sizes[d]) is not None, sizes[d]))


def healpix_dimension(dataset: xr.Dataset, asked: Sequence[str], path: Path) -> str | None:
    """The dimension of pixels of the ``asked`` variables, by default of any; None where they are on another grid."""
    names = [str(n) for n, v in dataset.data_vars.items() if v.ndim]
    cell = cell_dimension(dataset, names, path)
    owners = [name for name in names if cell in dataset[name].dims]
    if asked and asked[0] not in owners:
        return None
    # No attribute gives the pixel order within a face; only coordinates determine it.
    return None if owners and on_faces(dataset[owners[0]]) and index_coordinate(dataset, cell) is None else cell


def on_faces(variable: xr.DataArray) -> bool:
    """Whether the pixels are along three dimensions: twelve faces of ``n x n``."""
    sizes = {str(d): n for d, n in variable.sizes.items()}
    if set(sizes) & set(_DIMENSION_NAMES) or any(n > 12 and _count_nside(n) for n in sizes.values()):
        return False
    sides = sorted(sizes.values())
    return 12 in sides and any(n == m for n, m in zip(sides, sides[1:], strict=False))


def stacked_faces(dataset: xr.Dataset, asked: Sequence[str], path: Path, pixel_order: str | None) -> xr.Dataset:
    """Maps on twelve faces of ``n x n`` pixels as one dimension ``cell``, where their order is said to be nested.

    Nested numbers run through one face after the other, so that a map in this order, cut into faces, is itself again.
    Data sets without such faces, or with indices or without a word on the order, are returned as they are.

    Raises
    ------
    InputError
        The order is said to be that of rings, in which no face is contiguous.
    """
    names = [*asked, *(str(n) for n, v in dataset.data_vars.items() if v.ndim and n not in asked)]
    faced = [n for n in names if on_faces(dataset[n])]
    if not faced or (asked and faced[0] != asked[0]):
        return dataset
    dims = _face_dimensions(dataset[faced[0]])
    said = declared_order(dataset, path)
    order = pixel_order or (said[0] if said else None) or ("nest" if any("nest" in d.lower() for d in dims) else None)
    if order is None or any(set(v.dims) == set(dims) and _is_place(str(n), v) for n, v in dataset.variables.items()):
        return dataset
    if order != "nest":
        raise InputError(
            f"{path}: {faced[0]} is on faces {dims}, which maps in ring order do not have; correct the attribute of "
            "the order, or store one dimension of pixels"
        )
    log.warning(
        "%s: pixels along %s are read in nested order as they are stored, face by face; where they are pictures of the "
        "faces (columns x, rows y) this is wrong: give latitude and longitude along these dimensions",
        path, ", ".join(dims),
    )  # fmt: skip
    kept = dataset.drop_vars([n for n in dims if n in dataset.variables])
    return kept.stack(cell=dims, create_index=False)


def _face_dimensions(variable: xr.DataArray) -> tuple[str, str, str]:
    """The dimension of the twelve faces and the two of a face, in the order of the variable."""
    dims = [(str(d), n) for d, n in variable.sizes.items()]
    last = max(k for k in range(1, len(dims)) if dims[k][1] == dims[k - 1][1])
    (rows, _), (columns, _) = dims[last - 1], dims[last]
    face = next(d for d, n in dims if n == 12 and d not in (rows, columns))
    return face, rows, columns


def _is_place(name: str, variable: xr.Variable) -> bool:
    standard = variable.attrs.get("standard_name")
    return standard in ("latitude", "longitude", "healpix_index") or name in _INDEX_NAMES or name[:3].lower() in _PLACES


def _count_nside(count: int) -> int | None:
    nside = max(round((count / 12) ** 0.5), 1)
    return nside if 12 * nside**2 == count else None


def check_nside(dataset: xr.Dataset, dimension: str, path: Path) -> int:
    """nside from the number of pixels, which the file's own level or nside must not contradict.

    Raises
    ------
    InputError
        If the count is not ``12 nside^2``, or contradicts the attributes.
    """
    count = dataset.sizes[dimension]
    nside = _count_nside(count)
    if nside is None:
        near = max(round((count / 12) ** 0.5), 1)
        raise InputError(
            f"{path}: dimension {dimension!r} has {count} pixels, which is not 12 nside^2 (nside {near} "
            f"has {12 * near * near}); give a map of the full sphere, or for a part of it the attribute "
            "refinement_level (of any nside healpix_nside) and a coordinate cell_ids with the pixels' indices"
        )
    for place, attributes in declarations(dataset):
        for key in (*_NSIDE_KEYS, *_LEVEL_KEYS):
            if key in attributes and _said_nside(key, attributes[key]) != nside:
                raise InputError(
                    f"{path}: {place}: {key} = {attributes[key]} contradicts dimension {dimension!r}, "
                    f"which has {count} pixels (nside {nside}); correct the attribute, or for a part of the sphere add "
                    "a coordinate cell_ids with the pixels' indices"
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
        nside = number if key in _NSIDE_KEYS else 2.0**number
    except (TypeError, ValueError, OverflowError):
        return float("nan")  # equals no nside
    return nside if nside <= _LARGEST_NSIDE else float("nan")


def check_places(dataset: xr.Dataset, dimension: str, nside: int, order: PixelOrder, pixels: Array, path: Path) -> bool:
    """Compare a file's own latitudes and longitudes with those of its pixels; false if it has none.

    Raises
    ------
    InputError
        They differ by about a pixel or more.
    """
    import healpy  # GPL-2 and slow to import: only where it is used

    true: dict[str, Array] = {}
    true["longitude"], true["latitude"] = healpy.pix2ang(nside, pixels, nest=order == "nest", lonlat=True)
    width, found = np.cos(np.radians(true["latitude"])), False
    for label, variable in dataset.variables.items():
        name = str(variable.attrs.get("standard_name", {"lat": "latitude", "lon": "longitude"}.get(str(label), label)))
        if variable.dims != (dimension,) or name not in true:
            continue
        found = True
        scale = 180.0 / np.pi if str(variable.attrs.get("units", "")).startswith("rad") else 1.0
        off = np.abs((np.asarray(variable.values, dtype=np.float64) * scale - true[name] + 180) % 360 - 180)
        # 0.3 degrees: latitudes on an ellipsoid differ that much, a wrong order differs by tens
        wrong = int((off * (width if name == "longitude" else 1.0) > max(0.3, 30.0 / nside)).sum())
        if wrong:
            raise InputError(
                f"{path}: {label} of {wrong} pixels contradicts the pixel order {order!r} of nside {nside}; correct "
                "the attributes that give them, or the coordinate"
            )
    return found
