"""Reference of the operator ``geodesics``: the same front in plain Python, points of the plane as complex numbers."""

from __future__ import annotations

import cmath
import heapq
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLACK = 1e-12  # relative: a line through a vertex passes on both sides of it
TIE = 1e-10  # relative difference of lengths that counts as none


def cross(a: complex, b: complex) -> float:
    return a.real * b.imag - a.imag * b.real


def dot(a: complex, b: complex) -> float:
    return a.real * b.real + a.imag * b.imag


def following(h: int) -> int:
    return h - 2 if h % 3 == 2 else h + 1


def preceding(h: int) -> int:
    return h + 2 if h % 3 == 0 else h - 1


@dataclass
class Reached:
    """The best path known to a vertex: its last stretch from ``source``, by a one-ring edge or a straight line.

    A line leaves in the face of half-edge ``start`` and ends at ``end``; ``back`` is the half-edge to its right there,
    which ends at ``back_end``. ``rival`` is a line as short to rounding, as on symmetric meshes.
    """

    distance: float
    source: int
    start: int = -1
    edge: int = -1
    back: int = -1
    end: complex = 0
    back_end: complex = 0
    angle: float = 0.0
    transporter: float = 0.0
    settled: bool = False
    rival: Reached | None = None


@dataclass
class Window:
    """Rays between ``left`` and ``right`` that enter the face of ``half_edge`` through its edge from p1 to p2."""

    half_edge: int
    p1: complex
    p2: complex
    left: complex
    right: complex
    distance: float
    source: int
    start: int


class Front:
    """Shortest paths from ``centre`` in order of their length; see ``csrc/cpu/geodesic_front.h``."""

    def __init__(
        self,
        surface: SimpleNamespace,
        centre: int,
        *,
        rings: int = 0,
        radius: float = math.inf,
        nearest: int = 0,
        targets: set[int] | None = None,
    ):
        self.s, self.limit = surface, radius
        self.reached = {centre: Reached(0.0, centre, settled=True)}
        self.queue: list[tuple[float, int, int]] = []
        self.windows: list[Window] = []
        self.centre, self.members = centre, []
        wanted = self._rings(centre, rings) if rings else targets
        missing = len(wanted) if wanted is not None else nearest or math.inf
        self._relax(centre)
        for h in surface.out[centre]:
            self._emit(centre, h, 0.0, surface.corner[h])
        while missing > 0 and self.queue and self.queue[0][0] <= radius:
            key, is_vertex, name = heapq.heappop(self.queue)
            if not is_vertex:
                self._advance(self.windows[name])
                continue
            r = self.reached[name]
            if r.settled or r.distance < key:
                continue
            r.settled = True
            incoming = self._measure(name, r)
            if wanted is None or name in wanted:
                self.members.append(name)
                missing -= 1
            if missing > 0:
                self._leave(name, incoming)

    def _rings(self, centre: int, rings: int) -> set[int]:
        found, edge = {centre}, [centre]
        for _ in range(rings):
            edge = [u for v in edge for u in self.s.ring_src[self.s.ring_ptr[v] : self.s.ring_ptr[v + 1]]]
            edge = list(set(edge) - found)
            found.update(edge)
        return found - {centre}

    def _distance(self, vertex: int) -> float:
        return self.reached[vertex].distance if vertex in self.reached else math.inf

    def _improve(self, vertex: int, path: Reached) -> None:
        old = self.reached.get(vertex)
        if path.distance > self.limit or (old and old.settled):
            return
        if old and min(old.start, path.start) >= 0 and abs(path.distance - old.distance) <= TIE * path.distance:
            old.rival = old.rival or path
            return
        if old and old.distance <= path.distance:
            return
        self.reached[vertex] = path
        heapq.heappush(self.queue, (path.distance, 1, vertex))

    def _relax(self, vertex: int) -> None:
        distance = self.reached[vertex].distance
        for e in range(self.s.ring_ptr[vertex], self.s.ring_ptr[vertex + 1]):
            self._improve(int(self.s.ring_src[e]), Reached(distance + self.s.ring_radius[e], vertex, edge=e))

    def _direction(self, vertex: int, h: int, turn: float) -> float:
        s = self.s
        if s.kind[vertex]:
            return float(s.scale[vertex] * (s.fan_angle[h] + turn))
        e = s.points[s.origin[following(h)]] - s.points[vertex]
        w = s.points[s.origin[preceding(h)]] - s.points[vertex]
        square = e @ e
        if square > 0:
            w, e = w - (e @ w) / square * e, e / math.sqrt(square)
        height = math.sqrt(w @ w)
        d = s.frames[vertex] @ (math.cos(turn) * e + math.sin(turn) * (w / height if height > 0 else w))
        return math.atan2(d[1], d[0])

    def _measure(self, vertex: int, r: Reached) -> float:
        """Angle and transporter of a final path; of two equally short ones the mean.

        Returns the path's direction at its end, in the fan there, unscaled.
        """
        incoming = self._follow(vertex, r)
        if r.rival:
            self._follow(vertex, r.rival)
            r.angle += math.remainder(r.rival.angle - r.angle, 2 * math.pi) / 2
            r.transporter += math.remainder(r.rival.transporter - r.transporter, 2 * math.pi) / 2
        return incoming

    def _follow(self, vertex: int, r: Reached) -> float:
        s, q = self.s, self.reached[r.source]
        if r.start < 0:
            out, turn = float(s.ring_angle[r.edge]), float(s.ring_transporter[r.edge])
            scaled = math.remainder(out + math.pi - turn, 2 * math.pi)
            if scaled < (-math.pi / 2 if s.kind[vertex] == 2 else 0):
                scaled += 2 * math.pi
            incoming = scaled / s.scale[vertex]
        else:
            to_back = r.back_end - r.end
            inside = math.atan2(cross(to_back, -r.end), dot(to_back, -r.end))
            out = self._direction(r.source, r.start, cmath.phase(r.end))
            turn = out + math.pi - self._direction(vertex, r.back, inside)
            incoming = s.fan_angle[r.back] + inside
        direct = r.source == self.centre
        r.angle = out if direct else q.angle
        r.transporter = turn if direct else turn + q.transporter
        return float(incoming)

    def _leave(self, vertex: int, incoming: float) -> None:
        """Paths go on along the edges and, where a wedge is dark, as straight lines into it."""
        s = self.s
        self._relax(vertex)
        total, kind = s.total[vertex], s.kind[vertex]
        if kind and total <= (math.pi if kind == 2 else 2 * math.pi):
            return
        for h in s.out[vertex]:
            begin, corner = s.fan_angle[h], s.corner[h]
            if kind == 0:
                self._emit(vertex, h, 0.0, corner)
            elif kind == 2:
                self._emit(vertex, h, max(0.0, incoming + math.pi - begin), corner)
                self._emit(vertex, h, 0.0, min(corner, incoming - math.pi - begin))
            else:
                offset = (incoming + math.pi - begin) % total
                self._emit(vertex, h, offset, min(corner, offset + total - 2 * math.pi))
                self._emit(vertex, h, 0.0, min(corner, offset - 2 * math.pi))

    def _emit(self, vertex: int, h: int, low: float, high: float) -> None:
        s = self.s
        entered = int(s.twin[following(h)])
        if not low < high or entered < 0:
            return
        angle = s.corner[h]
        right, left = complex(s.length[h]), cmath.rect(s.length[preceding(h)], angle)
        cone = cmath.rect(1, high) if high < angle else left, cmath.rect(1, low) if low > 0 else right
        self._push(Window(entered, left, right, *cone, self.reached[vertex].distance, vertex, h))

    def _advance(self, w: Window) -> None:
        """Unfold the face behind the window's edge: its third corner takes the cone, or splits it and is reached."""
        s, h = self.s, w.half_edge
        if s.up[h] < 0:
            return
        p3 = w.p1 + complex(s.along[h], s.up[h]) * (w.p2 - w.p1)
        second, third = following(h), preceding(h)
        size = abs(p3.real) + abs(p3.imag)
        from_right, from_left = cross(w.right, p3), cross(p3, w.left)
        passes_right = from_right < -SLACK * size * (abs(w.right.real) + abs(w.right.imag))
        passes_left = from_left < -SLACK * size * (abs(w.left.real) + abs(w.left.imag))
        rest = w.distance, w.source, w.start
        if not passes_right and not passes_left:
            path = Reached(w.distance + abs(p3), w.source, w.start, back=third, end=p3, back_end=w.p1)
            self._improve(int(s.origin[third]), path)
        if not passes_left and s.twin[third] >= 0 and from_left > 0:
            self._push(Window(int(s.twin[third]), w.p1, p3, w.left, w.right if from_right < 0 else p3, *rest))
        if not passes_right and s.twin[second] >= 0 and from_right > 0:
            self._push(Window(int(s.twin[second]), p3, w.p2, w.left if from_left < 0 else p3, w.right, *rest))

    def _push(self, w: Window) -> None:
        """Queue a window by its nearest point, unless the way by an end of the edge is shorter all along it."""
        s, e = self.s, w.p2 - w.p1
        length, across_left, across_right = s.length[w.half_edge], cross(w.left, e), cross(w.right, e)
        a = -cross(w.left, w.p1) / across_left if across_left < 0 else 0.0
        b = -cross(w.right, w.p1) / across_right if across_right < 0 else 1.0
        a = min(max(a, 0.0), 1.0)
        b = min(max(b, a), 1.0)
        start, stop = w.p1 + a * e, w.p1 + b * e
        closest = min(abs(start), abs(stop))
        if dot(start, e) < 0 < dot(stop, e):
            closest = min(closest, abs(cross(w.p1, e)) / length)
        key = w.distance + closest
        v1, v2 = int(s.origin[w.half_edge]), int(s.origin[following(w.half_edge)])
        by_v1 = (self._distance(v1) + b * length) * (1 + 1e-9)
        by_v2 = (self._distance(v2) + (1 - a) * length) * (1 + 1e-9)
        if key > self.limit or w.distance + abs(stop) > by_v1 or w.distance + abs(start) > by_v2:
            return
        if len(self.windows) <= 4096 + 256 * len(self.reached):
            heapq.heappush(self.queue, (key, 0, len(self.windows)))
            self.windows.append(w)


def prepare(
    points: NDArray[Any],
    frames: NDArray[Any],
    origin: NDArray[Any],
    twin: NDArray[Any],
    corner: NDArray[Any],
    fan_angle: NDArray[Any],
    total: NDArray[Any],
    scale: NDArray[Any],
    kind: NDArray[Any],
    ring_ptr: NDArray[Any],
    ring_src: NDArray[Any],
    ring_radius: NDArray[Any],
    ring_angle: NDArray[Any],
    ring_transporter: NDArray[Any],
) -> SimpleNamespace:
    """The surface with what unfolds each face over its edges, and the half-edges that leave each vertex."""
    surface = SimpleNamespace(**locals())
    tip, third = (origin.reshape(-1, 3)[:, order].ravel() for order in ([1, 2, 0], [2, 0, 1]))
    e, w = points[tip] - points[origin], points[third] - points[origin]
    square = (e * e).sum(axis=1)
    safe = np.where(square > 0, square, 1.0)
    along, up = (e * w).sum(axis=1) / safe, np.linalg.norm(np.cross(e, w), axis=1) / safe
    blocked = (square == 0) | (np.abs(along) >= 1e8) | (up >= 1e8)
    surface.along, surface.up, surface.length = along, np.where(blocked, -1.0, up), np.sqrt(square)
    order = np.argsort(origin, kind="stable")
    surface.out = np.split(order, np.cumsum(np.bincount(origin, minlength=len(points)))[:-1])
    return surface


def geodesics_reference(
    *surface_arrays: NDArray[Any], rings: int, radius: float, nearest: int
) -> tuple[NDArray[Any], ...]:
    """What :func:`meshconv.ops.geodesics.geodesics` computes, one vertex after the other."""
    surface = prepare(*surface_arrays)
    ptr, rows = [0], []
    for v in range(len(surface.points)):
        front = Front(surface, v, rings=rings, radius=radius, nearest=nearest)
        for member in sorted(front.members):
            r = front.reached[member]
            turns = (math.remainder(a, 2 * math.pi) for a in (r.angle, r.transporter))
            rows.append((member, r.distance, *turns))
        ptr.append(len(rows))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return np.array(ptr), table[:, 0].astype(np.int64), *(np.ascontiguousarray(c) for c in table[:, 1:].T)
