"""Spectra and signatures: closed forms, a dense solution, components, units, bending, defective meshes."""

from __future__ import annotations

import numpy as np
import pytest
import robust_laplacian
import torch
from meshes import DEFECTIVE, MANIFOLD, blob, bumpy_sheet, icosphere, torus
from scipy.linalg import eigh
from scipy.spatial.transform import Rotation

from meshconv import InputError, TriangleMesh
from meshconv.geometry import Spectrum, heat_kernel_signature, laplacian_spectrum, wave_kernel_signature
from meshconv.geometry.features import spectral

SIGNATURES = [heat_kernel_signature, wave_kernel_signature]


def both(spectrum: Spectrum) -> torch.Tensor:
    return torch.cat([signature(spectrum)[0] for signature in SIGNATURES], dim=1)


def test_spectrum_of_a_sphere_is_l_times_l_plus_1() -> None:
    values = laplacian_spectrum(icosphere(4), 60).eigenvalues / (4 * np.pi)
    degree = np.repeat(np.arange(7), 2 * np.arange(7) + 1)
    np.testing.assert_allclose(values[:49], degree * (degree + 1), rtol=0.02)
    assert values[-1] <= 60


def test_spectrum_of_a_flat_torus_and_its_eigenfunctions() -> None:
    """Glued from a square in four dimensions it is flat; in three, a square sheet with Neumann boundary stands in."""
    n = 24
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    i, j = np.meshgrid(np.arange(n - 1), np.arange(n - 1), indexing="ij")
    a, b, c, d = i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    mesh = TriangleMesh(np.stack([x, y, 0 * x], -1).reshape(-1, 3), faces)
    spectrum = laplacian_spectrum(mesh, 32)
    exact = np.sort(np.add.outer(np.arange(9) ** 2, np.arange(9) ** 2).ravel()) * np.pi**2
    np.testing.assert_allclose(spectrum.eigenvalues[:20], exact[:20], rtol=0.03)
    (part,) = spectrum.components
    assert part.vertices.tolist() == list(range(n * n))
    gram = part.eigenfunctions.T @ (mesh.vertex_areas[:, None] * part.eigenfunctions)
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-8)


@pytest.mark.parametrize("build", [torus, bumpy_sheet])
def test_the_sparse_solver_agrees_with_the_dense_one(build: object) -> None:
    mesh = build()  # type: ignore[operator]
    mesh = TriangleMesh(mesh.vertices / np.sqrt(mesh.area), mesh.faces)
    fine = TriangleMesh(*subdivided(mesh))
    while fine.num_vertices <= spectral.DENSE:
        fine = TriangleMesh(*subdivided(fine))
    spectrum = laplacian_spectrum(fine, 40)
    stiffness, mass = robust_laplacian.mesh_laplacian(fine.vertices / np.sqrt(fine.area), fine.faces)
    values, functions = eigh(stiffness.toarray(), mass.toarray())
    kept = values <= 4 * np.pi * 40
    found = spectrum.eigenvalues
    np.testing.assert_allclose(found, values[kept], rtol=1e-8, atol=1e-8)
    weight = np.exp(-0.01 * values[kept])
    dense = functions[:, kept] ** 2 @ weight / weight.sum()
    signature = heat_kernel_signature(spectrum, np.array([0.01]))[0].numpy()[:, 0]
    np.testing.assert_allclose(signature, dense, rtol=1e-6)


def subdivided(mesh: TriangleMesh) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    return trimesh.remesh.subdivide(mesh.vertices, mesh.faces)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_signatures_are_one_everywhere_on_a_sphere_and_on_average_elsewhere(signature: object) -> None:
    x, field_type = signature(laplacian_spectrum(icosphere(4)))  # type: ignore[operator]
    assert str(field_type) == "16x0"
    assert float((x - 1).abs().max()) < 0.03
    mesh = blob()
    x = signature(laplacian_spectrum(mesh))[0]  # type: ignore[operator]
    assert float(x.std(dim=0).mean()) > 0.01
    mean = torch.from_numpy(mesh.vertex_areas / mesh.area) @ x
    # The mass of the intrinsic Delaunay triangulation is not quite that of the given triangles.
    torch.testing.assert_close(mean, torch.ones_like(mean), rtol=0, atol=5e-3)


def test_heat_stays_longest_at_the_tip() -> None:
    sphere = icosphere(3)
    drop = sphere.vertices * [1, 1, 1] + np.outer(np.exp(-8 * (1 - sphere.vertices[:, 2])), [0, 0, 1.5])
    x, _ = heat_kernel_signature(laplacian_spectrum(TriangleMesh(drop, sphere.faces)), 4)
    assert x[:, 1:].argmax(dim=0).tolist() == 3 * [int(sphere.vertices[:, 2].argmax())]


@pytest.mark.parametrize("build", [blob, bumpy_sheet])
def test_units_poses_and_numbers_of_vertices_do_not_matter(build: object) -> None:
    mesh = build()  # type: ignore[operator]
    x = both(laplacian_spectrum(mesh))
    place = np.random.default_rng(0).permutation(mesh.num_vertices)
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = 1e-4 * (mesh.vertices @ Rotation.random(random_state=0).as_matrix().T + 2)
    other = TriangleMesh(vertices, np.roll(place[mesh.faces][::-1], 1, axis=1))
    torch.testing.assert_close(both(laplacian_spectrum(other))[place], x, rtol=0, atol=1e-6)
    assert torch.equal(both(laplacian_spectrum(mesh)), x)


def test_bending_does_not_matter() -> None:
    """A sheet and the same sheet rolled up: all edge lengths agree up to what chords are shorter than arcs."""
    rows, cols = 30, 40
    s, t = np.meshgrid(np.arange(rows) / cols, np.arange(cols) / cols, indexing="ij")
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(cols - 1), indexing="ij")
    a, b, c, d = i * cols + j, (i + 1) * cols + j, (i + 1) * cols + j + 1, i * cols + j + 1
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    flat = np.stack([s, t, 0 * s], -1).reshape(-1, 3)
    rolled = np.stack([s, np.sin(3 * t) / 3, np.cos(3 * t) / 3], -1).reshape(-1, 3)
    one, two = (both(laplacian_spectrum(TriangleMesh(v, faces))) for v in (flat, rolled))
    torch.testing.assert_close(one, two, rtol=0.01, atol=0.01)


def test_components_are_solved_each_on_its_own() -> None:
    """Ten equal bodies: eigenvalues come tenfold, and every body has the signature that it has alone."""
    mesh = DEFECTIVE["ten_components"]()
    spectrum = laplacian_spectrum(mesh, 128)
    assert len(spectrum.components) == 10
    assert int((spectrum.eigenvalues < 1e-8).sum()) == 10
    alone = laplacian_spectrum(icosphere(1), 128)
    # Heat that cannot leave a tenth of the area: times in units of the whole are ten times those of the part.
    times = np.array([0.1, 1.0])
    together = heat_kernel_signature(spectrum, times / 10)[0][:42]
    assert spectrum.limit == alone.limit
    torch.testing.assert_close(together, heat_kernel_signature(alone, times)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_signatures_are_finite_and_tame(name: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    x = both(laplacian_spectrum(mesh))
    assert x.shape == (mesh.num_vertices, 32)
    assert bool((x >= 0).all())
    assert float(x.max()) < 100
    alone = torch.from_numpy(mesh.fans.reference < 0)
    assert bool((x[alone] == 0).all())


def test_a_needle_is_cut_off_at_four_times_as_many() -> None:
    x = np.linspace(0, 1, 1500)
    vertices = np.stack([x, 1e-5 * (np.arange(1500) % 2), 0 * x], -1)
    i = np.arange(1498)
    spectrum = laplacian_spectrum(TriangleMesh(vertices, np.stack([i, i + 1, i + 2], -1)), 16)
    assert len(spectrum.eigenvalues) == 64
    assert bool(both(spectrum).isfinite().all())


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        laplacian_spectrum(icosphere(1), 1)
    with pytest.raises(InputError, match="no area"):
        laplacian_spectrum(TriangleMesh(np.zeros((3, 3)), np.array([[0, 1, 2]])))
