"""Input features by name: types, invariances, reflections, defective meshes, wrong names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meshes import DEFECTIVE, MANIFOLD, blob, icosphere, moebius
from scipy.spatial.transform import Rotation

from meshconv import FieldType, InputError, TriangleMesh
from meshconv.geometry import MESH_FEATURES, SURFACE_FEATURES, mesh_features, surface_feature_type, surface_features

INVARIANT = ["surface", "default", "areas", "curvature", "hks", "wks"]


def features(mesh: TriangleMesh, names: list[str]) -> torch.Tensor:
    return surface_features(mesh, mesh.gauge_graph(), names)[0]


def test_names_and_types() -> None:
    assert set(INVARIANT) | {"coordinates", "normals"} == set(SURFACE_FEATURES)
    mesh = blob()
    graph = mesh.gauge_graph()
    for name in SURFACE_FEATURES:
        x, field_type = surface_features(mesh, graph, [name])
        assert field_type == surface_feature_type([name])
        assert x.shape == (mesh.num_vertices, field_type.dim)
        assert x.dtype == torch.float64
    assert torch.equal(surface_features(mesh, graph)[0], mesh_features(mesh, graph))
    assert surface_feature_type() == MESH_FEATURES


def test_parts_stand_side_by_side_in_the_order_of_names() -> None:
    mesh = blob()
    graph = mesh.gauge_graph()
    x, field_type = surface_features(mesh, graph, ["curvature", "default", "coordinates"])
    assert field_type == FieldType("15x0 + 7x1 + 5x2")
    assert torch.equal(x[:, 2:12], mesh_features(mesh, graph)[:, MESH_FEATURES.slice(0)])
    order2 = x[:, field_type.slice(2)].reshape(-1, 2, 5)
    assert torch.equal(order2[:, :, 0], features(mesh, ["curvature"])[:, 2:])


def test_on_a_sphere_curvature_is_one_and_coordinates_are_normals() -> None:
    sphere = icosphere(4)
    mesh = TriangleMesh(3 * sphere.vertices + 5, sphere.faces)
    x = torch.sinh(features(mesh, ["curvature"]))
    torch.testing.assert_close(x[:, :2], torch.ones_like(x[:, :2]), rtol=0, atol=0.15)
    assert float(x[:, 2:].abs().max()) < 0.01
    place, normal = features(mesh, ["coordinates"]), features(mesh, ["normals"])
    torch.testing.assert_close(2 * np.sqrt(np.pi) * place, normal, rtol=0, atol=0.01)


def test_all_but_coordinates_and_normals_ignore_the_pose() -> None:
    mesh = blob()
    turn = Rotation.random(random_state=0).as_matrix()
    moved = TriangleMesh(1e3 * (mesh.vertices @ turn.T + [4, -1, 2]), mesh.faces)
    torch.testing.assert_close(features(moved, INVARIANT), features(mesh, INVARIANT), rtol=0, atol=1e-6)
    for name in ("coordinates", "normals"):
        before, after = features(mesh, [name]), features(moved, [name])
        torch.testing.assert_close(after, before @ torch.from_numpy(turn.T), rtol=0, atol=1e-9)
        assert float((after - before).abs().max()) > 0.1


@pytest.mark.parametrize("name", [*MANIFOLD, *DEFECTIVE])
def test_finite_tame_and_turned_by_a_change_of_gauge(name: str) -> None:
    mesh = MANIFOLD[name][0]() if name in MANIFOLD else DEFECTIVE[name]()
    graph = mesh.gauge_graph()
    x, field_type = surface_features(mesh, graph, SURFACE_FEATURES)
    assert bool(x.isfinite().all())
    assert float(x.abs().max()) < 120
    assert bool((x[torch.from_numpy(mesh.vertex_areas == 0)] == 0).all())
    alpha = graph.random_gauge()
    turned = surface_features(mesh, graph.change_gauge(alpha), SURFACE_FEATURES)[0]
    torch.testing.assert_close(turned, field_type.rotate(x, -alpha), rtol=0, atol=1e-5)


def test_without_orientation_what_changes_sign_is_odd() -> None:
    mesh = moebius()
    graph = mesh.gauge_graph(unoriented=True)
    names = ["areas", "curvature", "hks", "wks", "coordinates", "normals"]
    x, field_type = surface_features(mesh, graph, names)
    assert field_type == surface_feature_type(names, "O(2)") == FieldType("O(2): 37x0 + 4x0- + 1x2")
    assert float(field_type.norms(x)[:, -5:].max(dim=0).values.min()) > 0.05
    generator = torch.Generator().manual_seed(0)
    alpha, flip = graph.random_gauge(generator), torch.rand(mesh.num_vertices, generator=generator) < 0.5
    other = surface_features(mesh, graph.change_gauge(alpha, flip), names)[0]
    torch.testing.assert_close(other, field_type.change_gauge(x, alpha, flip), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="'default' is not available on non-orientable surfaces; choose from"):
        surface_features(mesh, graph)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has to name some of surface, default, areas"),
        (["hks", "hks"], "each once"),
        (["hks", "shape"], "'shape' is not available; choose from surface, default, areas, curvature, hks"),
    ],
)
def test_wrong_names(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        surface_feature_type(names)


def test_graph_of_another_mesh() -> None:
    with pytest.raises(ValueError, match="42 vertices, the mesh 162"):
        surface_features(icosphere(2), icosphere(1).gauge_graph(), ["hks"])
