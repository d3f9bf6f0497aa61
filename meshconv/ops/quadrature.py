r"""Quadrature weights of a point's neighbours by matched moments: compiled, and a reference in numpy.

A sum over neighbours stands for an integral over the disc round the point. Its shares :math:`s_{qb}`, the neighbours'
areas times radial functions, get factors :math:`u_{qb}` near 1 such that moments of the sum are those of the disc,

.. math:: \sum_q u_{qb} s_{qb} t_q^j e^{i n\theta_q} = \delta_{n0} T_{bj}, \qquad j < J, \; 0 \le n \le K + j,

with t the radius over the disc's. Kernels of frequency up to K are then integrated exactly on fields that are
polynomials of degree below J in normal coordinates. The conditions turn with the frame, so the factors do not depend
on the gauge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.ops.backend import BACKEND, is_compiled, register

LEAST, MOST = 0.5, 2.0
"""Shares of the disc's mass between which its neighbours are taken for a sample of all of it."""

ONE_SIDED = 0.5
"""Length of the mean direction of neighbours from which on they are on one side, as at a boundary: there 2 / pi."""

_USED = 0.8
# Of the lowest moments, and of higher ones, over the mean square of the conditions.
_DAMPING = [(1e-9, 10.0**k) for k in range(-9, 3)] + [(10.0**k, max(100.0, 10.0**k)) for k in range(-8, 5)]


def matched_weights(
    ptr: Tensor,
    radius: Tensor,
    angle: Tensor,
    share: Tensor,
    target: Tensor,
    max_frequency: int,
    low: float = -1.0,
    high: float = 5.0,
) -> tuple[Tensor, Tensor]:
    """Factors of the shares of all neighbours, and what they miss.

    The least change of unit factors, in the sum of squares, that meets the conditions, damped (Tikhonov) until all
    factors are within bounds, conditions with j > 0 first: what they miss is an error of first order in the spacing.
    With few neighbours the conditions of the highest j, then of the highest n, are left out. Factors stay 1 where the
    neighbours have less than half or more than twice the disc's mass, or are on one side of the point, as at a
    boundary; and where they are fewer than two.

    Parameters
    ----------
    ptr : int64 [V + 1]
        Neighbours of point v are ``ptr[v]:ptr[v + 1]``.
    radius, angle : float64 [E]
        Over the disc's radius; radians.
    share : float64 [E, B]
        Area times radial function.
    target : float64 [V, B, J]
        Moments of the disc at frequency 0, without the point's own share.
    max_frequency
        K, the highest frequency of the kernels.
    low, high
        Bounds of the factors.

    Returns
    -------
    factor : float64 [E, B]
    residual : float64 [V, B]
        Largest moment that is missed, of all conditions, over the disc's mass; 1 where factors stay 1.

    Notes
    -----
    ``tests/test_quadrature.py`` checks that moments are met, and the order of convergence that follows.
    """
    if is_compiled(ptr.device):
        return torch.ops.meshconv.matched_weights(ptr, radius, angle, share, target, max_frequency, low, high)
    return matched_weights_reference(ptr, radius, angle, share, target, max_frequency, low, high)


def matched_weights_reference(
    ptr: Tensor,
    radius: Tensor,
    angle: Tensor,
    share: Tensor,
    target: Tensor,
    max_frequency: int,
    low: float,
    high: float,
) -> tuple[Tensor, Tensor]:
    """As :func:`matched_weights`, point by point."""
    wanted = conditions(target.shape[2], max_frequency)
    factor, residual = np.ones(share.shape), np.ones((len(ptr) - 1, share.shape[1]))
    arrays = (a.numpy() for a in (radius, angle, share, target))
    r, theta, s, t = arrays
    for v, (first, last) in enumerate(zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)):
        row = slice(first, last)
        for b in range(share.shape[1]):
            mass, ahead = s[row, b].sum(), abs((s[row, b] * np.exp(1j * theta[row])).sum())
            if not (t[v, b, 0] > 0 and LEAST * t[v, b, 0] < mass < MOST * t[v, b, 0] and ahead < ONE_SIDED * mass):
                continue
            a, missing, rows = _system(wanted, r[row], theta[row], s[row, b], t[v, b])
            change = _damped(a[:rows], missing[:rows], 2 * max_frequency + 1, low, high)
            if change is None:
                continue
            factor[row, b] += change
            left = iter(missing - a @ change)
            residual[v, b] = max(abs(next(left)) if n == 0 else np.hypot(next(left), next(left)) for _, n in wanted)
    return torch.from_numpy(factor), torch.from_numpy(residual)


def conditions(moments: int, max_frequency: int) -> list[tuple[int, int]]:
    """Moments j and frequencies n, in the order in which they count."""
    return [(j, n) for j in range(moments) for n in range(max_frequency + j + 1)]


def _system(
    wanted: list[tuple[int, int]],
    radius: NDArray[np.float64],
    angle: NDArray[np.float64],
    share: NDArray[np.float64],
    target: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Rows of all conditions over the mass, what unit factors leave of each, and how many rows are imposed."""
    rows, missing, imposed, full = [], [], 0, False
    most = _USED * int(np.count_nonzero(np.abs(share) > 1e-9 * np.abs(share).max()))
    for j, n in wanted:
        waves = [np.ones_like(angle)] if n == 0 else [np.cos(n * angle), np.sin(n * angle)]
        full = full or imposed + len(waves) > most
        imposed += 0 if full else len(waves)
        for wave in waves:
            rows.append(share / target[0] * radius**j * wave)
            missing.append((target[j] / target[0] if n == 0 else 0) - rows[-1].sum())
    return np.array(rows), np.array(missing), imposed


def _damped(
    a: NDArray[np.float64], missing: NDArray[np.float64], lowest: int, low: float, high: float
) -> NDArray[np.float64] | None:
    gram = a @ a.T
    for damping in _DAMPING if len(a) else ():
        ridge = np.where(np.arange(len(a)) < lowest, *damping) * np.trace(gram) / len(gram)
        change = a.T @ np.linalg.solve(gram + np.diag(ridge), missing)
        if 1 + change.min() >= low and 1 + change.max() <= high:
            return change
    return None


def _fake(ptr: Tensor, radius: Tensor, angle: Tensor, share: Tensor, target: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return share.new_empty(share.shape), share.new_empty(target.shape[:2])


if BACKEND.devices:
    register("matched_weights", _fake)
