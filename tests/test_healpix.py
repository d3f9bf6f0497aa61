"""HEALPix spheres: neighbours, closed forms against other constructions, nesting."""

from __future__ import annotations

import math
from collections.abc import Iterable

import healpy
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from meshconv import GaugeGraph, HealpixSphere, InputError, Pooling
from meshconv.geometry.sphere.frames import polar_frames, sphere_edges, unit_vectors

SPHERES = [(1, "nest"), (2, "nest"), (8, "nest"), (8, "ring"), (3, "ring"), (6, "ring")]


def wrapped(angle) -> np.ndarray:
    """Distance of angles from 0 modulo 2 pi."""
    return np.abs((np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi)


def numpy_edges(graph: GaugeGraph | Pooling) -> tuple[np.ndarray, ...]:
    return tuple(getattr(graph, k).numpy() for k in ("log_radius", "log_angle", "transporter"))


def transporters_by_rotation(q, q_frames, p, p_frames) -> np.ndarray:
    """Turn the frame at q along the great circle onto p, as a rigid rotation of space, and read off its angle."""
    axis = np.cross(q, p)
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(length, (p * q).sum(1, keepdims=True))
    moved = Rotation.from_rotvec(axis / length * angle).apply(q_frames[:, 0])
    return np.arctan2((moved * p_frames[:, 1]).sum(1), (moved * p_frames[:, 0]).sum(1))


def solid_angle(a, b, c) -> float:
    """Of a spherical triangle; positive if counter-clockwise seen from outside (van Oosterom, Strackee 1983)."""
    return 2 * math.atan2(np.dot(a, np.cross(b, c)), 1 + a @ b + b @ c + c @ a)


def holonomy(graph: GaugeGraph, loop: Iterable[int]) -> float:
    """Angle by which a vector has turned that went round the loop of vertices."""
    loop = list(loop)
    total = 0.0
    for s, d in zip(loop, [*loop[1:], loop[0]], strict=True):
        edge = torch.nonzero((graph.src == s) & (graph.dst == d))
        assert len(edge) == 1
        total += float(graph.transporter[edge])
    return total


@pytest.mark.parametrize(("nside", "order"), SPHERES)
def test_neighbours(nside, order):
    sphere = HealpixSphere(nside, order)
    graph = sphere.gauge_graph()
    graph.validate()
    assert graph.num_vertices == sphere.npix == 12 * nside**2
    valence = torch.bincount(graph.dst_ptr.diff()).tolist()
    if nside > 1:
        assert valence == [0] * 7 + [24, 12 * nside**2 - 24]
    pairs = set(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))
    assert len(pairs) == graph.num_edges
    assert all((d, s) in pairs and s != d for s, d in pairs)
    assert graph.dtype == torch.float64


@pytest.mark.parametrize(("nside", "order"), SPHERES)
def test_points_are_the_pixel_centres(nside, order):
    sphere = HealpixSphere(nside, order)
    xyz = np.stack(healpy.pix2vec(nside, np.arange(sphere.npix), nest=order == "nest"), axis=1)
    np.testing.assert_allclose(sphere.xyz, xyz, atol=1e-14)
    np.testing.assert_allclose(np.cos(sphere.theta), xyz[:, 2], atol=1e-14)
    graph = sphere.gauge_graph()
    np.testing.assert_allclose(graph.positions.numpy(), xyz, atol=1e-14)
    assert math.isclose(float(graph.areas.sum()), 4 * math.pi, rel_tol=1e-14)
    assert np.allclose(graph.scale, math.sqrt(4 * math.pi / sphere.npix), rtol=1e-14)


def test_frames_are_south_east_outward():
    sphere = HealpixSphere(4)
    south, east, outward = sphere.frames.transpose(1, 0, 2)
    np.testing.assert_allclose(outward, sphere.xyz, atol=1e-15)
    north = np.array([0.0, 0.0, 1.0])
    assert (south @ north < 0).all()
    np.testing.assert_allclose(east @ north, 0, atol=1e-15)
    np.testing.assert_allclose(np.cross(south, east), outward, atol=1e-14)
    step = 1e-6
    moved = unit_vectors(sphere.theta, sphere.phi + step) - sphere.xyz
    np.testing.assert_allclose(moved / (step * np.sin(sphere.theta)[:, None]), east, atol=1e-5)


@pytest.mark.parametrize("nside", [1, 2, 8])
def test_ring_and_nest_are_the_same_graph(nside):
    nest, ring = (HealpixSphere(nside, order).gauge_graph() for order in ("nest", "ring"))
    to_ring = torch.from_numpy(healpy.nest2ring(nside, np.arange(12 * nside**2)))
    order = torch.argsort(to_ring[nest.dst] * nest.num_vertices + to_ring[nest.src])
    assert torch.equal(to_ring[nest.dst][order], ring.dst)
    assert torch.equal(to_ring[nest.src][order], ring.src)
    np.testing.assert_allclose(nest.log_radius[order], ring.log_radius, atol=1e-13)
    assert wrapped(nest.log_angle[order] - ring.log_angle).max() < 1e-12
    assert wrapped(nest.transporter[order] - ring.transporter).max() < 1e-12


@pytest.mark.parametrize(("nside", "order"), SPHERES)
def test_radius_is_the_great_circle_distance(nside, order):
    sphere = HealpixSphere(nside, order)
    graph = sphere.gauge_graph()
    s, d = graph.src.numpy(), graph.dst.numpy()
    theta, phi = sphere.theta, sphere.phi
    half = np.sin((theta[s] - theta[d]) / 2) ** 2
    half += np.sin(theta[s]) * np.sin(theta[d]) * np.sin((phi[s] - phi[d]) / 2) ** 2
    np.testing.assert_allclose(graph.log_radius, 2 * np.arcsin(np.sqrt(half)), atol=1e-13)


@pytest.mark.parametrize(("nside", "order"), SPHERES)
def test_exponential_map_of_the_log_map_is_the_neighbour(nside, order):
    graph = HealpixSphere(nside, order).gauge_graph()
    r, a, _ = (t[:, None] for t in numpy_edges(graph))
    e1, e2, n = graph.frames[graph.dst].numpy().transpose(1, 0, 2)
    reached = np.cos(r) * n + np.sin(r) * (np.cos(a) * e1 + np.sin(a) * e2)
    np.testing.assert_allclose(reached, graph.positions[graph.src], atol=1e-14)


@pytest.mark.parametrize(("nside", "order"), SPHERES)
def test_transport_is_the_rotation_along_the_great_circle(nside, order):
    graph = HealpixSphere(nside, order).gauge_graph()
    p, q, frames = graph.positions[graph.dst], graph.positions[graph.src], graph.frames
    expected = transporters_by_rotation(q.numpy(), frames[graph.src].numpy(), p.numpy(), frames[graph.dst].numpy())
    assert wrapped(graph.transporter.numpy() - expected).max() < 1e-12


def test_transport_back_is_the_inverse():
    graph = HealpixSphere(4).gauge_graph()
    back = torch.argsort(graph.src * graph.num_vertices + graph.dst)
    assert torch.equal(graph.src[back], graph.dst)
    assert wrapped(graph.transporter + graph.transporter[back]).max() < 1e-13
    torch.testing.assert_close(graph.log_radius, graph.log_radius[back])


def test_holonomy_of_a_triangle_is_its_solid_angle():
    """Counter-clockwise round positive curvature turns a vector counter-clockwise."""
    graph = HealpixSphere(2).gauge_graph()
    ends = set(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))
    xyz = graph.positions.numpy()
    triangles = [(a, b, c) for a, b in ends if a < b for c in range(b, 48) if {(b, c), (c, a)} <= ends]
    assert len(triangles) > 80
    signs = set()
    for loop in triangles:
        area = solid_angle(*xyz[list(loop)])
        assert wrapped(holonomy(graph, loop) - area) < 1e-12
        assert wrapped(holonomy(graph, loop[::-1]) + area) < 1e-12
        signs.add(area > 0.01)
    assert signs == {True, False}


@pytest.mark.parametrize("ring", [4, 6, 7])
def test_holonomy_round_a_parallel_is_the_area_of_the_cap(ring):
    """East-about a whole ring of pixels: the polygon that contains the north pole."""
    nside = 4
    sphere = HealpixSphere(nside, "ring")
    first = 2 * nside * (nside - 1) + 4 * nside * (ring - nside)
    loop = range(first, first + 4 * nside)
    xyz, pole = sphere.xyz[list(loop)], np.array([0.0, 0.0, 1.0])
    area = 4 * nside * solid_angle(pole, xyz[0], xyz[1])
    assert 2 < area < 2 * math.pi
    assert wrapped(holonomy(sphere.gauge_graph(), loop) - area) < 1e-12


@pytest.mark.parametrize(("nside", "order"), [(4, "nest"), (3, "ring")])
def test_quarter_turn_about_the_axis_permutes_the_graph(nside, order):
    sphere = HealpixSphere(nside, order)
    x, y, z = sphere.xyz.T
    to = torch.from_numpy(healpy.vec2pix(nside, -y, x, z, nest=order == "nest"))
    graph = sphere.gauge_graph()
    assert sorted(to.tolist()) == list(range(sphere.npix)) and (to != torch.arange(sphere.npix)).all()
    moved = torch.argsort(to[graph.dst] * sphere.npix + to[graph.src])
    assert torch.equal(to[graph.src][moved], graph.src)
    assert torch.equal(to[graph.dst][moved], graph.dst)
    for k in ("log_radius", "log_angle", "transporter"):
        assert wrapped(getattr(graph, k)[moved] - getattr(graph, k)).max() < 1e-12


@pytest.mark.parametrize("order", ["nest", "ring"])
def test_hierarchy(order):
    hierarchy = HealpixSphere(8, order).hierarchy(4)
    assert [g.num_vertices for g in hierarchy.levels] == [768, 192, 48, 12]
    assert hierarchy.num_vertices == 768
    for fine, coarse, pool in zip(hierarchy.levels[:-1], hierarchy.levels[1:], hierarchy.pools, strict=True):
        nside = round((coarse.num_vertices / 12) ** 0.5)
        inside = healpy.vec2pix(nside, *fine.positions.numpy().T, nest=order == "nest")
        assert pool.parent.tolist() == inside.tolist()
        assert (pool.child_ptr.diff() == 4).all()
        for c in range(coarse.num_vertices):
            members = pool.child[pool.child_ptr[c] : pool.child_ptr[c + 1]]
            assert members.tolist() == torch.nonzero(pool.parent == c).flatten().tolist()


def test_parents_see_their_children():
    hierarchy = HealpixSphere(4).hierarchy(2)
    (fine, coarse), pool = hierarchy.levels, hierarchy.pools[0]
    r, a, g = numpy_edges(pool)
    q, p = fine.positions.numpy(), coarse.positions[pool.parent].numpy()
    frames = coarse.frames[pool.parent].numpy()
    e1, e2, n = frames.transpose(1, 0, 2)
    direction = np.cos(a)[:, None] * e1 + np.sin(a)[:, None] * e2
    np.testing.assert_allclose(np.cos(r)[:, None] * n + np.sin(r)[:, None] * direction, q, atol=1e-14)
    expected = transporters_by_rotation(q, fine.frames.numpy(), p, frames)
    assert wrapped(g - expected).max() < 1e-12


def test_change_of_gauge_of_a_hierarchy():
    hierarchy = HealpixSphere(4).hierarchy(2)
    alphas = hierarchy.random_gauge(torch.Generator().manual_seed(1))
    turned = hierarchy.change_gauge(alphas)
    pool, before = turned.pools[0], hierarchy.pools[0]
    change = alphas[0] - alphas[1][pool.parent]
    assert wrapped(pool.transporter - before.transporter - change).max() < 1e-13
    assert wrapped(pool.log_angle - before.log_angle + alphas[1][pool.parent]).max() < 1e-13
    fine, coarse = turned.levels[0].frames.numpy(), turned.levels[1].frames[pool.parent].numpy()
    expected = transporters_by_rotation(fine[:, 2], fine, coarse[:, 2], coarse)
    assert wrapped(pool.transporter.numpy() - expected).max() < 1e-12


def test_hierarchy_to_casts_every_level():
    single = HealpixSphere(2).hierarchy(2).to(torch.float32)
    assert {g.dtype for g in single.levels} == {torch.float32}
    assert single.pools[0].transporter.dtype == torch.float32
    assert single.pools[0].parent.dtype == torch.int64


def test_levels_and_pools_have_to_fit():
    hierarchy = HealpixSphere(4).hierarchy(3)
    with pytest.raises(ValueError, match=r"levels have \[192, 12\] vertices, but poolings map \[\(192, 48\)\]"):
        type(hierarchy)([hierarchy.levels[0], hierarchy.levels[2]], hierarchy.pools[:1])


@pytest.mark.parametrize("parent", [[0, 0, 2], [0, 1, 3]])
def test_clusters_without_members_are_errors(parent):
    with pytest.raises(ValueError, match=r"do not cover 0\.\.2"):
        Pooling.from_parents(parent, 3, *[[0.0] * 3] * 3)


@pytest.mark.parametrize(
    ("nside", "order", "message"),
    [
        (0, "nest", "nside 0 is not a positive integer"),
        (-2, "ring", "nside -2 is not a positive integer"),
        (1.5, "ring", r"nside 1\.5 is not a positive integer"),
        (3, "nest", "nside 3 is not a power of two.*pixel_order='ring'"),
        (4, "nested", "pixel_order 'nested' is not known; use 'nest' or 'ring'"),
    ],
)
def test_bad_spheres(nside, order, message):
    with pytest.raises(InputError, match=message):
        HealpixSphere(nside, order)


@pytest.mark.parametrize("npix", [-12, 0, 1, 13, 767, 10**6])
def test_bad_pixel_counts(npix):
    with pytest.raises(InputError, match=f"^{npix} pixels are not 12 nside"):
        HealpixSphere.from_pixel_count(npix)


@pytest.mark.parametrize("nside", [1, 4, 64])
def test_good_pixel_counts(nside):
    assert HealpixSphere.from_pixel_count(12 * nside**2).nside == nside


@pytest.mark.parametrize(("nside", "order", "levels"), [(4, "nest", 4), (4, "nest", 0), (6, "ring", 2)])
def test_bad_hierarchies(nside, order, levels):
    with pytest.raises(InputError, match=f"nside {nside} has no {levels} nested levels"):
        HealpixSphere(nside, order).hierarchy(levels)


def test_coincident_points_have_radius_and_angle_zero():
    rng = np.random.default_rng(0)
    theta, phi = np.arccos(rng.uniform(-1, 1, 500)), rng.uniform(0, 6, 500)
    points, frames, same = unit_vectors(theta, phi), polar_frames(theta, phi), np.arange(500)
    radius, angle, transporter = sphere_edges(points, frames, points, frames, same, same)
    assert not radius.any() and not angle.any()
    assert np.abs(transporter).max() < 1e-14


def test_nearby_points_keep_their_digits():
    """An arccosine would lose half of them: 1e-9 would come out as 0."""
    step = 1e-9
    points = unit_vectors(np.array([1.0, 1.0 + step]), np.array([0.5, 0.5]))
    frames = polar_frames(np.array([1.0, 1.0 + step]), np.array([0.5, 0.5]))
    radius, angle, _ = sphere_edges(points, frames, points, frames, np.array([1]), np.array([0]))
    assert abs(radius[0] / step - 1) < 1e-6
    assert abs(angle[0]) < 1e-6  # towards the south


def test_antipodal_points_are_an_error():
    points = np.array([[0.0, 0.6, 0.8], [0.0, -0.6, -0.8]])
    frames = np.broadcast_to(np.eye(3), (2, 3, 3))
    with pytest.raises(ValueError, match="points 1 and 0 are antipodal"):
        sphere_edges(points, frames, points, frames, np.array([1]), np.array([0]))
