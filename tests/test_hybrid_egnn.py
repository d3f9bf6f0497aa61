"""EGNN: turned, reflected, moved and permuted points; the charged bodies' conservation laws."""

from __future__ import annotations

import pytest
import torch
from meshes import icosphere

from meshconv import InputError
from meshconv.hybrid import EGNN, charged_bodies, fully_connected
from meshconv.nn import from_ambient


def network_and_points(velocity: bool = True) -> tuple[EGNN, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network = EGNN(2, 3, hidden=16, layers=3, edge_features=1, with_velocity=velocity).double()
    with torch.no_grad():
        for layer in network.layers:
            layer.move[2].weight.normal_()
    src, dst = fully_connected(6)
    shapes = {"h": (6, 2), "x": (6, 3), "edges": (30, 1), "velocity": (6, 3)}
    points = {name: torch.randn(shape) for name, shape in shapes.items()}
    return network, {k: v.double() for k, v in points.items()} | {"src": src, "dst": dst}


def orthogonal(determinant: int) -> torch.Tensor:
    q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    return q * determinant if torch.linalg.det(q) * determinant < 0 else q


@pytest.mark.parametrize("determinant", [1, -1])
def test_features_are_invariant_and_positions_equivariant(determinant):
    network, points = network_and_points()
    h, x = network(**points)
    q, shift = orthogonal(determinant), torch.tensor([5.0, -2.0, 1.0], dtype=torch.float64)
    assert torch.linalg.det(q) * determinant > 0
    moved = points | {"x": points["x"] @ q.T + shift, "velocity": points["velocity"] @ q.T}
    h2, x2 = network(**moved)
    assert torch.allclose(h2, h, atol=1e-10)
    assert torch.allclose(x2, x @ q.T + shift, atol=1e-10)
    assert not torch.allclose(x, points["x"], atol=1e-2)


def test_permutations_and_batches():
    network, points = network_and_points()
    h, x = network(**points)
    order = torch.randperm(6)
    place = torch.argsort(order)
    other = points | {k: points[k][order] for k in ("h", "x", "velocity")}
    h2, x2 = network(**other | {"src": place[points["src"]], "dst": place[points["dst"]]})
    assert torch.allclose(h2, h[order], atol=1e-10) and torch.allclose(x2, x[order], atol=1e-10)
    batch = {k: v if k in ("src", "dst") else torch.stack([v, 2 * v]) for k, v in points.items()}
    assert torch.allclose(network(**batch)[1][0], x, atol=1e-10)


def test_displacements_of_a_mesh_are_tangent_fields():
    """Their norms, from vertices of the mesh, are the same after a rotation."""
    graph = icosphere(1).gauge_graph().to(dtype=torch.float64)
    network = EGNN(1, 1, hidden=8, layers=2).double()
    q = orthogonal(1)
    fields = []
    for positions, frames in ((graph.positions, graph.frames), (graph.positions @ q.T, graph.frames @ q.T)):
        x = network(torch.ones(42, 1).double(), positions, graph.src, graph.dst)[1]
        turned = type("Frames", (), {"frames": frames})()
        fields.append(from_ambient((x - positions)[:, None], turned, "1x0 + 1x1"))
    assert torch.allclose(*fields, atol=1e-10) and fields[0].abs().max() > 1e-6


def test_charged_bodies_keep_momentum():
    _, x, v, y = charged_bodies(4, time=0.5, steps=500)
    assert torch.allclose(y.mean(1), x.mean(1) + 0.5 * v.mean(1), atol=1e-5)
    again = charged_bodies(4, time=0.5, steps=1000)[3]
    assert (again - y).abs().median() < 1e-3
    assert not torch.equal(charged_bodies(4, seed=1, steps=5)[1], x)


@pytest.mark.slow
def test_training_beats_straight_lines():
    charges, x, v, y = charged_bodies(64, steps=200)
    torch.manual_seed(0)
    src, dst = fully_connected(5)
    pairs = charges[:, src] * charges[:, dst]
    network = EGNN(1, 1, hidden=16, layers=2, edge_features=1, with_velocity=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(40):
        loss = ((network(charges, x, src, dst, pairs, v)[1] - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    time = ((y - x) * v).sum() / (v**2).sum()  # the best straight lines
    assert loss.item() < ((x + time * v - y) ** 2).mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h": torch.zeros(6, 1)}, r"h is \[6, 1\], expected \[.., 6, 2\]: x is \[6, 3\]"),
        ({"src": torch.tensor([9]), "dst": torch.tensor([0])}, "edges name points 0..9, x has 6"),
        ({"src": torch.tensor([1])}, r"src is \[1\] and dst \[30\]"),
        ({"edges": None}, "edges are missing"),
        ({"edges": torch.zeros(29, 1)}, r"edges are \[29, 1\], expected \[.., 30, 1\]"),
        ({"velocity": None}, "velocity is None"),
    ],
)
def test_wrong_input(change, message):
    network, points = network_and_points()
    with pytest.raises(InputError, match=message):
        network(**points | change)
