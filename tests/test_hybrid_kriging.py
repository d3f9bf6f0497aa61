"""Kriging against the dense formula, against harmonics, and its calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meshes import icosphere, torus
from scipy.stats import multivariate_normal

from meshconv import HealpixSphere, InputError
from meshconv.hybrid import Kriging, matern_precision, sphere_covariance


def dense_posterior(kriging: Kriging, points: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variances by the textbook formula with dense covariances."""
    cover = np.linalg.inv(kriging.prior.precision.toarray())
    joint = cover[np.ix_(points, points)] + kriging.noise**2 * np.eye(len(points))
    mean = kriging.mean + cover[:, points] @ np.linalg.solve(joint, y - kriging.mean)
    return mean, np.diag(cover - cover[:, points] @ np.linalg.solve(joint, cover[points])).real


@pytest.mark.parametrize("surface", [torus(), icosphere(2)], ids=["torus", "icosphere"])
def test_kriging_is_the_dense_formula(surface):
    rng = np.random.default_rng(0)
    kriging = Kriging(surface, range=0.7, deviation=2.0, noise=0.3, mean=1.5)
    points = rng.integers(0, kriging.num_points, 30)  # some are observed twice
    y = rng.normal(size=30)
    mean, deviation = kriging.predict(points, y)
    expected, variance = dense_posterior(kriging, points, y)
    np.testing.assert_allclose(mean, expected, atol=1e-8)
    np.testing.assert_allclose(deviation**2, variance, atol=1e-8)
    cover = np.linalg.inv(kriging.prior.precision.toarray())[np.ix_(points, points)]
    density = multivariate_normal(np.full(30, 1.5), cover + 0.09 * np.eye(30)).logpdf(y)
    assert kriging.log_likelihood(points, y) == pytest.approx(density, abs=1e-7)


def test_precision_is_the_product_of_its_factors():
    mesh = torus()
    complex_ = mesh.surface_complex()
    areas = complex_.vertex_areas.numpy()
    matrix = np.zeros((len(areas),) * 2)
    hat = complex_.hat_gradient.numpy().reshape(-1, 3, 2)
    for face, gradient, area in zip(complex_.faces.numpy(), hat, complex_.areas.numpy(), strict=True):
        matrix[np.ix_(face, face)] += area * gradient @ gradient.T
    half = 9.0 * np.diag(areas) + matrix
    found = matern_precision(mesh, kappa=3.0, tau=0.5).toarray()
    np.testing.assert_allclose(found, 0.25 * half @ np.diag(1 / areas) @ half, atol=1e-9 * np.abs(found).max())


@pytest.mark.slow
def test_covariance_approaches_that_of_harmonics():
    kappa = 4.0
    errors = []
    for nside in (4, 8):
        sphere = HealpixSphere(nside)
        cover = np.linalg.inv(matern_precision(sphere, kappa).toarray())[0]
        exact = sphere_covariance(sphere.xyz @ sphere.xyz[0], kappa, highest=400)
        errors.append(np.abs(cover - exact).max() / exact.max())
    assert errors[1] < 0.12 and errors[1] < errors[0] / 1.5


def test_kriging_on_the_sphere_with_the_covariance_of_harmonics():
    sphere, rng = HealpixSphere(4), np.random.default_rng(0)
    kriging = Kriging(sphere, range=1.2, deviation=1.0, noise=0.2)
    points = rng.choice(192, 60, replace=False)
    kappa = 8**0.5 / 1.2
    cover = sphere_covariance(sphere.xyz @ sphere.xyz.T, kappa, 1 / ((4 * np.pi) ** 0.5 * kappa), 300)
    joint = cover[np.ix_(points, points)] + 0.04 * np.eye(60)
    truth = rng.multivariate_normal(np.zeros(192), cover)
    y = truth[points] + 0.2 * rng.normal(size=60)
    mean, deviation = kriging.predict(points, y)
    exact = cover[:, points] @ np.linalg.solve(joint, y)
    variance = np.diag(cover - cover[:, points] @ np.linalg.solve(joint, cover[points]))
    np.testing.assert_allclose(mean, exact, atol=1e-8)
    np.testing.assert_allclose(deviation**2, variance, atol=1e-8)
    sparse = Kriging(sphere.surface_complex(), range=1.2, deviation=1.0, noise=0.2).estimate(points, y)
    assert np.abs(sparse - exact).max() < 0.3
    assert np.mean((mean - truth) ** 2) < 0.5 * np.mean(truth**2)


def test_posterior_is_calibrated():
    """Of fields from the prior, 68 % of the points lie within one standard deviation, 95 % within two."""
    kriging, rng = Kriging(icosphere(2), range=1.0, deviation=1.0, noise=0.3), np.random.default_rng(1)
    root = np.linalg.cholesky(np.linalg.inv(kriging.prior.precision.toarray()))
    points = rng.choice(kriging.num_points, 25, replace=False)
    deviation = kriging.deviations(points)
    scores = []
    for _ in range(40):
        truth = root @ rng.normal(size=len(root))
        scores.append((kriging.estimate(points, truth[points] + 0.3 * rng.normal(size=25)) - truth) / deviation)
    scores = np.abs(scores)
    assert (scores < 1).mean() == pytest.approx(0.683, abs=0.02)
    assert (scores < 2).mean() == pytest.approx(0.954, abs=0.015)


def test_tangent_fields_do_not_depend_on_the_gauge():
    complex_ = icosphere(1).surface_complex()
    rng = np.random.default_rng(0)
    points, y = rng.choice(42, 12, replace=False), rng.normal(size=(12, 2))
    options = {"range": 1.0, "noise": 0.1, "order": 1}
    mean, deviation = Kriging(complex_, **options).predict(points, y)
    alpha = torch.from_numpy(rng.uniform(-3, 3, 42))
    turn = np.exp(-1j * alpha.numpy())
    other = (y @ [1, 1j]) * turn[points]
    turned = complex_.change_gauge(alpha, torch.zeros(complex_.num_faces, dtype=torch.float64))
    again, same = Kriging(turned, **options).predict(points, np.stack([other.real, other.imag], -1))
    np.testing.assert_allclose(again @ [1, 1j], (mean @ [1, 1j]) * turn, atol=1e-8)
    np.testing.assert_allclose(same, deviation, atol=1e-8)
    expected, variance = dense_posterior(Kriging(complex_, **options), points, y @ [1, 1j])
    np.testing.assert_allclose(mean @ [1, 1j], expected, atol=1e-8)
    np.testing.assert_allclose(deviation**2, variance, atol=1e-8)


def test_marginal_likelihood_finds_range_and_noise():
    mesh, rng = icosphere(2), np.random.default_rng(3)
    truth = Kriging(mesh, range=1.0, deviation=2.0, noise=0.5, mean=3.0)
    field = 3.0 + np.linalg.cholesky(np.linalg.inv(truth.prior.precision.toarray())) @ rng.normal(size=162)
    points = np.tile(np.arange(162), 2)  # twice, since no two vertices are close enough to separate noise from field
    y = field[points] + 0.5 * rng.normal(size=324)
    found = Kriging.fit(mesh, points, y)
    assert found.noise == pytest.approx(0.5, rel=0.25)
    assert 0.5 < found.range < 2.0
    assert found.log_likelihood(points, y) >= truth.log_likelihood(points, y) - 0.1


def test_positions_are_taken_to_the_nearest_vertex():
    mesh = icosphere(2)
    kriging = Kriging(mesh, range=1.0)
    near = np.asarray(mesh.vertices)[[3, 70]] * 1.01
    np.testing.assert_array_equal(kriging.locate(near), [3, 70])
    mean, _ = kriging.predict(near, torch.tensor([1.0, 2.0]))
    assert isinstance(mean, torch.Tensor) and mean.dtype == torch.float32


@pytest.mark.parametrize(
    ("points", "values", "message"),
    [
        ([], [], "no observations"),
        ([162], [1.0], r"1 observations are off the surface: point 162, expected 0..161"),
        ([-1], [1.0], "off the surface"),
        ([[0.0, 0.0, 3.0]], [1.0], r"off the surface: \[0.0, 0.0, 3.0\] is 2"),
        ([0], [np.nan], "values has 1 of 1 values that are NaN"),
        ([[0.0, 0.0, np.nan]], [1.0], "points has 1 of 3"),
        ([0, 1], [1.0], r"values is \[1\], expected \[2\]: there are 2 points"),
    ],
)
def test_wrong_observations(points, values, message):
    with pytest.raises(InputError, match=message) as caught:
        Kriging(icosphere(2), range=1.0).predict(points, values)
    assert "\n" not in str(caught.value)


def test_wrong_numbers():
    for name in ("range", "deviation", "noise"):
        with pytest.raises(InputError, match=f"{name} 0.0 has to be positive"):
            Kriging(icosphere(1), **{"range": 1.0, name: 0.0})
    with pytest.raises(InputError, match="at least 10"):
        Kriging.fit(icosphere(1), [0], [1.0])
    with pytest.raises(InputError, match="values that differ"):
        Kriging.fit(icosphere(1), np.arange(20), np.ones(20))
