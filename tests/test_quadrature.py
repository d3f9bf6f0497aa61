"""Quadrature by matched moments: conditions met, within bounds, whatever the gauge; compiled against reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from meshconv.ops import matched_weights
from meshconv.ops.quadrature import conditions, matched_weights_reference

MOMENTS = 2
FREQUENCY = 4


def bumps(t: Tensor) -> Tensor:
    return torch.stack([(1 - t**2) ** 2, (1 - t**2) ** 2 * t], dim=1)


def disc_moments(moments: int) -> Tensor:
    """2 pi int_0^1 R_b(t) t^j t dt in closed form: int t^p (1 - t^2)^2 = 1/(p+1) - 2/(p+3) + 1/(p+5)."""
    power = torch.arange(moments)[None] + torch.arange(2)[:, None] + 1.0
    return 2 * math.pi * (1 / (power + 1) - 2 / (power + 3) + 1 / (power + 5)).double()


def scattered(seed: int, points: int = 40, count: int = 34) -> tuple[Tensor, ...]:
    """Random points of the unit disc by cells of about one area: neighbours of a few points, and their shares."""
    rng = np.random.default_rng(seed)
    radius, angle, area = [], [], []
    for _ in range(points):
        grid = np.stack(np.meshgrid(*2 * [np.arange(-4, 5)]), -1).reshape(-1, 2) + rng.uniform(-0.3, 0.3, (81, 2))
        grid = grid[np.linalg.norm(grid, axis=1).argsort()][1 : count + 1] / 3.4
        radius.append(np.linalg.norm(grid, axis=1).clip(max=1))
        angle.append(np.arctan2(grid[:, 1], grid[:, 0]))
        area.append(rng.uniform(0.8, 1.2, count) / 3.4**2)
    r, theta, a = (torch.from_numpy(np.concatenate(v)) for v in (radius, angle, area))
    target = disc_moments(MOMENTS).expand(points, 2, MOMENTS).clone()
    target[:, 0, 0] -= 1 / 3.4**2
    return torch.arange(0, points * count + 1, count), r, theta, a[:, None] * bumps(r), target


def moments_of(factor: Tensor, ptr: Tensor, radius: Tensor, angle: Tensor, share: Tensor, j: int, n: int) -> Tensor:
    wave = torch.polar(radius**j, n * angle)[:, None]
    values = wave * (factor * share)
    row = torch.repeat_interleave(torch.arange(len(ptr) - 1), ptr.diff())
    return torch.zeros(len(ptr) - 1, share.shape[1], dtype=values.dtype).index_add(0, row, values)


@pytest.mark.parametrize("seed", range(3))
def test_moments_are_those_of_the_disc(seed):
    ptr, r, theta, share, target = scattered(seed)
    factor, residual = matched_weights(ptr, r, theta, share, target, FREQUENCY, -4.0, 8.0)
    mass = target[..., 0]
    for j, n in conditions(MOMENTS, FREQUENCY):
        wanted = target[..., j] if n == 0 else torch.zeros_like(mass)
        off = (moments_of(factor, ptr, r, theta, share, j, n) - wanted).abs() / mass
        assert (off <= residual + 1e-9).all()
        unit = (moments_of(torch.ones_like(factor), ptr, r, theta, share, j, n) - wanted).abs() / mass
        assert off.median() < 1e-4 * unit.median()
    assert factor.min() >= -4 and factor.max() <= 8


def test_factors_do_not_depend_on_the_gauge():
    ptr, r, theta, share, target = scattered(3)
    turn = torch.repeat_interleave(torch.linspace(-3, 3, len(ptr) - 1, dtype=torch.float64), ptr.diff())
    before, after = (matched_weights(ptr, r, t, share, target, FREQUENCY) for t in (theta, theta + turn))
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() < 1e-9


@pytest.mark.parametrize("bounds", [(-1.0, 5.0), (0.0, 2.0)])
@pytest.mark.parametrize("count", [5, 12, 34])
def test_compiled_agrees_with_the_reference(count, bounds):
    arguments = scattered(4, points=20, count=count)
    for found, wanted in zip(
        matched_weights(*arguments, FREQUENCY, *bounds),
        matched_weights_reference(*arguments, FREQUENCY, *bounds), strict=True,
    ):
        assert torch.allclose(found, wanted, atol=1e-8)
    factor = matched_weights(*arguments, FREQUENCY, *bounds)[0]
    assert factor.min() >= bounds[0] and factor.max() <= bounds[1]


def test_few_neighbours_meet_the_lowest_conditions():
    """Nine neighbours leave room for seven conditions: mass and frequencies 1 to 3 of moment 0."""
    ptr, r, theta, _, target = scattered(5, count=9)
    share = 0.25 * bumps(r)
    target = target.clone()
    row = torch.repeat_interleave(torch.arange(len(ptr) - 1), ptr.diff())
    target[..., 0] = 1.02 * torch.zeros(len(ptr) - 1, 2, dtype=torch.float64).index_add(0, row, share)
    factor, _ = matched_weights(ptr, r, theta, share, target, FREQUENCY, -20.0, 20.0)
    mass = moments_of(factor, ptr, r, theta, share, 0, 0).real
    assert torch.allclose(mass, target[..., 0], rtol=1e-3)
    assert moments_of(factor, ptr, r, theta, share, 0, 1).abs().div(mass).median() < 1e-3


def test_a_part_of_the_disc_keeps_its_areas():
    """Neighbours on one side, none, or of no area: factors 1, residual 1."""
    ptr, r, theta, share, target = scattered(6, points=6)
    share = share * (theta.abs() < 1)[:, None]
    share[ptr[1] : ptr[2]] = 0
    factor, residual = matched_weights(ptr, r, theta, share, target, FREQUENCY)
    assert (factor == 1).all()
    assert (residual == 1).all()
    none = torch.zeros(0, dtype=torch.float64)
    factor, residual = matched_weights(ptr[:1].expand(7), none, none, share[:0], target, FREQUENCY)
    assert factor.shape == (0, 2) and (residual == 1).all()


def test_threads_change_no_bit():
    arguments = scattered(7, points=300)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(matched_weights(*arguments, FREQUENCY)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.tensor([0, 5, 3])}, "ptr does not ascend"),
        ({1: torch.zeros(3)}, "radius has to be float64"),
        ({2: torch.zeros(3, dtype=torch.float64)}, r"angle has shape \[3\]"),
        ({4: torch.zeros(2, 2, 2, dtype=torch.float64)}, "target has shape"),
        ({5: -1}, "max_frequency -1"),
        ({6: 2.0}, "bounds 2"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = [*scattered(8, points=4), FREQUENCY, -1.0, 5.0]
    for place, value in change.items():
        arguments[place] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.meshconv.matched_weights(*arguments)
