"""Latitude-longitude grids on the sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from meshconv.errors import InputError
from meshconv.geometry.sphere.frames import Array, Index, unit_vectors
from meshconv.geometry.sphere.grid import SphereGrid


class LatLonGrid(SphereGrid):
    """Cells between parallels and meridians; point ``i * len(lon) + j`` is row ``i``, column ``j``.

    Rows may run north or south, longitudes start at any meridian; columns may repeat after 360 degrees, poles may be
    missing, and the grid may be regional. If the outermost rows are within two row spacings of a pole, interpolation
    crosses it.

    Parameters
    ----------
    lat_deg, lon_deg : [rows], [columns]
        Cell centres in degrees, strictly monotonic (longitudes up to jumps of 360).

    Raises
    ------
    InputError
        Latitudes or longitudes that are not finite, repeat or are out of range; fewer than two of either.

    Examples
    --------
    >>> grid = LatLonGrid([60, 0, -60], [0, 90, 180, 270])
    >>> grid.num_points, grid.is_periodic, round(float(grid.areas.sum() / np.pi), 6)
    (12, True, 4.0)
    """

    def __init__(self, lat_deg: ArrayLike, lon_deg: ArrayLike):
        self.lat_deg = np.asarray(lat_deg, dtype=np.float64)
        self.lon_deg = np.asarray(lon_deg, dtype=np.float64)
        for name, values in (("latitudes", self.lat_deg), ("longitudes", self.lon_deg)):
            if values.ndim != 1 or len(values) < 2:
                raise InputError(f"{name} have shape {values.shape}; give at least two in a row")
            if not np.isfinite(values).all():
                raise InputError(f"{int((~np.isfinite(values)).sum())} {name} are not finite; complete the coordinate")
        if np.abs(self.lat_deg).max() > 90 + 1e-6:
            raise InputError(f"latitude {self.lat_deg[np.abs(self.lat_deg).argmax()]:g} is out of -90..90 degrees")
        steps = np.diff(self.lat_deg)
        if not ((steps > 0).all() or (steps < 0).all()):
            raise InputError("latitudes neither ascend nor descend throughout; sort the data by latitude")
        self._rows = np.argsort(self.lat_deg, kind="stable")
        self._south_north = np.clip(self.lat_deg[self._rows], -90, 90)
        # float32 has 433 and 73 degrees a copy's rounding apart.
        same = min(1e-4, 0.01 * float(np.median(np.abs(np.diff(self.lon_deg)))))
        turned = (self.lon_deg - self.lon_deg[0]) % 360
        turned[turned > 360 - same] = 0.0
        order = np.argsort(turned, kind="stable")
        first = np.concatenate([[True], np.diff(turned[order]) > same])
        twice = np.flatnonzero(~first & (np.abs(np.diff(self.lon_deg[order], prepend=np.inf)) < 180))
        if len(twice):
            raise InputError(f"longitude {self.lon_deg[order[twice[0]]]:g} degrees occurs twice; drop the copies")
        # Columns beyond a full circle are copies of the first ones.
        self._columns = np.minimum.reduceat(order, np.flatnonzero(first))
        self._east = turned[self._columns]
        width = np.diff(self._east, append=self._east[0] + 360)
        self.is_periodic = bool(width[-1] <= 1.5 * np.median(width[:-1])) if len(width) > 1 else False

    @property
    def num_points(self) -> int:
        return len(self.lat_deg) * len(self.lon_deg)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.lat_deg), len(self.lon_deg)

    @property
    def theta(self) -> Array:
        """Colatitude of every point, radians ``[V]``."""
        return np.repeat(np.radians(90 - self.lat_deg), len(self.lon_deg))

    @property
    def phi(self) -> Array:
        """Longitude of every point, radians ``[V]``."""
        return np.tile(np.radians(self.lon_deg), len(self.lat_deg))

    @property
    def xyz(self) -> Array:
        """Cell centres as unit vectors ``[V, 3]``."""
        return unit_vectors(self.theta, self.phi)

    @property
    def content(self) -> tuple[str | Array, ...]:
        return "latlon", self.lat_deg, self.lon_deg

    @property
    def crowds(self) -> bool:  # type: ignore[override]
        """Whether there are rows beyond 80 degrees, whose cells have at most a sixth of the width at the equator."""
        return bool(np.abs(self.lat_deg).max() > 80)

    @property
    def reach(self) -> float:
        high = np.abs(np.stack([self._lat_bounds[:-1], self._lat_bounds[1:]]) - self._south_north).max()
        wide = np.abs(np.stack([self._lon_bounds[:-1], self._lon_bounds[1:]]) - self._east).max()
        return min(float(np.radians(np.hypot(high, wide))) * (1 + 1e-9), np.pi)

    @property
    def _lat_bounds(self) -> Array:
        """Edges of the rows from south to north, halfway between the centres, ``[rows + 1]``."""
        lat = self._south_north
        middle = (lat[1:] + lat[:-1]) / 2
        ends = np.clip([2 * lat[0] - middle[0], 2 * lat[-1] - middle[-1]], -90, 90)
        reach = lat[1] - lat[0], lat[-1] - lat[-2]
        # The cap beyond the last row belongs to it where it is no wider than a row.
        ends[0] = -90.0 if lat[0] - reach[0] < -90 else ends[0]
        ends[1] = 90.0 if lat[-1] + reach[1] > 90 else ends[1]
        return np.concatenate([ends[:1], middle, ends[1:]])

    @property
    def _lon_bounds(self) -> Array:
        """Edges of the columns, degrees east of the first one's centre, ``[columns + 1]``."""
        east = self._east
        if self.is_periodic:
            east = np.concatenate([east[-1:] - 360, east, east[:1] + 360])
            return (east[1:] + east[:-1]) / 2
        middle = (east[1:] + east[:-1]) / 2
        return np.concatenate([[2 * east[0] - middle[0]], middle, [2 * east[-1] - middle[-1]]])

    @property
    def areas(self) -> Array:
        """Area of every cell on the unit sphere, ``[V]``; zero for a repeated column."""
        heights = np.diff(np.sin(np.radians(self._lat_bounds)))
        rows, columns = np.empty(self.shape[0]), np.zeros(self.shape[1])
        rows[self._rows] = heights
        columns[self._columns] = np.radians(np.diff(self._lon_bounds))
        return np.outer(rows, columns).ravel()

    def _coordinates(self, xyz: Array) -> tuple[Array, Array]:
        """Latitude, and degrees east of the first column, in the range of the column bounds."""
        lat = np.degrees(np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1])))
        start = self._lon_bounds[0]
        lon = np.degrees(np.arctan2(xyz[:, 1], xyz[:, 0])) - self.lon_deg[0]
        return lat, start + (lon - start) % 360

    def locate(self, xyz: Array) -> Index:
        """Cell that contains each unit vector, ``[N]``; -1 outside of the grid."""
        lat, lon = self._coordinates(xyz)
        lat_bounds, lon_bounds = self._lat_bounds, self._lon_bounds
        row = np.clip(np.searchsorted(lat_bounds, lat, side="right") - 1, 0, len(lat_bounds) - 2)
        column = np.clip(np.searchsorted(lon_bounds, lon, side="right") - 1, 0, len(lon_bounds) - 2)
        inside = (lat >= lat_bounds[0]) & (lat <= lat_bounds[-1]) & (lon <= lon_bounds[-1])
        return np.where(inside, self._rows[row] * self.shape[1] + self._columns[column], -1)

    def interpolation(self, xyz: Array) -> tuple[Index, Array]:
        """Bilinear in latitude and longitude: four points and their weights, ``[N, 4]`` each; -1 and 0 outside.

        Between the last row and its pole, the second row is its continuation on the opposite meridians.
        """
        lat, lon = self._coordinates(xyz)
        bounds = self._lat_bounds
        rows, turned = np.arange(len(self._south_north)), np.zeros(len(self._south_north))
        nodes = self._south_north
        if self.is_periodic:
            south = int(bounds[0] == -90 and nodes[0] > -90 + 1e-9)
            north = int(bounds[-1] == 90 and nodes[-1] < 90 - 1e-9)
            nodes = np.concatenate([[-180 - nodes[0]] * south, nodes, [180 - nodes[-1]] * north])
            rows = np.concatenate([[0] * south, rows, [rows[-1]] * north]).astype(np.int64)
            turned = np.concatenate([[180.0] * south, turned, [180.0] * north])
        low = np.clip(np.searchsorted(nodes, lat, side="right") - 1, 0, len(nodes) - 2)
        t = np.clip((lat - nodes[low]) / (nodes[low + 1] - nodes[low]), 0, 1)
        index, weight = [], []
        for row, part in ((low, 1 - t), (low + 1, t)):
            left, right, s = self._columns_at(lon + turned[row])
            for column, share in ((left, 1 - s), (right, s)):
                index.append(self._rows[rows[row]] * self.shape[1] + self._columns[column])
                weight.append(part * share)
        inside = self.locate(xyz)[:, None] >= 0
        return np.where(inside, np.stack(index, axis=1), -1), np.where(inside, np.stack(weight, axis=1), 0.0)

    def _columns_at(self, lon: Array) -> tuple[Index, Index, Array]:
        """The columns on either side, and the share of the right one."""
        east, count = self._east, len(self._east)
        if self.is_periodic:
            lon = lon % 360
            left = np.clip(np.searchsorted(east, lon, side="right") - 1, 0, count - 1)
            right = (left + 1) % count
            width = np.where(right == 0, east[0] + 360, east[right]) - east[left]
            return left, right, (lon - east[left]) / width
        left = np.clip(np.searchsorted(east, lon, side="right") - 1, 0, count - 2)
        return left, left + 1, np.clip((lon - east[left]) / (east[left + 1] - east[left]), 0, 1)
