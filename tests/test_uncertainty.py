"""Samples, temperature, noise and measures: against their definitions; equivariance of what is sampled."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from meshes import icosphere
from torch import Tensor, nn

from meshconv import FieldType, InputError
from meshconv.models import FieldUNet, ShapeClassifier
from meshconv.nn import Linear
from meshconv.testing import gauge_equivariance_error
from meshconv.uncertainty import (
    DroppedFields,
    Ensemble,
    LastLayers,
    MonteCarloDropout,
    brier_score,
    calibration_error,
    entropy,
    fit_noise,
    fit_temperature,
    laplace,
    rejection_curve,
)

SMALL = {"channels": [4, 4], "max_order": 1, "width": 8, "context": 0}


def probabilities(count: int = 400, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Logits, and classes that are drawn from them."""
    logits = 2 * torch.randn(count, classes, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(-1), 1)[:, 0]


def test_measures_follow_their_definitions():
    logits, target = probabilities()
    p, weights = logits.softmax(-1).numpy(), torch.rand(400).double().numpy() + 0.1
    a = weights / weights.sum()
    top, right = p.max(1), p.argmax(1) == target.numpy()
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (top >= low) & (top < low + 1 / 15)
        if inside.any():
            b = a[inside]
            total += b.sum() * abs(np.average(right[inside], weights=b) - np.average(top[inside], weights=b))
    assert calibration_error(p, target, weights) == pytest.approx(total, abs=1e-12)
    square = sum(a[i] * sum((p[i, c] - (target[i] == c).item()) ** 2 for c in range(3)) for i in range(400))
    assert brier_score(p, target, weights) == pytest.approx(square, abs=1e-12)
    assert entropy(np.full(7, 1 / 7)) == pytest.approx(math.log(7))
    shares, left = rejection_curve(1 - top, ~right, weights)
    assert left[0] == pytest.approx(a @ ~right) and shares[0] == 0
    k = 150
    kept = np.argsort(1 - top, kind="stable")[: 400 - k]
    assert left[k] == pytest.approx(np.average(~right[kept], weights=a[kept]))
    assert shares[k] == pytest.approx(1 - a[kept].sum())


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_logits_were_divided_by_is_found(true):
    torch.manual_seed(1)
    logits, target = probabilities(20000)
    assert fit_temperature(true * logits[None], target) == pytest.approx(true, rel=0.05)
    sharp = (true * logits).softmax(-1)
    fitted = (true * logits / fit_temperature(true * logits[None], target)).softmax(-1)
    assert calibration_error(fitted, target) < 0.02
    assert true == 1 or calibration_error(fitted, target) < 0.5 * calibration_error(sharp, target)


def test_the_noise_besides_the_spread_is_found():
    torch.manual_seed(2)
    variance = torch.rand(20000).double() * 3
    error = torch.randn(20000).double() * (variance + 0.7).sqrt()
    assert fit_noise(error**2, variance) == pytest.approx(0.7, rel=0.1)
    assert fit_noise(error**2, torch.zeros(20000)) == pytest.approx(float((error**2).mean()))


def test_an_ensemble_is_the_mean_of_probabilities():
    graph = icosphere(1).gauge_graph().to(torch.float32)
    networks = [ShapeClassifier("1x0 + 1x1", 3, channels=2, max_order=1, blocks=1, width=4).eval() for _ in range(3)]
    x = FieldType("1x0 + 1x1").randn(graph.num_vertices)
    both = Ensemble(networks)
    mean = torch.stack([network(x, graph).softmax(-1) for network in networks]).mean(0)
    torch.testing.assert_close(both(x, graph).exp(), mean)
    torch.testing.assert_close(both(x, graph).softmax(-1), mean)  # what tasks take it for
    both.temperature.fill_(2.0)
    cooler = torch.stack([(network(x, graph) / 2).softmax(-1) for network in networks]).mean(0)
    torch.testing.assert_close(both(x, graph).exp(), cooler)


class Deviations(nn.Module):
    """Variances of a sampled network, which are scalars."""

    def __init__(self, network: nn.Module, in_type: FieldType):
        super().__init__()
        self.network, self.in_type = network, in_type
        self.out_type = FieldType.from_multiplicities([network.out_type.num_fields])

    def forward(self, x: Tensor, surface: object) -> Tensor:
        return self.network.moments(x, surface)[1]


def field_network() -> FieldUNet:
    torch.manual_seed(3)
    network = FieldUNet("1x0 + 1x1", "2x0 + 2x1", **SMALL)
    for parameter in network.parameters():  # biases as well
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


@pytest.fixture(scope="module")
def hierarchy():
    return icosphere(2).hierarchy(2)


@pytest.fixture(scope="module", params=["dropout", "laplace", "ensemble"])
def several(request, hierarchy) -> nn.Module:
    network, surface = field_network(), hierarchy.to(torch.float32)
    if request.param == "dropout":
        return MonteCarloDropout(network, 0.3, 4, kind="fields")
    if request.param == "ensemble":
        return Ensemble([network, FieldUNet("1x0 + 1x1", "2x0 + 2x1", **SMALL).eval()], "fields")
    x = FieldType("1x0 + 1x1").randn(surface.finest.num_vertices)
    counts = torch.ones(len(x), dtype=torch.bool)
    batch = ((x, surface), counts, FieldType("2x0 + 2x1").randn(len(x)), counts.double())
    return laplace(network, [batch], "fields", 4)


def test_samples_turn_with_the_gauge_and_their_variance_does_not(several, hierarchy):
    in_type = FieldType("1x0 + 1x1")
    several = several.double()
    assert gauge_equivariance_error(several, hierarchy, in_type=in_type, dtype=torch.float64) < 1e-9
    spread = Deviations(several, in_type)
    assert gauge_equivariance_error(spread, hierarchy, in_type=in_type, dtype=torch.float64) < 1e-9
    x = in_type.randn(hierarchy.finest.num_vertices, dtype=torch.float64)
    assert several.moments(x, hierarchy)[1].min() > 0  # it has a spread
    torch.testing.assert_close(several(x, hierarchy), several(x, hierarchy), rtol=0, atol=0)
    several.float()


def test_dropout_of_single_components_is_caught(hierarchy):
    class Componentwise(nn.Module):
        in_type, out_type = FieldType("1x0 + 1x1"), FieldType("2x0 + 2x1")

        def __init__(self) -> None:
            super().__init__()
            self.network = field_network().double()

        def forward(self, x: Tensor, surface: object) -> Tensor:
            keep = torch.tensor([1, 1, 1, 1, 0, 0]).double()  # not the sines of the two vectors
            return self.network(x, surface) * keep

    assert gauge_equivariance_error(Componentwise(), hierarchy, dtype=torch.float64) > 1e-2


def test_training_drops_whole_copies_and_prediction_none(hierarchy):
    surface = hierarchy.to(torch.float32)
    network = DroppedFields("1x0 + 1x1", "1x0", network="FieldUNet", p=0.5, **SMALL)
    x = FieldType("1x0 + 1x1").randn(surface.finest.num_vertices)
    seen = []
    network.network.invariants.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    network.train()(x, surface)
    kind = network.network.seen
    zero = kind.norms(seen[0]) == 0
    torch.testing.assert_close(zero.all(0), zero.any(0))  # a copy is there at all points or at none
    assert 0 < zero.all(0).sum() < kind.num_fields
    network.eval()
    torch.testing.assert_close(network(x, surface), network.network(x, surface))


class Head(nn.Module):
    """A last layer alone; its input are the features."""

    def __init__(self, layer: nn.Module, out_type: str):
        super().__init__()
        self.layer, self.out_type = layer, FieldType(out_type)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def hessian(layer: nn.Module, names: list[str], loss) -> Tensor:
    """Of the parameters of these names, flattened in their order."""
    values = [dict(layer.named_parameters())[name].detach() for name in names]
    sizes = [v.numel() for v in values]

    def of(flat: Tensor) -> Tensor:
        parts = [p.view_as(v) for p, v in zip(flat.split(sizes), values, strict=True)]
        return loss(lambda x: torch.func.functional_call(layer, dict(zip(names, parts, strict=True)), (x,)))

    return torch.autograd.functional.hessian(of, torch.cat([v.flatten() for v in values]))


def prior(h: Tensor, size: float) -> float:
    """Of largest evidence, by bisection of tau |W|^2 = gamma."""
    low, high = 1e-6, 1e9
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if (h / (h + middle)).sum() > middle * size else (low, middle)
    return middle


def flat(layer: nn.Module, names: list[str]) -> Tensor:
    return torch.cat([dict(layer.named_parameters())[name].detach().flatten() for name in names])


def check_draws(layers: LastLayers, names: list[str], matrix: Tensor, layer: nn.Module) -> None:
    drawn = torch.stack([flat(one, names) for one in layers.layers])
    mean = flat(layer, names)
    tau = prior(torch.linalg.eigvalsh(matrix).clamp(min=0), float(mean @ mean))
    covariance = torch.linalg.inv(matrix + tau * torch.eye(len(matrix), dtype=matrix.dtype))
    off = drawn - mean
    found = off.T @ off / len(off)
    assert torch.linalg.norm(found - covariance) < 0.2 * torch.linalg.norm(covariance)
    scale = torch.linalg.cholesky(torch.linalg.inv(covariance))
    spread = (off @ scale).square().mean(0)  # 1 in every direction
    assert (spread - 1).abs().max() < 5 * math.sqrt(2 / len(off))


def test_laplace_of_classes_is_the_inverse_hessian_where_the_factors_are_exact():
    # Probabilities are the same at all points: then the mean of a product is the product of means.
    layer = nn.Linear(2, 3).double()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([0.5, -1.0, 0.2]))
    x, weights = torch.randn(30, 2, dtype=torch.float64), torch.rand(30, dtype=torch.float64) + 0.5
    target = torch.randint(3, (30,))
    counts = torch.ones(30, dtype=torch.bool)
    drawn = laplace(Head(layer, "3x0"), [((x,), counts, target, weights)], "classes", 1500)
    names = ["weight", "bias"]
    loss = nn.CrossEntropyLoss(reduction="none")
    matrix = hessian(layer, names, lambda f: (weights * loss(f(x), target)).sum())
    check_draws(drawn, names, matrix, layer)


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1])
def test_laplace_of_fields_is_the_regression_of_each_order(order):
    layer = Linear("2x0 + 2x1", "1x0 + 1x1").double()
    kind = FieldType("1x0 + 1x1")
    x, weights = FieldType("2x0 + 2x1").randn(40, dtype=torch.float64), torch.rand(40, dtype=torch.float64) + 0.5
    with torch.no_grad():
        target = layer(x) + 0.4 * kind.randn(40, dtype=torch.float64)
        square = weights @ kind.norms(layer(x) - target).square() / weights.sum() / torch.tensor([1, 2])
    counts = torch.ones(40, dtype=torch.bool)
    drawn = laplace(Head(layer, "1x0 + 1x1"), [((x,), counts, target, weights)], "fields", 1500)
    names = ["weights.0", "bias"] if order == 0 else ["weights.1"]
    part = kind.slice(order)
    matrix = hessian(layer, names, lambda f: (
        weights[:, None] * (f(x) - target)[:, part] ** 2).sum() / (2 * square[order]))  # fmt: skip
    check_draws(drawn, names, matrix, layer)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MonteCarloDropout(Head(nn.Linear(1, 2), "2x0")), "nothing to drop"),
        (lambda: MonteCarloDropout(ShapeClassifier("1x0", 2), 1.5), "dropout 1.5"),
        (lambda: MonteCarloDropout(ShapeClassifier("1x0", 2), samples=1), "at least 2"),
        (lambda: DroppedFields("1x0", 2, network="PixelwiseNetwork"), "no residual blocks"),
        (lambda: Ensemble([]), "at least one network"),
        (lambda: Ensemble([ShapeClassifier("1x0", 2), ShapeClassifier("1x0", 3)]), "one out_type"),
        (lambda: laplace(Head(nn.ReLU(), "1x0"), [], "classes"), "no linear layer"),
        (lambda: laplace(Head(nn.Sequential(nn.Linear(1, 2), nn.ReLU()), "2x0"),
                         [((torch.randn(5, 1),), torch.ones(5, dtype=torch.bool), torch.zeros(5), torch.ones(5))],
                         "classes"), "does not end with"),
        (lambda: laplace(Head(nn.Linear(1, 2), "2x0"), [], "classes"), "no targets"),
        (lambda: calibration_error([[0.5, 0.6]], [0]), "do not add up"),
        (lambda: brier_score([[0.5, 0.5]], [2]), "target 2"),
        (lambda: fit_temperature(torch.zeros(1, 0, 2), torch.zeros(0, dtype=torch.int64)), "none"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(make, said):
    with pytest.raises(InputError, match=said) as error:
        make()
    assert "\n" not in str(error.value)
