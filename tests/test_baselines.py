"""Networks to compare with: the isotropic graph U-Net and the planar one on a latitude-longitude map."""

from __future__ import annotations

import gc
import math

import healpy
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from meshconv import FieldType, GaugeGraph, HealpixSphere
from meshconv.geometry import icosahedral_sphere
from meshconv.models import IsotropicUNet, PixelwiseNetwork, PlanarUNet, SphereUNet
from meshconv.models.planar_unet import RESAMPLINGS, MapConv, map_resampling
from meshconv.models.upright import to_north, upright_components
from meshconv.testing import gauge_equivariance_error

IN = FieldType("2x0 + 1x1")
FAMILY = {
    "isotropic": lambda t=IN: IsotropicUNet(t, 3, channels=(8, 8, 8), width=16),
    "planar": lambda t=IN: PlanarUNet(t, 3, channels=(8, 8, 8), width=16),
}


@pytest.fixture(scope="module")
def surface():
    return HealpixSphere(4).hierarchy(3)


def turned_pixels(nside: int, turn: np.ndarray) -> np.ndarray:
    """Where an exact symmetry of the grid takes every pixel."""
    return healpy.vec2pix(nside, *(turn @ HealpixSphere(nside).xyz.T), nest=True)


@pytest.mark.parametrize("name", FAMILY)
def test_they_learn_take_batches_and_do_not_depend_on_the_gauge(surface, name):
    model, at = FAMILY[name](), surface.to(torch.float32)
    x = torch.randn(2, 192, IN.dim)
    target = ((x[..., 0] > 0).long() + (x[..., 1] > 0)).flatten()
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.02), []
    for _ in range(20):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x, at).flatten(0, -2), target)
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    model.eval()
    assert model(x, at).shape == (2, 192, 3)
    torch.testing.assert_close(model(x[1], at), model(x, at)[1], rtol=1e-4, atol=1e-5)
    assert gauge_equivariance_error(model.double(), surface) < 1e-10


@pytest.mark.parametrize("name", FAMILY)
def test_they_see_neighbours(surface, name):
    model = FAMILY[name]().double().eval()
    x = torch.randn(192, IN.dim, dtype=torch.float64)
    changed = x.clone()
    changed[100] += 1
    moved = (model(x, surface) - model(changed, surface)).abs().amax(-1) > 1e-9
    assert moved[100] and int(moved.sum()) > 150


def change_under_turn(model: nn.Module, surface, x: torch.Tensor, turn: np.ndarray, sign: torch.Tensor) -> float:
    """How much the answer to a turned map differs from the turned answer, in standard deviations of the answer.

    ``sign [dim]`` is what the turn does to the components besides moving them.
    """
    to = turned_pixels(4, turn)
    turned = torch.empty_like(x)
    turned[to] = x * sign
    with torch.no_grad():
        answer = model(x, surface)
        return float((model(turned, surface)[to] - answer).abs().max() / answer.std())


def test_what_turns_with_the_sphere(surface):
    """Scalars: radial kernels are exact, the map for multiples of a column. Vectors: only the gauge network is."""
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    about_z = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    networks = FAMILY | {"gauge": lambda t=IN: SphereUNet(t, 3, channels=(4, 4, 4), width=16)}
    # The half turn about x takes south to north and east to west; the other keeps both.
    signs = {"3x0": torch.ones(3), str(IN): torch.tensor([1.0, 1.0, -1.0, -1.0])}
    exact = set()
    for kind, sign in signs.items():
        x = torch.randn(192, len(sign), dtype=torch.float64)
        for name, make in networks.items():
            model = make(FieldType(kind)).double().eval()
            assert change_under_turn(model, surface, x, about_z, sign.abs()) < 1e-10
            error = change_under_turn(model, surface, x, about_x, sign)
            assert error < 1e-10 or error > 0.1
            exact |= {(kind, name)} if error < 1e-10 else set()
    assert exact == {("3x0", "isotropic"), ("3x0", "gauge"), (str(IN), "gauge")}


def test_the_map_has_no_seam_and_goes_across_the_poles():
    conv = MapConv(1, 1, bias=False).double()
    x = torch.randn(1, 1, 6, 12, dtype=torch.float64)
    torch.testing.assert_close(conv(x.roll(5, -1)), conv(x).roll(5, -1))
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 0, 1] = 1  # the neighbour to the north
    assert torch.equal(conv(x)[0, 0, 0], x[0, 0, 0].roll(6))
    assert torch.equal(conv(x)[0, 0, 1:], x[0, 0, :-1])


@pytest.mark.parametrize("sphere", [HealpixSphere(16), icosahedral_sphere(3)], ids=["healpix", "icosahedral"])
def test_there_and_back_keeps_smooth_fields(sphere):
    graph = sphere.gauge_graph()
    resampling = map_resampling(graph, 4)
    rows, columns = resampling.shape
    assert rows % 4 == 0 and columns == 2 * rows
    spacing = math.sqrt(4 * math.pi / graph.num_vertices)
    assert abs(rows - math.pi / spacing) <= 2
    for weight in (resampling.to_weight, resampling.from_weight):
        torch.testing.assert_close(weight.sum(1), torch.ones(len(weight), dtype=torch.float64))
        assert float(weight.min()) >= 0
    turn = torch.from_numpy(Rotation.random(random_state=0).as_matrix())
    x = torch.cat([torch.ones(graph.num_vertices, 1), graph.positions @ turn], dim=1)[None].double()
    picture = resampling.to_map(x)
    theta = (torch.arange(rows) + 0.5) * math.pi / rows
    phi = (torch.arange(columns) + 0.5) * math.pi / rows
    s, c = theta.sin()[:, None], theta.cos()[:, None]
    nodes = [s * phi.cos(), s * phi.sin(), c.expand(rows, columns)]
    expected = torch.einsum("irc,ij->jrc", torch.stack(nodes).double(), turn)
    assert (picture[0, 1:] - expected).abs().max() < 0.7 * spacing
    exact = torch.cat([torch.ones(1, rows, columns), expected])[None].double()
    assert (resampling.from_map(exact) - x).abs().max() < spacing**2  # second order, at the poles as well


def test_weights_live_as_long_as_the_positions():
    graph = HealpixSphere(2).gauge_graph()
    before = len(RESAMPLINGS)
    first = map_resampling(graph)
    assert map_resampling(graph.to(torch.float64)) is first
    assert len(RESAMPLINGS) == before + 1
    del graph
    gc.collect()
    assert len(RESAMPLINGS) == before


def test_upright_components_are_south_and_east():
    graph = HealpixSphere(4).gauge_graph()
    x = torch.randn(192, IN.dim, dtype=torch.float64)
    torch.testing.assert_close(upright_components(x, IN, graph), x)  # HEALPix frames are upright already
    alpha = torch.rand(192, dtype=torch.float64) * 6
    other = graph.change_gauge(alpha)
    torch.testing.assert_close(upright_components(IN.change_gauge(x, alpha), IN, other), x)


def test_the_north_is_a_field_of_unit_vectors():
    graph = HealpixSphere(4).gauge_graph().change_gauge(torch.rand(192, dtype=torch.float64) * 6)
    components = to_north(graph)
    space = torch.einsum("vi,vix->vx", components, graph.frames[:, :2])
    torch.testing.assert_close(components.norm(dim=-1), torch.ones(192, dtype=torch.float64))
    latitude = torch.asin(graph.positions[:, 2])
    torch.testing.assert_close(space[:, 2], latitude.cos())
    torch.testing.assert_close((space * graph.positions).sum(-1), torch.zeros_like(latitude), atol=1e-12, rtol=0)
    poles = icosahedral_sphere(4).gauge_graph()
    at_pole = poles.positions[:, 2].abs() > 1 - 1e-9
    assert at_pole.sum() == 2
    assert (to_north(poles)[at_pole] == 0).all()


def test_a_network_that_sees_the_north_tells_latitudes_apart_and_no_gauges(surface):
    torch.manual_seed(0)
    model = SphereUNet(IN, 3, channels=(4, 4, 4), width=16, north=True).double().eval()
    assert model.in_type == IN
    x = torch.randn(192, IN.dim, dtype=torch.float64)
    assert gauge_equivariance_error(model, surface, x=x) < 1e-9
    z = torch.as_tensor(HealpixSphere(4).xyz[:, 2])
    target = (z > 0.5).long() + (z > -0.5).long()
    optimiser = torch.optim.Adam(model.parameters(), 2e-2)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(torch.zeros_like(x), surface), target).backward()
        optimiser.step()
    assert (model(torch.zeros_like(x), surface).argmax(-1) == target).double().mean() > 0.9
    # A quarter turn about the axis keeps the north, a half turn about x does not.
    for axis, angle, same in (("z", 90, True), ("x", 180, False)):
        turn = Rotation.from_euler(axis, angle, degrees=True).as_matrix()
        to, f = turned_pixels(4, turn), torch.randn(192, 2, dtype=torch.float64)
        scalars = SphereUNet("2x0", 3, channels=(4, 4), width=16, north=True).double().eval()
        there = scalars(torch.empty_like(f).index_copy_(0, torch.from_numpy(to), f), HealpixSphere(4).hierarchy(2))
        unchanged = torch.allclose(there[torch.from_numpy(to)], scalars(f, HealpixSphere(4).hierarchy(2)), atol=1e-9)
        assert unchanged == same


def test_sizes_are_comparable():
    """Defaults have numbers of weights within 10 % of the gauge-equivariant network's."""
    ours = sum(p.numel() for p in SphereUNet("4x0", 14).parameters())
    for model in (IsotropicUNet("4x0", 14), PlanarUNet("4x0", 14)):
        assert 0.9 < sum(p.numel() for p in model.parameters()) / ours < 1.1
    assert sum(p.numel() for p in PixelwiseNetwork("4x0", 14).parameters()) < ours


def test_a_map_shows_one_sphere():
    both = GaugeGraph.batch([HealpixSphere(1).gauge_graph()] * 2)
    with pytest.raises(ValueError, match="one sphere, got 2"):
        map_resampling(both)


def test_wrong_features_and_channels_are_errors(surface):
    for make in FAMILY.values():
        with pytest.raises(ValueError, match=r"2x0 \+ 1x1 need a last axis of 4"):
            make()(torch.zeros(192, 5), surface.to(torch.float32))
    for network in (PlanarUNet, IsotropicUNet):
        with pytest.raises(ValueError, match="one entry per level"):
            network(IN, 3, channels=())
