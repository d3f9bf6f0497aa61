"""Sparse factorisation against dense solutions, and the fill that its order leaves."""

from __future__ import annotations

import numpy as np
import pytest
from meshes import DEFECTIVE, MANIFOLD, icosphere
from scipy.sparse import csc_array, csr_array, diags_array, triu
from scipy.sparse.linalg import splu

from meshconv import TriangleMesh
from meshconv.geometry.features.diffusion import HeatAverage
from meshconv.geometry.features.sparse import SymmetricFactor, dissection_order


def graph_laplacian(mesh: TriangleMesh) -> csr_array:
    one = mesh.half_edges.edge_halfedge
    i, j = mesh.half_edges.origin[one], mesh.half_edges.tip[one]
    v = mesh.num_vertices
    weight = csr_array((np.ones(len(i)), (i, j)), shape=(v, v))
    weight = weight + weight.T
    return csr_array(diags_array(np.asarray(weight.sum(axis=1)).ravel() + 0.1) - weight)


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
@pytest.mark.parametrize("where", ["given", "one point", "a line"])
def test_solutions_are_right_wherever_the_points_are(name: str, where: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    matrix = graph_laplacian(mesh)
    points = mesh.vertices * {"given": 1.0, "one point": 0.0, "a line": np.array([1.0, 0.0, 0.0])}[where]
    order = dissection_order(points, matrix)
    assert sorted(order.tolist()) == list(range(mesh.num_vertices))
    right = np.random.default_rng(0).normal(size=(mesh.num_vertices, 3))
    factor = SymmetricFactor(matrix, order)
    np.testing.assert_allclose(factor.solve(right), np.linalg.solve(matrix.toarray(), right), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(factor.solve(right[:, 0]), factor.solve(right[:, :1])[:, 0])


def test_neighbours_given_twice_and_points_that_are_their_own() -> None:
    matrix = graph_laplacian(icosphere(3))
    once = dissection_order(icosphere(3).vertices, csr_array(triu(matrix, 1)))
    np.testing.assert_array_equal(once, dissection_order(icosphere(3).vertices, matrix))


def test_the_factor_has_fewer_entries_than_with_an_order_that_sees_no_geometry() -> None:
    """About 31 / 4 V log2 V on a square grid; a separator that lets the halves touch, or comes too early, has more."""
    mesh = icosphere(5)
    matrix = graph_laplacian(mesh)
    order = dissection_order(mesh.vertices, matrix)
    permuted = csc_array(matrix[order][:, order])
    ours = splu(permuted, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).L.nnz
    columns = splu(csc_array(matrix), permc_spec="COLAMD", diag_pivot_thresh=0.0).L.nnz
    assert ours < 52 * mesh.num_vertices
    assert ours < 0.75 * columns


def test_heat_average_is_the_dense_solution() -> None:
    mesh = icosphere(3)
    heat = HeatAverage(mesh.half_edges, mesh.corner_angles.ravel(), mesh.vertex_areas, mesh.vertices)
    right = np.random.default_rng(0).normal(size=(mesh.num_vertices, 2))
    dense = np.linalg.solve(np.diag(heat.mass) + 0.01 * heat.laplacian.toarray(), right)
    np.testing.assert_allclose(heat.solve(0.01, right), dense, rtol=1e-10)
