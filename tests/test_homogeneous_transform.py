"""The spin-weighted transform: round trips, adjoints, signs, derivatives, threads, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meshconv import FieldType, HealpixSphere, InputError
from meshconv.geometry import icosahedral_sphere
from meshconv.homogeneous import SphereTransform, from_alm, power_spectrum, rotate_coefficients, to_alm

pytest.importorskip("ducc0", reason="the transform needs the extra 'homogeneous'")
KIND = FieldType("2x0 + 1x1 + 2x2")
GRIDS = [("gauss", 15), (HealpixSphere(8), 16), (HealpixSphere(8, "ring"), 13), (HealpixSphere(5, "ring"), 10)]


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize(("grid", "lmax"), [*GRIDS, ("gauss", 127), ("gauss", 2)])
def test_round_trips(grid, lmax):
    transform = SphereTransform(lmax, grid)
    c = transform.random(KIND, 2, generator=seeded())
    x = transform.synthesis(c, KIND)
    assert x.shape == (2, transform.num_points, KIND.dim)
    assert (transform.analysis(x, KIND) - c).abs().max() < 1e-12
    assert (transform.analysis(x.float(), KIND) - c).abs().max() < 1e-5
    assert transform.areas.sum().item() == pytest.approx(4 * math.pi)


@pytest.mark.parametrize(("grid", "lmax"), [*GRIDS, ("gauss", 127)])
def test_adjoints(grid, lmax):
    """To 1e-14 of the product of the norms."""
    transform = SphereTransform(lmax, grid)
    c = transform.random(KIND, generator=seeded())
    x = torch.randn(transform.num_points, KIND.dim, dtype=torch.float64, generator=seeded(1))
    for forward, back in (
        (transform.synthesis(c, KIND), transform.adjoint_synthesis(x, KIND)),
        (transform.adjoint_analysis(c, KIND), transform.analysis(x, KIND)),
    ):
        assert abs((forward * x).sum() - (c * back).sum()) < 1e-14 * forward.norm() * x.norm()


def test_coefficients_are_orthonormal():
    """The mean square over the sphere is that of the coefficients."""
    transform = SphereTransform(9, oversampling=1.5)
    c = transform.random(KIND, generator=seeded())
    x = transform.synthesis(c, KIND)
    power = (x.square() * transform.areas[:, None]).sum(0)
    scalars, others = KIND.slice(0), slice(KIND.slice(1).start, None)
    assert torch.allclose(power[scalars], c.square().sum((0, 1))[scalars])
    assert torch.allclose(power[others].sum(), c.square().sum((0, 1))[others].sum())
    assert torch.allclose(power_spectrum(c)[3] * 7, c[3].square().sum(0))


@pytest.mark.parametrize("grid", ["gauss", HealpixSphere(4)])
def test_gradients_are_fields_of_order_1(grid):
    """E = sqrt(l (l + 1)) chi synthesises grad chi in (south, east); B its rotation by a right angle."""
    transform = SphereTransform(6, grid)
    x, y, z = transform.xyz.T
    chi = torch.from_numpy(x * y + 2 * z**2 * x - z)
    slope = np.stack([y + 2 * z**2, x, 4 * z * x - 1], axis=1)
    tangent = torch.from_numpy(np.einsum("vij,vj->vi", transform.frames[:, :2], slope))
    c = transform.analysis(chi[:, None], "1x0")
    degree = torch.arange(7, dtype=torch.float64)[:, None, None]
    e = (degree * (degree + 1)).sqrt() * c
    field = transform.synthesis(torch.cat([e, 0 * e], -1), "1x1")
    assert torch.allclose(field, tangent, atol=1e-12)
    turned = transform.synthesis(torch.cat([0 * e, e], -1), "1x1")
    assert torch.allclose(turned, FieldType("1x1").rotate(tangent, torch.tensor(math.pi / 2).double()), atol=1e-12)


def test_products_of_vectors_are_fields_of_order_2():
    """The square of a vector as a complex number is band-limited as a field of order 2, not of order -2."""
    transform = SphereTransform(8, oversampling=1.5)
    c = SphereTransform(4).random("1x1", generator=seeded())
    u, v = transform.synthesis(c, "1x1").unbind(-1)
    for sign, fits in ((1, True), (-1, False)):
        square = torch.stack([u * u - v * v, sign * 2 * u * v], -1)
        back = transform.synthesis(transform.analysis(square, "1x2"), "1x2")
        assert torch.allclose(back, square, atol=1e-10) is fits


def test_gauss_analysis_of_products_is_exact_at_three_halves():
    low = SphereTransform(10)
    c = low.random("2x0", generator=seeded())
    exact = SphereTransform(20)
    wanted = exact.analysis(exact.synthesis(c, "2x0").prod(-1, keepdim=True), "1x0", 10)
    for factor, fits in ((1.5, True), (1.0, False)):
        transform = SphereTransform(10, oversampling=factor)
        product = transform.synthesis(c, "2x0").prod(-1, keepdim=True)
        assert torch.allclose(transform.analysis(product, "1x0"), wanted, atol=1e-11) is fits


@pytest.mark.parametrize("grid", ["gauss", HealpixSphere(1, "ring")])
@pytest.mark.slow
def test_derivatives(grid):
    transform, kind = SphereTransform(2, grid), "1x0 + 1x2"
    c = transform.random(kind, 2, generator=seeded()).requires_grad_()
    x = torch.randn(1, transform.num_points, 3, dtype=torch.float64, generator=seeded(1)).requires_grad_()

    def up(c):
        return transform.synthesis(c, kind).sin()

    def down(x):
        return transform.analysis(x, kind).sin()

    for function, argument in ((up, c), (down, x)):
        assert torch.autograd.gradcheck(function, argument)
        assert torch.autograd.gradgradcheck(function, argument)


def test_gradients_weigh_orders_as_maps_do():
    """Of ducc0's complex coefficients a map sees m = 0 once and m > 0 twice; the orthonormal ones all alike."""
    transform = SphereTransform(5, oversampling=2.0)
    alm = to_alm(transform.random("1x0", generator=seeded())).requires_grad_()
    x = transform.synthesis(from_alm(alm), "1x0")
    (x.square() * transform.areas[:, None]).sum().backward()
    order = torch.triu_indices(6, 6)[0]
    assert torch.allclose(alm.grad, 2 * alm.detach() * torch.where(order > 0, 2, 1))


@pytest.mark.parametrize("grid", ["gauss", HealpixSphere(16)])
def test_the_same_bits_over_threads(grid):
    transform, threads = SphereTransform(31, grid), torch.get_num_threads()
    c = transform.random(KIND, 2, generator=seeded())
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            x = transform.synthesis(c, KIND)
            found.append((x, transform.analysis(x, KIND)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for one in found[1:] for a, b in zip(one, found[0], strict=True))


def test_samples_and_channels_are_independent():
    transform = SphereTransform(9, HealpixSphere(5, "ring"))
    x = torch.randn(3, 2, transform.num_points, KIND.dim, generator=seeded())
    whole = transform.analysis(x, KIND)
    assert torch.allclose(transform.analysis(x[1, 1], KIND), whole[1, 1], atol=1e-6)
    vectors = transform.analysis(x[..., KIND.slice(1)], "1x1")
    assert torch.allclose(vectors, whole[..., KIND.slice(1)], atol=1e-6)
    assert transform.analysis(x[:0], KIND).shape == (0, 2, 10, 20, KIND.dim)


def test_complex_coefficients_are_healpy_s():
    import healpy

    sphere = HealpixSphere(8, "ring")
    transform = SphereTransform(12, sphere)
    c = transform.random("1x0 + 1x2", generator=seeded())
    x, alm = transform.synthesis(c, "1x0 + 1x2").numpy(), to_alm(c).numpy()
    assert np.allclose(healpy.alm2map(alm[0], 8, lmax=12), x[:, 0], atol=1e-10)
    both = healpy.alm2map_spin(np.ascontiguousarray(alm[1:]), 8, 2, 12)
    assert np.allclose(np.stack(both, 1), x[:, 1:], atol=1e-10)
    assert torch.equal(from_alm(to_alm(c)), from_alm(torch.from_numpy(alm)))
    assert torch.allclose(from_alm(to_alm(c)), c, atol=1e-15)


def test_nested_pixels_are_ring_pixels_in_another_order():
    nest, ring = HealpixSphere(4), HealpixSphere(4, "ring")
    c = SphereTransform(8, nest).random(KIND, generator=seeded())
    a, b = (SphereTransform(8, s).synthesis(c, KIND) for s in (nest, ring))
    assert torch.allclose(a, b[torch.from_numpy(ring.locate(nest.xyz))], atol=1e-13)


@pytest.mark.slow
def test_the_transform_compiles_as_one_graph():
    transform = SphereTransform(5)

    def smooth(x):
        return transform.synthesis(transform.analysis(x * 2, KIND, 4), KIND).relu()

    x = torch.randn(2, transform.num_points, KIND.dim, generator=seeded(), requires_grad=True)
    compiled = torch.compile(smooth, fullgraph=True, backend="aot_eager")
    ours, theirs = (torch.autograd.grad(f(x).square().sum(), x)[0] for f in (compiled, smooth))
    assert torch.allclose(ours, theirs, atol=1e-5) and torch.allclose(compiled(x), smooth(x), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SphereTransform(17, HealpixSphere(8)), "lmax 17 is too high for HEALPix nside 8"),
        (lambda: SphereTransform(23, HealpixSphere(8)), "up to 16"),
        (lambda: SphereTransform(-1), "lmax -1"),
        (lambda: SphereTransform(2.5), "lmax 2.5"),
        (lambda: SphereTransform(4, "healpix"), "grid 'healpix' is not known"),
        (lambda: SphereTransform(4, icosahedral_sphere(2)), "points at a pole|is not known"),
        (lambda: SphereTransform(4, oversampling=0.5), "oversampling 0.5"),
        (lambda: SphereTransform(4, HealpixSphere(4), 1.5), "oversampling 1.5"),
        (lambda: SphereTransform(1).random("1x2"), "order 2 have no degree below 2"),
        (lambda: SphereTransform(4).analysis(torch.zeros(49, 1), "1x0"), "has 50 points"),
        (lambda: SphereTransform(4).analysis(torch.zeros(50, 1), "1x0", 5), "lmax 5 is too high"),
        (lambda: SphereTransform(4).analysis(torch.zeros(50, 1, dtype=torch.int64), "1x0"), "dtype"),
        (lambda: SphereTransform(4).synthesis(torch.zeros(6, 12, 1), "1x0"), "degrees up to 5"),
        (lambda: SphereTransform(4).synthesis(torch.zeros(5, 9, 1), "1x0"), "coefficients have shape"),
        (lambda: rotate_coefficients(torch.zeros(3, 6, 1), np.diag([1.0, 1, -1])), "no rotation"),
        (lambda: from_alm(torch.zeros(5, dtype=torch.complex128)), "5 coefficients"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
