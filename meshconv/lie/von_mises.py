"""Von Mises distributions over the angles of a torus, and over one angle that turns all planes at their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

LOG_2_PI = math.log(2 * math.pi)
_NEWTON_STEPS = 8


def log_i0(kappa: Tensor) -> Tensor:
    r"""Logarithm of the modified Bessel function :math:`I_0`, for any concentration ``kappa >= 0``.

    :math:`\log I_0(\kappa) = \log(e^{-\kappa} I_0(\kappa)) + \kappa`: the scaled function neither overflows nor
    underflows, where :math:`I_0` itself leaves float32 near 90. The derivative is :func:`bessel_ratio`.

    Examples
    --------
    >>> round(float(log_i0(torch.tensor(1e6, dtype=torch.float64))), 3)
    999992.173
    """
    return torch.log(torch.special.i0e(kappa)) + kappa


def bessel_ratio(kappa: Tensor) -> Tensor:
    r"""Mean resultant length :math:`I_1(\kappa) / I_0(\kappa)` of a von Mises distribution, in [0, 1).

    Examples
    --------
    >>> bessel_ratio(torch.tensor([0.0, 2.0, 1e6], dtype=torch.float64))
    tensor([0.0000, 0.6978, 1.0000], dtype=torch.float64)
    """
    return torch.special.i1e(kappa) / torch.special.i0e(kappa)


def modulus(z: Tensor) -> Tensor:
    """Length of vectors ``[..., 2]``; its gradient at zero is zero, the limit in every even function of it."""
    square = z.square().sum(-1)
    zero = square == 0
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


@dataclass(frozen=True, eq=False)
class VonMises:
    r"""Independent von Mises distributions :math:`p(\varphi) \propto \exp(\eta \cdot (\cos\varphi, \sin\varphi))`.

    Attributes
    ----------
    eta : Tensor [..., 2]
        Natural parameters: the concentration times the unit vector of the mean angle. They add up when densities are
        multiplied.

    Examples
    --------
    >>> VonMises(torch.tensor([0.0, 2.0])).angle
    tensor(1.5708)
    """

    eta: Tensor

    @property
    def angle(self) -> Tensor:
        """Mean, which is the mode: radians ``[...]`` in [-pi, pi]; 0 where the distribution is uniform."""
        return torch.atan2(self.eta[..., 1], self.eta[..., 0])

    @property
    def concentration(self) -> Tensor:
        """Inverse variance of a narrow one, ``[...]``; 0 where the distribution is uniform."""
        return modulus(self.eta)

    @property
    def resultant(self) -> Tensor:
        """Mean of (cos, sin), ``[..., 2]``."""
        length = torch.where(self.concentration == 0, 1, self.concentration)
        return self.eta * (bessel_ratio(self.concentration) / length)[..., None]

    def log_prob(self, angle: Tensor) -> Tensor:
        """Logarithm of the density per radian at ``angle``, broadcast against ``[...]``."""
        height = self.eta[..., 0] * torch.cos(angle) + self.eta[..., 1] * torch.sin(angle)
        return height - log_i0(self.concentration) - LOG_2_PI


@dataclass(frozen=True, eq=False)
class CoupledVonMises:
    r"""Distribution of one angle that turns plane j by ``weights[j]`` times as much.

    .. math:: p(s) \propto \exp\Big(\sum_j \eta_j \cdot (\cos\omega_j s, \sin\omega_j s)\Big)

    The exponent is a trigonometric polynomial, which a fast Fourier transform evaluates on a grid.

    Attributes
    ----------
    eta : Tensor [n, J, 2]
    weights : int64 Tensor [J]
        Not negative.
    """

    eta: Tensor
    weights: Tensor

    @cached_property
    def _coefficients(self) -> Tensor:
        """Of exp(-i k s) in the exponent, whose real part counts: complex ``[n, max weight + 1]``."""
        size = int(self.weights.max()) + 1
        spectrum = torch.zeros(len(self.eta), size, 2, dtype=self.eta.dtype)
        return torch.view_as_complex(spectrum.index_add(1, self.weights, self.eta))

    def _exponent(self, points: int) -> Tensor:
        """On the grid ``2 pi k / points``, ``[n, points]``."""
        return torch.fft.fft(self._coefficients, n=points).real

    @cached_property
    def _steepness(self) -> Tensor:
        """Bound of the curvature of the exponent, ``[n]``."""
        return (modulus(self.eta) * self.weights.square()).sum(-1)

    @cached_property
    def log_normaliser(self) -> Tensor:
        """Logarithm of the mean over a circle of the exponential, ``[n]``.

        The trapezoidal rule on a periodic function converges exponentially; its grid resolves the narrowest peak.
        """
        width = float(self._steepness.max()) ** 0.5
        points = 1 << max(6, math.ceil(math.log2(10 * width + 4 * self._coefficients.shape[1])))
        rows = max(1, (1 << 22) // points)
        parts = [CoupledVonMises(e, self.weights)._exponent(points) for e in self.eta.split(rows)]
        return torch.cat([torch.logsumexp(p, dim=-1) for p in parts]) - math.log(points)

    @cached_property
    def angle(self) -> Tensor:
        """Mode: radians ``[n]`` in [-pi, pi]; the best point of a grid, made exact by Newton's method."""
        points = 1 << math.ceil(math.log2(8 * self._coefficients.shape[1]))
        s = self._exponent(points).argmax(-1).to(self.eta.dtype) * (2 * math.pi / points)
        order = torch.arange(self._coefficients.shape[1], dtype=self.eta.dtype)
        for _ in range(_NEWTON_STEPS):
            terms = self._coefficients * torch.polar(torch.ones_like(order), -order * s[:, None])
            slope, bend = (order * terms.imag).sum(-1), -(order.square() * terms.real).sum(-1)
            step = torch.where(bend < 0, -slope / torch.where(bend < 0, bend, 1), 0)
            s = s + step.clamp(-math.pi / points, math.pi / points)
        return torch.atan2(torch.sin(s), torch.cos(s))

    @property
    def peak(self) -> Tensor:
        """Exponent at the mode, ``[n]``."""
        return self.exponent(self.angle)

    def exponent(self, angle: Tensor) -> Tensor:
        """Exponent at ``angle`` (radians ``[n]``, or ``[..., n]``)."""
        turn = angle[..., None] * self.weights
        return (self.eta[..., 0] * torch.cos(turn) + self.eta[..., 1] * torch.sin(turn)).sum(-1)

    def log_prob(self, angle: Tensor) -> Tensor:
        """Logarithm of the density per radian at ``angle`` (radians ``[n]``, or ``[..., n]``)."""
        return self.exponent(angle) - self.log_normaliser - LOG_2_PI
