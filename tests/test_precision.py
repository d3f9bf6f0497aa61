"""What derivatives keep of features in half precision, and what layers do under autocast."""

from __future__ import annotations

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from meshconv import HealpixSphere
from meshconv.nn import DepthwiseGaugeConv, FieldBatchNorm, GaugeConv
from meshconv.ops.precision import kept_as_given


@pytest.mark.parametrize("given", [True, False])
def test_the_wide_copy_is_not_kept(given: bool) -> None:
    x = torch.tensor([1.5, -2.0, 3.0], dtype=torch.bfloat16, requires_grad=True)
    wide = x.float()
    copy = StorageWeakRef(wide.untyped_storage())
    with kept_as_given(*([(x, wide)] if given else [])):
        y = wide**3
    del wide
    assert copy.expired() == given
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.float().sum(), x)
    assert first.tolist() == [6.75, 12.0, 27.0] and second.tolist() == [9.0, -12.0, 18.0]


def test_copies_of_the_same_dtype_and_other_tensors_are_kept_as_always() -> None:
    x, other = torch.ones(3, requires_grad=True), torch.full((3,), 2.0, requires_grad=True)
    with kept_as_given((x, x)):
        y = x * other
    assert [g.tolist() for g in torch.autograd.grad(y.sum(), (x, other))] == [[2.0] * 3, [1.0] * 3]
    narrow = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    wide = narrow.float()
    with kept_as_given((narrow, wide)):
        y = wide * other + wide[:1] * wide
    assert torch.autograd.grad(y.sum(), other)[0].tolist() == [1.0] * 3
    with torch.no_grad(), kept_as_given((narrow, wide)):
        assert (wide * 2).tolist() == [2.0] * 3


def test_hooks_of_others_decide_what_is_kept() -> None:
    """So activation checkpointing keeps nothing but its input."""
    x = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    wide, seen = x.float(), []

    def keep(t: torch.Tensor) -> torch.Tensor:
        seen.append(t.dtype)
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), kept_as_given((x, wide)):
        wide.square()
    assert seen == [torch.float32]


@pytest.mark.parametrize("layer", [GaugeConv, DepthwiseGaugeConv])
def test_convolutions_under_autocast_keep_features_in_half_precision(layer: type) -> None:
    """As torch's own: float32 comes in, bfloat16 goes out, and half of the bytes wait for the derivative."""
    torch.manual_seed(0)
    graph = HealpixSphere(4).gauge_graph().to(torch.float32)
    conv, x = layer("8x0 + 8x1", "8x0 + 8x1"), torch.randn(192, 24, requires_grad=True)
    exact = conv(x, graph)
    (expected,) = torch.autograd.grad(exact.square().sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x, graph)
    assert y.dtype == torch.bfloat16
    (found,) = torch.autograd.grad(y.float().square().sum(), x)
    assert found.dtype == torch.float32
    assert (y.float() - exact).norm() < 0.01 * exact.norm()
    assert (found - expected).norm() < 0.02 * expected.norm()
    with torch.autocast("cpu", torch.bfloat16):
        assert conv.double()(x.double(), graph.to(torch.float64)).dtype == torch.float64


def test_a_norm_without_odd_scalars_keeps_no_copy_of_its_input() -> None:
    norm, x = FieldBatchNorm("16x0"), torch.randn(50, 16).bfloat16().requires_grad_()
    kept: list[torch.Tensor] = []

    def keep(t: torch.Tensor) -> torch.Tensor:
        kept.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        norm(x)
    wide = {t.untyped_storage().data_ptr() for t in kept if t.untyped_storage().nbytes() == 4 * x.numel()}
    assert len(wide) == 1  # what is squared for the variance
