"""The Fourier nonlinearity: how far from equivariant it is, and where it is exact."""

from __future__ import annotations

import math

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
