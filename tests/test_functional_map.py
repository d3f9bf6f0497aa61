"""Refinement of maps between different triangulations of one surface."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from correspondence_case import body, sphere_mesh, sphere_points
from scipy.spatial import cKDTree

from meshconv import TriangleMesh
from meshconv.geometry import laplacian_spectrum, refine_map
from meshconv.geometry.features.functional_map import nearest_rows


@pytest.fixture(scope="module")
def two():
    """Points of two triangulations of one body, and their meshes."""
    rng = np.random.default_rng(0)
    points = [sphere_points(n, rng) for n in (900, 1100)]
    return points, [sphere_mesh(p, body(p)) for p in points]


def _error(matches, points):
    """Mean angle between where points are matched to and where they are."""
    found = points[1][matches.numpy()]
    return np.arccos(np.clip((found * points[0]).sum(1), -1, 1)).mean()


def test_nearest_rows_are_the_nearest():
    a, b = torch.randn(2500, 7), torch.randn(300, 7)
    assert torch.equal(nearest_rows(a, b), torch.cdist(a.double(), b.double()).argmin(1))


def test_scattered_errors_go(two):
    points, meshes = two
    spectra = [laplacian_spectrum(m) for m in meshes]
    matches = torch.from_numpy(cKDTree(points[1]).query(points[0])[1])
    best = _error(matches, points)
    rng = np.random.default_rng(1)
    wrong = torch.from_numpy(rng.random(len(matches)) < 0.3)
    matches = torch.where(wrong, torch.from_numpy(rng.integers(0, 1100, len(matches))), matches)
    refined = _error(refine_map(matches, *spectra), points)
    assert _error(matches, points) > 0.4
    assert refined < 2 * best < 0.1


def test_a_mirrored_map_stays_mirrored(two):
    points, meshes = two
    spectra = [laplacian_spectrum(m) for m in meshes]
    mirrored = [points[0] * [-1.0, 1.0, 1.0], points[1]]
    matches = torch.from_numpy(cKDTree(points[1]).query(mirrored[0])[1])
    refined = refine_map(matches, *spectra)
    assert _error(refined, mirrored) < 0.1 < _error(refined, points)


def test_a_start_without_enough_functions_and_vertices_without_faces(two):
    points, meshes = two
    with_loose = TriangleMesh(np.vstack([meshes[1].vertices, [[9.0, 9, 9]]]), meshes[1].faces)
    spectra = [laplacian_spectrum(meshes[0], 40), laplacian_spectrum(with_loose, 40)]
    matches = torch.from_numpy(cKDTree(points[1]).query(points[0])[1])
    assert refine_map(matches, *spectra, first=1000) is matches
    before = matches.clone()
    assert int(refine_map(matches, *spectra).max()) < 1100
    assert torch.equal(matches, before)
