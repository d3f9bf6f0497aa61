"""Stochastic ascent of the marginal likelihood over orthonormal columns, while the noise is annealed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshconv.lie.likelihood import coordinates, expectation, marginal_log_likelihood
from meshconv.lie.start import invariant_planes

NOISE_FLOOR = 1e-6
"""Smallest variance of the noise, as a share of that of the signals."""
_MEMORY = 0.9
_FINAL_STEPS = 20
_FEW_PAIRS = 10_000
_REPAIRS = 3
_CHANGE = 0.2


def polar_factor(columns: Tensor) -> Tensor:
    """The nearest matrix of orthonormal columns."""
    u, _, v = torch.linalg.svd(columns, full_matrices=False)
    return u @ v


@dataclass(frozen=True)
class Ascent:
    """How the marginal likelihood is climbed.

    Attributes
    ----------
    steps, batch, learning_rate, seed
        Steps of Adam, pairs a step, the first step size (it falls as a cosine), seed of the batches.
    """

    steps: int
    batch: int
    learning_rate: float
    seed: int


def learn_planes(x: Tensor, y: Tensor, num_planes: int, eta: Tensor, how: Ascent) -> tuple[Tensor, Tensor]:
    """Columns and noise from scratch, with repair of planes that are mixtures of true ones.

    A local maximum has planes of one dimension from each of two true ones, and their partners elsewhere. Their norms
    change between x and y, and together they span what true planes span: there the search starts anew, in fewer
    dimensions. A repair that does not raise the likelihood is dropped.

    Parameters
    ----------
    x, y : Tensor [n, dim]
    num_planes
    eta : Tensor [2]
        Prior of every angle.

    Returns
    -------
    columns : Tensor [dim, 2 J]
    noise : Tensor []
        Standard deviation.
    """
    few = x[:_FEW_PAIRS], y[:_FEW_PAIRS]
    prior = eta.expand(num_planes, 2)
    columns = invariant_planes(*few, num_planes)
    columns, noise = learn_columns(x, y, columns, x.square().mean().sqrt(), prior, how)
    best = float(marginal_log_likelihood(*few, columns, noise, prior).mean())
    for _ in range(_REPAIRS):
        good = norm_changes(*(coordinates(p, columns) for p in few)) < _CHANGE
        count = num_planes - int(good.sum())
        kept = columns.unflatten(-1, (-1, 2))[:, good].flatten(1)
        if not count or not good.any():
            break
        rest = torch.linalg.qr(kept, mode="complete").Q[:, kept.shape[1] :]
        inner = x @ rest, y @ rest
        found = invariant_planes(inner[0][:_FEW_PAIRS], inner[1][:_FEW_PAIRS], count)
        found, _ = learn_columns(*inner, found, inner[0].square().mean().sqrt(), prior[:count], how)
        polish = replace(how, learning_rate=how.learning_rate / 4)
        tried, level = learn_columns(x, y, torch.cat([kept, rest @ found], 1), noise, prior, polish)
        value = float(marginal_log_likelihood(*few, tried, level, prior).mean())
        if value <= best:
            break
        columns, noise, best = tried, level, value
    return columns, noise


def norm_changes(u: Tensor, v: Tensor) -> Tensor:
    """Mean square change of the squared norm over its variances, ``[J]``: 0 in a plane that turns, 1/2 in a mixture."""
    before, after = u.square().sum(-1), v.square().sum(-1)
    spread = before.var(0) + after.var(0)
    return (before - after).square().mean(0) / torch.where(spread == 0, 1, spread)


def learn_columns(
    x: Tensor, y: Tensor, columns: Tensor, noise: Tensor, eta: Tensor, how: Ascent
) -> tuple[Tensor, Tensor]:
    """Columns and noise that make the pairs likely.

    Each step follows the gradient in the tangent space of the Stiefel manifold (Adam, cosine schedule) and returns to
    the manifold by the polar factor. The variance of the noise follows expectation maximisation on the batches, from
    that of the signals on: with the final noise from the beginning the likelihood is so steep that planes stay where
    they start.

    Parameters
    ----------
    x, y : Tensor [n, dim]
    columns : Tensor [dim, 2 J]
        To start from.
    noise : Tensor []
        Standard deviation to start from.
    eta : Tensor [J, 2]
        Priors.

    Returns
    -------
    columns : Tensor [dim, 2 J]
    noise : Tensor []
        Standard deviation.
    """
    generator = torch.Generator().manual_seed(how.seed)
    square = noise.square()
    floor = NOISE_FLOOR * x.square().mean()
    columns = columns.clone().requires_grad_()
    optimiser = torch.optim.Adam([columns], lr=how.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: 0.5 * (1 + math.cos(math.pi * t / how.steps)))
    with torch.no_grad():
        for _ in range(how.steps):
            rows = torch.randint(len(x), (min(how.batch, len(x)),), generator=generator)
            gradient, found = expectation(x[rows], y[rows], columns, square, eta)
            overlap = columns.mT @ gradient
            columns.grad = columns @ (overlap + overlap.mT) / 2 - gradient
            optimiser.step()
            schedule.step()
            columns.copy_(polar_factor(columns))
            square = torch.maximum(_MEMORY * square + (1 - _MEMORY) * found, floor)
        columns = columns.detach()
        for _ in range(_FINAL_STEPS):
            square = torch.maximum(expectation(x[:_FEW_PAIRS], y[:_FEW_PAIRS], columns, square, eta)[1], floor)
    return columns, square.sqrt()
