"""Convolutions against the integrals that they stand for, on the sphere: what falls with the distance of the points."""

from __future__ import annotations

import math
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from meshconv import GaugeGraph, HealpixSphere, Neighbourhood, Pooling, TriangleMesh
from meshconv.models import SphereUNet
from meshconv.nn import ClusterPool, DepthwiseGaugeConv, GaugeAttention, GaugeConv, GaugeMessage
from meshconv.testing import assert_gauge_equivariant

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from discretisation import healpix, icosphere, layer_errors, scattered, torus_errors, turned_error


@pytest.mark.parametrize("field_type", ["1x0 + 1x1", "1x0 + 1x1 + 1x2"])
def test_quadrature_converges_with_the_square_of_the_distance(field_type):
    coarse, fine = (layer_errors(healpix(n), field_type, aggregation="quadrature") for n in (8, 16))
    assert fine.max() < 0.01
    assert (fine < coarse / 3).all()


@pytest.mark.parametrize("options", [{"aggregation": "area", "radial": "smooth"}, {"aggregation": "mean"}])
def test_other_sums_do_not_converge(options):
    """The negative control: the error of areas alone, or of counts, stays; quadrature has a tenth of it at most."""
    coarse, fine = (layer_errors(healpix(n), "1x0 + 1x1", **options) for n in (8, 16))
    assert (fine > 0.7 * coarse).all()
    assert (layer_errors(healpix(16), "1x0 + 1x1", aggregation="quadrature") < 0.1 * fine).all()


def test_quadrature_on_scattered_points():
    coarse, fine = (layer_errors(scattered(n), "1x0 + 1x1", aggregation="quadrature") for n in (640, 2560))
    assert fine.max() < 0.01
    assert (fine < coarse / 2).all()


def test_quadrature_on_an_icosphere():
    coarse, fine = (layer_errors(icosphere(n), "1x0 + 1x1 + 1x2", aggregation="quadrature") for n in (3, 4))
    assert fine.max() < 0.01
    assert (fine < coarse / 3).all()


@pytest.mark.slow
def test_quadrature_on_a_bumpy_torus():
    """Against the layer with the same radius on a mesh twice as fine."""
    coarse, fine = (torus_errors(n, 2, ways=["quadrature"])["quadrature"] for n in (24, 48))
    assert fine[0] < coarse[0] / 1.8 and fine[1] < coarse[1] / 2.5
    assert max(fine) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("field_type", "reach", "most"), [("1x0 + 1x1", 2.7, 0.003), ("1x0 + 1x1 + 1x2", 3.2, 0.01)])
def test_quadrature_at_nside_32(field_type, reach, most):
    assert layer_errors(healpix(32, reach), field_type, aggregation="quadrature").max() < most


def test_quadrature_in_any_gauge():
    conv = GaugeConv("2x0 + 2x1 + 1x2", "2x0 + 2x1 + 1x2", aggregation="quadrature")
    assert_gauge_equivariant(conv, healpix(4))
    hierarchy = HealpixSphere(8).hierarchy(2, 2.4 * float(HealpixSphere(8).areas[0]) ** 0.5)
    assert_gauge_equivariant(SphereUNet("2x0 + 1x1", 3, channels=(4, 6), aggregation="quadrature").eval(), hierarchy)


def linear_on_a_plane() -> tuple[Pooling, Tensor, Tensor]:
    """Irregular clusters of a plane, and a linear field at their points and centres."""
    rng = np.random.default_rng(0)
    parent = np.repeat(np.arange(50), 6)
    turn = np.tile(np.arange(6) * math.pi / 3, 50)
    offset = np.stack([np.cos(turn), np.sin(turn)], 1) + 0.4 * rng.normal(size=(300, 2))
    radius, angle = np.linalg.norm(offset, axis=1), np.arctan2(offset[:, 1], offset[:, 0])
    pooling = Pooling.from_parents(parent, 50, radius, angle, np.zeros(300))
    slope, value = torch.from_numpy(rng.normal(size=(50, 2))), torch.from_numpy(rng.normal(size=50))
    fine = value[parent] + (slope[parent] * torch.from_numpy(offset)).sum(-1)
    return pooling, fine[:, None], value[:, None]


def test_centred_means_meet_linear_fields_where_the_centre_lies_inside():
    pooling, fine, value = linear_on_a_plane()
    found = ClusterPool("1x0", centred=True)(fine, pooling)
    exact = (found - value).abs()[:, 0] < 1e-9
    assert exact.double().mean() > 0.8
    # Elsewhere no weight is negative: the mean stays among the values.
    low, high = (
        torch.full_like(value[:, 0], s * math.inf).scatter_reduce(0, pooling.parent, fine[:, 0], op)
        for s, op in ((1, "amin"), (-1, "amax"))
    )
    assert (found[:, 0] >= low - 1e-9).all() and (found[:, 0] <= high + 1e-9).all()
    plain = ClusterPool("1x0")(fine, pooling)
    assert (found - value).norm() < 0.5 * (plain - value).norm()


def test_centred_means_of_lines_points_and_coincident_points():
    """Where the first moment cannot be made zero in all directions weights stay finite, positive and sum to one."""
    parent, radius = [0, 0, 1, 2, 2, 2], [1.0, 2.0, 0.5, 0.0, 0.0, 0.0]
    pooling = Pooling.from_parents(parent, 3, radius, [0.0, math.pi, 1.0, 0.0, 0.0, 0.0], [0.0] * 6)
    fine = torch.tensor([1.0, 4.0, 7.0, 1.0, 2.0, 3.0], dtype=torch.float64)[:, None]
    found = ClusterPool("1x0", centred=True)(fine, pooling)
    assert torch.allclose(found[:, 0], torch.tensor([2.0, 7.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize(("levels", "most"), [(1, 0.001), (2, 0.005), (3, 0.04)])
def test_whole_networks_turn_with_the_sphere(levels, most):
    found = turned_error(levels, "quadrature")
    assert found < most
    assert turned_error(levels, "mean") > 3 * found


def test_depthwise_quadrature_is_that_of_the_dense_layer():
    """With one channel and no mixing afterwards both are the same layer."""
    graph, types = healpix(4), ("1x0 + 1x1", "1x0 + 1x1")
    dense = GaugeConv(*types, self_interaction=False, bias=False, aggregation="quadrature").double()
    depthwise = DepthwiseGaugeConv(*types, self_interaction=False, bias=False, aggregation="quadrature").double()
    x = torch.randn(graph.num_vertices, 3, dtype=torch.float64)
    with torch.no_grad():
        depthwise.weight.copy_(dense.weight[:, None])
        for weight in depthwise.pointwise.weights.values():
            weight.zero_()
            weight[(0,) * weight.dim()] = 1.0
        assert torch.allclose(depthwise(x, graph), dense(x, graph), atol=1e-12)


def test_messages_by_quadrature():
    message = GaugeMessage("2x0 + 2x1", "2x0 + 2x1", aggregation="quadrature")
    assert_gauge_equivariant(message, healpix(4))
    graph, x = healpix(4), torch.randn(192, 6, dtype=torch.float64)
    message.double()
    assert message.quadrature is not None
    weight = message.quadrature(graph).edges[:, 0]
    # The neighbours stand for the whole disc, over which the integral of the window is a third of the disc.
    total = torch.zeros(192, dtype=torch.float64).index_add(0, graph.dst, weight)
    assert torch.allclose(total, torch.full_like(total, 1 / 3), rtol=1e-6)
    assert torch.isfinite(message(x, graph)).all()


@pytest.mark.parametrize("kind", ["2x0 + 2x1", "O(2): 2x0 + 1x0- + 2x1"])
def test_attention_by_quadrature(kind):
    """Equal logits leave a convolution whose neighbours have the window's weights; a constant field keeps its value."""
    attention = GaugeAttention(kind, kind, heads=2, aggregation="quadrature", num_radial=1, self_interaction=False)
    attention.double()
    assert_gauge_equivariant(attention, healpix(4))
    graph = healpix(8)
    with torch.no_grad():
        for parameter in attention.logits.parameters():
            parameter.zero_()
    weights = attention.attention(torch.zeros(graph.num_vertices, attention.in_type.dim, dtype=torch.float64), graph)
    sums = torch.zeros(graph.num_vertices, 2, dtype=torch.float64).index_add(0, graph.dst, weights)
    assert torch.allclose(sums, torch.ones_like(sums)) and (weights >= 0).all()
    # The first moment is that of the disc: linear functions about a point have their value there.
    offset = graph.log_radius * torch.exp(1j * graph.log_angle)
    moment = torch.zeros(graph.num_vertices, dtype=torch.complex128).index_add(0, graph.dst, offset * weights[:, 0])
    assert moment.abs().median() < 1e-6 * graph.log_radius.max()


def counted(graph: GaugeGraph, **options: object) -> int:
    """Points of a graph that keep the weights of areas."""
    conv = GaugeConv("1x0 + 1x1", "1x0 + 1x1", aggregation="quadrature", **options)
    assert conv.quadrature is not None
    return int((conv.quadrature(graph).residual >= 1).any(1).sum())


def test_boundaries_have_the_weights_of_areas():
    """Of half a sphere, points at the rim take the mean over what is there: a constant keeps its value."""
    graph = healpix(8)
    half = graph.subset(graph.positions[:, 2] > 0)
    conv = GaugeConv("1x0", "1x0", self_interaction=False, bias=False, aggregation="quadrature", num_radial=1).double()
    assert conv.quadrature is not None
    measure = conv.quadrature(half)
    rim = measure.residual[:, 0] >= 1
    assert rim.any() and (half.positions[rim, 2] < 0.4).all() and not rim.all()
    share = measure.edges[rim[half.dst], 0]
    reach = conv.cutoff * half.scale[0]
    bump = (1 - (half.log_radius / reach).square()).square()
    areas = torch.zeros(half.num_vertices, dtype=torch.float64).index_add(0, half.dst, half.areas[half.src])
    wanted = (half.areas[half.src] * bump / (areas + half.areas)[half.dst])[rim[half.dst]]
    assert torch.allclose(share, wanted)


def sheet(kind: str, n: int = 20) -> tuple[np.ndarray, TriangleMesh]:
    """Scattered points of the unit square, and a mesh of it: flat, folded at a right angle, or with slivers."""
    rng = np.random.default_rng(0)
    p = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij"), axis=-1).reshape(-1, 2)
    inner = ((p > 0) & (p < 1)).all(axis=1)
    p[inner] += rng.uniform(-0.3, 0.3, (inner.sum(), 2)) / n
    if kind == "slivers":
        p = np.concatenate([p, p[inner][::5] + 0.01 / n * rng.normal(size=(len(p[inner][::5]), 2))])
    fold = 0.5 if kind == "folded" else 2.0
    p[np.abs(p[:, 0] - fold) < 0.5 / n, 0] = fold
    v = np.stack([np.minimum(p[:, 0], fold), p[:, 1], np.maximum(p[:, 0] - fold, 0)], axis=1)
    return p, TriangleMesh(v, Delaunay(p).simplices).repair()


@pytest.mark.parametrize("kind", ["flat", "folded", "slivers"])
def test_quadrature_is_not_worse_than_areas(kind):
    """Integrals over discs in the plane, across its rim too, of a smooth function; one radial function each."""
    p, mesh = sheet(kind)
    graph = mesh.gauge_graph(Neighbourhood(radius=3.2 / 20))
    assert graph.num_vertices == len(p)
    conv = GaugeConv("1x0 + 1x1", "1x0 + 1x1", aggregation="quadrature").double()
    rule, reach, (src, dst) = conv.quadrature, float(conv.cutoff * graph.scale[0]), (graph.src, graph.dst)
    assert rule is not None
    measure, points = rule(graph), torch.from_numpy(p)

    def function(x: Tensor) -> Tensor:
        return torch.sin(3 * x[..., 0] + 1) + torch.cos(4 * x[..., 1] - x[..., 0])

    def total(edges: Tensor) -> Tensor:
        return torch.zeros(len(p), 2, dtype=torch.float64).index_add(0, dst, edges)

    nodes, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(20))
    t, turn = (nodes + 1) / 2, 2 * math.pi * torch.arange(40).double() / 40
    ring = torch.stack([turn.cos(), turn.sin()], dim=-1)
    mean = function(points[:, None, None] + reach * t[:, None, None] * ring).mean(2)  # over circles
    wanted = mean @ (conv.radial(t) * (weight * t)[:, None])
    areas, relative = graph.areas[src][:, None], (graph.log_radius / reach).clamp(max=1)
    own = conv.radial(torch.zeros(1, dtype=torch.float64))
    there = graph.areas[:, None] + total(areas.expand(-1, 2) * (relative < 1)[:, None])
    f = function(points)[:, None]
    by_areas = (total(areas * conv.radial(relative) * f[src]) + graph.areas[:, None] * own * f) / there
    found = total(measure.edges * f[src])
    found[:, : len(measure.centre)] += torch.stack(measure.centre, dim=1) * f
    error, of_areas = (found - wanted).abs(), (by_areas - wanted).abs()
    left_out = measure.residual >= 1
    assert torch.allclose(found[left_out], by_areas[left_out], atol=1e-12)
    rim = torch.from_numpy(np.minimum(p, 1 - p).min(axis=1) < reach)
    for where in (rim, ~rim):
        assert (error[where].norm(dim=0) < of_areas[where].norm(dim=0)).all()
    assert (error[~rim].norm(dim=0) < 0.2 * of_areas[~rim].norm(dim=0)).all()
    assert float((error - of_areas).max()) < 0.01 * float(f.abs().max())


def test_points_without_neighbours_area_or_distance():
    """Isolated points, zero areas and coincident points: finite numbers, counted."""
    graph = healpix(2)
    assert counted(graph) < graph.num_vertices
    alone = graph.subset(torch.arange(graph.num_vertices) % 40 == 0)
    assert counted(alone) == alone.num_vertices
    for change in ({"areas": torch.zeros_like(graph.areas)}, {"log_radius": torch.zeros_like(graph.log_radius)},
                   {"log_radius": 10 * graph.log_radius}):  # fmt: skip
        broken = replace(graph, **change)
        assert counted(broken) == graph.num_vertices
        for layer in (GaugeConv, DepthwiseGaugeConv, GaugeAttention, GaugeMessage):
            module = layer("2x0 + 2x1", "2x0 + 2x1", aggregation="quadrature").double()
            assert torch.isfinite(module(torch.randn(graph.num_vertices, 6, dtype=torch.float64), broken)).all()


def test_few_matched_points_are_reported_once(caplog):
    graph = healpix(4)
    thin = graph.subset(graph.positions[:, 2].abs() < 0.2)
    for _ in range(2):
        counted(thin, cutoff=2.001)
        thin = replace(thin)
    (record,) = [r for r in caplog.records if "quadrature" in r.message]
    assert "points have too few neighbours" in record.message


def test_weights_of_a_batch_are_those_of_its_parts():
    """They are computed once for each part, and follow copies; a changed graph has its own."""
    parts = [healpix(2), healpix(4)]
    batch = GaugeGraph.batch(parts)
    conv = GaugeConv("1x0 + 1x1", "1x0 + 1x1", aggregation="quadrature").double()
    rule = conv.quadrature
    assert rule is not None
    assert torch.equal(rule(batch).edges, torch.cat([rule(part).edges for part in parts]))
    assert [part.num_vertices for part in batch.parts] == [48, 192]
    alone = replace(batch)
    assert alone.parts == () and torch.allclose(rule(alone).edges, rule(batch).edges)
    read = pickle.loads(pickle.dumps(batch))
    assert read.parts == () and torch.equal(read.src, batch.src)
    assert batch.to(torch.float32).parts == () and batch.to(torch.float64) is batch
    x = torch.randn(batch.num_vertices, 3, dtype=torch.float64)
    assert torch.allclose(conv(x, batch)[:48], conv(x[:48], parts[0]))


def test_what_quadrature_refuses():
    with pytest.raises(ValueError, match="without parameters"):
        GaugeConv("1x0", "1x0", aggregation="quadrature", radial="network")
    with pytest.raises(ValueError, match="'mean', 'sum', 'area', 'quadrature'"):
        GaugeConv("1x0", "1x0", aggregation="max")
