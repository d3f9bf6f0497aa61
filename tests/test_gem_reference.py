"""The layer gives the numbers that GEM-CNN's published code computed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph
from meshconv.nn import GaugeConv
from meshconv.ops import is_compiled

CASES = ["noloop_22", "loop_22", "loop_12_R3_torus"]


class Gem:
    """One case of the file in this project's terms."""

    def __init__(self, path, name: str):
        with np.load(path) as file:
            self.data = {k.split("/")[1]: torch.from_numpy(file[k]) for k in file.files if k.startswith(f"{name}/")}
        d = self.data
        receiver, sender = d["edge_index"]
        loop = receiver == sender
        radius, angle = d["edge_coords"].unbind(1)
        assert not radius[loop].any()
        num_vertices = len(d["x"])
        self.degree = torch.bincount(receiver, minlength=num_vertices)[:, None]
        self.loops = torch.bincount(receiver[loop], minlength=num_vertices)[:, None]
        self.graph = GaugeGraph.from_edges(
            sender[~loop], receiver[~loop], radius[~loop], angle[~loop], d["connection"][~loop],
            frames=d["frame"], positions=d["V"], areas=torch.ones(num_vertices), scale=radius.max(),
        )  # fmt: skip
        _, c_in, m_in, c_out, n_out = d["weight"].shape
        self.c_in = c_in
        self.in_type = FieldType.uniform(c_in, m_in // 2)
        self.out_type = FieldType.uniform(c_out, n_out // 2)

    def conv(self) -> GaugeConv:
        """The layer; the edge bias rho(theta) b is the response to one more scalar, which is constantly 1."""
        d, c_in = self.data, self.c_in
        weight = d["weight"].permute(0, 2, 1, 4, 3).flatten(3).flatten(1, 2)
        bias = d["bias"].T.flatten().expand(len(weight), 1, -1)
        conv = GaugeConv(self.in_type + FieldType("1x0"), self.out_type, num_radial=len(weight), cutoff=1.0).double()
        with torch.no_grad():
            conv.weight.copy_(torch.cat([weight[:, :c_in], bias, weight[:, c_in:]], dim=1))
            conv.bias.copy_(d["bias"][:, 0])
            kernel = d["self_kernel"]
            for order, ours in conv.self_interaction.weights.items():
                m = int(order)
                ours.zero_()
                if m == 0:
                    ours[0, :c_in] = kernel[:, 0, :, 0]
                else:
                    ours[0] = kernel[:, 2 * m - 1, :, 2 * m - 1]
                    ours[1] = kernel[:, 2 * m - 1, :, 2 * m]
        return conv

    def x(self) -> Tensor:
        x = self.data["x"].mT.flatten(1)
        one = torch.ones(len(x), 1, dtype=x.dtype)
        return torch.cat([x[:, : self.c_in], one, x[:, self.c_in :]], dim=1)

    def y(self) -> Tensor:
        return self.data["y"].mT.flatten(1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("compiled", [True, False])
def test_same_numbers_as_gem(reference, monkeypatch, name, compiled):
    if not compiled:
        module = sys.modules["meshconv.ops.gauge_conv"]
        monkeypatch.setattr(module, "is_compiled", lambda device: False)
    elif not is_compiled(torch.device("cpu")):
        pytest.skip("the compiled extension is absent")
    gem = Gem(reference("gem_conv.npz"), name)
    conv, x = gem.conv(), gem.x()
    with torch.no_grad():
        own = conv.self_interaction(x)
        own[:, : len(conv.bias)] += conv.bias
        neighbours = conv(x, gem.graph) - own
    # GEM-CNN averages over neighbours and self-loops together.
    y = (neighbours * (gem.degree - gem.loops) + own * gem.loops) / gem.degree
    error = (y - gem.y()).abs().max() / gem.y().abs().max()
    assert error < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_self_kernels_of_gem_lie_in_the_commutant(reference, name):
    """What Linear can represent is all that GEM-CNN's self kernel is: nothing was dropped above."""
    gem = Gem(reference("gem_conv.npz"), name)
    linear = gem.conv().self_interaction
    x = gem.x()
    expected = torch.einsum("vim,imon->vno", gem.data["x"], gem.data["self_kernel"]).flatten(1)
    torch.testing.assert_close(linear(x), expected, rtol=1e-12, atol=1e-13)
