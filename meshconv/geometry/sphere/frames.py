"""Closed forms on the unit sphere: polar frames, log map, parallel transport."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def unit_vectors(theta: Array, phi: Array) -> Array:
    """Points ``[V, 3]`` of colatitude ``theta`` and longitude ``phi`` (radians)."""
    s = np.sin(theta)
    return np.stack([s * np.cos(phi), s * np.sin(phi), np.cos(theta)], axis=-1)


def polar_frames(theta: Array, phi: Array) -> Array:
    """Frames ``[V, 3, 3]`` with rows (south, east, outward): right-handed, seen from outside.

    At a pole they are the limits along the meridian ``phi``.
    """
    ct, st, cp, sp = np.cos(theta), np.sin(theta), np.cos(phi), np.sin(phi)
    south = np.stack([ct * cp, ct * sp, -st], axis=-1)
    east = np.stack([-sp, cp, np.zeros_like(sp)], axis=-1)
    return np.stack([south, east, unit_vectors(theta, phi)], axis=1)


def sphere_edges(
    src_points: Array, src_frames: Array, dst_points: Array, dst_frames: Array, src: Index, dst: Index
) -> tuple[Array, Array, Array]:
    r"""Log map and Levi-Civita transporter along great circles, for pairs of points.

    .. math:: \log_p q = \operatorname{atan2}(|q - c p|, c) \frac{q - c p}{|q - c p|}, \qquad c = p \cdot q

    .. math:: P_{q \to p} v = v - \frac{p \cdot v}{1 + c} (p + q)

    Neither needs the arccosine, which loses half the digits near 1.

    Parameters
    ----------
    src_points, dst_points : [V_src, 3], [V_dst, 3]
        Unit vectors.
    src_frames, dst_frames : [V_src, 3, 3], [V_dst, 3, 3]
    src, dst : [E]

    Returns
    -------
    log_radius, log_angle, transporter : [E]
        Radians. Coincident points get radius 0 and angle 0; antipodal ones are an error.

    Raises
    ------
    ValueError
        If a pair is antipodal: the log map is not defined there.
    """
    edges = np.empty((3, len(src)))
    for first in range(0, len(src), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        edges[:, some] = _some_edges(src_points, src_frames, dst_points, dst_frames, src[some], dst[some])
    return edges[0], edges[1], edges[2]


_AT_ONCE = 1 << 16
"""Edges at a time: what is computed on the way stays in cache, and the memory for it small."""


def _some_edges(
    src_points: Array, src_frames: Array, dst_points: Array, dst_frames: Array, src: Index, dst: Index
) -> tuple[Array, Array, Array]:
    p, q = dst_points[dst], src_points[src]
    c = np.einsum("ei,ei->e", p, q)
    if len(c) and c.min() < -1 + 1e-12:
        worst = int(c.argmin())
        raise ValueError(f"points {int(src[worst])} and {int(dst[worst])} are antipodal: no log map")
    tangent = q - c[:, None] * p
    length = np.linalg.norm(tangent, axis=1)
    # Rounding leaves a tangent of some 1e-16 with any direction where the points coincide.
    coincident = length < 1e-15
    tangent[coincident], length[coincident] = 0, 0
    e1, e2 = dst_frames[dst, 0], dst_frames[dst, 1]
    log_angle = np.arctan2(np.einsum("ei,ei->e", tangent, e2), np.einsum("ei,ei->e", tangent, e1))
    v = src_frames[src, 0]
    moved = v - (np.einsum("ei,ei->e", p, v) / (1 + c))[:, None] * (p + q)
    transporter = np.arctan2(np.einsum("ei,ei->e", moved, e2), np.einsum("ei,ei->e", moved, e1))
    return np.arctan2(length, c), log_angle, transporter
