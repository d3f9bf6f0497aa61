"""Measures of probabilities: calibration error, Brier score, entropy, and error against rejected share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meshconv.errors import InputError

Array = NDArray[np.float64]


def calibration_error(
    probabilities: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None, bins: int = 15
) -> float:
    r"""Expected calibration error: :math:`\sum_b |\sum_{i \in b} a_i (y_i - p_i)|`.

    :math:`p_i` is the probability of the most probable class, :math:`y_i` whether it is right, :math:`a_i` the weight,
    with sum 1; b are intervals of :math:`p` of one length.

    Parameters
    ----------
    probabilities : array [N, classes]
    target : int array [N]
    weights : array [N], optional
        Areas; None: all alike.
    bins

    Raises
    ------
    InputError
        Arrays that do not fit, or probabilities that do not add up to 1.

    Examples
    --------
    >>> round(calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 9)
    0.3
    """
    p, target, weights = checked(probabilities, target, weights)
    if bins < 1:
        raise InputError(f"bins {bins} has to be at least 1")
    top = p.max(1)
    gap = weights * ((p.argmax(1) == target) - top)
    return float(np.abs(np.bincount(np.minimum((top * bins).astype(int), bins - 1), gap, bins)).sum())


def brier_score(probabilities: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> float:
    r"""Brier score :math:`\sum_i a_i \sum_c (p_{ic} - y_{ic})^2`, from 0 to 2; arguments as :func:`calibration_error`.

    Examples
    --------
    >>> brier_score([[0.5, 0.5], [1.0, 0.0]], [0, 0])
    0.25
    """
    p, target, weights = checked(probabilities, target, weights)
    return float(weights @ ((p - np.eye(p.shape[1])[target]) ** 2).sum(1))


def log_loss(probabilities: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> float:
    r"""Mean of :math:`-\log p` of the true class; arguments as :func:`calibration_error`."""
    p, target, weights = checked(probabilities, target, weights)
    return float(-weights @ np.log(np.maximum(p[np.arange(len(p)), target], np.finfo(float).tiny)))


def entropy(probabilities: ArrayLike) -> Array:
    r"""Entropy :math:`-\sum_c p_c \log p_c` of the last axis, in nats; NaN stays.

    Examples
    --------
    >>> entropy([[1.0, 0.0], [0.5, 0.5]]).round(3)
    array([0.   , 0.693])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1) + 0.0


def rejection_curve(
    score: ArrayLike, error: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Array, Array]:
    """Mean error of what is left when the most uncertain share is rejected.

    Parameters
    ----------
    score : array [N]
        Uncertainty, by which is rejected.
    error : array [N]
        Such as 1 where a class is wrong, or a square error.
    weights : array [N], optional
        Areas; None: all alike.

    Returns
    -------
    (float64 [N], float64 [N])
        Rejected share, from 0 on, and mean error of the others.

    Examples
    --------
    >>> rejection_curve([0.1, 0.9], [0, 1])
    (array([0. , 0.5]), array([0.5, 0. ]))
    """
    score, error = np.asarray(score, dtype=np.float64), np.asarray(error, dtype=np.float64)
    weights = normalised(weights, len(score))
    order = np.argsort(score, kind="stable")
    kept = np.cumsum(weights[order])
    left = np.cumsum((weights * error)[order]) / kept
    return 1 - kept[::-1] / kept[-1], left[::-1]


def checked(
    probabilities: ArrayLike, target: ArrayLike, weights: ArrayLike | None
) -> tuple[Array, NDArray[np.int64], Array]:
    """Probabilities, targets and weights with sum 1, once they fit."""
    p, target = np.asarray(probabilities, dtype=np.float64), np.asarray(target, dtype=np.int64)
    if p.ndim != 2 or target.shape != p.shape[:1] or not len(p):
        raise InputError(f"probabilities {list(p.shape)} and targets {list(target.shape)}: give [N, classes] and [N]")
    if not np.allclose(p.sum(1), 1, atol=1e-4) or p.min() < 0:
        raise InputError("probabilities: they do not add up to 1; give those of all classes, not logits")
    if target.min() < 0 or target.max() >= p.shape[1]:
        wrong = target.min() if target.min() < 0 else target.max()
        raise InputError(f"target {wrong} is none of {p.shape[1]} classes; leave out what is unknown")
    return p, target, normalised(weights, len(p))


def normalised(weights: ArrayLike | None, count: int) -> Array:
    """Weights with sum 1."""
    if weights is None:
        return np.full(count, 1 / count)
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (count,) or not np.isfinite(w).all() or w.min() < 0 or w.sum() <= 0:
        raise InputError(f"weights {list(w.shape)}: give {count} finite ones, none below 0, not all 0")
    return w / w.sum()
