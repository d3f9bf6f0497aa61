"""Geodesic neighbourhoods of all vertices of a triangle mesh: compiled, and the reference in Python."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from meshconv.ops.backend import is_compiled
from meshconv.ops.geodesics_reference import geodesics_reference

IRREGULAR, INTERIOR, BOUNDARY = 0, 1, 2


class GeodesicSurface(NamedTuple):
    """A mesh as the geodesic front sees it. V vertices, H half-edges (three per face), E one-ring edges.

    Attributes
    ----------
    points, frames : float64 [V, 3], [V, 3, 3]
    origin, twin : int64 [H]
        Half-edge ``3 f + k`` runs from corner ``k`` of face ``f`` to the next; ``twin`` is -1 where there is none.
    corner, fan_angle : float64 [H]
        Angle of the face at the half-edge's origin; angle of the half-edge in its vertex's fan, both unscaled.
    total, scale : float64 [V]
        Sum of the corners, and the factor that brings it to 2 pi, on a boundary to pi.
    kind : int64 [V]
        ``IRREGULAR`` (corners that are no disc; directions are then projected on the frame), ``INTERIOR``,
        ``BOUNDARY``.
    ring_ptr, ring_src, ring_radius, ring_angle, ring_transporter : [V + 1], [E], ...
        The one-ring gauge graph, sorted by target.
    """

    points: Tensor
    frames: Tensor
    origin: Tensor
    twin: Tensor
    corner: Tensor
    fan_angle: Tensor
    total: Tensor
    scale: Tensor
    kind: Tensor
    ring_ptr: Tensor
    ring_src: Tensor
    ring_radius: Tensor
    ring_angle: Tensor
    ring_transporter: Tensor


class Neighbourhoods(NamedTuple):
    """Members of every vertex's neighbourhood, those of ``v`` at ``ptr[v]:ptr[v + 1]``, by number."""

    ptr: Tensor
    src: Tensor
    log_radius: Tensor
    log_angle: Tensor
    transporter: Tensor


def geodesics(
    surface: GeodesicSurface, *, rings: int = 0, radius: float = math.inf, nearest: int = 0
) -> Neighbourhoods:
    """Geodesic polar coordinates of, and parallel transporters from, the vertices near each vertex.

    Shortest paths are exact on the polyhedron: straight lines through unfolded triangles, bent at vertices of more than
    a full turn. The angle is where the path leaves the centre; the transporter follows the same path. Of two equally
    short paths (symmetric meshes have many) the means are taken.

    Parameters
    ----------
    surface : GeodesicSurface
        On the CPU.
    rings, radius, nearest
        Exactly one of them: members within so many edges; within this distance (length unit of ``points``); or the so
        many nearest, of equally near ones those of lower number.

    Returns
    -------
    Neighbourhoods
        Without the centres themselves; angles in [-pi, pi].

    Notes
    -----
    ``tests/test_geodesics.py`` compares both implementations, closed forms, and an independent exact solver.

    References
    ----------
    Mitchell, Mount, Papadimitriou, "The discrete geodesic problem", 1987.
    Xin, Wang, "Improving Chen and Han's algorithm on the discrete geodesic problem", 2009.
    """
    if (rings > 0) + (radius < math.inf) + (nearest > 0) != 1:
        raise ValueError(f"give one of rings, radius, nearest; got {rings}, {radius:g}, {nearest}")
    if not radius > 0:
        raise ValueError(f"radius has to be positive, got {radius:g}")
    if is_compiled(torch.device("cpu")):
        return Neighbourhoods(*torch.ops.meshconv.geodesics(*surface, rings, radius, nearest))
    parts = geodesics_reference(*(t.numpy() for t in surface), rings=rings, radius=radius, nearest=nearest)
    return Neighbourhoods(*map(torch.from_numpy, parts))
