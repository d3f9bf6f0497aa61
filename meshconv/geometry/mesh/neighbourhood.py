"""Neighbourhoods of vertices: edges, k-rings, geodesic balls, k nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from numbers import Integral, Real

from meshconv.errors import InputError


@dataclass(frozen=True)
class Neighbourhood:
    """Geodesic neighbourhood: k-ring, ball, or k nearest neighbours; by default the edges of the mesh.

    Parameters
    ----------
    rings : int, optional
        The k-ring: vertices within k edges.
    radius : float, optional
        Geodesic distance, in units of the square root of the surface area.
    nearest : int, optional
        The k nearest neighbours by geodesic distance.

    Raises
    ------
    InputError
        More than one of them, a value that is not positive and finite, or a fractional number of rings or neighbours.

    Examples
    --------
    >>> Neighbourhood(radius=0.1).is_edges, Neighbourhood().is_edges
    (False, True)
    """

    rings: int | None = None
    radius: float | None = None
    nearest: int | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        kinds = {"rings": Integral, "radius": Real, "nearest": Integral}
        if len(given) > 1 or not all(isinstance(v, kinds[k]) and 0 < float(v) < math.inf for k, v in given.items()):
            raise InputError(
                f"neighbourhoods {given}: give at most one of rings, radius, nearest, greater than 0; "
                "rings and nearest are whole numbers"
            )

    @property
    def is_edges(self) -> bool:
        """Whether neighbours are the ends of edges."""
        return self.rings is self.radius is self.nearest is None


EDGES = Neighbourhood()
"""Both directions of every edge."""
