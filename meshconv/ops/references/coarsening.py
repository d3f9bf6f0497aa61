"""References of the operators ``farthest_points`` and ``geodesic_cells``, in plain Python."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.ops.references.geodesics import Front, following, preceding, prepare


class Sampling:
    """Farthest point sampling; see ``csrc/cpu/farthest_points.h``."""

    def __init__(self, surface: SimpleNamespace, rank: NDArray[Any]):
        self.s, self.rank = surface, rank
        self.distance = np.full(len(surface.points), np.inf)
        self.cell = np.full(len(surface.points), -1, dtype=np.int64)
        self.points: list[int] = []

    def _farthest(self, among: NDArray[Any]) -> int:
        far = self.distance[among].astype(np.float32)
        best = among[far == far.max()]
        return int(best[self.rank[best].argmin()])

    def add(self) -> None:
        v = self._farthest(np.setdiff1d(np.arange(len(self.distance)), self.points))
        if self.distance[v] == np.inf:
            reached = np.array(sorted(self._march(v, -1)))
            v = self._farthest(reached)
            self.distance[reached] = np.inf
        self._march(v, len(self.points))
        self.points.append(v)

    def _march(self, source: int, cell: int) -> set[int]:
        """Every vertex that ``source`` is nearer to than any point before."""
        s, done = self.s, set()
        run = {source: 0.0}
        queue = [(0.0, source)]

        def improve(v: int, distance: float) -> None:
            nearer = np.float32(distance) < np.float32(self.distance[v])
            if v not in done and nearer and distance < run.get(v, math.inf):
                run[v] = distance
                heapq.heappush(queue, (distance, v))

        def unfold(h: int) -> None:
            i, j = int(s.origin[h]), int(s.origin[following(h)])
            if s.up[h] < 0 or not (i in done and j in done):
                return
            length = s.length[h]
            x = (run[i] ** 2 - run[j] ** 2 + length**2) / (2 * length)
            y = math.sqrt(max(run[i] ** 2 - x * x, 0.0))
            third_x, third_y = s.along[h] * length, s.up[h] * length
            if 0 <= x * third_y + third_x * y <= length * (y + third_y):
                improve(int(s.origin[preceding(h)]), math.hypot(third_x - x, third_y + y))

        while queue:
            _, v = heapq.heappop(queue)
            if v in done:
                continue
            done.add(v)
            self.distance[v], self.cell[v] = run[v], cell
            for e in range(s.ring_ptr[v], s.ring_ptr[v + 1]):
                improve(int(s.ring_src[e]), run[v] + float(s.ring_radius[e]))
            for h in s.out[v]:
                unfold(int(h))
                unfold(preceding(int(h)))
        return done


def farthest_points_reference(
    *surface_arrays: NDArray[Any], rank: NDArray[Any], counts: Sequence[int]
) -> tuple[NDArray[Any], ...]:
    """Reference of :func:`meshconv.ops.geodesics.farthest_points`."""
    sampling = Sampling(prepare(*surface_arrays), rank)
    distance = np.full((len(counts), len(rank)), np.inf)
    cell = np.full((len(counts), len(rank)), -1, dtype=np.int64)
    for n in range(max(counts, default=0) + 1):
        if n > 0:
            sampling.add()
        for k, count in enumerate(counts):
            if count == n:
                distance[k], cell[k] = sampling.distance, sampling.cell
    return np.array(sampling.points, dtype=np.int64), distance, cell


def geodesic_cells_reference(*arrays: NDArray[Any], radius: float) -> tuple[NDArray[Any], ...]:
    """Reference of :func:`meshconv.ops.geodesics.geodesic_cells`, with the arrays of the surface as arguments.

    Targets and ball are each searched by a front of their own that leaves nothing aside.
    """
    *surface_arrays, centres, target_ptr, target = arrays
    surface = prepare(*surface_arrays)
    logs = np.zeros((3, len(target)))
    nearest, polar = np.full(len(surface.points), -1), np.zeros((3, len(surface.points)))

    def coordinates(front: Front, v: int) -> tuple[float, float, float]:
        r = front.reached[v]
        return r.distance, math.remainder(r.angle, 2 * math.pi), math.remainder(r.transporter, 2 * math.pi)

    for c, centre in enumerate(centres.tolist()):
        rows = range(target_ptr[c], target_ptr[c + 1])
        wanted = {int(target[k]) for k in rows}
        front, ball = Front(surface, centre, targets=wanted - {centre}), Front(surface, centre, radius=radius)
        if not all(v in front.reached and front.reached[v].settled for v in wanted):
            raise RuntimeError(f"geodesic_cells: not all targets of centre {c} are connected with it")
        for k in rows:
            logs[:, k] = coordinates(front, int(target[k]))
        for v in {centre, *wanted, *ball.members}:
            seen = coordinates(front if v in wanted else ball, v)
            if nearest[v] < 0 or np.float32(seen[0]) < np.float32(polar[0, v]):
                nearest[v], polar[:, v] = c, seen
    return logs, nearest, polar
