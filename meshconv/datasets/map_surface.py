"""Where maps meet a network: the points it sees, the part of the sphere it works on, and the way back."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.map_domain import find_domain
from meshconv.datasets.map_inputs import MapInputs
from meshconv.errors import InputError
from meshconv.geometry.healpix import HealpixSphere
from meshconv.geometry.hierarchy import Hierarchy
from meshconv.geometry.latlon import LatLonGrid
from meshconv.geometry.point_sphere import PointSphere
from meshconv.geometry.regrid import Regridder
from meshconv.io.cache import Cache
from meshconv.io.regrid_weights import cached_regridder, grid_content
from meshconv.io.sphere_fields import SphereFields


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
        Those of them that it works on; None: all.

    Raises
    ------
    InputError
        ``nside: native`` for a latitude-longitude grid, or a domain without points.
    """

    def __init__(self, inputs: MapInputs, fields: SphereFields, cache: Cache | None = None):
        self.inputs, self.fields, self._cache = inputs, fields, cache
        self.grid = _network_grid(inputs, fields)
        self._inward = self._regridder(fields)
        self.domain = None if inputs.domain is None else find_domain(inputs.domain, fields, self.grid, self._inward)

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

    def raw(self, at: Mapping[str, int]) -> NDArray[np.float64]:
        """Input fields in their own units, ``[n, in_type.dim]``; NaN where missing."""
        return self.inside(self.inputs.raw(self.fields, self._inward, at))

    def label_regridder(self, fields: SphereFields) -> Regridder | None:
        """What brings the labels of a file to :attr:`grid`, by majority; None where they are there."""
        return None if grid_content(fields.grid) == grid_content(self.grid) else self._conservative(fields)

    def inside(self, values: NDArray) -> NDArray:
        """Of values on all points of :attr:`grid`, first axis, those the network works on."""
        return values if self.domain is None else values[self.domain]

    def to_file(self, values: NDArray) -> NDArray:
        """Values on the network's points, ``[..., n]``, on the grid of the file; NaN outside of the domain."""
        if self.domain is not None:
            whole = np.full((*values.shape[:-1], len(self.domain)), np.nan, values.dtype)
            whole[..., self.domain] = values
            values = whole
        return self.fields.to_file_grid(values if self._outward is None else self._outward(values))

    @functools.cached_property
    def _outward(self) -> Regridder | None:
        same = self._inward is None
        return None if same else cached_regridder(self.grid, self.fields.grid, "bilinear", self._cache)

    def _regridder(self, fields: SphereFields) -> Regridder | None:
        if grid_content(fields.grid) == grid_content(self.grid):
            return None
        # A coarser sphere takes averages: between the centres of fine cells most would have no part.
        if fields.grid.num_points > 2 * self.grid.num_points:
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
