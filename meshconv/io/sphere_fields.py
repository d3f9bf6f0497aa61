"""Fields on the sphere from NetCDF or Zarr, on whatever grid they are, read when they are asked for."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.healpix import HealpixSphere
from meshconv.geometry.latlon import LatLonGrid
from meshconv.geometry.point_sphere import PointSphere
from meshconv.geometry.regrid import SphereGrid
from meshconv.io.healpix_netcdf import cell_dimension, check_nside, choose_order, declarations, file_positions

_LATITUDE = ("lat", "latitude", "nav_lat", "clat", "latcell", "tlat", "xlat", "grid_center_lat")
_LONGITUDE = ("lon", "longitude", "nav_lon", "clon", "loncell", "tlong", "xlong", "grid_center_lon")


@dataclass(frozen=True, eq=False)
class SphereFields:
    """An open data set and the grid that its maps are on.

    Attributes
    ----------
    dataset : xarray.Dataset
        As in the file, lazy.
    grid : HealpixSphere (nested), LatLonGrid or PointSphere
    dims : tuple of str
        The dimensions that the grid's points run over, slowest first.
    path : Path
        The first file.
    positions : int64 [V], optional
        Where the file keeps each point of the grid; None where it keeps all of them in order.
    """

    dataset: xr.Dataset
    grid: SphereGrid
    dims: tuple[str, ...]
    path: Path
    positions: NDArray | None = None

    @property
    def variables(self) -> list[str]:
        """Names of the variables that are maps."""
        return [str(n) for n, v in self.dataset.data_vars.items() if set(self.dims) <= set(v.dims)]

    def values(
        self, name: str, select: Mapping[str, Any] | None = None, at: Mapping[str, int] | None = None
    ) -> NDArray:
        """One variable on the grid's points, float64 ``[..., V]``; NaN where the file has a fill value.

        Parameters
        ----------
        name
            Of a variable that is a map.
        select
            Coordinate values, as of ``xarray``'s ``sel``: ``{"level": 850, "time": "2020-01"}``.
        at
            Positions along dimensions, for those of them that the variable has.

        Raises
        ------
        InputError
            No such variable, coordinate or value; all that is selected is missing.
        """
        array = self._select(self._variable(name), name, select or {})
        array = array.isel({k: v for k, v in (at or {}).items() if k in array.dims})
        flat = array.transpose(..., *self.dims).values
        flat = flat.reshape(*flat.shape[: flat.ndim - len(self.dims)], -1)
        if flat.dtype.kind not in "fiub":
            raise InputError(f"{self.path}: variable {name} is of type {flat.dtype}, not numbers")
        flat = flat.astype(np.float64)
        if flat.size and not np.isfinite(flat).any():
            raise InputError(f"{self.path}: variable {name} has no value in all that is selected")
        return flat if self.positions is None else flat[..., self.positions]

    def to_file_grid(self, values: NDArray) -> NDArray:
        """Values on the grid's points, last axis, in the shape and order of the file's spatial dimensions.

        Points the grid left out, for want of a coordinate, are NaN.
        """
        shape = tuple(self.dataset.sizes[d] for d in self.dims)
        if self.positions is None:
            return values.reshape(*values.shape[:-1], *shape)
        size = int(np.prod(shape))
        whole = len(self.positions) == size
        stored = np.empty((*values.shape[:-1], size), values.dtype if whole else np.float64)
        if not whole:
            stored[...] = np.nan
        stored[..., self.positions] = values
        return stored.reshape(*values.shape[:-1], *shape)

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self.dataset.variables:
            raise InputError(f"{self.path}: no variable {name}; the file has {', '.join(self.variables) or 'no maps'}")
        if not set(self.dims) <= set(self.dataset[name].dims):
            raise InputError(
                f"{self.path}: variable {name} has dimensions {self.dataset[name].dims}, a map needs {self.dims}"
            )
        return self.dataset[name]

    def _select(self, array: xr.DataArray, name: str, select: Mapping[str, Any]) -> xr.DataArray:
        for key, value in select.items():
            if key not in array.dims:
                known = ", ".join(str(d) for d in array.dims if d not in self.dims) or "none"
                raise InputError(f"{self.path}: variable {name} has no dimension {key} to select from, but {known}")
            try:
                array = array.sel({key: value}) if key in array.indexes else array.isel({key: value})
            except (KeyError, IndexError, TypeError, ValueError) as error:
                ends = f"{array[key].values[0]} .. {array[key].values[-1]}" if array.sizes[key] else "nothing"
                raise InputError(f"{self.path}: {key} has no {value!r}; it runs from {ends}") from error
        return array


def open_fields(paths: str | Path | Sequence[str | Path], pixel_order: str | None = None) -> SphereFields:
    """Open NetCDF files or a Zarr store with maps of the sphere, or of a part of it.

    The grid is recognised by CF: HEALPix by its attributes (see :func:`~meshconv.io.climate.open_healpix`), otherwise
    by coordinates with the standard names or usual names of latitude and longitude: one-dimensional along two
    dimensions (latitude-longitude and Gaussian grids, any orientation), along one (unstructured cell centres), or
    two-dimensional (curvilinear). Nothing but coordinates is read.

    Parameters
    ----------
    paths
        A file, a pattern like ``"data/*.nc"``, a Zarr directory, or several files that xarray joins by coordinates.
    pixel_order : {"nest", "ring"}, optional
        Order of a HEALPix file that does not tell.

    Raises
    ------
    InputError
        Nothing there, unreadable, no grid recognised, files that do not fit together, with the remedy.

    Examples
    --------
    >>> fields = open_fields("data/koeppen_hp64.nc")
    >>> fields.grid.nside, fields.values("t2m", {"month": 1}).shape
    (64, (49152,))
    """
    files = _files(paths)
    dataset, path = _open(files), files[0]
    names = [str(n) for n in dataset.data_vars]
    if pixel_order is not None or _is_healpix(dataset):
        cell = cell_dimension(dataset, names, path)
        nside = check_nside(dataset, cell, path)
        positions = file_positions(dataset, cell, nside, choose_order(dataset, path, pixel_order), path)
        return SphereFields(dataset, HealpixSphere(nside), (cell,), path, positions)
    lat, lon = (_coordinate(dataset, path, *kind) for kind in (
        ("latitude", _LATITUDE, "degrees_north"), ("longitude", _LONGITUDE, "degrees_east"),
    ))  # fmt: skip
    try:
        if lat.ndim == lon.ndim == 1 and lat.dims != lon.dims:
            dims = (str(lat.dims[0]), str(lon.dims[0]))
            return SphereFields(dataset, LatLonGrid(_degrees(lat), _degrees(lon)), dims, path)
        if lat.dims != lon.dims or lat.ndim not in (1, 2):
            raise InputError(f"{lat.name} has dimensions {lat.dims}, {lon.name} {lon.dims}; they are no grid")
        degrees = _degrees(lat).ravel(), _degrees(lon).ravel()
        known = np.flatnonzero(np.isfinite(degrees[0]) & np.isfinite(degrees[1]))
        grid = PointSphere.from_lat_lon(degrees[0][known], degrees[1][known])
        kept = None if len(known) == lat.size else known
        return SphereFields(dataset, grid, tuple(str(d) for d in lat.dims), path, kept)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found: list[Path] = []
    for item in given:
        text = str(Path(item).expanduser())
        matches = sorted(glob.glob(text)) if glob.has_magic(text) and not Path(text).exists() else [text]
        found += map(Path, matches)
        if not matches or not found[-1].exists():
            raise InputError(f"{item}: no such file; give NetCDF files or a Zarr store")
    if not found:
        raise InputError("no files are given; give NetCDF files or a Zarr store")
    return found


def _open(files: list[Path]) -> xr.Dataset:
    path = files[0]
    try:
        for file in files:
            _check_kind(file)
        engine: Any = "zarr" if path.is_dir() else "netcdf4"
        decode = xr.coders.CFDatetimeCoder(use_cftime=None)
        if len(files) == 1:
            return xr.open_dataset(path, engine=engine, chunks={}, decode_times=decode)
        strict: Any = {"join": "exact", "compat": "no_conflicts", "data_vars": "minimal", "coords": "minimal"}
        return xr.open_mfdataset(
            files, engine=engine, combine="by_coords", chunks={}, decode_times=decode, **strict
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        what = "not readable" if len(files) == 1 else f"and {len(files) - 1} more files do not go together"
        raise InputError(f"{path}: {what} as NetCDF or Zarr ({reason})") from error


def _check_kind(path: Path) -> None:
    """By what is there: the libraries say of anything else only that they have failed."""
    if path.is_dir():
        if not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata")):
            raise ValueError("a directory, but not a Zarr store")
        return
    check_signature(path)


def check_signature(path: Path) -> None:
    """Raise ``ValueError`` if the first bytes of a file are not those of NetCDF."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if start[:3] != b"CDF" and start != b"\x89HDF\r\n\x1a\n":
        raise ValueError("it begins neither as HDF5 nor as classic NetCDF" if start else "it is empty")


def _is_healpix(dataset: xr.Dataset) -> bool:
    places = dict(declarations(dataset))
    general = places.pop("global attributes")
    return bool(places) or "healpix_nside" in general or "healpix_order" in general


def _coordinate(dataset: xr.Dataset, path: Path, standard_name: str, names: tuple[str, ...], unit: str) -> xr.DataArray:
    """The latitude or longitude: by standard name, by name, by unit, in this order; of cells rather than of corners."""
    candidates = {str(n): v for n, v in dataset.variables.items() if v.ndim and v.dtype.kind in "fiu"}
    tests = (
        lambda name, v: v.attrs.get("standard_name") == standard_name,
        lambda name, v: name.lower() in names,
        lambda name, v: v.attrs.get("units") == unit,
    )
    for test in tests:
        found = [name for name, v in candidates.items() if test(name, v)]
        maps = [set(v.dims) for v in dataset.data_vars.values()]
        used = [n for n in found if any(set(dataset[n].dims) <= dims for dims in maps)] or found
        if used:
            return dataset[used[0]]
    have = ", ".join(str(n) for n in dataset.variables) or "nothing"
    raise InputError(
        f"{path}: no {standard_name} found and no HEALPix attributes; the file has {have}. "
        f"Name a coordinate {names[0]} or give it the standard_name {standard_name!r}"
    )


def _degrees(coordinate: xr.DataArray) -> NDArray:
    values = np.asarray(coordinate.values, dtype=np.float64)
    return np.degrees(values) if str(coordinate.attrs.get("units", "")).lower().startswith("rad") else values
