"""Geodesics of a triangle mesh: neighbourhoods, farthest points and their cells; compiled, or in Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from meshconv.ops.backend import is_compiled
from meshconv.ops.references.coarsening import farthest_points_reference, geodesic_cells_reference
from meshconv.ops.references.geodesics import geodesics_reference

IRREGULAR, INTERIOR, BOUNDARY = 0, 1, 2


class GeodesicSurface(NamedTuple):
    """Surface arrays of the geodesic operators: V vertices, H half-edges (three per face), E one-ring edges.

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
    """Geodesic neighbourhoods: polar coordinates of, and parallel transporters from, the vertices near each vertex.

    Shortest paths are exact on the polyhedron: straight lines through unfolded triangles, bent at vertices of more than
    a full turn. The angle is the direction of the path at the centre; the transporter follows the same path. For
    equally short paths (symmetric meshes have many) the results are means.

    Parameters
    ----------
    surface : GeodesicSurface
        On the CPU.
    rings, radius, nearest
        Exactly one of them: k-ring; ball of a radius (length unit of ``points``); or k nearest neighbours, at equal
        distance those of lower index.

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
        return Neighbourhoods(*torch.ops.meshconv.geodesics(list(surface), rings, radius, nearest))
    parts = geodesics_reference(*(t.numpy() for t in surface), rings=rings, radius=radius, nearest=nearest)
    return Neighbourhoods(*map(torch.from_numpy, parts))


class FarthestPoints(NamedTuple):
    """Sampled vertices ``points [n]`` in order, and for each count the nearest one of the first points.

    ``distance`` float64 [L, V] and ``cell`` int64 [L, V], a number in ``points``; inf and -1 where none can be reached.
    """

    points: Tensor
    distance: Tensor
    cell: Tensor


def farthest_points(surface: GeodesicSurface, rank: Tensor, counts: Sequence[int]) -> FarthestPoints:
    """Farthest point sampling of vertices by geodesic distance.

    Distances are computed by marching over triangles from an unfolded source, exact on flat parts and with errors of
    about a percent elsewhere. A march stops where an earlier point is nearer, so that n points cost about log(n)
    marches over the surface. Components without a point come first.

    Parameters
    ----------
    surface : GeodesicSurface
        On the CPU.
    rank : int64 Tensor [V]
        A permutation: of equally far vertices (in single precision) the one of lowest rank is taken. A component's
        first point is the vertex farthest from its vertex of lowest rank.
    counts
        Number of points considered in each row of the result; the largest is the number sampled.

    Notes
    -----
    ``tests/test_coarsening.py`` checks that every vertex is nearer to a point than the points to each other.

    References
    ----------
    Eldar, Lindenbaum, Porat, Zeevi, "The farthest point strategy for progressive image sampling", 1997.
    Novotni, Klein, "Computing geodesic distances on triangular meshes", 2002.
    """
    if is_compiled(torch.device("cpu")):
        return FarthestPoints(*torch.ops.meshconv.farthest_points(list(surface), rank, list(counts)))
    parts = farthest_points_reference(*(t.numpy() for t in surface), rank=rank.numpy(), counts=counts)
    return FarthestPoints(*map(torch.from_numpy, parts))


class GeodesicCells(NamedTuple):
    """Log maps and transporters at centres: of their targets [T], and of the vertices nearest to them.

    ``log_radius``, ``log_angle``, ``transporter`` float64 [T] of the targets; ``nearest`` int64 [V], a number of a
    centre, -1 where none came by; ``polar`` float64 [3, V], the same three for each vertex at its nearest centre.
    """

    log_radius: Tensor
    log_angle: Tensor
    transporter: Tensor
    nearest: Tensor
    polar: Tensor


def geodesic_cells(
    surface: GeodesicSurface, centres: Tensor, target_ptr: Tensor, target: Tensor, bound: Tensor, radius: float
) -> GeodesicCells:
    """Exact polar coordinates and transporters, as in :func:`geodesics`, from given centres to given targets.

    Parameters
    ----------
    surface : GeodesicSurface
        On the CPU.
    centres : int64 Tensor [n]
    target_ptr, target : int64 Tensor [n + 1], [T]
        Vertices that each centre has to reach, connected with it.
    bound : float64 Tensor [T]
        Estimate of the distance of each target, preferably slightly too large: the search is restricted to it unless
        the estimate is too small. Results are independent of it.
    radius : float
        Everything within this distance of a centre is searched too, so that ``nearest`` is exact if no vertex is
        farther from all centres. Equally near (in single precision) is nearest to the centre of lower number.

    Notes
    -----
    ``tests/test_coarsening.py`` compares both implementations, and :func:`geodesics`.
    """
    if is_compiled(torch.device("cpu")):
        logs, nearest, polar = torch.ops.meshconv.geodesic_cells(
            list(surface), centres, target_ptr, target, bound, radius
        )
    else:
        given = (t.numpy() for t in (centres, target_ptr, target))
        parts = geodesic_cells_reference(*(t.numpy() for t in surface), *given, radius=radius)
        logs, nearest, polar = map(torch.from_numpy, parts)
    return GeodesicCells(logs[0], logs[1], logs[2], nearest, polar)
