"""Map projections of the sphere: from places to the picture and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from meshconv.geometry.sphere.frames import polar_frames, unit_vectors

__all__ = ["WHOLE_SPHERE", "MapView", "Pixels", "compass"]

_NEWTON_STEPS = 30


class Pixels(NamedTuple):
    """Places of the pixels of a map.

    Attributes
    ----------
    points : [rows, columns, 3]
        Unit vectors; any where there is no sphere.
    inside : bool [rows, columns]
        Where the map shows the sphere.
    extent : (left, right, bottom, top)
        Of the picture in the units of :meth:`MapView.forward`.
    """

    points: np.ndarray
    inside: np.ndarray
    extent: tuple[float, float, float, float]


@dataclass(frozen=True)
class MapView:
    """What a map shows.

    Parameters
    ----------
    projection
        ``"mollweide"``: the whole sphere, equal area; ``"orthographic"``: one hemisphere.
    center
        Latitude and longitude in degrees; Mollweide uses the longitude alone.
    reach
        Degrees from the centre of an orthographic map to its edges; below 90 it is a square with named parallels and
        meridians.
    """

    projection: Literal["mollweide", "orthographic"] = "mollweide"
    center: tuple[float, float] = (0.0, 0.0)
    reach: float = 90.0

    @property
    def half(self) -> float:
        """Half the height of the picture."""
        return 1.0 if self.projection == "mollweide" else float(np.sin(np.deg2rad(self.reach)))

    def pixels(self, columns: int) -> Pixels:
        """Places of a picture of ``columns`` pixels across."""
        if self.projection == "mollweide":
            rows = columns // 2
            x, y = np.meshgrid(_middles(columns, 2), -_middles(rows, 1))
            angle = np.arcsin(y)
            lat = np.arcsin(np.clip((2 * angle + np.sin(2 * angle)) / np.pi, -1, 1))
            lon = np.pi * x / (2 * np.maximum(np.cos(angle), 1e-9)) + np.deg2rad(self.center[1])
            return Pixels(unit_vectors(np.pi / 2 - lat, lon), (x / 2) ** 2 + y**2 < 1, (-2, 2, -1, 1))
        half = self.half
        x, y = np.meshgrid(_middles(columns, half), -_middles(columns, half))
        depth = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
        points = np.stack([x, y, depth], axis=-1) @ compass(self.center)
        return Pixels(points, x**2 + y**2 < 1, (-half, half, -half, half))

    def forward(self, lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place in the picture of latitudes and longitudes in radians; NaN on the far side.

        Mollweide is 2 theta + sin 2 theta = pi sin lat, by Newton steps in the variable whose root is simple
        everywhere but at the poles (Snyder 1987, Map Projections, p. 251).
        """
        if self.projection == "orthographic":
            x, y, depth = (unit_vectors(np.pi / 2 - lat, lon) @ compass(self.center).T).T
            return np.where(depth > 0, x, np.nan), np.where(depth > 0, y, np.nan)
        lon = (lon - np.deg2rad(self.center[1]) + np.pi) % (2 * np.pi) - np.pi
        angle = lat.copy()
        for _ in range(_NEWTON_STEPS):
            slope = np.maximum(2 + 2 * np.cos(2 * angle), 1e-9)
            angle = angle - (2 * angle + np.sin(2 * angle) - np.pi * np.sin(lat)) / slope
        return 2 * lon / np.pi * np.cos(angle), np.sin(angle)


def _middles(count: int, half: float) -> np.ndarray:
    return half * ((np.arange(count) + 0.5) / count * 2 - 1)


def compass(center: tuple[float, float]) -> np.ndarray:
    """Rows: east, north and outward at a point (latitude, longitude in degrees), ``[3, 3]``."""
    lat, lon = np.deg2rad(center)
    ((south, east, outward),) = polar_frames(np.array([np.pi / 2 - lat]), np.array([lon]))
    return np.stack([east, -south, outward])


#: The view where none is given.
WHOLE_SPHERE = MapView()
