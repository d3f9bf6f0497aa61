"""Fields on the sphere from NetCDF, Zarr or FITS on any grid, read lazily."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.latlon import LatLonGrid
from meshconv.geometry.sphere.points import PointSphere, distinct_points
from meshconv.io.maps.declared import check_points
from meshconv.io.maps.directions import RelativeTo, check_order, grid_axes, is_turned, order_of_axes, relative_to
from meshconv.io.maps.files import find_files, open_files
from meshconv.io.maps.missing import without_missing
from meshconv.io.maps.places.coordinates import find_coordinates
from meshconv.io.maps.places.degrees import degrees, without_fills
from meshconv.io.maps.places.healpix_netcdf import healpix_dimension, is_healpix, stacked_faces
from meshconv.io.maps.places.healpix_pixels import healpix_grid
from meshconv.io.maps.remote import open_remote, remote_address
from meshconv.io.maps.selection import choose, choose_all

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SphereFields:
    """An open data set and the grid that its maps are on.

    Attributes
    ----------
    dataset : xarray.Dataset
        As in the file, lazy.
    grid : SphereGrid
        HEALPix nested where it can be, of a region the part that the file has.
    dims : tuple of str
        The dimensions that the grid's points run over, slowest first.
    path : Path
        The first file.
    positions : int64 [V], optional
        Where the file keeps each point of the grid; None where it keeps them in order.
    coordinates : tuple of str
        Names of latitude and longitude; empty for HEALPix.
    copies : int64 [2, n], optional
        Where the file has a point of the grid once more, as at the seams of ocean models, and that point.
    selection : dict
        What :meth:`select` has chosen; it overrules what :meth:`values` is asked to select.
    """

    dataset: xr.Dataset
    grid: SphereGrid
    dims: tuple[str, ...]
    path: Path
    positions: NDArray | None = None
    coordinates: tuple[str, ...] = ()
    copies: NDArray | None = None
    selection: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variables(self) -> list[str]:
        """Names of the variables that are maps."""
        return [str(n) for n, v in self.dataset.data_vars.items() if set(self.dims) <= set(v.dims)]

    def values(
        self,
        name: str,
        select: Mapping[str, Any] | None = None,
        at: Mapping[str, int] | None = None,
        allow_missing: bool = False,
        mean: str | None = None,
    ) -> NDArray:
        """One variable on the grid's points, float64 ``[..., V]``; NaN where it is missing.

        Parameters
        ----------
        name
            Of a variable that is a map.
        select
            Coordinate values, as of ``xarray``'s ``sel``: ``{"level": 850, "month": [6, 7, 8]}``.
        at
            Positions along dimensions, for those of them that the variable has.
        allow_missing
            Whether all that is selected may be missing.
        mean
            Dimension to take the mean over, of what is selected; NaN where one of the values is missing.

        Raises
        ------
        InputError
            No such variable, coordinate, dimension or value; all that is selected is missing; the file is damaged.
        """
        array = self._select(self.variable(name), name, select or {})
        array = array.isel({k: v for k, v in (at or {}).items() if k in array.dims})
        if array.dtype.kind not in "fiub":
            raise InputError(f"{self.path}: variable {name} is of type {array.dtype}, not numbers; choose another")
        if mean is None:  # else it is read in parts, and need not fit in memory
            array = array.copy(deep=False, data=self._read(array, name))
        array = without_missing(array, self.variable(name), self.path)
        if mean is not None:
            array = self._mean(array, name, mean)
        flat = self._read(array.transpose(..., *self.dims), name)
        others = flat.shape[: flat.ndim - len(self.dims)]
        flat = flat.reshape(*others, int(np.prod(flat.shape[len(others) :])))
        if flat.size and not allow_missing and not np.isfinite(flat).any():
            raise InputError(
                f"{self.path}: variable {name} has no value in all that is selected; leave it out or select others"
            )
        return flat if self.positions is None else flat[..., self.positions]

    def in_memory(self, names: Iterable[str], most_bytes: int) -> SphereFields:
        """The same maps with these variables read at once, if together they have at most so many bytes.

        One step of one variable then takes microseconds, not the tens of milliseconds of a reading plan.
        """
        asked = [name for name in dict.fromkeys(names) if name in self.dataset.data_vars]
        if not 0 < sum(self.dataset[name].nbytes for name in asked) <= most_bytes:
            return self
        read = {name: self.dataset[name].copy(deep=False, data=self._read(self.dataset[name], name)) for name in asked}
        return self._with(self.dataset.assign(read), self.selection)

    def select(self, selection: Mapping[str, Any]) -> SphereFields:
        """The same maps at values of some dimensions: ``{"member": 3, "level": 850}``.

        Raises
        ------
        InputError
            No such dimension or value.
        """
        return self._with(choose_all(self.dataset, selection, self.dims, self.path), {**self.selection, **selection})

    def step_name(self, dimension: str | None, position: int) -> str:
        """Name of the map at a position along a dimension: its time or other coordinate, else the file and position."""
        if dimension is None or dimension not in self.dataset.coords:
            return f"{self.path}:{position}"
        value = self.dataset[dimension].values[position]
        is_time = isinstance(value, np.datetime64)
        return f"{dimension} {np.datetime_as_string(value, 'm') if is_time else value}"

    def steps(self, dimension: str, positions: Sequence[int]) -> SphereFields:
        """The same maps at some positions along a dimension."""
        return self._with(self.dataset.isel({dimension: list(positions)}), self.selection)

    def _with(self, dataset: xr.Dataset, selection: Mapping[str, Any]) -> SphereFields:
        if dataset is not self.dataset:
            dataset.set_close(self.dataset.close)
        return replace(self, dataset=dataset, selection=selection)

    def unit(self, name: str) -> str | None:
        """Unit of a variable, None if the file declares none."""
        unit = self.variable(name).attrs.get("units")
        return None if unit is None else str(unit)

    def earth_components(
        self, names: Sequence[str], x: NDArray, y: NDArray, relative: RelativeTo | None = None
    ) -> tuple[NDArray, NDArray]:
        """Eastward and northward component of a vector on the grid's points, ``[V]`` each.

        Components that are along the axes of a curvilinear or rotated grid are turned by the angle of these axes; on
        latitudes times longitudes they are east and north.

        Parameters
        ----------
        names
            The two variables.
        x, y
            Their values.
        relative
            What the components are relative to where the file does not say it.

        Raises
        ------
        InputError
            The file does not say it either, contradicts it, or has no axes to turn from; north before east.
        """
        components = [self.variable(name) for name in names]
        check_order(names, components, self.path)
        if isinstance(self.grid, LatLonGrid):
            return x, y
        pair = f"{self.path}: [{', '.join(names)}]"
        said = {relative_to(component, self.dataset) for component in components} - {None}
        if len(said) > 1 or (said and relative is not None and relative not in said):
            contradicts = "each other" if len(said) > 1 else f"relative_to: {relative}"
            raise InputError(f"{pair}: the attributes of the components contradict {contradicts}; correct one")
        along = said.pop() if said else relative
        if along == "earth" or (along is None and len(self.dims) == 1):
            return x, y
        try:
            axes = self._axes
        except ValueError as error:
            raise InputError(
                f"{pair} {'are along the axes of the grid' if along else 'may be along the axes of the grid'}, and "
                f"their directions are not known ({error}); give eastward and northward components, marked by their "
                "standard_name or by relative_to: earth"
            ) from error
        if axes is None:
            return x, y
        if along is None:
            raise InputError(
                f"{pair} may be along the axes of the grid or towards east and north, and the file says neither; give "
                "them the standard_name x_wind and y_wind, or eastward_wind and northward_wind, or write {names: "
                f"[{', '.join(names)}], relative_to: grid}}, or earth"
            )
        return axes[:, 0, 0] * x + axes[:, 1, 0] * y, axes[:, 0, 1] * x + axes[:, 1, 1] * y

    @functools.cached_property
    def _axes(self) -> NDArray[np.float64] | None:
        """East and north components of the file's axes x and y, ``[V, 2, 2]``; None where they are east and north."""
        if len(self.dims) == 1:
            raise ValueError("its points are in no rows")
        shape = tuple(self.dataset.sizes[d] for d in self.dims)
        y, x, sign = order_of_axes(self.dataset, self.dims)
        order = [*range(len(shape) - 2), len(shape) + y, len(shape) + x]
        xyz, frames = (
            self.to_file_grid(values.reshape(len(values), -1).T).transpose(*[k + 1 for k in order], 0)
            for values in (self.grid.xyz, self.grid.frames)
        )
        axes = grid_axes(xyz, sign, frames.reshape(*frames.shape[:-1], 3, 3))
        if not is_turned(axes):
            return None
        log.info(
            "%s: vectors along the axes of its grid are turned towards east and north, by up to %.0f degrees",
            self.path, np.degrees(np.nanmax(np.abs(np.arctan2(axes[..., 0, 1], axes[..., 0, 0])))),
        )  # fmt: skip
        flat = axes.transpose(*np.argsort(order), -2, -1).reshape(-1, 2, 2)
        return flat if self.positions is None else flat[self.positions]

    def to_file_grid(self, values: NDArray) -> NDArray:
        """Values on the grid's points, last axis, in the shape and order of the file's spatial dimensions.

        Points the grid left out, for want of a coordinate, are NaN.
        """
        shape = tuple(self.dataset.sizes[d] for d in self.dims)
        if self.positions is None:
            return values.reshape(*values.shape[:-1], *shape)
        size = int(np.prod(shape))
        whole = len(self.positions) == size
        stored = np.full((*values.shape[:-1], size), 0 if whole else np.nan, values.dtype if whole else np.float64)
        stored[..., self.positions] = values
        if self.copies is not None:
            stored[..., self.copies[0]] = values[..., self.copies[1]]
        return stored.reshape(*values.shape[:-1], *shape)

    def variable(self, name: str) -> xr.DataArray:
        """The variable of this name as it stands in the file; ``InputError`` if it is no map of the grid."""
        if name not in self.dataset.variables:
            raise InputError(f"{self.path}: no variable {name}; the file has {', '.join(self.variables) or 'no maps'}")
        if not set(self.dims) <= set(self.dataset[name].dims):
            raise InputError(
                f"{self.path}: variable {name} has dimensions {self.dataset[name].dims}, a map needs {self.dims}; "
                "choose a variable on the same grid"
            )
        return self.dataset[name]

    def _read(self, array: xr.DataArray, name: str) -> NDArray:
        try:
            return array.values
        except (OSError, RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise InputError(
                f"{self.path}: variable {name} cannot be read ({reason}); the file is damaged, get it again"
            ) from error

    def _select(self, array: xr.DataArray, name: str, select: Mapping[str, Any]) -> xr.DataArray:
        for key, value in select.items():
            if key in self.selection:
                continue
            if key not in array.dims and key in array.coords and not array[key].ndim:
                array = array.expand_dims(key)  # the one value that was selected before
            if key not in array.dims:
                known = self._others(array)
                raise InputError(f"{self.path}: variable {name} has no dimension {key} to select from, but {known}")
            array = choose(array, key, value, self.path)
        return array

    def _mean(self, array: xr.DataArray, name: str, dimension: str) -> xr.DataArray:
        if dimension in self.dims or not array.sizes.get(dimension):
            known = self._others(array)
            raise InputError(f"{self.path}: variable {name} has no dimension {dimension} to average over, but {known}")
        # A mean of some of the months is another quantity than that of all.
        return array.mean(dimension, skipna=False, dtype=np.float64)

    def _others(self, array: xr.DataArray) -> str:
        """Names of the dimensions that are not of the grid."""
        return ", ".join(str(d) for d in array.dims if d not in self.dims) or "none"


def open_fields(
    paths: str | Path | Sequence[str | Path] | xr.Dataset, pixel_order: str | None = None, variables: Sequence[str] = ()
) -> SphereFields:
    """Open NetCDF files, a Zarr store or HEALPix maps of FITS: maps of the sphere, or of a part of it.

    The grid is recognised by attributes of HEALPix, those of CF (>= 1.13: ``grid_mapping_name``, ``indexing_scheme``,
    ``refinement_level``), xdggs (``grid_name``, ``level``, ``indexing_scheme``), ICON (``healpix_order``,
    ``healpix_nside``) or FITS (``ORDERING``, ``NSIDE``), see ``places.healpix_pixels``;
    otherwise by latitudes and longitudes (see ``places.coordinates``): one-dimensional
    along two dimensions (latitude-longitude and Gaussian grids, any orientation), along one (unstructured cell centres)
    or along two or three (curvilinear, faces of a cubed sphere). Nothing but coordinates is read.

    Parameters
    ----------
    paths
        A file, the name of one that ships, a pattern like ``"data/*.nc"``, a Zarr directory, or several files, joined
        as :func:`~meshconv.io.maps.files.open_files` tells; the address of a Zarr store (``https://...``, what fsspec
        opens); or an open data set, which stays open.
    pixel_order : {"nest", "ring"}, optional
        Pixel order of a HEALPix file without the attribute.
    variables
        Those that will be asked for: of several grids in a file theirs is taken, else that of most variables.

    Raises
    ------
    InputError
        Nothing there, unreadable, no grid recognised, files that do not fit together, with the remedy.

    Examples
    --------
    >>> fields = open_fields("koeppen_hp64.nc")
    >>> fields.grid.nside, fields.values("t2m", {"month": 1}).shape
    (64, (49152,))
    """
    if isinstance(paths, xr.Dataset):
        dataset, path = paths.copy(), Path(str(paths.encoding.get("source", "data set")))
    elif (address := remote_address(paths)) is not None:
        dataset, path = open_remote(address), Path(address)
    else:
        files = find_files(paths)
        dataset, path = open_files(files), files[0]
    asked = [name for name in variables if name in dataset.variables and dataset[name].ndim]
    try:
        return _on_its_grid(dataset, path, pixel_order, asked)
    except InputError:
        dataset.close()
        raise


def _on_its_grid(given: xr.Dataset, path: Path, pixel_order: str | None, asked: list[str]) -> SphereFields:
    opened = stacked_faces(given, asked, path, pixel_order)
    if opened is not given:
        opened.set_close(given.close)
    if is_healpix(opened) or (pixel_order is not None and not _is_rectilinear(opened, asked, path)):
        cell = healpix_dimension(opened, asked, path)
        if cell is not None:
            check_points(opened.sizes[cell], path)
            sphere, stored, places = healpix_grid(opened, cell, path, pixel_order)
            on: SphereGrid = sphere if len(stored) == sphere.npix else sphere.part(stored)
            return SphereFields(opened, on, (cell,), path, places)
    dataset, *names = find_coordinates(opened, asked, path)
    dataset.set_close(opened.close)
    lat, lon = (dataset[name] for name in names)
    pair = (names[0], names[1])
    try:
        if lat.ndim == lon.ndim == 1 and lat.dims != lon.dims:
            dims = (str(lat.dims[0]), str(lon.dims[0]))
            return SphereFields(dataset, LatLonGrid(*degrees(lat, lon)), dims, path, None, pair)
        points = (without_fills(v, path) for v in (lat, lon.transpose(*lat.dims)))
        lat_deg, lon_deg = (v.ravel() for v in degrees(*points))
        known, copies = _distinct(lat_deg, lon_deg, path)
        scattered = PointSphere.from_lat_lon(lat_deg[known], lon_deg[known])
        kept = None if len(known) == lat.size else known
        return SphereFields(dataset, scattered, tuple(str(d) for d in lat.dims), path, kept, pair, copies)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _is_rectilinear(dataset: xr.Dataset, asked: list[str], path: Path) -> bool:
    """Whether the maps are on latitudes times longitudes, whose labels may go with HEALPix inputs."""
    try:
        found, lat, lon = find_coordinates(dataset, asked, path)
    except InputError:
        return False
    return found[lat].ndim == found[lon].ndim == 1 and found[lat].dims != found[lon].dims


def _distinct(lat: NDArray, lon: NDArray, path: Path) -> tuple[NDArray, NDArray | None]:
    """Places of the points that have coordinates, each once, and of their copies as :attr:`SphereFields.copies`.

    Ocean models repeat columns where the grid closes, and a row where it folds at the north.
    """
    known = np.flatnonzero(np.isfinite(lat) & np.isfinite(lon))
    la, lo = np.radians(lat[known]), np.radians(lon[known])
    xyz = np.stack([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)], axis=-1)
    first, point = distinct_points(xyz)
    if len(first) == len(known):
        return known, None
    again = np.setdiff1d(np.arange(len(known)), first)
    log.info("%s: %d of %d points are duplicates of others; the first one is used", path, len(again), len(known))
    return known[first], np.stack([known[again], point[again]])
