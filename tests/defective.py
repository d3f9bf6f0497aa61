"""One way of damaging a mesh each, to be used alone and in pairs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from meshes import icosphere, moebius

from meshconv import TriangleMesh

Arrays = tuple[np.ndarray, np.ndarray]


def _join(v: np.ndarray, f: np.ndarray, other_v: np.ndarray, other_f: np.ndarray) -> Arrays:
    return np.vstack([v, other_v]), np.vstack([f, other_f + len(v)])


def repeated_corner(v: np.ndarray, f: np.ndarray) -> Arrays:
    return v, np.vstack([f, [[f[0, 0], f[0, 0], f[0, 1]]]])


def duplicate(v: np.ndarray, f: np.ndarray) -> Arrays:
    return v, np.vstack([f, f[3:4], np.roll(f[4:5], 1, axis=1)])


def duplicate_turned(v: np.ndarray, f: np.ndarray) -> Arrays:
    return v, np.vstack([f, f[6:7, ::-1]])


def flap(v: np.ndarray, f: np.ndarray) -> Arrays:
    """Two faces on the same three vertices hang on an edge."""
    a, b, n = f[36, 0], f[36, 1], len(v)
    return np.vstack([v, [[-3.0, 2, 2]]]), np.vstack([f, [[a, b, n], [b, a, n]]])


def zero_edge(v: np.ndarray, f: np.ndarray) -> Arrays:
    v = v.copy()
    v[f[10, 1]] = v[f[10, 0]]
    return v, f


def flat_face(v: np.ndarray, f: np.ndarray) -> Arrays:
    """A T-junction, closed by a face without area: manifold, but one face lies on a line."""
    a, b, c = f[14]
    m = len(v)
    others = np.delete(f, 14, axis=0)
    return np.vstack([v, [(v[a] + v[b]) / 2]]), np.vstack([others, [[a, m, c], [m, b, c], [a, b, m]]])


def t_junction(v: np.ndarray, f: np.ndarray) -> Arrays:
    """A face is cut in four, its neighbours are not."""
    a, b, c = f[16]
    ab, bc, ca = range(len(v), len(v) + 3)
    four = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    return np.vstack([v, (v[[a, b, c]] + v[[b, c, a]]) / 2]), np.vstack([np.delete(f, 16, axis=0), four])


def fin(v: np.ndarray, f: np.ndarray) -> Arrays:
    return np.vstack([v, [[3.0, 3, 3]]]), np.vstack([f, [[f[20, 0], f[20, 1], len(v)]]])


def bow_tie(v: np.ndarray, f: np.ndarray) -> Arrays:
    """A tetrahedron stands on a vertex."""
    tip = v[f[24, 0]]
    n = len(v)
    more = tip + np.array([[2.0, 0, 0.1], [2, 1, 0.2], [2.5, 0.3, 1]])
    i = f[24, 0]
    return np.vstack([v, more]), np.vstack([f, [[i, n + 1, n], [i, n + 2, n + 1], [i, n, n + 2], [n, n + 1, n + 2]]])


def isolated(v: np.ndarray, f: np.ndarray) -> Arrays:
    return np.vstack([[[9.0, 9, 9]], v, [[5, 5, 5]]]), f + 1


def turned(v: np.ndarray, f: np.ndarray) -> Arrays:
    f = f.copy()
    f[30:33] = f[30:33, ::-1]
    return v, f


def seam(v: np.ndarray, f: np.ndarray) -> Arrays:
    """The faces on one side of a curve have vertices of their own, as at the border of a texture."""
    f = f.copy()
    side = v[f].mean(axis=1)[:, 2] > 0.25
    own = np.intersect1d(f[side], f[~side])
    number = np.arange(len(v))
    number[own] = len(v) + np.arange(len(own))
    f[side] = number[f[side]]
    return np.vstack([v, v[own]]), f


def moebius_strip(v: np.ndarray, f: np.ndarray) -> Arrays:
    strip = moebius()
    return _join(v, f, strip.vertices + 8, strip.faces)


def sliver(v: np.ndarray, f: np.ndarray) -> Arrays:
    v = v.copy()
    v[f[40, 2]] = 0.5 * (v[f[40, 0]] + v[f[40, 1]]) + 1e-9
    return v, f


def hole(v: np.ndarray, f: np.ndarray) -> Arrays:
    return v, np.delete(f, [50, 60], axis=0)


def double_skin(v: np.ndarray, f: np.ndarray) -> Arrays:
    return _join(v, f, v, f)


def soup(v: np.ndarray, f: np.ndarray) -> Arrays:
    return v, np.vstack([f, np.random.default_rng(0).integers(0, len(v), (40, 3))])


DAMAGES: dict[str, Callable[[np.ndarray, np.ndarray], Arrays]] = {
    d.__name__: d
    for d in (
        repeated_corner, duplicate, duplicate_turned, flap, zero_edge, flat_face, t_junction, fin, bow_tie, isolated,
        turned, seam, moebius_strip, sliver, hole, double_skin, soup,
    )
}  # fmt: skip


def damaged(names: str) -> TriangleMesh:
    """A sphere of 80 faces with the damages that ``"one+other"`` names, one after the other."""
    sphere = icosphere(1)
    v, f = sphere.vertices, np.asarray(sphere.faces)
    for name in names.split("+"):
        v, f = DAMAGES[name](v, f)
    return TriangleMesh(v, f, names)


ALL = [*DAMAGES, *("+".join(pair) for pair in combinations(DAMAGES, 2))]
