"""Planes to start learning from: those whose norms the pairs leave alone, by linear algebra."""

from __future__ import annotations

import torch
from torch import Tensor

_ITERATIONS = 20
_SMALLEST = 1e-3
_STILL = 0.1


def invariant_planes(x: Tensor, y: Tensor, num_planes: int) -> Tensor:
    """Orthonormal columns ``[dim, 2 J]``, two by two of planes whose norms differ little between ``x`` and ``y``.

    The symmetric forms S with ``x' S x = y' S y`` are spanned by the projections on the planes, and their eigenvectors
    span the planes. One such form is the part of the symmetric cross-covariance that conjugate gradients find in the
    null space of the mean square of the difference; few iterations keep the noise out. Eigenvectors are joined into
    planes where a norm goes over from the one to the other.

    Parameters
    ----------
    x, y : Tensor [n, dim]
    num_planes
        Of them, J, the best.
    """
    moving = moving_directions(x, y, 2 * num_planes)
    x, y = x @ moving, y @ moving
    whitening = _whitening(x, y)
    x, y = x @ whitening, y @ whitening
    cross = x.mT @ y
    form = (cross + cross.mT) / len(x)
    # The identity is invariant and separates nothing; it would bring its own noise along.
    form.diagonal().sub_(form.diagonal().mean())
    form = _nearest_invariant(form, x, y)
    vectors = torch.linalg.eigh(form).eigenvectors
    change = (x @ vectors).square() - (y @ vectors).square()
    spread = change.norm(dim=0)
    spread = torch.where(spread == 0, 1, spread)
    exchange = (change.mT @ change) / (spread[:, None] * spread)
    exchange.fill_diagonal_(torch.inf)
    order: list[int] = []
    for _ in range(num_planes):
        pair = list(divmod(int(exchange.argmin()), len(exchange)))
        order += pair
        exchange[pair] = exchange[:, pair] = torch.inf
    return moving @ vectors[:, order]


def moving_directions(x: Tensor, y: Tensor, count: int) -> Tensor:
    """Orthonormal columns ``[dim, m]``, at least ``count`` of them, without directions that the pairs leave alone.

    Along those the mean square of the difference is small beside that of the signals. In a plane they would hold the
    other direction fast.
    """
    whitening = _whitening(x, y)
    change = (x - y) @ whitening
    values, vectors = torch.linalg.eigh(change.mT @ change)
    still = min(len(values) - count, int((values < _STILL * values[-1]).sum()))
    return torch.linalg.qr(whitening @ vectors[:, :still], mode="complete").Q[:, still:]


def _whitening(x: Tensor, y: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(x.mT @ x + y.mT @ y)
    values = values.clamp(min=_SMALLEST * float(values[-1])) / (2 * len(x))
    return vectors @ (vectors * values.rsqrt()).mT


def _nearest_invariant(form: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``form`` without the parts that tell ``x`` from ``y``, up to what the iterations leave."""

    def gradient(s: Tensor) -> Tensor:
        change = ((x @ s) * x).sum(-1) - ((y @ s) * y).sum(-1)
        return (x.mT @ (change[:, None] * x) - y.mT @ (change[:, None] * y)) / len(x)

    residual = gradient(form)
    direction, square = residual, residual.square().sum()
    first = square
    for _ in range(_ITERATIONS):
        if square <= 1e-20 * first:
            break
        image = gradient(direction)
        step = square / (direction * image).sum()
        form, residual = form - step * direction, residual - step * image
        square, previous = residual.square().sum(), square
        direction = residual + square / previous * direction
    return form
