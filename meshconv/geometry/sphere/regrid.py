"""Regridding on the sphere: scalars, tangent vectors, labels."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from meshconv.errors import InputError
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.frames import Array, Index
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.progress import Progress

Method = Literal["bilinear", "nearest", "conservative"]

_CHUNK = 1 << 20
# Added to points that are located: on the border of two cells, rounding would decide, which differs between processors.
_NUDGE = np.array([0.37e-9, 0.61e-9, 0.70e-9])
# Pixels of samples come in blocks of this many on a side, those near a grid.
_BLOCK = 16


class Regridder:
    r"""Regridding from ``source`` to ``target`` by a sparse matrix.

    ``"bilinear"`` interpolates between cell centres, ``"nearest"`` takes the cell that contains the target point, and
    ``"conservative"`` averages over the target cell,

    .. math:: y_i = \frac{1}{\sum_j A_{ij}} \sum_j A_{ij} x_j

    where the overlaps :math:`A_{ij}` are counted on a HEALPix grid with about ``samples`` equal-area points
    per average cell; integrals are conserved to that resolution.

    Parameters
    ----------
    source, target : SphereGrid
    method : "bilinear" | "nearest" | "conservative"
    samples
        Points per cell of the finer grid, for ``"conservative"``: at least half as many, less than twice.
    weights : csr_array [V_target, V_source], optional
        Weights of an earlier regridder between the same grids, instead of ``method``; see
        :func:`~meshconv.io.maps.weights.cached_regridder`.

    Attributes
    ----------
    weights : scipy.sparse.csr_array [V_target, V_source]
        Rows sum to 1, or less outside of the source.

    Examples
    --------
    >>> from meshconv.geometry.sphere.latlon import LatLonGrid
    >>> grid = LatLonGrid(np.linspace(-88, 88, 45), np.arange(0, 360, 4))
    >>> to_healpix = Regridder(grid, HealpixSphere(8))
    >>> to_healpix(np.ones(grid.num_points)).shape
    (768,)
    """

    def __init__(
        self,
        source: SphereGrid,
        target: SphereGrid,
        method: Method = "bilinear",
        samples: int = 16,
        weights: csr_array | None = None,
    ):
        self.source, self.target = source, target
        shape = (target.num_points, source.num_points)
        rows: NDArray
        if weights is not None:
            if weights.shape != shape:
                raise ValueError(f"weights have shape {weights.shape}, the grids {shape}")
            self.weights = weights
            return
        if method == "conservative":
            self.weights = _overlaps(source, target, samples)
        elif method in ("bilinear", "nearest"):
            points = target.xyz
            if method == "bilinear":
                index, weight = source.interpolation(points)
            else:
                index = source.locate(points + _NUDGE)[:, None]
                weight = np.ones(index.shape)
            rows = np.repeat(np.arange(len(points)), index.shape[1])
            valid = (index.ravel() >= 0) & (weight.ravel() > 0)
            entries = weight.ravel()[valid], (rows[valid], index.ravel()[valid])
            self.weights = csr_array(coo_array(entries, shape=shape))
        else:
            raise InputError(f"regridding method {method!r} is not known; use 'bilinear', 'nearest' or 'conservative'")

    def __call__(self, values: NDArray, least: float = 0.5) -> NDArray:
        """Regrid ``[..., V_source]`` to float64 ``[..., V_target]``.

        NaN is missing; a target point has a value where at least the share ``least`` (above 0) of its weight
        is on values.
        """
        flat = self._flat(values).astype(np.float64)
        present = np.isfinite(flat)
        total = self.weights @ np.where(present, flat, 0.0)
        share = self._shares[:, None] if present.all() else self.weights @ present.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            regridded = np.where(share >= least - 1e-9, total / share, np.nan)
        return regridded.T.reshape(*values.shape[:-1], -1)

    @functools.cached_property
    def _shares(self) -> Array:
        """Sums of rows: less than 1 where the source ends."""
        sums = np.asarray(self.weights.sum(axis=1)).ravel()
        return np.where(np.abs(sums - 1) < 1e-9, 1.0, sums)

    def vectors(self, values: NDArray) -> NDArray:
        """Regrid tangent vectors, components along e1 and e2: ``[..., V_source, 2]`` to ``[..., V_target, 2]``.

        They are interpolated in space and projected on the target's tangent plane: components towards east and north
        are singular at the poles.
        """
        ambient = np.einsum("...vk,vki->...iv", values, self._tangents[0])
        return np.einsum("...iv,vki->...vk", self(ambient), self._tangents[1])

    @functools.cached_property
    def _tangents(self) -> tuple[Array, Array]:
        """e1 and e2 of all points of the source and of the target."""
        return self.source.frames[:, :2], self.target.frames[:, :2]

    def majority(self, labels: NDArray, missing: int = -1) -> NDArray:
        """Majority label by weight, int64 ``[..., V_target]``; the smaller one of equals.

        ``missing`` has no vote, and is the result where there is no other label.
        """
        flat = self._flat(labels)
        classes = np.unique(flat[flat != missing])
        votes, winner = np.zeros(self._out(flat)), np.full(self._out(flat), missing, dtype=np.int64)
        for label in classes:
            weight = self.weights @ (flat == label).astype(np.float64)
            more = weight > votes + 1e-12
            votes[more], winner[more] = weight[more], label
        return winner.T.reshape(*labels.shape[:-1], -1)

    def _flat(self, values: NDArray) -> NDArray:
        if values.ndim < 1 or values.shape[-1] != self.source.num_points:
            raise InputError(f"values have shape {values.shape}, the source grid {self.source.num_points} points")
        return values.reshape(-1, values.shape[-1]).T

    def _out(self, flat: NDArray) -> tuple[int, int]:
        return self.target.num_points, flat.shape[1]


def _overlaps(source: SphereGrid, target: SphereGrid, samples: int) -> csr_array:
    """Shares of every target cell that lie in each source cell."""
    shape = (target.num_points, source.num_points)
    finest = max(cells_of_a_sphere(source), cells_of_a_sphere(target))
    # The power of two with at least half as many samples: its pixels divide those of other nested spheres evenly.
    nside = 2 ** int(np.ceil(np.log2(max(finest * samples / 12, 1)) / 2 - 0.5))
    fine = HealpixSphere(nside)
    coarse = max(nside // _BLOCK, 1)
    blocks = np.intersect1d(pixels_near(source, coarse), pixels_near(target, coarse))
    size = (nside // coarse) ** 2
    step = max(_CHUNK // size, 1)
    pairs, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with Progress(-(-len(blocks) // step), "regridding weights", "chunk") as bar:
        for start in range(0, len(blocks), step):
            pixels = (blocks[start : start + step, None] * size + np.arange(size)).ravel()
            points = fine.points(pixels) + _NUDGE
            here, there = target.locate(points), source.locate(points)
            valid = (here >= 0) & (there >= 0)
            pair, count = np.unique(here[valid] * shape[1] + there[valid], return_counts=True)
            pairs.append(pair)
            counts.append(count)
            bar.update()
    pair = np.concatenate(pairs)
    entries = np.concatenate(counts).astype(np.float64), (pair // shape[1], pair % shape[1])
    overlap = csr_array(coo_array(entries, shape=shape))
    # Cells without a sample, as next to the poles of a latitude-longitude grid, take the cell that contains them.
    total = np.asarray(overlap.sum(axis=1)).ravel()
    empty = np.flatnonzero(total == 0)
    inside = source.locate(target.points(empty) + _NUDGE)
    empty, inside = empty[inside >= 0], inside[inside >= 0]
    overlap = overlap + csr_array(coo_array((np.ones(len(empty)), (empty, inside)), shape=shape))
    total = np.asarray(overlap.sum(axis=1)).ravel()
    overlap.data /= np.repeat(total, np.diff(overlap.indptr))
    return overlap


def pixels_near(grid: SphereGrid, nside: int) -> Index:
    """Nested HEALPix pixels that may intersect a cell of the grid, ascending.

    Pixels are subdivided only near points, so that the cost is that of the region.
    """
    if grid.reach >= np.pi / 2 or cells_of_a_sphere(grid) < 2 * grid.num_points:
        return np.arange(12 * nside**2)
    tree = tree_of(grid.xyz)
    sphere = HealpixSphere(1)
    pixels = np.arange(12)
    while True:
        # No centre of a pixel is farther than its spacing from a corner.
        far = 2 * np.sin(min(grid.reach + sphere.spacing, np.pi) / 2) * (1 + 1e-9)
        pixels = pixels[np.isfinite(tree.query(sphere.points(pixels), distance_upper_bound=far)[0])]
        if sphere.nside == nside:
            return pixels
        sphere = HealpixSphere(2 * sphere.nside)
        pixels = (pixels[:, None] * 4 + np.arange(4)).ravel()


def cells_of_a_sphere(grid: SphereGrid) -> float:
    """Number of cells of the whole sphere at the mean cell size of the grid."""
    areas = grid.areas
    return 4 * np.pi * len(areas) / float(areas.sum())
