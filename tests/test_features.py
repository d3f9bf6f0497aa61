"""Input features of meshes: what must not change them, and what they mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meshes import DEFECTIVE, MANIFOLD, blob, bumpy_sheet, icosphere, torus
from scipy.spatial.transform import Rotation

from meshconv import Neighbourhood, TriangleMesh
from meshconv.geometry import MESH_FEATURES, mesh_features
from meshconv.geometry.features.diffusion import HeatAverage


def features(mesh: TriangleMesh) -> torch.Tensor:
    return mesh_features(mesh, mesh.gauge_graph())


@pytest.mark.parametrize("build", [blob, torus, bumpy_sheet])
@pytest.mark.parametrize("seed", [0, 1])
def test_moving_turning_and_scaling_changes_nothing(build: object, seed: int) -> None:
    mesh = build()  # type: ignore[operator]
    rng = np.random.default_rng(seed)
    turned = mesh.vertices @ Rotation.random(random_state=seed).as_matrix().T
    moved = TriangleMesh(10.0 ** rng.uniform(-6, 6) * (turned + rng.normal(size=3)), mesh.faces)
    torch.testing.assert_close(features(moved), features(mesh), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_a_change_of_gauge_turns_them(name: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    graph = mesh.gauge_graph()
    alpha = graph.random_gauge()
    x = mesh_features(mesh, graph)
    turned = mesh_features(mesh, graph.change_gauge(alpha))
    torch.testing.assert_close(turned, MESH_FEATURES.rotate(x, -alpha), rtol=0, atol=1e-9)
    assert float(MESH_FEATURES.norms(x).max()) > 0.1


@pytest.mark.parametrize("extent", [{"rings": 2}, {"radius": 0.2}, {"nearest": 9}], ids=str)
def test_neighbourhoods_do_not_matter(extent: dict) -> None:
    mesh = blob()
    graph = mesh.gauge_graph(Neighbourhood(**extent))
    alpha = graph.random_gauge()
    x = mesh_features(mesh, graph.change_gauge(alpha))
    torch.testing.assert_close(x, MESH_FEATURES.rotate(features(mesh), -alpha), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", DEFECTIVE)
def test_they_are_finite_and_tame(name: str) -> None:
    mesh = DEFECTIVE[name]()
    x = features(mesh)
    assert x.shape == (mesh.num_vertices, MESH_FEATURES.dim)
    assert x.dtype == torch.float64
    assert bool(x.isfinite().all())
    assert float(x.abs().max()) < 60
    without = torch.from_numpy(mesh.vertex_areas == 0)
    assert bool((x[without] == 0).all())


def test_renumbering_permutes_them() -> None:
    mesh = blob()
    place = np.random.default_rng(0).permutation(mesh.num_vertices)
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = mesh.vertices
    other = TriangleMesh(vertices, np.roll(place[mesh.faces][::-1], 1, axis=1))
    old, new = mesh.frames, other.frames[place, 0]
    alpha = torch.from_numpy(np.arctan2((new * old[:, 1]).sum(1), (new * old[:, 0]).sum(1)))
    expected = MESH_FEATURES.rotate(features(mesh), -alpha)
    torch.testing.assert_close(features(other)[torch.from_numpy(place)], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("radius", [1e-3, 1.0, 50.0])
def test_on_a_sphere_curvatures_are_one_and_nothing_has_a_direction(radius: float) -> None:
    sphere = icosphere(4)
    x = torch.sinh(features(TriangleMesh(radius * sphere.vertices, sphere.faces)))
    scalars = x[:, MESH_FEATURES.slice(0)]
    assert float((scalars[:, 1] - 1).abs().max()) < 0.03
    # Steps cover angle, area and Laplacian; the smallest is about the distance of vertices.
    assert float((scalars[:, 7:10] - 1).abs().max()) < 0.05
    assert float((scalars[:, 2:4] - 1 / np.sqrt(np.pi)).abs().max()) < 0.01
    assert bool((scalars[:, 4:7] < 0).all())
    for order in (1, 2):
        assert float(x[:, MESH_FEATURES.slice(order)].abs().max()) < 0.02


def test_shape_operator_of_a_cylinder_points_along_the_bend() -> None:
    """Normal curvatures are 1 round the axis and 0 along it, so the traceless part is half, turned to the bend."""
    rows, cols = 40, 40
    z, u = np.meshgrid(np.arange(rows) * 2 * np.pi / cols, np.arange(cols) * 2 * np.pi / cols, indexing="ij")
    vertices = np.stack([np.cos(u), np.sin(u), z], -1).reshape(-1, 3)
    quad = np.arange(rows * cols).reshape(rows, cols)
    a, b = quad[:-1], quad[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.concatenate([np.stack([a, d, b], -1), np.stack([d, c, b], -1)]).reshape(-1, 3)
    mesh = TriangleMesh(vertices, faces)
    graph = mesh.gauge_graph()
    x = torch.sinh(mesh_features(mesh, graph)[rows * cols // 2 + 3])
    unit = 2 * np.sqrt(np.pi) / np.sqrt(mesh.area)
    assert float(x[1]) == pytest.approx(0.5 / unit, rel=0.25)
    cos, sin = x[MESH_FEATURES.slice(2)].reshape(2, -1)[:, 0].tolist()
    frame = graph.frames[rows * cols // 2 + 3].numpy()
    half = 0.5 * np.arctan2(sin, cos)
    direction = np.cos(half) * frame[0] + np.sin(half) * frame[1]
    assert abs(direction[2]) < 0.35
    assert np.hypot(cos, sin) > 0.1


def test_they_hardly_depend_on_the_resolution() -> None:
    coarse, fine = (icosphere(level) for level in (3, 5))
    stretched = [TriangleMesh(m.vertices * [1, 1, 1.6] + 0.2 * m.vertices**2, m.faces) for m in (coarse, fine)]
    a, b = (MESH_FEATURES.norms(features(m))[: coarse.num_vertices] for m in stretched)
    # The vertices of the coarse sphere come first in the fine one; the area's logarithm compares neighbours only.
    assert np.allclose(fine.vertices[: coarse.num_vertices], coarse.vertices)
    difference = (a - b).abs().mean(dim=0) / b.std(dim=0)
    assert float(difference[2:17].max()) < 0.25


def test_heat_averages_stay_in_range_and_keep_the_integral() -> None:
    for name in DEFECTIVE:
        mesh = DEFECTIVE[name]()
        heat = HeatAverage(mesh.half_edges, mesh.corner_angles.ravel(), mesh.vertex_areas, mesh.vertices)
        f = np.random.default_rng(0).uniform(-1, 1, (mesh.num_vertices, 2))
        integrals = heat.mass[:, None] * f
        for time in (1e-3, 1.0):
            mean = heat.solve(time, integrals)
            assert (np.abs(mean) <= 1 + 1e-9).all()
            np.testing.assert_allclose(heat.mass @ mean, integrals.sum(axis=0), rtol=1e-6, atol=1e-9)


def test_graph_of_another_mesh() -> None:
    with pytest.raises(ValueError, match="42 vertices, the mesh 162"):
        mesh_features(icosphere(2), icosphere(1).gauge_graph())


def test_a_radius_without_neighbours_gives_zeros() -> None:
    mesh = icosphere(1)
    graph = mesh.gauge_graph(Neighbourhood(radius=0.05))
    assert graph.num_edges == 0 and not mesh_features(mesh, graph).any()
