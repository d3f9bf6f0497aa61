"""Chains: the smoother against the dense posterior, message passing against the smoother, the hybrid's identities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshconv import InputError
from meshconv.hybrid import GaussMarkovModel, HybridSmoother, lorenz_generator, taylor_transition


def constant_velocity(sigma: float = 0.4) -> GaussMarkovModel:
    return GaussMarkovModel([[1.0, 1.0], [0.0, 1.0]], sigma**2 * np.eye(2), [[1.0, 0.0]], [[0.25]])


def random_model(seed: int, states: int = 3, observed: int = 2) -> GaussMarkovModel:
    rng = np.random.default_rng(seed)
    half_q, half_r = rng.normal(size=(states, states)), rng.normal(size=(observed, observed))
    return GaussMarkovModel(
        rng.normal(size=(states, states)) / 2,
        half_q @ half_q.T + 0.1 * np.eye(states),
        rng.normal(size=(observed, states)),
        half_r @ half_r.T + 0.1 * np.eye(observed),
    )


def dense_precision(model: GaussMarkovModel, times: int) -> np.ndarray:
    """Of all states at once, from the residuals' matrix."""
    n, m = model.num_states, model.num_observed
    rows, weights = [], []
    for t in range(times):
        row = np.zeros((m, times * n))
        row[:, t * n : (t + 1) * n] = model.H.numpy()
        rows, weights = [*rows, row], [*weights, np.linalg.inv(model.R.numpy())]
    for t in range(times - 1):
        row = np.zeros((n, times * n))
        row[:, t * n : (t + 1) * n], row[:, (t + 1) * n : (t + 2) * n] = -np.asarray(model.F), np.eye(n)
        rows, weights = [*rows, row], [*weights, np.linalg.inv(model.Q.numpy())]
    return sum(r.T @ w @ r for r, w in zip(rows, weights, strict=True))


def kalman_with_prior(model: GaussMarkovModel, y: np.ndarray, variance: float) -> np.ndarray:
    """Textbook forward and backward pass with covariances."""
    F, Q, H, R = (np.asarray(a) for a in (model.F, model.Q, model.H, model.R))
    mean, cover = np.zeros(len(Q)), variance * np.eye(len(Q))
    filtered, predicted = [], []
    for row in y:
        predicted.append((mean, cover))
        gain = cover @ H.T @ np.linalg.inv(H @ cover @ H.T + R)
        left = np.eye(len(Q)) - gain @ H
        mean, cover = mean + gain @ (row - H @ mean), left @ cover @ left.T + gain @ R @ gain.T
        filtered.append((mean, cover))
        mean, cover = F @ mean, F @ cover @ F.T + Q
    states = [filtered[-1][0]]
    for (mean, cover), (ahead, spread) in zip(filtered[-2::-1], predicted[:0:-1], strict=True):
        states.append(mean + cover @ F.T @ np.linalg.solve(spread, states[-1] - ahead))
    return np.stack(states[::-1])


@pytest.mark.parametrize("seed", range(3))
def test_smoother_is_the_posterior_of_the_whole_chain(seed):
    model, times = random_model(seed), 7
    y = np.random.default_rng(seed).normal(size=(times, 2))
    precision = dense_precision(model, times)
    right = (y @ np.linalg.inv(model.R.numpy()) @ model.H.numpy()).ravel()
    mean, cover = model.posterior(y)
    np.testing.assert_allclose(mean.ravel(), np.linalg.solve(precision, right), atol=1e-9)
    whole = np.linalg.inv(precision).reshape(times, 3, times, 3)
    np.testing.assert_allclose(cover, np.stack([whole[t, :, t] for t in range(times)]), atol=1e-9)


def test_smoother_is_the_limit_of_wide_priors():
    y = np.random.default_rng(0).normal(size=(60, 1)).cumsum(0)
    exact = constant_velocity().smooth(y)
    errors = [np.abs(kalman_with_prior(constant_velocity(), y, p) - exact).max() for p in (1e2, 1e4, 1e6)]
    assert errors[2] < 1e-6 < errors[1] < errors[0]


@pytest.mark.parametrize(("sigma", "iterations"), [(0.325, 400), (0.5, 300)])
def test_message_passing_reaches_the_smoother(sigma, iterations):
    model = constant_velocity(sigma)
    y = np.random.default_rng(1).normal(size=(100, 1)).cumsum(0)
    # The starting velocity of this walk is off by about 1, the experiment's by 0.1.
    found = model.message_passing(0.1 * y, iterations)
    assert np.abs(found - model.smooth(0.1 * y)).max() < 1e-6


def test_messages_are_the_gradient_of_the_posterior():
    model = random_model(5)
    rng = np.random.default_rng(5)
    x = torch.tensor(rng.normal(size=(6, 3)), requires_grad=True)
    y = torch.tensor(rng.normal(size=(6, 2)))
    off, moved = y - x @ model.H.T, x[1:] - x[:-1] @ model.F.T
    energy = (off @ torch.linalg.inv(model.R) * off).sum() / 2 + (moved @ torch.linalg.inv(model.Q) * moved).sum() / 2
    energy.backward()
    assert torch.allclose(model.messages(x.detach(), y).sum(-2), -x.grad, atol=1e-12)


@pytest.mark.parametrize("times", [5, 120])
def test_largest_eigenvalue(times):
    model = random_model(2)
    expected = np.linalg.eigvalsh(dense_precision(model, times))[-1]
    assert model.largest_eigenvalue(np.zeros((times, 2))) == pytest.approx(expected, rel=1e-6)


def test_gamma_is_refused_where_it_diverges():
    model, y = constant_velocity(), np.random.default_rng(0).normal(size=(50, 1))
    limit = 2 / model.largest_eigenvalue(y)
    assert np.abs(model.message_passing(y, 500, 0.99 * limit)).max() < 100
    with pytest.raises(InputError, match=f"2 / lambda_max = {limit:.6g}"):
        model.message_passing(y, 1, 1.001 * limit)
    with pytest.raises(InputError, match="lambda_max"):
        HybridSmoother(model, iterations=1, gamma=1.001 * limit)(y)
    with pytest.raises(InputError, match="lambda_max"):
        HybridSmoother(model, gamma=2 * limit)
    x = torch.from_numpy(model.smooth(y))
    x[10] += 1
    for _ in range(1000):  # the same step without the check
        x = x + 1.02 * limit * model.messages(x, torch.from_numpy(y)).sum(-2)
    assert x.abs().max() > 1e3


def test_callable_transitions_of_linear_models_change_nothing():
    linear, y = random_model(3), np.random.default_rng(3).normal(size=(9, 2))
    for F in (lambda x: linear.F @ x, lambda x: linear.F + 0 * x[0]):
        model = GaussMarkovModel(F, linear.Q, linear.H, linear.R)
        np.testing.assert_allclose(model.smooth(y), linear.smooth(y), atol=1e-10)
        np.testing.assert_allclose(model.message_passing(y, 20), linear.message_passing(y, 20), atol=1e-12)


def test_batches_are_smoothed_one_by_one():
    y = np.random.default_rng(3).normal(size=(2, 3, 8, 2))
    linear = random_model(4)
    curved = GaussMarkovModel(lambda x: linear.F @ torch.sin(x), linear.Q, linear.H, linear.R)
    with pytest.raises(InputError, match="do not determine"):
        curved.smooth(y[0, 0, :1])
    for model in (linear, curved):
        np.testing.assert_allclose(model.smooth(y)[1, 2], model.smooth(y[1, 2]), atol=1e-9)


def test_extended_smoother_is_exact_without_noise():
    """A trajectory of the model itself, observed exactly."""
    transition = taylor_transition(lorenz_generator(), 0.05, 2)
    x = [torch.tensor([1.0, 2.0, 20.0], dtype=torch.float64)]
    for _ in range(30):
        x.append(transition(x[-1]) @ x[-1])
    truth = torch.stack(x)
    model = GaussMarkovModel(transition, 0.1 * np.eye(3), np.eye(3), 0.25 * np.eye(3))
    assert torch.allclose(model.smooth(truth), truth, atol=1e-8)
    assert torch.allclose(model.message_passing(truth, 10), truth, atol=1e-8)


def test_taylor_transition_approaches_the_exponential():
    generator = lorenz_generator()
    x = torch.tensor([1.0, 2.0, 20.0], dtype=torch.float64)
    exact = torch.linalg.matrix_exp(0.05 * generator(x))
    errors = [float((taylor_transition(generator, 0.05, k)(x) - exact).abs().max()) for k in (1, 2, 3, 12)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-10


def test_untrained_hybrid_is_message_passing_and_repeats():
    model, y = constant_velocity(), torch.randn(20, 1, dtype=torch.float64)
    smoother = HybridSmoother(model, iterations=30, gamma=0.03).double()
    assert torch.allclose(smoother(y), model.message_passing(y, 30, 0.03), atol=1e-12)
    torch.nn.init.normal_(smoother.decode[2].weight)
    once = smoother(y)
    torch.rand(5)
    assert torch.equal(once, smoother(y))
    assert not torch.allclose(once, model.message_passing(y, 30, 0.03), atol=1e-3)


def test_hybrid_does_not_depend_on_the_origin():
    smoother = HybridSmoother(constant_velocity(), iterations=10).double()
    torch.nn.init.normal_(smoother.decode[2].weight)
    y = torch.randn(12, 1, dtype=torch.float64)
    shift = torch.tensor([7.0, 0.0], dtype=torch.float64)
    assert torch.allclose(smoother(y + 7), smoother(y) + shift, atol=1e-9)


def test_loss_weights_late_iterations():
    smoother = HybridSmoother(constant_velocity(), iterations=4)
    y, truth = torch.randn(2, 9, 1), torch.randn(2, 9, 1)
    errors = [((x[..., :1] - truth) ** 2).mean() for x in smoother.iterates(y).detach()]
    expected = 2 / 4 * sum((k + 1) / 4 * e for k, e in enumerate(errors))
    assert smoother.loss(y, truth).item() == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.slow
def test_training_beats_the_model_with_the_wrong_noise():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(np.sin(np.arange(400) / 3).reshape(4, 100, 1)[:2, :50])
    y = truth + 0.5 * torch.from_numpy(rng.normal(size=truth.shape))
    smoother = HybridSmoother(constant_velocity(), iterations=20)
    optimizer = torch.optim.Adam(smoother.parameters(), lr=3e-3)
    before = smoother.loss(y, truth).item()
    for _ in range(30):
        optimizer.zero_grad()
        smoother.loss(y, truth).backward()
        optimizer.step()
    assert smoother.loss(y, truth).item() < 0.8 * before


ONE = np.eye(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONE, np.ones((2, 2)), ONE, ONE), "Q is not positive definite"),
        ((ONE, ONE, ONE, np.zeros((2, 2))), "R is not positive definite"),
        ((ONE, [[1.0, 0.5], [0.0, 1.0]], ONE, ONE), "Q is not symmetric"),
        ((ONE, ONE, ONE, -ONE), "R is not positive definite"),
        ((np.eye(3), ONE, ONE, ONE), r"F is \[3, 3\], expected \[2, 2\]: Q is \[2, 2\]"),
        ((ONE, ONE, np.ones((1, 3)), [[1.0]]), r"H is \[1, 3\], expected \[1, 2\]: R is \[1, 1\] and Q is \[2, 2\]"),
        ((ONE * np.nan, ONE, ONE, ONE), "F has 4 of 4 values that are NaN"),
        ((lambda x: x[:1], ONE, ONE, ONE), r"F returns \[1\] for a state \[2\]"),
        (("F", ONE, ONE, ONE), "F is no array"),
    ],
)
def test_wrong_models(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        GaussMarkovModel(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((0, 2)), "no observations"),
        (np.full((3, 2), np.nan), "6 of 6 values that are NaN"),
        (np.zeros((3, 1)), r"y is \[3, 1\], expected \[time, 2\]"),
        (np.zeros(3), r"y is \[3\]"),
    ],
)
def test_wrong_observations(y, message):
    model = GaussMarkovModel(ONE, ONE, ONE, ONE)
    for call in (model.smooth, lambda y: model.message_passing(y, 2), HybridSmoother(model, iterations=2)):
        with pytest.raises(InputError, match=message):
            call(y)
