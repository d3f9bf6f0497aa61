"""HEALPix fields from and to NetCDF, nested inside whatever the file's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.maps.files import check_signature
from meshconv.io.maps.healpix_netcdf import (
    PixelOrder,
    cell_dimension,
    choose_order,
)
from meshconv.io.maps.healpix_pixels import healpix_grid


@dataclass(frozen=True, eq=False)
class HealpixMaps:
    """Fields of one file on the full sphere.

    Attributes
    ----------
    dataset : xarray.Dataset
        In memory, in **nested** order on the dimension ``"cell"``.
    nside : int
    pixel_order : {"nest", "ring"}
        Order of the file.
    positions : int64 array [npix]
        Where the file keeps each nested pixel: ``nested = stored[positions]``.
    path : Path
        The file.
    """

    dataset: xr.Dataset
    nside: int
    pixel_order: PixelOrder
    positions: np.ndarray
    path: Path

    @property
    def npix(self) -> int:
        return 12 * self.nside**2

    def to_file_order(self, nested: np.ndarray) -> np.ndarray:
        """Nested pixels on the last axis, put in the order of the file."""
        stored = np.empty_like(nested)
        stored[..., self.positions] = nested
        return stored


def open_healpix(
    path: str | Path,
    variables: Sequence[str] | None = None,
    pixel_order: str | None = None,
) -> HealpixMaps:
    """Read HEALPix fields from a NetCDF file and put them in nested order.

    The order is read from the attributes of CF (>= 1.13: ``grid_mapping_name = "healpix"``,
    ``indexing_scheme``, ``refinement_level``), of xdggs (``grid_name``, ``level``,
    ``indexing_scheme``) or of the ICON model (``healpix_order``, ``healpix_nside``), and cross-checked
    with HEALPix indices and latitudes where the file has them.

    Parameters
    ----------
    path
        NetCDF file with a map of the full sphere.
    variables
        Names of the variables to read; None: all that live on pixels.
    pixel_order : {"nest", "ring"}, optional
        Order of a file that does not tell; must not contradict one that does.

    Returns
    -------
    HealpixMaps

    Raises
    ------
    InputError
        If the file is missing or unreadable, a variable is missing, the number of pixels is not
        ``12 nside^2``, or the pixel order is unknown or contradicted.

    Examples
    --------
    >>> maps = open_healpix("data/koeppen_hp64.nc", ["t2m"])
    >>> maps.nside, maps.pixel_order, maps.dataset["t2m"].sizes["cell"]
    (64, 'nest', 49152)
    """
    path = Path(path)
    dataset, present = _load(path, variables)
    names = [str(n) for n in dataset.data_vars] if variables is None else list(variables)
    missing = [name for name in names if name not in dataset.variables]
    if missing:
        raise InputError(f"{path}: no variable {', '.join(missing)}; the file has {', '.join(present) or 'none'}")
    dimension = cell_dimension(dataset, names, path)
    flat = [name for name in names if dimension not in dataset[name].dims]
    if flat and variables is not None:
        raise InputError(f"{path}: variable {flat[0]} has no dimension {dimension!r}, it is not a map")
    sphere, positions = healpix_grid(dataset, dimension, path, pixel_order)
    order = choose_order(dataset, path, pixel_order)
    nside = sphere.nside
    if (positions < 0).any():
        raise InputError(f"{path}: {int((positions < 0).sum())} pixels are not there; give a map of the full sphere")
    if nside & (nside - 1):
        raise InputError(f"{path}: nside {nside} is not a power of two and has no nested order; resample it")
    maps = dataset[[name for name in names if name not in flat]].isel({dimension: positions})
    if dimension != "cell":
        index = dimension in maps.coords  # its own coordinate would go on being the dimension's
        maps = (maps.reset_index(dimension) if index else maps).rename_dims({dimension: "cell"})
    return HealpixMaps(maps, nside, order, positions, path)


def _load(path: Path, variables: Sequence[str] | None) -> tuple[xr.Dataset, list[str]]:
    """The wanted variables and all that is one-dimensional, in memory; names of all variables."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a NetCDF file")
    try:
        check_signature(path)
        # times are of no use here, and a calendar that xarray does not know is no reason to stop
        with xr.open_dataset(path, decode_times=False, engine="netcdf4") as dataset:
            unwanted = [
                name
                for name, variable in dataset.data_vars.items()
                if variables is not None and name not in variables and variable.ndim > 1
            ]
            return dataset.drop_vars(unwanted).load(), sorted(str(n) for n in dataset.data_vars)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"{path}: not a readable NetCDF file ({reason}); give another") from error


def write_labels(
    path: str | Path,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    source: HealpixMaps,
) -> None:
    """Write the most probable class of every pixel and all probabilities as a CF HEALPix NetCDF file.

    The pixels keep the order of the file that the inputs came from. The file appears as a whole or
    not at all.

    Parameters
    ----------
    path
        File to write; one of the same name is replaced.
    probabilities : float array [npix, num_classes]
        In nested order.
    class_names
        One per class; blanks become ``_``, since CF separates flag meanings by blanks.
    source
        The maps that the inputs came from: order, nside and coordinates.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be written.
    """
    import healpy

    path, names = Path(path), ["_".join(name.split()) for name in class_names]
    if probabilities.shape != (source.npix, len(names)):
        raise ValueError(f"probabilities {probabilities.shape} are not [{source.npix} pixels, {len(names)} classes]")
    nested = source.pixel_order == "nest"
    pixels = np.arange(source.npix)
    pixels = pixels if nested else healpy.nest2ring(source.nside, pixels)
    lon, lat = healpy.pix2ang(source.nside, np.arange(source.npix), nest=True, lonlat=True)
    scheme = "nested" if nested else "ring"
    level = np.int32(source.nside.bit_length() - 1)
    on_map = {"grid_mapping": "healpix", "coordinates": "lat lon cell_ids"}
    flags = {
        "flag_values": np.arange(len(names), dtype=np.int16),
        "flag_meanings": " ".join(names),
    }
    mapping = {
        "grid_mapping_name": "healpix",
        "refinement_level": level,
        "indexing_scheme": scheme,
    }
    index = {"standard_name": "healpix_index", "units": "1"}

    def stored(values: np.ndarray) -> np.ndarray:
        return source.to_file_order(values)

    labels, scores = probabilities.argmax(axis=1).astype(np.int16), probabilities.T
    dataset = xr.Dataset(
        {
            "healpix": ((), np.int32(0), mapping),
            "label": ("cell", stored(labels), {"long_name": "most probable class", **flags, **on_map}),
            "probability": (
                ("class", "cell"),
                stored(scores.astype(np.float32)),
                {"long_name": "probability of the class", "units": "1", **on_map},
            ),
            "class": ("class", np.asarray(names, dtype=object), {"long_name": "class"}),
            "cell_ids": ("cell", stored(pixels), index),
            "lat": ("cell", stored(lat), {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("cell", stored(lon), {"standard_name": "longitude", "units": "degrees_east"}),
        },
        attrs={
            "Conventions": "CF-1.13",
            "title": "classes predicted by meshconv",
            "source": f"predicted from {source.path.name}",
        },
    )
    bare = {name: {"_FillValue": None} for name in ("label", "probability", "lat", "lon")}
    packed = {name: {"zlib": True, "complevel": 4} for name in ("label", "probability")}
    encoding = {name: {**bare.get(name, {}), **packed.get(name, {})} for name in bare}
    try:
        with atomic_write(path) as part:
            dataset.to_netcdf(part, engine="netcdf4", encoding=encoding)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
