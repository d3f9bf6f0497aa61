"""Graphs of points with normals: against the sphere's closed form, against meshes, and without orientation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meshes import blob, torus

from meshconv import InputError, PointCloud
from meshconv.geometry.sphere.frames import sphere_edges
from meshconv.nn import GaugeConv
from meshconv.testing import assert_gauge_equivariant


def spiral(count: int = 500) -> np.ndarray:
    """Evenly spread points of the unit sphere."""
    z = 1 - (2 * np.arange(count) + 1) / count
    phi = np.arange(count) * np.pi * (3 - 5**0.5)
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def apart(a: torch.Tensor, b: np.ndarray) -> float:
    return float(np.abs(np.remainder(a.numpy() - b + np.pi, 2 * np.pi) - np.pi).max())


def test_angles_and_transport_on_the_sphere_are_exact():
    """There the smallest rotation of the normals is the transport along the great circle; chords bend inwards."""
    points = spiral()
    graph = PointCloud(points, 3 * points).gauge_graph(nearest=10)
    frames = graph.frames.numpy()
    radius, angle, transporter = sphere_edges(points, frames, points, frames, graph.src.numpy(), graph.dst.numpy())
    assert apart(graph.log_angle, angle) < 1e-12
    assert apart(graph.transporter, transporter) < 1e-12
    np.testing.assert_allclose(graph.log_radius.numpy(), 2 * np.sin(radius / 2), rtol=1e-12)


def test_neighbours_are_the_nearest():
    points = spiral(60)
    graph = PointCloud(points, points).gauge_graph(nearest=5)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    expected = {(q, p) for p in range(60) for q in np.argsort(distance[p])[:5]}
    assert set(zip(graph.src.tolist(), graph.dst.tolist(), strict=True)) == expected


@pytest.mark.parametrize(("order", "error"), [("spread", 0.15), ("random", 0.03)])
def test_areas_add_up(order, error):
    points = spiral(4000)
    if order == "random":
        points = np.random.default_rng(0).normal(size=(4000, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    graph = PointCloud(points, points).gauge_graph(nearest=6)
    assert float(graph.areas.sum()) == pytest.approx(4 * np.pi, rel=error)
    torch.testing.assert_close(graph.scale, graph.areas.mean().sqrt().expand(4000))


@pytest.mark.parametrize("mesh", [blob(), torus()], ids=lambda m: m.name)
def test_equals_the_normal_aligning_graph_of_a_mesh(mesh):
    """With a mesh's normals, neighbours and areas only the frames are others: scalars come out alike."""
    expected = mesh.gauge_graph(transport="normal_aligning")
    rows = [expected.src[a:b].numpy() for a, b in zip(expected.dst_ptr[:-1], expected.dst_ptr[1:], strict=True)]
    graph = PointCloud(mesh.vertices, expected.frames[:, 2].numpy()).gauge_graph(rows, areas=expected.areas.numpy())
    assert torch.equal(graph.src, expected.src)
    conv = GaugeConv("2x0", "2x0 + 2x1", aggregation="area").double()
    last = GaugeConv(conv.out_type, "3x0", aggregation="area").double()
    x = torch.randn(len(mesh.vertices), 2, dtype=torch.float64)
    torch.testing.assert_close(last(conv(x, graph), graph), last(conv(x, expected), expected))


def test_signs_of_normals_do_not_matter_without_orientation():
    points = spiral(200)
    sign = np.where(np.random.default_rng(1).random(200) < 0.5, -1.0, 1.0)[:, None]
    conv = GaugeConv("O(2): 2x0", "2x0 + 1x0- + 2x1").double()
    last = GaugeConv(conv.out_type, "O(2): 3x0").double()
    x = torch.randn(200, 2, dtype=torch.float64)
    outputs = []
    for normals in (points, sign * points):
        graph = PointCloud(points, normals).gauge_graph(unoriented=True)
        outputs.append(last(conv(x, graph), graph))
    torch.testing.assert_close(*outputs)
    assert graph.reflected.any() and PointCloud(points, points).gauge_graph(unoriented=True).reflected is None
    assert_gauge_equivariant(conv, graph)


def test_rows_may_be_of_any_length():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    graph = PointCloud(points, [[0, 0, 1.0]] * 3).gauge_graph([[1, 2], [], [0]])
    assert (graph.src.tolist(), graph.dst.tolist()) == ([1, 2, 0], [0, 0, 2])
    assert graph.log_radius.tolist() == [1, 2, 2]
    assert torch.isfinite(graph.areas).all() and (graph.areas > 0).all()
    conv = GaugeConv("1x0", "1x0 + 1x1").double()
    assert torch.isfinite(conv(torch.ones(3, 1, dtype=torch.float64), graph)).all()


def test_points_in_one_place_and_clouds_of_almost_nothing():
    together = np.zeros((4, 3))
    graph = PointCloud(together, np.ones((4, 3))).gauge_graph(nearest=2)
    assert graph.num_edges == 8 and graph.log_radius.eq(0).all()
    for count in (0, 1):
        assert PointCloud(np.zeros((count, 3)), np.ones((count, 3))).gauge_graph(nearest=1).num_edges == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((np.zeros((3, 2)), np.ones((3, 3))), {}), r"points have shape \(3, 2\)"),
        (((np.full((3, 3), np.nan), np.ones((3, 3))), {}), "points are not finite, the first at point 0"),
        (((np.zeros((3, 3)), np.ones((2, 3))), {}), "3 points have 2 normals"),
        (((np.zeros((3, 3)), np.eye(3) * [[1], [0], [1]]), {}), "the normal of point 1 is zero"),
        (((np.eye(3), np.eye(3)), {"nearest": 3}), "3 nearest neighbours of 3 points; it takes 1 to 2"),
        (((np.eye(3), np.eye(3)), {"neighbours": [[1], [0]]}), "2 rows of neighbours for 3 points"),
        (((np.eye(3), np.eye(3)), {"neighbours": [[1], [7], []]}), "point 1 has neighbour 7, .* 0 to 2"),
        (((np.eye(3), np.eye(3)), {"neighbours": [[1], [1], []]}), "point 1 is its own neighbour"),
        (((np.eye(3), np.eye(3)), {"neighbours": [[1], [0], [0]], "areas": [1, 2]}), r"areas have shape \(2,\)"),
    ],
)
def test_bad_input(arguments, message):
    given, options = arguments
    with pytest.raises(InputError, match=message):
        PointCloud(*given).gauge_graph(**options)
