"""Every operator on CUDA against the same on the CPU, and torch's features on CUDA; needs a GPU."""

from __future__ import annotations

import pytest
import torch
from function_case import NAMES, functions, value_and_gradients
from kernel_case import BOUND as KERNEL_BOUND, CASES, assert_equal_the_cpu, calls
from torch import Tensor

from meshconv import FieldType
from meshconv.ops import fourier_act, gauge_conv, is_compiled, transport_sum

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device here"),
    pytest.mark.skipif(not is_compiled(torch.device("cuda")), reason="the extension was built without CUDA kernels"),
]

BOUND = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}

each = pytest.mark.parametrize("name", NAMES)


def on_both(random_graph, name: str, dtype: torch.dtype, vertices: int = 90, edges: int = 900, **sizes: int):
    """Function and tensors on the GPU, and on the CPU in float64 with the same, rounded, numbers."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    graph = random_graph(vertices, edges).to(exact)
    function, tensors = functions(graph.to("cuda"), dtype, **sizes)[name]
    reference, _ = functions(graph.to(torch.float64), torch.float64, **sizes)[name]
    return function, tensors, reference, tuple(t.double().cpu() for t in tensors)


@each
@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("channels", [4, 64])
def test_values_and_gradients_equal_the_cpu(random_graph, name, dtype, channels):
    function, tensors, reference, doubles = on_both(random_graph, name, dtype, channels=channels)
    expected = value_and_gradients(reference, doubles)
    for found, other in zip(value_and_gradients(function, tensors), expected, strict=True):
        assert found.dtype == dtype
        assert found.is_cuda
        assert (found.double().cpu() - other).norm() <= BOUND[dtype] * other.norm()


@each
@pytest.mark.parametrize("batch", [0, 1, 5])
def test_batches(random_graph, name, batch):
    function, tensors, reference, doubles = on_both(random_graph, name, torch.float64, batch=batch)
    for found, other in zip(
        value_and_gradients(function, tensors), value_and_gradients(reference, doubles), strict=True
    ):
        torch.testing.assert_close(found.cpu(), other, rtol=1e-11, atol=1e-11)


@each
@pytest.mark.parametrize(("vertices", "edges"), [(0, 0), (3, 0), (1, 4)])
def test_graphs_of_almost_nothing(random_graph, name, vertices, edges):
    function, tensors, reference, doubles = on_both(random_graph, name, torch.float64, vertices, edges)
    for found, other in zip(
        value_and_gradients(function, tensors), value_and_gradients(reference, doubles), strict=True
    ):
        torch.testing.assert_close(found.cpu(), other, rtol=1e-11, atol=1e-11)


@each
def test_long_rows_equal_the_cpu(random_graph, name):
    """Several threads share a row, and rows are longer than what is staged at a time."""
    function, tensors, reference, doubles = on_both(random_graph, name, torch.float64, 5, 4000)
    for found, other in zip(
        value_and_gradients(function, tensors), value_and_gradients(reference, doubles), strict=True
    ):
        torch.testing.assert_close(found.cpu(), other, rtol=1e-10, atol=1e-10)


@each
def test_first_and_second_derivatives(random_graph, name):
    function, tensors, _, _ = on_both(random_graph, name, torch.float64, 3, 5, batch=1, channels=2)
    if "products first" in name:
        pytest.skip("one algorithm on CUDA")
    leaves = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("dtype", KERNEL_BOUND)
@pytest.mark.parametrize("case", CASES)
def test_every_kernel_equals_the_cpu(case, dtype):
    """What the shim runs on the host (tests/test_cuda_shim.py), with the same bits twice."""
    for detail, name, arguments in calls(case, dtype):
        on_device = tuple(a.cuda() if isinstance(a, Tensor) else a for a in arguments)
        found, again = (getattr(torch.ops.meshconv, name)(*on_device) for _ in range(2))
        assert torch.equal(found, again), f"{name} {detail}"
        assert_equal_the_cpu(found, name, arguments, detail)


def operator_calls(graph) -> dict[str, tuple]:
    """Arguments of every operator, on the graph's device."""
    t = FieldType("2x0 + 1x1")
    v, e, like = graph.num_vertices, graph.num_edges, {"device": graph.device, "dtype": torch.float64}
    x, y, heads, weight, radial = (
        torch.randn(s, **like, requires_grad=True)
        for s in ((2, v, t.dim), (2, v, t.dim), (2, e, 1), (2, t.dim, t.dim), (e, 2))
    )
    edges = (graph.dst_ptr, graph.src, graph.dst, graph.src_ptr, graph.src_edge)
    conv = (graph.log_angle, graph.transporter, *edges, t.multiplicities, t.multiplicities, False)
    tail = (graph.transporter, *edges, t.multiplicities)
    chosen = torch.ops.meshconv.transport_argmax(x.detach(), *edges, t.multiplicities, False)
    parts = x.detach()[..., 1:].unflatten(-1, (3, 1)).flatten(0, 1).requires_grad_()
    return {
        "gauge_conv": (x, weight, radial, *conv),
        "gauge_conv_weight": (x, y, radial, *conv),
        "gauge_conv_edge": (x, y, weight, *conv),
        "transport_sum": (x, heads, *tail, False),
        "transport_dot": (x, y, *tail, 1),
        "transport_argmax": (x.detach(), *edges, t.multiplicities, False),
        "transport_select": (x, chosen, *tail, False),
        "segment_softmax": (heads, graph.dst_ptr),
        "segment_total": (heads, graph.dst_ptr),
        "fourier_act": (parts, 9, "silu"),
        "fourier_act_grad": (parts, parts.detach().clone().requires_grad_(), 9, "silu"),
        "fourier_act_curvature": (parts, parts.detach().clone(), parts.detach().clone(), 9, "silu"),
    }


def test_operators_obey_the_rules_of_torch(random_graph):
    for name, arguments in operator_calls(random_graph(5, 9).to("cuda")).items():
        torch.library.opcheck(getattr(torch.ops.meshconv, name).default, arguments)


@each
def test_same_bits_every_run(random_graph, name):
    function, tensors, _, _ = on_both(random_graph, name, torch.float32, 1500, 9000, channels=16)
    results = [value_and_gradients(function, tensors) for _ in range(3)]
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@each
def test_autocast_lowers_nothing(random_graph, name):
    function, tensors, _, _ = on_both(random_graph, name, torch.float32)
    expected = value_and_gradients(function, tensors)
    with torch.autocast("cuda", torch.float16):
        found = value_and_gradients(function, tensors)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@each
def test_compiles_without_graph_breaks(random_graph, name):
    function, tensors, _, _ = on_both(random_graph, name, torch.float32)
    fast = torch.compile(function, fullgraph=True)
    for a, b in zip(value_and_gradients(fast, tensors), value_and_gradients(function, tensors), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@each
def test_runs_in_a_cuda_graph(random_graph, name):
    """Captured once and replayed with other numbers in the same tensors: nothing waits, copies or allocates outside."""
    function, tensors, _, _ = on_both(random_graph, name, torch.float32)
    tensors = tuple(t.detach() for t in tensors)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function(*tensors)  # first uses allocate
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = function(*tensors)
    for t in tensors:
        t.copy_(torch.randn_like(t))
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(y, function(*tensors), rtol=0, atol=0)


@each
def test_runs_on_the_current_stream(random_graph, name):
    """Work queued before on a side stream has to be seen: the features are written there, after a delay."""
    function, tensors, _, _ = on_both(random_graph, name, torch.float32)
    late = torch.zeros_like(tensors[0])
    expected = function(*tensors)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        late.copy_(tensors[0])
        y = function(late, *tensors[1:])
    stream.synchronize()
    assert torch.equal(y, expected)


def test_tables_that_shared_memory_does_not_hold():
    """Order 32 in float64 takes 133 kB for the waves, which are staged a part at a time."""
    x = torch.randn(7, 65, 33, dtype=torch.float64)
    torch.testing.assert_close(fourier_act(x.cuda(), 257, "silu").cpu(), fourier_act(x, 257, "silu"))


def test_radial_functions_that_shared_memory_does_not_hold(random_graph):
    """Order 32 with 120 radial functions: 62 kB an edge in float64."""
    graph, a, b = random_graph(5, 30), FieldType("2x0"), FieldType("1x32")
    x, weight, radial = (torch.randn(s, dtype=torch.float64) for s in ((5, 2), (120, 2, 2), (30, 120)))
    results = []
    for device in ("cuda", "cpu"):
        g = graph.to(device)
        edges = (g.dst_ptr, g.src, g.dst, g.src_ptr, g.src_edge)
        features = (x.to(device), weight.to(device), radial.to(device))
        results.append(gauge_conv(*features, g.log_angle, g.transporter, edges, a, b).cpu())
    torch.testing.assert_close(*results)


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["transport_sum", "fourier_act", "gauge_conv"])
def test_more_than_two_to_the_31_elements(operator):
    """Each point from its successor on a ring; the last rows of a tensor of 2^31 elements and more have to be right."""
    points, channels = 9_000_000, 240
    if torch.cuda.mem_get_info()[0] < 60e9:
        pytest.skip("needs 60 GB of free memory")
    x = torch.ones(1, points, channels, device="cuda")
    assert x.numel() > 2**31
    x[:, -2:] = torch.arange(2.0, 4.0, device="cuda")[:, None]
    if operator == "fourier_act":
        y = fourier_act(x.unflatten(-1, (1, channels)), 1)
        assert torch.equal(y[0, -2:, 0].cpu(), torch.tensor([[2.0], [3.0]]).expand(2, channels))
        return
    at = torch.arange(points + 1, device="cuda")
    src, before = (at[:-1] + 1) % points, (at[:-1] - 1) % points
    edges = (at, src, at[:-1], at, before)
    still = torch.zeros(points, device="cuda")
    t = FieldType(f"{channels}x0")
    if operator == "transport_sum":
        y: Tensor = transport_sum(x, torch.ones_like(still), still, edges, t)
    else:
        weight, radial = torch.eye(channels, device="cuda")[None], torch.ones(points, 1, device="cuda")
        y = gauge_conv(x, weight, radial, still, still, edges, t, t)
    expected = torch.tensor([1.0, 2, 3, 1])[:, None].expand(4, channels)
    torch.testing.assert_close(y[0, -4:].cpu(), expected, rtol=1e-3, atol=0)
    assert float(y.double().sum()) == pytest.approx(float(x.double().sum()), rel=1e-4)
