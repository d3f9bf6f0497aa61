"""Curvature fields: closed forms and order of convergence, Gauss-Bonnet, invariances, defective meshes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from meshes import CLOSED, DEFECTIVE, MANIFOLD, blob, bumpy_sheet, cylinder, flat_sheet, icosphere
from scipy.spatial.transform import Rotation

from meshconv import TriangleMesh
from meshconv.geometry import gauss_curvature, principal_curvatures, shape_operator
from meshconv.geometry.features.curvature import SHAPE_OPERATOR

Point = Callable[[np.ndarray, np.ndarray], np.ndarray]


def patch(
    point: Point, size: tuple[int, int], span: tuple[float, float], uneven: bool, wrap: bool = True
) -> tuple[TriangleMesh, np.ndarray, np.ndarray]:
    """A surface over a grid of ``size``; uneven: jittered, diagonals by lot. With the parameters of its vertices."""
    rng = np.random.default_rng(0)
    n, m = size
    i, j = np.meshgrid(np.arange(n), np.arange(m), indexing="ij")
    jitter = 0.25 * uneven * rng.uniform(-1, 1, (2, n, m))
    u, v = (i + jitter[0]) * span[0] / n, (j + jitter[1]) * span[1] / m
    cells = (i, j) if wrap else (i[:-1, :-1], j[:-1, :-1])
    a, b, c, d = ((cells[0] + s) % n * m + (cells[1] + t) % m for s, t in ((0, 0), (1, 0), (1, 1), (0, 1)))
    lot = (rng.random(a.shape) < 0.5 * uneven)[..., None]
    one, other = ((a, b, c), (a, c, d)), ((a, b, d), (b, c, d))
    faces = [np.where(lot, np.stack(y, -1), np.stack(x, -1)).reshape(-1, 3) for x, y in zip(one, other, strict=True)]
    return TriangleMesh(point(u, v).reshape(-1, 3), np.concatenate(faces)), u.ravel(), v.ravel()


def torus(n: int, uneven: bool) -> tuple[TriangleMesh, np.ndarray, np.ndarray, np.ndarray]:
    """Radii 2 and 0.7: with the larger and the smaller principal curvature, and the direction of the larger."""
    r = 0.7

    def point(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        w = 2 + r * np.cos(v)
        return np.stack([w * np.cos(u), w * np.sin(u), r * np.sin(v)], -1)

    mesh, u, v = patch(point, (n, n * 2 // 5), (2 * np.pi, 2 * np.pi), uneven)
    along = np.stack([-np.sin(v) * np.cos(u), -np.sin(v) * np.sin(u), np.cos(v)], -1)
    return mesh, np.full(len(v), 1 / r), np.cos(v) / (2 + r * np.cos(v)), along


def operator(mesh: TriangleMesh) -> np.ndarray:
    return shape_operator(mesh, mesh.gauge_graph())[0].numpy()


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(error))))


@pytest.mark.parametrize(("uneven", "order"), [(False, 1.85), (True, 0.9)])
def test_shape_operator_of_a_torus_converges(uneven: bool, order: float) -> None:
    errors = []
    for n in (40, 80, 160):
        mesh, k1, k2, _ = torus(n, uneven)
        x = operator(mesh)
        errors.append([rms(x[:, 0] - (k1 + k2) / 2), rms(np.hypot(x[:, 1], x[:, 2]) - (k1 - k2) / 2)])
    rate = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    assert (rate > order).all()
    assert max(errors[-1]) < 0.012


def test_principal_curvatures_and_directions_of_a_torus() -> None:
    mesh, k1, k2, along = torus(120, uneven=True)
    graph = mesh.gauge_graph()
    curvatures, angle = principal_curvatures(shape_operator(mesh, graph)[0])
    assert rms(curvatures[:, 0].numpy() - k1) < 0.02
    assert rms(curvatures[:, 1].numpy() - k2) < 0.02
    frames, a = graph.frames.numpy(), angle.numpy()[:, None]
    found = np.cos(a) * frames[:, 0] + np.sin(a) * frames[:, 1]
    assert np.abs((found * along).sum(axis=1)).min() > 0.995


@pytest.mark.parametrize("level", [2, 3, 4])
@pytest.mark.parametrize("radius", [1e-3, 1.0, 40.0])
def test_spheres_have_the_curvature_of_their_radius_however_coarse(level: int, radius: float) -> None:
    mesh = icosphere(level)
    mesh = TriangleMesh(radius * mesh.vertices, mesh.faces)
    x = radius * operator(mesh)
    np.testing.assert_allclose(x[:, 0], 1.0, atol=2e-3 * 4.0 ** (2 - level))
    assert np.abs(x[:, 1:]).max() < 5e-3 * 4.0 ** (2 - level)
    inside_out = TriangleMesh(mesh.vertices, mesh.faces[:, ::-1])  # normals still point outward
    np.testing.assert_allclose(radius * operator(inside_out), x * [1, 1, 1], atol=1e-2)


def test_a_dent_is_negative_and_a_saddle_has_both_signs() -> None:
    def bowl(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = u - 0.5, v - 0.5
        return np.stack([x, y, 0.5 * (x * x + y * y)], -1)

    def saddle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = u - 0.5, v - 0.5
        return np.stack([x, y, 0.8 * x * y], -1)

    mesh, u, v = patch(bowl, (21, 21), (1.05, 1.05), uneven=True, wrap=False)
    middle = np.hypot(u - 0.5, v - 0.5).argmin()
    np.testing.assert_allclose(operator(mesh)[middle], [-1, 0, 0], atol=0.02)
    mesh, u, v = patch(saddle, (21, 21), (1.05, 1.05), uneven=True, wrap=False)
    middle = np.hypot(u - 0.5, v - 0.5).argmin()
    graph = mesh.gauge_graph()
    curvatures, angle = principal_curvatures(shape_operator(mesh, graph)[0][middle])
    np.testing.assert_allclose(curvatures, [0.8, -0.8], atol=0.02)
    frame = graph.frames[middle].numpy()
    along = np.cos(float(angle)) * frame[0] + np.sin(float(angle)) * frame[1]
    # Normals point up, so the surface bends away from them where it falls: along x = -y.
    np.testing.assert_allclose(abs(along @ np.array([1, -1, 0]) / np.sqrt(2)), 1, atol=1e-2)


@pytest.mark.parametrize("uneven", [False, True])
def test_gauss_curvature_of_an_ellipsoid_and_of_flat_surfaces(uneven: bool) -> None:
    axes = np.array([1.0, 1.3, 0.8])
    errors = []
    for level in (3, 4, 5):
        mesh = icosphere(level)
        p = mesh.vertices
        if uneven:
            p = p + 0.15 * 2.0**-level * np.random.default_rng(0).normal(size=p.shape)
            p /= np.linalg.norm(p, axis=1, keepdims=True)
        mesh = TriangleMesh(p * axes, mesh.faces)
        exact = 1 / (np.prod(axes) * (p**2 / axes**2).sum(axis=1)) ** 2
        found = gauss_curvature(mesh)[0].numpy()[:, 0]
        # Integrals over spherical caps about the vertices; single angle defects need not converge.
        cap = (p @ p[:40].T > 0.7).astype(float) * mesh.vertex_areas[:, None]
        errors.append(rms((found - exact) @ cap))
        fitted = operator(mesh)
        assert rms(fitted[:, 0] ** 2 - fitted[:, 1] ** 2 - fitted[:, 2] ** 2 - exact) < 0.5 * 2.0 ** (3 - level)
    assert errors[2] < errors[1] / 1.8 < errors[0] / 3
    for flat in (flat_sheet(), cylinder()):
        np.testing.assert_allclose(gauss_curvature(flat)[0], 0, atol=1e-12)


def test_gauss_curvature_of_a_torus_converges() -> None:
    errors = []
    for n in (40, 80, 160):
        mesh, k1, k2, _ = torus(n, uneven=False)
        errors.append(rms(gauss_curvature(mesh)[0].numpy()[:, 0] - k1 * k2))
    assert np.log2(errors[0] / errors[1]) > 1.8 < np.log2(errors[1] / errors[2])


@pytest.mark.parametrize("name", CLOSED)
def test_gauss_bonnet(name: str) -> None:
    build, euler = CLOSED[name]
    mesh = build()
    total = float(mesh.vertex_areas @ gauss_curvature(mesh)[0].numpy()[:, 0])
    assert total == pytest.approx(2 * np.pi * euler, abs=1e-9)


def test_a_boundary_takes_the_curvature_inside() -> None:
    sphere = icosphere(4)
    cap = TriangleMesh(sphere.vertices, sphere.faces[(sphere.vertices[sphere.faces, 2] > -0.3).all(axis=1)])
    used = cap.vertex_areas > 0
    assert cap.fans.is_boundary.any()
    np.testing.assert_allclose(gauss_curvature(cap)[0].numpy()[used, 0], 1, atol=0.2)
    x = operator(cap)[used]
    np.testing.assert_allclose(x[:, 0], 1, atol=0.05)
    assert np.abs(x[:, 1:]).max() < 0.1


@pytest.mark.parametrize("build", [blob, bumpy_sheet])
def test_moving_and_turning_changes_nothing_and_scaling_divides(build: Callable[[], TriangleMesh]) -> None:
    mesh = build()
    turned = 7.0 * (mesh.vertices @ Rotation.random(random_state=1).as_matrix().T + [3, -2, 5])
    other = TriangleMesh(turned, mesh.faces)
    np.testing.assert_allclose(7 * operator(other), operator(mesh), atol=1e-9)
    np.testing.assert_allclose(49 * gauss_curvature(other)[0], gauss_curvature(mesh)[0], atol=1e-9)


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_a_change_of_gauge_turns_the_operator_and_all_is_finite(name: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    graph = mesh.gauge_graph()
    alpha = graph.random_gauge()
    x, field_type = shape_operator(mesh, graph)
    assert field_type == SHAPE_OPERATOR
    assert bool(x.isfinite().all())
    assert bool(gauss_curvature(mesh)[0].isfinite().all())
    turned = shape_operator(mesh, graph.change_gauge(alpha))[0] * np.sqrt(mesh.area)
    expected = SHAPE_OPERATOR.rotate(x, -alpha) * np.sqrt(mesh.area)
    torch.testing.assert_close(turned, expected, rtol=1e-5, atol=1e-6)
    alone = torch.from_numpy(mesh.fans.reference < 0)
    assert bool((x[alone] == 0).all())


def test_renumbering_permutes() -> None:
    mesh = blob()
    place = np.random.default_rng(0).permutation(mesh.num_vertices)
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = mesh.vertices
    other = TriangleMesh(vertices, np.roll(place[mesh.faces][::-1], 1, axis=1))
    np.testing.assert_allclose(gauss_curvature(other)[0][place], gauss_curvature(mesh)[0], atol=1e-10)
    x, y = operator(mesh), operator(other)[place]
    np.testing.assert_allclose(y[:, 0], x[:, 0], atol=1e-10)
    np.testing.assert_allclose(np.hypot(y[:, 1], y[:, 2]), np.hypot(x[:, 1], x[:, 2]), atol=1e-10)


def test_a_fan_of_many_triangles_stays_small() -> None:
    """The apex neighbours everything; through it every vertex would be in every second ring."""
    turn = np.linspace(0, 2 * np.pi, 20001)[:-1]
    ring = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], -1)
    i = np.arange(20000)
    faces = np.stack([i, (i + 1) % 20000, np.full_like(i, 20000)], -1)
    x = operator(TriangleMesh(np.vstack([ring, [[0, 0, 1]]]), faces))
    assert np.isfinite(x).all()


def test_graph_of_another_mesh() -> None:
    with pytest.raises(ValueError, match="42 vertices, the mesh 162"):
        shape_operator(icosphere(2), icosphere(1).gauge_graph())
