"""The depthwise convolution as an operator: values, derivatives of every order, registration, threads."""

from __future__ import annotations

import sys

import pytest
import torch
from conv_case import relative_error
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from meshconv import FieldType, GaugeGraph
from meshconv.ops import depthwise_conv, gauge_conv, is_compiled

ORDERS = [(0, 0, 1), (0, 2, 3), (1, 1, 8), (2, 0, 5), (2, 3, 17), (3, 2, 40)]  # N, M, channels
NAMES = ["depthwise_conv", "depthwise_conv_weight", "depthwise_conv_edge"]


def types(n: int, m: int, channels: int) -> tuple[FieldType, FieldType]:
    return FieldType.uniform(channels, n), FieldType.uniform(channels, m)


def leaves(graph: GaugeGraph, n: int, m: int, channels: int, num_radial: int = 2, batch: int = 2) -> list[Tensor]:
    """Features, weight, radial values, angles and transporters."""
    shapes = [
        (batch, graph.num_vertices, (2 * n + 1) * channels),
        (num_radial, 2 * n + 1, 2 * m + 1, channels),
        (graph.num_edges, num_radial),
    ]
    found = [*(torch.randn(s, dtype=torch.float64) for s in shapes), graph.log_angle, graph.transporter]
    return [t.detach().clone().requires_grad_() for t in found]


@pytest.fixture(params=[True, False], ids=["compiled", "reference"])
def backend(request, monkeypatch) -> bool:
    if request.param and not is_compiled(torch.device("cpu")):
        pytest.skip("the compiled extension is absent")
    if not request.param:
        monkeypatch.setattr(sys.modules["meshconv.ops.depthwise"], "is_compiled", lambda device: False)
    return request.param


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("n", "m", "channels"), ORDERS)
def test_equals_the_dense_convolution_of_a_block_diagonal_kernel(random_graph, n, m, channels):
    graph, pair = random_graph(30, 400), types(n, m, channels)
    x, weight, *rest = leaves(graph, n, m, channels)
    dense = torch.einsum("rijc,cd->ricjd", weight, torch.eye(channels, dtype=torch.float64)).flatten(3).flatten(1, 2)
    expected = gauge_conv(x, dense, *rest, graph.edges, *pair)
    torch.testing.assert_close(depthwise_conv(x, weight, *rest, graph.edges, *pair), expected)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("n", "m", "channels"), ORDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_equal_the_reference(random_graph, monkeypatch, n, m, channels, dtype):
    graph, pair = random_graph(150, 1100), types(n, m, channels)
    exact = leaves(graph, n, m, channels, num_radial=3)
    found = []
    for compiled in (True, False):
        real = dtype if compiled else torch.float64
        arguments = [t.detach().to(real).requires_grad_() for t in exact]
        monkeypatch.setattr(sys.modules["meshconv.ops.depthwise"], "is_compiled", lambda device, c=compiled: c)
        y = depthwise_conv(*arguments, graph.edges, *pair)
        found.append([y.detach(), *torch.autograd.grad(y.sin().sum(), arguments, materialize_grads=True)])
    for one, other in zip(*found, strict=True):
        size = float(other.abs().max())
        assert size == 0 or relative_error(one, other) < (1e-12 if dtype == torch.float64 else 2e-5)


@pytest.mark.usefixtures("backend")
def test_first_and_second_derivatives(random_graph):
    graph, pair = random_graph(4, 6), types(1, 2, 2)

    def f(*arguments: Tensor) -> Tensor:
        return depthwise_conv(*arguments, graph.edges, *pair)

    assert gradcheck(f, leaves(graph, 1, 2, 2))
    assert gradgradcheck(f, leaves(graph, 1, 2, 2))


def operator_arguments(graph: GaugeGraph, transpose: bool) -> tuple[dict[str, tuple], tuple]:
    x, weight, radial, angle, transporter = leaves(graph, 1, 2, 3)
    y = torch.randn(2, graph.num_vertices, 15, dtype=torch.float64, requires_grad=True)
    first = dict(zip(NAMES, ((x, weight, radial), (x, y, radial), (x, y, weight)), strict=True))
    return first, (angle, transporter, *graph.edges, (3, 3), (3, 3, 3), transpose)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transpose", [False, True])
def test_operators_obey_the_rules_of_torch(random_graph, name, transpose):
    first, tail = operator_arguments(random_graph(5, 9), transpose)
    torch.library.opcheck(getattr(torch.ops.meshconv, name).default, (*first[name], *tail))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("transpose", [False, True])
def test_the_trilinear_form_is_one_number(random_graph, transpose):
    first, tail = operator_arguments(random_graph(20, 60), transpose)
    (x, weight, radial), (_, y, _) = first["depthwise_conv"], first["depthwise_conv_weight"]
    ops = torch.ops.meshconv
    value = (ops.depthwise_conv(x, weight, radial, *tail) * y).sum()
    back = (*tail[:-3], tail[-2], tail[-3], not transpose)
    others = [
        (ops.depthwise_conv(y, weight.transpose(1, 2).contiguous(), radial, *back) * x).sum(),
        (ops.depthwise_conv_weight(x, y, radial, *tail) * weight).sum(),
        (ops.depthwise_conv_edge(x, y, weight, *tail) * radial).sum(),
    ]
    for other in others:
        torch.testing.assert_close(other, value, rtol=1e-11, atol=0)


@pytest.mark.usefixtures("compiled")
def test_bits_do_not_depend_on_threads_or_runs(random_graph):
    graph, pair = random_graph(1500, 9000), types(1, 1, 9)
    start, before, results = leaves(graph, 1, 1, 9), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            arguments = [t.detach().float().requires_grad_() for t in start]
            y = depthwise_conv(*arguments, graph.edges, *pair)
            results.append([y.detach(), *torch.autograd.grad(y.square().sum(), arguments)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("vertices", "edges", "batch"), [(0, 0, 1), (1, 0, 1), (7, 0, 2), (1, 4, 1), (5, 9, 0)])
def test_graphs_of_almost_nothing(random_graph, vertices, edges, batch):
    graph, pair = random_graph(vertices, edges), types(1, 1, 3)
    arguments = leaves(graph, 1, 1, 3, batch=batch)
    y = depthwise_conv(*arguments, graph.edges, *pair)
    assert y.shape == (batch, vertices, 9) and torch.isfinite(y).all()
    assert edges or not y.any()
    for leaf, grad in zip(arguments, torch.autograd.grad(y.sum(), arguments, materialize_grads=True), strict=True):
        assert grad.shape == leaf.shape


def test_what_does_not_fit_is_refused(random_graph):
    graph = random_graph(5, 9)
    x, weight, *rest = (t.detach() for t in leaves(graph, 1, 1, 3))
    uniform = FieldType("3x0 + 3x1")
    with pytest.raises(ValueError, match=r"one multiplicity at all orders, got 3x0 \+ 3x1 and 3x0 \+ 2x1"):
        depthwise_conv(x, weight, *rest, graph.edges, uniform, FieldType("3x0 + 2x1"))
    with pytest.raises(ValueError, match=r"x has shape \(2, 4, 9\), the graph 5 vertices"):
        depthwise_conv(x[:, :4], weight, *rest, graph.edges, uniform, uniform)
    with pytest.raises(RuntimeError, match=r"weight has shape \[2, 3, 3, 2\]|size|subscript"):
        depthwise_conv(x, weight[..., :2], *rest, graph.edges, uniform, uniform)
