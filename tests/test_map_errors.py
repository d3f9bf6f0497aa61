"""Geodesic errors of known displacements, and what is written of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from correspondence_case import sphere_mesh, sphere_points
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from meshconv.train.metrics.map_errors import RADII, Shape, error_curve, map_errors, write_errors


@pytest.fixture(scope="module")
def sphere():
    return sphere_points(1500, np.random.default_rng(0))


def _shape(points, samples, scale=1.0):
    return Shape(lambda: sphere_mesh(points, scale * points), samples)


def _turned(points, angle):
    """The vertex next to each vertex turned about the z axis, which is a map with known errors."""
    return torch.from_numpy(cKDTree(points).query(Rotation.from_rotvec([0, 0, angle]).apply(points))[1])


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_turn_of_a_sphere(sphere, scale):
    samples = np.arange(len(sphere))
    shapes = [_shape(sphere, samples), _shape(sphere, samples, scale)]
    turned = _turned(sphere, 0.3)
    errors = map_errors({"turn": lambda a, b: turned, "none": lambda a, b: torch.arange(1500)}, shapes, [(0, 1)])
    # Matches are vertices: where they are is known exactly.
    x, y = sphere, sphere[turned.numpy()]
    arc = np.arctan2(np.linalg.norm(np.cross(x, y), axis=1), (x * y).sum(1)) / np.sqrt(4 * np.pi)
    assert errors["none"][0].max() == 0
    assert len(errors["turn"][0]) == 1000
    assert abs(errors["turn"][0].mean() / arc.mean() - 1) < 0.03


def test_points_that_a_mesh_lacks_do_not_count(sphere):
    samples = np.arange(1500)
    source, target = samples.copy(), samples.copy()
    source[:500], target[400:1000] = -1, -1
    shapes = [_shape(sphere, source), _shape(sphere, target)]
    (errors,) = map_errors({"x": lambda a, b: torch.arange(1500)}, shapes, [(0, 1)], points=1500)["x"]
    assert len(errors) == 500 and errors.max() == 0


def test_order_of_pairs_and_files(sphere, tmp_path):
    shapes = [_shape(sphere, np.arange(1500)) for _ in range(3)]
    angles = {(2, 0): 0.2, (0, 1): 0.0, (1, 0): 0.4}
    errors = map_errors({"found": lambda a, b: _turned(sphere, angles[a, b])}, shapes, list(angles), points=100)
    means = [e.mean() for e in errors["found"]]
    assert means[1] == 0 < means[0] < means[2]
    curve = error_curve(errors["found"])
    assert (np.diff(curve) >= 0).all() and curve[0] >= 1 / 3 and curve[-1] == 1
    write_errors(tmp_path, errors, [("c", "a"), ("a", "b"), ("b", "a")])
    rows = list(csv.reader((tmp_path / "geodesic_errors.csv").read_text().splitlines()))
    assert rows[0] == ["source", "target", "found"]
    assert [r[:2] for r in rows[1:]] == [["c", "a"], ["a", "b"], ["b", "a"]]
    assert [float(r[2]) for r in rows[1:]] == pytest.approx([100 * m for m in means], abs=1e-4)
    assert len((tmp_path / "geodesic_curve.csv").read_text().splitlines()) == len(RADII) + 1
    assert (tmp_path / "geodesic_curve.png").stat().st_size > 5000
