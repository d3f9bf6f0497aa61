"""Rings on surfaces and turned images: what is read off them, and the field types that follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from meshes import bumpy_sheet, icosphere
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from torch import Tensor

from meshconv import GaugeGraph, HealpixSphere, InputError, Neighbourhood, TriangleMesh
from meshconv.lie import (
    ToroidalSubgroup,
    disc_mask,
    noise_images,
    principal_columns,
    ring_pairs,
    ring_samples,
    suggest_type,
    turned_pairs,
)


@pytest.fixture(scope="module")
def sheet() -> GaugeGraph:
    """A plane of 20 neighbours a point, with frames that point anywhere."""
    x, y = (a.flatten() for a in torch.meshgrid(*[torch.arange(9.0, dtype=torch.float64)] * 2, indexing="ij"))
    points = torch.stack([x, y, torch.zeros_like(x)], 1)
    src, dst = ((torch.cdist(points, points) < 2.6).fill_diagonal_(False)).nonzero(as_tuple=True)
    step = points[src] - points[dst]
    graph = GaugeGraph.from_edges(
        src, dst, step.norm(dim=1), torch.atan2(step[:, 1], step[:, 0]), torch.zeros(len(src)),
        frames=torch.eye(3, dtype=torch.float64).expand(81, 3, 3), positions=points, areas=torch.ones(81), scale=1.0,
    )  # fmt: skip
    return graph.change_gauge(graph.random_gauge(torch.Generator().manual_seed(3)))


def test_rings_of_linear_functions_are_exact(sheet: GaugeGraph) -> None:
    rings, inside = ring_samples(sheet, sheet.positions[:, :2], [0.8, 2.0], 12)
    assert rings.shape == (81, 2, 2, 12) and int(inside.sum()) >= 25
    angle = 2 * math.pi * torch.arange(12).double() / 12
    for i, r in enumerate((0.8, 2.0)):
        e1, e2 = sheet.frames[:, 0, :2], sheet.frames[:, 1, :2]
        offset = torch.cos(angle) * e1[..., None] + torch.sin(angle) * e2[..., None]
        exact = sheet.positions[:, :2, None] + r * offset
        torch.testing.assert_close(rings[inside][:, :, i], exact[inside], atol=5e-3, rtol=0)


def test_rings_turn_with_the_frame(sheet: GaugeGraph) -> None:
    x, alpha = torch.randn(81, 1, dtype=torch.float64), sheet.random_gauge()
    rings, _ = ring_samples(sheet, x, [1.5], 8)
    other, _ = ring_samples(sheet.change_gauge(alpha), x, [1.5], 8)
    turned, _ = ring_samples(sheet, x, [1.5], 8, alpha)
    torch.testing.assert_close(other, turned)
    shifted, _ = ring_samples(sheet, x, [1.5], 8, torch.full((81,), math.pi / 4).double())
    torch.testing.assert_close(shifted, rings.roll(-1, -1))


def test_samples_beyond_a_boundary_are_marked() -> None:
    mesh = bumpy_sheet()
    graph = mesh.gauge_graph(Neighbourhood(rings=2))
    _, inside = ring_samples(graph, torch.ones(graph.num_vertices, 1), [0.3], 8)
    edge = (mesh.vertices[:, :2] ** 2).max(axis=1) > 0.99
    assert not bool(inside[torch.as_tensor(edge)].any()) and bool(inside[torch.as_tensor(~edge)].any())


@pytest.mark.parametrize("surface", [HealpixSphere(4), pytest.param(icosphere(2), marks=pytest.mark.slow)])
def test_degree_one_on_the_sphere_asks_for_a_scalar_and_a_vector(surface: HealpixSphere | TriangleMesh) -> None:
    graph = surface.gauge_graph()
    assert suggest_type(graph, graph.positions, num_samples=8) == "1x0 + 1x1"


@pytest.mark.slow
def test_waves_ask_for_their_orders(sheet: GaugeGraph) -> None:
    """Less noise, more orders; random fields of one wave length have Bessel functions of every order on a ring."""
    graph = HealpixSphere(16).gauge_graph()
    harmonics = torch.stack([torch.sin(w * graph.positions[:, k]) for w, k in ((9, 0), (9, 1), (9, 2))], 1)
    types = [suggest_type(graph, harmonics, noise=n) for n in (0.5, 0.1, 0.02)]
    dims = [t.dim for t in types]
    assert dims == sorted(dims) and dims[0] < dims[2]
    assert types[1].max_order >= 1


def test_weights_of_rings_are_the_orders_of_the_fourier_modes() -> None:
    """White noise on a ring, resampled exactly: planes are the discrete Fourier modes."""
    n, samples = 1000, 9
    angle = 2 * math.pi * torch.arange(samples).double() / samples
    order = torch.arange(1, 5).double()
    a, b, turn = torch.randn(n, 4).double(), torch.randn(n, 4).double(), 2 * math.pi * torch.rand(n).double()

    def read(at: Tensor) -> Tensor:
        phase = order * at[..., None]
        return (a[:, None] * torch.cos(phase) + b[:, None] * torch.sin(phase)).sum(-1)

    pairs = read(angle.expand(n, -1)), read(angle + turn[:, None]) + 0.01 * torch.randn(n, samples).double()
    model = ToroidalSubgroup(4, steps=150, batch=64).fit(pairs, turn)
    assert model.weights.tolist() == [1, 2, 3, 4]
    for m, plane in zip(range(1, 5), model.planes, strict=True):
        modes = torch.stack([torch.cos(m * angle), torch.sin(m * angle)], 1)
        inside = plane.mT @ modes @ torch.linalg.pinv(modes) @ plane
        torch.testing.assert_close(inside, torch.eye(2).double(), atol=1e-2, rtol=0)


def test_principal_columns_find_the_rank_of_an_order() -> None:
    """Two planes of one weight that carry one plane's signals, mixed by a unitary matrix."""
    basis = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64))[0]
    model = ToroidalSubgroup.from_columns(basis[:, :6], [0, 2, 2])
    u = torch.randn(50, 1, dtype=torch.complex128) * torch.tensor([0.6, 0.8j], dtype=torch.complex128)
    planes = torch.view_as_complex(model.planes[1:].contiguous())
    x = (u @ planes.conj()).real
    found = principal_columns(model, x)
    assert {order: tuple(columns.shape) for order, columns in found.items()} == {0: (7, 3), 2: (7, 4)}
    energy = (x @ found[2]).square().sum(0)
    assert float(energy[:2].sum()) == pytest.approx(float(x.square().sum())) and float(energy[2:].sum()) < 1e-20
    both = torch.cat(list(found.values()), 1)
    torch.testing.assert_close(both.mT @ both, torch.eye(7).double())
    # The second column stays where the first turns to.
    moved = model.transform(found[2][:, 0][None], math.pi / 4)[0]
    torch.testing.assert_close(moved, found[2][:, 1])


def test_turning_images() -> None:
    images = noise_images(3, seed=4)
    assert images.std() == pytest.approx(1) and int(disc_mask(16).sum()) == 180
    mask = disc_mask(16)
    x, y = turned_pairs(images, np.array([0.0, math.pi / 2, math.pi]))
    np.testing.assert_allclose(x, images[:, mask])
    for k in range(3):
        np.testing.assert_allclose(y[k], np.rot90(images[k], k)[mask], atol=1e-9)


@pytest.mark.slow
def test_filters_of_turned_noise_are_steerable() -> None:
    """Turning an image by a moves the phase of a filter by its weight times a."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(-math.pi, math.pi, 4000)
    pairs = turned_pairs(noise_images(4000, size=8, blur=1.0), angles)
    model = ToroidalSubgroup(8, steps=600, max_weight=12).fit(pairs)
    held = rng.uniform(-math.pi, math.pi, 500)
    posterior = model.posterior(turned_pairs(noise_images(500, size=8, blur=1.0, seed=1), held))
    size = posterior.concentration
    phase = posterior.angle - model.weights * torch.as_tensor(held)[:, None]
    mirrored = posterior.angle + model.weights * torch.as_tensor(held)[:, None]
    steered = [(size * torch.cos(p)).sum(0) / size.sum(0) for p in (phase, mirrored)]
    assert float((torch.maximum(*steered) > 0.9).double().mean()) >= 0.6
    assert len(model.weights.unique()) >= 3


@pytest.mark.slow
def test_turned_digits_are_nearest_along_their_orbits() -> None:
    """Nearest neighbours err less by invariants than by the pixels, and least by the distance to the orbit."""
    data, mask = load_digits(), disc_mask(16)
    images = np.stack([zoom(image, 2, order=3) for image in data.images[:400]])
    turned = np.zeros_like(images)
    angles = np.random.default_rng(0).uniform(-math.pi, math.pi, (2, 400))
    turned[:, mask] = turned_pairs(images, angles[0])[1]
    model = ToroidalSubgroup(30, steps=300, max_weight=20).fit(turned_pairs(turned[:300], angles[1, :300]))
    known, asked = torch.as_tensor(turned[:300][:, mask]), torch.as_tensor(turned[300:][:, mask])
    distances = [
        torch.cdist(asked, known),
        torch.cdist(model.invariants(asked), model.invariants(known)),
        torch.stack([model.distance((x.expand(300, -1), known)) for x in asked]),
    ]
    wrong = [int((data.target[:300][d.argmin(1)] != data.target[300:400]).sum()) for d in distances]
    assert wrong[0] > wrong[1] > wrong[2]


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.ones(192), {}, "channel 0 is constant"),
        (torch.zeros(192, 2), {}, "channel 0 is constant"),
        (torch.full((192,), math.nan), {}, "NaN"),
        (torch.randn(191), {}, "191 points, the graph has 192"),
        (torch.randn(192, 1, 1), {}, "shape"),
        (torch.randn(192), {"noise": 0.0}, "noise 0.0"),
        (torch.randn(192), {"num_samples": 2}, "num_samples 2"),
    ],
)
def test_bad_scalars(x: Tensor, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        suggest_type(HealpixSphere(4).gauge_graph(), x, **options)
    assert "\n" not in str(error.value)


def test_bad_graphs_and_images(random_graph) -> None:
    with pytest.raises(InputError, match="no edges"):
        suggest_type(random_graph(5, 0), torch.randn(5))
    with pytest.raises(InputError, match="neighbours all round, 40 are needed"):
        suggest_type(icosphere(0).gauge_graph(), torch.randn(12))
    with pytest.raises(InputError, match="at least 3 pixels"):
        disc_mask(2)
    with pytest.raises(InputError, match=r"images \(2, 4, 5\)"):
        turned_pairs(np.zeros((2, 4, 5)), np.zeros(2))
    assert ring_pairs(HealpixSphere(4).gauge_graph(), torch.randn(192))[0].shape[1] == 32
