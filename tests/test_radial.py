"""Radial functions: what they are, where they end, and that gradients pass through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from meshconv.nn import GaugeConv
from meshconv.nn.convolution.radial import BASES, ZernikePolynomials, probe_disc, radial_functions, relative_radius
from meshconv.testing import assert_gauge_equivariant

RADIUS = torch.linspace(0, 1, 301, dtype=torch.float64)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_every_basis_is_finite_from_the_centre_to_the_cutoff(name, count):
    values = radial_functions(name, count).double()(RADIUS)
    assert values.shape == (301, count)
    assert torch.isfinite(values).all()
    assert int(torch.linalg.matrix_rank(values)) == count


@pytest.mark.parametrize("name", BASES)
def test_every_basis_is_differentiable_in_the_radius(name):
    basis = radial_functions(name, 4).double()
    # Between the kinks of the hats, at the centre and at the cutoff.
    radius = torch.tensor([0.0001, 0.1, 0.4, 0.61, 0.9, 0.9999], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(basis, radius)
    assert torch.autograd.gradgradcheck(basis, radius)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(basis(ends).sum(), ends)
    assert torch.isfinite(slope).all()


def test_rings_are_hats_that_sum_to_one():
    for count in (1, 2, 3, 6):
        w = radial_functions("linear", count)(RADIUS)
        torch.testing.assert_close(w.sum(1), torch.ones(301, dtype=torch.float64))
        assert w.min() >= 0 and ((w > 0).sum(1) <= 2).all()
    three = radial_functions("linear", 3)(torch.tensor([0.0, 0.5, 0.75]))
    assert three.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]]


def test_gaussians_stand_at_the_rings_and_cover_the_disc():
    values = radial_functions("gaussian", 5)(RADIUS)
    assert RADIUS[values.argmax(0)].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-12)
    inside = values.sum(1)[(RADIUS > 0.25) & (RADIUS < 0.75)]
    assert inside.min() > 1.2 and inside.max() < 1.3


def test_zernike_polynomials_are_orthonormal_over_the_disc():
    nodes, weights = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(20))
    radius, measure = (nodes + 1) / 2, weights / 2
    values = ZernikePolynomials(6)(radius)
    gram = torch.einsum("ea,eb,e->ab", values, values, measure * 2 * radius)
    torch.testing.assert_close(gram, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-13)
    expected = torch.stack([torch.ones(301), 2 * RADIUS**2 - 1, 6 * RADIUS**4 - 6 * RADIUS**2 + 1], dim=1)
    torch.testing.assert_close(ZernikePolynomials(3)(RADIUS), expected * torch.tensor([1, 3**0.5, 5**0.5]).double())


def test_probe_measures_mean_squares_over_the_disc():
    torch.testing.assert_close(probe_disc(ZernikePolynomials(4)), torch.ones(4), rtol=0, atol=5e-3)
    squares = probe_disc(radial_functions("linear", 2))
    torch.testing.assert_close(squares, torch.tensor([1 / 6, 1 / 2]), rtol=1e-2, atol=0)


def test_radii_beyond_the_cutoff_count_as_at_it(sphere):
    relative = relative_radius(sphere, 1.0)
    assert relative.max() == 1 > relative.min()
    torch.testing.assert_close(relative_radius(sphere, 1e3), sphere.log_radius / sphere.scale[sphere.dst] / 1e3)


@pytest.mark.parametrize("name", BASES)
def test_layers_of_every_basis_are_equivariant(sphere, name):
    conv = GaugeConv("2x0 + 2x1", "2x0 + 2x1 + 1x2", num_radial=3, radial=name).double()
    assert conv.weight.shape[0] == 3
    assert_gauge_equivariant(conv, sphere)


def test_gradients_reach_the_network_and_the_geometry(sphere):
    """The network of the radius gets the gradient that finite differences find."""
    conv = GaugeConv("1x0 + 1x1", "1x0 + 1x1", num_radial=2, radial="network").double()
    x = torch.randn(48, 3, dtype=torch.float64)

    def loss(*parameters: Tensor) -> Tensor:
        values = dict(zip(dict(conv.radial.named_parameters()), parameters, strict=True))
        named = {f"radial.{k}": v for k, v in values.items()}
        return torch.func.functional_call(conv, named, (x, sphere)).square().sum()

    leaves = tuple(p.detach().clone().requires_grad_() for p in conv.radial.parameters())
    assert torch.autograd.gradcheck(loss, leaves)
    assert all((g != 0).any() for g in torch.autograd.grad(loss(*leaves), leaves))


def test_a_module_of_ones_own(sphere):
    class Powers(nn.Module):
        def forward(self, radius: Tensor) -> Tensor:
            return torch.stack([radius**k for k in range(3)], dim=1)

    conv = GaugeConv("2x0", "1x0", radial=Powers(), self_interaction=False).double()
    assert conv.num_radial == 3 and conv.weight.shape == (3, 2, 1)
    x = torch.randn(2, dtype=torch.float64)
    row = sphere.dst == 5
    powers = torch.stack([relative_radius(sphere, 2.0)[row] ** k for k in range(3)]).mean(1)
    expected = torch.einsum("b,bio,i->o", powers, conv.weight, x)
    torch.testing.assert_close(conv(x.expand(48, 2), sphere)[5], expected)


def test_bad_bases_are_refused():
    class Flat(nn.Module):
        def forward(self, radius: Tensor) -> Tensor:
            return radius

    class Pole(nn.Module):
        def forward(self, radius: Tensor) -> Tensor:
            return 1 / radius[:, None]

    with pytest.raises(ValueError, match=r"radial 'bessel' is not a module or one of 'linear', 'gaussian'"):
        GaugeConv("1x0", "1x0", radial="bessel")
    with pytest.raises(ValueError, match=r"\[edges\] to \[edges, functions\], Flat made \(64,\)"):
        GaugeConv("1x0", "1x0", radial=Flat())
    with pytest.raises(ValueError, match="Pole is not finite at all radii"):
        GaugeConv("1x0", "1x0", radial=Pole())
