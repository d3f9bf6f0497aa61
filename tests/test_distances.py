"""Distances across a surface against great circles and exact geodesics."""

from __future__ import annotations

import numpy as np
import pytest
from meshes import blob, icosphere, torus

from meshconv import TriangleMesh
from meshconv.geometry import surface_distances


def test_great_circles():
    mesh = icosphere(4)
    x = mesh.vertices
    true = np.arctan2(np.linalg.norm(np.cross(x[0], x), axis=1), x @ x[0])
    far = true > 0.3
    error = {r: (surface_distances(mesh, [0], r)[0] / np.maximum(true, 1e-9) - 1)[far] for r in (1, 3)}
    assert 0.0 < error[3].mean() < 0.005
    assert error[1].mean() > 10 * error[3].mean()
    assert np.abs(error[3]).max() < 0.02


@pytest.mark.parametrize("make", [blob, torus])
def test_never_shorter_than_exact_geodesics_and_little_longer(make):
    mesh = make()
    exact = mesh.gauge_graph(rings=8)
    found = surface_distances(mesh)[exact.dst.numpy(), exact.src.numpy()]
    ratio = found / exact.log_radius.numpy()
    assert ratio.min() > 1 - 1e-9
    assert ratio.mean() < 1.005
    assert ratio.max() < 1.1


def test_a_metric_in_the_unit_of_the_mesh():
    mesh = blob()
    some = [0, 17, 300]
    distances = surface_distances(mesh)
    assert np.allclose(distances, distances.T) and (np.diag(distances) == 0).all()
    assert np.array_equal(distances[some], surface_distances(mesh, some))
    large = TriangleMesh(mesh.vertices * 1e3, mesh.faces)
    assert np.allclose(surface_distances(large, some), 1e3 * distances[some])


def test_pieces_are_infinitely_far():
    one = icosphere(1)
    n = one.num_vertices
    two = TriangleMesh(np.vstack([one.vertices, one.vertices + 5]), np.vstack([one.faces, one.faces + n]))
    distances = surface_distances(two)
    assert np.isinf(distances[:n, n:]).all() and np.isfinite(distances[:n, :n]).all()
