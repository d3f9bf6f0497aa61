"""The HEALPix grid of a file: the full sphere or a part of it, of any nside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.maps.healpix_netcdf import (
    PixelOrder,
    check_nside,
    choose_order,
    declared_nside,
    file_positions,
    index_coordinate,
)


def healpix_grid(
    dataset: xr.Dataset, dimension: str, path: Path, pixel_order: str | None = None
) -> tuple[HealpixSphere, NDArray[np.int64]]:
    """The sphere that a file's pixels lie on, and where the file keeps each of them, int64 ``[npix]``; -1 if nowhere.

    The sphere is nested where its nside is a power of two. A part of the sphere needs HEALPix indices (``cell_ids`` of
    xdggs, ``healpix_index`` of CF) and a declared level.

    Raises
    ------
    InputError
        Counts, attributes and indices that contradict each other, with the remedy.
    """
    count, index, said = dataset.sizes[dimension], index_coordinate(dataset), declared_nside(dataset)
    full = round((count / 12) ** 0.5)
    if index is not None and said is not None and count < 12 * said**2:
        order = choose_order(dataset, path, pixel_order)
        return HealpixSphere(said), _partial(np.asarray(dataset[index].values), said, order, index, path)
    if 12 * full**2 == count and full & (full - 1) and choose_order(dataset, path, pixel_order) == "ring":
        # No nested order exists; the grid is a source for regridding like any other.
        pixels = np.arange(count) if index is None else np.asarray(dataset[index].values)
        if not np.array_equal(np.sort(pixels), np.arange(count)):
            raise InputError(f"{path}: {index} does not hold each of 0..{count - 1} once; correct the indices")
        return HealpixSphere(full, "ring"), np.argsort(pixels)
    nside = check_nside(dataset, dimension, path)
    return HealpixSphere(nside), file_positions(
        dataset, dimension, nside, choose_order(dataset, path, pixel_order), path
    )


def _partial(pixels: NDArray, nside: int, order: str, name: str, path: Path) -> NDArray[np.int64]:
    import healpy  # GPL-2 and slow to import: only where it is used

    if nside & (nside - 1):
        raise InputError(f"{path}: a part of nside {nside}, which is no power of two, cannot be read; resample the map")
    npix = 12 * nside**2
    wrong = (pixels < 0) | (pixels >= npix) | (pixels != np.round(pixels))
    if wrong.any():
        raise InputError(
            f"{path}: {name} holds {pixels[wrong][0]}, nside {nside} has pixels 0..{npix - 1}; correct "
            "refinement_level or the indices"
        )
    unique, counts = np.unique(pixels, return_counts=True)
    if len(unique) < len(pixels):
        raise InputError(f"{path}: {name} holds {unique[counts > 1][0]} twice; drop the copies")
    nested = pixels.astype(np.int64)
    nested = nested if order == "nest" else healpy.ring2nest(nside, nested)
    positions = np.full(npix, -1, dtype=np.int64)
    positions[nested] = np.arange(len(nested))
    return positions


def with_healpix_attributes(
    dataset: xr.Dataset, dimension: str, grid: HealpixSphere, positions: NDArray, order: PixelOrder
) -> xr.Dataset:
    """The data set with a CF grid mapping and the index of every pixel, where it lacks them."""
    import healpy  # GPL-2 and slow to import: only where it is used

    scheme = "nested" if order == "nest" else "ring"
    level: dict[str, np.int32] = {"nside": np.int32(grid.nside)}
    if not grid.nside & (grid.nside - 1):
        level = {"refinement_level": np.int32(grid.nside.bit_length() - 1)}
    if index_coordinate(dataset) is None:
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
