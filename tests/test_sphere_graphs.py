"""Graphs of a geodesic radius on spheres, hierarchies of any points, and parts of both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from meshconv import GaugeGraph, HealpixSphere, Hierarchy, InputError
from meshconv.geometry import PointSphere, icosahedral_sphere
from meshconv.models import SphereUNet
from meshconv.testing import gauge_equivariance_error


def scattered(count: int = 800, seed: int = 0) -> PointSphere:
    return PointSphere(np.random.default_rng(seed).normal(size=(count, 3)))


SPHERES = {
    "nest": lambda: HealpixSphere(8),
    "ring": lambda: HealpixSphere(7, "ring"),
    "icosahedral": lambda: icosahedral_sphere(3),
    "scattered": scattered,
}


@pytest.mark.parametrize("name", SPHERES)
@pytest.mark.parametrize("radius", [0.2, 0.45, 2.0])
def test_all_points_within_the_radius(name, radius, monkeypatch):
    """Against all pairs; log map by its inverse, transport by turning space about the great circle's axis."""
    monkeypatch.setattr("meshconv.geometry.sphere.graph._BLOCK", 100)
    sphere = SPHERES[name]()
    graph = sphere.gauge_graph(radius=radius)
    graph.validate()
    angle = np.arccos(np.clip(sphere.xyz @ sphere.xyz.T, -1, 1))
    np.fill_diagonal(angle, np.inf)
    dst, src = np.nonzero(angle <= radius)
    assert np.array_equal(graph.dst, dst) and np.array_equal(graph.src, src)
    assert float(graph.scale[0]) == radius / 2
    r, a, g = (t.numpy() for t in (graph.log_radius, graph.log_angle, graph.transporter))
    e1, e2, p = sphere.frames[dst].transpose(1, 0, 2)
    tangent = np.cos(a)[:, None] * e1 + np.sin(a)[:, None] * e2
    reached = np.cos(r)[:, None] * p + np.sin(r)[:, None] * tangent
    np.testing.assert_allclose(reached, sphere.xyz[src], atol=1e-12)
    axis = np.cross(sphere.xyz[src], p) / np.sin(r)[:, None]
    v = sphere.frames[src, 0]
    turned = (v * np.cos(r)[:, None] + np.cross(axis, v) * np.sin(r)[:, None]
              + axis * ((axis * v).sum(1) * (1 - np.cos(r)))[:, None])  # fmt: skip
    np.testing.assert_allclose(np.cos(g)[:, None] * e1 + np.sin(g)[:, None] * e2, turned, atol=1e-10)


@pytest.mark.parametrize("radius", [0.0, -1.0, 3.2, float("nan")])
def test_bad_radius(radius):
    for sphere in (HealpixSphere(2), icosahedral_sphere(1)):
        with pytest.raises(ValueError, match="is not between 0 and pi"):
            sphere.gauge_graph(radius=radius)


def test_neighbours_of_a_radius_are_evenly_spread():
    """What they are for: of the eight neighbours those on some sides are nearer, of the others they are not."""
    sphere = HealpixSphere(32)
    lopsided = []
    for graph in (sphere.gauge_graph(), sphere.gauge_graph(radius=3.5 * sphere.spacing)):
        step = graph.log_radius / sphere.spacing
        sums = [torch.zeros(sphere.npix, dtype=torch.float64).index_add_(0, graph.dst, step**2 * f(2 * graph.log_angle))
                for f in (torch.cos, torch.sin, torch.ones_like)]  # fmt: skip
        lopsided.append(float((torch.hypot(sums[0], sums[1]) / sums[2]).mean()))
    assert lopsided[1] < 0.5 * lopsided[0]


COST = """
import time
from meshconv import HealpixSphere
for nside in (64, 256):
    sphere = HealpixSphere(nside)
    start = time.process_time()
    edges = sphere.gauge_graph(radius=2.5 * sphere.spacing).num_edges
    print(time.process_time() - start, edges / sphere.npix)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1], 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_cost_is_linear_and_nside_256_fits():
    """In a process of its own, whose peak memory is that of these graphs; the larger one itself has 0.8 GB."""
    said = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, check=True).stdout
    (small, few), (large, many), (kilobytes, _) = ([float(n) for n in line.split()] for line in said.splitlines())
    assert 19 < many < 20 and 19 < few < 20
    assert large < 16 * small * 2.5
    assert kilobytes < 3e6


HIERARCHIES = {
    "healpix": lambda: HealpixSphere(8).hierarchy(3),
    "healpix, radius": lambda: HealpixSphere(8).hierarchy(3, radius=0.3),
    "icosahedral": lambda: icosahedral_sphere(3).hierarchy(3),
    "icosahedral, radius": lambda: icosahedral_sphere(3).hierarchy(3, radius=0.3),
    "scattered": lambda: scattered().hierarchy(3),
    "region": lambda: PointSphere(scattered(6000).xyz[scattered(6000).xyz[:, 2] > 0.6]).hierarchy(3),
}


@pytest.mark.parametrize("name", HIERARCHIES)
def test_hierarchies(name):
    hierarchy = HIERARCHIES[name]()
    hierarchy.validate()
    for pool, fine, coarse in zip(hierarchy.pools, hierarchy.levels[:-1], hierarchy.levels[1:], strict=True):
        assert 3.4 < fine.num_vertices / coarse.num_vertices < 5
        assert float(coarse.areas.sum()) == pytest.approx(float(fine.areas.sum()), rel=1e-12)
        assert float(coarse.scale[0] / fine.scale[0]) == pytest.approx(2, rel=0.1)
        # Closed form: from the parent, along the log map, lies the child.
        e1, e2, p = coarse.frames[pool.parent].unbind(1)
        tangent = torch.cos(pool.log_angle)[:, None] * e1 + torch.sin(pool.log_angle)[:, None] * e2
        reached = torch.cos(pool.log_radius)[:, None] * p + torch.sin(pool.log_radius)[:, None] * tangent
        torch.testing.assert_close(reached, fine.positions, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", HIERARCHIES)
def test_unet_on_any_points(name):
    """Gauge equivariant, whole and in part."""
    hierarchy = HIERARCHIES[name]()
    torch.manual_seed(0)
    network = SphereUNet("2x0 + 1x1", 3, channels=(4, 4, 4), width=8).double().eval()
    part = hierarchy.subset(hierarchy.levels[0].positions[:, 0] > 0)
    for surface in (hierarchy, part):
        x = torch.randn(1, surface.num_vertices, 4, dtype=torch.float64)
        assert network(x, surface).shape == (1, surface.num_vertices, 3)
        assert gauge_equivariance_error(network, surface, x=x, samples=1) < 1e-12


def test_icosahedral_levels_are_the_spheres_it_came_from():
    hierarchy = icosahedral_sphere(4).hierarchy(5)
    for level, graph in enumerate(hierarchy.levels):
        np.testing.assert_array_equal(graph.positions, icosahedral_sphere(4 - level).xyz)
    size = hierarchy.pools[0].child_ptr.diff()
    assert float((size == 4).double().mean()) > 0.8 and int(size.max()) <= 7
    with pytest.raises(InputError, match="2562 points have no 6 levels: 0 are left on level 5; use 5 levels"):
        icosahedral_sphere(4).hierarchy(6)


def test_coarse_points_are_spread_and_do_not_depend_on_the_numbering():
    cloud, shuffled = np.random.default_rng(0).normal(size=(2000, 3)), np.random.default_rng(1).permutation(2000)
    sphere = PointSphere(cloud)
    hierarchy, other = sphere.hierarchy(2), PointSphere(cloud[shuffled]).hierarchy(2)
    rows = [{tuple(p) for p in h.levels[1].positions.tolist()} for h in (hierarchy, other)]
    assert rows[0] == rows[1]
    kept = np.zeros(2000, dtype=bool)
    kept[sphere.locate(hierarchy.levels[1].positions.numpy())] = True
    assert kept.sum() == len(rows[0])
    graph = sphere.gauge_graph()
    assert not (kept[graph.src] & kept[graph.dst]).any()
    beside = np.zeros(2000, dtype=bool)
    beside[graph.dst[torch.from_numpy(kept)[graph.src]]] = True
    assert (kept | beside).all()


def test_refined_regions_stay_refined():
    """Where points are ten times as dense the coarse ones are, too."""
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(40000, 3))
    cloud /= np.linalg.norm(cloud, axis=1, keepdims=True)
    dense = cloud[:, 2] > 0.7
    sphere = PointSphere(cloud[dense | (rng.random(40000) < 0.1)])
    levels = sphere.hierarchy(3).levels
    share = [float((g.positions[:, 2] > 0.7).double().mean()) for g in levels]
    assert share[0] > 0.6 and abs(share[2] - share[0]) < 0.05


def brute_subset(graph: GaugeGraph, mask: torch.Tensor) -> list[tuple]:
    index = mask.nonzero()[:, 0].tolist()
    columns = (graph.dst, graph.src, graph.log_radius, graph.log_angle, graph.transporter)
    rows = zip(*(c.tolist() for c in columns), strict=True)
    return [(index.index(d), index.index(s), *rest) for d, s, *rest in rows if mask[d] and mask[s]]


@pytest.mark.parametrize("build", [lambda: HealpixSphere(4).gauge_graph(), lambda: scattered(100).gauge_graph(0.5)])
def test_subset_of_a_graph(build):
    graph = build()
    mask = graph.positions[:, 1] > -0.3
    part = graph.subset(mask)
    part.validate()
    columns = (part.dst, part.src, part.log_radius, part.log_angle, part.transporter)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == brute_subset(graph, mask)
    for name in ("positions", "frames", "areas", "scale"):
        assert torch.equal(getattr(part, name), getattr(graph, name)[mask])
    whole = graph.subset(torch.ones_like(mask))
    assert torch.equal(whole.src_edge, graph.src_edge) and torch.equal(whole.src, graph.src)
    nothing = graph.subset(torch.zeros_like(mask))
    nothing.validate()
    assert (nothing.num_vertices, nothing.num_edges) == (0, 0)


def test_subset_of_a_batch_is_the_batch_of_subsets():
    graphs = [HealpixSphere(2).gauge_graph(), scattered(60).gauge_graph(), HealpixSphere(1).gauge_graph()]
    masks = [g.positions[:, 0] > 0.2 for g in graphs]
    part = GaugeGraph.batch(graphs).subset(torch.cat(masks))
    wanted = GaugeGraph.batch([g.subset(m) for g, m in zip(graphs, masks, strict=True)])
    for name in ("src", "dst", "dst_ptr", "src_ptr", "src_edge", "graph_ptr", "transporter", "positions"):
        assert torch.equal(getattr(part, name), getattr(wanted, name))


@pytest.mark.parametrize("name", HIERARCHIES)
def test_subset_of_a_hierarchy(name):
    hierarchy: Hierarchy = HIERARCHIES[name]()
    mask = hierarchy.levels[0].positions[:, 0] > 0.1
    part = hierarchy.subset(mask)
    part.validate()
    for k, pool in enumerate(hierarchy.pools):
        parents = torch.zeros(pool.num_coarse, dtype=torch.bool)
        parents[pool.parent[mask]] = True
        assert torch.equal(part.levels[k + 1].positions, hierarchy.levels[k + 1].positions[parents])
        assert torch.equal(part.pools[k].log_radius, pool.log_radius[mask])
        mask = parents
        own = hierarchy.levels[k + 1].positions[parents][part.pools[k].parent]
        before = hierarchy.levels[k + 1].positions[pool.parent]
        assert {tuple(p) for p in own.tolist()} <= {tuple(p) for p in before.tolist()}
        assert float(part.levels[k + 1].areas.sum()) == pytest.approx(float(part.levels[0].areas.sum()))


def test_far_from_its_rim_a_part_gives_what_the_whole_gives():
    hierarchy = HealpixSphere(32).hierarchy(2)
    torch.manual_seed(0)
    network = SphereUNet("1x0", 2, channels=(3, 3), width=8).double().eval()
    mask = hierarchy.levels[0].positions[:, 2] > -0.2
    x = torch.randn(1, hierarchy.num_vertices, 1, dtype=torch.float64)
    whole, part = network(x, hierarchy), network(x[:, mask], hierarchy.subset(mask))
    inner = hierarchy.levels[0].positions[mask][:, 2] > 0.85
    torch.testing.assert_close(part[0, inner], whole[0, mask][inner])


@pytest.mark.parametrize("mask", [torch.ones(5, dtype=torch.bool), torch.ones(48, dtype=torch.int64)])
def test_bad_mask(mask):
    with pytest.raises(ValueError, match=r"mask is .*, expected bool \(48,\)"):
        HealpixSphere(2).hierarchy(2).subset(mask)
