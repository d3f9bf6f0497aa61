"""Stochastic ascent of the marginal likelihood over orthonormal columns, while the noise is annealed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meshconv.lie.likelihood import expectation

NOISE_FLOOR = 1e-6
"""Smallest variance of the noise, as a share of that of the signals."""
_MEMORY = 0.9
_FINAL_STEPS = 20
_FINAL_PAIRS = 5_000


def polar_factor(columns: Tensor) -> Tensor:
    """The nearest matrix of orthonormal columns."""
    u, _, v = torch.linalg.svd(columns, full_matrices=False)
    return u @ v


def learn_columns(
    x: Tensor, y: Tensor, columns: Tensor, eta: Tensor, *, steps: int, batch: int, learning_rate: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Columns and noise that make the pairs likely.

    Each step follows the gradient in the tangent space of the Stiefel manifold (Adam, cosine schedule) and returns to
    the manifold by the polar factor. The variance of the noise starts at that of the signals and follows expectation
    maximisation on the batches: with the final noise from the beginning the likelihood is so steep that planes stay
    where they start.

    Parameters
    ----------
    x, y : Tensor [n, dim]
    columns : Tensor [dim, 2 J]
        To start from.
    eta : Tensor [J, 2]
        Priors.

    Returns
    -------
    columns : Tensor [dim, 2 J]
    noise : Tensor []
        Standard deviation.
    """
    generator = torch.Generator().manual_seed(seed)
    square = x.square().mean()
    floor = NOISE_FLOOR * square
    columns = columns.clone().requires_grad_()
    optimiser = torch.optim.Adam([columns], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: 0.5 * (1 + math.cos(math.pi * t / steps)))
    with torch.no_grad():
        for _ in range(steps):
            rows = torch.randint(len(x), (min(batch, len(x)),), generator=generator)
            gradient, found = expectation(x[rows], y[rows], columns, square, eta)
            overlap = columns.mT @ gradient
            columns.grad = columns @ (overlap + overlap.mT) / 2 - gradient
            optimiser.step()
            schedule.step()
            columns.copy_(polar_factor(columns))
            square = torch.maximum(_MEMORY * square + (1 - _MEMORY) * found, floor)
        columns = columns.detach()
        for _ in range(_FINAL_STEPS):
            square = torch.maximum(expectation(x[:_FINAL_PAIRS], y[:_FINAL_PAIRS], columns, square, eta)[1], floor)
    return columns, square.sqrt()
