"""The measure of gauge error catches what breaks equivariance, and says so when it cannot measure."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from meshconv import FieldType, GaugeGraph, HealpixSphere, Hierarchy
from meshconv.nn import ClusterPool, FieldBatchNorm, GaugeConv, GlobalPool, Linear
from meshconv.testing import assert_gauge_equivariant, gauge_equivariance_error

MIXED = FieldType("3x0 + 2x1 + 1x2")


class Spoiled(nn.Module):
    """A convolution that gets a wrong graph or adds something to its output."""

    def __init__(self, graph=lambda g: g, output=lambda y: y):
        super().__init__()
        self.conv = GaugeConv(MIXED, MIXED)
        self.in_type = self.out_type = MIXED
        self.graph, self.output = graph, output

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        return self.output(self.conv(x, self.graph(graph)))


def _bias_on_order_one(y: Tensor) -> Tensor:
    return torch.cat([y[..., :3], y[..., 3:5] + 0.3, y[..., 5:]], dim=-1)


def _relu_everywhere(y: Tensor) -> Tensor:
    return y.relu()


WRONG = {
    "forgets the transporter": {"graph": lambda g: replace(g, transporter=0 * g.transporter)},
    "transports the wrong way": {"graph": lambda g: replace(g, transporter=-g.transporter)},
    "mirrors the log map": {"graph": lambda g: replace(g, log_angle=-g.log_angle)},
    "forgets the log map": {"graph": lambda g: replace(g, log_angle=0 * g.log_angle)},
    "has a bias on vectors": {"output": _bias_on_order_one},
    "cuts components off": {"output": _relu_everywhere},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_modules_are_caught(sphere, name):
    wrong = Spoiled(**WRONG[name])
    assert gauge_equivariance_error(wrong, sphere) > 1e-2
    with pytest.raises(AssertionError, match=r"Spoiled has a relative gauge error of .*, above 1e-05"):
        assert_gauge_equivariant(wrong, sphere)


def test_the_right_module_passes(sphere):
    assert assert_gauge_equivariant(Spoiled(), sphere) < 1e-6
    assert assert_gauge_equivariant(Spoiled().double(), sphere) < 1e-14


def test_a_bias_on_vectors_is_invisible_without_its_share(sphere):
    """The error is relative: a bias of 1e-3 of the output's size shows up as about that."""
    small = Spoiled(output=lambda y: torch.cat([y[..., :3], y[..., 3:5] + 1e-3, y[..., 5:]], dim=-1))
    assert 1e-4 < gauge_equivariance_error(small, sphere) < 1e-2


def test_result_is_reproducible_and_grows_with_samples(sphere):
    wrong = Spoiled(**WRONG["has a bias on vectors"])
    one, again, more = (gauge_equivariance_error(wrong, sphere, samples=n) for n in (1, 1, 5))
    assert one == again <= more
    assert gauge_equivariance_error(wrong, sphere, samples=1, seed=1) != one


def test_mode_and_gradients_are_left_alone(sphere):
    module = FieldBatchNorm(MIXED)
    module.scale.grad = torch.ones(6)
    for training in (True, False):
        module.train(training)
        gauge_equivariance_error(module, sphere)
        assert module.training is training
    assert torch.equal(module.scale.grad, torch.ones(6))
    assert module.running_mean.eq(0).all()


def test_mode_is_restored_after_an_error(sphere):
    class Fails(nn.Module):
        in_type = out_type = MIXED

        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    module = Fails().train()
    with pytest.raises(RuntimeError, match="no"):
        gauge_equivariance_error(module, sphere)
    assert module.training


def test_given_features_and_leading_axes_are_used(sphere):
    """A bias on vectors cannot be seen beside features that dwarf it."""
    wrong = Spoiled(**WRONG["has a bias on vectors"])
    x = 1e6 * torch.randn(2, 48, MIXED.dim, dtype=torch.float64)
    assert gauge_equivariance_error(wrong, sphere, x=x) < 1e-4


def test_types_may_be_given(sphere):
    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    assert gauge_equivariance_error(Plain(), sphere, in_type="2x1", out_type="2x1") < 1e-6
    with pytest.raises(ValueError, match="Plain has no attribute in_type; give in_type="):
        gauge_equivariance_error(Plain(), sphere)
    # Read as another type, the same numbers do not turn alike.
    assert gauge_equivariance_error(Plain(), sphere, in_type="1x1", out_type="1x2") > 0.1


def test_invariants_of_a_surface(sphere):
    assert gauge_equivariance_error(GlobalPool(MIXED), sphere) < 1e-6

    class Wrong(GlobalPool):
        def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
            return x.mean(-2, keepdim=True)[..., :6]

    assert gauge_equivariance_error(Wrong(MIXED), sphere) > 1e-2


def test_hierarchies(hierarchy):
    class Coarsest(nn.Module):
        in_type, out_type = FieldType("1x1"), FieldType("12x0")

        def __init__(self, transported: bool):
            super().__init__()
            self.transported, self.pool = transported, ClusterPool("1x1")

        def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
            first, second = surface.pools
            if not self.transported:
                second = replace(second, transporter=0 * second.transporter)
            return self.pool(self.pool(x, first), second).norm(dim=-1)[None]

    assert gauge_equivariance_error(Coarsest(True), hierarchy) < 1e-6
    assert gauge_equivariance_error(Coarsest(False), hierarchy) > 1e-2


def test_what_cannot_be_measured_is_an_error(sphere):
    class Bad(nn.Module):
        in_type = out_type = FieldType("1x0 + 1x1")

        def __init__(self, f):
            super().__init__()
            self.f = f

        def forward(self, x: Tensor) -> Tensor:
            return self.f(x)

    for f, message in [
        (lambda x: 0 * x, "zero everywhere"),
        (lambda x: x / 0, "not finite"),
        (lambda x: x[..., :2], r"last axis of 3, got \(48, 2\)"),
        (lambda x: x[:5], r"\(5, 3\) has no row per vertex, so it cannot be of type 1x0 \+ 1x1"),
    ]:
        with pytest.raises(ValueError, match=message):
            gauge_equivariance_error(Bad(f), sphere)


def test_tolerance_follows_the_precision(sphere):
    """A float32 error is too much for a float64 module."""

    class Rounds(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = Linear(MIXED, MIXED).double()
            self.in_type = self.out_type = MIXED

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.float().to(x.dtype))

    with pytest.raises(AssertionError, match="above 1e-10"):
        assert_gauge_equivariant(Rounds(), sphere)
    assert_gauge_equivariant(Rounds(), sphere, 1e-5)


def test_surfaces_in_single_precision_cost_accuracy_alone():
    graph = HealpixSphere(2).gauge_graph().to(torch.float32)
    assert gauge_equivariance_error(GaugeConv(MIXED, MIXED).double(), graph) < 1e-5
