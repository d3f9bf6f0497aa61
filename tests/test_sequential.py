"""Layers in a row: the surface goes to those that take it, and types have to meet."""

from __future__ import annotations

import inspect
from collections import OrderedDict

import pytest
import torch
from torch import nn

from meshconv import FieldType, models, nn as layers
from meshconv.testing import assert_gauge_equivariant

MIXED = "4x0 + 4x1"


@pytest.fixture
def model() -> layers.Sequential:
    inner = layers.Sequential(layers.FieldBatchNorm(MIXED), layers.NormNonlinearity(MIXED))
    return layers.Sequential(layers.GaugeConv("3x0", MIXED), inner, layers.GaugeConv(MIXED, "2x0"), nn.Linear(2, 5))


def test_equals_the_layers_called_one_by_one(model, sphere):
    graph, x = sphere.to(torch.float32), torch.randn(2, 48, 3)
    first, inner, second, last = model
    expected = last(second(inner[1](inner[0](first(x, graph))), graph))
    assert torch.equal(model(x, graph), expected)
    assert_gauge_equivariant(model, sphere, out_type="5x0")


def test_types_names_and_slices_are_those_of_the_layers(model):
    assert (model.in_type, model.out_type) == (FieldType("3x0"), FieldType("2x0"))
    assert isinstance(model[1:], layers.Sequential) and model[1:3].in_type == FieldType(MIXED)
    assert {key.split(".")[0] for key in model.state_dict()} == {"0", "1", "2", "3"}
    named = layers.Sequential(OrderedDict(conv=layers.GaugeConv("3x0", MIXED), last=layers.Linear(MIXED, "1x0")))
    assert "conv.weight" in named.state_dict()
    assert layers.Sequential(nn.ReLU()).in_type is None


def test_types_that_do_not_meet_are_refused(model):
    message = r"layer 0 returns 4x0 \+ 4x1, layer 2 takes 4x0"
    with pytest.raises(ValueError, match=message):
        layers.Sequential(layers.GaugeConv("3x0", MIXED), nn.Identity(), layers.Linear("4x0", "1x0"))
    with pytest.raises(ValueError, match=r"layer 2 returns 2x0, layer 4 takes 4x0 \+ 4x1"):
        model.append(layers.Linear(MIXED, "1x0"))


def test_modules_of_ones_own_say_that_they_take_the_surface(sphere):
    """Whatever the signature: an attribute of the class, or of the module."""

    class Areas(layers.SurfaceModule):
        def forward(self, *inputs):
            return inputs[0] * inputs[1].areas[:, None]

    class Scaled(nn.Module):
        def forward(self, x, factor=2):
            return factor * x

    graph, x = sphere.to(torch.float32), torch.randn(48, 3)
    expected = 2 * x * graph.areas[:, None]
    assert torch.equal(layers.Sequential(Areas(), Scaled(), nn.Identity())(x, graph), expected)
    wrapped = torch.compile(Areas(), backend="eager")
    assert torch.equal(layers.Sequential(wrapped, nn.Identity())(x, graph), x * graph.areas[:, None])


@pytest.mark.parametrize("module", [layers, models], ids=lambda m: m.__name__)
def test_layers_declare_what_they_take(module):
    """In the order of their arguments: features, then what the surface is."""
    classes = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, nn.Module)]
    assert len(classes) > 5
    for cls in set(classes) - {layers.SurfaceModule}:
        parameters = list(inspect.signature(cls.forward).parameters)[1:]
        takes = len(parameters) > 1
        assert getattr(cls, "takes_surface", False) is takes, cls
