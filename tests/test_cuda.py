"""The CUDA operators against the plain-torch reference and against themselves; needs a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph
from meshconv.ops import depthwise_conv, depthwise_conv_reference, gauge_conv, gauge_conv_reference, is_compiled

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device here"),
    pytest.mark.skipif(
        not is_compiled(torch.device("cuda")), reason="the extension was built without CUDA kernels"
    ),
]

TYPES = [
    ("1x0", "1x0"),
    ("3x0", "1x1"),
    ("2x1 + 3x4", "1x0 + 2x3"),
    ("7x0 + 3x1 + 5x2", "2x0 + 9x1 + 1x2"),
    ("16x0 + 16x1 + 16x2", "16x0 + 16x1 + 16x2"),
    ("200x0 + 200x1", "3x0 + 1x8"),  # components of a source in several slices
]
BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}


def leaves(
    graph: GaugeGraph, in_type: FieldType, out_type: FieldType, num_radial: int = 2, batch: int = 2
) -> list[Tensor]:
    """Features, weight, radial values, angles and transporters, float64 on the CPU."""
    radial = (graph.num_edges, num_radial)
    shapes = [(batch, graph.num_vertices, in_type.dim), (num_radial, in_type.dim, out_type.dim), radial]
    return [*(torch.randn(s, dtype=torch.float64) for s in shapes), graph.log_angle, graph.transporter]


def on_gpu(arguments: list[Tensor], dtype: torch.dtype, device: str = "cuda") -> list[Tensor]:
    return [t.to(device, dtype).requires_grad_() for t in arguments]


def run(graph: GaugeGraph, arguments: list[Tensor], in_type: FieldType, out_type: FieldType) -> Tensor:
    device = arguments[0].device
    edges = tuple(t.to(device) for t in (graph.dst_ptr, graph.src, graph.dst, graph.src_ptr, graph.src_edge))
    return gauge_conv(*arguments, edges, in_type, out_type)


def expected(graph: GaugeGraph, arguments: list[Tensor], in_type: FieldType, out_type: FieldType) -> Tensor:
    return gauge_conv_reference(*arguments, graph.src, graph.dst, graph.num_vertices, in_type, out_type)


def relative_error(found: Tensor, reference: Tensor) -> float:
    found = found.detach().double().cpu()
    return float((found - reference).norm() / reference.norm().clamp(min=1e-300))


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize(("in_type", "out_type"), TYPES)
def test_values_and_gradients_equal_the_reference(random_graph, in_type, out_type, dtype):
    a, b = FieldType(in_type), FieldType(out_type)
    graph = random_graph(150, 3500)  # more neighbours than are staged at a time
    arguments = leaves(graph, a, b)
    gpu, cpu = on_gpu(arguments, dtype), [t.clone().requires_grad_() for t in arguments]
    y, z = run(graph, gpu, a, b), expected(graph, cpu, a, b)
    g = torch.randn_like(z)
    assert y.dtype == dtype
    assert relative_error(y, z.detach()) < BOUND[dtype]
    found = torch.autograd.grad(y, gpu, g.to(y))
    for one, other in zip(found, torch.autograd.grad(z, cpu, g, materialize_grads=True), strict=True):
        assert float((one.double().cpu() - other).norm()) <= BOUND[dtype] * float(other.norm() + 1e-9)


def test_second_derivatives(random_graph):
    a, b = FieldType("2x0 + 1x1"), FieldType("1x0 + 1x2")
    graph = random_graph(4, 6)
    gpu = on_gpu(leaves(graph, a, b), torch.float64)
    assert torch.autograd.gradcheck(lambda *t: run(graph, list(t), a, b), gpu)
    assert torch.autograd.gradgradcheck(lambda *t: run(graph, list(t), a, b), gpu)


@pytest.mark.parametrize(("vertices", "edges", "batch"), [(0, 0, 1), (1, 0, 1), (7, 0, 2), (1, 4, 1), (5, 9, 0)])
def test_graphs_of_almost_nothing(random_graph, vertices, edges, batch):
    a, b = FieldType("2x0 + 1x1"), FieldType("1x0 + 1x2")
    graph = random_graph(vertices, edges)
    arguments = leaves(graph, a, b, batch=batch)
    gpu = on_gpu(arguments, torch.float64)
    y = run(graph, gpu, a, b)
    torch.testing.assert_close(y.cpu(), expected(graph, arguments, a, b), rtol=1e-12, atol=1e-12)
    for leaf, grad in zip(gpu, torch.autograd.grad(y.sum(), gpu), strict=True):
        assert grad.shape == leaf.shape


def test_more_rows_than_one_chunk(random_graph):
    """Sums over the vertices go on from chunk to chunk: 17 MB of moments a thousand rows, 128 MB a chunk."""
    a, b = FieldType("128x0 + 128x1 + 128x2"), FieldType("2x0 + 2x1 + 2x2")
    graph = random_graph(12_000, 40_000)
    arguments = leaves(graph, a, b, num_radial=2, batch=2)
    gpu, cpu = on_gpu(arguments, torch.float32), [t.clone().requires_grad_() for t in arguments]
    y, z = run(graph, gpu, a, b), expected(graph, cpu, a, b)
    assert relative_error(y, z.detach()) < 1e-5
    found = torch.autograd.grad(y.square().sum(), gpu[:3])
    for one, other in zip(found, torch.autograd.grad(z.square().sum(), cpu[:3]), strict=True):
        assert relative_error(one, other) < 1e-4


def test_same_bits_every_run(random_graph):
    a, b = FieldType("9x0 + 9x1"), FieldType("7x0 + 7x1")
    graph = random_graph(1500, 9000)
    arguments = leaves(graph, a, b)
    results = []
    for _ in range(3):
        gpu = on_gpu(arguments, torch.float32)
        y = run(graph, gpu, a, b)
        results.append([y.detach(), *torch.autograd.grad(y.square().sum(), gpu)])
    for other in results[1:]:
        assert all(torch.equal(p, q) for p, q in zip(results[0], other, strict=True))


def test_autocast_does_not_lower_the_precision(random_graph):
    a, b = FieldType("9x0 + 9x1"), FieldType("7x0 + 7x1")
    graph = random_graph(100, 600)
    arguments = leaves(graph, a, b)
    with torch.autocast("cuda", dtype=torch.float16):
        y = run(graph, on_gpu(arguments, torch.float32), a, b)
    assert relative_error(y, expected(graph, arguments, a, b)) < 1e-5


def test_runs_on_the_current_stream(random_graph):
    """Work queued before on a side stream has to be seen: the features are written there, after a delay."""
    a, b = FieldType("4x0 + 4x1"), FieldType("4x0 + 4x1")
    graph = random_graph(100, 600)
    arguments = leaves(graph, a, b)
    gpu = [t.detach() for t in on_gpu(arguments, torch.float32)]
    late = torch.zeros_like(gpu[0])
    run(graph, gpu, a, b)  # so that nothing below waits for a first use
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        late.copy_(gpu[0])
        y = run(graph, [late, *gpu[1:]], a, b)
    stream.synchronize()
    assert relative_error(y, expected(graph, arguments, a, b)) < 1e-5


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_any_device(random_graph):
    a, b = FieldType("4x0 + 4x1"), FieldType("4x0 + 4x1")
    graph = random_graph(100, 600)
    arguments = leaves(graph, a, b)
    y = run(graph, on_gpu(arguments, torch.float32, "cuda:1"), a, b)
    assert y.device == torch.device("cuda:1")
    assert torch.cuda.current_device() == 0
    assert relative_error(y, expected(graph, arguments, a, b)) < 1e-5


def test_tensors_on_several_devices_are_an_error(random_graph):
    a, b = FieldType("1x0"), FieldType("1x0")
    graph = random_graph(4, 8)
    gpu = on_gpu(leaves(graph, a, b), torch.float32)
    gpu[1] = gpu[1].cpu()
    with pytest.raises(RuntimeError, match="weight is on another device than x"):
        run(graph, gpu, a, b)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize(("n", "m", "channels"), [(0, 2, 3), (2, 1, 40), (3, 3, 70)])
def test_depthwise_values_and_gradients_equal_the_reference(random_graph, n, m, channels, dtype):
    a, b = FieldType.uniform(channels, n), FieldType.uniform(channels, m)
    graph = random_graph(150, 900)
    arguments = leaves(graph, a, b)
    arguments[1] = torch.randn(2, 2 * n + 1, 2 * m + 1, channels, dtype=torch.float64)
    gpu, cpu = on_gpu(arguments, dtype), [t.clone().requires_grad_() for t in arguments]
    y = depthwise_conv(*gpu, tuple(t.cuda() for t in graph.edges), a, b)
    z = depthwise_conv_reference(*cpu, graph.src, graph.dst, graph.num_vertices, a, b)
    g = torch.randn_like(z)
    assert relative_error(y, z.detach()) < BOUND[dtype]
    found = torch.autograd.grad(y, gpu, g.to(y))
    for one, other in zip(found, torch.autograd.grad(z, cpu, g, materialize_grads=True), strict=True):
        assert float((one.double().cpu() - other).norm()) <= BOUND[dtype] * float(other.norm() + 1e-9)
