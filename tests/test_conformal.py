"""Conformal thresholds: coverage on exchangeable data within its binomial error, per point and per surface."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meshconv import InputError
from meshconv.uncertainty import conformal_threshold, prediction_sets


def binomial(level: float, trials: int) -> float:
    """Four standard errors of a share of ``level`` among independent trials."""
    return 4 * math.sqrt(level * (1 - level) / trials)


@pytest.mark.parametrize(("count", "level"), [(9, 0.9), (20, 0.9), (50, 0.8), (19, 0.95)])
def test_one_point_a_surface_has_the_exact_coverage_of_split_conformal_prediction(count, level):
    rng, trials = np.random.default_rng(0), 4000
    scores = rng.standard_cauchy(size=(trials, count + 1))
    held = [new <= conformal_threshold(old, level) for *old, new in scores]
    exact = math.ceil((count + 1) * level - 1e-9) / (count + 1)
    assert exact >= level
    assert abs(np.mean(held) - exact) < binomial(exact, trials)


def surfaces(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of surfaces with a level of their own, of different sizes, with areas that go with the scores."""
    number = np.repeat(np.arange(count), rng.integers(2, 40, count))
    scores = rng.normal(size=count)[number] + 0.5 * rng.normal(size=len(number))
    return scores, number, np.exp(scores + rng.normal(size=len(number)))


def test_points_of_a_new_surface_are_covered_by_area():
    rng, trials, level = np.random.default_rng(1), 1500, 0.8
    held, as_points = [], []
    for _ in range(trials):
        scores, number, areas = surfaces(rng, 13)
        new = number == 12
        drawn = rng.choice(scores[new], p=areas[new] / areas[new].sum())
        held.append(drawn <= conformal_threshold(scores[~new], level, number[~new], areas[~new]))
        as_points.append(drawn <= conformal_threshold(scores[~new], level))
    assert level - binomial(level, trials) < np.mean(held) < level + 2 / 13 + binomial(level, trials)
    assert np.mean(as_points) < level - binomial(level, trials)  # the control: points of a surface are no draws


def test_of_a_new_surface_the_share_is_covered():
    rng, trials, level, share = np.random.default_rng(2), 1500, 0.8, 0.7
    held = []
    for _ in range(trials):
        scores, number, areas = surfaces(rng, 15)
        new = number == 14
        threshold = conformal_threshold(scores[~new], level, number[~new], areas[~new], share)
        inside = areas[new][scores[new] <= threshold].sum()
        held.append(inside >= share * areas[new].sum() * (1 - 1e-12))
    exact = math.ceil(15 * level) / 15
    assert abs(np.mean(held) - exact) < binomial(exact, trials)


def test_sets_hold_the_scores_up_to_the_threshold_and_are_never_empty():
    p = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [np.nan] * 3])
    np.testing.assert_array_equal(prediction_sets(p, 0.7), [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(prediction_sets(p, 0.0), [[1, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert prediction_sets(p[:2], 1.0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scores": range(8)}, "at least 9 calibration points, there are 8"),
        ({"scores": range(40), "surface": [0, 1, 2, 3] * 10}, "at least 9 calibration surfaces, there are 4"),
        ({"scores": range(20), "level": 1.0}, "level 1.0 is not between 0 and 1"),
        ({"scores": range(20), "share": 0.0}, "share 0.0 is not between"),
        ({"scores": [float("nan")] * 20}, "not finite"),
        ({"scores": range(20), "weights": [0.0] * 20}, "weights"),
        ({"scores": range(20), "weights": [0.0] + [1.0] * 19}, "no area"),
    ],
)
def test_bad_input_is_one_line(options, said):
    with pytest.raises(InputError, match=said) as error:
        conformal_threshold(**options)
    assert "\n" not in str(error.value)
