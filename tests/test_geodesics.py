"""Theorems about geodesic neighbourhoods, and an independent exact solver."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from geodesic_cases import UNEVEN
from meshes import DEFECTIVE, MANIFOLD, blob, bumpy_sheet, cylinder, flat_sheet, icosphere
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from meshconv import GaugeGraph, Neighbourhood, TriangleMesh
from meshconv.geometry import face_holonomies, loop_holonomy
from meshconv.geometry.graph.gauge_graph import wrap_angle
from meshconv.geometry.sphere.frames import sphere_edges
from meshconv.ops.geodesics import geodesics

EXTENTS = [{"rings": 2}, {"radius": 0.15}, {"nearest": 9}]


def find(graph: GaugeGraph, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Edges ``src -> dst``, -1 where there is none."""
    key = (graph.dst * graph.num_vertices + graph.src).numpy()
    wanted = dst * graph.num_vertices + src
    ids = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    return np.where(key[ids] == wanted, ids, -1)


def wrap(angle: np.ndarray) -> np.ndarray:
    return wrap_angle(torch.as_tensor(angle)).numpy()


@pytest.mark.parametrize("name", UNEVEN)
def test_radii_are_those_of_an_exact_solver(name: str) -> None:
    cached = np.load(Path(__file__).parent / "data" / "geodesics.npz")
    mesh = UNEVEN[name]()
    assert mesh.vertices.sum() == pytest.approx(float(cached[f"{name}.checksum"]), abs=1e-9), "run tests/oracles"
    graph = mesh.gauge_graph(Neighbourhood(radius=0.2001))
    source, target = (cached[f"{name}.{end}"].astype(np.int64) for end in ("source", "target"))
    ids = find(graph, target, source)
    assert len(ids) > 5000
    assert (ids >= 0).all()
    error = np.abs(graph.log_radius.numpy()[ids] / cached[f"{name}.distance"] - 1)
    assert error.max() < 1e-6


def sphere_errors(level: int, radius: float) -> np.ndarray:
    """Errors of radius (relative), angle and transporter (degrees) on an icosphere, [3, E]."""
    mesh = icosphere(level)
    graph = mesh.gauge_graph(Neighbourhood(radius=radius / math.sqrt(mesh.area)))
    points = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    e1 = mesh.frames[:, 0] - (mesh.frames[:, 0] * points).sum(1, keepdims=True) * points
    e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
    frames = np.stack([e1, np.cross(points, e1), points], axis=1)
    src, dst = graph.src.numpy(), graph.dst.numpy()
    log_radius, log_angle, transporter = sphere_edges(points, frames, points, frames, src, dst)
    return np.stack(
        [
            np.abs(graph.log_radius.numpy() / log_radius - 1),
            np.degrees(np.abs(wrap(graph.log_angle.numpy() - log_angle))),
            np.degrees(np.abs(wrap(graph.transporter.numpy() - transporter))),
        ]
    )


def test_on_spheres_coordinates_and_transporters_converge_to_the_closed_form(compiled: None) -> None:
    """Distances on the polyhedron are off by the square of the edge length; angles stay far below 0.5 degrees."""
    medians, tails = [], []
    for level in (3, 4, 5):
        error = sphere_errors(level, 0.25)
        medians.append(np.median(error, axis=1))
        tails.append(np.percentile(error, 99, axis=1))
    assert medians[0][0] > 2 * medians[1][0] > 4 * medians[2][0]
    assert (medians[2] < [0.0005, 0.05, 0.05]).all()
    assert (tails[2] < [0.0005, 0.3, 0.5]).all()


@pytest.mark.parametrize("kind", ["flat_sheet", "cylinder"])
def test_sheets_flat_or_bent_have_the_logs_of_the_plane(kind: str) -> None:
    """A cylinder whose facets are unrolled is a plane: polar coordinates and transport are those of the plane."""
    n = 16
    if kind == "flat_sheet":
        mesh = flat_sheet(12)
        frame = np.linalg.svd(mesh.vertices - mesh.vertices.mean(0))[2][:2]
        plane = mesh.vertices @ frame.T
        flip = 1.0 if np.cross(*frame) @ mesh.vertex_normals[0] > 0 else -1.0
        plane[:, 1] *= flip
        period = 1e9
        graph = mesh.gauge_graph(Neighbourhood(radius=0.3))
    else:
        mesh = cylinder(8, n)
        side = 2 * math.sin(math.pi / n)
        column, row = np.arange(mesh.num_vertices) % n, np.arange(mesh.num_vertices) // n
        plane = np.stack([column * side, row * 0.4], axis=1)
        period = n * side
        graph = mesh.gauge_graph(Neighbourhood(radius=0.4))
    src, dst = graph.src.numpy(), graph.dst.numpy()
    chord = plane[src] - plane[dst]
    chord[:, 0] -= period * np.round(chord[:, 0] / period)
    assert len(src) > 20 * mesh.num_vertices
    np.testing.assert_allclose(graph.log_radius.numpy(), np.linalg.norm(chord, axis=1), rtol=1e-12)
    # Turn of each frame against the plane's, from any one edge; pi on a boundary is spread over pi: no scaling either.
    ring = mesh.gauge_graph()
    first = ring.dst_ptr[:-1].numpy()
    edge = plane[ring.src.numpy()[first]] - plane[ring.dst.numpy()[first]]
    edge[:, 0] -= period * np.round(edge[:, 0] / period)
    straight = ~mesh.fans.is_boundary | (np.abs(mesh.fans.total - np.pi) < 1e-9)
    offset = np.arctan2(edge[:, 1], edge[:, 0]) - ring.log_angle.numpy()[first]
    at = straight[dst] & (graph.log_radius.numpy() < 0.49 * period)
    expected = np.arctan2(chord[:, 1], chord[:, 0]) - offset[dst]
    assert np.abs(wrap(graph.log_angle.numpy() - expected))[at].max() < 1e-10
    at &= straight[src]
    assert np.abs(wrap(graph.transporter.numpy() - (offset[src] - offset[dst])))[at].max() < 1e-10
    assert at.sum() > 1000


@pytest.mark.parametrize("name", UNEVEN)
def test_paths_back_are_the_paths_there(name: str) -> None:
    graph = UNEVEN[name]().gauge_graph(Neighbourhood(radius=0.1))
    back = find(graph, graph.dst.numpy(), graph.src.numpy())
    both = back >= 0
    assert both.mean() > 0.9999
    there = graph.log_radius.numpy()[both]
    np.testing.assert_allclose(graph.log_radius.numpy()[back[both]], there, rtol=1e-9)
    assert np.abs(wrap((graph.transporter + graph.transporter[back]).numpy()))[both].max() < 1e-9


@pytest.mark.parametrize("name", MANIFOLD)
def test_adjacent_vertices_are_as_in_the_one_ring(name: str) -> None:
    """An edge is a shortest path, save where a way across a flat triangle's neighbours is shorter."""
    mesh = MANIFOLD[name][0]()
    ring, graph = mesh.gauge_graph(), mesh.gauge_graph(Neighbourhood(rings=1))
    assert torch.equal(ring.src, graph.src)
    assert torch.equal(ring.dst_ptr, graph.dst_ptr)
    assert torch.equal(ring.src_edge, graph.src_edge)
    assert torch.equal(ring.src_ptr, graph.src_ptr)
    assert float(ring.scale[0]) == float(graph.scale[0])
    assert bool((graph.log_radius <= ring.log_radius).all())
    same = graph.log_radius == ring.log_radius
    assert float(same.double().mean()) > 0.8
    assert float(wrap_angle(ring.log_angle - graph.log_angle)[same].abs().max()) < 1e-12
    assert float(wrap_angle(ring.transporter - graph.transporter)[same].abs().max()) < 1e-12


def test_members_are_those_asked_for() -> None:
    mesh = blob()
    ball = mesh.gauge_graph(Neighbourhood(radius=0.12))
    limit = 0.12 * math.sqrt(mesh.area)
    assert float(ball.log_radius.max()) <= limit
    assert float(ball.scale[0]) == pytest.approx(limit / 2)
    wide = mesh.gauge_graph(Neighbourhood(radius=0.2))
    assert int((wide.log_radius <= limit).sum()) == ball.num_edges
    near = mesh.gauge_graph(Neighbourhood(nearest=10))
    assert (near.dst_ptr.diff() == 10).all()
    for v in (0, 100, 500):
        rows = slice(int(wide.dst_ptr[v]), int(wide.dst_ptr[v + 1]))
        first = wide.src[rows][wide.log_radius[rows].argsort()[:10]]
        found = near.src[near.dst_ptr[v] : near.dst_ptr[v + 1]]
        assert sorted(first.tolist()) == found.tolist()
    rings = mesh.gauge_graph(Neighbourhood(rings=3))
    ring = mesh.gauge_graph()
    adjacency = csr_array((np.ones(ring.num_edges), ring.src.numpy(), ring.dst_ptr.numpy()))
    steps = dijkstra(adjacency, unweighted=True)
    assert rings.num_edges == int(((steps > 0) & (steps <= 3)).sum())
    assert (steps[rings.dst.numpy(), rings.src.numpy()] <= 3).all()


@pytest.mark.parametrize(("build", "extent"), [*((blob, e) for e in EXTENTS), (icosphere, {"rings": 2})])
def test_order_of_vertices_and_faces_is_only_a_gauge(build, extent: dict[str, float]) -> None:
    """Also where symmetry makes two paths equally short, and rounding would choose one."""
    mesh = build()
    graph = mesh.gauge_graph(Neighbourhood(**extent))
    rng = np.random.default_rng(0)
    place = rng.permutation(mesh.num_vertices)
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = mesh.vertices
    faces = rng.permutation(place[mesh.faces])
    faces = np.take_along_axis(faces, (np.arange(3) + rng.integers(0, 3, (len(faces), 1))) % 3, axis=1)
    other = TriangleMesh(vertices, faces).gauge_graph(Neighbourhood(**extent))
    assert other.num_edges == graph.num_edges
    e1, e2 = graph.frames[:, 0].numpy(), graph.frames[:, 1].numpy()
    new = other.frames[place, 0].numpy()
    alpha = torch.from_numpy(np.arctan2((new * e2).sum(1), (new * e1).sum(1)))
    same = graph.change_gauge(alpha)
    ids = find(other, place[graph.src.numpy()], place[graph.dst.numpy()])
    assert (ids >= 0).all()
    np.testing.assert_allclose(other.log_radius[ids], same.log_radius, rtol=1e-10)
    assert np.abs(wrap((other.log_angle[ids] - same.log_angle).numpy())).max() < 1e-9
    assert np.abs(wrap((other.transporter[ids] - same.transporter).numpy())).max() < 1e-9


@pytest.mark.parametrize(
    ("build", "extent"),
    [*itertools.product([blob, bumpy_sheet, DEFECTIVE["soup"]], EXTENTS), (icosphere, {"rings": 2})],
)
def test_both_implementations_agree(build, extent, compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = build().gauge_graph(Neighbourhood(**extent))
    monkeypatch.setattr(sys.modules[geodesics.__module__], "is_compiled", lambda device: False)
    slow = build().gauge_graph(Neighbourhood(**extent))
    assert torch.equal(fast.src, slow.src)
    assert torch.equal(fast.dst_ptr, slow.dst_ptr)
    assert float((fast.log_radius - slow.log_radius).abs().max() / fast.scale[0]) < 1e-12
    for name in ("log_angle", "transporter"):
        assert float(wrap_angle(getattr(fast, name) - getattr(slow, name)).abs().max()) < 1e-10


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("transport", ["levi_civita", "normal_aligning"])
@pytest.mark.parametrize("name", DEFECTIVE)
def test_a_defective_mesh_has_valid_neighbourhoods(name: str, transport: str, extent: dict[str, float]) -> None:
    mesh = DEFECTIVE[name]()
    graph = mesh.gauge_graph(Neighbourhood(**extent), transport=transport)
    graph.validate()
    if "rings" in extent:
        has_face = torch.from_numpy(np.isin(np.arange(mesh.num_vertices), mesh.surface.faces))
        assert torch.equal(graph.dst_ptr.diff() > 0, has_face)


def test_close_sheets_are_far_apart() -> None:
    """Two parallel sheets joined along one side: no neighbour jumps across the gap."""
    sheet = bumpy_sheet(12)
    n = sheet.num_vertices
    above = sheet.vertices + np.array([0, 0, 1e-3])
    joined = np.arange(12)  # the first row
    index = np.arange(n) + n
    index[joined] = joined
    faces = np.concatenate([sheet.faces, index[sheet.faces[:, ::-1]]])
    mesh = TriangleMesh(np.concatenate([sheet.vertices, above]), faces)
    graph = mesh.gauge_graph(Neighbourhood(radius=0.3))
    across = ((graph.src >= n) != (graph.dst >= n)) & (graph.src >= 12) & (graph.dst >= 12)
    assert int(across.sum()) > 0
    by_seam = mesh.vertices[graph.src.numpy(), 0] + 1 + mesh.vertices[graph.dst.numpy(), 0] + 1
    assert (graph.log_radius.numpy() >= by_seam - 1e-3)[across.numpy()].all()


def test_wrong_extents_are_named() -> None:
    mesh = icosphere(1)
    for extent in ({"rings": 1, "nearest": 2}, {"radius": -1.0}, {"nearest": 0}, {"radius": math.nan}):
        with pytest.raises(ValueError, match="rings, radius, nearest"):
            mesh.gauge_graph(Neighbourhood(**extent))
    with pytest.raises(ValueError, match="geodetic"):
        mesh.gauge_graph(Neighbourhood(rings=2), transport="geodetic")


def test_holonomy_of_faces_and_loops() -> None:
    mesh = blob()
    graph = mesh.gauge_graph()
    turns = face_holonomies(graph, torch.from_numpy(mesh.surface.faces))
    assert float(turns.sum()) == pytest.approx(4 * math.pi, abs=1e-9)
    turned = graph.change_gauge(graph.random_gauge())
    torch.testing.assert_close(face_holonomies(turned, torch.from_numpy(mesh.surface.faces)), turns, rtol=0, atol=1e-12)
    # The boundary of two faces that share an edge encloses both.
    a, b, c = mesh.surface.faces[0]
    other = mesh.half_edges.twin[0] // 3
    d = next(v for v in mesh.surface.faces[other] if v not in (a, b))
    loop = torch.tensor([a, d, b, c])
    assert float(loop_holonomy(graph, loop)) == pytest.approx(float(turns[0] + turns[other]), abs=1e-12)
    assert float(loop_holonomy(graph, loop.flip(0))) == pytest.approx(-float(turns[0] + turns[other]), abs=1e-12)
    far = int(graph.src[graph.dst == 0].max()) + 1
    while far in graph.src[graph.dst == 0].tolist():
        far += 1
    with pytest.raises(ValueError, match="no edge"):
        loop_holonomy(graph, torch.tensor([0, far, int(a)]))
