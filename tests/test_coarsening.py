"""Theorems about hierarchies of meshes: sampling, cells, graphs on coarse levels, and a network on them."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from defective import ALL, damaged
from geodesic_cases import UNEVEN, holed_sheet, scan
from meshes import CLOSED, DEFECTIVE, OPEN, blob, bumpy_sheet, cylinder, flat_sheet, icosphere, single_triangle, torus
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from meshconv import FieldType, GaugeGraph, InputError, Neighbourhood, TriangleMesh
from meshconv.geometry.graph.gauge_graph import wrap_angle
from meshconv.geometry.mesh.geodesics import geodesic_surface
from meshconv.geometry.mesh.levels.coarsening import coarsen
from meshconv.models import SphereUNet
from meshconv.ops.geodesics import GeodesicSurface, farthest_points, geodesic_cells, geodesics
from meshconv.testing import gauge_equivariance_error

SMALL = {"torus": torus, "bumpy_sheet": bumpy_sheet, "cylinder": cylinder, "icosphere": icosphere}


def surface_of(mesh: TriangleMesh) -> GeodesicSurface:
    return geodesic_surface(mesh.surface, mesh.gauge_graph())


def vertices_of(mesh: TriangleMesh, level: GaugeGraph) -> np.ndarray:
    """Numbers of a level's points among the mesh's vertices, which have to lie apart."""
    place = {p.tobytes(): v for v, p in enumerate(mesh.vertices)}
    assert len(place) == mesh.num_vertices
    return np.array([place[p.tobytes()] for p in level.positions.numpy()])


def pairs(mesh: TriangleMesh) -> tuple[np.ndarray, ...]:
    """Radius, angle, transporter of every vertex (column) seen from every other (row), exact; 0 on the diagonal."""
    graph = mesh.gauge_graph(Neighbourhood(radius=100.0))
    out = []
    for values in (graph.log_radius, graph.log_angle, graph.transporter):
        table = np.zeros((mesh.num_vertices,) * 2)
        table[graph.dst, graph.src] = values
        out.append(table)
    return tuple(out)


def turn(a: np.ndarray | torch.Tensor) -> float:
    """Largest difference of angles."""
    a = wrap_angle(torch.as_tensor(a)).abs()
    return float(a.max()) if a.numel() else 0.0


@pytest.mark.parametrize("name", SMALL)
def test_everything_is_as_in_exact_geodesics_between_all_vertices(name: str) -> None:
    """Points cover the surface as densely as they lie apart, clusters are Voronoi cells, log maps are exact."""
    mesh = SMALL[name]()
    hierarchy = mesh.hierarchy(3, ratio=3)
    radius, angle, transporter = pairs(mesh)
    fine = np.arange(mesh.num_vertices)
    for pool, level in zip(hierarchy.pools, hierarchy.levels[1:], strict=True):
        points = vertices_of(mesh, level)
        assert len(points) == math.ceil(len(fine) / 3)
        apart = radius[np.ix_(points, points)] + np.where(np.eye(len(points)), np.inf, 0)
        assert radius[:, points].min(axis=1).max() <= 1.06 * apart.min()
        parent = points[pool.parent]
        np.testing.assert_allclose(pool.log_radius, radius[np.ix_(points, fine)].min(axis=0), rtol=1e-6)
        np.testing.assert_allclose(pool.log_radius, radius[parent, fine], rtol=1e-12)
        assert turn(pool.log_angle.numpy() - angle[parent, fine]) < 1e-9
        assert turn(pool.transporter.numpy() - transporter[parent, fine]) < 1e-9
        src, dst = points[level.src], points[level.dst]
        np.testing.assert_allclose(level.log_radius, radius[dst, src], rtol=1e-9)
        assert turn(level.log_angle.numpy() - angle[dst, src]) < 1e-9
        assert turn(level.transporter.numpy() - transporter[dst, src]) < 1e-9
        fine = points


@pytest.mark.parametrize("name", {**CLOSED, **OPEN})
def test_coarse_graphs_are_like_triangulations(name: str) -> None:
    """Cells that touch: connected, symmetric, as many edges as a triangulation has, radii that kernels reach."""
    mesh = {**CLOSED, **OPEN}[name][0]()
    hierarchy = mesh.hierarchy(4, ratio=2.5)
    hierarchy.validate()
    total = float(hierarchy.levels[0].areas.sum())
    for pool, fine, level in zip(hierarchy.pools, hierarchy.levels[:-1], hierarchy.levels[1:], strict=True):
        n = level.num_vertices
        back = torch.argsort(level.src * n + level.dst)
        assert torch.equal(level.src[back], level.dst)
        assert torch.equal(level.log_radius[back], level.log_radius)
        assert turn(level.transporter + level.transporter[back]) < 1e-14
        assert not bool((level.src == level.dst).any())
        areas = torch.zeros(n, dtype=torch.float64).index_add(0, pool.parent, fine.areas)
        torch.testing.assert_close(level.areas, areas)
        assert float(level.areas.sum()) == pytest.approx(total, rel=1e-12)
        assert float(level.scale[0]) == pytest.approx(math.sqrt(mesh.area / n))
        if n > 20:
            assert 4 <= level.num_edges / n <= 6.5
            # With a boundary there are more points to the same area.
            within = float((level.log_radius < 2 * level.scale[0]).double().mean())
            assert within > (0.97 if name in CLOSED else 0.8)
        links = csr_array((np.ones(level.num_edges), level.src.numpy(), level.dst_ptr.numpy()), shape=(n, n))
        assert connected_components(links)[0] == 1


@pytest.mark.parametrize("kind", ["flat_sheet", "cylinder"])
def test_sheets_flat_or_bent_have_the_logs_of_the_plane(kind: str) -> None:
    n, period = 16, 1e9
    if kind == "flat_sheet":
        mesh = flat_sheet(20)
        frame = np.linalg.svd(mesh.vertices - mesh.vertices.mean(0))[2][:2]
        plane = mesh.vertices @ frame.T
        plane[:, 1] *= 1.0 if np.cross(*frame) @ mesh.vertex_normals[0] > 0 else -1.0
    else:
        mesh = cylinder(24, n)
        side = 2 * math.sin(math.pi / n)
        column, row = np.arange(mesh.num_vertices) % n, np.arange(mesh.num_vertices) // n
        plane, period = np.stack([column * side, row * 0.4], axis=1), n * side
    hierarchy = mesh.hierarchy(3)
    # Turn of each frame against the plane's, from any one edge of the mesh; on a straight boundary nothing is scaled.
    ring = hierarchy.levels[0]
    first = ring.dst_ptr[:-1]

    def chord(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
        d = plane[src] - plane[dst]
        d[:, 0] -= period * np.round(d[:, 0] / period)
        return d

    edge = chord(ring.src[first].numpy(), ring.dst[first].numpy())
    offset = np.arctan2(edge[:, 1], edge[:, 0]) - ring.log_angle[first].numpy()
    straight = ~mesh.fans.is_boundary | (np.abs(mesh.fans.total - np.pi) < 1e-9)
    checked, fine = 0, np.arange(mesh.num_vertices)
    for pool, level in zip(hierarchy.pools, hierarchy.levels[1:], strict=True):
        points = vertices_of(mesh, level)
        for seen, src, dst in ((level, points[level.src], points[level.dst]), (pool, fine, points[pool.parent])):
            d = chord(src, dst)
            np.testing.assert_allclose(seen.log_radius, np.linalg.norm(d, axis=1), rtol=1e-10)
            at = straight[dst] & (seen.log_radius.numpy() < 0.49 * period) & (src != dst)
            expected = np.arctan2(d[:, 1], d[:, 0]) - offset[dst]
            assert turn((seen.log_angle.numpy() - expected)[at]) < 1e-9
            at &= straight[src]
            assert turn((seen.transporter.numpy() - (offset[src] - offset[dst]))[at]) < 1e-9
            checked += int(at.sum())
        fine = points
    assert checked > 700


def network(levels: int) -> SphereUNet:
    torch.manual_seed(0)
    return SphereUNet("2x0 + 1x1", 3, channels=(4, 5, 6, 6)[:levels], dropout=0.0).double().eval()


@pytest.mark.parametrize("build", [blob, holed_sheet, torus, DEFECTIVE["isolated_vertices"]])
def test_a_network_on_all_levels_does_not_see_the_gauge(build) -> None:
    assert gauge_equivariance_error(network(3), build().hierarchy(3)) < 1e-10


@pytest.mark.parametrize("build", [blob, icosphere, scan, DEFECTIVE["ten_components"]])
def test_numbering_is_only_an_order(build) -> None:
    """Also where symmetry leaves the choice of points, cells and paths open, and rounding would decide."""
    mesh = build()
    rng = np.random.default_rng(0)
    place = rng.permutation(mesh.num_vertices)
    vertices = np.empty_like(mesh.vertices)
    vertices[place] = mesh.vertices
    faces = rng.permutation(place[mesh.faces])
    faces = np.take_along_axis(faces, (np.arange(3) + rng.integers(0, 3, (len(faces), 1))) % 3, axis=1)
    other = TriangleMesh(vertices, faces)
    one, two = mesh.hierarchy(3), other.hierarchy(3)
    fine = place
    for k in (1, 2):
        a, b = one.levels[k], two.levels[k]
        # Number on the other side of each point.
        there = {v: i for i, v in enumerate(vertices_of(other, b))}
        level = np.array([there[v] for v in place[vertices_of(mesh, a)]])
        assert (level[one.pools[k - 1].parent] == two.pools[k - 1].parent.numpy()[fine]).all()
        key = level[a.dst] * b.num_vertices + level[a.src]
        order = np.argsort(key)
        assert (key[order] == (b.dst * b.num_vertices + b.src).numpy()).all()
        np.testing.assert_allclose(a.log_radius.numpy()[order], b.log_radius, rtol=1e-9)
        fine = level
    if build is DEFECTIVE["ten_components"]:
        return  # round bodies of so few points that three paths and more are equally short
    x = torch.zeros(mesh.num_vertices, 4, dtype=torch.float64)
    x[:, :2] = torch.from_numpy(rng.normal(size=(mesh.num_vertices, 2)))
    y = torch.empty_like(x)
    y[place] = x
    torch.testing.assert_close(network(3)(y, two)[place], network(3)(x, one), rtol=1e-8, atol=1e-8)


def test_bending_a_sheet_changes_nothing() -> None:
    """Folded along a line of edges: chosen points, cells and a network's answer are intrinsic."""
    flat = flat_sheet(15).vertices
    rows, cols = np.divmod(np.arange(225), 15)
    x, y = flat[:, 0] + 0.45 * flat[:, 1], flat[:, 1]  # sheared: one longest diagonal
    x[cols == 7], y[cols == 7] = rows[cols == 7] + 0.45 * 7, 7.0
    faces = flat_sheet(15).faces
    over = np.maximum(y - 7, 0)
    bent = np.stack([x, y - over + 0.3 * over, math.sqrt(1 - 0.09) * over], axis=1)
    one, two = TriangleMesh(np.stack([x, y, 0 * x], 1), faces), TriangleMesh(bent, faces)
    a, b = one.hierarchy(3), two.hierarchy(3)
    for k in (1, 2):
        assert (vertices_of(one, a.levels[k]) == vertices_of(two, b.levels[k])).all()
        assert torch.equal(a.pools[k - 1].parent, b.pools[k - 1].parent)
    z = torch.zeros(225, 4, dtype=torch.float64)
    z[:, :2] = torch.randn(225, 2, dtype=torch.float64)
    torch.testing.assert_close(network(3)(z, a), network(3)(z, b), rtol=1e-8, atol=1e-8)


def test_close_sheets_are_not_merged() -> None:
    """Two parallel sheets joined along one side: a cluster lies on one of them, but for those round the seam."""
    sheet = bumpy_sheet(20)
    n = sheet.num_vertices
    index = np.arange(n) + n
    index[:20] = np.arange(20)
    points = np.concatenate([sheet.vertices, sheet.vertices + np.array([0, 0, 1e-3])])
    mesh = TriangleMesh(points, np.concatenate([sheet.faces, index[sheet.faces[:, ::-1]]])).repair(isolated="drop")
    level, pool = mesh.hierarchy(2).levels[1], mesh.hierarchy(2).pools[0]
    member, centre = mesh.vertices, level.positions.numpy()[pool.parent]
    across = np.abs((member - centre)[:, 2] - (sheet_height(member) - sheet_height(centre))) > 5e-4
    assert (member[across, 0] < -0.7).all()


def sheet_height(p: np.ndarray) -> np.ndarray:
    return 0.2 * np.sin(3 * p[:, 0]) * np.cos(2 * p[:, 1])


@pytest.mark.parametrize(
    ("name", "transport"),
    [(n, t) for n in [*DEFECTIVE, *ALL] for t in ("levi_civita", "normal_aligning") if n in DEFECTIVE or t[0] == "l"],
)
def test_a_defective_mesh_has_a_valid_hierarchy(name: str, transport: str) -> None:
    mesh = DEFECTIVE[name]() if name in DEFECTIVE else damaged(name)
    hierarchy = mesh.hierarchy(4, ratio=3, transport=transport)
    hierarchy.validate()
    isolated = int((mesh.fans.reference < 0).sum())
    for level in hierarchy.levels:
        assert int((level.dst_ptr.diff() == 0).sum()) >= min(isolated, level.num_vertices)
        assert float(level.areas.sum()) == pytest.approx(mesh.area, rel=1e-9)
    assert hierarchy.levels[3].num_vertices < mesh.num_vertices


def test_components_and_isolated_vertices_stay() -> None:
    mesh = DEFECTIVE["ten_components"]()
    v = np.vstack([mesh.vertices, [[90.0, 0, 0], [91.0, 0, 0]]])
    hierarchy = TriangleMesh(v, mesh.faces).hierarchy(5)
    assert [g.num_vertices for g in hierarchy.levels] == [422, 107, 29, 12, 12]
    body = np.minimum(np.round(hierarchy.levels[4].positions[:, 0].numpy() / 3), 10)
    assert sorted(body) == [*range(10), 10, 10]
    assert hierarchy.levels[3].num_edges == 0
    last = hierarchy.pools[3]
    assert last.parent.tolist() == list(range(12))
    assert not last.log_radius.any()
    assert not last.transporter.any()
    assert float(hierarchy.levels[4].scale[0]) == pytest.approx(math.sqrt(mesh.area / 10))


@pytest.mark.parametrize("extent", [{}, {"rings": 2}, {"radius": 0.2}, {"nearest": 12}])
@pytest.mark.parametrize("transport", ["levi_civita", "normal_aligning"])
def test_the_finest_level_is_the_graph_asked_for(transport: str, extent: dict) -> None:
    mesh = blob()
    near = Neighbourhood(**extent)
    graph, hierarchy = mesh.gauge_graph(near, transport), mesh.hierarchy(2, 4, near, transport)
    for name in ("src", "dst", "log_radius", "log_angle", "transporter", "scale", "frames"):
        assert torch.equal(getattr(hierarchy.levels[0], name), getattr(graph, name))
    assert mesh.hierarchy(1).pools == []
    plain = mesh.hierarchy(2)
    assert torch.equal(plain.levels[1].src, hierarchy.levels[1].src)  # neighbours of the finest level only
    coarse, other = hierarchy.levels[1], plain.levels[1]
    chords = (coarse.positions[other.src] - coarse.positions[other.dst]).norm(dim=1)
    radius = coarse.log_radius
    if transport == "normal_aligning":
        torch.testing.assert_close(radius, chords)
    else:
        assert bool((radius >= chords * (1 - 1e-12)).all())
        assert torch.equal(radius, other.log_radius)


@pytest.mark.parametrize(
    "build", [blob, bumpy_sheet, icosphere, single_triangle, DEFECTIVE["soup"], DEFECTIVE["collapsed_edge"]]
)
def test_both_implementations_agree(build, compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = build().hierarchy(3)
    monkeypatch.setattr(sys.modules[geodesics.__module__], "is_compiled", lambda device: False)
    slow = build().hierarchy(3)
    for a, b in zip([*fast.pools, *fast.levels], [*slow.pools, *slow.levels], strict=True):
        if hasattr(a, "parent"):
            assert torch.equal(a.parent, b.parent)
        else:
            assert torch.equal(a.src, b.src)
            assert torch.equal(a.positions, b.positions)
        torch.testing.assert_close(a.log_radius, b.log_radius, rtol=1e-11, atol=0)
        assert turn(a.log_angle - b.log_angle) < 1e-9
        assert turn(a.transporter - b.transporter) < 1e-9


@pytest.mark.parametrize("name", UNEVEN)
def test_marched_distances_are_nearly_exact(name: str) -> None:
    mesh = UNEVEN[name]()
    surface = surface_of(mesh)
    rank = torch.from_numpy(np.random.default_rng(0).permutation(mesh.num_vertices))
    found = farthest_points(surface, rank, [1, 40])
    first, others = found.points[:1], found.distance[0].nonzero()[:, 0]
    ptr = torch.tensor([0, len(others)])
    cells = geodesic_cells(surface, first, ptr, others, found.distance[0, others], 0.0)
    error = found.distance[0, others] / cells.log_radius - 1
    assert float(error.abs().median()) < 0.005
    assert float(error.abs().quantile(0.99)) < 0.03
    assert float(error.abs().max()) < 0.06
    assert found.distance[1].max() < 0.5 * found.distance[0].max()
    assert bool((found.distance[1] <= found.distance[0] * (1 + 1e-6)).all())


def test_bounds_change_nothing_but_the_time() -> None:
    """Guesses far too low, right, and far too high."""
    mesh = bumpy_sheet()
    surface = surface_of(mesh)
    graph = mesh.gauge_graph(Neighbourhood(radius=100.0))
    target_ptr, centres = graph.dst_ptr, torch.arange(mesh.num_vertices)
    results = [
        geodesic_cells(surface, centres, target_ptr, graph.src, factor * graph.log_radius / mesh.surface.unit, 0.0)
        for factor in (0.0, 0.9, 1.0, 1.5, 100.0)
    ]
    for found in results:
        torch.testing.assert_close(found.log_radius * mesh.surface.unit, graph.log_radius, rtol=1e-12, atol=0)
        assert turn(found.log_angle - graph.log_angle) < 1e-9
        assert turn(found.transporter - graph.transporter) < 1e-9
        assert torch.equal(found.nearest, centres)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_what_cannot_be_reached_is_an_error(is_compiled: bool, compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[geodesics.__module__], "is_compiled", lambda device: is_compiled)
    mesh = DEFECTIVE["isolated_vertices"]()
    one, both = torch.tensor([1]), torch.tensor([0, 1])
    with pytest.raises(RuntimeError, match="not all targets of centre 0 are connected"):
        geodesic_cells(surface_of(mesh), one, both, torch.tensor([0]), torch.ones(1, dtype=torch.float64), 0.1)


def test_more_points_than_vertices_are_an_error(compiled: None) -> None:
    with pytest.raises(RuntimeError, match="163 points of 162 vertices"):
        farthest_points(surface_of(icosphere()), torch.arange(162), [10, 163])


def test_a_triangle_runs_out_of_points() -> None:
    hierarchy = single_triangle().hierarchy(4)
    assert [g.num_vertices for g in hierarchy.levels] == [3, 1, 1, 1]
    assert [g.num_edges for g in hierarchy.levels] == [6, 0, 0, 0]
    assert torch.isfinite(network(4)(torch.randn(3, 4, dtype=torch.float64), hierarchy)).all()


@pytest.mark.parametrize(("levels", "ratio"), [(0, 4), (3, 1), (3, 0.5), (2, math.nan)])
def test_wrong_numbers_are_named(levels: int, ratio: float) -> None:
    with pytest.raises(ValueError, match=f"num_levels >= 1 and ratio > 1, got {levels} and {ratio}"):
        coarsen(icosphere().surface, levels, ratio)


def test_nothing_to_coarsen_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no faces"):
        TriangleMesh(np.eye(3), np.zeros((0, 3), dtype=int), "points").hierarchy(2)
    with pytest.raises(InputError, match="no area"):
        TriangleMesh(np.zeros((3, 3)), np.array([[0, 1, 2]])).hierarchy(2)


def test_a_network_learns_where_on_the_surface_a_point_is() -> None:
    """A label that only a wide view can tell: which half of a torus, from one point marked on each."""
    mesh = torus()
    hierarchy = mesh.hierarchy(4, ratio=3).to(torch.float32)
    x = torch.zeros(mesh.num_vertices, 1)
    height = torch.from_numpy(mesh.vertices[:, 0])
    x[height.argmax()], x[height.argmin()] = 5.0, -5.0
    target = (height > 0).long()
    torch.manual_seed(0)
    model = SphereUNet(FieldType("1x0"), 2, channels=(6, 8, 8, 8), dropout=0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(30):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x, hierarchy), target).backward()
        optimiser.step()
    with torch.no_grad():
        assert float((model(x, hierarchy).argmax(1) == target).float().mean()) > 0.85
