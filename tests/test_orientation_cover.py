"""Surfaces without orientation: the cover, its folded gauge graph, and networks of O(2) on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meshes import MANIFOLD, icosphere, moebius

from meshconv import GaugeGraph, InputError, Neighbourhood, TriangleMesh
from meshconv.geometry.graph.gauge_graph import wrap_angle
from meshconv.geometry.mesh.orientation_cover import orientation_cover
from meshconv.models import ShapeClassifier
from meshconv.nn import ResidualBlock
from meshconv.testing import assert_gauge_equivariant

EXTENTS = [{}, {"rings": 2}, {"radius": 0.2}, {"nearest": 12}]


def klein_bottle(n: int = 16, m: int = 12) -> TriangleMesh:
    """Closed, without orientation, through itself once (the figure-eight immersion)."""
    u, v = np.meshgrid(np.arange(n) * 2 * np.pi / n, np.arange(m) * 2 * np.pi / m, indexing="ij")
    r = 3 + np.cos(u / 2) * np.sin(v) - np.sin(u / 2) * np.sin(2 * v)
    z = np.sin(u / 2) * np.sin(v) + np.cos(u / 2) * np.sin(2 * v)
    vertices = np.stack([r * np.cos(u), r * np.sin(u), z], -1).reshape(-1, 3)
    grid = np.arange(n * m).reshape(n, m)
    grid = np.concatenate([grid, grid[:1, (-np.arange(m)) % m]])  # u = 2 pi is u = 0 with v turned round
    grid = np.concatenate([grid, grid[:, :1]], axis=1)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return TriangleMesh(vertices, faces, "klein_bottle")


UNORIENTABLE = {"moebius": moebius, "klein_bottle": klein_bottle}


def there_and_back(graph: GaugeGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """Transporter of each edge followed by that of the opposite edge, as angle and reflection."""
    key = {(s, d): e for e, (s, d) in enumerate(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))}
    assert len(key) == graph.num_edges
    back = torch.tensor([key[d, s] for s, d in zip(graph.src.tolist(), graph.dst.tolist(), strict=True)])
    sense = torch.where(graph.reflected[back], -1, 1)
    angle = graph.transporter[back] + sense * graph.transporter
    return wrap_angle(angle), graph.reflected[back] != graph.reflected


@pytest.mark.parametrize("name", UNORIENTABLE)
def test_cover_is_a_manifold_of_twice_the_surface(name):
    mesh = UNORIENTABLE[name]()
    cover = orientation_cover(mesh.surface.faces, mesh.num_vertices)
    double = TriangleMesh(mesh.vertices[cover.base], cover.faces)
    assert double.num_faces == 2 * mesh.num_faces and double.num_vertices == 2 * mesh.num_vertices
    assert double.defects.orientable and double.defects.components == 1
    assert double.defects.nonmanifold_edges == double.defects.nonmanifold_vertices == 0
    assert double.defects.euler_characteristic == 2 * mesh.defects.euler_characteristic
    assert (cover.base[cover.sheets] == np.arange(mesh.num_vertices)[:, None]).all()


@pytest.mark.parametrize("name", UNORIENTABLE)
@pytest.mark.parametrize("transport", ["levi_civita", "normal_aligning"])
def test_there_and_back_is_the_identity(name, transport):
    mesh = UNORIENTABLE[name]()
    graph = mesh.gauge_graph(transport=transport, unoriented=True)
    graph.validate()
    assert graph.reflected.any() and not graph.reflected.all()
    angle, reflected = there_and_back(graph)
    assert angle.abs().max() < 1e-9 and not reflected.any()
    # As many neighbours and the same lengths as with the seam, which only angles know.
    plain = mesh.gauge_graph(transport=transport)
    assert torch.equal(graph.src, plain.src) and torch.equal(graph.dst, plain.dst)
    torch.testing.assert_close(graph.log_radius, plain.log_radius)
    torch.testing.assert_close(graph.areas, plain.areas)
    torch.testing.assert_close(graph.scale, plain.scale)


@pytest.mark.parametrize("name", UNORIENTABLE)
def test_frames_at_both_ends_see_the_edge(name):
    """The transporter takes the edge's direction at one end to minus that at the other, reflected or not."""
    graph = UNORIENTABLE[name]().gauge_graph(unoriented=True)
    key = {(s, d): e for e, (s, d) in enumerate(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))}
    back = torch.tensor([key[d, s] for s, d in zip(graph.src.tolist(), graph.dst.tolist(), strict=True)])
    leaving = torch.where(graph.reflected, -1, 1) * graph.log_angle[back]
    assert wrap_angle(leaving + graph.transporter + torch.pi - graph.log_angle).abs().max() < 1e-9
    # The log map's direction in space is the chord's, up to curvature.
    e1, e2, _ = graph.frames[graph.dst].unbind(dim=1)
    direction = graph.log_angle.cos()[:, None] * e1 + graph.log_angle.sin()[:, None] * e2
    chord = graph.positions[graph.src] - graph.positions[graph.dst]
    cosine = (direction * chord).sum(-1) / chord.norm(dim=-1)
    assert cosine.median() > 0.95 and cosine.min() > 0.5


@pytest.mark.parametrize("name", sorted(MANIFOLD))
def test_orientable_surfaces_are_as_ever(name):
    mesh = MANIFOLD[name][0]()
    graph, plain = mesh.gauge_graph(unoriented=True), mesh.gauge_graph()
    assert not graph.reflected.any()
    for a, b in ((graph.src, plain.src), (graph.frames, plain.frames), (graph.scale, plain.scale)):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(wrap_angle(graph.transporter - plain.transporter).abs().max() < 1e-9, torch.tensor(True))


@pytest.mark.parametrize("extent", EXTENTS, ids=str)
@pytest.mark.parametrize("name", UNORIENTABLE)
def test_o2_network_does_not_see_where_the_seam_is(name, extent):
    """Turning any faces round moves the frames' sides about, and the output along with them."""
    mesh = UNORIENTABLE[name]()
    rng = np.random.default_rng(0)
    flip = rng.random(mesh.num_faces) < 0.3
    other = TriangleMesh(mesh.vertices, np.where(flip[:, None], mesh.faces[:, ::-1], mesh.faces))
    torch.manual_seed(0)
    block = ResidualBlock("O(2): 2x0", "2x0 + 1x0- + 2x1 + 1x2").double().eval()
    x = torch.randn(mesh.num_vertices, 2, dtype=torch.float64)
    results = []
    for m in (mesh, other):
        graph = m.gauge_graph(Neighbourhood(**extent), unoriented=True)
        results.append(block.out_type.invariants(block(x, graph)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-8, atol=1e-8)
    assert results[0].std(0).min() > 1e-3
    assert_gauge_equivariant(block, graph)


def test_models_and_batches():
    strip, bottle, ball = moebius(), klein_bottle(), icosphere(1)
    nearest = bottle.gauge_graph(Neighbourhood(nearest=9), unoriented=True)
    graphs = [strip.gauge_graph(unoriented=True), ball.gauge_graph(), nearest]
    batch = GaugeGraph.batch(graphs)
    batch.validate()
    model = ShapeClassifier("O(2): 3x0", 4, channels=4, blocks=1).double().eval()
    x = torch.randn(batch.num_vertices, 3, dtype=torch.float64)
    together = model(x, batch)
    for k, (part, graph) in enumerate(zip(x.split([g.num_vertices for g in graphs]), batch.unbatch(), strict=True)):
        torch.testing.assert_close(model(part, graph)[0], together[k])
    with pytest.raises(ValueError, match="transporters that reflect"):
        ShapeClassifier("3x0", 4, channels=4, blocks=1).double()(x, batch)


def test_what_is_not_a_surface_is_refused():
    ball = icosphere(1)
    faces = np.concatenate([ball.faces, [[ball.faces[0, 0], ball.faces[0, 1], ball.faces[-1, 2]]]])
    with pytest.raises(InputError, match="edges have three faces or more; repair"):
        TriangleMesh(ball.vertices, faces).gauge_graph(unoriented=True)
    two = TriangleMesh(np.random.default_rng(0).normal(size=(5, 3)), np.array([[0, 1, 2], [0, 3, 4]]), "bow-tie")
    with pytest.raises(InputError, match="bow-tie: several fans of faces meet in 1 vertices"):
        two.gauge_graph(unoriented=True)


def test_vertices_without_faces_stay():
    strip = moebius()
    graph = TriangleMesh(np.concatenate([[[9.0, 9, 9]], strip.vertices]), strip.faces + 1).gauge_graph(unoriented=True)
    graph.validate()
    assert graph.num_vertices == strip.num_vertices + 1 and graph.dst_ptr[1] == 0
