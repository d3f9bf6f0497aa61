"""Advection and diffusion on surfaces: what is conserved, exact solutions, and the smoother over space and time."""

from __future__ import annotations

import numpy as np
import pytest
from meshes import icosphere

from meshconv import HealpixSphere, InputError
from meshconv.hybrid import AdvectionDiffusion, SpaceTimePrior


def spinning(points: np.ndarray, speed: float = 1.0) -> np.ndarray:
    return speed * np.cross([0.0, 0.0, 1.0], points)


def test_constants_stay_and_diffusion_keeps_the_mean():
    points = np.asarray(icosphere(2).vertices)
    flow = AdvectionDiffusion(icosphere(2), spinning(points), diffusivity=0.1, dt=0.2)
    np.testing.assert_allclose(flow.step(np.ones(162)), 1, atol=1e-12)
    still = AdvectionDiffusion(icosphere(2), 0 * points, diffusivity=0.1, dt=0.2)
    x = np.random.default_rng(0).normal(size=162)
    assert still.operators.mass @ still.step(x) == pytest.approx(still.operators.mass @ x, abs=1e-12)


def test_diffusion_of_harmonics():
    """Of degree 1: a step multiplies by 1 / (1 + 2 D dt)."""
    sphere = HealpixSphere(8)
    flow = AdvectionDiffusion(sphere, np.zeros((768, 3)), diffusivity=0.3, dt=0.5)
    np.testing.assert_allclose(flow.step(sphere.xyz), sphere.xyz / 1.3, atol=0.01)


def test_advection_turns_the_field():
    points = np.asarray(icosphere(3).vertices)
    angle, steps = 0.5, 50
    flow = AdvectionDiffusion(icosphere(3), spinning(points), diffusivity=0.0, dt=angle / steps)
    x = points[:, 0]
    for _ in range(steps):
        x = flow.step(x)
    np.testing.assert_allclose(x, points @ [np.cos(angle), np.sin(angle), 0.0], atol=0.02)


def test_posterior_over_space_and_time_is_the_dense_formula():
    points = np.asarray(icosphere(0).vertices)
    flow = AdvectionDiffusion(icosphere(0), spinning(points), diffusivity=0.1, dt=0.3)
    prior = SpaceTimePrior(flow, times=4, range=1.5, deviation=1.0, process_noise=0.2)
    one = np.linalg.solve(flow.implicit.toarray(), flow.mass.toarray())
    first = SpaceTimePrior(flow, times=2, range=1.5, deviation=1.0, process_noise=1e6).precision.toarray()[:12, :12]
    shock = np.linalg.inv(flow.implicit.toarray())
    covers = {0: np.linalg.inv(first)}
    for t in range(3):
        covers[t + 1] = one @ covers[t] @ one.T + 0.04 * shock @ flow.mass.toarray() @ shock.T
    whole = np.zeros((4, 12, 4, 12))
    for t in range(4):
        moved = covers[t]
        for later in range(t, 4):
            whole[later, :, t], whole[t, :, later] = moved, moved.T
            moved = one @ moved
    whole = whole.reshape(48, 48)
    np.testing.assert_allclose(np.linalg.inv(prior.precision.toarray()), whole, atol=1e-6)
    index, y = np.array([0, 5, 17, 30, 47]), np.array([1.0, -1.0, 0.5, 2.0, 0.0])
    expected = whole[:, index] @ np.linalg.solve(whole[np.ix_(index, index)] + 0.01 * np.eye(5), y)
    np.testing.assert_allclose(prior.estimate(index, y, noise=0.1).ravel(), expected, atol=1e-6)


def test_wrong_input():
    mesh = icosphere(0)
    with pytest.raises(InputError, match=r"velocity is \[5, 3\], expected \[12, 3\]"):
        AdvectionDiffusion(mesh, np.zeros((5, 3)), 0.1, 0.1)
    with pytest.raises(InputError, match="diffusivity -1"):
        AdvectionDiffusion(mesh, np.zeros((12, 3)), -1, 0.1)
    flow = AdvectionDiffusion(mesh, np.zeros((12, 3)), 0.1, 0.1)
    with pytest.raises(InputError, match="times 1"):
        SpaceTimePrior(flow, 1, 1.0, 1.0, 0.1)
    prior = SpaceTimePrior(flow, 2, 1.0, 1.0, 0.1)
    for points, values, message in (([], [], "no observations"), ([24], [1.0], "off the surface"),
                                    ([0], [np.nan], "NaN"), ([0, 1], [1.0], "there are 2 points")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            prior.estimate(points, values, 0.1)
