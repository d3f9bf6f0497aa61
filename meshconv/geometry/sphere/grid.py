"""Grids on the sphere: base class and parts."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any

import numpy as np

from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.sphere.delaunay import DelaunayPoints, subset
from meshconv.geometry.sphere.frames import Array, Index, polar_frames


class SphereGrid(ABC):
    """Base class of grids: points on the unit sphere, each with a cell and the frame (south, east, outward).

    A new grid is a subclass that defines :attr:`xyz`, :attr:`areas`, :attr:`content`, :meth:`locate` and
    :meth:`interpolation`; regridding, graphs, hierarchies and data modules then accept it. Other methods may be
    overridden: by default neighbours and levels are by Delaunay triangulation.

    Notes
    -----
    ``tests/test_new_grid.py`` defines and uses a new grid.
    """

    #: Whether cells shrink towards a pole, which makes the points unsuitable for a network.
    crowds: bool = False

    @property
    @abstractmethod
    def xyz(self) -> Array:
        """Points as unit vectors, ``[V, 3]``."""

    @property
    @abstractmethod
    def areas(self) -> Array:
        """Area of every cell on the unit sphere, ``[V]``; zero for a copy of another point."""

    @property
    @abstractmethod
    def content(self) -> tuple[str | Array | Index, ...]:
        """Identity of the grid: equal for grids with the same cells in the same order."""

    @abstractmethod
    def locate(self, xyz: Array) -> Index:
        """Cell that contains each unit vector, int64 ``[N]``; -1 outside of the grid."""

    @abstractmethod
    def interpolation(self, xyz: Array) -> tuple[Index, Array]:
        """Points that a value at each unit vector depends on, and their weights, ``[N, k]`` each.

        Weights sum to 1, or less where some of the points are missing from the grid: -1 and 0 for them.
        """

    @property
    def num_points(self) -> int:
        return len(self.xyz)

    @property
    def theta(self) -> Array:
        """Colatitude of every point, radians ``[V]``."""
        return np.arctan2(np.hypot(self.xyz[:, 0], self.xyz[:, 1]), self.xyz[:, 2])

    @property
    def phi(self) -> Array:
        """Longitude of every point, radians ``[V]``; 0 at a pole."""
        return np.arctan2(self.xyz[:, 1], self.xyz[:, 0])

    @property
    def frames(self) -> Array:
        """Rows (south, east, outward), ``[V, 3, 3]``; at a pole along the meridian of :attr:`phi`."""
        return polar_frames(self.theta, self.phi)

    @property
    def whole(self) -> SphereGrid:
        """The grid that this one is a :meth:`part` of, or itself."""
        return self

    def points(self, index: Index) -> Array:
        """Some of the points as unit vectors, ``[n, 3]``."""
        return self.xyz[index]

    def angles(self, index: Index) -> tuple[Array, Array]:
        """Colatitude and longitude of some of the points, radians ``[n]`` each."""
        return self.theta[index], self.phi[index]

    @property
    def spacing(self) -> float:
        """Width of a cell, the root of the mean area, radians."""
        return float(np.sqrt(self.areas.mean()))

    @property
    def reach(self) -> float:
        """Bound of the radius of cells around their points, radians; points beyond are outside of the grid."""
        return np.pi

    @functools.cached_property
    def _delaunay(self) -> DelaunayPoints:
        return DelaunayPoints(self.xyz, self.frames)

    def gauge_graph(self, radius: float | None = None) -> GaugeGraph:
        """Each point with its neighbours, or with all within a geodesic ``radius`` in radians; closed forms.

        Returns
        -------
        GaugeGraph
            float64; lengths in radians. ``scale`` is the root of the mean area, or half of ``radius``.

        Raises
        ------
        ValueError
            A radius that is not between 0 and pi.
        """
        return self._delaunay.graph(self.areas, radius)

    def hierarchy(self, num_levels: int, radius: float | None = None, points: Index | None = None) -> Hierarchy:
        """Hierarchy of levels, each with about a quarter of the points of the finer one.

        The cluster of a coarse point is the points nearest to it, with log maps along great circles.
        On every level neighbours are as in :meth:`gauge_graph`, and ``areas`` are sums over the clusters. The levels of
        :func:`~meshconv.geometry.sphere.points.icosahedral_sphere` are the coarser icosahedral spheres.

        Parameters
        ----------
        num_levels
        radius : float, optional
            Radius of neighbourhoods on the finest level, radians; doubled on each coarser level.
        points : int64 [n], optional
            A part of the points, ascending: the result is ``.subset`` of the whole.

        Raises
        ------
        InputError
            Too few points for that many levels.
        """
        whole = self._delaunay.hierarchy(self.areas, num_levels, radius)
        return whole if points is None else subset(whole, points)

    def surface_complex(self) -> SurfaceComplex:
        """Points and Delaunay triangles, for the layers of exact vector calculus."""
        return self._delaunay.surface_complex(self.areas)

    def show(self, values: Any = None, **options: Any) -> Any:
        """View of the sphere with values on it: a globe that turns, see :func:`meshconv.viz.show`.

        A notebook shows it; ``sphere.show(x).save("x.html")`` or ``("x.png")`` writes it. ``x`` are numbers, labels or
        vectors at the points, or several by name.
        """
        # Pictures are above geometry, and need the extra viz: only who asks for one imports them.
        return import_module("meshconv.viz").show(self, values, **options)

    def part(self, points: Index) -> SphereGrid:
        """A grid of some of the points, ascending."""
        return GridPart(self, points)


class GridPart(SphereGrid):
    """Part of a grid: some points with their cells; interpolation uses only these.

    Levels are those of the whole grid, restricted to the part.

    Parameters
    ----------
    whole : SphereGrid
    index : int64 [V]
        Points of it, ascending.
    """

    def __init__(self, whole: SphereGrid, index: Index):
        self._whole, self.index = whole, np.asarray(index, dtype=np.int64)
        if len(self.index) and (np.diff(self.index) <= 0).any():
            raise ValueError("points of a part do not ascend")
        self._theta, self._phi = whole.angles(self.index)
        self._xyz = whole.points(self.index)

    @property
    def whole(self) -> SphereGrid:
        return self._whole

    @property
    def crowds(self) -> bool:  # type: ignore[override]
        return self.whole.crowds

    @property
    def xyz(self) -> Array:
        return self._xyz

    @property
    def theta(self) -> Array:
        return self._theta

    @property
    def phi(self) -> Array:
        return self._phi

    @functools.cached_property
    def areas(self) -> Array:  # type: ignore[override]
        return self.whole.areas[self.index]

    @property
    def content(self) -> tuple[str | Array | Index, ...]:
        return ("part", self.index, "of", *self.whole.content)

    @property
    def reach(self) -> float:
        return self.whole.reach

    def _places(self, whole: Index) -> Index:
        """Indices in the part of points of the whole grid, -1 for others."""
        place = np.minimum(np.searchsorted(self.index, whole), len(self.index) - 1)
        return np.where(self.index[place] == whole, place, -1)

    def locate(self, xyz: Array) -> Index:
        return self._places(self.whole.locate(xyz))

    def interpolation(self, xyz: Array) -> tuple[Index, Array]:
        index, weight = self.whole.interpolation(xyz)
        place = self._places(index)
        return place, np.where(place >= 0, weight, 0.0)

    def gauge_graph(self, radius: float | None = None) -> GaugeGraph:
        """Gauge graph of the whole grid, restricted to the part."""
        return self.hierarchy(1, radius).levels[0]

    def hierarchy(self, num_levels: int, radius: float | None = None, points: Index | None = None) -> Hierarchy:
        return self.whole.hierarchy(num_levels, radius, self.index if points is None else self.index[points])
