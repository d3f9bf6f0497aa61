"""Coarsening of points on the sphere: selection of coarse points, and clusters."""

from __future__ import annotations

import numpy as np

from meshconv.geometry.sphere.frames import Array, Index

# Along no symmetry of any grid.
_DIRECTION = np.array([0.4816, 0.3711, 0.7940])
# Numbers without a common measure: the fractional part of their product with a point is as good as chance.
_KEY = (61037.1352, 97561.7713, 83047.5919)


def independent_points(xyz: Array, ptr: Index, neighbour: Index) -> Index:
    """Maximal independent set of points, about a quarter of them.

    The spacing follows that of the points, so that refined regions stay refined. The selection is by a hash of the
    coordinates and independent of the numbering.

    Parameters
    ----------
    xyz : [V, 3]
    ptr, neighbour : int64 [V + 1], int64 [E]
        Neighbours of ``v`` are ``neighbour[ptr[v]:ptr[v + 1]]``, both ways.

    Returns
    -------
    int64 [n]
        Ascending.
    """
    x, y, z = np.ascontiguousarray(xyz.T)
    key = (x * _KEY[0] + y * _KEY[1] + z * _KEY[2]) % 1
    rank = np.empty(len(xyz), dtype=np.int64)
    rank[np.lexsort((z, y, x, key))] = np.arange(1, len(xyz) + 1)
    chosen, left = np.zeros(len(xyz), dtype=bool), np.ones(len(xyz), dtype=bool)
    connected = np.diff(ptr) > 0
    starts = ptr[:-1][connected]
    while left.any():
        # Those whose number exceeds all of their neighbours': what one after the other would give.
        highest = np.zeros(len(xyz), dtype=np.int64)
        if len(starts):
            highest[connected] = np.maximum.reduceat(np.where(left, rank, 0)[neighbour], starts)
        new = left & (rank > highest)
        chosen |= new
        touched = np.zeros(len(xyz), dtype=bool)
        if len(starts):
            touched[connected] = np.logical_or.reduceat(new[neighbour], starts)
        left &= ~(new | touched)
    return np.flatnonzero(chosen)


def nearest_chosen(xyz: Array, ptr: Index, neighbour: Index, chosen: Index) -> Index:
    """Index in ``chosen`` of the chosen point nearest to each point, itself or a neighbour, int64 ``[V]``.

    A point that is not chosen needs a chosen neighbour. Of two at the same distance, as at the midpoint of a subdivided
    edge, the one further along a fixed direction counts: so clusters of regular grids have equal sizes.
    """
    place = np.full(len(xyz), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    point = np.repeat(np.arange(len(xyz)), np.diff(ptr))
    use = (place[neighbour] >= 0) & (place[point] < 0)
    point, candidate = point[use], place[neighbour[use]]
    distance = np.linalg.norm(xyz[point] - xyz[chosen[candidate]], axis=1)
    # In units of a common distance, so that ties are not decided by rounding.
    step = 1e-9 * float(np.median(distance)) if len(distance) else 1.0
    height = -(xyz[chosen[candidate]] @ _DIRECTION)
    order = np.lexsort((candidate, height, np.round(distance / step), point))
    first, where = np.unique(point[order], return_index=True)
    place[first] = candidate[order][where]
    return place
