"""Normalisation and dropout of fields: the statistics they leave, and what they must not shift."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from meshconv import FieldType, GaugeGraph, nn as layers

TYPE = FieldType("6x0 + 3x0- + 4x1 + 2x2")
NORMS = {"batch": layers.FieldBatchNorm, "layer": layers.FieldLayerNorm, "instance": layers.FieldInstanceNorm}


def call(norm: torch.nn.Module, x: torch.Tensor, graph: GaugeGraph) -> torch.Tensor:
    return norm(x, graph) if isinstance(norm, layers.FieldInstanceNorm) else norm(x)


@pytest.mark.parametrize("name", NORMS)
def test_only_even_scalars_are_shifted(sphere, name):
    """Fields that are zero stay zero, whatever the parameters: constants would single out directions."""
    norm = NORMS[name](TYPE).double().train()
    for p in norm.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(48, TYPE.dim, dtype=torch.float64)
    x[:, 6:] = 0
    y = call(norm, x, sphere)
    assert not y[:, 6:].any() and y[:, :6].abs().min() > 0
    # Nor is their mean taken out: a field that is the same everywhere keeps its direction and sign.
    x[:, 6:] = torch.randn(TYPE.dim - 6, dtype=torch.float64)
    torch.nn.init.ones_(norm.scale)
    y = call(norm, x, sphere)
    assert (y[:, 6:] * x[:, 6:] > 0).all()


def test_layer_norm_by_hand():
    norm = layers.FieldLayerNorm(TYPE, eps=0).double()
    x = 5 + 3 * torch.randn(2, 7, TYPE.dim, dtype=torch.float64)
    y = norm(x).detach()
    torch.testing.assert_close(y[..., :6].mean(-1), torch.zeros(2, 7, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(y[..., :6].var(-1, correction=0), torch.ones(2, 7, dtype=torch.float64))
    torch.testing.assert_close(y[..., 6:].square().mean(-1), torch.ones(2, 7, dtype=torch.float64))
    ratio = y[..., 6:] / x[..., 6:]
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))  # lengths keep their ratios
    torch.testing.assert_close(norm(3 * x), norm(x))


def test_layer_norm_does_not_see_other_points():
    norm, x = layers.FieldLayerNorm(TYPE), torch.randn(9, TYPE.dim)
    assert torch.equal(norm(x)[3], norm(x[3]))


def test_instance_norm_by_hand(random_graph):
    graphs = [random_graph(30, 60, 1), random_graph(8, 10, 2)]
    batch = GaugeGraph.batch(graphs)
    norm = layers.FieldInstanceNorm(TYPE, eps=0).double()
    x = 5 + 3 * torch.randn(2, 38, TYPE.dim, dtype=torch.float64)
    y = norm(x, batch).detach()
    for part in y.split([30, 8], dim=1):
        zero = torch.zeros(2, 6, dtype=torch.float64)
        torch.testing.assert_close(part[..., :6].mean(1), zero, rtol=0, atol=1e-12)
        torch.testing.assert_close(part[..., :6].var(1, correction=0), zero + 1)
        squares = part.square().mean(1)
        assert (squares[:, 6:9] - 1).abs().max() < 1e-12  # odd scalars: no mean taken out
        for m in (1, 2):
            pairs = squares[:, TYPE.slice(m)].unflatten(1, (2, -1)).mean(1)
            torch.testing.assert_close(pairs, torch.ones_like(pairs))


def test_instance_norm_alone_and_in_a_batch(random_graph):
    graphs = [random_graph(30, 60, 1), random_graph(0, 0), random_graph(8, 10, 2)]
    norm = layers.FieldInstanceNorm(TYPE).double()
    xs = [torch.randn(g.num_vertices, TYPE.dim, dtype=torch.float64) for g in graphs]
    together = norm(torch.cat(xs), GaugeGraph.batch(graphs))
    alone = torch.cat([norm(x, g) for x, g in zip(xs, graphs, strict=True)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("vertices", [0, 1])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_almost_no_points_and_constants_give_no_nan(random_graph, name, vertices, training, value):
    graph = random_graph(vertices, 0).to(torch.float32)
    norm = NORMS[name](TYPE).train(training)
    x = torch.full((vertices, TYPE.dim), value, requires_grad=True)
    y = call(norm, x, graph)
    assert y.shape == (vertices, TYPE.dim) and torch.isfinite(y).all()
    gradients = torch.autograd.grad(y.square().sum(), [x, *norm.parameters()])
    assert all(torch.isfinite(t).all() for t in (*gradients, *norm.state_dict().values()))


def test_batch_norm_of_one_element_is_its_shift():
    norm = layers.FieldBatchNorm("2x0 + 1x1").train()
    torch.nn.init.normal_(norm.shift)
    y = norm(torch.randn(1, 4))
    torch.testing.assert_close(y[0, :2], norm.shift)
    # A field's own length is all the statistics there is: it comes out with a mean square of one a component.
    torch.testing.assert_close(y[0, 2:].square().mean(), torch.tensor(1.0), rtol=1e-2, atol=0)
    assert norm.running_var[0] == pytest.approx(0.9)


def test_dropout_drops_whole_fields():
    dropout = layers.FieldDropout(TYPE, 0.3)
    x = torch.ones(4000, TYPE.dim)
    y = dropout(x)
    values = torch.tensor([0, 1 / 0.7])
    assert torch.isclose(y.unsqueeze(-1), values).any(-1).all()
    for m in (1, 2):
        cos, sin = y[:, TYPE.slice(m)].chunk(2, dim=1)
        assert torch.equal(cos, sin)
    kept = TYPE.norms(y) > 0
    assert (kept.float().mean(0) - 0.7).abs().max() < 0.03  # four standard deviations
    assert (torch.corrcoef(kept.float().T) - torch.eye(TYPE.num_fields)).abs().max() < 0.08  # by itself, each field


def test_dropout_is_unbiased_and_equivariant_given_the_mask():
    dropout = layers.FieldDropout(TYPE, 0.5)
    x = torch.randn(5, TYPE.dim)
    mean = torch.stack([dropout(x) for _ in range(4000)]).mean(0)
    assert ((mean - x).abs() < 5 * x.abs() / 4000**0.5).all()
    alpha = torch.randn(5)
    torch.manual_seed(1)
    y = TYPE.rotate(dropout(x), alpha)
    torch.manual_seed(1)
    torch.testing.assert_close(dropout(TYPE.rotate(x, alpha)), y)


def test_dropout_acts_in_training_alone():
    x = torch.randn(5, TYPE.dim)
    assert torch.equal(layers.FieldDropout(TYPE, 0.9).eval()(x), x)
    assert torch.equal(layers.FieldDropout(TYPE, 0.0)(x), x)
    assert not layers.FieldDropout(TYPE, 1.0)(x).any()
    with pytest.raises(ValueError, match=r"p 1\.5 is not a probability"):
        layers.FieldDropout(TYPE, 1.5)


@pytest.mark.parametrize("field_type", [TYPE, FieldType("2x1"), FieldType("3x0")], ids=str)
def test_derivatives_of_the_batch_norm(field_type):
    """In training the moments are those of the batch, and have derivatives of their own: against finite differences."""
    norm = layers.FieldBatchNorm(field_type).double().train()
    x = torch.randn(5, field_type.dim, dtype=torch.float64, requires_grad=True)
    assert gradcheck(norm, (x,)) and gradgradcheck(norm, (x,))
