"""HEALPix spheres in parts that each process builds for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.distributed.parts import even_bounds, hash_of, part_of_hierarchy
from meshconv.errors import InputError
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.healpix import HealpixSphere

# Radius, in widths of a pixel, of a disc that has the eight neighbours of a pixel and their corners.
_EIGHT = 2.5
# Largest distance from a pixel's centre to one of its children's, in its widths.
_WITHIN = 1.0


class HealpixPartition(Sequence[Hierarchy]):
    """Parts of a hierarchy of spheres; see :func:`partition_healpix`."""

    def __init__(self, sphere: HealpixSphere, num_levels: int, ranks: int, radius: float | None):
        self.sphere, self.num_levels, self.ranks, self.radius = sphere, num_levels, ranks, radius
        self.coarse = HealpixSphere(sphere.nside >> (num_levels - 1))
        self.bounds = even_bounds(np.ones(self.coarse.npix), ranks)

    def __len__(self) -> int:
        return self.ranks

    def __getitem__(self, rank: Any) -> Hierarchy:  # type: ignore[override]
        if not 0 <= rank < self.ranks:
            raise IndexError(f"part {rank} of {self.ranks}")
        near, children = self._near(rank), 4 ** (self.num_levels - 1)
        pixels = (near[:, None] * children + np.arange(children)).ravel()
        around = self.sphere.hierarchy(self.num_levels, self.radius, pixels)
        shares = [children // 4**k for k in range(self.num_levels)]
        index = [torch.from_numpy((near[:, None] * n + np.arange(n)).ravel()) for n in shares]
        owner = np.searchsorted(self.bounds, near, side="right") - 1
        owners = [torch.from_numpy(np.repeat(owner, n)) for n in shares]
        what = hash_of("healpix", self.sphere.nside, self.num_levels, self.ranks, self.radius)
        return part_of_hierarchy(around, owners, self.ranks, torch.tensor([rank, what]), index)

    def __iter__(self) -> Iterator[Hierarchy]:
        return (self[rank] for rank in range(self.ranks))

    def _near(self, rank: int) -> NDArray[np.int64]:
        """Coarsest pixels, ascending, that have all neighbours of a part's points on every level."""
        own = np.arange(self.bounds[rank], self.bounds[rank + 1])
        width = self.coarse.spacing
        reach = _EIGHT * width
        if self.radius is not None:
            reach = self.radius * 2 ** (self.num_levels - 1) + 2 * _WITHIN * width
        if reach >= np.pi:
            return np.arange(self.coarse.npix)
        distance, _ = tree_of(self.coarse.points(own)).query(self.coarse.xyz)
        return np.flatnonzero(distance <= 2 * np.sin(reach / 2))


def partition_healpix(
    sphere: HealpixSphere, num_levels: int, ranks: int, radius: float | None = None
) -> HealpixPartition:
    """Parts of ``sphere.hierarchy(num_levels, radius)`` for ``ranks`` processes, without building the whole.

    On every level a part is a range of pixels in nested order, with their descendants on finer ones; with 2, 3, 4, 6 or
    12 parts those of whole base pixels. Part ``r`` is that of :func:`partition`, built from its own pixels and those
    around them.

    Parameters
    ----------
    sphere : HealpixSphere
        In nested order.
    num_levels, radius
        As of :meth:`HealpixSphere.hierarchy <meshconv.HealpixSphere.hierarchy>`.
    ranks

    Raises
    ------
    InputError
        A sphere in ring order, too many levels, or more parts than pixels on the coarsest level.

    Examples
    --------
    >>> part = partition_healpix(HealpixSphere(16), 3, 2)[1]
    >>> part.finest
    DistributedGraph(part 1 of 2, 1 surfaces, 1536 vertices, 126 of others, 12276 edges, torch.float64, cpu)
    """
    if sphere.pixel_order != "nest":
        raise InputError("parts are ranges of pixels in nested order; use HealpixSphere(nside, 'nest')")
    if num_levels < 1 or sphere.nside >> (num_levels - 1) < 1:
        raise InputError(f"nside {sphere.nside} has no {num_levels} nested levels")
    count = 12 * (sphere.nside >> (num_levels - 1)) ** 2
    if not 1 <= ranks <= count:
        raise InputError(f"{count} pixels on the coarsest level cannot be divided into {ranks} parts; use 1 to {count}")
    return HealpixPartition(sphere, num_levels, ranks, radius)
