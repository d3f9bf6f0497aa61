"""Input features at physical scales: invariances, closed forms, and little difference between triangulations."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from meshes import DEFECTIVE, MANIFOLD, blob, bumpy_sheet, icosphere, torus
from scipy.spatial.transform import Rotation

from meshconv import Neighbourhood, TriangleMesh
from meshconv.geometry import SMOOTHED_FEATURES, simplify, smoothed_features

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TOSCA = Path("/work/shared/data/tosca_remeshed/tosca_r.npz")


def features(mesh: TriangleMesh) -> torch.Tensor:
    return smoothed_features(mesh, mesh.gauge_graph())


@pytest.mark.parametrize("build", [blob, torus, bumpy_sheet])
def test_moving_turning_and_scaling_changes_nothing(build: object) -> None:
    mesh = build()  # type: ignore[operator]
    turned = mesh.vertices @ Rotation.random(random_state=0).as_matrix().T
    for size in (1e-6, 1e6):
        moved = TriangleMesh(size * (turned + np.array([3.0, -1, 2])), mesh.faces)
        torch.testing.assert_close(features(moved), features(mesh), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_finite_tame_and_turned_by_a_change_of_gauge(name: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    graph = mesh.gauge_graph()
    alpha = graph.random_gauge()
    x = smoothed_features(mesh, graph)
    assert x.shape == (mesh.num_vertices, SMOOTHED_FEATURES.dim)
    assert x.dtype == torch.float64
    assert bool(x.isfinite().all())
    assert float(x.abs().max()) < 30
    assert bool((x[torch.from_numpy(mesh.vertex_areas == 0)] == 0).all())
    turned = smoothed_features(mesh, graph.change_gauge(alpha))
    torch.testing.assert_close(turned, SMOOTHED_FEATURES.rotate(x, -alpha), rtol=0, atol=1e-9)


def test_neighbourhoods_and_numbering_do_not_matter() -> None:
    mesh = blob()
    near = mesh.gauge_graph(Neighbourhood(radius=0.2))
    alpha = near.random_gauge()
    expected = SMOOTHED_FEATURES.rotate(features(mesh), -alpha)
    torch.testing.assert_close(smoothed_features(mesh, near.change_gauge(alpha)), expected, rtol=0, atol=1e-9)
    place = np.random.default_rng(0).permutation(mesh.num_vertices)
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = mesh.vertices
    other = TriangleMesh(vertices, np.roll(place[mesh.faces][::-1], 1, axis=1))
    old, new = mesh.frames, other.frames[place, 0]
    alpha = torch.from_numpy(np.arctan2((new * old[:, 1]).sum(1), (new * old[:, 0]).sum(1)))
    expected = SMOOTHED_FEATURES.rotate(features(mesh), -alpha)
    torch.testing.assert_close(features(other)[torch.from_numpy(place)], expected, rtol=0, atol=1e-6)


def test_on_a_sphere_they_are_those_of_heat_flow() -> None:
    """Coordinates are eigenfunctions with eigenvalue 8 pi: a step of time t divides them by 1 + 8 pi t."""
    sphere = icosphere(4)
    x = torch.sinh(features(TriangleMesh(7 * sphere.vertices + 3, sphere.faces)))
    scalars = x[:, SMOOTHED_FEATURES.slice(0)].mean(dim=0)
    assert float(x[:, SMOOTHED_FEATURES.slice(0)].std(dim=0).max()) < 0.01
    radius, smoothed = 0.5 / np.sqrt(np.pi), 1 / (1 + 8 * np.pi * 0.001)
    expected = [2 * radius * smoothed] * 2 + [smoothed / (1 + 8 * np.pi * t) for t in (0.001, 0.01, 0.05)] + [1, 1]
    torch.testing.assert_close(scalars, torch.tensor(expected).double(), rtol=0.01, atol=0)
    for order in (1, 2):
        assert float(x[:, SMOOTHED_FEATURES.slice(order)].abs().max()) < 0.01


def test_shape_operator_of_a_cylinder_points_along_the_bend() -> None:
    rows, cols = 60, 40
    z, u = np.meshgrid(np.arange(rows) * 2 * np.pi / cols, np.arange(cols) * 2 * np.pi / cols, indexing="ij")
    quad = np.arange(rows * cols).reshape(rows, cols)
    a, b = quad[:-1], quad[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.concatenate([np.stack([a, d, b], -1), np.stack([d, c, b], -1)]).reshape(-1, 3)
    mesh = TriangleMesh(np.stack([np.cos(u), np.sin(u), z], -1).reshape(-1, 3), faces)
    graph, at = mesh.gauge_graph(), rows * cols // 2 + 3
    x = torch.sinh(smoothed_features(mesh, graph)[at])
    cos, sin = x[SMOOTHED_FEATURES.slice(2)].reshape(2, -1)[:, 0].tolist()
    half = 0.5 * np.arctan2(sin, cos)
    frame = graph.frames[at].numpy()
    assert abs(np.cos(half) * frame[0, 2] + np.sin(half) * frame[1, 2]) < 0.02
    # The traceless part is half of the curvature round the axis, as is the mean; smoothing takes a tenth of it.
    unit = 2 * np.sqrt(np.pi / mesh.area)
    assert np.hypot(cos, sin) == pytest.approx(0.5 / unit, rel=0.12)
    assert float(x[2]) == pytest.approx(0.5 / unit, rel=0.12)


def test_flat_faces_in_any_triangulation_have_the_same() -> None:
    """A cube, one half of it four times as fine, sharp edges and T-junctions between included."""
    plain = trimesh.creation.box().subdivide().subdivide().subdivide()
    coarse = TriangleMesh(plain.vertices, plain.faces)
    half = np.flatnonzero(plain.triangles_center[:, 0] > 0.1)
    vertices, fine = trimesh.remesh.subdivide(plain.vertices, plain.faces[half])
    uneven = TriangleMesh(vertices, np.concatenate([np.delete(plain.faces, half, axis=0), fine])).repair()
    assert uneven.half_edges.is_closed and uneven.area == pytest.approx(coarse.area)
    a, b = (SMOOTHED_FEATURES.norms(features(m)) for m in (coarse, uneven))
    near = torch.from_numpy(((coarse.vertices[:, None] - uneven.vertices) ** 2).sum(2).argmin(1))
    assert float(((a - b[near]) ** 2).mean(dim=0).sqrt().max()) < 0.12


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import inputs

    yield inputs
    sys.modules.pop("inputs", None)


def test_they_hardly_differ_between_triangulations(inputs) -> None:
    """Standard deviations; the earlier inputs differ by more than half of one."""
    (body,) = inputs.sample_bodies(1)
    found = inputs.differences(body, ["surface"])
    for what in ("half", "cut in four", "uneven", "noise"):
        assert found[what].max() < 0.13, what
    # A fifth of the faces has lost details: those of 0.06 square roots of the area are the last.
    assert found["fifth"].max() < 0.3 and np.median(found["fifth"]) < 0.13
    assert inputs.differences(body, ["default"])["half"].max() > 0.5


@pytest.mark.slow
@pytest.mark.skipif(not TOSCA.exists(), reason="TOSCA remeshed is not here")
def test_they_hardly_differ_between_triangulations_of_animals(inputs) -> None:
    tosca = np.load(TOSCA)
    for name in ("cat0", "horse0"):
        vertices, faces = (tosca[f"TOSCA_Isometric/{name}/{key}"] for key in "vf")
        found = inputs.differences(TriangleMesh(vertices, faces.astype(np.int64)).repair(isolated="drop"), ["surface"])
        for what, most in (("half", 0.12), ("cut in four", 0.13), ("uneven", 0.13), ("noise", 0.25), ("fifth", 0.3)):
            assert found[what].max() < most, (name, what)


def test_simplified_to_a_tenth_they_still_tell_the_same_shape() -> None:
    mesh = blob()
    few = simplify(mesh, mesh.num_faces // 10)
    near = torch.from_numpy(((few.vertices[:, None] - mesh.vertices) ** 2).sum(2).argmin(1))
    a, b = (SMOOTHED_FEATURES.norms(features(m)) for m in (few, mesh))
    for k in (0, 1, 4, 5, 7):
        assert np.corrcoef(a[:, k], b[near, k])[0, 1] > 0.9


def test_graph_of_another_mesh() -> None:
    with pytest.raises(ValueError, match="42 vertices, the mesh 162"):
        smoothed_features(icosphere(2), icosphere(1).gauge_graph())
