"""Vector calculus on triangles: exact identities, dimensions of harmonic fields, closed forms, defective meshes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from harmonics import EIGENVALUE, Harmonic, errors, orders, shaken
from meshes import CLOSED, DEFECTIVE, OPEN, cylinder, double_torus, icosphere, tetrahedron, torus
from torch import Tensor

from meshconv import GaugeGraph, HealpixSphere, SurfaceComplex, TriangleMesh, nn as layers

SURFACES = {**{k: build for k, (build, _) in {**CLOSED, **OPEN}.items()}, "healpix": lambda: HealpixSphere(4)}
EULER = {**{k: chi for k, (_, chi) in {**CLOSED, **OPEN}.items()}, "healpix": 2}

MODULES = {
    "gradient": (lambda: layers.FaceGradient("2x0"), "vertices", "faces"),
    "divergence": (lambda: layers.FaceDivergence("2x1"), "faces", "vertices"),
    "curl": (lambda: layers.FaceCurl("2x1"), "faces", "vertices"),
    "laplacian": (lambda: layers.CotangentLaplacian("1x0 + 2x1 + 1x3"), "vertices", "vertices"),
    "to faces": (lambda: layers.ToFaces("1x0 + 2x1 + 1x3"), "vertices", "faces"),
    "to vertices": (lambda: layers.ToVertices("1x0 + 2x1 + 1x3"), "faces", "vertices"),
    "hodge": (lambda: layers.HodgeParts("2x1"), "faces", "faces"),
}


def size(surface: SurfaceComplex, where: str) -> int:
    return surface.num_vertices if where == "vertices" else surface.num_faces


def parts_of(v: Tensor, surface: SurfaceComplex) -> Tensor:
    """``[..., F, 2]`` to the three parts ``[3, ..., F, 2]``."""
    return layers.HodgeParts("1x1")(v, surface).unflatten(-1, (2, 3)).movedim(-1, 0)


def inner(a: Tensor, b: Tensor, areas: Tensor) -> Tensor:
    return (areas[:, None] * a * b).sum((-2, -1))


@pytest.fixture(params=SURFACES, scope="module")
def surface(request) -> SurfaceComplex:
    return SURFACES[request.param]().surface_complex()


def test_areas(surface):
    assert surface.vertex_areas.min() > 0
    torch.testing.assert_close(surface.vertex_areas.sum(), surface.areas.sum())


def test_divergence_is_minus_the_adjoint_of_the_gradient(surface):
    f, v = torch.randn(surface.num_vertices, 1).double(), torch.randn(surface.num_faces, 2).double()
    one = inner(layers.FaceGradient("1x0")(f, surface), v, surface.areas)
    other = -inner(f, layers.FaceDivergence("1x1")(v, surface), surface.vertex_areas)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * float(surface.areas.sum()))


def test_curl_is_the_adjoint_of_the_turned_gradient_where_that_vanishes_on_the_boundary(surface):
    f, v = torch.randn(surface.num_vertices, 1).double(), torch.randn(surface.num_faces, 2).double()
    f[surface.on_boundary] = 0
    x, y = layers.FaceGradient("1x0")(f, surface).unbind(-1)
    one = -inner(torch.stack([-y, x], -1), v, surface.areas)
    other = inner(f, layers.FaceCurl("1x1")(v, surface), surface.vertex_areas)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * float(surface.areas.sum()))


def test_curl_of_a_gradient_is_zero(surface):
    f, v = torch.randn(surface.num_vertices, 2).double(), torch.randn(surface.num_faces, 4).double()
    slope = layers.FaceGradient("2x0")(f, surface)
    curl = layers.FaceCurl("2x1")
    if surface.num_vertices > 3:  # one triangle has boundary vertices alone
        assert curl(slope, surface).abs().max() < 1e-13 * curl(v / v.norm() * slope.norm(), surface).abs().max()


def test_cotangent_laplacian_is_divergence_of_the_gradient_and_symmetric(surface):
    f = torch.randn(surface.num_vertices, 1).double()
    laplacian = layers.CotangentLaplacian("1x0")
    twice = layers.FaceDivergence("1x1")(layers.FaceGradient("1x0")(f, surface), surface)
    torch.testing.assert_close(laplacian(f, surface), twice, rtol=1e-9, atol=1e-9 * float(twice.abs().max()))
    vectors = layers.CotangentLaplacian("1x1 + 1x2")
    u, v = torch.randn(2, surface.num_vertices, 4).double()
    one, other = (inner(a, vectors(b, surface), surface.vertex_areas) for a, b in ((u, v), (v, u)))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_transports_between_vertices_and_faces_are_adjoint(surface):
    f, v = torch.randn(surface.num_vertices, 5).double(), torch.randn(surface.num_faces, 5).double()
    t = "1x0 + 1x1 + 1x3"
    one = inner(layers.ToFaces(t)(f, surface), v, surface.areas)
    torch.testing.assert_close(one, inner(f, layers.ToVertices(t)(v, surface), surface.vertex_areas))
    ones = torch.ones(surface.num_vertices, 1).double()
    torch.testing.assert_close(layers.ToVertices("1x0")(layers.ToFaces("1x0")(ones, surface), surface), ones)


def test_hodge_parts_add_up_are_orthogonal_and_stay_what_they_are(surface):
    v = torch.randn(surface.num_faces, 2).double()
    parts = parts_of(v, surface)
    torch.testing.assert_close(parts.sum(0), v)
    gram = torch.stack([torch.stack([inner(a, b, surface.areas) for a in parts]) for b in parts])
    assert (gram - gram.diagonal().diag()).abs().max() < 1e-12 * gram.trace()
    again = parts_of(parts, surface)
    for k in range(3):
        expected = torch.zeros_like(parts)
        expected[k] = parts[k]
        torch.testing.assert_close(again[:, k], expected, rtol=0, atol=1e-11 * float(v.norm()))


def test_parts_are_gradients_and_turned_gradients(surface):
    """The first has no curl, the second no divergence, the third neither; and gradients come back whole."""
    first, second, third = parts_of(torch.randn(surface.num_faces, 2).double(), surface)
    div, curl = layers.FaceDivergence("1x1"), layers.FaceCurl("1x1")
    bound = 1e-10 * float(surface.hat_gradient.abs().max())
    for zero in (curl(first, surface), div(second, surface), div(third, surface), curl(third, surface)):
        assert zero.abs().max() < bound
    slope = layers.FaceGradient("1x0")(torch.randn(surface.num_vertices, 1).double(), surface)
    torch.testing.assert_close(parts_of(slope, surface)[0], slope, rtol=1e-9, atol=1e-10 * float(slope.abs().max()))


@pytest.mark.parametrize("name", [n for n in SURFACES if n != "blob"])
def test_harmonic_fields_number_as_the_betti_number_says(name):
    """The trace of a projector is the dimension of its image: 2 - chi on a closed surface, else 1 - chi."""
    surface = SURFACES[name]().surface_complex()
    n = 2 * surface.num_faces
    basis = torch.eye(n).double().view(n, surface.num_faces, 2)
    dims = [float(torch.trace(p.reshape(n, n))) for p in parts_of(basis, surface)]
    betti = 2 - EULER[name] if name in CLOSED or name == "healpix" else 1 - EULER[name]
    assert dims == pytest.approx([surface.num_vertices - 1, n - surface.num_vertices + 1 - betti, betti], abs=1e-7)


def test_known_numbers_of_harmonic_fields():
    assert {k: 2 - EULER[k] for k in ("icosphere", "torus", "double_torus")} == {
        "icosphere": 0, "torus": 2, "double_torus": 4}  # fmt: skip
    assert 1 - EULER["cylinder"] == 1


CONVERGING = {
    "gradient": (lambda s, v, f: (layers.FaceGradient("1x0")(v.value, s), f.gradient), 0.9, 0.7),
    "divergence": (lambda s, v, f: (layers.FaceDivergence("1x1")(f.gradient, s), EIGENVALUE * v.value), 0.9, 0.7),
    "curl": (lambda s, v, f: (layers.FaceCurl("1x1")(f.turned, s), EIGENVALUE * v.value), 0.9, 0.7),
    "to faces": (lambda s, v, f: (layers.ToFaces("1x1")(v.gradient, s), f.gradient), 1.9, 1.8),
    "to vertices": (lambda s, v, f: (layers.ToVertices("1x1")(f.gradient, s), v.gradient), 0.9, 0.8),
    "gradient part": (lambda s, v, f: (parts_of(f.gradient + 2 * f.turned, s)[0], f.gradient), 0.9, None),
    "curl part": (lambda s, v, f: (parts_of(f.gradient + 2 * f.turned, s)[1], 2 * f.turned), 0.9, None),
    "gradient part at vertices": (lambda s, v, f: (
        layers.ToVertices("1x1")(parts_of(layers.ToFaces("1x1")(v.gradient + 2 * v.turned, s), s)[0], s),
        v.gradient), 0.9, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERGING)
@pytest.mark.parametrize("kind", ["healpix", "icosphere", "irregular"])
def test_order_of_convergence_to_closed_forms(kind, name):
    builds = {
        "healpix": [HealpixSphere(n) for n in (8, 16, 32)],
        "icosphere": [icosphere(n) for n in (3, 4, 5)],
        "irregular": [shaken(icosphere(n)) for n in (3, 4, 5)],
    }[kind]
    run, rms, largest = CONVERGING[name]
    found = []
    for build in builds:
        s = build.surface_complex()
        at_vertices, at_faces = (Harmonic(g.positions, g.frames) for g in (s.graph, s))
        found.append(errors(*run(s, at_vertices, at_faces)))
    order_max, order_rms = orders(found)
    assert found[-1][1] < 0.05 and order_rms > rms
    if largest is not None:
        assert order_max > (largest if kind != "irregular" else 0.3)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_energies_of_the_cotangent_laplacian_converge_on_irregular_meshes(order):
    """Its values at single points do not; quadratic forms of smooth fields do."""
    module = layers.CotangentLaplacian(f"1x{order}")
    off = []
    for level in (3, 4, 5):
        surface = shaken(icosphere(level)).surface_complex()
        h = Harmonic(surface.graph.positions, surface.graph.frames)
        x = (h.value, h.gradient, h.tensor)[order]
        energy = inner(x, module(x, surface), surface.vertex_areas) / inner(x, x, surface.vertex_areas)
        off.append(abs(float(energy) / (EIGENVALUE + order**2) - 1))
    assert off[2] < 0.003 and off[2] < off[1] / 3 < off[0] / 9


@pytest.mark.parametrize("name", MODULES)
def test_gauge_equivariance(name):
    make, here, there = MODULES[name]
    module = make()
    for surface in (HealpixSphere(4).surface_complex(), torus().surface_complex(), cylinder().surface_complex()):
        turns = {k: 6 * torch.rand(size(surface, k)).double() for k in ("vertices", "faces")}
        x = torch.randn(size(surface, here), module.in_type.dim).double()
        turned = surface.change_gauge(turns["vertices"], turns["faces"])
        y, got = module(x, surface), module(module.in_type.change_gauge(x, turns[here]), turned)
        expected = module.out_type.change_gauge(y, turns[there])
        assert (got - expected).norm() < 1e-11 * y.norm()
        single = module(module.in_type.change_gauge(x, turns[here]).float(), turned.to(torch.float32))
        assert single.dtype == torch.float32 and (single - expected).norm() < 1e-5 * y.norm()


@pytest.mark.parametrize("name", MODULES)
def test_leading_axes_gradients_and_sizes(name):
    make, here, there = MODULES[name]
    module, surface = make(), tetrahedron().surface_complex()
    x = torch.randn(2, 3, size(surface, here), module.in_type.dim).double()
    y = module(x, surface)
    assert y.shape == (2, 3, size(surface, there), module.out_type.dim)
    torch.testing.assert_close(y[1, 2], module(x[1, 2], surface), rtol=1e-11, atol=1e-11)
    small = x[0, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: module(v, surface), small)
    assert torch.autograd.gradgradcheck(lambda v: module(v, surface).square().mean(), small)
    with pytest.raises(ValueError, match="x has 3 vertices, the graph 4"):
        module(x[0, 0, :3], surface)
    with pytest.raises(ValueError, match="last axis"):
        module(torch.zeros(size(surface, here), 5).double(), surface)


def test_wrong_types():
    for layer, wrong, wanted in (
        (layers.FaceGradient, "1x1", "1x0"), (layers.FaceDivergence, "2x0", "2x1"), (layers.HodgeParts, "3x2", "3x1"),
        (layers.FaceCurl, "1x0", "1x1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{layer.__name__} takes .* such as '{wanted}', not '{wrong}'"):
            layer(wrong)


@pytest.mark.parametrize("defect", DEFECTIVE)
def test_defective_meshes_give_finite_fields(defect):
    surface = DEFECTIVE[defect]().surface_complex()
    for make, here, there in MODULES.values():
        module = make()
        y = module(torch.randn(size(surface, here), module.in_type.dim).double(), surface)
        assert torch.isfinite(y).all() and y.shape[0] == size(surface, there)
    parts = parts_of(torch.randn(surface.num_faces, 2).double(), surface)
    total = inner(parts.sum(0), parts.sum(0), surface.areas)
    assert abs(float(inner(parts[0], parts[1], surface.areas))) <= 1e-9 * float(total)


def test_slivers_and_repeated_vertices_are_left_out():
    mesh = icosphere(1)
    thin = mesh.vertices[0] + np.array([[0, 0, 0], [1, 0, 0], [0.5, 1e-9, 0]])
    faces = np.vstack([mesh.faces, [[42, 43, 44], [3, 3, 5]]])
    surface = TriangleMesh(np.vstack([mesh.vertices, thin]), faces).surface_complex()
    assert surface.num_faces == mesh.num_faces
    assert not layers.CotangentLaplacian("1x1")(torch.randn(45, 2).double(), surface)[42:].any()


def test_no_faces(random_graph):
    surface = SurfaceComplex.from_faces(random_graph(3, 4), np.zeros((0, 3), dtype=int))
    for make, here, there in MODULES.values():
        module = make()
        y = module(torch.randn(size(surface, here), module.in_type.dim).double(), surface)
        assert y.shape == (size(surface, there), module.out_type.dim) and not y.any()


def test_a_batch_is_the_complex_of_the_union():
    pair = [torus(), double_torus()]
    shift = pair[0].num_vertices
    graph = GaugeGraph.batch([m.gauge_graph() for m in pair])
    together = SurfaceComplex.from_faces(graph, np.vstack([pair[0].surface.faces, pair[1].surface.faces + shift]))
    alone = [m.surface_complex() for m in pair]
    v = torch.randn(together.num_faces, 2).double()
    split = v.split([s.num_faces for s in alone])
    expected = torch.cat([parts_of(x, s) for x, s in zip(split, alone, strict=True)], dim=1)
    torch.testing.assert_close(parts_of(v, together), expected, rtol=1e-9, atol=1e-10)


def test_copies_and_pickles_after_use():
    surface = torus().surface_complex()
    v = torch.randn(surface.num_faces, 2).double()
    parts = parts_of(v, surface)
    for twin in (copy.deepcopy(surface), pickle.loads(pickle.dumps(surface))):
        assert torch.equal(parts_of(v, twin), parts)
    assert repr(surface) == "SurfaceComplex(288 vertices, 864 inner edges, 576 faces, torch.float64, cpu)"


def test_the_complex_of_a_sphere_covers_it_and_has_its_points_and_frames():
    for nside in (1, 2, 8):
        sphere = HealpixSphere(nside)
        surface, graph = sphere.surface_complex(), sphere.gauge_graph()
        assert surface.num_faces == 2 * sphere.npix - 4 and not surface.on_boundary.any()
        torch.testing.assert_close(surface.graph.positions, graph.positions)
        torch.testing.assert_close(surface.graph.frames, graph.frames)
        assert surface.cotangent.min() > -1e-12  # Delaunay
    assert abs(float(surface.areas.sum()) / (4 * np.pi) - 1) < 0.01


def test_faces_that_do_not_fit(sphere):
    with pytest.raises(ValueError, match=r"vertices 0..48, the graph has 48"):
        SurfaceComplex.from_faces(sphere, [[0, 1, 48]])
    with pytest.raises(ValueError, match=r"expected three vertices each"):
        SurfaceComplex.from_faces(sphere, [[0, 1, 2, 3]])
    with pytest.raises(ValueError, match=r"sides of faces are no edges of the graph, the first is"):
        SurfaceComplex.from_faces(sphere, [[0, 20, 40]])
    mirrored = sphere.change_gauge(torch.zeros(48), torch.arange(48) < 20)
    with pytest.raises(ValueError, match="reflect"):
        SurfaceComplex.from_faces(mirrored, [[0, 1, 2]])
