"""The HEALPix sphere: pixel centres as points, eight neighbours, nested coarsening."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from meshconv.errors import InputError
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.sphere.frames import Array, Index, polar_frames, sphere_edges, unit_vectors
from meshconv.geometry.sphere.graph import Images, Rows, near_rows, radius_graph, sphere_graph, symmetric_graph
from meshconv.geometry.sphere.grid import GridPart, SphereGrid
from meshconv.geometry.sphere.points import PointSphere

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PixelOrder = Literal["nest", "ring"]


def _healpy() -> ModuleType:
    import healpy  # GPL-2 and slow to import: only where it is used

    return healpy


class HealpixSphere(SphereGrid):
    """Equal-area pixels on the unit sphere (Gorski et al. 2005) with the frame (south, east, outward).

    Parameters
    ----------
    nside
        Any positive integer in ring order, a power of two in nested order; ``12 nside^2`` pixels.
    pixel_order
        ``"nest"`` or ``"ring"``; never converted silently.

    Examples
    --------
    >>> sphere = HealpixSphere(4)
    >>> sphere.npix, sphere.gauge_graph().num_edges   # 24 pixels of any nside > 1 have 7 neighbours
    (192, 1512)
    """

    def __init__(self, nside: int, pixel_order: PixelOrder = "nest"):
        if pixel_order not in ("nest", "ring"):
            raise InputError(f"pixel_order {pixel_order!r} is not known; use 'nest' or 'ring'")
        if int(nside) != nside or nside < 1:
            raise InputError(f"nside {nside} is not a positive integer")
        if pixel_order == "nest" and int(nside) & (int(nside) - 1):
            raise InputError(f"nside {nside} is not a power of two, which nested order needs; use pixel_order='ring'")
        self.nside, self.pixel_order = int(nside), pixel_order

    @classmethod
    def from_pixel_count(cls, npix: int, pixel_order: PixelOrder = "nest") -> HealpixSphere:
        """Sphere with ``npix`` pixels; an :class:`InputError` if that is not ``12 nside^2``."""
        nside = round((max(npix, 0) / 12) ** 0.5)
        if nside < 1 or 12 * nside * nside != npix:
            near = max(nside, 1)
            raise InputError(
                f"{npix} pixels are not 12 nside^2 (nside {near} has {12 * near * near}): not a full HEALPix map"
            )
        return cls(nside, pixel_order)

    @property
    def npix(self) -> int:
        return 12 * self.nside**2

    @property
    def num_points(self) -> int:
        return self.npix

    @property
    def areas(self) -> Array:
        """Area of every pixel, all equal, ``[npix]``."""
        return np.full(self.npix, 4 * np.pi / self.npix)

    def locate(self, xyz: Array) -> Index:
        """Pixel that contains each unit vector, ``[N]``."""
        return _healpy().vec2pix(self.nside, *xyz.T, nest=self.pixel_order == "nest")

    def interpolation(self, xyz: Array) -> tuple[Index, Array]:
        """Bilinear between the four nearest pixels on two rings: indices and weights, ``[N, 4]`` each."""
        theta, phi = np.arctan2(np.hypot(xyz[:, 0], xyz[:, 1]), xyz[:, 2]), np.arctan2(xyz[:, 1], xyz[:, 0])
        index, weight = _healpy().get_interp_weights(self.nside, theta, phi, nest=self.pixel_order == "nest")
        return index.T.astype(np.int64), weight.T

    @functools.cached_property
    def _angles(self) -> tuple[Array, Array]:
        return self.angles(np.arange(self.npix))

    @property
    def theta(self) -> Array:
        """Colatitude of the pixel centres, radians ``[npix]``."""
        return self._angles[0]

    @property
    def phi(self) -> Array:
        """Longitude of the pixel centres, radians ``[npix]``."""
        return self._angles[1]

    def angles(self, index: Index) -> tuple[Array, Array]:
        return _healpy().pix2ang(self.nside, index, nest=self.pixel_order == "nest")

    def points(self, index: Index) -> Array:
        """Centres of some pixels as unit vectors ``[N, 3]``."""
        return unit_vectors(*self.angles(index))

    @property
    def xyz(self) -> Array:
        """Pixel centres as unit vectors ``[npix, 3]``."""
        return unit_vectors(self.theta, self.phi)

    @property
    def content(self) -> tuple[str | Array, ...]:
        return "healpix", str(self.nside), self.pixel_order

    @property
    def spacing(self) -> float:
        """Width of a pixel, ``sqrt(4 pi / npix)`` radians."""
        return float((4 * np.pi / self.npix) ** 0.5)

    @property
    def reach(self) -> float:
        return self.spacing  # a fifth more than from a centre to a corner

    def gauge_graph(self, radius: float | None = None) -> GaugeGraph:
        """Each pixel with its (up to) eight neighbours, or with all within a ``radius``; log map and transport exact.

        Parameters
        ----------
        radius : float, optional
            Geodesic distance in radians, between centres: ``2.5 * sphere.spacing`` has about 19 neighbours per pixel,
            evenly in all directions, whereas the distances of the eight neighbours differ by up to a factor of two.

        Returns
        -------
        GaugeGraph
            float64; lengths in radians; ``scale`` is :attr:`spacing`, or half of ``radius``.

        Raises
        ------
        ValueError
            A radius that is not between 0 and pi.

        Notes
        -----
        ``tests/test_sphere_graphs.py`` compares with all pairs of pixels, and measures time and memory at nside 256.

        Examples
        --------
        >>> sphere = HealpixSphere(16)
        >>> graph = sphere.gauge_graph(radius=2.5 * sphere.spacing)
        >>> round(graph.num_edges / graph.num_vertices, 1), float(graph.log_radius.max()) <= 2.5 * sphere.spacing
        (19.5, True)
        """
        return self._graph(np.arange(self.npix), self.areas, radius)

    def _graph(self, pixels: Index, areas: Array, radius: float | None) -> GaugeGraph:
        """Graph of some pixels, ascending."""
        theta, phi = self.angles(pixels)
        points, frames = unit_vectors(theta, phi), polar_frames(theta, phi)
        scale = self.spacing if radius is None else radius / 2
        if len(pixels) == self.npix:
            # One sixteenth, whose images under turns and mirrors are the whole; centres on its border have one there.
            chamber = np.flatnonzero((theta < np.pi / 2 + 1e-9) & (phi < np.pi / 4 + 1e-9))
            rows = self._rows(points, chamber, radius)
            return symmetric_graph(points, frames, areas, chamber, rows, self._images, scale)
        if radius is not None:
            return radius_graph(points, frames, areas, radius)
        ptr, around = self._rows(points, pixels, None)
        place = np.minimum(np.searchsorted(pixels, around), len(pixels) - 1)
        there = pixels[place] == around
        kept = np.concatenate([[0], there.cumsum()])
        return sphere_graph(points, frames, areas, kept[ptr], place[there], scale)

    def _rows(self, points: Array, some: Index, radius: float | None) -> Rows:
        """Neighbours of some pixels, of all."""
        if radius is not None:
            return near_rows(points, some, radius)
        around = np.sort(_healpy().get_all_neighbours(self.nside, some, nest=self.pixel_order == "nest").T, axis=1)
        valid = around >= 0
        valid[:, 1:] &= around[:, 1:] != around[:, :-1]  # nside 1 repeats some
        return np.concatenate([[0], valid.sum(axis=1).cumsum()]), around[valid]

    def _images(self, pixels: Index) -> Iterator[Images]:
        """Of some pixels, under quarter turns about the axis and mirrors, which map centres onto centres."""
        theta, phi = self.angles(pixels)
        nest = self.pixel_order == "nest"
        for south, east, quarter in itertools.product((1, -1), (1, -1), range(4)):
            colatitude = theta if south > 0 else np.pi - theta
            longitude = np.mod(east * phi + quarter * np.pi / 2, 2 * np.pi)
            yield Images(_healpy().ang2pix(self.nside, colatitude, longitude, nest=nest), (south, east))

    def surface_complex(self) -> SurfaceComplex:
        """Delaunay triangles between the pixel centres, for the layers of exact vector calculus.

        Points, frames and numbering are those of :meth:`gauge_graph`; edges are the sides of triangles.
        """
        return PointSphere(self.xyz).surface_complex()

    def parents(self, pixels: Index | None = None) -> Index:
        """Pixel of the sphere with half the nside that contains each of some pixels, or all, in the same order."""
        pixels = np.arange(self.npix) if pixels is None else pixels
        if self.pixel_order == "nest":
            return pixels // 4
        hp = _healpy()
        return hp.nest2ring(self.nside // 2, hp.ring2nest(self.nside, pixels) // 4)

    def hierarchy(self, num_levels: int, radius: float | None = None, points: Index | None = None) -> Hierarchy:
        """Hierarchy of nested spheres of nside, nside / 2, ...; four children per pixel.

        Parameters
        ----------
        num_levels
        radius : float, optional
            Radius of neighbourhoods on the finest level, as in :meth:`gauge_graph`; doubled on each coarser level.
        points : int64 [n], optional
            Pixels of a part of the sphere, ascending: ``.subset`` of the whole, without building that.

        Raises
        ------
        InputError
            If nside cannot be halved ``num_levels - 1`` times down to a power of two.
        """
        if self.nside & (self.nside - 1) or num_levels < 1 or self.nside >> (num_levels - 1) < 1:
            raise InputError(
                f"nside {self.nside} has no {num_levels} nested levels; they need a power of two of at least "
                f"{2 ** max(num_levels - 1, 0)}"
            )
        sphere, pixels = self, np.arange(self.npix) if points is None else points
        areas = np.full(len(pixels), 4 * np.pi / self.npix)
        levels, pools = [sphere._graph(pixels, areas, radius)], []
        for k in range(1, num_levels):
            pixels, parent = np.unique(sphere.parents(pixels), return_inverse=True)
            sphere = HealpixSphere(sphere.nside // 2, self.pixel_order)
            areas = sphere.areas if points is None else np.bincount(parent, areas).astype(np.float64)
            levels.append(sphere._graph(pixels, areas, radius and radius * 2**k))
            (fine, frames), (coarse, coarse_frames) = ((g.positions.numpy(), g.frames.numpy()) for g in levels[-2:])
            edges = sphere_edges(fine, frames, coarse, coarse_frames, np.arange(len(parent)), parent)
            pools.append(Pooling.from_parents(parent, len(pixels), *edges))
        return Hierarchy(levels, pools)

    def part(self, points: Index) -> HealpixPart:
        return HealpixPart(self, points)


class HealpixPart(GridPart):
    """Some pixels of a HEALPix sphere, ascending; ``index`` has their numbers in its order."""

    def __init__(self, whole: HealpixSphere, index: Index):
        super().__init__(whole, index)
        self.nside, self.pixel_order = whole.nside, whole.pixel_order
