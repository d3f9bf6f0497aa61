"""Rotations of the sphere: of coefficients, and of the fields that they stand for."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from meshconv.errors import InputError
from meshconv.homogeneous.ducc import ducc


def euler_angles(rotation: ArrayLike) -> tuple[float, float, float]:
    r"""Angles (a, b, c) of :math:`R = R_z(a) R_y(b) R_z(c)`, radians, for a rotation matrix ``[3, 3]``."""
    r = np.asarray(rotation, dtype=np.float64)
    if r.shape != (3, 3) or np.abs(r @ r.T - np.eye(3)).max() > 1e-8 or np.linalg.det(r) < 0:
        raise InputError(f"{r.tolist()} is no rotation; give an orthogonal matrix [3, 3] of determinant 1")
    tilt = math.atan2(math.hypot(r[0, 2], r[1, 2]), r[2, 2])
    if math.hypot(r[0, 2], r[1, 2]) > 1e-12:
        return math.atan2(r[1, 2], r[0, 2]), tilt, math.atan2(r[2, 1], -r[2, 0])
    # About the z axis, before or after a half turn about the y axis: only one angle remains.
    sign = 1.0 if r[2, 2] > 0 else -1.0
    return math.atan2(sign * r[1, 0], sign * r[0, 0]), 0.0 if sign > 0 else math.pi, 0.0


def rotate_coefficients(coefficients: Tensor, rotation: ArrayLike) -> Tensor:
    r"""Coefficients of the turned fields, by Wigner matrices: :math:`(Rf)(p) = R \, f(R^{-1} p)`.

    E and B of all orders turn as coefficients of scalars do. An orthogonal map, without interpolation.

    Parameters
    ----------
    coefficients : Tensor [..., lmax + 1, 2 lmax + 2, dim]
        As of :meth:`SphereTransform.analysis`; not differentiable here.
    rotation : [3, 3]
        Rotation matrix.

    Examples
    --------
    >>> from meshconv.homogeneous import SphereTransform
    >>> from scipy.spatial.transform import Rotation
    >>> c = SphereTransform(4).random("1x0 + 1x1")
    >>> turned = rotate_coefficients(c, Rotation.random(random_state=0).as_matrix())
    >>> torch.allclose(turned.square().sum(), c.square().sum())
    True
    """
    a, b, c = euler_angles(rotation)
    rows = coefficients.shape[-3]
    alm = to_alm(coefficients.detach().double()).numpy()
    flat = alm.reshape(-1, alm.shape[-1])
    turned = [
        ducc().sht.rotate_alm(alm=np.ascontiguousarray(one), lmax=rows - 1, psi=c, theta=b, phi=a) for one in flat
    ]  # fmt: skip
    stacked = np.stack(turned).reshape(alm.shape) if turned else alm
    return from_alm(torch.from_numpy(stacked)).to(coefficients)


def to_alm(coefficients: Tensor) -> Tensor:
    r"""Complex :math:`a_{lm}` ``[..., dim, (lmax + 1)(lmax + 2) / 2]`` in the order of healpy and ducc0, m outer.

    Real columns 2m and 2m + 1 of m > 0 are their real and imaginary part times :math:`\sqrt 2`.
    """
    rows = coefficients.shape[-3]
    parts = coefficients.cpu().unflatten(-2, (rows, 2)).movedim(-1, -4)  # [..., dim, l, m, 2]
    alm = torch.view_as_complex(parts.contiguous())
    degree, order = _triangle(rows)
    return alm[..., degree, order] * torch.where(order > 0, 0.5, 1.0).to(coefficients.dtype).sqrt()


def from_alm(alm: Tensor) -> Tensor:
    """The inverse of :func:`to_alm`."""
    rows = round((math.sqrt(1 + 8 * alm.shape[-1]) - 1) / 2)
    if rows * (rows + 1) // 2 != alm.shape[-1]:
        raise InputError(f"{alm.shape[-1]} coefficients are not (lmax + 1)(lmax + 2) / 2 for any lmax; give all m >= 0")
    degree, order = _triangle(rows)
    square = alm.new_zeros(*alm.shape[:-1], rows, rows)
    square[..., degree, order] = alm * torch.where(order > 0, 2.0, 1.0).to(alm.real.dtype).sqrt()
    real = torch.view_as_real(square)
    real[..., 0, 1] = 0
    return real.flatten(-2).movedim(-3, -1).contiguous()


def _triangle(rows: int) -> tuple[Tensor, Tensor]:
    """Degree and order of the coefficients, m outer."""
    order, degree = torch.triu_indices(rows, rows)
    return degree, order
