"""Distances across a surface against great circles and exact geodesics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from meshes import blob, icosphere, torus
from scipy.spatial import ConvexHull, Delaunay

from meshconv import Neighbourhood, TriangleMesh
from meshconv.geometry import surface_distances


def random_sphere(count: int = 350) -> TriangleMesh:
    x = np.random.default_rng(1).normal(size=(count, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    faces = ConvexHull(x).simplices
    inside = np.linalg.det(x[faces]) < 0
    faces[inside] = faces[inside][:, ::-1]
    return TriangleMesh(x, faces)


def uneven_sheet(count: int = 300) -> TriangleMesh:
    """Dense in one corner and sparse in the other, with long thin triangles along its sides."""
    x = np.random.default_rng(2).uniform(size=(count, 2)) ** 2
    return TriangleMesh(np.c_[x, 0.2 * np.sin(6 * x[:, 0])], Delaunay(x).simplices).repair()


def sparse_sphere(count: int = 900) -> TriangleMesh:
    """Fifty times as dense at the north pole as at the south pole."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * count, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x = x[rng.uniform(size=4 * count) < 0.02 + 0.98 * (0.5 + 0.5 * x[:, 2]) ** 4][:count]
    return TriangleMesh(x, ConvexHull(x).simplices).repair()


def stretched_sphere() -> TriangleMesh:
    mesh = icosphere(3)
    return TriangleMesh(mesh.vertices[:] * [4, 1, 0.3], mesh.faces)


def exact_distances(mesh: TriangleMesh) -> np.ndarray:
    graph = mesh.gauge_graph(Neighbourhood(radius=1e3))
    found = np.zeros((mesh.num_vertices, mesh.num_vertices))
    found[graph.dst.numpy(), graph.src.numpy()] = graph.log_radius.numpy()
    return found


def test_great_circles() -> None:
    mesh = icosphere(4)
    x = mesh.vertices
    true = np.arctan2(np.linalg.norm(np.cross(x[0], x), axis=1), x @ x[0])
    far = true > 0.3
    error = {n: (surface_distances(mesh, [0], n)[0] / np.maximum(true, 1e-9) - 1)[far] for n in (6, 200)}
    assert abs(error[200].mean()) < 0.002
    assert np.abs(error[200]).max() < 0.005
    assert error[6].mean() > 10 * abs(error[200].mean())


@pytest.mark.parametrize(
    "make",
    [
        random_sphere,
        uneven_sheet,
        lambda: torus(60, 8),
        pytest.param(stretched_sphere, marks=pytest.mark.slow),
        pytest.param(sparse_sphere, marks=pytest.mark.slow),
    ],
)
def test_uneven_meshes(make: Callable[[], TriangleMesh]) -> None:
    """Never shorter than exact geodesics, and at most 2 % longer."""
    mesh = make()
    exact = exact_distances(mesh)
    apart = ~np.eye(len(exact), dtype=bool)
    ratio = surface_distances(mesh)[apart] / exact[apart]
    assert ratio.min() > 1 - 1e-9
    assert ratio.max() < 1.02
    assert ratio.mean() < 1.001


def test_small_meshes_are_exact() -> None:
    mesh = torus(12, 8)
    np.testing.assert_allclose(surface_distances(mesh), exact_distances(mesh), atol=1e-12)


def test_a_metric_in_the_unit_of_the_mesh() -> None:
    mesh = blob()
    some = [0, 17, 300]
    distances = surface_distances(mesh)
    assert np.allclose(distances, distances.T) and (np.diag(distances) == 0).all()
    assert np.array_equal(distances[some], surface_distances(mesh, some))
    large = TriangleMesh(mesh.vertices * 1e3, mesh.faces)
    assert np.allclose(surface_distances(large, some), 1e3 * distances[some])


def test_pieces_are_infinitely_far() -> None:
    one = icosphere(1)
    n = one.num_vertices
    two = TriangleMesh(np.vstack([one.vertices, one.vertices + 5]), np.vstack([one.faces, one.faces + n]))
    distances = surface_distances(two)
    assert np.isinf(distances[:n, n:]).all() and np.isfinite(distances[:n, :n]).all()
