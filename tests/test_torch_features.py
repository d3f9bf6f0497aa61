"""What torch does with functions, for each of ours: autocast, compile, export, threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from function_case import NAMES, Call, functions, value_and_gradients
from torch import Tensor, nn

from meshconv.ops import fourier_act


@pytest.fixture
def call(random_graph, request) -> Call:
    return functions(random_graph(30, 140).to(torch.float32))[request.param]


each = pytest.mark.parametrize("call", NAMES, indirect=True)


@each
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_lowers_nothing(call, dtype):
    """Forward and backward: the same bits as without, so angles and sums have kept their precision."""
    function, tensors = call
    expected = value_and_gradients(function, tensors)
    with torch.autocast("cpu", dtype):
        found = value_and_gradients(function, tensors)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


@each
def test_under_autocast_features_of_half_precision_meet_angles_of_float32(call):
    """What a Linear before hands over: rounded features, and nothing else rounded."""
    function, tensors = call
    rounded = tuple(t.bfloat16() for t in tensors)
    expected = value_and_gradients(function, tuple(t.float() for t in rounded))
    with torch.autocast("cpu", torch.bfloat16):
        found = value_and_gradients(function, rounded)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.float() - b).norm() <= 2**-7 * b.norm()


@each
def test_compiles_without_graph_breaks_with_gradients(call):
    function, tensors = call
    fast = torch.compile(function, fullgraph=True, backend="aot_eager")
    for a, b in zip(value_and_gradients(fast, tensors), value_and_gradients(function, tensors), strict=True):
        torch.testing.assert_close(a, b)


class Module(nn.Module):
    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@each
def test_exports(call):
    function, tensors = call
    program = torch.export.export(Module(function), tensors)
    others = tuple(torch.randn_like(t) for t in tensors)
    torch.testing.assert_close(program.module()(*others), function(*others))


@each
@pytest.mark.usefixtures("compiled")
def test_bits_do_not_depend_on_threads_or_runs(call):
    function, tensors = call
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            results.append(value_and_gradients(function, tensors))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("compiled")
def test_third_derivatives_under_autocast():
    """They run in plain torch, where autocast would reach the products."""
    results = []
    for enabled in (False, True):
        x = torch.linspace(-2, 2, 30).reshape(2, 5, 3).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = fourier_act(x, 17, "silu").sin().sum()
            for _ in range(3):
                (grad,) = torch.autograd.grad(value, x, create_graph=True)
                value = (grad * torch.linspace(-1, 2, grad.numel()).reshape(grad.shape)).sum()
        results.append(value.detach())
    torch.testing.assert_close(*results, rtol=1e-5, atol=0)
