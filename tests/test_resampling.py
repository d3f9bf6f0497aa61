"""Points at one spacing on any triangulation of a surface: refinement, levels, interpolation, labels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import blob, bumpy_sheet, flat_sheet, icosphere, single_triangle

from meshconv import InputError, TriangleMesh
from meshconv.datasets import MeshFields, MeshSegments, Preparation, collate, prepare_meshes
from meshconv.datasets.meshes.transfer.elements import ElementLabels, edges_of, elements_of_file
from meshconv.geometry.mesh.edge_graph import edge_graph
from meshconv.geometry.mesh.geodesics import geodesic_neighbourhoods
from meshconv.geometry.mesh.levels.refinement import refine, refined
from meshconv.geometry.mesh.levels.resampling import Resampled, resample
from meshconv.geometry.mesh.neighbourhood import Neighbourhood
from meshconv.io import save_mesh
from meshconv.models import ShapeUNet
from meshconv.nn import from_ambient
from meshconv.train import Predictor, ReconstructionTask, RegressionTask
from meshconv.train.metrics.point_weights import point_weights


def sampled(mesh: TriangleMesh, resolution: float, num_levels: int = 2) -> tuple[TriangleMesh, Resampled]:
    fine = refined(mesh, resolution)
    return fine, resample(fine.surface, resolution, num_levels)


@pytest.mark.parametrize("build", [blob, bumpy_sheet, single_triangle])
def test_refinement_keeps_the_surface(build) -> None:
    mesh = build()
    longest = 0.03 * mesh.area**0.5
    fine = TriangleMesh(*refine(mesh.vertices, mesh.faces, longest))
    assert fine.area == pytest.approx(mesh.area, rel=1e-12)
    np.testing.assert_array_equal(fine.vertices[: mesh.num_vertices], mesh.vertices)
    edges = edges_of(fine.faces)
    assert np.linalg.norm(np.diff(fine.vertices[edges], axis=1), axis=-1).max() <= longest
    assert not fine.defects.problems() and fine.num_vertices > mesh.num_vertices
    for what in ("euler_characteristic", "boundary_loops", "components"):
        assert getattr(fine.defects, what) == getattr(mesh.defects, what)


def test_a_fine_mesh_is_not_refined() -> None:
    mesh = icosphere(3)
    vertices, faces = refine(mesh.vertices, mesh.faces, 1.0)
    assert vertices is mesh.vertices and faces is mesh.faces


@pytest.mark.parametrize("subdivisions", [1, 2, 3, 4])
def test_points_are_as_regular_on_every_triangulation(subdivisions) -> None:
    """Areas of their cells: the vertices leave enough choice."""
    areas = sampled(icosphere(subdivisions), 0.05, 1)[1].hierarchy.finest.areas
    assert float(areas.std() / areas.mean()) < 0.3


@pytest.mark.parametrize("mesh", [icosphere(1), icosphere(3), icosphere(4)], ids=["coarse", "same", "fine"])
def test_levels_have_the_same_spacing_on_every_triangulation(mesh: TriangleMesh) -> None:
    _, found = sampled(mesh, 0.05, 3)
    found.hierarchy.validate()
    assert [level.num_vertices for level in found.hierarchy.levels] == [400, 100, 25]
    for k, level in enumerate(found.hierarchy.levels):
        spacing, size = 0.05 * 2**k, mesh.area**0.5
        assert float(level.areas.sum()) == pytest.approx(mesh.area)
        assert float(level.scale[0]) == pytest.approx(2.3 * spacing * size / 2)
        assert float(level.log_radius.max()) <= 2.3 * spacing * size
        assert 12 < level.num_edges / level.num_vertices < 20
        # No two points are much closer, and no place is much farther, than the spacing.
        assert float(level.log_radius.min()) > 0.6 * spacing * size
        assert float(level.areas.max()) < 4 * (spacing * size) ** 2


def test_log_maps_and_transporters_are_those_of_the_sphere() -> None:
    fine, found = sampled(icosphere(4), 0.05)
    level = found.hierarchy.finest
    p, q = (level.positions[i] for i in (level.dst, level.src))
    angle = torch.acos((p * q).sum(1) / (p.norm(dim=1) * q.norm(dim=1)))
    assert float((level.log_radius / angle - 1).abs().max()) < 0.01
    edges = zip(level.dst.tolist(), level.src.tolist(), level.transporter.tolist(), strict=True)
    pairs = {(a, b): transporter for a, b, transporter in edges}
    assert all((b, a) in pairs for a, b in pairs)
    both = torch.tensor([t + pairs[b, a] for (a, b), t in pairs.items()])
    assert float(torch.remainder(both + math.pi, 2 * math.pi).sub(math.pi).abs().max()) < 1e-9
    np.testing.assert_array_equal(fine.vertices[found.points], level.positions.numpy())


def test_interpolation_reproduces_linear_functions_of_the_plane() -> None:
    mesh = flat_sheet(9)
    fine, found = sampled(mesh, 0.06, 1)
    assert (found.shares >= 0).all()
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)
    place = (found.shares[:, :, None] * fine.vertices[found.points][found.corners]).sum(axis=1)
    error = np.linalg.norm(place - fine.vertices, axis=1) / mesh.area**0.5
    boundary = fine.fans.is_boundary
    # Exact inside triangles; half a spacing at most where a vertex lies outside of all.
    assert np.median(error) < 1e-12 and error[~boundary].mean() < 0.003 and error.max() < 0.06
    np.testing.assert_allclose(found.shares[found.points, 0], 1)


def test_every_part_keeps_a_point_however_small() -> None:
    ball, crumb = icosphere(2), icosphere(0)
    vertices = np.concatenate([ball.vertices, 1e-4 * crumb.vertices + 3, [[9.0, 9, 9]]])
    mesh = TriangleMesh(vertices, np.concatenate([ball.faces, crumb.faces + ball.num_vertices]))
    _, found = sampled(mesh, 0.1, 3)
    found.hierarchy.validate()
    for level in found.hierarchy.levels:
        far = level.positions[:, 0] > 2
        assert int(far.sum()) == 2  # the crumb, and the vertex without faces
    parts = np.repeat([0, 1, 2], [ball.num_vertices, crumb.num_vertices, 1])
    of_point = np.where(found.hierarchy.finest.positions[:, 0] < 2, 0, 1)
    of_point[found.hierarchy.finest.positions[:, 0] > 8] = 2
    assert (of_point[found.corners[: mesh.num_vertices]] == parts[:, None]).all()


def test_flat_faces_make_no_saddles_by_rounding() -> None:
    """Sums of angles of a full turn up to rounding: without care each sends rays of its own, for minutes."""
    mesh = blob()
    flat = TriangleMesh(*refine(mesh.vertices, mesh.faces, 0.12))
    ring = edge_graph(flat.surface)
    near = geodesic_neighbourhoods(flat.surface, ring, Neighbourhood(nearest=40))
    assert int(near.ptr[-1]) == 40 * flat.num_vertices


@pytest.mark.parametrize("kind", ["vertices", "faces", "edges"])
def test_labels_and_predictions_are_those_of_the_file(kind, tmp_path: Path) -> None:
    mesh = icosphere(2)
    save_mesh(mesh, tmp_path / "ball.ply")
    elements = {"vertices": np.arange(mesh.num_vertices)[:, None], "faces": mesh.faces, "edges": edges_of(mesh.faces)}
    height = mesh.vertices[elements[kind]].mean(axis=1)[:, 2]
    how = Preparation(resolution=0.1, num_levels=2)
    given = [(tmp_path / "ball.ply", ElementLabels(kind, (height > 0).astype(np.int64)))]
    (sample,), _ = prepare_meshes(given, how, strict=True, workers=0)
    assert sample.target.tolist() == (height > 0).astype(int).tolist() and len(sample.x) == 100
    np.testing.assert_array_equal(elements_of_file(kind, sample, sample.raw()), np.arange(len(height)))
    batch = collate([sample, sample])
    z = batch.surface.finest.positions[:, 2].double()
    interpolated = (z[batch.elements] * batch.shares).sum(1).numpy()
    assert np.abs(interpolated - np.tile(height, 2)).mean() < 0.02
    weights = point_weights(batch)
    assert float(weights.mean()) == pytest.approx(1)
    network = ShapeUNet(how.in_type, 2, (4, 4), 1).eval()
    y = network(batch.x, batch.surface, batch.elements, batch.shares)
    assert y.shape == (2 * len(height), 2) and bool(torch.isfinite(y).all())
    torch.testing.assert_close(y[: len(height)], y[len(height) :], rtol=1e-4, atol=1e-4)


def test_logits_of_a_vertex_do_not_depend_on_how_the_rest_is_cut(tmp_path: Path) -> None:
    """The same surface with every face cut in four, inputs that are the surface's, without training."""
    mesh = blob()
    fine = _cut_in_four(mesh)
    torch.manual_seed(0)
    change = {}
    for resolution in (None, 0.05):
        how = Preparation(resolution=resolution, num_levels=2, features=("coordinates",))
        samples, _ = prepare_meshes([(m, ElementLabels("vertices")) for m in (mesh, fine)], how, workers=0)
        network = ShapeUNet(how.in_type, 4, (4, 4), 1, dropout=0, aggregation="quadrature").eval()
        with torch.no_grad():
            batches = [collate([s]) for s in samples]
            one, two = (
                network(b.x, b.surface, *([] if b.elements is None else [b.elements, b.shares])) for b in batches
            )
        change[resolution] = float((one - two[: len(one)]).square().mean().sqrt() / one.std(0).norm())
    assert change[0.05] < 0.5 * change[None]


@pytest.mark.parametrize("tangent", [True, False])
@pytest.mark.parametrize("element", ["vertices", "faces"])
def test_fields_are_those_of_the_file(element, tangent, tmp_path: Path) -> None:
    """Numbers and vectors at elements between the points: a network that knows them at the points gives them there."""
    mesh = icosphere(3)
    at = mesh.vertices if element == "vertices" else mesh.vertices[mesh.faces].mean(axis=1)
    swirl, data = np.cross([0.3, -1.0, 0.5], at), {}
    data["h"], data["w"] = at[:, 2], swirl if tangent else swirl + 0.5 * at
    both = {"vertex_data": data} if element == "vertices" else {"face_data": data}
    save_mesh(replace(mesh, **both), tmp_path / "ball.vtp")
    maps = MeshFields(str(tmp_path), ["h", "w"], element, tangent, test_fraction=1, resolution=0.05, num_levels=2,
                      cache=False, workers=0)  # fmt: skip
    (sample,) = maps.samples("test")
    assert len(sample.x) == 400 and len(sample.target) == len(at)
    task = RegressionTask("test_mesh_targets.Perfect", str(maps.in_type), maps.field_names, maps.spec)
    graph = sample.surface.finest
    points = graph.positions.double()
    whole = torch.linalg.cross(torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64).expand_as(points), points)
    inside = from_ambient((whole + (0 if tangent else 0.5 * points))[:, None], graph, "1x0 + 1x1")
    answer = torch.cat([points[:, 2:], inside[:, 1:] if tangent else inside], dim=1)
    task.network.answer = torch.nn.Parameter(answer.float())
    batch = collate([sample])
    error = (task(batch) - sample.target).detach().norm(dim=1)
    assert float(error.mean()) < 0.02
    found = Predictor(task, "cpu", cache=False)(tmp_path / "ball.vtp")
    assert np.abs(found.fields["h"] - data["h"]).mean() < 0.02
    off = np.linalg.norm(found.fields["w"] - data["w"], axis=1)
    assert off.mean() < 0.04 and off.max() < 0.2  # of vectors of length 1
    assert float(task.compared(batch)[-1].detach()) < 1e-3


def test_fields_of_a_vertex_do_not_depend_on_how_the_rest_is_cut() -> None:
    """Vectors in space of an untrained network, at the same vertices of two triangulations."""
    mesh = blob()
    change = {}
    for resolution in (None, 0.05):
        how = Preparation(resolution=resolution, num_levels=2, features=("coordinates",))
        spec = {**how.spec, "data": "meshconv.datasets.MeshFields", "out_type": "1x0 + 1x1"}
        torch.manual_seed(0)
        options = {"channels": [4, 4], "max_order": 1, "aggregation": "quadrature"}
        task = RegressionTask("FieldUNet", str(how.in_type), ["h", "w"], spec, options)
        one, two = (result.fields for result in Predictor(task, "cpu", cache=False)([mesh, _cut_in_four(mesh)]))
        change[resolution] = [np.linalg.norm(two[f][: mesh.num_vertices] - one[f]) / np.linalg.norm(one[f])
                              for f in ("h", "w")]  # fmt: skip
    for k in (0, 1):
        assert change[0.05][k] < 0.5 * change[None][k] and change[0.05][k] < 0.2, change


def _cut_in_four(mesh: TriangleMesh) -> TriangleMesh:
    a, b, c = mesh.faces.T
    edges = edges_of(mesh.faces)
    number = {tuple(e): mesh.num_vertices + k for k, e in enumerate(edges.tolist())}
    middle = np.array([[number[tuple(sorted(p))] for p in ((i, j), (j, k), (k, i))] for i, j, k in mesh.faces.tolist()])
    ab, bc, ca = middle.T
    faces = [np.stack(f, axis=1) for f in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return TriangleMesh(np.concatenate([mesh.vertices, mesh.vertices[edges].mean(axis=1)]), np.concatenate(faces))


@pytest.mark.parametrize("resolution", [0, -0.1, 2.0, math.nan, 1e-5, "fine"])
def test_resolutions_out_of_range_are_named(resolution) -> None:
    with pytest.raises(InputError, match=f"resolution {resolution}"):
        Preparation(resolution=resolution)


def test_what_goes_not_with_a_resolution_is_named(tmp_path: Path) -> None:
    for near in ({"nearest": 8}, {"rings": 2}):
        with pytest.raises(InputError, match="resolution"):
            Preparation(resolution=0.1, neighbourhood=Neighbourhood(**near))
    spec = {**Preparation(resolution=0.1, num_levels=2).spec, "data": "meshconv.datasets.MeshFields", "out_type": "1x0"}
    with pytest.raises(InputError, match=r"resolution 0\.1: observations lie at the mesh's own vertices"):
        ReconstructionTask("4x0", ["h"], spec)
    flat = replace(icosphere(1), vertices=icosphere(1).vertices * [1, 0, 0])
    with pytest.raises(InputError, match="no area"):
        refined(flat, 0.1)
    needle = TriangleMesh(np.array([[0, 0, 0], [1e9, 0, 0], [0, 1e-6, 0]]), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="vertices; give a larger resolution"):
        refined(needle, 0.002)


def test_a_spec_from_before_has_no_resolution() -> None:
    how = Preparation(resolution=0.1, num_levels=2, neighbourhood=Neighbourhood(radius=0.3))
    assert Preparation.from_spec(how.spec) == how
    before = {k: v for k, v in how.spec.items() if k != "resolution"}
    assert Preparation.from_spec(before).resolution is None


def test_segments_take_a_resolution(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        mesh = blob(seed)
        label = (mesh.vertices[:, 2] > 0).astype(np.int32)
        save_mesh(replace(mesh, vertex_data={"label": label}), tmp_path / f"{name}.ply")
    data = MeshSegments(str(tmp_path), resolution=0.1, num_levels=2, test_fraction=0.5, cache=False, workers=0)
    (batch,) = data.train_dataloader()
    assert len(batch.target) == batch.elements.shape[0] == blob().num_vertices and len(batch.x) == 100
    assert data.spec["resolution"] == 0.1
