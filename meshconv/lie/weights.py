"""Integer weights: by how much one angle turns each of the planes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from meshconv.lie.von_mises import CoupledVonMises, modulus

_STRONGEST = 8
_FIRST_PAIRS = 200
_KEPT = 4
_SWEEPS = 4


def integer_weights(eta: Tensor, angles: Tensor | None, max_weight: int) -> Tensor:
    r"""Signed weights :math:`\omega_j` of the one-parameter subgroup that the pairs come from.

    They maximise :math:`\sum_i \sum_j \eta_{ij} \cdot (\cos\omega_j s_i, \sin\omega_j s_i)`, plane by plane in closed
    search over integers. Unknown angles :math:`s_i` are maximised in turns with the weights, from several guesses: the
    angle of each plane (as if its weight were 1), and sums and differences of the angles of two strong planes. Of
    guesses that explain the pairs alike, the one of the shortest code for the weights, 2 log(1 + w) each, and of small
    angles (a prior of concentration 1) is kept: were all pairs turned by 2 pi / 32, the weights 3 w mod 32 would
    explain them as well.

    Parameters
    ----------
    eta : Tensor [n, J, 2]
        Natural parameters of the posteriors of the planes' angles.
    angles : Tensor [n], optional
        Radians, where they are known.
    max_weight
        Bound of the search.

    Returns
    -------
    int64 Tensor [J]
        Up to a common sign where angles are unknown, and without a common factor.
    """
    if angles is not None:
        return _best_weights(eta, angles, max_weight)
    few = eta[:_FIRST_PAIRS]
    first = sorted((_refined(few, guess, max_weight, 1) for guess in _guesses(few)), key=lambda found: -found[0])
    starts = {tuple(weights.tolist()): weights for _, weights in first[:_KEPT]}
    refined = (_refined(eta, _coupled(eta, weights).angle, max_weight, _SWEEPS) for weights in starts.values())
    best = _neighbouring(few, max(refined, key=lambda found: found[0])[1], max_weight)
    return best // max(math.gcd(*best.tolist()), 1)


def _refined(eta: Tensor, angles: Tensor, max_weight: int, sweeps: int) -> tuple[float, Tensor]:
    """Score and weights after sweeps from angles to weights and back."""
    weights = torch.zeros(0)
    coupled: CoupledVonMises | None = None
    for _ in range(sweeps):
        found = _best_weights(eta, angles, max_weight)
        if torch.equal(found, weights):
            break
        weights, coupled = found, _coupled(eta, found)
        angles = coupled.angle
    assert coupled is not None
    return _score(coupled), weights


def _neighbouring(eta: Tensor, weights: Tensor, max_weight: int) -> Tensor:
    """The best weights that single steps of 1 lead to, with angles that adapt to each step.

    Where all pairs have nearly one angle, a weight that is 1 off shifts the angles, and these hold the weight.
    """
    score, improved = _score(_coupled(eta, weights)), True
    while improved:
        improved = False
        for step in torch.cat([torch.eye(len(weights)), -torch.eye(len(weights))]).to(weights.dtype):
            other = weights + step
            value = _score(_coupled(eta, other)) if other.abs().max() <= max_weight else -math.inf
            if value > score:
                weights, score, improved = other, value, True
    return weights


def _score(coupled: CoupledVonMises) -> float:
    code = 2 * torch.log1p(coupled.weights.to(coupled.eta.dtype)).sum()
    return float(coupled.peak.sum() + torch.cos(coupled.angle).sum() - code)


def _coupled(eta: Tensor, weights: Tensor) -> CoupledVonMises:
    """Posterior of the common angle, with planes mirrored so that weights are not negative."""
    sign = torch.where(weights < 0, -1.0, 1.0).to(eta.dtype)
    return CoupledVonMises(eta * torch.stack([torch.ones_like(sign), sign], dim=-1), weights.abs())


def _guesses(eta: Tensor) -> Iterator[Tensor]:
    phase = torch.atan2(eta[..., 1], eta[..., 0])
    yield from phase.unbind(1)
    strong = modulus(eta).mean(0).argsort(descending=True)[:_STRONGEST].tolist()
    for a, b in combinations(strong, 2):
        yield phase[:, a] - phase[:, b]
        yield phase[:, a] + phase[:, b]


def _best_weights(eta: Tensor, angles: Tensor, max_weight: int) -> Tensor:
    order = torch.arange(-max_weight, max_weight + 1)
    turn = angles[:, None] * order
    score = eta[..., 0].mT @ torch.cos(turn) + eta[..., 1].mT @ torch.sin(turn)
    return order[score.argmax(-1)]
