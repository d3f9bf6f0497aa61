"""Split conformal prediction on surfaces: thresholds of finite-sample validity, and sets of classes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meshconv.errors import InputError
from meshconv.uncertainty.measures import normalised


def conformal_threshold(
    scores: ArrayLike,
    level: float = 0.9,
    surface: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    share: float | None = None,
) -> float:
    r"""The smallest score q whose sets :math:`\{y : s(y) \le q\}` hold the truth with probability ``level``.

    .. math:: q = \min \{ q : \tfrac{1}{K + 1} \sum_{k=1}^K F_k(q) \ge \mathrm{level} \}

    :math:`F_k(q)` is the share of the area of surface k with scores up to q: K surfaces and a new one are
    exchangeable, the points of one surface are not. Then a point of the new surface, drawn by area, is covered with at
    least this probability. With one point a surface it is split conformal prediction, the
    :math:`\lceil (K + 1) \, \mathrm{level} \rceil`-th smallest score.

    Parameters
    ----------
    scores : array [N]
        Of the true values: the larger the stranger.
    level
        Probability, between 0 and 1.
    surface : int array [N], optional
        Number of each point's surface; None: each point is one.
    weights : array [N], optional
        Areas; None: all alike.
    share
        Sets for whole surfaces: with probability ``level`` at least this share of a new surface's area is covered. The
        score of a surface is then its ``share``-quantile.

    Raises
    ------
    InputError
        Fewer surfaces than ``level`` needs, at least level / (1 - level); with both numbers.

    References
    ----------
    Lee, Barber, Willett, "Distribution-free inference with hierarchical data", 2023.

    Notes
    -----
    ``tests/test_conformal.py`` checks coverage on exchangeable data within its binomial error.

    Examples
    --------
    >>> conformal_threshold(range(1, 20), level=0.9)
    18.0
    """
    scores = np.asarray(scores, dtype=np.float64)
    for name, value in (("level", level), ("share", share)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"{name} {value} is not between 0 and 1; write 0.9 for nine in ten")
    number = np.arange(len(scores)) if surface is None else np.unique(surface, return_inverse=True)[1]
    count = int(number.max()) + 1 if len(number) else 0
    needed = math.ceil(level / (1 - level) - 1e-9)
    if count < needed:
        what = "points" if surface is None else "surfaces"
        raise InputError(f"sets of level {level:g} need at least {needed} calibration {what}, there are {count}; give "
                         "more data or a lower level")  # fmt: skip
    if not np.isfinite(scores).all():
        raise InputError("scores: some are not finite; leave out what is unknown")
    mass = normalised(weights, len(scores))
    of_surface = np.bincount(number, mass, count)
    if (of_surface <= 0).any():
        raise InputError("weights: a surface has no area; leave it out")
    mass = mass / of_surface[number]
    if share is not None:
        scores = np.array([_quantile(scores[number == k], mass[number == k], share) for k in range(count)])
        mass = np.ones(count)
    return _quantile(scores, mass / (count + 1), level)


def prediction_sets(probabilities: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Sets of classes: those with ``1 - p`` up to the threshold, and always the most probable one.

    Parameters
    ----------
    probabilities : array [..., classes]
        Where they are NaN the set is empty.
    threshold
        Of the scores ``1 - p`` of the true classes (:func:`conformal_threshold`).

    Returns
    -------
    bool array [..., classes]

    References
    ----------
    Sadinle, Lei, Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", 2019.

    Examples
    --------
    >>> prediction_sets([[0.6, 0.3, 0.1]], 0.75)
    array([[ True,  True, False]])
    """
    p = np.asarray(probabilities)
    return (1 - p <= threshold) | (p == p.max(-1, keepdims=True))


def _quantile(values: NDArray[np.float64], mass: NDArray[np.float64], level: float) -> float:
    """The smallest value below or at which there is a mass of ``level``."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(mass[order]) >= level - 1e-12
    return float(values[order][int(reached.argmax()) if reached.any() else -1])
