"""The gauge convolution as an operator of torch: derivatives, registration, compilation, threads, memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from conv_case import Case
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from meshconv.nn import GaugeConv


@pytest.mark.parametrize("wanted", range(5), ids=["x", "weight", "radial", "angle", "transporter"])
def test_each_gradient_alone(random_graph, wanted):
    case = Case.random(random_graph(4, 7), "1x0 + 1x2", "1x0 + 1x1")
    leaves = [t.detach() for t in case.leaves()]
    leaves[wanted].requires_grad_()
    assert gradcheck(lambda *t: case.run(True, *t), leaves)


@pytest.mark.parametrize("compiled", [True, False])
def test_first_and_second_derivatives(random_graph, compiled):
    case = Case.random(random_graph(4, 6), "2x0 + 1x1", "1x0 + 1x2", batch=(2,))

    def f(*leaves: Tensor) -> Tensor:
        return case.run(compiled, *leaves)

    assert gradcheck(f, case.leaves())
    assert gradgradcheck(f, case.leaves())


@pytest.mark.usefixtures("compiled")
def test_third_derivatives_agree_with_the_reference(random_graph):
    case = Case.random(random_graph(4, 8), "1x0 + 1x1", "1x0 + 2x1")
    found = []
    for compiled in (True, False):
        leaves = case.leaves()
        value = case.run(compiled, *leaves).sin().sum()
        for _ in range(3):
            grads = torch.autograd.grad(value, leaves, create_graph=True)
            value = sum((g * torch.linspace(-1, 2, g.numel()).reshape(g.shape)).sum() for g in grads)
        found.append(value.detach())
    torch.testing.assert_close(*found, rtol=1e-11, atol=0)


def operator_arguments(case: Case, transpose: bool) -> tuple[dict[str, tuple], tuple]:
    g = case.graph
    x, weight, radial, angle, transporter = case.leaves()
    y = torch.randn(x.shape[0], g.num_vertices, case.out_type.dim, dtype=torch.float64, requires_grad=True)
    first = {"gauge_conv": (x, weight, radial), "gauge_conv_weight": (x, y, radial),
             "gauge_conv_edge": (x, y, weight)}  # fmt: skip
    edges = g.edges
    tail = (angle, transporter, *edges, case.in_type.multiplicities, case.out_type.multiplicities, transpose)
    return first, tail


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["gauge_conv", "gauge_conv_weight", "gauge_conv_edge"])
@pytest.mark.parametrize("transpose", [False, True])
def test_operators_obey_the_rules_of_torch(random_graph, name, transpose):
    case = Case.random(random_graph(5, 9), "2x0 + 1x1", "1x0 + 1x2", batch=(2,))
    first, tail = operator_arguments(case, transpose)
    torch.library.opcheck(getattr(torch.ops.meshconv, name).default, (*first[name], *tail))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("transpose", [False, True])
def test_the_trilinear_form_is_one_number(random_graph, transpose):
    """<y, conv(x)>, <conv*(y), x>, <weight gradient, W> and <edge gradient, R> are the same number."""
    case = Case.random(random_graph(20, 60), "3x0 + 2x1 + 1x3", "2x0 + 2x2", batch=(2,))
    first, tail = operator_arguments(case, transpose)
    (x, weight, radial), (_, y, _) = first["gauge_conv"], first["gauge_conv_weight"]
    ops = torch.ops.meshconv
    value = (ops.gauge_conv(x, weight, radial, *tail) * y).sum()
    back = (*tail[:-3], tail[-2], tail[-3], not transpose)
    others = [
        (ops.gauge_conv(y, weight.mT.contiguous(), radial, *back) * x).sum(),
        (ops.gauge_conv_weight(x, y, radial, *tail) * weight).sum(),
        (ops.gauge_conv_edge(x, y, weight, *tail) * radial).sum(),
    ]
    for other in others:
        torch.testing.assert_close(other, value, rtol=1e-11, atol=0)


@pytest.mark.usefixtures("compiled")
def test_bits_do_not_depend_on_threads_or_runs(random_graph):
    case = Case.random(random_graph(1500, 9000), "9x0 + 9x1", "7x0 + 7x1", batch=(2,)).to(torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            leaves = case.leaves()
            y = case.run(True, *leaves)
            results.append([y.detach(), *torch.autograd.grad(y.square().sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


STEP = """
import resource, sys, torch
from meshconv import FieldType
from meshconv.ops import gauge_conv
V, E, a, b = 2000, int(sys.argv[1]), FieldType("64x0 + 64x1 + 64x2"), FieldType("8x0 + 8x1")
src, dst = torch.randint(V, (E,)), (torch.arange(E) % V).sort().values
def rows(index):
    return torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(index, minlength=V).cumsum(0)])
edges = (rows(dst), src, dst, rows(src), torch.argsort(src))
x, weight, radial, angle, transporter = (
    torch.rand(s, requires_grad=True) for s in ((V, a.dim), (2, a.dim, b.dim), (E, 2), (E,), (E,))
)
gauge_conv(x, weight, radial, angle, transporter, edges, a, b).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.usefixtures("compiled")
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is reported in other units")
def test_memory_does_not_grow_with_edges_times_channels():
    """One array of 200k edges and 320 components is 244 MB; forward and backward pass may take a third of it."""
    peaks = []
    for edges in (2_000, 200_000):
        done = subprocess.run([sys.executable, "-c", STEP, str(edges)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 80, f"the peak grew from {peaks[0]:.0f} to {peaks[1]:.0f} MB"


def test_compiles_without_graph_breaks(sphere):
    graph = sphere.to(torch.float32)
    conv = GaugeConv("3x0 + 2x1", "2x0 + 2x1")
    fast = torch.compile(conv, fullgraph=True, backend="aot_eager")
    x = torch.randn(graph.num_vertices, 7)
    torch.testing.assert_close(fast(x, graph), conv(x, graph))
    conv(x, graph).square().sum().backward()
    expected, conv.weight.grad = conv.weight.grad, None
    fast(x, graph).square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own use
def test_compiles_with_inductor(sphere):
    graph = sphere.to(torch.float32)
    conv = GaugeConv("3x0 + 2x1", "2x0 + 2x1")
    x = torch.randn(graph.num_vertices, 7)
    torch.testing.assert_close(torch.compile(conv, fullgraph=True)(x, graph), conv(x, graph))


@pytest.mark.usefixtures("compiled")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_exports(sphere):
    class OnSphere(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.graph = GaugeConv("3x0 + 2x1", "2x0 + 2x1"), sphere.to(torch.float32)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x, self.graph)

    module, x = OnSphere(), torch.randn(sphere.num_vertices, 7)
    program = torch.export.export(module, (x,))
    assert "meshconv.gauge_conv" in str(program.graph)
    y = torch.randn(sphere.num_vertices, 7)
    torch.testing.assert_close(program.module()(y), module(y))


@pytest.mark.usefixtures("compiled")
def test_operator_refuses_other_dtypes(random_graph):
    case = Case.random(random_graph(5, 9), "1x0", "1x0", batch=(1,))
    first, tail = operator_arguments(case, False)
    x, weight, radial = (t.detach() for t in first["gauge_conv"])
    with pytest.raises(RuntimeError, match="x has to be float32 or float64"):
        torch.ops.meshconv.gauge_conv(x.half(), weight, radial, *tail)
    with pytest.raises(RuntimeError, match="weight has to have the dtype of x"):
        torch.ops.meshconv.gauge_conv(x, weight.float(), radial, *tail)
