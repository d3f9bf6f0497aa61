"""The fused Fourier nonlinearity: compiled against reference, derivatives, torch's rules, odd shapes, errors."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from meshconv import FieldType
from meshconv.nn import FourierNonlinearity
from meshconv.ops import fourier_act, fourier_act_reference

ACTS = ["relu", "silu"]
SHAPES = [(1, 5, 1), (3, 7, 9), (5, 64, 17), (5, 3, 8), (7, 33, 25), (9, 16, 10), (13, 20, 49), (65, 5, 257)]
BOUND = {torch.float64: 1e-13, torch.float32: 2e-6}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def by_hand(x: Tensor, samples: int, act: str) -> Tensor:
    """The definition with complex exponentials: shares no code with either implementation."""
    k = torch.arange(samples, dtype=torch.float64)
    order = x.shape[-2] // 2
    f = x[..., :1, :].expand(*x.shape[:-2], samples, x.shape[-1]).to(torch.complex128)
    for m in range(1, order + 1):
        wave = torch.exp(2j * torch.pi * m * k / samples)
        f = f + torch.complex(x[..., 2 * m - 1, :], -x[..., 2 * m, :])[..., None, :] * wave[:, None]
    f = getattr(torch.nn.functional, act)(f.real)
    spectrum = torch.fft.fft(f, dim=-2) / samples
    parts = [spectrum.real[..., :1, :]]
    for m in range(1, order + 1):
        parts += [2 * spectrum.real[..., m : m + 1, :], -2 * spectrum.imag[..., m : m + 1, :]]
    return torch.cat(parts, dim=-2)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("function", [fourier_act, fourier_act_reference])
def test_it_computes_its_definition(function, act):
    x = normal(2, 4, 5, 6)
    torch.testing.assert_close(function(x, 17, act), by_hand(x, 17, act), rtol=1e-13, atol=1e-13)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_equals_reference(shape, dtype, act):
    parts, channels, samples = shape
    x, g, h = (3 * normal(37, parts, channels) for _ in range(3))
    results = []
    for function, kind in ((fourier_act, dtype), (fourier_act_reference, torch.float64)):
        leaves = [t.to(kind).requires_grad_() for t in (x, g)]
        y = function(leaves[0], samples, act)
        (first,) = torch.autograd.grad(y, leaves[0], leaves[1], create_graph=True)
        second = torch.autograd.grad(first, leaves, h.to(kind), materialize_grads=True)
        results.append([t.double() for t in (y, first, *second)])
    for found, expected in zip(*results, strict=True):
        assert (found - expected).norm() <= BOUND[dtype] * expected.norm()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", BOUND)
def test_the_exponential_is_good_over_its_whole_range(dtype):
    """One scalar at one sample: silu itself, from underflow to where it is the identity."""
    x = torch.linspace(-80, 80, 20011, dtype=dtype)[:, None, None]
    y, exact = fourier_act(x, 1, "silu").double(), torch.nn.functional.silu(x.double())
    assert ((y - exact).abs() <= 8 * torch.finfo(dtype).eps * exact.abs()).all()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("shape", [(1, 3, 1), (3, 2, 9), (5, 2, 8)])
def test_first_and_second_derivatives(shape, act):
    x = normal(2, *shape[:2]).requires_grad_()
    assert gradcheck(lambda t: fourier_act(t, shape[2], act), x)
    assert gradgradcheck(lambda t: fourier_act(t, shape[2], act), x)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("act", ACTS)
def test_third_and_fourth_derivatives_agree_with_the_reference(act):
    start, found = normal(3, 5, 2), []
    for function in (fourier_act, fourier_act_reference):
        x = start.clone().requires_grad_()
        value = function(x, 17, act).sin().sum()
        for _ in range(4):
            (grad,) = torch.autograd.grad(value, x, create_graph=True)
            value = (grad * torch.linspace(-1, 2, grad.numel()).reshape(grad.shape)).sum()
        found.append(value.detach())
    torch.testing.assert_close(*found, rtol=1e-10, atol=0)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("act", ACTS)
def test_operators_obey_the_rules_of_torch(act):
    x, g, h = (normal(4, 5, 3).requires_grad_() for _ in range(3))
    ops = torch.ops.meshconv
    torch.library.opcheck(ops.fourier_act.default, (x, 17, act))
    torch.library.opcheck(ops.fourier_act_grad.default, (x, g, 17, act))
    torch.library.opcheck(ops.fourier_act_curvature.default, (x, g, h, 17, act))


@pytest.mark.parametrize("shape", [(0, 5, 4), (3, 5, 0), (2, 0, 3, 6), (0, 1, 0)])
def test_nothing_in_nothing_out(shape):
    x = torch.randn(shape, requires_grad=True)
    y = fourier_act(x, 17)
    assert y.shape == shape
    assert torch.autograd.grad(y.sum(), x)[0].shape == shape


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("channels", [3, 32])
def test_a_bad_number_stays_in_its_channel(channels, act):
    x = torch.randn(20, 5, channels)
    clean = fourier_act(x, 17, act)
    x[7, 2, 1] = float("nan")
    y = fourier_act(x, 17, act)
    hit = torch.zeros_like(y, dtype=torch.bool)
    hit[7, :, 1] = True
    assert y[hit].isnan().all()
    assert torch.equal(y[~hit], clean[~hit])


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinite_scalars_meet_relu(value):
    assert torch.equal(fourier_act(torch.full((2, 1, 3), value), 1), torch.full((2, 1, 3), max(value, 0.0)))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2**-10), (torch.bfloat16, 2**-7)])
def test_half_precision_rounds_only_the_features(dtype, bound):
    x = torch.randn(50, 5, 8).to(dtype)
    y, exact = fourier_act(x, 17), fourier_act_reference(x.double(), 17)
    assert y.dtype == dtype
    assert 0 < (y.double() - exact).norm() < bound * exact.norm()


def test_autocast_leaves_it_alone():
    layer, x = FourierNonlinearity("8x0 + 8x1 + 8x2"), torch.randn(30, 40)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), expected)


@pytest.mark.usefixtures("compiled")
def test_bits_do_not_depend_on_threads_or_on_the_rows_beside():
    x, before, results = torch.randn(999, 5, 24), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            y = fourier_act(leaf, 17, "silu")
            results.append((y.detach(), torch.autograd.grad(y.square().sum(), leaf)[0]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
    assert torch.equal(fourier_act(x[400:401], 17, "silu"), results[0][0][400:401])


def test_strides_do_not_matter():
    x = torch.randn(6, 9, 5).transpose(1, 2)
    assert torch.equal(fourier_act(x, 17), fourier_act(x.contiguous(), 17))


STEP = """
import resource, torch
from meshconv.ops import fourier_act
x = torch.randn({vertices}, 5, 64, requires_grad=True)
fourier_act(x, 17).backward(x.detach())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is reported in other units")
def test_memory_is_the_results_alone():
    """x, y and the gradient are 12.2 MB each at 10,000 points; the samples would be 42 MB, twice."""
    peaks = []
    for vertices in (100, 10_000):
        command = [sys.executable, "-c", STEP.format(vertices=vertices)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 45, f"the peak grew from {peaks[0]:.0f} to {peaks[1]:.0f} MB"


@pytest.mark.parametrize("act", ACTS)
def test_the_layer_compiles_without_graph_breaks(act):
    layer, x = FourierNonlinearity("4x0 + 4x1", activation=act), torch.randn(7, 12, requires_grad=True)
    fast = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(x), layer(x))
    grads = [torch.autograd.grad(f(x).square().sum(), x)[0] for f in (fast, layer)]
    torch.testing.assert_close(*grads)


def test_silu_leaves_less_gauge_error_than_relu():
    t = FieldType.uniform(16, 2)
    x, turn = torch.randn(200, t.dim, dtype=torch.float64), torch.rand(200, dtype=torch.float64) * 6
    errors = {}
    for act in ACTS:
        layer = FourierNonlinearity(t, activation=act)
        y = t.rotate(layer(x), turn)
        errors[act] = float((layer(t.rotate(x, turn)) - y).norm() / y.norm())
    assert errors["silu"] < 0.1 * errors["relu"] < 0.002


def test_bad_arguments_are_errors_with_the_numbers():
    with pytest.raises(ValueError, match=r"2M \+ 1 components and for channels, got shape \(3, 4, 5\)"):
        fourier_act(torch.zeros(3, 4, 5), 17)
    with pytest.raises(ValueError, match="4 samples do not resolve order 2; it takes 5"):
        fourier_act(torch.zeros(3, 5, 5), 4)
    with pytest.raises(ValueError, match="activation 'tanh' is not a function or one of relu, silu"):
        fourier_act(torch.zeros(3, 5, 5), 17, "tanh")
    with pytest.raises(ValueError, match="activation 'tanh' is not a function or one of relu, silu"):
        FourierNonlinearity("1x0 + 1x1", activation="tanh")


@pytest.mark.usefixtures("compiled")
def test_operators_refuse_what_does_not_fit():
    ops, x = torch.ops.meshconv, torch.zeros(3, 5, 4)
    with pytest.raises(RuntimeError, match="x has to be float32 or float64"):
        ops.fourier_act(x.half(), 17, "relu")
    with pytest.raises(RuntimeError, match=r"x has shape \[3, 4, 4\], expected \[rows, 2 M \+ 1, channels\]"):
        ops.fourier_act(x[:, :4], 17, "relu")
    with pytest.raises(RuntimeError, match=r"x has shape \[3, 67, 1\].*order M of at most 32"):
        ops.fourier_act(torch.zeros(3, 67, 1), 257, "relu")
    with pytest.raises(RuntimeError, match="3 samples do not resolve 5 components"):
        ops.fourier_act(x, 3, "relu")
    with pytest.raises(RuntimeError, match="activation 'tanh' is not 'relu' or 'silu'"):
        ops.fourier_act(x, 17, "tanh")
    with pytest.raises(RuntimeError, match=r"grad has shape \[3, 5, 3\], expected \[3, 5, 4\]"):
        ops.fourier_act_grad(x, x[..., :3], 17, "relu")
    with pytest.raises(RuntimeError, match="grad_grad has to have the dtype of x"):
        ops.fourier_act_curvature(x, x, x.double(), 17, "relu")
