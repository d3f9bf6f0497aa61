"""The HEALPix grid of a file: the full sphere or a part of it, of any nside."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.maps.places.healpix_netcdf import (
    PixelOrder,
    check_nside,
    check_places,
    choose_order,
    declared_nside,
    index_coordinate,
)

log = logging.getLogger(__name__)


def healpix_grid(
    dataset: xr.Dataset, dimension: str, path: Path, pixel_order: str | None = None
) -> tuple[HealpixSphere, NDArray[np.int64], NDArray[np.int64]]:
    """The sphere that a file's pixels lie on, which pixels it has, ascending, and where it keeps each, int64 ``[n]``.

    The sphere is nested where its nside is a power of two. Numbers along the pixels (``cell_ids`` of xdggs,
    ``healpix_index`` of CF, the dimension's own coordinate) are their indices; a part of the sphere needs them and a
    declared level or nside. They count from 0, as in CF and xdggs: 1 to n of a part without latitudes and longitudes,
    which may count from 1, are warned of.

    Raises
    ------
    InputError
        Counts, attributes, indices and places that contradict each other, with the remedy.
    """
    count, index, said = dataset.sizes[dimension], index_coordinate(dataset, dimension), declared_nside(dataset)
    partial = index is not None and said is not None and count < 12 * said**2
    nside = said if partial and said is not None else check_nside(dataset, dimension, path)
    order = choose_order(dataset, path, pixel_order)
    if nside & (nside - 1) and order == "nest":
        raise InputError(
            f"{path}: nside {nside} ({count} pixels) is not a power of two and has no nested order; store it as "
            "'ring', or resample it"
        )
    pixels = np.arange(count) if index is None else _indices(dataset, index, nside, said, path)
    placed = check_places(dataset, dimension, nside, order, pixels, path)
    if index is not None and partial and not placed and np.array_equal(np.sort(pixels), np.arange(1, count + 1)):
        log.warning("%s: %s is 1 to %d, and indices of pixels count from 0; if it counts from 1, subtract 1",
                    path, index, count)  # fmt: skip
    # No nested order exists for other nside; such a grid is a source for regridding like any other.
    grid = HealpixSphere(nside, "ring" if nside & (nside - 1) else "nest")
    if grid.pixel_order != order:
        import healpy  # GPL-2 and slow to import: only where it is used

        pixels = healpy.ring2nest(nside, pixels)
    places = np.argsort(pixels, kind="stable")
    return grid, pixels[places], places


def _indices(dataset: xr.Dataset, name: str, nside: int, said: int | None, path: Path) -> NDArray[np.int64]:
    pixels, npix = np.asarray(dataset[name].values), 12 * nside**2
    with np.errstate(invalid="ignore"):
        right = (pixels >= 0) & (pixels < npix) & (pixels == np.round(pixels))
    if not right.all():
        remedy = (
            f"correct refinement_level or the indices, or drop {name} if it counts something else"
            if said is not None
            else "for a part of a finer sphere give its refinement_level or healpix_nside"
        )
        raise InputError(f"{path}: {name} holds {pixels[~right][0]}, nside {nside} has pixels 0..{npix - 1}; {remedy}")
    unique, counts = np.unique(pixels, return_counts=True)
    if len(unique) < len(pixels):
        raise InputError(f"{path}: {name} holds {unique[counts > 1][0]} twice; drop the copies")
    return pixels.astype(np.int64)


def with_healpix_attributes(
    dataset: xr.Dataset, dimension: str, grid: HealpixSphere, positions: NDArray, order: PixelOrder
) -> xr.Dataset:
    """The data set with a CF grid mapping and the index of every pixel, where it lacks them."""
    import healpy  # GPL-2 and slow to import: only where it is used

    scheme = "nested" if order == "nest" else "ring"
    level: dict[str, np.int32] = {"nside": np.int32(grid.nside)}
    if not grid.nside & (grid.nside - 1):
        level = {"refinement_level": np.int32(grid.nside.bit_length() - 1)}
    if index_coordinate(dataset, dimension) is None:
        indices = np.arange(grid.npix)
        if (grid.pixel_order, order) == ("nest", "ring"):
            indices = healpy.nest2ring(grid.nside, indices)
        pixels = np.empty(dataset.sizes[dimension], dtype=np.int64)
        pixels[positions[positions >= 0]] = indices[positions >= 0]
        attributes = {"standard_name": "healpix_index", "units": "1"}
        dataset = dataset.assign_coords(cell_ids=(dimension, pixels, attributes))
    if not any("grid_mapping_name" in variable.attrs for variable in dataset.variables.values()):
        mapping = {"grid_mapping_name": "healpix", "indexing_scheme": scheme} | level
        dataset = dataset.assign_coords(healpix=((), np.int32(0), mapping))
    return dataset
