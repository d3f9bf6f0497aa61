"""Surface of a map network: its points, its domain, and regridding from and to the file."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.maps.domain import find_domain, widened
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.geometry.sphere.regrid import Regridder, cells_of_a_sphere, pixels_near
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.fields import SphereFields
from meshconv.io.maps.weights import cached_regridder, grid_content
from meshconv.progress import waiting

log = logging.getLogger(__name__)

_MUCH_MEMORY = 1e9


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
    grid : SphereGrid
        The network's points; of HEALPix those near the file's.
    domain : bool [V] or None
        Those of them that it works on: where the file reaches, in the inputs' domain and its margin; None: all.
    core : bool [n]
        Which of these are in the domain itself: what is learnt and tested.

    Raises
    ------
    InputError
        ``nside: native`` for a latitude-longitude grid; no point of the network in the file's region and the domain.
    """

    def __init__(self, inputs: MapInputs, fields: SphereFields, cache: Cache | None = None):
        self.inputs, self.fields, self._cache = inputs, fields, cache
        self.grid = _network_grid(inputs, fields)
        self._inward = self._regridder(fields)
        inside = found = self._reached()
        if inputs.domain is not None:
            found = find_domain(inputs.domain, fields, self.grid, self._inward)
            inside = inside & widened(found, self.grid, inputs.domain.get("margin", 0))
        if not inside.any():
            raise InputError(
                f"{fields.path}: no point of the network (nside {inputs.nside}) lies in what the file covers and in "
                "the domain; change the domain, or raise nside"
            )
        self.domain = None if inside.all() else inside
        self.core = self.inside(found & inside)

    @property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the points the network works on, ``[n, 3]``."""
        return self.inside(self.grid.xyz)

    def hierarchy(self, num_levels: int) -> Hierarchy:
        """Levels of the network's points, float32."""
        if num_levels < 1:
            raise InputError(f"num_levels {num_levels} is not a positive number")
        radius = self.inputs.radius and self.inputs.radius * float(np.sqrt(self.grid.areas.mean()))
        points = None if self.domain is None else np.flatnonzero(self.domain)
        _check_memory(self.grid.num_points if points is None else len(points), self.inputs, self.fields.path)
        with waiting(f"{num_levels} levels of the network's points"):
            return self.grid.hierarchy(num_levels, radius, points).to(torch.float32)

    def raw(self, at: Mapping[str, int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Input fields in their own units, ``[n, in_type.dim]``, NaN where missing; and the file's points with all."""
        raw, known = self.inputs.raw(self.fields, self._inward, at)
        return self.inside(raw), known

    def label_regridder(self, fields: SphereFields) -> Regridder | None:
        """What brings the labels of a file to :attr:`grid`, by majority; None where they are there."""
        return None if grid_content(fields.grid) == grid_content(self.grid) else self._conservative(fields)

    def target_regridder(self, fields: SphereFields) -> Regridder | None:
        """What brings target fields of a file to :attr:`grid`: averages of a finer one, else interpolation."""
        return self._regridder(fields)

    def inside(self, values: NDArray) -> NDArray:
        """Of values on all points of :attr:`grid`, first axis, those the network works on."""
        return values if self.domain is None else values[self.domain]

    def everywhere(self, values: NDArray, outside: float) -> NDArray:
        """Of values on the points the network works on, last axis, those on all points of :attr:`grid`."""
        if self.domain is None:
            return values
        whole = np.full((*values.shape[:-1], len(self.domain)), outside, values.dtype)
        whole[..., self.domain] = values
        return whole

    def to_file(self, values: NDArray, known: NDArray[np.bool_]) -> NDArray:
        """Values on the network's points, ``[C, n]``, on the grid of the file, where it is ``known`` and in the domain.

        Interpolated between the points that have values; beyond the last of them that of the nearest, as far as a
        cell of the network is wide. NaN elsewhere.
        """
        return self.fields.to_file_grid(self._on_points(values, known))

    def fields_to_file(self, values: NDArray, field_type: FieldType, known: NDArray[np.bool_]) -> NDArray:
        """Scalars and vectors ``[n, field_type.dim]`` on the grid of the file, as :meth:`to_file`.

        Vectors are interpolated in space, and written as eastward and northward component, one after the other.
        """
        scalars, vectors = field_type.multiplicities[0], (*field_type.multiplicities, 0)[1]
        rows = list(values[:, :scalars].T)
        for k in range(scalars, scalars + vectors):
            components = values[:, [k, k + vectors]]
            ambient = np.einsum("vk,vki->iv", components, self.inside(self.grid.frames)[:, :2])
            points = self._on_points(ambient, known)
            south, east = np.einsum("iv,vki->kv", points, self.fields.grid.frames[:, :2])
            rows += [self.fields.to_file_grid(east), self.fields.to_file_grid(-south)]
        rows[:scalars] = list(self.to_file(np.stack(rows[:scalars]), known)) if scalars else []
        return np.stack(rows)

    def _on_points(self, values: NDArray, known: NDArray[np.bool_]) -> NDArray:
        """Values on the network's points, ``[C, n]``, on those of the file's grid."""
        values = self.everywhere(values, np.nan)
        known = known & self._file_domain
        if self._outward is not None:
            values = self._spread(values, self._outward(values, least=1e-6), known)
        return np.where(known, values, np.nan)

    def _spread(self, values: NDArray, there: NDArray, known: NDArray[np.bool_]) -> NDArray:
        """What has been interpolated, ``there``, with the nearest of ``values`` where it is missing but ``known``."""
        present = np.flatnonzero(np.isfinite(values).all(axis=0))
        left = np.flatnonzero(known & ~np.isfinite(there).all(axis=0))
        if len(present) and len(left):
            cell = float(np.sqrt(self.grid.areas.mean()))
            distance, near = tree_of(self.grid.xyz[present]).query(self.fields.grid.xyz[left])
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
        stored = np.ones(self.fields.grid.num_points)
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


def _network_grid(inputs: MapInputs, fields: SphereFields) -> SphereGrid:
    """Points of the network that may lie in what the file covers."""
    if inputs.nside == "native":
        if fields.grid.crowds:
            trained = inputs.statistics is not None  # nside is part of a checkpoint
            remedy = "bring the file onto such points, or train with nside: 64, say" if trained else "give nside"
            raise InputError(
                f"{fields.path}: {'the network was trained with ' if trained else ''}nside: native, which is for "
                f"HEALPix and unstructured points; those of a latitude-longitude grid crowd at the poles: {remedy}"
            )
        return fields.grid
    sphere = HealpixSphere(inputs.nside)
    if inputs.nside & (inputs.nside - 1):
        return sphere
    near = pixels_near(fields.grid, inputs.nside)
    return sphere if len(near) == sphere.npix else sphere.part(near)


def _check_memory(points: int, inputs: MapInputs, path: Path) -> None:
    """Say how much memory the levels take where it is much; an :class:`InputError` if there is less."""
    neighbours = 8 if inputs.radius is None else np.pi * inputs.radius**2
    # A point and its share of coarser levels: in float64 while they are built, and in float32.
    needed = points * 4 / 3 * (300 + 85 * neighbours)
    if needed < _MUCH_MEMORY:
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else np.inf
    remedy = "give a smaller nside, domain or radius" if inputs.radius else "give a smaller nside, or a domain"
    said = f"{path}: levels of {points} points of the network (nside {inputs.nside}) take about {needed / 1e9:.1f} GB"
    if needed > there:
        raise InputError(f"{said}, this machine has {there / 1e9:.1f}; {remedy}")
    log.warning("%s; if that is too much, %s", said, remedy)
