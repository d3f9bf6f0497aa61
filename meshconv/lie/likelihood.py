"""What a pair of signals says about the planes that turn one into the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meshconv.lie.von_mises import VonMises, log_i0, modulus


def coordinates(x: Tensor, columns: Tensor) -> Tensor:
    """Coordinates ``[n, J, 2]`` of signals ``[n, dim]`` in the planes of ``columns`` ``[dim, 2 J]``."""
    return (x @ columns).unflatten(-1, (-1, 2))


def turned(u: Tensor, angle: Tensor) -> Tensor:
    """Vectors ``[..., 2]`` turned counter-clockwise by ``angle`` ``[...]``."""
    c, s = torch.cos(angle), torch.sin(angle)
    return torch.stack([c * u[..., 0] - s * u[..., 1], s * u[..., 0] + c * u[..., 1]], dim=-1)


def products(u: Tensor, v: Tensor) -> Tensor:
    """Inner and cross product of plane vectors, ``[..., 2]``: lengths multiply, the angle is from ``u`` to ``v``."""
    inner = (u * v).sum(-1)
    return torch.stack([inner, u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]], dim=-1)


def marginal_log_likelihood(x: Tensor, y: Tensor, columns: Tensor, noise: Tensor, eta: Tensor) -> Tensor:
    r"""Logarithm of the density of ``y`` given ``x``, with the angles of all planes integrated out.

    With u, v the coordinates of x, y in a plane, :math:`z_j = (u_j \cdot v_j, u_j \times v_j)` and the identity outside
    of the planes, the model :math:`y = W R(\varphi) W^T x + x_\perp + \sigma\epsilon` has

    .. math:: \log p(y \mid x) = -\tfrac D2 \log 2\pi\sigma^2
        - \frac{|x|^2 + |y|^2 - 2 x_\perp \cdot y_\perp}{2\sigma^2}
        + \sum_j \log I_0(|\eta_j + z_j / \sigma^2|) - \log I_0(|\eta_j|)

    Parameters
    ----------
    x, y : Tensor [n, dim]
    columns : Tensor [dim, 2 J]
        Orthonormal; columns 2 j and 2 j + 1 span plane j.
    noise : Tensor []
        Standard deviation sigma.
    eta : Tensor [J, 2]
        Natural parameters of the von Mises priors; zero for uniform ones.

    Returns
    -------
    Tensor [n]
        Differentiable in all arguments.
    """
    z = products(coordinates(x, columns), coordinates(y, columns))
    square, outside = noise.square(), (x * y).sum(-1) - z[..., 0].sum(-1)
    gaussian = 0.5 * x.shape[-1] * torch.log(2 * math.pi * square)
    gaussian = gaussian + (0.5 * (x.square() + y.square()).sum(-1) - outside) / square
    planes = log_i0(modulus(eta + z / square)) - log_i0(modulus(eta))
    return planes.sum(-1) - gaussian


def expectation(x: Tensor, y: Tensor, columns: Tensor, square: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
    r"""One step of expectation: the gradient by the columns, and the variance of the noise that is best for them.

    By Fisher's identity the gradient of :func:`marginal_log_likelihood` is that of the expected
    :math:`\sum_j (r_j - (1, 0)) \cdot z_j / \sigma^2`, with the posterior means r of (cos, sin) held fixed: two Bessel
    functions give both results. ``square`` is the present variance of the noise.

    Returns
    -------
    gradient : Tensor [dim, 2 J]
        Of the mean over pairs, times ``square``, so that its size stays while the noise shrinks.
    square : Tensor []
        The expected squared error per dimension.
    """
    u, v = coordinates(x, columns), coordinates(y, columns)
    z = products(u, v)
    mean = VonMises(eta + z / square).resultant
    inner, cross = (mean[..., :1] - 1) / len(x), mean[..., 1:] / len(x)
    by_u = inner * v + cross * torch.stack([v[..., 1], -v[..., 0]], dim=-1)
    by_v = inner * u + cross * torch.stack([-u[..., 1], u[..., 0]], dim=-1)
    outside = (x * y).sum() - z[..., 0].sum()
    error = x.square().sum() + y.square().sum() - 2 * outside - 2 * (z * mean).sum()
    return x.mT @ by_u.flatten(1) + y.mT @ by_v.flatten(1), error / x.numel()
