"""Networks of spin-weighted convolutions: equivariance, interface, configuration, training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from meshconv import FieldType, HealpixSphere, InputError
from meshconv.homogeneous import MixedUNet, SphereTransform, SpinBlock, SpinClassifier, SpinUNet, rotate_coefficients

pytest.importorskip("ducc0", reason="the transform needs the extra 'homogeneous'")
KIND = FieldType("1x0 + 1x1")
TURN = Rotation.random(random_state=5).as_matrix()


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def turned(transform: SphereTransform, kind: FieldType, count: int = 2):
    """Fields, and the same turned."""
    c = transform.random(kind, count, generator=seeded())
    return transform.synthesis(c, kind), transform.synthesis(rotate_coefficients(c, TURN), kind)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(((a - b).norm() / b.norm()).detach())


@pytest.mark.parametrize(
    ("activation", "oversampling", "bound"),
    [("quadratic", 1.5, 1e-9), ("gated", 1.5, 2e-2), ("gated", 3.0, 1e-3), ("norm", 3.0, 1e-2)],
)
def test_whole_networks_are_equivariant(activation, oversampling, bound):
    """In training mode, at random weights, at the points of HEALPix: logits of the turned fields are turned."""
    torch.manual_seed(0)
    transform = SphereTransform(8, HealpixSphere(4))
    options = {"lmax": 8, "channels": (3, 4), "activation": activation, "oversampling": oversampling}
    x, there = turned(transform, KIND)
    classifier = SpinClassifier(KIND, 5, dropout=0, **options).double()
    assert relative(classifier(there, transform), classifier(x, transform)) < bound
    network = SpinUNet(KIND, 5, dropout=0, **options).double()
    y, z = (transform.analysis(network.body(v, transform), network.body.out_type) for v in (x, there))
    assert relative(z, rotate_coefficients(y, TURN)) < bound


def test_quadratic_networks_in_single_precision():
    torch.manual_seed(0)
    transform = SphereTransform(8)
    x, there = (v.float() for v in turned(transform, KIND))
    network = SpinClassifier(KIND, 5, channels=(3, 4), lmax=8, activation="quadratic", dropout=0)
    assert relative(network(there, transform), network(x, transform)) < 1e-4


def test_the_interface_is_that_of_sphere_unet():
    sphere = HealpixSphere(4).hierarchy(2).to(torch.float32)
    x = torch.randn(3, 192, 3, generator=seeded())
    network = SpinUNet(KIND, 5, channels=(4, 4), lmax=8).eval()
    y = network(x, sphere)
    assert y.shape == (3, 192, 5) and network.out_type == FieldType("5x0") and network.in_type == KIND
    assert torch.allclose(network(x[1], sphere), y[1], atol=1e-4)
    assert torch.allclose(network(x, SphereTransform(8, HealpixSphere(4))), y, atol=1e-4)
    turn = torch.linspace(0, 3, 192)
    other = sphere.change_gauge([turn, torch.zeros(48)])
    assert torch.allclose(network(KIND.change_gauge(x, turn), other), y, atol=1e-4)
    assert SpinUNet("2x0 + 1x1", 3)(torch.randn(192, 4), sphere).shape == (192, 3)
    assert SpinUNet("1x0", 3, channels=(4,), north=True)(torch.randn(192, 1), sphere).shape == (192, 3)
    logits = SpinClassifier(KIND, 10, channels=(4, 4), lmax=8).eval()(x, sphere)
    assert logits.shape == (3, 10)


def test_north_leaves_turns_about_the_axis():
    torch.manual_seed(0)
    transform = SphereTransform(8, HealpixSphere(4, "ring"))
    network = SpinUNet("1x0", 5, channels=(3,), lmax=8, north=True, activation="quadratic").double().eval()
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    c = transform.random("1x0", generator=seeded())
    x, there = (transform.synthesis(v, "1x0") for v in (c, rotate_coefficients(c, turn)))
    place = torch.from_numpy(transform.grid.locate(transform.xyz @ turn))
    assert torch.allclose(network(there, transform), network(x, transform)[place])
    about_x = Rotation.from_euler("x", 90, degrees=True).as_matrix()
    other = transform.synthesis(rotate_coefficients(c, about_x), "1x0")
    assert relative(network(other, transform).sort(0)[0], network(x, transform).sort(0)[0]) > 1e-3


def test_mixed_networks():
    """Gauge convolutions above spin-weighted ones: no gauge is left in the logits."""
    torch.manual_seed(0)
    sphere = HealpixSphere(8).hierarchy(3)
    network = MixedUNet(KIND, 4, channels=(3, 3, 4, 4), fine=2, lmax=4, activation="quadratic").double().eval()
    x = KIND.randn(2, 768, generator=seeded(), dtype=torch.float64)
    turns = [torch.linspace(0, 5, level.num_vertices, dtype=torch.float64) for level in sphere.levels]
    y = network(x, sphere)
    assert y.shape == (2, 768, 4) and network.num_levels == 3
    assert torch.allclose(network(KIND.change_gauge(x, turns[0]), sphere.change_gauge(turns)), y, atol=1e-10)


@pytest.mark.slow
def test_a_task_constructs_it_by_its_path():
    pytest.importorskip("lightning", reason="tasks need the extra 'train'")
    from meshconv.train import SegmentationTask

    options = {"channels": [4, 4], "lmax": 8}
    task = SegmentationTask("meshconv.homogeneous.SpinUNet", str(KIND), ["a", "b"], {}, options)
    assert isinstance(task.network, SpinUNet) and task.num_levels is None


@pytest.mark.slow
def test_training_fits_shapes_turned_at_random():
    """Two fields of equal power spectrum of the scalar, which products of degrees tell apart, each turned anew."""
    torch.manual_seed(0)
    transform = SphereTransform(6)
    two = transform.random("1x0", 2, generator=seeded())
    two[1] = two[0] * torch.where(torch.arange(7) % 3 == 0, -1, 1)[:, None, None]
    turns = Rotation.random(40, random_state=0).as_matrix()
    c = torch.stack([rotate_coefficients(two[k % 2], turn) for k, turn in enumerate(turns)])
    x, y = transform.synthesis(c, "1x0").float(), torch.arange(40) % 2
    network = SpinClassifier("1x0", 2, channels=(4, 4), lmax=6, activation="quadratic", dropout=0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x[:20], transform), y[:20]).backward()
        optimizer.step()
    assert (network.eval()(x[20:], transform).argmax(-1) == y[20:]).all()


def test_a_block_keeps_types():
    block = SpinBlock("2x0", "3x0 + 2x1", 6)
    transform = SphereTransform(6, oversampling=1.5)
    assert block(torch.randn(2, transform.num_points, 2), transform).shape == (2, transform.num_points, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SpinUNet("1x0", 2, channels=()), "channels"),
        (lambda: SpinUNet("1x0", 2, channels=(4, 4, 4), max_order=2, lmax=4), "lmax 4 leaves degrees up to 1"),
        (lambda: SpinUNet("1x0", 2, activation="relu"), "activation 'relu'"),
        (lambda: MixedUNet("1x0", 2, channels=(4, 4), fine=2), "fine 2"),
        (lambda: SpinClassifier("1x0", 2, lmax=8)(torch.zeros(1, 200, 1), SphereTransform(9)), "beyond the network"),
        (
            lambda: SpinUNet("1x0", 2)(torch.zeros(192, 1), HealpixSphere(8).part(np.arange(192)).gauge_graph()),
            "no whole HEALPix sphere",
        ),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
