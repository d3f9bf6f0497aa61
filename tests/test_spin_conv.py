"""Spin-weighted convolutions: equivariance, completeness, and the layers between them."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from meshconv import FieldType, HealpixSphere, InputError
from meshconv.geometry.sphere.frames import polar_frames
from meshconv.homogeneous import (
    PowerSpectrum,
    SphereTransform,
    SpinBatchNorm,
    SpinConv,
    SpinNonlinearity,
    SpinQuadratic,
    SpinResample,
    rotate_coefficients,
    to_alm,
)
from meshconv.nn import GatedNonlinearity, NormNonlinearity
from meshconv.nn.convolution.kernel import KernelSpace

ducc0 = pytest.importorskip("ducc0", reason="the transform needs the extra 'homogeneous'")
KIND, OUT = FieldType("2x0 + 1x1 + 1x2"), FieldType("1x0 + 2x1 + 1x3")
GRIDS = [("gauss", 9), (HealpixSphere(5, "ring"), 10), (HealpixSphere(4), 7)]


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def random_turn(number: int) -> np.ndarray:
    return Rotation.random(random_state=number).as_matrix()


def turned_fields(c: torch.Tensor, kind: FieldType, transform: SphereTransform, turn: np.ndarray) -> torch.Tensor:
    """(R f)(p) = R f(R^-1 p) by synthesis at the turned points and turns of their frames, without Wigner matrices."""
    xyz = transform.xyz @ turn
    theta, phi = np.arctan2(np.hypot(xyz[:, 0], xyz[:, 1]), xyz[:, 2]), np.arctan2(xyz[:, 1], xyz[:, 0])
    carried = polar_frames(theta, phi) @ turn.T  # frames there, brought here
    angle = np.arctan2(*(np.einsum("vj,vj->v", carried[:, 0], transform.frames[:, k]) for k in (1, 0)))
    loc, alm, columns = np.stack([theta, phi % (2 * np.pi)], 1), to_alm(c).numpy(), {}
    for m in kind.orders:
        block = np.split(alm[kind.slice(m)], 2 if m else 1)
        fields = [
            ducc0.sht.synthesis_general(alm=np.stack(a), spin=m, lmax=c.shape[0] - 1, loc=loc, epsilon=1e-13)
            for a in zip(*block, strict=True)
        ]
        columns[m] = np.stack(fields, 1).reshape(-1, len(loc)).T
    x = torch.from_numpy(np.concatenate([columns[m] for m in kind.orders], axis=1))
    return kind.rotate(x, torch.from_numpy(angle))


def shaken(module: nn.Module) -> nn.Module:
    """With all parameters at random, biases too."""
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(number), dtype=parameter.dtype))
    return module


def equivariance_error(module, in_type, out_type, transform, c, turn, dtype=torch.float64) -> float:
    """Relative error of the module under a turn, in the fields on the grid."""
    module = copy.deepcopy(module).to(dtype)
    x = transform.synthesis(c, in_type).to(dtype)
    turned = turned_fields(c, in_type, transform, turn).to(dtype)
    y = module(x, transform).double()
    expected = rotate_coefficients(transform.analysis(y, out_type), turn)
    found = transform.analysis(module(turned, transform).double(), out_type)
    return float(((found - expected).norm() / expected.norm()).detach())


@pytest.mark.parametrize(("grid", "lmax"), GRIDS)
def test_turned_coefficients_are_those_of_turned_fields(grid, lmax):
    transform, turn = SphereTransform(lmax, grid), random_turn(0)
    c = transform.random(OUT, generator=seeded())
    x = turned_fields(c, OUT, transform, turn)
    assert torch.allclose(transform.synthesis(rotate_coefficients(c, turn), OUT), x, atol=1e-11)
    for about_z in (np.eye(3), np.diag([-1.0, -1, 1]), np.diag([-1.0, 1, -1]), np.diag([1.0, -1, -1])):
        x = turned_fields(c, OUT, transform, about_z)
        assert torch.allclose(transform.synthesis(rotate_coefficients(c, about_z), OUT), x, atol=1e-11)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("grid", "lmax"), GRIDS)
@pytest.mark.parametrize("functions", [3, None])
def test_convolutions_commute_with_rotations(grid, lmax, dtype, bound, functions):
    transform = SphereTransform(lmax, grid)
    conv = shaken(SpinConv(KIND, OUT, lmax, num_functions=functions))
    c = transform.random(KIND, generator=seeded())
    for number in range(3):
        assert equivariance_error(conv, KIND, OUT, transform, c, random_turn(number), dtype) < bound


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("grid", "lmax"), GRIDS)
def test_the_quadratic_nonlinearity_commutes_with_rotations(grid, lmax, dtype, bound):
    transform, out = SphereTransform(lmax, grid), FieldType("1x0 + 2x1 + 1x2")
    layer = shaken(SpinQuadratic(KIND, out, lmax))
    c = transform.random(KIND, generator=seeded())
    assert equivariance_error(layer, KIND, out, transform, c, random_turn(1), dtype) < bound


def test_half_the_oversampling_breaks_it():
    transform, out = SphereTransform(9), FieldType("1x0 + 2x1 + 1x2")
    exact = shaken(SpinQuadratic(KIND, out, 9))
    coarse = SpinNonlinearity(exact.pointwise, 9, oversampling=1)
    c = transform.random(KIND, generator=seeded())
    assert equivariance_error(coarse, KIND, out, transform, c, random_turn(1)) > 1e-3


@pytest.mark.parametrize("make", [NormNonlinearity, GatedNonlinearity])
def test_other_nonlinearities_err_less_on_finer_grids(make):
    transform, act = SphereTransform(8), shaken(make(KIND))
    c = 0.3 * transform.random(act.in_type, generator=seeded())
    errors = [
        equivariance_error(SpinNonlinearity(act, 8, f), act.in_type, KIND, transform, c, random_turn(2))
        for f in (1, 1.5, 2)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[0] > 1e-4


@pytest.mark.parametrize("orders", [(m, n) for m in range(4) for n in range(4)])
def test_as_many_numbers_as_the_gauge_convolution_at_every_degree(orders):
    m, n = orders
    for prefix in ("", "O(2): "):
        a, b = FieldType(f"{prefix}1x{m}"), FieldType(f"{prefix}1x{n}")
        kernel = SpinConv(a, b, lmax=6, num_functions=None).kernel()
        dense = torch.eye(a.dim * b.dim).reshape(-1, a.dim, b.dim)
        gauge = np.linalg.matrix_rank(KernelSpace(a, b)(dense).reshape(len(dense), -1).numpy())
        counts = (kernel != 0).sum((1, 2))
        assert (counts[: max(m, n)] == 0).all() and (counts[max(m, n) :] == gauge).all()


@pytest.mark.parametrize("orders", [(0, 0), (0, 1), (1, 1), (2, 1)])
def test_there_are_no_more_equivariant_maps(orders):
    """The commutant of random rotations, by its dimension: one degree, all maps of its coefficients."""
    (m, n), degree = orders, 2
    a, b = FieldType(f"1x{m}"), FieldType(f"1x{n}")
    size = 2 * degree + 1
    columns = [0, *range(2, 2 * degree + 2)]

    def wigner(turn: np.ndarray) -> np.ndarray:
        unit = torch.zeros(size, degree + 1, 2 * degree + 2, 1, dtype=torch.float64)
        unit[range(size), degree, columns, 0] = 1
        return rotate_coefficients(unit, turn)[:, degree, columns, 0].numpy().T

    turns = [wigner(random_turn(k)) for k in range(3)]
    assert all(np.allclose(d @ d.T, np.eye(size)) for d in turns)
    left, right = (np.eye(t.dim) for t in (b, a))
    rows = [
        np.kron(np.kron(left, d), np.eye(a.dim * size)) - np.kron(np.eye(b.dim * size), np.kron(right, d).T)
        for d in turns
    ]
    values = np.linalg.svd(np.concatenate(rows), compute_uv=False)
    assert (values < 1e-9).sum() == a.dim * b.dim


def test_types_of_o2_commute_with_mirrors_too():
    """A reflection of the sphere, z -> -z: E and scalars have parity (-1)^(l+m), B and odd scalars the other sign."""
    kind, out = FieldType("1x0 + 1x0- + 1x1"), FieldType("1x0 + 1x0- + 1x1 + 1x2")
    transform = SphereTransform(6)
    conv = shaken(SpinConv(kind, out, 6).double())

    def mirrored(x, t):
        return t.reflect(x.unflatten(-2, (transform.nlat, transform.nlon)).flip(-3).flatten(-3, -2) * sign_of(t))

    def sign_of(t):
        # South to north: the mirror of the frame (south, east) is e1 -> -e1, a half turn and e2 -> -e2.
        return t.rotate(torch.ones(1, t.dim, dtype=torch.float64), torch.full((1,), math.pi).double())

    x = transform.synthesis(transform.random(kind, generator=seeded()), kind)
    assert torch.allclose(conv(mirrored(x, kind), transform), mirrored(conv(x, transform), out), atol=1e-11)
    plain = shaken(SpinConv("1x0 + 1x1", "1x1", 6).double())
    a, b = FieldType("O(2): 1x0 + 1x1"), FieldType("O(2): 1x1")
    x = transform.synthesis(transform.random("1x0 + 1x1", generator=seeded()), "1x0 + 1x1")
    assert not torch.allclose(plain(mirrored(x, a), transform), mirrored(plain(x, transform), b), atol=1e-3)


def test_a_zonal_filter_is_the_convolution_theorem():
    """Scalars to scalars: the integral with a function of the distance, K_l its Legendre coefficients."""
    transform = SphereTransform(12, oversampling=2.0)
    conv = SpinConv("1x0", "1x0", 12, num_functions=None, bias=False).double()
    nodes, weights = np.polynomial.legendre.leggauss(40)

    def zonal(z):
        return (0.7 + z) ** 5  # degree 5

    legendre = [np.polynomial.legendre.Legendre.basis(k)(nodes) for k in range(13)]
    with torch.no_grad():
        for k in range(13):
            conv.weight[k] = 2 * np.pi * float((weights * zonal(nodes) * legendre[k]).sum())
    x = transform.synthesis(transform.random("1x0", generator=seeded()), "1x0")
    pairs = torch.from_numpy(zonal(transform.xyz[:20] @ transform.xyz.T))
    assert torch.allclose(conv(x, transform)[:20], pairs @ (x * transform.areas[:, None]), atol=1e-10)


def test_few_functions_make_localised_kernels():
    """The response to a point, beyond three times the width of the grid's cells."""
    transform = SphereTransform(31)
    point = torch.zeros(32, 64, 1, dtype=torch.float64)
    point[:, 0, 0] = ((2 * torch.arange(32) + 1) / (4 * math.pi)).sqrt()  # a delta at the pole
    far = torch.from_numpy(transform.theta > 1.0)
    shares = []
    for functions in (3, None):
        conv = shaken(SpinConv("1x0", "4x0 + 4x1", 31, num_functions=functions, bias=False))
        y = transform.synthesis(conv.double().coefficients(point), conv.out_type).detach()
        power = y.square().sum(-1) * transform.areas
        shares.append(float(power[far].sum() / power.sum()))
    assert shares[0] < 0.1 < 0.3 < shares[1]


def test_batch_norm_is_equivariant_in_training():
    transform = SphereTransform(7)
    norm = shaken(SpinBatchNorm(KIND).double())
    c = transform.random(KIND, 2, generator=seeded())
    x, turned = (transform.synthesis(a, KIND) for a in (c, rotate_coefficients(c, random_turn(0))))
    y = transform.analysis(norm(x, transform), KIND)
    assert torch.allclose(transform.analysis(norm(turned, transform), KIND), rotate_coefficients(y, random_turn(0)))
    plain = SpinBatchNorm(KIND).double()
    weights = transform.areas[:, None] / (4 * math.pi)
    y = plain(x + 3, transform)
    assert ((y * weights).sum(-2).mean(0)[:2].abs() < 1e-10).all()
    assert torch.allclose((y.square() * weights).sum(-2).mean(0)[:2], torch.ones(2).double(), atol=1e-4)
    for _ in range(200):
        plain(x, transform)
    assert torch.allclose(plain.eval()(x, transform), plain.train()(x, transform), atol=1e-3)


def test_pooling_drops_degrees_and_power_spectra_are_invariant():
    fine, coarse = SphereTransform(12), SphereTransform(6, HealpixSphere(3, "ring"))
    c = fine.random(KIND, 3, generator=seeded())
    x, pool, power = fine.synthesis(c, KIND), SpinResample(KIND), PowerSpectrum(KIND, 9)
    low = pool(x, fine, coarse)
    assert torch.allclose(coarse.analysis(low, KIND), c[..., :7, :14, :], atol=1e-11)
    assert torch.allclose(fine.analysis(pool(low, coarse, fine), KIND)[..., :7, :14, :], c[..., :7, :14, :], atol=1e-11)
    turned = fine.synthesis(rotate_coefficients(c, random_turn(3)), KIND)
    assert torch.allclose(power(turned, fine), power(x, fine)) and power(x, fine).shape == (3, 10, KIND.dim)


def test_convolution_onto_another_grid():
    fine, coarse = SphereTransform(8, HealpixSphere(4)), SphereTransform(5)
    conv = SpinConv(KIND, OUT, 8).double()
    x = fine.synthesis(fine.random(KIND, generator=seeded()), KIND)
    assert torch.allclose(conv(x, fine, coarse), SpinResample(OUT)(conv(x, fine), fine, coarse), atol=1e-10)
    higher = SphereTransform(12)
    c = higher.random(KIND, generator=seeded())
    cut = c.clone()
    cut[9:] = 0
    a, b = (conv(higher.synthesis(v, KIND), higher) for v in (c, cut))
    assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.slow
def test_derivatives_compilation_and_state():
    transform = SphereTransform(3)
    conv = SpinConv("1x0 + 1x1", "1x0 + 1x1", 3, num_functions=2).double()
    x = torch.randn(transform.num_points, 3, dtype=torch.float64, generator=seeded()).requires_grad_()

    def call(x, weight, bias):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x, transform)).sin()

    inputs = (x, *(p.detach().clone().requires_grad_() for p in (conv.weight, conv.bias)))
    assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)
    compiled = torch.compile(conv, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x, transform), conv(x, transform))
    again = SpinConv("1x0 + 1x1", "1x0 + 1x1", 3, num_functions=2).double()
    again.load_state_dict(conv.state_dict())
    assert torch.equal(again(x, transform), conv(x, transform)) and set(conv.state_dict()) == {"weight", "bias"}


def test_initial_variance_is_one():
    torch.manual_seed(0)
    transform, kind, out = SphereTransform(20), FieldType("8x0 + 8x1"), FieldType("16x0 + 16x1 + 16x2")
    y = SpinConv(kind, out, 20).double().coefficients(transform.random(kind, 4, generator=seeded()))
    power = y.detach()[:, 2:].square().sum(2).mean((0, 2)) / (2 * torch.arange(2, 21) + 1)
    assert float(power.mean()) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SpinConv("1x0", "1x3", 2), "order 3 have no degree below 3"),
        (lambda: SpinConv("1x0", "1x0", -1), "lmax -1"),
        (lambda: SpinConv("1x0", "1x0", 4, num_functions=0), "num_functions 0"),
        (lambda: SpinConv("1x0", "1x0", 5)(torch.zeros(50, 1), SphereTransform(4)), "lmax 5, which is too high"),
        (lambda: SpinConv("1x0", "1x0", 4)(torch.zeros(49, 1), SphereTransform(4)), "has 50 points"),
        (lambda: SpinConv("1x0", "1x0", 1).coefficients(torch.zeros(3, 6, 1)), "degrees up to 2"),
        (lambda: SpinQuadratic("1x0", "1x0", 5)(torch.zeros(50, 1), SphereTransform(4)), "lmax 5"),
        (lambda: PowerSpectrum("1x0", 5)(torch.zeros(50, 1), SphereTransform(4)), "lmax 5"),
        (lambda: SpinNonlinearity(NormNonlinearity("1x3"), 2), "order 3"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
