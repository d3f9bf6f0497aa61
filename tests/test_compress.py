"""Pruned and quantised networks: the same outputs, the same symmetry, fewer fields and bits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from meshconv import FieldType, HealpixSphere, compress
from meshconv.errors import InputError
from meshconv.models import FieldUNet, IsotropicUNet, ShapeClassifier, ShapeUNet, SphereUNet
from meshconv.nn import (
    DepthwiseGaugeConv,
    FieldBatchNorm,
    FieldLayerNorm,
    FourierNonlinearity,
    GaugeConv,
    Linear,
    NormNonlinearity,
    SurfaceModule,
    TensorProductNonlinearity,
)
from meshconv.nn.compact.plan import NOTHING, compact
from meshconv.testing import assert_gauge_equivariant
from meshconv.train import ClassificationTask

MIXED = "3x0 + 2x1"
BOTH = "O(2): 2x0 + 1x0- + 2x1"


class Own(SurfaceModule):
    """A network of a user's own: residual sums, code that looks at sizes, layers of every kind."""

    def __init__(self, in_type: str, out: int):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(f"{out}x0")
        hidden = FieldType("4x0 + 4x1 + 4x2")
        self.first, self.fourier = GaugeConv(in_type, hidden), FourierNonlinearity(hidden, 7, torch.square)
        self.norm, self.second = FieldLayerNorm(hidden), GaugeConv(hidden, hidden)
        self.batch, self.act, self.mix = FieldBatchNorm(hidden), NormNonlinearity(hidden), Linear(hidden, hidden)
        self.product, self.depthwise = TensorProductNonlinearity(hidden), DepthwiseGaugeConv(hidden, hidden)
        self.last = Linear(hidden, self.out_type)

    def forward(self, x, graph):
        x = self.fourier(self.first(x, graph))
        y = self.act(self.batch(self.second(self.norm(x), graph)))
        if y.shape[-1] != 20:
            raise ValueError("y has 20 components")
        y = x + self.mix(y)
        return self.last(y + self.depthwise(self.product(y) + self.mix(y), graph))


NETWORKS = {
    "ShapeClassifier": lambda: ShapeClassifier(MIXED, 3, 4, 2, blocks=2, width=8),
    "ShapeClassifier O(2)": lambda: ShapeClassifier(BOTH, 3, 4, 2, blocks=1, width=8),
    "attention": lambda: ShapeClassifier(MIXED, 3, 4, 1, blocks=1, width=8, layer="attention"),
    "message": lambda: ShapeClassifier(BOTH, 3, 4, 1, blocks=1, width=8, layer="message"),
    "ShapeUNet": lambda: ShapeUNet(MIXED, 3, (3, 4), 1, width=8, context=2),
    "SphereUNet": lambda: SphereUNet(MIXED, 3, (3, 4), 1, width=8, north=True, aggregation="quadrature"),
    "FieldUNet": lambda: FieldUNet(MIXED, "1x0 + 1x1", (3, 4), 1, width=8, context=2),
    "IsotropicUNet": lambda: IsotropicUNet(MIXED, 3, (4, 5), width=8),
    "a user's own": lambda: Own(MIXED, 3),
}


def trained(name):
    """In evaluation, with parameters and statistics that are not those of the start."""
    network = NETWORKS[name]().eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value += 0.1 * torch.rand_like(value)
    return network


def surface_of(network):
    levels, sphere = getattr(network, "num_levels", None), HealpixSphere(8)
    radius = 2.7 * sphere.spacing
    return sphere.gauge_graph() if levels is None else sphere.hierarchy(levels, radius)


def outputs(network, x, surface):
    with torch.no_grad():
        return network(x, surface.to(x.dtype))


def gated(network, method, seed=0):
    """With gates, about half of which are closed."""
    generator = torch.Generator().manual_seed(seed)
    new = copy.deepcopy(network)
    compress.add_gates(new, method)
    for _, gate in compress.gates_of(new):
        for name, value in gate.factors.named_parameters():
            spread = torch.randn(value.shape, generator=generator)
            value.data = 4 * spread if name == "log_alpha" else 1 + spread if name == "log_variance" else spread
    return new


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pruned_network_is_the_gated_one(name):
    network = trained(name)
    surface = surface_of(network)
    x = network.in_type.randn(surface.num_vertices)
    full = gated(network, "l0")
    small, layers = compress.prune_network(full)
    expected, found = outputs(full, x, surface), outputs(small, x, surface)
    assert type(small) is type(network)
    assert count(small) < 0.85 * count(network)
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert (outputs(network, x, surface) - expected).abs().max() > 1e-2 * expected.abs().max()
    assert_gauge_equivariant(small, surface)
    # What a checkpoint does: the constructor's network, the plan in plain values, the weights.
    again = copy.deepcopy(network)
    compact(again, {**NOTHING, "layers": layers})
    again.load_state_dict(small.state_dict())
    assert torch.equal(outputs(again, x, surface), found)


def test_a_field_that_nothing_reads_is_removed_where_it_is_produced():
    network = trained("ShapeClassifier")
    masks = {name: torch.ones_like(mask) for name, mask in compress.magnitude_masks(network, 1.0).items()}
    masks["blocks.0.conv2"][[1, 4, 9]] = False  # one of each order
    masks["blocks.1.conv1"][:] = False
    small, _ = compress.prune_network(network, masks)
    block = small.blocks[0]
    assert block.conv2.in_type == block.act1.out_type == "3x0 + 3x1 + 3x2"
    assert block.conv1.out_type == block.norm1.in_type == block.act1.in_type == "9x0 + 3x1 + 3x2"
    # Nothing is left of a convolution without inputs, and nothing of what comes before it; the shortcut remains.
    assert count(small.blocks[1].conv1) == 0
    assert count(small.invariants) == count(network.invariants)


@pytest.mark.parametrize("name", ["ShapeUNet", "SphereUNet", "FieldUNet"])
def test_a_level_that_nothing_reads_leaves_no_points_behind(name):
    """What is left of pooling has the points of the other level."""
    network = trained(name)
    surface = surface_of(network)
    x = network.in_type.randn(surface.num_vertices)
    masks = {name: torch.ones_like(mask) for name, mask in compress.magnitude_masks(network, 1.0).items()}
    coarse = [name for name in masks if name.startswith(("down.1", "narrow", "context", "conditioning"))]
    assert coarse
    for name in coarse:
        masks[name][:] = False
    small, _ = compress.prune_network(network, masks)
    assert not list(small.pools[0].parameters()) and outputs(small, x, surface).shape == (surface.num_vertices, 3)


def test_jeffreys_gates_scale_and_drop():
    full = gated(trained("ShapeUNet"), "jeffreys").double()
    surface = surface_of(full)
    x = full.in_type.randn(surface.num_vertices).double()
    expected = outputs(full, x, surface)
    small, _ = compress.prune_network(full)
    assert count(small) < 0.8 * count(full)
    assert (outputs(small, x, surface) - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_hard_concrete_gates():
    torch.manual_seed(0)
    gates = compress.HardConcrete(20_000)
    with torch.no_grad():
        gates.log_alpha.fill_(-0.5)
        z = gates.sample()
    # The published constants: P(z > 0) = sigmoid(log alpha - 2/3 log(0.1 / 1.1)).
    open_share = torch.sigmoid(torch.tensor(-0.5) - 2 / 3 * torch.tensor(0.1 / 1.1).log())
    assert abs(float((z > 0).float().mean() - open_share)) < 4 * (0.25 / 20_000) ** 0.5
    assert float(gates.cost().detach()) / 20_000 == pytest.approx(float(open_share), rel=1e-5)
    assert 0 < (z == 1).float().mean() < 1 and z.min() == 0 and z.max() == 1


def test_jeffreys_divergence_is_that_of_the_prior():
    """Against the integral: KL up to a constant is -log(sigma) - E log|z| in reverse sign, for z ~ N(1, alpha)."""
    gates = compress.NormalJeffreys(1)
    epsilon = torch.linspace(-8, 8, 400_001, dtype=torch.float64)
    density = torch.exp(-epsilon.square() / 2)
    density /= density.sum()
    found, exact = [], []
    for log_alpha in (-6.0, -3.0, -1.0, 0.0, 1.0, 2.5):
        with torch.no_grad():
            gates.log_variance.fill_(log_alpha)
            found.append(float(gates.cost()))
        z = 1 + epsilon * torch.tensor(log_alpha / 2, dtype=torch.float64).exp()
        exact.append(float((density * z.abs().clamp(min=1e-12).log()).sum()) - log_alpha / 2)
    offsets = torch.tensor(exact) - torch.tensor(found)
    assert (offsets - offsets.mean()).abs().max() < 0.02  # the published approximation


def test_gates_are_trained_and_the_cost_is_warmed_up():
    sparsity = compress.Sparsity(0.5)
    assert [sparsity.weight_at(step, 90) for step in (0, 15, 30, 90)] == [0.0, 0.25, 0.5, 0.5]
    with pytest.raises(InputError, match="sparsity -1"):
        compress.Sparsity(-1)


def test_a_gate_is_shared_by_components_and_rings():
    """A network with gates is as equivariant in training, where factors are random."""
    network = gated(trained("ShapeClassifier"), "l0")
    surface = surface_of(network)
    for _, gate in compress.gates_of(network):
        z = gate.factors.sample().detach()
        gate.factors.value = lambda z=z: z
    assert_gauge_equivariant(network, surface)


def task():
    spec = {"data": "meshconv.datasets.MeshFolder", "features": ["default"]}
    options = {"channels": 3, "max_order": 1, "blocks": 1, "width": 8}
    return ClassificationTask("ShapeClassifier", MIXED, ["a", "b"], spec, options).eval()


def test_a_pruned_task_has_its_plan_among_its_hyperparameters():
    full = task()
    compress.add_gates(full.network)
    for _, gate in compress.gates_of(full):
        gate.factors.log_alpha.data[::2] = -9
    small = compress.prune(full)
    again = ClassificationTask(**small.hparams)
    again.load_state_dict(small.state_dict())
    assert "compact" not in full.hparams or full.hparams["compact"] is None
    with pytest.raises(InputError, match="compressed already"):
        compress.prune(small)


def test_magnitude_keeps_the_largest():
    network = trained("ShapeClassifier")
    with torch.no_grad():
        network.blocks[0].conv1.weight[:, network.blocks[0].conv1.in_type.components([2])] *= 50
    masks = compress.magnitude_masks(network, 0.3)
    kept, total = sum(int(m.sum()) for m in masks.values()), sum(len(m) for m in masks.values())
    assert masks["blocks.0.conv1"][2] and all(m.any() for m in masks.values())
    assert kept / total == pytest.approx(0.3, abs=0.05)


def test_bad_input_is_one_line():
    network = trained("ShapeClassifier")
    closed = {name: torch.zeros_like(mask) for name, mask in compress.magnitude_masks(network, 1.0).items()}
    with pytest.raises(InputError, match="no field between input and output"):
        compress.prune_network(network, closed)
    with pytest.raises(InputError, match="no gates"):
        compress.prune_network(network)
    with pytest.raises(InputError, match="'l2' is not known"):
        compress.add_gates(network, "l2")
    with pytest.raises(InputError, match="keep 0 "):
        compress.magnitude_masks(network, 0)

    class Nothing(nn.Module):
        in_type = FieldType("3x0")

        def forward(self, x, surface):
            return x

    with pytest.raises(InputError, match="no convolution or linear layer"):
        compress.add_gates(Nothing())
    with pytest.raises(InputError, match=r"layer 'blocks.7.conv1' do not fit"):
        compact(network, {**NOTHING, "layers": {"blocks.7.conv1": {}}})
    wrong = {"reads": [0, 99], "gives": [0], "arrives": None, "wide": True}
    with pytest.raises(InputError, match="fields of layer 'stem' do not fit"):
        compact(network, {**NOTHING, "layers": {"stem": wrong}})
