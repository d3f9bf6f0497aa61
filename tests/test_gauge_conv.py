"""The gauge convolution: compiled against reference, odd graphs, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conv_case import Case, relative_error
from torch import Tensor
from torch.autograd import gradcheck

from meshconv import FieldType, GaugeGraph
from meshconv.ops import gauge_conv, gauge_conv_reference

TYPES = [
    ("1x0", "1x0"),
    ("3x0", "5x0"),
    ("1x0", "1x1"),
    ("1x1", "1x0"),
    ("7x0 + 3x1 + 5x2", "2x0 + 9x1 + 1x2"),
    ("2x1 + 3x4", "1x0 + 2x3"),
    ("4x2", "3x5"),
    ("1x8", "1x8"),
    ("2x0 + 1x3 + 2x8", "3x1 + 1x7"),
    ("16x0 + 16x1 + 16x2", "16x0 + 16x1 + 16x2"),
    ("17x0 + 33x1", "31x0 + 15x2"),
    ("5x0", "20x0 + 13x6"),
    ("40x0 + 24x1 + 17x2", "2x0"),  # from here on the compiled operator multiplies first
    ("64x0 + 64x1", "3x0 + 2x1"),
    ("70x0", "1x0 + 1x2"),
]


def by_hand(case: Case) -> Tensor:
    """The definition, edge by edge with explicit complex numbers: shares no code with either implementation."""
    a, b, g = case.in_type, case.out_type, case.graph
    y = torch.zeros(g.num_vertices, b.dim, dtype=torch.float64)
    for e in range(g.num_edges):
        q, p = int(g.src[e]), int(g.dst[e])
        theta, turn = g.log_angle[e], g.transporter[e] - g.log_angle[e]
        u = torch.empty(a.dim, dtype=torch.float64)
        for m in a.orders:
            f = case.x[q, a.slice(m)]
            if m:
                z = torch.complex(*f.chunk(2)) * torch.exp(1j * m * turn)
                f = torch.cat([z.real, z.imag])
            u[a.slice(m)] = f
        message = sum(case.radial[e, r] * (case.weight[r].T @ u) for r in range(case.weight.shape[0]))
        for m in b.orders:
            f = message[b.slice(m)]
            if m:
                z = torch.complex(*f.chunk(2)) * torch.exp(1j * m * theta)
                f = torch.cat([z.real, z.imag])
            y[p, b.slice(m)] += f
    return y


@pytest.mark.parametrize("compiled", [True, False])
def test_it_computes_its_definition(random_graph, compiled):
    case = Case.random(random_graph(5, 14), "2x0 + 1x1 + 2x3", "1x0 + 2x1 + 1x2", num_radial=3)
    assert relative_error(case.run(compiled), by_hand(case)) < 1e-14


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("in_type", "out_type"), TYPES)
@pytest.mark.parametrize("num_radial", [1, 3])
def test_compiled_equals_reference(random_graph, in_type, out_type, num_radial):
    case = Case.random(random_graph(150, 700), in_type, out_type, num_radial)
    expected = case.run(False)
    assert relative_error(case.run(True), expected) < 1e-13
    assert relative_error(case.to(torch.float32).run(True), expected) < 3e-6


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("in_type", "out_type"), TYPES)
def test_compiled_gradients_equal_the_reference(random_graph, in_type, out_type):
    case = Case.random(random_graph(40, 150), in_type, out_type, batch=(2,))
    gradients = []
    for compiled in (True, False):
        leaves = case.leaves()
        y = case.run(compiled, *leaves)
        g = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape).cos()
        gradients.append(torch.autograd.grad(y, leaves, g, materialize_grads=True))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("size", [0.0, 1e-6, 1.0, 900.0, 1e4])
def test_angles_of_any_size(random_graph, size):
    """Compiled kernels have their own cosines and sines of moderate angles; quarter turns are among them."""
    case = Case.random(random_graph(60, 400), "5x0 + 3x1 + 1x3", "4x0 + 2x1 + 3x2")
    quarters = torch.arange(case.graph.num_edges) % 9 * (torch.pi / 2)
    angle = torch.where(quarters < 6, quarters + size * (case.graph.log_angle - torch.pi), -size * case.graph.log_angle)
    # The reference rounds three times an angle: of tens of thousands to 1e-11. Sums of two angles are exact here.
    graph = replace(case.graph, log_angle=angle, transporter=torch.zeros_like(angle))
    for dtype, bound in ((torch.float64, 1e-11), (torch.float32, 1e-6)):
        rounded = replace(case, graph=graph).to(dtype)
        assert relative_error(rounded.run(True), rounded.to(torch.float64).run(False)) < bound


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2**-10), (torch.bfloat16, 2**-7)])
def test_half_precision_rounds_only_the_features(random_graph, dtype, bound):
    case = Case.random(random_graph(60, 400), "6x0 + 5x1 + 3x4", "4x0 + 4x4").to(dtype)
    y = case.run(True)
    exact = replace(case.to(torch.float64), x=case.x.double()).run(False)
    assert y.dtype == dtype
    assert 0 < relative_error(y, exact) < bound


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (0,)])
def test_leading_axes_share_the_graph(random_graph, batch):
    case = Case.random(random_graph(30, 100), "3x0 + 2x1", "2x0 + 2x2", batch=batch)
    y = case.run(True)
    assert y.shape == (*batch, 30, case.out_type.dim)
    flat = case.x.reshape(-1, 30, case.in_type.dim)
    for i, row in enumerate(y.reshape(-1, *y.shape[-2:])):
        assert torch.equal(row, replace(case, x=flat[i]).run(True))


@pytest.mark.parametrize(("vertices", "edges"), [(0, 0), (1, 0), (7, 0), (1, 4)])
def test_graphs_of_almost_nothing(random_graph, vertices, edges):
    case = Case.random(random_graph(vertices, edges), "2x0 + 1x1", "1x0 + 1x2")
    leaves = case.leaves()
    y = case.run(True, *leaves)
    assert y.shape == (vertices, 3)
    torch.testing.assert_close(y, case.run(False), rtol=1e-13, atol=1e-13)
    for leaf, grad in zip(leaves, torch.autograd.grad(y.sum(), leaves), strict=True):
        assert grad.shape == leaf.shape
        if edges == 0:
            assert not grad.any()


def test_isolated_vertices_get_zero(random_graph):
    case = Case.random(random_graph(200, 50), "2x0 + 2x1", "2x0 + 2x1")
    isolated = case.graph.dst_ptr.diff() == 0
    y = case.run(True)
    assert isolated.sum() > 100
    assert not y[isolated].any()
    assert y[~isolated].any(dim=-1).all()


def star(valence: int) -> GaugeGraph:
    """Vertex 0 with ``valence`` neighbours, which have none."""
    angle = torch.rand(2, valence, dtype=torch.float64) * 6
    n = valence + 1
    return GaugeGraph.from_edges(
        torch.arange(1, n), torch.zeros(valence, dtype=torch.int64), torch.ones(valence), *angle,
        frames=torch.eye(3).expand(n, 3, 3), positions=torch.zeros(n, 3, dtype=torch.float64),
        areas=torch.ones(n), scale=1.0,
    )  # fmt: skip


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("valence", [63, 64, 65, 3000])
def test_any_valence(valence):
    case = Case.random(star(valence), "3x0 + 2x1", "2x0 + 3x2")
    assert relative_error(case.run(True), case.run(False)) < 1e-12


def test_duplicated_edges_count_twice(random_graph):
    graph = random_graph(10, 30)
    real = (graph.log_radius, graph.log_angle, graph.transporter)
    rest = {"frames": graph.frames, "positions": graph.positions, "areas": graph.areas, "scale": graph.scale}
    ends = (graph.src, graph.dst)
    doubled = GaugeGraph.from_edges(*(t.repeat_interleave(2) for t in (*ends, *real)), **rest)
    case = Case.random(graph, "2x0 + 2x1", "2x0 + 2x1")
    twice = replace(case, graph=doubled, radial=case.radial.repeat_interleave(2, dim=0))
    assert relative_error(twice.run(True), 2 * case.run(True)) < 1e-14


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_bad_number_reaches_neighbours_alone(random_graph, value, compiled):
    case = Case.random(random_graph(60, 150), "3x0 + 3x1", "2x0 + 2x1")
    clean = case.run(compiled)
    case.x[17] = value
    y = case.run(compiled)
    reached = torch.zeros(60, dtype=torch.bool)
    reached[case.graph.dst[case.graph.src == 17]] = True
    assert 0 < reached.sum() < 20
    assert not torch.isfinite(y[reached]).any()
    assert torch.equal(y[~reached], clean[~reached])


def test_more_sources_than_targets():
    """Sources and targets may be different sets of points."""
    src, dst = torch.tensor([5, 0, 3, 3, 4]), torch.tensor([0, 0, 1, 2, 2])
    src_edge = torch.argsort(src, stable=True)
    src_ptr = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(src, minlength=6).cumsum(0)])
    edges = (torch.tensor([0, 2, 3, 5]), src, dst, src_ptr, src_edge)
    a, b = FieldType("2x0 + 1x1"), FieldType("1x0 + 1x2")
    shapes = [(6, a.dim), (2, a.dim, b.dim), (5, 2), (5,), (5,)]
    leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    y = gauge_conv(*leaves, edges, a, b)
    expected = gauge_conv_reference(leaves[0][None], *leaves[1:], src, dst, 3, a, b)[0]
    torch.testing.assert_close(y, expected)
    assert gradcheck(lambda *t: gauge_conv(*t, edges, a, b), leaves)


def _cut(*names: str):
    return lambda a: {**a, **{n: a[n][:-1] for n in names}}


BAD = {
    "x: channels": (lambda a: {**a, "x": a["x"][..., :-1]}, r"last axis of 4, got \(5, 3\)"),
    "x: one axis": (lambda a: {**a, "x": a["x"][0]}, r"vertex axis and a feature axis, got shape \(4,\)"),
    "x: vertices": (_cut("x"), r"x has 4 vertices, the graph 5"),
    "weight": (_cut("weight"), r"weight has shape \[1, 4, 3\], expected \[2, 4, 3\]"),
    "weight: axes": (
        lambda a: {**a, "weight": a["weight"].mT.contiguous()},
        r"weight has shape \[2, 3, 4\], expected \[2, 4, 3\]",
    ),
    "radial": (_cut("radial"), r"radial has shape \[8, 2\], expected \[9, -1\]"),
    "angle": (_cut("angle"), r"angle has shape \[8\], expected \[9\]"),
    "transporter": (_cut("transporter"), r"transporter has shape \[8\], expected \[9\]"),
    "dst": (_cut("dst"), r"dst has shape \[8\], expected \[9\]"),
    "src_edge": (_cut("src_edge"), r"src_edge has shape \[8\], expected \[9\]"),
    "int32": (lambda a: {**a, "src": a["src"].int()}, r"src has to be int64"),
    "int32 rows": (lambda a: {**a, "dst_ptr": a["dst_ptr"].int()}, r"dst_ptr has to be int64"),
}


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_errors_with_the_numbers(random_graph, name):
    corrupt, message = BAD[name]
    g = random_graph(5, 9)
    case = Case.random(g, "2x0 + 1x1", "1x0 + 1x1")
    good = {"x": case.x, "weight": case.weight, "radial": case.radial, "angle": g.log_angle,
            "transporter": g.transporter, "dst_ptr": g.dst_ptr, "src": g.src, "dst": g.dst,
            "src_ptr": g.src_ptr, "src_edge": g.src_edge}  # fmt: skip

    def call(a: dict[str, Tensor]) -> Tensor:
        values = list(a.values())
        return gauge_conv(*values[:5], tuple(values[5:]), case.in_type, case.out_type)

    call(good)
    with pytest.raises((ValueError, RuntimeError), match=message):
        call(corrupt(good))


@pytest.mark.usefixtures("compiled")
def test_orders_beyond_the_compiled_limit_are_an_error(random_graph):
    case = Case.random(random_graph(5, 9), "1x33", "1x0")
    with pytest.raises(RuntimeError, match="orders between 0 and 32, got 34"):
        case.run(True)
