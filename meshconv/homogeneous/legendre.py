"""Small transforms as matrix products: Legendre functions by order, then sines and cosines of the longitude.

For many channels of low degree this is several times faster than ducc0, which makes the matrices.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from meshconv.homogeneous.ducc import ducc
from meshconv.inference_mode import outside_inference_mode

MOST = 40
"""Highest lmax of transforms by matrices; memory grows with its cube."""


class DenseTransform:
    """Synthesis of one order on rings of equally many points from longitude 0, and its transpose.

    ``even`` and ``odd`` are ``[m, rings, l]``: with them E makes the real south and the imaginary east component of a
    ring's Fourier coefficients. ``waves`` is ``[points of a ring, 2m + part]``.
    """

    def __init__(self, even: Tensor, odd: Tensor | None, waves: Tensor):
        self.even, self.odd, self.waves = even, odd, waves
        # The part of east in south and of south in east: real and imaginary part, E and B exchanged.
        self.signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=even.dtype, device=even.device)[:, :, None]

    def synthesis(self, c: Tensor) -> Tensor:
        """``[N, l, 2m + part, dim]`` to ``[N, points, dim]``."""
        n, rows, _, dim = c.shape
        parts = c.reshape(n, rows, rows, 2 * dim).permute(2, 1, 0, 3).reshape(rows, rows, -1)
        ring = self.even @ parts
        if self.odd is not None:
            ring += self._exchange(self.odd @ parts, dim, before=False)
        ring = ring.reshape(rows, -1, n, 2 * dim).permute(2, 1, 0, 3).reshape(n, -1, 2 * rows, dim)
        return (self.waves @ ring).reshape(n, -1, dim)

    def adjoint(self, x: Tensor) -> Tensor:
        """``[N, points, dim]`` to ``[N, l, 2m + part, dim]``."""
        n, _, dim = x.shape
        rows, rings = len(self.even), self.even.shape[1]
        ring = self.waves.mT @ x.reshape(n, rings, -1, dim)
        parts = ring.reshape(n, rings, rows, 2 * dim).permute(2, 1, 0, 3).reshape(rows, rings, -1)
        c = self.even.mT @ parts
        if self.odd is not None:
            c += self.odd.mT @ self._exchange(parts, dim, before=True)
        return c.reshape(rows, rows, n, 2 * dim).permute(2, 1, 0, 3).reshape(n, rows, 2 * rows, dim)

    def _exchange(self, values: Tensor, dim: int, before: bool) -> Tensor:
        split = values.unflatten(-1, (-1, 2, 2, dim // 2))
        turned = (split * self.signs).flip(-3, -2) if before else split.flip(-3, -2) * self.signs
        return turned.reshape(values.shape)


def dense(rings: Tensor, lmax: int, order: int, like: Tensor) -> DenseTransform | None:
    """The matrices for rings (rows of colatitude, points, longitude, place) that are alike, if they are small."""
    if lmax > MOST or len(rings) > 2 * MOST:
        return None
    return _dense(rings.cpu().numpy().tobytes(), lmax, order, like.dtype, str(like.device))


@functools.lru_cache(maxsize=64)
def _dense(rings: bytes, lmax: int, order: int, dtype: torch.dtype, device: str) -> DenseTransform | None:
    theta, counts, longitudes, _ = np.frombuffer(rings).reshape(-1, 4).T
    if (counts != counts[0]).any() or longitudes.any():
        return None
    even, odd = legendre_functions(np.ascontiguousarray(theta), lmax, order)
    m = np.arange(lmax + 1)
    angle = 2 * np.pi * (np.arange(int(counts[0]))[:, None] * m % int(counts[0])) / counts[0]
    scale = np.where(m > 0, 2**0.5, 1.0)
    waves = np.stack([scale * np.cos(angle), np.where(m > 0, -scale, 0) * np.sin(angle)], axis=-1)
    with outside_inference_mode():
        tensors = [torch.from_numpy(a).to(device, dtype) for a in (even, odd, waves.reshape(len(angle), -1))]
    return DenseTransform(tensors[0], tensors[1] if order else None, tensors[2])


def legendre_functions(theta: np.ndarray, lmax: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Fourier coefficients of a ring for a unit of E at (l, m): south (real) and east (imaginary), ``[m, ring, l]``."""
    rows, components = lmax + 1, 2 if order else 1
    m = np.arange(rows, dtype=np.uint64)
    even, odd = np.zeros((2, rows, len(theta), rows))
    for degree in range(order, rows):
        alm = np.zeros((components, rows * rows), dtype=np.complex128)
        alm[0, degree * rows : degree * rows + degree + 1] = 1
        ring = ducc().sht.alm2leg(alm=alm, lmax=lmax, spin=order, theta=theta, mval=m, mstart=m, lstride=rows)
        even[:, :, degree] = ring[0].real.T
        odd[:, :, degree] = ring[-1].imag.T
    return even, odd
