"""Toroidal subgroup analysis: integrals, orbits, and planes and weights that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.special import ive
from torch import Tensor

from meshconv import InputError
from meshconv.lie import (
    CoupledVonMises,
    ToroidalSubgroup,
    VonMises,
    bessel_ratio,
    log_i0,
    marginal_log_likelihood,
)
from meshconv.lie.likelihood import expectation
from meshconv.lie.stiefel import norm_changes


def model_of(dim: int = 7, weights: tuple[int, ...] = (1, 2, 5), noise: float = 0.7, **more: float) -> ToroidalSubgroup:
    columns = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64))[0][:, : 2 * len(weights)]
    return ToroidalSubgroup.from_columns(columns, list(weights), noise, **more)


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def signals(n: int, dim: int = 7) -> Tensor:
    return torch.randn(n, dim, dtype=torch.float64)


def ring_pairs(seed: int, n: int = 2000, noise: float = 0.01, dim: int = 32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rings mixed by an orthogonal matrix, turned by any angle: x, y, the matrix and the angles."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(dim, dim, generator=g, dtype=torch.float64))[0]
    x = torch.randn(n, dim, generator=g, dtype=torch.float64)
    s = (2 * torch.rand(n, generator=g, dtype=torch.float64) - 1) * math.pi
    u = (x @ mixing).reshape(n, -1, 2)
    v = torch.view_as_complex(u) * torch.polar(torch.ones(n, dim // 2).double(), s[:, None] * torch.arange(dim // 2))
    y = torch.view_as_real(v).reshape(n, dim) @ mixing.mT
    return x, y + noise * torch.randn(n, dim, generator=g, dtype=torch.float64), mixing, s


def principal_angles(model: ToroidalSubgroup, mixing: Tensor) -> Tensor:
    """The larger principal angle of each learned plane with each true one, degrees ``[J, J]``."""
    overlap = torch.einsum("jda,dkb->jkab", model.planes, mixing.unflatten(1, (-1, 2)))
    return torch.rad2deg(torch.arccos(torch.linalg.svdvals(overlap)[..., -1].clamp(max=1)))


def test_bessel_functions_at_every_concentration() -> None:
    kappa = np.array([0.0, 1e-8, 0.3, 1.0, 50.0, 90.0, 1e3, 1e6])
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        k = torch.tensor(kappa, dtype=dtype)
        np.testing.assert_allclose(log_i0(k).numpy(), np.log(ive(0, kappa)) + kappa, rtol=tolerance, atol=1e-7)
        np.testing.assert_allclose(bessel_ratio(k).numpy(), ive(1, kappa) / ive(0, kappa), rtol=tolerance)
    # The expansion 1 - 1 / (2 k) - 1 / (8 k^2) is exact to 1e-18 here.
    assert float(bessel_ratio(double(1e6))) == pytest.approx(1 - 5e-7 - 1.25e-13, abs=1e-15)
    assert torch.autograd.gradcheck(log_i0, torch.tensor([0.0, 0.4, 30.0, 500.0]).double().requires_grad_())


def test_density_of_von_mises() -> None:
    found = VonMises(torch.tensor([[1.2, -0.5], [0.0, 0.0], [30.0, 40.0]], dtype=torch.float64))
    for k in range(3):
        one = VonMises(found.eta[k])
        mean = [quad(lambda a, f=f, p=one: f(a) * math.exp(p.log_prob(double(a))), -4, 2 * math.pi - 4,
                     epsabs=1e-12, limit=200)[0] for f in (lambda a: 1.0, math.cos, math.sin)]  # fmt: skip
        assert mean[0] == pytest.approx(1, abs=1e-9)
        assert mean[1:] == pytest.approx(one.resultant.tolist(), abs=1e-9)
    assert found.angle.tolist() == pytest.approx([math.atan2(-0.5, 1.2), 0, math.atan2(4, 3)])
    assert found.concentration.tolist() == pytest.approx([1.3, 0, 50])


def test_likelihood_and_posterior_are_the_integrals() -> None:
    """One plane in three dimensions: the angle is integrated over numerically."""
    model = model_of(3, (1,), noise=0.6, concentration=0.8)
    x, y = signals(4, 3), signals(4, 3)
    for k in range(4):
        pair = x[k : k + 1], y[k : k + 1]

        def joint(a: float, pair: tuple[Tensor, Tensor] = pair) -> float:
            error = pair[1] - model.turn(pair[0], [a])
            gauss = math.exp(-float(error.square().sum()) / (2 * 0.36)) / (2 * math.pi * 0.36) ** 1.5
            return gauss * math.exp(0.8 * math.cos(a)) / (2 * math.pi * np.i0(0.8))

        total = quad(joint, -math.pi, math.pi, epsabs=1e-13)[0]
        assert float(model.log_likelihood(pair)[0]) == pytest.approx(math.log(total), abs=1e-8)
        for a in (-2.0, 0.1, 1.5):
            density = model.posterior(pair).log_prob(double(a)).exp()
            assert float(density) == pytest.approx(joint(a) / total, abs=1e-8)


def test_likelihood_of_the_subgroup_is_the_integral() -> None:
    model = model_of(noise=0.5)
    x = signals(2)
    pairs = x, model.transform(x, 1.1) + 0.5 * signals(2)
    found, posterior = model.log_likelihood(pairs, over="subgroup"), model.angle_posterior(pairs)

    def joint(s: float, k: int) -> float:
        error = (pairs[1] - model.transform(x, s))[k]
        return math.exp(-2 * float(error.square().sum())) / (math.pi / 2) ** 3.5 / (2 * math.pi)

    for k in range(2):
        total = quad(joint, -math.pi, math.pi, (k,), epsabs=1e-12, limit=100)[0]
        assert float(found[k]) == pytest.approx(math.log(total), abs=1e-8)
        density = posterior.log_prob(torch.ones(2).double()).exp()
        assert float(density[k]) == pytest.approx(joint(1.0, k) / total, abs=1e-8)
        best = max(joint(s, k) for s in np.linspace(-math.pi, math.pi, 201))
        assert joint(float(posterior.angle[k]), k) >= best


def test_gradients_of_the_likelihood() -> None:
    x, y, w = signals(3, 5), signals(3, 5), signals(5, 4)
    eta, noise = signals(2, 2), torch.tensor(0.5, dtype=torch.float64)
    inputs = tuple(p.requires_grad_() for p in (x, y, w, noise, eta))
    assert torch.autograd.gradcheck(marginal_log_likelihood, inputs)
    # The angle of a plane is undefined where all its numbers are zero; the likelihood is smooth there.
    zero = torch.zeros(2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda e: marginal_log_likelihood(0 * x, y, w, noise, e), zero)


def test_expectation_gives_the_gradient() -> None:
    """Fisher's identity, and a step of expectation maximisation that raises the likelihood."""
    x, y, model = signals(20), signals(20), model_of(noise=0.5, concentration=0.3)
    columns = model.columns.requires_grad_()
    likelihood = marginal_log_likelihood(x, y, columns, model.noise, model.prior.eta).mean()
    gradient, square = expectation(x, y, columns.detach(), model.noise.square(), model.prior.eta)
    torch.testing.assert_close(gradient / 0.25, torch.autograd.grad(likelihood, columns)[0])
    improved = marginal_log_likelihood(x, y, columns, square.sqrt(), model.prior.eta).mean()
    assert float(improved.detach()) > float(likelihood.detach())


def test_likelihood_in_float32_is_finite_where_bessel_functions_overflow() -> None:
    model = model_of()
    x = signals(5)
    exact = marginal_log_likelihood(x, x, model.columns, torch.tensor(1e-3).double(), model.prior.eta)
    single = [p.float() for p in (x, x, model.columns, torch.tensor(1e-3), model.prior.eta)]
    torch.testing.assert_close(marginal_log_likelihood(*single), exact.float(), rtol=1e-2, atol=5)


def test_planes_and_weights_of_mixed_rings() -> None:
    x, y, mixing, s = ring_pairs(0, n=1000, noise=0.05, dim=12)
    model = ToroidalSubgroup(6, steps=150, batch=64).fit(np.stack([x, y], axis=1))
    angles = principal_angles(model, mixing)
    rows, columns = linear_sum_assignment(angles)
    assert float(angles[rows, columns].max()) < 2
    assert model.weights[rows].tolist() == columns.tolist()
    assert float(model.noise) == pytest.approx(0.05, rel=0.05)
    turn = model.angle_posterior((x, y)).angle
    error = torch.stack([torch.cos(turn - s), torch.cos(turn + s)]).mean(1)
    assert float(error.max()) > 0.999  # up to one sign


def test_what_does_not_turn_stays_outside_of_the_planes() -> None:
    """Strong directions that the pairs leave alone, and weak ones of noise alone, in which a plane is asked for too."""
    true = model_of(10, (1, 2), noise=0.1)
    strength = true.columns @ true.columns.mT
    still = torch.linalg.qr(true.columns, mode="complete").Q[:, 4:6]
    strength = strength + 10 * still @ still.mT
    x, s = signals(600, 10) @ strength, 2 * math.pi * torch.rand(600).double()
    pairs = tuple(p + 0.1 * signals(600, 10) for p in (x, true.transform(x, s)))
    model = ToroidalSubgroup(3, steps=60, batch=64).fit(pairs, s)
    assert float((model.columns.mT @ still).abs().max()) < 0.1
    inside = torch.linalg.svdvals(true.columns.mT @ model.columns)
    assert float(inside.min()) > 0.99


def test_norms_change_in_mixtures_of_planes() -> None:
    """0 for a plane that turns; 1/2 for one dimension from each of two Gaussian planes.

    A squared component has the covariance 2 - 1 with itself after a turn by any angle, and the variance 3 - 1.
    """
    x, s = signals(4000, 4), 2 * math.pi * torch.rand(4000).double()
    pairs = x, ToroidalSubgroup.from_columns(torch.eye(4), [1, 2]).transform(x, s)
    pure, mixed = ([p[:, columns].unflatten(-1, (-1, 2)) for p in pairs] for columns in ([0, 1, 2, 3], [0, 2, 1, 3]))
    torch.testing.assert_close(norm_changes(*pure), torch.zeros(2).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(norm_changes(*mixed), torch.full((2,), 0.5).double(), atol=0.06, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_planes_and_weights_of_rings_of_32(seed: int) -> None:
    x, y, mixing, _ = ring_pairs(seed)
    model = ToroidalSubgroup(16).fit((x, y))
    angles = principal_angles(model, mixing)
    rows, columns = linear_sum_assignment(angles)
    assert float((angles[rows, columns] < 5).double().mean()) >= 0.95
    assert model.weights[rows].tolist() == columns.tolist()


def test_weights_from_a_small_angle() -> None:
    """Planes of any order and sense; the angle is unknown, or known with its sign."""
    true = model_of(12, (0, 1, -2, 3, -5, 4), noise=0.02)
    x = signals(300, 12)
    pairs = x, true.transform(x, 0.1) + 0.02 * signals(300, 12)
    blank = ToroidalSubgroup.from_columns(true.columns, noise=0.02)
    assert blank.fit_weights(pairs).weights.tolist() == [0, 1, 2, 3, 4, 5]
    assert blank.fit_weights(pairs, torch.full((300,), 0.1)).weights.tolist() == [0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(blank.angle_posterior(pairs).angle.mean(), torch.tensor(0.1).double(), atol=0.01, rtol=0)


def test_weights_of_a_cyclic_shift_are_those_of_the_smallest_angle() -> None:
    """Pairs shifted by one sample of 16: weights times 3, 5 or 7 modulo 16 explain them with a larger angle."""
    true = model_of(16, tuple(range(8)), noise=0.05)
    x = signals(300, 16)
    pairs = x, true.transform(x, math.pi / 8) + 0.05 * signals(300, 16)
    blank = ToroidalSubgroup.from_columns(true.columns, noise=0.05)
    assert blank.fit_weights(pairs).weights.tolist() == true.weights.tolist()
    torch.testing.assert_close(blank.planes, true.planes)  # in the same order and sense


def test_weights_without_a_one_among_them() -> None:
    true = model_of(6, (2, 3, 5), noise=0.05)
    x, s = signals(400, 6), 2 * math.pi * torch.rand(400).double()
    pairs = x, true.transform(x, s) + 0.05 * signals(400, 6)
    assert ToroidalSubgroup.from_columns(true.columns, noise=0.05).fit_weights(pairs).weights.tolist() == [2, 3, 5]


def test_a_negative_weight_mirrors_its_plane() -> None:
    columns = torch.eye(4, dtype=torch.float64)
    one, other = (ToroidalSubgroup.from_columns(columns, w) for w in ([1, 2], [1, -2]))
    assert other.weights.tolist() == [1, 2]
    x = torch.eye(4, dtype=torch.float64)[2]
    torch.testing.assert_close(other.transform(x, 0.3), one.transform(x, -0.3))


def test_the_group_acts() -> None:
    model = model_of()
    x = signals(5)
    a, b = signals(5)[:, 0], signals(5)[:, 1]
    torch.testing.assert_close(model.transform(model.transform(x, a), b), model.transform(x, a + b))
    torch.testing.assert_close(model.transform(x, 2 * math.pi), x)
    torch.testing.assert_close(model.transform(x, a).norm(dim=1), x.norm(dim=1))
    turned = model.transform(x, a)
    for j, weight in enumerate((1, 2, 5)):
        u, v = (torch.view_as_complex(p @ model.planes[j]) for p in (x, turned))
        torch.testing.assert_close(v, u * torch.polar(torch.ones(5).double(), weight * a))


def test_invariants_and_distances_are_of_orbits() -> None:
    model = model_of()
    x, s = signals(6), signals(6)[:, 0]
    moved, free = model.transform(x, s), model.turn(x, signals(6)[:, :3])
    torch.testing.assert_close(model.invariants(moved), model.invariants(x))
    torch.testing.assert_close(model.invariants(free)[:, :3], model.invariants(x)[:, :3])
    assert float((model.invariants(free) - model.invariants(x)).abs().amax(1).min()) > 0.1
    torch.testing.assert_close(model.distance((x, moved)), torch.zeros(6).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(model.distance((x, free), over="torus"), torch.zeros(6).double(), atol=1e-6, rtol=0)


def test_distances_are_minima() -> None:
    model = model_of()
    x, y = signals(6), signals(6)
    torus, subgroup = model.distance((x, y), over="torus"), model.distance((x, y))
    grid = torch.linspace(-math.pi, math.pi, 1001).double()
    along = torch.stack([(y - model.transform(x, float(s))).norm(dim=1) for s in grid]).amin(0)
    assert bool((subgroup <= along + 1e-12).all()) and bool((along - subgroup < 1e-3).all())
    u, v = (torch.cat([(p @ basis).norm(dim=1) for basis in model.planes]) for p in (x, y))
    outside = (y - x) - (y - x) @ model.columns @ model.columns.mT
    exact = ((u - v).reshape(3, 6).square().sum(0) + outside.square().sum(1)).sqrt()
    torch.testing.assert_close(torus, exact)
    assert bool((torus <= subgroup + 1e-12).all()) and bool((subgroup <= (x - y).norm(dim=1)).all())


def test_invariants_are_continuous_where_a_norm_is_zero() -> None:
    model = ToroidalSubgroup.from_columns(torch.eye(4, dtype=torch.float64), [1, 3])
    near = [model.invariants([1.0, 0, 1e-9 * math.cos(a), 1e-9 * math.sin(a)]) for a in (0.0, 2.0, 4.0)]
    torch.testing.assert_close(near[0], near[1], atol=1e-8, rtol=0)
    torch.testing.assert_close(near[0], near[2], atol=1e-8, rtol=0)


def test_pairs_as_arrays_and_tensors() -> None:
    model = model_of()
    x, y = signals(5).float(), signals(5).float()
    expected = model.log_likelihood((x, y))
    for pairs in (torch.stack([x, y], 1), np.stack([x, y], 1), (x.numpy(), y.numpy()), [x, y],
                  (x.numpy()[::-1].copy()[::-1], y)):  # fmt: skip
        assert torch.equal(model.log_likelihood(pairs), expected)


def test_the_unit_of_the_signals_is_free() -> None:
    x, y, _, _ = ring_pairs(1, n=60, dim=6)
    one, other = (ToroidalSubgroup(3, steps=20).fit((unit * x, unit * y)) for unit in (1.0, 2.0**70))
    torch.testing.assert_close(one.planes, other.planes)
    torch.testing.assert_close(2.0**70 * one.noise, other.noise)
    assert one.weights.tolist() == other.weights.tolist()


def test_identical_pairs_do_not_turn() -> None:
    x = signals(50)
    model = ToroidalSubgroup(3, steps=20).fit((x, x))
    assert model.weights.tolist() == [0, 0, 0]
    assert float(model.distance((x, x)).max()) < 1e-9 and bool(torch.isfinite(model.invariants(x)).all())


def test_a_narrow_distribution_of_the_common_angle() -> None:
    """A concentration of 1e6 in one plane: the normaliser is that of the von Mises distribution."""
    eta = torch.tensor([[[6e5, 8e5]], [[0.0, 0.0]]], dtype=torch.float64)
    found = CoupledVonMises(eta, torch.tensor([3]))
    torch.testing.assert_close(found.log_normaliser, log_i0(torch.tensor([1e6, 0]).double()), rtol=0, atol=1e-8)
    assert math.cos(3 * float(found.angle[0]) - math.atan2(4, 3)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.zeros((9, 2, 6)), "all signals are zero"),
        ((np.ones((9, 6)), np.zeros((9, 6))), "all of y is zero"),
        (np.random.default_rng(0).normal(size=(1, 2, 6)), "one pair"),
        (1e-200 * np.random.default_rng(0).normal(size=(9, 2, 6)), "scale the signals"),
        (np.ones((9, 2, 6)), "every signal is constant"),
        (np.random.default_rng(0).normal(size=(9, 2, 1)) * np.ones(6), "every signal is constant"),
        (np.tile(np.arange(6.0), (9, 2, 1)), "all signals are the same"),
        (np.full((9, 2, 6), np.nan), "NaN or infinity in 9 of 9 signals"),
        (np.random.default_rng(0).normal(size=(9, 2, 5)), "num_planes 3: they need 6 dimensions, signals have 5"),
        (np.zeros((9, 6)), r"shape \(9, 6\)"),
        (np.zeros((9, 3, 6)), r"shape \(9, 3, 6\)"),
        ((np.zeros((9, 6)), np.zeros((8, 6))), r"x \(9, 6\) and y \(8, 6\) differ in size"),
        ((np.zeros((9, 6)), np.zeros((9, 7))), r"x \(9, 6\) and y \(9, 7\) differ in size"),
        (np.zeros((0, 2, 6)), r"shape \(0, 6\)"),
        ("words", "str; give an array"),
        (np.zeros((9, 2, 6), dtype=complex), "complex"),
    ],
)
def test_bad_pairs(pairs: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ToroidalSubgroup(3).fit(pairs)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ToroidalSubgroup(0), "num_planes 0"),
        (lambda: ToroidalSubgroup(1.5), "num_planes 1.5"),  # type: ignore[arg-type]
        (lambda: ToroidalSubgroup("many"), "num_planes 'many'"),  # type: ignore[arg-type]
        (lambda: ToroidalSubgroup(2, concentration=-1), "concentration -1"),
        (lambda: ToroidalSubgroup(2, learning_rate=math.nan), "learning_rate nan"),
        (lambda: model_of().transform(np.ones((2, 7)), math.nan), "angles: NaN"),
        (lambda: ToroidalSubgroup(2).posterior((np.ones((2, 4)),) * 2), "call fit"),
        (lambda: ToroidalSubgroup.from_columns(torch.eye(5)[:, :3]), "3 columns, an odd number"),
        (lambda: ToroidalSubgroup.from_columns(torch.eye(4)[:3]), "need 4 dimensions, signals have 3"),
        (lambda: ToroidalSubgroup.from_columns(2 * torch.eye(4)), "not orthonormal"),
        (lambda: ToroidalSubgroup.from_columns(torch.eye(4), [1, 0.5]), "whole numbers"),
        (lambda: ToroidalSubgroup.from_columns(torch.eye(4), [1]), "weights"),
        (lambda: ToroidalSubgroup.from_columns(torch.eye(4), noise=0), "noise 0"),
        (lambda: model_of().posterior((np.ones((2, 4)),) * 2), "4 numbers in a row; 7 are needed"),
        (lambda: model_of().distance((np.ones((2, 7)),) * 2, over="sphere"), "over 'sphere'"),  # type: ignore[arg-type]
        (lambda: model_of().turn(np.ones((2, 7)), [1.0, 2.0]), r"angles: shape \(2,\)"),
        (lambda: model_of().fit_weights((np.ones((2, 7)),) * 2, [1.0]), "angles"),
    ],
)
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        call()  # type: ignore[operator]
    assert "\n" not in str(error.value)
