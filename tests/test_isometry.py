"""What must not matter to a network: numbering, place in space, and how a surface is bent without stretching."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from meshes import CLOSED, OPEN, blob, bumpy_sheet, double_torus
from torch import Tensor, nn

from meshconv import FieldType, GaugeGraph, Neighbourhood, TriangleMesh
from meshconv.geometry import MESH_FEATURES, face_holonomies, mesh_features
from meshconv.models import ShapeClassifier
from meshconv.nn import GaugeConv, NormNonlinearity

EXTENTS: list[dict[str, float]] = [{}, {"rings": 2}, {"radius": 0.15}]
ROWS, COLS = 12, 17


class Network(nn.Module):
    """Two convolutions with a nonlinearity between: scalars at every vertex, and logits of the surface."""

    def __init__(self, in_type: FieldType):
        super().__init__()
        torch.manual_seed(1)
        middle = FieldType("6x0 + 6x1 + 4x2")
        self.first, self.last = GaugeConv(in_type, middle), GaugeConv(middle, "5x0")
        self.act = NormNonlinearity(middle)
        self.classifier = ShapeClassifier(in_type, 3, channels=4, blocks=2, width=16)
        self.double().eval()

    def forward(self, x: Tensor, graph: GaugeGraph) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return self.last(self.act(self.first(x, graph)), graph), self.classifier(x, graph)


def sheet(turns: float, seed: int = 0) -> TriangleMesh:
    """Strips between lines that lie across; the sheet folds along them by ``turns`` rounds in all, nothing stretches.

    Widths of strips, places of vertices on the lines and angles of folds are uneven.
    """
    rng = np.random.default_rng(seed)
    width, along = rng.uniform(0.5, 1.0, COLS - 1), np.arange(ROWS) + rng.uniform(-0.3, 0.3, (COLS, ROWS))
    fold = rng.uniform(0.0, 1.0, COLS - 1)
    heading = 2 * np.pi * turns * np.cumsum(fold) / fold.sum()
    step = width[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
    profile = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])
    vertices = np.concatenate([np.repeat(profile, ROWS, axis=0), along.reshape(-1, 1)], axis=1)
    a = (np.arange(COLS - 1)[:, None] * ROWS + np.arange(ROWS - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + ROWS, a + ROWS + 1], 1), np.stack([a, a + ROWS + 1, a + 1], 1)])
    return TriangleMesh(vertices, faces)


def intrinsic(mesh: TriangleMesh) -> Tensor:
    """Fields that lengths on the surface determine: areas, curvature, and noise to tell vertices apart."""
    noise = np.random.default_rng(5).normal(size=mesh.num_vertices)
    area = mesh.vertex_areas / mesh.vertex_areas.mean()
    return torch.from_numpy(np.stack([np.log(area), mesh.angle_defects, noise], axis=1))


@pytest.mark.parametrize("turns", [0.3, 0.9])
@pytest.mark.parametrize("extent", EXTENTS)
def test_a_flat_sheet_and_a_rolled_one_are_the_same(extent: dict[str, float], turns: float) -> None:
    flat, rolled = sheet(0.0), sheet(turns)
    assert np.ptp(flat.vertices[:, 1]) < 1e-12
    assert np.ptp(rolled.vertices[:, 1]) > 1
    network = Network(FieldType("3x0"))
    at, logits = network(intrinsic(flat), flat.gauge_graph(Neighbourhood(**extent)))
    rolled_at, rolled_logits = network(intrinsic(rolled), rolled.gauge_graph(Neighbourhood(**extent)))
    torch.testing.assert_close(rolled_at, at, rtol=0, atol=1e-9)
    torch.testing.assert_close(rolled_logits, logits, rtol=0, atol=1e-9)
    assert float(at.std()) > 0.01
    # What is not intrinsic tells them apart: chords and projected normals, and where the surface lies in space.
    chords = network(intrinsic(rolled), rolled.gauge_graph(Neighbourhood(**extent), transport="normal_aligning"))[0]
    assert float((chords - at).abs().max()) > 1e-4
    in_space = [mesh_features(m, m.gauge_graph()) for m in (flat, rolled)]
    assert float((MESH_FEATURES.norms(in_space[0]) - MESH_FEATURES.norms(in_space[1])).abs().max()) > 0.1


@pytest.mark.parametrize("transport", ["levi_civita", "normal_aligning"])
@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("build", [blob, bumpy_sheet, double_torus])
def test_numbering_changes_nothing_but_the_order(
    build: Callable[[], TriangleMesh], extent: dict[str, float], transport: str
) -> None:
    mesh, rng = build(), np.random.default_rng(0)
    place = rng.permutation(mesh.num_vertices)  # old vertex v becomes place[v]
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = mesh.vertices
    faces = rng.permutation(place[mesh.faces])
    faces = np.take_along_axis(faces, (np.arange(3) + rng.integers(0, 3, (len(faces), 1))) % 3, axis=1)
    network, found = Network(MESH_FEATURES), []
    for m in (mesh, TriangleMesh(vertices, faces)):
        graph = m.gauge_graph(Neighbourhood(**extent), transport=transport)
        found.append(network(mesh_features(m, graph), graph))
    (at, logits), (new_at, new_logits) = found
    torch.testing.assert_close(new_at[torch.from_numpy(place)], at, rtol=0, atol=1e-8)
    torch.testing.assert_close(new_logits, logits, rtol=0, atol=1e-8)
    assert float(at.std()) > 0.01


@pytest.mark.parametrize("build", [blob, bumpy_sheet, double_torus])
def test_gauge_and_place_in_space_change_nothing(build: Callable[[], TriangleMesh]) -> None:
    mesh, network = build(), Network(MESH_FEATURES)
    graph = mesh.gauge_graph(Neighbourhood(rings=2))
    at, logits = network(mesh_features(mesh, graph), graph)
    turned = graph.change_gauge(graph.random_gauge())
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    moved = TriangleMesh(3 * mesh.vertices @ turn.T + [5.0, -1.0, 2.0], mesh.faces)
    for m, g in ((mesh, turned), (moved, moved.gauge_graph(Neighbourhood(rings=2)))):
        new_at, new_logits = network(mesh_features(m, g), g)
        torch.testing.assert_close(new_at, at, rtol=0, atol=1e-8)
        torch.testing.assert_close(new_logits, logits, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", [*CLOSED, *OPEN])
def test_curvature_of_faces_sums_to_two_pi_chi_in_every_gauge(name: str) -> None:
    """Boundary vertices span half a turn, so a boundary is straight and adds nothing (Gauss-Bonnet)."""
    build, chi = {**CLOSED, **OPEN}[name]
    mesh = build()
    graph, faces = mesh.gauge_graph(), torch.from_numpy(mesh.surface.faces)
    turns = face_holonomies(graph, faces)
    rounds = (float(turns.sum()) - 2 * np.pi * chi) / (2 * np.pi)
    # One triangle bends by a whole turn, which no holonomy shows.
    assert rounds == pytest.approx(-1 if name == "single_triangle" else 0, abs=1e-9)
    assert mesh.angle_defects.sum() == pytest.approx(2 * np.pi * chi, abs=1e-9)
    for seed in range(3):
        alpha = graph.random_gauge(torch.Generator().manual_seed(seed))
        again = face_holonomies(graph.change_gauge(alpha), faces)
        torch.testing.assert_close(again, turns, rtol=0, atol=1e-12)
