"""The Fourier nonlinearity: how far from equivariant it is, and where it is exact."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshconv import FieldType, HealpixSphere
from meshconv.nn import FourierNonlinearity
from meshconv.testing import gauge_equivariance_error

M = 2
TYPE = FieldType.uniform(16, M)


def error(samples: int | None, order: int = M) -> float:
    layer = FourierNonlinearity(FieldType.uniform(16, order), samples)
    return gauge_equivariance_error(layer, HealpixSphere(4).gauge_graph(), dtype=torch.float64)


@pytest.mark.parametrize(("samples", "documented"), [(2 * M + 1, 0.31), (None, 0.013)])
def test_gauge_error_is_the_documented_one(samples, documented):
    assert 0.8 * documented < error(samples) < 1.2 * documented


@pytest.mark.parametrize("order", [1, 2, 3])
def test_gauge_error_falls_with_the_samples(order):
    """As N^-2, the rate at which the Fourier coefficients of relu fall."""
    errors = [error(n, order) for n in (8 * order + 1, 16 * order + 1, 32 * order + 1)]
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert 3 < coarse / fine < 5


def test_default_is_not_the_bad_one():
    assert FourierNonlinearity(TYPE).samples == 8 * M + 1


@pytest.mark.parametrize("samples", [5, 8, 17])
def test_turns_by_a_sample_are_exact(samples):
    layer, x = FourierNonlinearity(TYPE, samples), torch.randn(30, TYPE.dim, dtype=torch.float64)
    y = layer(x)
    for k in range(samples):
        turn = torch.tensor(2 * math.pi * k / samples, dtype=torch.float64)
        torch.testing.assert_close(layer(TYPE.rotate(x, turn)), TYPE.rotate(y, turn), rtol=0, atol=1e-13)


def by_integration(x: Tensor, points: int = 20000) -> Tensor:
    """Fourier coefficients of the positive part of the function on the circle."""
    phi = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
    waves = [phi * 0 + 1]
    for m in range(1, M + 1):
        waves += [(m * phi).cos(), (m * phi).sin()]
    waves = torch.stack(waves)
    f = x.unflatten(-1, (2 * M + 1, -1)).mT @ waves
    coefficients = f.relu() @ waves.T * (2 / points)
    coefficients[..., 0] /= 2
    return coefficients.mT.flatten(-2)


def test_it_approaches_the_integral():
    x = torch.randn(8, TYPE.dim, dtype=torch.float64)
    expected = by_integration(x)
    errors = [float((FourierNonlinearity(TYPE, n)(x) - expected).norm() / expected.norm()) for n in (17, 65, 257)]
    assert errors[0] < 0.02 and errors[2] < 1e-4
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_positive_functions_pass_unchanged():
    x = torch.randn(8, TYPE.dim, dtype=torch.float64)
    x[:, :16] = 100
    torch.testing.assert_close(FourierNonlinearity(TYPE)(x), x)
    negative = FourierNonlinearity(TYPE)(-x)
    assert not negative.any()


def test_scalars_alone_meet_relu():
    x = torch.randn(9, 5)
    assert torch.equal(FourierNonlinearity("5x0")(x), x.relu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype):
    assert FourierNonlinearity(TYPE)(torch.randn(3, TYPE.dim, dtype=dtype)).dtype == dtype


def test_bad_types_and_samples():
    with pytest.raises(ValueError, match="one multiplicity at all orders and no odd scalars, got 2x0 \\+ 1x1"):
        FourierNonlinearity("2x0 + 1x1")
    with pytest.raises(ValueError, match="no odd scalars, got 2x1"):
        FourierNonlinearity("2x1")
    with pytest.raises(ValueError, match="4 samples do not resolve order 2; it takes 5"):
        FourierNonlinearity(TYPE, 4)


def measured(order: int, samples: int, activation: str | Callable) -> float:
    """As benchmarks/fourier_error.py does, of other features and angles."""
    kind = FieldType.uniform(64, order)
    act, x = FourierNonlinearity(kind, samples, activation), torch.randn(800, kind.dim, dtype=torch.float64)
    angle = 2 * math.pi * torch.rand(800, dtype=torch.float64)
    expected = kind.rotate(act(x), angle)
    return float((act(kind.rotate(x, angle)) - expected).norm() / expected.norm())


def documented() -> dict[tuple[str, int, int], float]:
    """The table of docs/layers.md: activation, order, samples / order."""
    text = (Path(__file__).parents[1] / "docs" / "layers.md").read_text(encoding="utf-8")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    head = next(r for r in rows if r[0] == "activation, order M")
    factors = [int(re.fullmatch(r"(\d+)M \+ 1", h)[1]) for h in head[1:]]
    found = {}
    for label, *errors in rows:
        match = re.fullmatch(r"(relu|silu), (\d+)", label)
        if match:
            found |= {(match[1], int(match[2]), f): float(e) for f, e in zip(factors, errors, strict=True)}
    return found


def test_the_documented_table_holds():
    """At the default 8M + 1 and below within 20 %; the finest errors of silu are those of its rarest values."""
    table = documented()
    assert {(a, m, 8) for a in ("relu", "silu") for m in (1, 2, 3, 4)} <= table.keys()
    for (activation, order, factor), error in table.items():
        if factor <= 8 or activation == "relu":
            assert 0.8 * error < measured(order, factor * order + 1, activation) < 1.2 * error


@pytest.mark.parametrize("order", [1, 2, 3])
def test_smooth_functions_gain_more_than_any_power(order):
    errors = [measured(order, f * order + 1, "silu") for f in (4, 8, 16)]
    assert errors[0] / errors[1] > 2**4 and errors[1] / errors[2] > 4 * errors[0] / errors[1]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("degree", [2, 3, 5])
def test_polynomials_are_exact_from_p_plus_one_times_m_plus_one_samples(order, degree):
    def power(f: Tensor) -> Tensor:
        return f**degree

    samples = (degree + 1) * order + 1
    assert measured(order, samples, power) < 1e-12
    assert measured(order, samples - 1, power) > 1e-4


def test_own_functions_are_differentiable():
    act = FourierNonlinearity(FieldType.uniform(2, M), activation=torch.tanh)
    x = torch.randn(3, act.in_type.dim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(act, x, fast_mode=True)
    same = FourierNonlinearity(FieldType.uniform(2, M), activation=torch.relu)
    torch.testing.assert_close(same(x), FourierNonlinearity(FieldType.uniform(2, M))(x))


@pytest.mark.parametrize("samples", [5, 8, 17])
def test_reflections_are_exact(samples):
    """phi to -phi exchanges the samples."""
    kind = FieldType("O(2): 4x0 + 4x1 + 4x2")
    act, x = FourierNonlinearity(kind, samples), torch.randn(30, kind.dim, dtype=torch.float64)
    torch.testing.assert_close(act(kind.reflect(x)), kind.reflect(act(x)), rtol=0, atol=1e-13)
