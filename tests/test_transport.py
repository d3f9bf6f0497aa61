"""Theorems about log maps and transporters on meshes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import CLOSED, DEFECTIVE, MANIFOLD, OPEN, blob, flat_sheet, icosphere, moebius

from meshconv import GaugeGraph, InputError, TriangleMesh
from meshconv.geometry.mesh.halfedges import build_half_edges
from meshconv.geometry.mesh.measures import corner_angles
from meshconv.geometry.mesh.transport import normal_aligning, tangent_frames

TRANSPORTS = ["levi_civita", "normal_aligning"]


def wrap(angle: np.ndarray) -> np.ndarray:
    return np.remainder(angle + np.pi, 2 * np.pi) - np.pi


def edge_ids(graph: GaugeGraph, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Edges ``src -> dst``, which have to exist."""
    key = (graph.dst * graph.num_vertices + graph.src).numpy()
    ids = np.searchsorted(key, dst * graph.num_vertices + src)
    assert (key[ids] == dst * graph.num_vertices + src).all()
    return ids


def twins(graph: GaugeGraph) -> np.ndarray:
    return edge_ids(graph, graph.dst.numpy(), graph.src.numpy())


def holonomies(mesh: TriangleMesh, graph: GaugeGraph) -> np.ndarray:
    """Principal values of the turn on the way round every face."""
    a, b, c = mesh.surface.faces.T
    g = graph.transporter.numpy()
    return wrap(sum(g[edge_ids(graph, s, d)] for s, d in ((a, b), (b, c), (c, a))))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_there_and_back_is_the_identity(name: str, transport: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    graph = mesh.gauge_graph(transport=transport)
    back = graph.transporter[twins(graph)]
    assert np.abs(wrap((graph.transporter + back).numpy())).max() < 1e-12


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_edge_vector_is_carried_to_minus_the_twin(name: str) -> None:
    graph = (MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()).gauge_graph()
    at_src = graph.log_angle[twins(graph)]  # direction of dst seen from src
    assert np.abs(wrap((at_src + graph.transporter - graph.log_angle - math.pi).numpy())).max() < 1e-12


@pytest.mark.parametrize("name", CLOSED)
def test_holonomies_sum_to_two_pi_chi_in_every_gauge(name: str) -> None:
    build, chi = CLOSED[name]
    mesh = build()
    graph = mesh.gauge_graph()
    turns = holonomies(mesh, graph)
    assert np.abs(turns).max() < 3  # far from the cut of the principal value
    assert turns.sum() == pytest.approx(2 * math.pi * chi, abs=1e-9)
    turned = graph.change_gauge(graph.random_gauge())
    np.testing.assert_allclose(holonomies(mesh, turned), turns, atol=1e-12)


@pytest.mark.parametrize("name", MANIFOLD)
def test_angle_defects_sum_to_two_pi_chi(name: str) -> None:
    build, chi = MANIFOLD[name]
    assert build().angle_defects.sum() == pytest.approx(2 * math.pi * chi, abs=1e-9)


@pytest.mark.parametrize("name", MANIFOLD)
def test_counts_obey_euler(name: str) -> None:
    build, chi = MANIFOLD[name]
    mesh = build()
    graph = mesh.gauge_graph()
    assert mesh.num_vertices - graph.num_edges // 2 + mesh.num_faces == chi
    assert mesh.half_edges.is_closed == (name not in OPEN)
    assert mesh.fans.regular.all()
    assert float(graph.areas.sum()) == pytest.approx(mesh.area, rel=1e-12)
    assert float(graph.scale[0]) == pytest.approx(math.sqrt(mesh.area / mesh.num_vertices), rel=1e-12)


def test_on_a_flat_sheet_the_log_map_is_polar_coordinates_and_nothing_turns() -> None:
    mesh = flat_sheet()
    graph = mesh.gauge_graph()
    src, dst = graph.src.numpy(), graph.dst.numpy()
    inner = ~mesh.fans.is_boundary
    # One frame for the whole plane, turned to each vertex's own.
    plane = tangent_frames(mesh.vertex_normals[:1], np.array([[1.0, 0.0, 0.5]]))[0]
    chord = mesh.vertices[src] - mesh.vertices[dst]
    offset = np.arctan2(mesh.frames[:, 0] @ plane[1], mesh.frames[:, 0] @ plane[0])
    expected = np.arctan2(chord @ plane[1], chord @ plane[0]) - offset[dst]
    at = inner[dst]
    assert at.sum() > 100
    assert np.abs(wrap(graph.log_angle.numpy() - expected)[at]).max() < 1e-12
    np.testing.assert_allclose(graph.log_radius.numpy(), np.linalg.norm(chord, axis=1), rtol=1e-14)
    both = inner[src] & inner[dst]
    assert np.abs(wrap(graph.transporter.numpy() - (offset[src] - offset[dst]))[both]).max() < 1e-12
    flat = inner[mesh.surface.faces].all(axis=1)
    assert np.abs(holonomies(mesh, graph)[flat]).max() < 1e-12


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_log_angles_agree_with_the_frames(transport: str) -> None:
    mesh = icosphere(4)
    graph = mesh.gauge_graph(transport=transport)
    src, dst = graph.src.numpy(), graph.dst.numpy()
    chord = mesh.vertices[src] - mesh.vertices[dst]
    frames = graph.frames.numpy()[dst]
    seen = np.arctan2((frames[:, 1] * chord).sum(1), (frames[:, 0] * chord).sum(1))
    assert np.abs(wrap(graph.log_angle.numpy() - seen)).max() < (0.03 if transport == "levi_civita" else 1e-12)


def test_both_transports_agree_on_a_fine_sphere() -> None:
    """Both converge to the smooth transport; the difference falls by about four from level to level."""
    worst = []
    for level in (2, 3, 4):
        a, b = (icosphere(level).gauge_graph(transport=t) for t in TRANSPORTS)
        worst.append(np.sqrt((wrap((a.transporter - b.transporter).numpy()) ** 2).mean()))
    assert worst[2] < 0.01
    assert worst[0] > 3 * worst[1] > 9 * worst[2]


def test_a_boundary_vertex_spreads_over_half_a_turn() -> None:
    mesh = flat_sheet()
    graph = mesh.gauge_graph()
    for v in np.flatnonzero(mesh.fans.is_boundary):
        angles = graph.log_angle[graph.dst == v].numpy() % (2 * np.pi)
        assert angles.min() == pytest.approx(0, abs=1e-12)
        assert angles.max() == pytest.approx(math.pi, abs=1e-12)


def test_order_of_vertices_faces_and_corners_is_only_a_gauge() -> None:
    mesh = blob()
    graph = mesh.gauge_graph()
    rng = np.random.default_rng(0)
    place = rng.permutation(mesh.num_vertices)  # old vertex v becomes place[v]
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = mesh.vertices
    faces = rng.permutation(place[mesh.faces])
    faces = np.take_along_axis(faces, (np.arange(3) + rng.integers(0, 3, (len(faces), 1))) % 3, axis=1)
    other = TriangleMesh(vertices, faces).gauge_graph()
    e1, e2 = graph.frames[:, 0].numpy(), graph.frames[:, 1].numpy()
    new = other.frames[place, 0].numpy()
    alpha = torch.from_numpy(np.arctan2((new * e2).sum(1), (new * e1).sum(1)))
    same = graph.change_gauge(alpha)
    ids = edge_ids(other, place[graph.src.numpy()], place[graph.dst.numpy()])
    np.testing.assert_allclose(other.frames[place], same.frames, atol=1e-12)
    np.testing.assert_allclose(other.areas[place], same.areas, rtol=1e-12)
    np.testing.assert_allclose(other.log_radius[ids], same.log_radius, rtol=1e-12)
    assert np.abs(wrap((other.log_angle[ids] - same.log_angle).numpy())).max() < 1e-12
    assert np.abs(wrap((other.transporter[ids] - same.transporter).numpy())).max() < 1e-12


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", DEFECTIVE)
def test_a_defective_mesh_has_a_valid_graph(name: str, transport: str) -> None:
    mesh = DEFECTIVE[name]()
    graph = mesh.gauge_graph(transport=transport)
    graph.validate()
    assert graph.num_vertices == mesh.num_vertices
    assert graph.num_edges > 0
    degree = graph.dst_ptr.diff()
    assert torch.equal(degree > 0, torch.from_numpy(np.isin(np.arange(mesh.num_vertices), mesh.surface.faces)))


def test_orientation_is_made_consistent_and_outward() -> None:
    good = icosphere(1)
    for name in ("some_turned", "inside_out", "duplicate_faces", "repeated_index"):
        mesh = DEFECTIVE[name]()
        assert (mesh.half_edges.twin >= 0).all()
        assert ((mesh.vertex_normals * good.vertices).sum(axis=1) > 0.9).all()
        assert mesh.area == pytest.approx(good.area)
        assert mesh.fans.regular.all()


def test_a_moebius_strip_keeps_one_seam() -> None:
    mesh = moebius()
    twinless = mesh.half_edges.twin[mesh.half_edges.edge_halfedge] < 0
    pairs = np.sort(mesh.surface.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    seam = twinless.sum() - (counts == 1).sum()
    assert 0 < seam <= 6
    assert mesh.gauge_graph().num_edges == 2 * len(counts)


def test_bow_tie_looks_the_same_whatever_the_order_of_faces() -> None:
    mesh = DEFECTIVE["bow_tie"]()
    assert not mesh.fans.regular[0]
    assert mesh.fans.regular[np.unique(mesh.faces)[1:]].all()
    shuffled = TriangleMesh(mesh.vertices, mesh.faces[::-1])
    a, b = mesh.gauge_graph(), shuffled.gauge_graph()
    at = (a.dst == 0).numpy()
    turn = wrap((a.log_angle - b.log_angle).numpy()[at])
    assert np.abs(wrap(turn - turn[0])).max() < 1e-12


def test_corner_angles_of_slivers_are_exact() -> None:
    for thin in (1e-3, 1e-9, 1e-15):
        points = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, thin, 0]])
        angles = corner_angles(points, np.array([[0, 1, 2]]))[0]
        assert angles[0] == pytest.approx(math.atan(2 * thin), rel=1e-14)
        assert angles.sum() == pytest.approx(math.pi, rel=1e-15)


def test_corner_angles_of_points_and_needles_sum_to_pi() -> None:
    points = np.array([[0.0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]])
    faces = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 3], [0, 1, 3]])
    expected = np.pi * np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(corner_angles(points, faces), expected)


def test_size_and_place_change_only_lengths() -> None:
    mesh = blob()
    a, b = mesh.gauge_graph(), TriangleMesh(1e40 * mesh.vertices, mesh.faces).gauge_graph()
    np.testing.assert_allclose(b.log_radius, 1e40 * a.log_radius, rtol=1e-12)
    np.testing.assert_allclose(b.areas, 1e80 * a.areas, rtol=1e-12)
    assert np.abs(wrap((b.transporter - a.transporter).numpy())).max() < 1e-9


@pytest.mark.parametrize("case", ["noloop_22", "loop_22", "loop_12_R3_torus"])
def test_normal_aligning_agrees_with_published_code(case: str, reference: Callable[[str], Path]) -> None:
    with np.load(reference("gem_conv.npz")) as data:
        known = {k.split("/")[1]: data[k] for k in data.files if k.startswith(f"{case}/")}
    dst, src = known["edge_index"]
    edges = normal_aligning(known["V"], known["frame"], src, dst)
    assert np.abs(edges.log_radius - known["edge_coords"][:, 0]).max() < 1e-12
    apart = edges.log_radius > 0
    assert np.abs(wrap(edges.log_angle - known["edge_coords"][:, 1]))[apart].max() < 1e-10
    assert np.abs(wrap(edges.transporter - known["connection"])).max() < 1e-10


def test_normal_aligning_of_opposite_normals_is_finite_and_antisymmetric() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0]])
    frames = np.stack([np.eye(3), np.diag([1.0, -1.0, -1.0])])
    edges = normal_aligning(points, frames, np.array([0, 1]), np.array([1, 0]))
    assert np.isfinite(edges.transporter).all()
    assert edges.transporter.sum() == 0


def test_half_edges_are_paired() -> None:
    mesh = icosphere(1)
    h = build_half_edges(mesh.faces, mesh.num_vertices)
    assert np.array_equal(h.twin[h.twin], np.arange(len(h.twin)))
    assert np.array_equal(h.origin[h.twin], h.tip)
    assert np.array_equal(h.origin[h.next(np.arange(len(h.tip)))], h.tip)


@pytest.mark.parametrize(
    ("vertices", "faces", "says"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int), "one row x, y, z"),
        (np.zeros((3, 2)), [[0, 1, 2]], "shape (3, 2)"),
        (np.eye(3), [[0, 1]], "three integers"),
        (np.eye(3), [[0.0, 1.0, 2.0]], "float64"),
        (np.eye(3), [[0, 1, 3]], "face 0 with [0, 1, 3]"),
        (np.eye(3), [[0, 1, 2], [0, 1, -1]], "face 1 with [0, 1, -1]"),
        (np.array([[0, 0, 0], [1, np.nan, 0], [0, np.inf, 1]]), [[0, 1, 2]], "2 of 3 vertices"),
        (1e120 * np.eye(3), [[0, 1, 2]], "1e+120 wide"),
        (1e-120 * np.eye(3), [[0, 1, 2]], "1e-120 wide"),
        ([["a", 0, 0]], [[0, 0, 0]], "not rectangular arrays of numbers"),
    ],
)
def test_arrays_that_are_no_mesh(vertices: object, faces: object, says: str) -> None:
    with pytest.raises(InputError) as caught:
        TriangleMesh(vertices, faces, "part 7")  # type: ignore[arg-type]
    assert str(caught.value).startswith("part 7: ")
    assert says in str(caught.value)


def test_meshes_without_area_have_no_graph() -> None:
    for faces in (np.zeros((0, 3), int), np.array([[0, 1, 2]]), np.array([[0, 0, 1]])):
        mesh = TriangleMesh(np.outer(np.arange(3.0), [1, 2, 3]), faces, "line")
        with pytest.raises(InputError, match=r"line: .*(no faces|no area)"):
            mesh.gauge_graph()


def test_unknown_transport() -> None:
    with pytest.raises(ValueError, match="levi_civita, normal_aligning"):
        icosphere(1).gauge_graph(transport="parallel")
