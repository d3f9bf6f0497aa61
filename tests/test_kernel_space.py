"""Kernels that the layer can have, against a null space of the constraint found numerically."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from meshconv import FieldType
from meshconv.nn.convolution.kernel import KernelSpace

ANGLES = torch.linspace(0, 2 * torch.pi, 25, dtype=torch.float64)[:-1] + 0.1
SCALARS = ["O(2): 1x0", "1x0-"]
O2 = SCALARS + [f"O(2): 1x{m}" for m in range(1, 5)]
SO2 = [f"1x{m}" for m in range(5)]


def sampled(field_type: FieldType, reflected: bool = False) -> Tensor:
    return field_type.representation(ANGLES, reflected)


def null_space_dimension(in_type: FieldType, out_type: FieldType) -> int:
    """Kernels theta -> K(theta), as Fourier series, with K(g theta) = rho_out(g) K(theta) rho_in(g)^-1.

    Written for a rotation by an angle that no symmetry of the samples shares and, for O(2), for the reflection of the
    frame, theta -> -theta.
    """
    top = in_type.max_order + out_type.max_order + 2
    size = in_type.dim * out_type.dim
    waves = [lambda t: torch.ones_like(t)]
    waves += [lambda t, k=k: torch.cos(k * t) for k in range(1, top + 1)]
    waves += [lambda t, k=k: torch.sin(k * t) for k in range(1, top + 1)]
    elements = [(torch.tensor(a, dtype=torch.float64), False) for a in (0.7, 1.9)]
    if in_type.group == "O(2)":
        elements.append((torch.tensor(0.0, dtype=torch.float64), True))
    rows = []
    for angle, reflected in elements:
        rho_in, rho_out = (t.representation(angle, reflected) for t in (in_type, out_type))
        columns = []
        for wave, entry in itertools.product(waves, range(size)):
            kernel = torch.zeros(size, dtype=torch.float64)
            kernel[entry] = 1
            kernel = kernel.view(out_type.dim, in_type.dim)
            moved = wave((-ANGLES if reflected else ANGLES) + angle)[:, None, None] * kernel
            acted = rho_out @ (wave(ANGLES)[:, None, None] * kernel) @ rho_in.T
            columns.append((moved - acted).flatten())
        rows.append(torch.stack(columns, dim=1))
    constraint = torch.cat(rows)
    return constraint.shape[1] - int(torch.linalg.matrix_rank(constraint, rtol=1e-9))


def kernels(in_type: FieldType, out_type: FieldType, band_limit: int | None = None) -> Tensor:
    """All the kernels the layer can have, sampled: ``[in_dim * out_dim, angles, out_dim, in_dim]``."""
    size = in_type.dim * out_type.dim
    space = KernelSpace(in_type, out_type, band_limit).double()
    weights = space(torch.eye(size, dtype=torch.float64).view(size, in_type.dim, out_type.dim))
    return sampled(out_type) @ weights.mT[:, None] @ sampled(in_type).mT


@pytest.mark.parametrize(("a", "b"), [*itertools.product(SO2, SO2), *itertools.product(O2, O2)])
def test_dimension_of_every_pair(a, b):
    in_type, out_type = FieldType(a), FieldType(b)
    found = kernels(in_type, out_type).flatten(1)
    assert int(torch.linalg.matrix_rank(found, rtol=1e-9)) == null_space_dimension(in_type, out_type)


def test_dimensions_as_published():
    """de Haan et al., Table 1, and half of that with reflections (Weiler, Cesa 2019)."""
    assert [
        null_space_dimension(FieldType(a), FieldType(b)) for a, b in (("1x0", "1x0"), ("1x0", "1x2"), ("1x1", "1x2"))
    ] == [1, 2, 4]
    pairs = (("O(2): 1x0", "O(2): 1x0"), ("O(2): 1x0", "1x0-"), ("1x0-", "O(2): 1x2"), ("O(2): 1x1", "O(2): 1x2"))
    assert [null_space_dimension(FieldType(a), FieldType(b)) for a, b in pairs] == [1, 0, 1, 2]


@pytest.mark.parametrize(
    ("a", "b"), [("2x0 + 1x1 + 2x3", "1x0 + 2x2"), ("O(2): 2x0 + 1x0- + 1x1", "O(2): 1x0 + 1x0- + 2x2")]
)
@pytest.mark.parametrize("limit", [0, 1, 2, 3, None])
def test_band_limit_limits(a, b, limit):
    """No frequency above the limit in the direction of the neighbour, and nothing else is lost."""
    in_type, out_type = FieldType(a), FieldType(b)
    found, everything = kernels(in_type, out_type, limit), kernels(in_type, out_type)
    spectrum = torch.fft.rfft(found, dim=1).abs().amax((0, 2, 3))
    top = in_type.max_order + out_type.max_order if limit is None else limit
    assert spectrum[top + 1 :].max() < 1e-12 < spectrum[min(top, 3)]
    # The full space cut off at the frequency has the same dimension.
    waves = torch.fft.rfft(everything, dim=1)
    waves[:, top + 1 :] = 0
    cut = torch.fft.irfft(waves, n=len(ANGLES), dim=1).flatten(1)
    rank = int(torch.linalg.matrix_rank(found.flatten(1), rtol=1e-9))
    assert rank == int(torch.linalg.matrix_rank(cut, rtol=1e-9))


def test_projection_and_its_variance():
    space = KernelSpace(FieldType("O(2): 3x0 + 2x0- + 2x1 + 1x2"), FieldType("O(2): 2x0 + 2x1"), 2).double()
    weight = torch.randn(20000, 11, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once = space(weight)
    torch.testing.assert_close(space(once), once)
    torch.testing.assert_close(once.var(0).sum(0), space.fan_in(), rtol=0.02, atol=0)


def test_dense_kernels_pass_untouched():
    weight = torch.randn(3, 5, 4)
    assert KernelSpace(FieldType("3x0 + 1x2"), FieldType("4x0"))(weight) is weight


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"different groups: 1x0 \(SO\(2\)\) and O\(2\): 1x0"):
        KernelSpace(FieldType("1x0"), FieldType("O(2): 1x0"))
    with pytest.raises(ValueError, match="band_limit -1"):
        KernelSpace(FieldType("1x0"), FieldType("1x0"), -1)
