"""Differential operators on points: closed forms and their order, exactness in the plane, equivariance, odd input."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from harmonics import EIGENVALUE, Harmonic, errors, orders, shaken
from meshes import DEFECTIVE, OPEN, flat_sheet, icosphere
from scipy.special import sph_harm_y

from meshconv import GaugeGraph, HealpixSphere, nn as layers
from meshconv.nn.calculus.stencil import taylor_stencil
from meshconv.testing import assert_gauge_equivariant

SPHERES = {
    "healpix": [lambda n=n: HealpixSphere(n).gauge_graph() for n in (8, 16, 32)],
    "icosphere": [lambda n=n: icosphere(n).gauge_graph() for n in (3, 4, 5)],
    "irregular": [lambda n=n: shaken(icosphere(n)).gauge_graph() for n in (3, 4, 5)],
}

OPERATORS = {
    "gradient": lambda g, h: (layers.Gradient("1x0")(h.value, g), h.gradient),
    "divergence": lambda g, h: (layers.Divergence("1x1")(h.gradient, g), EIGENVALUE * h.value),
    "curl": lambda g, h: (layers.Curl("1x1")(h.turned, g), EIGENVALUE * h.value),
    "laplacian": lambda g, h: (layers.Laplacian("1x0")(h.value, g), EIGENVALUE * h.value),
    "laplacian of vectors": lambda g, h: (layers.Laplacian("1x1")(h.gradient, g), (EIGENVALUE + 1) * h.gradient),
    "laplacian of tensors": lambda g, h: (layers.Laplacian("1x2")(h.tensor, g), (EIGENVALUE + 4) * h.tensor),
}

MODULES = {
    "gradient": lambda: layers.Gradient("3x0"),
    "divergence": lambda: layers.Divergence("2x1"),
    "curl": lambda: layers.Curl("2x1"),
    "laplacian": lambda: layers.Laplacian("2x0 + 3x1 + 1x3"),
}


@pytest.mark.parametrize("surface", SPHERES)
@pytest.mark.parametrize("name", OPERATORS)
def test_order_of_convergence_to_closed_forms(surface, name):
    """First derivatives: second order everywhere. Second derivatives: first order everywhere where the log maps
    are exact; more in the mean, where most neighbourhoods are symmetric."""
    found = []
    for build in SPHERES[surface]:
        graph = build()
        found.append(errors(*OPERATORS[name](graph, Harmonic(graph.positions, graph.frames))))
    order_max, order_rms = orders(found)
    if "laplacian" not in name:
        assert found[-1][0] < 0.01 and order_max > 1.8 and order_rms > 1.9
    elif surface == "irregular":
        assert found[-1][1] < 0.03 and order_rms > 0.5  # the transporters of a mesh are first order themselves
    else:
        assert found[-1][1] < 0.005 and order_rms > 1.1
        assert found[-1][0] < 0.02 and order_max > 0.4


def test_against_scipys_spherical_harmonics():
    """Degree 5, order 2: the gradient in the frame (south, east) and the Laplacian."""
    sphere = HealpixSphere(32)
    graph, theta, phi = sphere.gauge_graph(), sphere.theta, sphere.phi
    y, slope = sph_harm_y(5, 2, theta, phi, diff_n=1)
    f = torch.from_numpy(y.real.copy())[:, None]
    # scipy differentiates by theta, which points south, and by phi; m Y / sin(theta) is the slope eastward
    east = -2 * y.imag / torch.sin(torch.from_numpy(theta)).numpy()
    exact = torch.from_numpy(slope[:, 0].real.copy()), torch.from_numpy(east)
    assert errors(layers.Gradient("1x0")(f, graph), torch.stack(exact, -1))[0] < 0.01
    assert errors(layers.Laplacian("1x0")(f, graph), -30 * f)[0] < 0.03


def test_polynomials_in_the_plane_are_exact():
    mesh = flat_sheet(9)
    graph = mesh.gauge_graph()
    u = torch.einsum("vi,vi->v", graph.positions, graph.frames[40, 0].expand(81, 3))
    v = torch.einsum("vi,vi->v", graph.positions, graph.frames[40, 1].expand(81, 3))
    f = torch.stack([2 * u - v, u * u - 3 * u * v + 0.5 * v * v], -1)
    slope = [torch.stack([2 + 0 * u, -1 + 0 * u], -1), torch.stack([2 * u - 3 * v, -3 * u + v], -1)]
    basis = graph.frames[40, :2]
    got = layers.to_ambient(layers.Gradient("2x0")(f, graph), graph, "2x1")
    inner = torch.from_numpy(~mesh.fans.is_boundary) & (graph.dst_ptr.diff() >= 5)
    assert inner.sum() > 40
    for k in range(2):
        torch.testing.assert_close(got[inner, k], (slope[k] @ basis)[inner], rtol=1e-9, atol=1e-9)
    # Sides of the sheet: a linear fit of a linear function. At corners the angles are stretched to half a turn.
    angle = torch.from_numpy(mesh.fans.total)
    side = torch.from_numpy(mesh.fans.is_boundary) & ((angle - math.pi).abs() < 1e-9)
    assert side.sum() == 28
    torch.testing.assert_close(got[side, 0], (slope[0] @ basis)[side], rtol=1e-9, atol=1e-9)
    laplacian = layers.Laplacian("2x0")(f, graph)[inner]
    torch.testing.assert_close(laplacian, torch.tensor([0.0, 3.0]).double().expand_as(laplacian), rtol=1e-8, atol=1e-8)


def test_curl_and_divergence_have_their_signs():
    """Solid rotation about z, seen from outside: 2 cos(theta) counter-clockwise; flow away from the pole diverges."""
    graph = HealpixSphere(32).gauge_graph()
    z = graph.positions[:, 2:]
    rotation = torch.linalg.cross(torch.tensor([[0.0, 0, 1]]).double().expand(len(z), 3), graph.positions)
    field = layers.from_ambient(rotation[:, None], graph, "1x1")
    assert errors(layers.Curl("1x1")(field, graph), 2 * z)[0] < 1e-3
    assert layers.Divergence("1x1")(field, graph).abs().max() < 1e-3
    south = torch.stack([(1 - z[:, 0] ** 2).sqrt(), 0 * z[:, 0]], -1)  # -grad z
    assert errors(layers.Divergence("1x1")(south, graph), 2 * z)[0] < 1e-3


@pytest.mark.parametrize("name", MODULES)
def test_gauge_equivariance(name, sphere, random_graph):
    module = MODULES[name]()
    for graph in (sphere, OPEN["bumpy_sheet"][0]().gauge_graph(), random_graph(40, 300)):
        assert_gauge_equivariant(module, graph, 1e-10, dtype=torch.float64)
        assert_gauge_equivariant(module, graph, 1e-5, dtype=torch.float32)


@pytest.mark.parametrize(
    "module",
    [layers.Gradient("O(2): 3x0"), layers.Divergence("O(2): 2x1"), layers.Curl("O(2): 2x1"),
     layers.Laplacian("1x0 + 2x0- + 1x1 + 1x2")],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_frames_may_be_reflected(module, sphere):
    alpha, flip = sphere.random_gauge(), torch.rand(48) < 0.5
    x = torch.randn(48, module.in_type.dim).double()
    turned = module(module.in_type.change_gauge(x, alpha, flip), sphere.change_gauge(alpha, flip))
    torch.testing.assert_close(turned, module.out_type.change_gauge(module(x, sphere), alpha, flip), rtol=0, atol=1e-11)


def test_fields_that_only_turn_are_refused_on_graphs_that_reflect(sphere):
    mirrored = sphere.change_gauge(torch.zeros(48), torch.arange(48) < 20)
    for module in (layers.Divergence("2x1"), layers.Laplacian("2x1")):
        with pytest.raises(ValueError, match="transporters that reflect, fields of type 2x1"):
            module(torch.zeros(48, 4), mirrored)


@pytest.mark.parametrize("name", MODULES)
def test_leading_axes_single_precision_and_gradients(name, sphere):
    module = MODULES[name]()
    x = torch.randn(2, 3, 48, module.in_type.dim, dtype=torch.float64)
    y = module(x, sphere)
    torch.testing.assert_close(y[1, 2], module(x[1, 2], sphere), rtol=1e-12, atol=1e-12)
    single = module(x.float(), sphere.to(torch.float32))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))
    small = x[0, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: module(v, sphere), small)
    assert torch.autograd.gradgradcheck(lambda v: module(v, sphere).square().sum(), small)


@pytest.mark.parametrize("defect", DEFECTIVE)
def test_defective_meshes_give_finite_derivatives(defect):
    graph = DEFECTIVE[defect]().gauge_graph()
    lonely = graph.dst_ptr.diff() == 0
    for name in MODULES:
        module = MODULES[name]()
        y = module(torch.randn(graph.num_vertices, module.in_type.dim).double(), graph)
        assert torch.isfinite(y).all() and not y[lonely].any()


def test_few_neighbours():
    """None: zero. One, or several on a line: the derivative along it. Less than five: no second derivatives."""
    star = [(1, 0.5, 0.3), (2, 0.25, 0.3 + math.pi)]
    graph = GaugeGraph.from_edges(
        [s for s, _, _ in star] + [0], [0, 0, 1], [r for _, r, _ in star] + [0.5], [a for *_, a in star] + [0.0],
        torch.zeros(3), frames=torch.eye(3).expand(3, 3, 3).double(), positions=torch.zeros(3, 3).double(),
        areas=torch.ones(3), scale=1.0,
    )  # fmt: skip
    f = torch.tensor([[1.0], [2.0], [0.5]]).double()
    got = layers.Gradient("1x0")(f, graph)
    line = torch.tensor([math.cos(0.3), math.sin(0.3)]).double()
    torch.testing.assert_close(got, torch.stack([2 * line, torch.tensor([-2.0, 0.0]).double(), 0 * line]))
    assert not layers.Laplacian("1x0")(f, graph).any()


def test_coincident_neighbours_do_no_harm(sphere):
    twice = {k: torch.cat([getattr(sphere, k), torch.zeros(48)]) for k in ("log_radius", "log_angle", "transporter")}
    ends = [torch.cat([e, torch.arange(48)]) for e in (sphere.src, sphere.dst)]
    points = {k: getattr(sphere, k) for k in ("frames", "positions", "areas", "scale")}
    graph = GaugeGraph.from_edges(*ends, *twice.values(), **points)
    f = Harmonic(graph.positions, graph.frames).value
    for module in (layers.Gradient("1x0"), layers.Laplacian("1x0")):
        assert (module(f, graph) - module(f, sphere)).norm() < 0.2 * module(f, sphere).norm()


def test_no_points(random_graph):
    graph = random_graph(0, 0)
    for name in MODULES:
        module = MODULES[name]()
        assert module(torch.zeros(0, module.in_type.dim).double(), graph).shape == (0, module.out_type.dim)


def test_alone_and_in_a_batch(sphere, random_graph):
    graphs = [random_graph(30, 200, 1), sphere]
    for name in MODULES:
        module = MODULES[name]()
        xs = [torch.randn(g.num_vertices, module.in_type.dim).double() for g in graphs]
        together = module(torch.cat(xs), GaugeGraph.batch(graphs))
        alone = torch.cat([module(x, g) for x, g in zip(xs, graphs, strict=True)])
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_weights_are_kept_while_the_graph_lives():
    graph = HealpixSphere(2).gauge_graph()
    assert taylor_stencil(graph) is taylor_stencil(graph)
    seen = weakref.ref(graph)
    del graph
    gc.collect()
    assert seen() is None


def test_wrong_types_and_sizes(sphere):
    for layer, wrong, wanted in (
        (layers.Gradient, "2x0 + 1x1", "'3x0'"), (layers.Divergence, "2x0", "'2x1'"), (layers.Curl, "1x2", "'1x1'"),
        (layers.Gradient, "1x0 + 1x0-", r"'O\(2\): 2x0'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{layer.__name__} takes fields of order . alone, such as {wanted}, not"):
            layer(wrong)
    for name in MODULES:
        module = MODULES[name]()
        with pytest.raises(ValueError, match="7 vertices, the graph 48"):
            module(torch.zeros(7, module.in_type.dim), sphere)
        with pytest.raises(ValueError, match="last axis"):
            module(torch.zeros(48, 5), sphere)
