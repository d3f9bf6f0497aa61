"""Where maps meet a network: the points it sees, the part of the sphere it works on, and the way back."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from meshconv.datasets.maps.domain import find_domain
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.errors import InputError
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.geometry.sphere.latlon import LatLonGrid
from meshconv.geometry.sphere.points import PointSphere
from meshconv.geometry.sphere.regrid import Regridder, cells_of_a_sphere
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.fields import SphereFields
from meshconv.io.maps.weights import cached_regridder, grid_content


class MapSurface:
    """One file's maps on the points of the network, and back.

    Parameters
    ----------
    inputs : MapInputs
    fields : SphereFields
    cache : Cache, optional
        Of regridding weights.

    Attributes
    ----------
    grid : HealpixSphere or PointSphere
        The network's points.
    domain : bool [V] or None
        Those of them that it works on: where the file reaches, inside the inputs' domain; None: all.

    Raises
    ------
    InputError
        ``nside: native`` for a latitude-longitude grid; no point of the network in the file's region and the domain.
    """

    def __init__(self, inputs: MapInputs, fields: SphereFields, cache: Cache | None = None):
        self.inputs, self.fields, self._cache = inputs, fields, cache
        self.grid = _network_grid(inputs, fields)
        self._inward = self._regridder(fields)
        inside = self._reached()
        if inputs.domain is not None:
            inside &= find_domain(inputs.domain, fields, self.grid, self._inward)
        if not inside.any():
            raise InputError(
                f"{fields.path}: no point of the network (nside {inputs.nside}) lies in what the file covers and in "
                "the domain; change the domain, or raise nside"
            )
        self.domain = None if inside.all() else inside

    @property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the points the network works on, ``[n, 3]``."""
        return self.inside(self.grid.xyz)

    def hierarchy(self, num_levels: int) -> Hierarchy:
        """Levels of the network's points, float32."""
        if num_levels < 1:
            raise InputError(f"num_levels {num_levels} is not a positive number")
        radius = self.inputs.radius and self.inputs.radius * float(np.sqrt(self.grid.areas.mean()))
        hierarchy = self.grid.hierarchy(num_levels, radius)
        if self.domain is not None:
            hierarchy = hierarchy.subset(torch.from_numpy(self.domain))
        return hierarchy.to(torch.float32)

    def raw(self, at: Mapping[str, int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Input fields in their own units, ``[n, in_type.dim]``, NaN where missing; and the file's points with all."""
        raw, known = self.inputs.raw(self.fields, self._inward, at)
        return self.inside(raw), known

    def label_regridder(self, fields: SphereFields) -> Regridder | None:
        """What brings the labels of a file to :attr:`grid`, by majority; None where they are there."""
        return None if grid_content(fields.grid) == grid_content(self.grid) else self._conservative(fields)

    def inside(self, values: NDArray) -> NDArray:
        """Of values on all points of :attr:`grid`, first axis, those the network works on."""
        return values if self.domain is None else values[self.domain]

    def to_file(self, values: NDArray, known: NDArray[np.bool_]) -> NDArray:
        """Values on the network's points, ``[C, n]``, on the grid of the file, where it is ``known`` and in the domain.

        Interpolated between the points that have values; beyond the last of them that of the nearest, as far as a
        cell of the network is wide. NaN elsewhere.
        """
        if self.domain is not None:
            whole = np.full((len(values), len(self.domain)), np.nan, values.dtype)
            whole[:, self.domain] = values
            values = whole
        known = known & self._file_domain
        if self._outward is not None:
            values = self._spread(values, self._outward(values, least=1e-6), known)
        return self.fields.to_file_grid(np.where(known, values, np.nan))

    def _spread(self, values: NDArray, there: NDArray, known: NDArray[np.bool_]) -> NDArray:
        """What has been interpolated, ``there``, with the nearest of ``values`` where it is missing but ``known``."""
        present = np.flatnonzero(np.isfinite(values).all(axis=0))
        left = np.flatnonzero(known & ~np.isfinite(there).all(axis=0))
        if len(present) and len(left):
            cell = float(np.sqrt(self.grid.areas.mean()))
            distance, near = cKDTree(self.grid.xyz[present]).query(self.fields.grid.xyz[left])
            close = distance <= cell
            there[:, left[close]] = values[:, present[near[close]]]
        return there

    @functools.cached_property
    def _file_domain(self) -> NDArray[np.bool_]:
        """Points of the file in the inputs' domain."""
        if self.inputs.domain is None:
            return np.ones(self.fields.grid.num_points, dtype=bool)
        return find_domain(self.inputs.domain, self.fields, self.fields.grid, None)

    def _reached(self) -> NDArray[np.bool_]:
        """Points of the network with half of what they average or interpolate in the file, ``[V]``."""
        positions = self.fields.positions
        stored = np.ones(self.fields.grid.num_points) if positions is None else (positions >= 0).astype(np.float64)
        return (stored if self._inward is None else self._inward.weights @ stored) >= 0.5 - 1e-9

    @functools.cached_property
    def _outward(self) -> Regridder | None:
        same = self._inward is None
        return None if same else cached_regridder(self.grid, self.fields.grid, "bilinear", self._cache)

    def _regridder(self, fields: SphereFields) -> Regridder | None:
        if grid_content(fields.grid) == grid_content(self.grid):
            return None
        # A coarser sphere takes averages: between the centres of fine cells most would have no part.
        if cells_of_a_sphere(fields.grid) > 2 * cells_of_a_sphere(self.grid):
            return self._conservative(fields)
        return cached_regridder(fields.grid, self.grid, "bilinear", self._cache)

    def _conservative(self, fields: SphereFields) -> Regridder:
        return cached_regridder(fields.grid, self.grid, "conservative", self._cache)


def _network_grid(inputs: MapInputs, fields: SphereFields) -> HealpixSphere | PointSphere:
    if inputs.nside != "native":
        return HealpixSphere(inputs.nside)
    grid = fields.grid
    if isinstance(grid, LatLonGrid):
        raise InputError(
            f"{fields.path}: nside: native is for HEALPix and unstructured points; those of a latitude-longitude grid "
            "crowd at the poles, give nside"
        )
    assert isinstance(grid, HealpixSphere | PointSphere)
    return grid
