"""The gauge graph: indexing, changes of gauge, batches, validation."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from meshconv import FieldType, GaugeGraph, HealpixSphere
from meshconv.geometry.graph.gauge_graph import wrap_angle

EDGES = ("log_radius", "log_angle", "transporter")
POINTS = ("frames", "positions", "areas", "scale")


def same(a: GaugeGraph, b: GaugeGraph) -> bool:
    """Equal bit for bit."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(GaugeGraph)]
    return all(p is q if p is None or q is None else torch.equal(p, q) for p, q in pairs)


def rebuilt(graph: GaugeGraph, order: Tensor) -> GaugeGraph:
    """The same graph from its edges in another order."""
    edges = (getattr(graph, k)[order] for k in ("src", "dst", *EDGES))
    return GaugeGraph.from_edges(*edges, **{k: getattr(graph, k) for k in POINTS})


def assert_angles_close(a: Tensor, b: Tensor, tolerance: float = 1e-13) -> None:
    assert float(wrap_angle(a - b).abs().max()) < tolerance


@pytest.fixture
def alpha(sphere) -> Tensor:
    return sphere.random_gauge(torch.Generator().manual_seed(3))


@pytest.mark.parametrize("seed", range(3))
def test_order_of_edges_does_not_matter(sphere, seed):
    order = torch.randperm(sphere.num_edges, generator=torch.Generator().manual_seed(seed))
    again = rebuilt(sphere, order)
    for name in ("src", "dst", "dst_ptr", "src_ptr", "src_edge", "log_radius"):
        assert torch.equal(getattr(again, name), getattr(sphere, name))
    assert_angles_close(again.log_angle, sphere.log_angle)
    assert_angles_close(again.transporter, sphere.transporter)


def test_both_directions_are_indexed(random_graph):
    graph = random_graph(20, 60)
    for v in range(20):
        into = range(int(graph.dst_ptr[v]), int(graph.dst_ptr[v + 1]))
        assert list(into) == torch.nonzero(graph.dst == v).flatten().tolist()
        out = graph.src_edge[graph.src_ptr[v] : graph.src_ptr[v + 1]]
        assert out.tolist() == torch.nonzero(graph.src == v).flatten().tolist()


def test_edges_keep_their_geometry():
    """Sorting moves radius, angle and transporter with their edge."""
    eye = torch.eye(3, dtype=torch.float64).expand(3, 3, 3)
    graph = GaugeGraph.from_edges(
        [0, 1, 2, 0], [2, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], [1.1, 1.2, 1.3, 1.4], [2.1, 2.2, 2.3, 2.4],
        frames=eye, positions=torch.zeros(3, 3, dtype=torch.float64), areas=[1, 2, 3], scale=0.5,
    )  # fmt: skip
    assert graph.src.tolist() == [1, 0, 2, 0]
    assert graph.dst.tolist() == [0, 1, 1, 2]
    assert graph.log_radius.tolist() == [0.2, 0.4, 0.3, 0.1]
    assert_angles_close(graph.log_angle, torch.tensor([1.2, 1.4, 1.3, 1.1]), 1e-7)
    assert_angles_close(graph.transporter, torch.tensor([2.2, 2.4, 2.3, 2.1]), 1e-7)
    assert graph.scale.tolist() == [0.5, 0.5, 0.5]


def test_whole_numbers_become_float64():
    graph = GaugeGraph.from_edges(
        [1], [0], [1], [0.5], [0.25], frames=torch.eye(3).expand(2, 3, 3), positions=[[0, 0, 0], [1, 0, 0]],
        areas=[1, 1], scale=1,
    )  # fmt: skip
    assert graph.dtype == torch.float64
    assert_angles_close(graph.log_angle, torch.tensor([0.5]))


def test_frames_turn_counter_clockwise_seen_from_outside(sphere, alpha):
    turned = sphere.change_gauge(alpha)
    e1, e2, n = sphere.frames.numpy().transpose(1, 0, 2)
    by_alpha = Rotation.from_rotvec(alpha.numpy()[:, None] * n)
    expected = np.stack([by_alpha.apply(e1), by_alpha.apply(e2), n], axis=1)
    np.testing.assert_allclose(turned.frames.numpy(), expected, atol=1e-14)
    turned.validate()


def test_angles_change_as_agreed(sphere, alpha):
    turned = sphere.change_gauge(alpha)
    assert_angles_close(turned.log_angle, sphere.log_angle - alpha[sphere.dst])
    assert_angles_close(turned.transporter, sphere.transporter - alpha[sphere.dst] + alpha[sphere.src])
    for name in ("src", "dst", "log_radius", "positions", "areas", "scale"):
        assert getattr(turned, name) is getattr(sphere, name)


def tangent(graph: GaugeGraph, components: Tensor) -> Tensor:
    """Vectors of space for components (cos, sin) in the frames."""
    return torch.einsum("vk,vki->vi", components, graph.frames[:, :2])


def test_a_tangent_vector_stays_the_same_arrow(sphere, alpha):
    """Order 1 turned by -alpha, log maps, and transported vectors are arrows in space: no gauge in them."""
    turned, t = sphere.change_gauge(alpha), FieldType("1x1")
    x = torch.randn(sphere.num_vertices, 2, dtype=torch.float64)
    torch.testing.assert_close(tangent(turned, t.rotate(x, -alpha)), tangent(sphere, x))

    def arrows(graph: GaugeGraph, x: Tensor) -> list[Tensor]:
        log = torch.stack([graph.log_angle.cos(), graph.log_angle.sin()], dim=1)
        moved = t.rotate(x[graph.src], graph.transporter)
        frames = graph.frames[graph.dst, :2]
        return [torch.einsum("ek,eki->ei", components, frames) for components in (log, moved)]

    torch.testing.assert_close(arrows(turned, t.rotate(x, -alpha)), arrows(sphere, x))


def test_changes_of_gauge_compose(sphere, alpha):
    beta = sphere.random_gauge(torch.Generator().manual_seed(4))
    twice, once = sphere.change_gauge(alpha).change_gauge(beta), sphere.change_gauge(alpha + beta)
    assert_angles_close(twice.log_angle, once.log_angle)
    assert_angles_close(twice.transporter, once.transporter)
    torch.testing.assert_close(twice.frames, once.frames)
    back = sphere.change_gauge(alpha).change_gauge(-alpha)
    assert_angles_close(back.transporter, sphere.transporter)


def test_holonomy_does_not_depend_on_the_gauge(sphere, alpha):
    step = {(s, d): e for e, (s, d) in enumerate(zip(sphere.src.tolist(), sphere.dst.tolist(), strict=True))}
    loops = [(a, b, c) for a, b in step for c in range(48) if (b, c) in step and (c, a) in step]
    assert len(loops) > 100
    edges = torch.tensor([[step[a, b], step[b, c], step[c, a]] for a, b, c in loops])
    before = sphere.transporter[edges].sum(1)
    after = sphere.change_gauge(alpha).transporter[edges].sum(1)
    assert_angles_close(before, after)
    assert float(wrap_angle(before).abs().min()) > 1e-3  # the sphere is curved


def test_gauge_of_another_length_is_an_error(sphere):
    with pytest.raises(ValueError, match=r"\(47,\), the graph 48"):
        sphere.change_gauge(torch.zeros(47))


def test_random_gauge_is_uniform_and_reproducible(sphere):
    a, b = (sphere.random_gauge(torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b) and a.dtype == torch.float64
    many = torch.cat([sphere.random_gauge() for _ in range(40)])
    counts = torch.histc(many.float(), bins=4, min=-np.pi, max=np.pi)
    assert counts.sum() == len(many) and counts.min() > 0.8 * len(many) / 4


def test_batch_and_unbatch_keep_every_bit(sphere, random_graph):
    parts = [sphere, random_graph(9, 20), random_graph(5, 0), random_graph(0, 0), sphere, random_graph(1, 3)]
    batch = GaugeGraph.batch(parts)
    batch.validate()
    assert batch.num_graphs == 6
    assert batch.graph_ptr.tolist() == [0, 48, 57, 62, 62, 110, 111]
    assert batch.batch_index.tolist() == [0] * 48 + [1] * 9 + [2] * 5 + [4] * 48 + [5]
    assert all(same(a, b) for a, b in zip(batch.unbatch(), parts, strict=True))
    assert same(GaugeGraph.batch([GaugeGraph.batch(parts[:2]), GaugeGraph.batch(parts[2:])]), batch)


def test_batch_is_the_graph_of_the_union(sphere, random_graph):
    batch = GaugeGraph.batch([random_graph(9, 20), sphere])
    order = torch.randperm(batch.num_edges)
    again = rebuilt(batch, order)
    ends = {(s, d) for s, d in zip(batch.src.tolist(), batch.dst.tolist(), strict=True)}
    assert ends == {(s, d) for s, d in zip(again.src.tolist(), again.dst.tolist(), strict=True)}
    for name in ("dst_ptr", "src_ptr", "dst"):
        assert torch.equal(getattr(again, name), getattr(batch, name))


def test_gauge_of_a_batch_is_the_batch_of_gauges(sphere, random_graph):
    parts = [random_graph(9, 20), sphere]
    alphas = [g.random_gauge() for g in parts]
    together = GaugeGraph.batch(parts).change_gauge(torch.cat(alphas))
    assert same(together, GaugeGraph.batch([g.change_gauge(a) for g, a in zip(parts, alphas, strict=True)]))


def test_empty_batch_is_an_error():
    with pytest.raises(ValueError, match="empty list"):
        GaugeGraph.batch([])


@pytest.mark.parametrize(("vertices", "edges"), [(0, 0), (5, 0), (1, 2)])
def test_graphs_of_almost_nothing(random_graph, vertices, edges):
    graph = random_graph(vertices, edges)
    assert (graph.num_vertices, graph.num_edges, graph.num_graphs) == (vertices, edges, 1)
    turned = graph.change_gauge(graph.random_gauge())
    turned.validate()
    assert turned.batch_index.tolist() == [0] * vertices


def test_to_casts_geometry_and_leaves_indices(sphere):
    single = sphere.to(torch.float32)
    for f in fields(GaugeGraph):
        before, after = getattr(sphere, f.name), getattr(single, f.name)
        if before is None:
            continue
        assert after.dtype == (torch.float32 if before.is_floating_point() else torch.int64)
        assert torch.equal(after, before.to(after.dtype))
    assert same(sphere.to("cpu"), sphere)
    assert sphere.to("cpu", torch.float32).dtype == sphere.to(dtype=torch.float32).dtype == torch.float32
    on_meta = sphere.to(device="meta", dtype=torch.float32)
    assert on_meta.src.device.type == on_meta.device.type == "meta"
    with pytest.raises(ValueError, match="int32"):
        sphere.to(torch.int32)
    with pytest.raises(TypeError, match="not a tensor"):
        sphere.to(torch.zeros(1))


def test_geometry_survives_a_gauge_change_in_single_precision(sphere, alpha):
    """The change itself is computed in float64."""
    late = sphere.change_gauge(alpha).to(torch.float32)
    early = sphere.to(torch.float32).change_gauge(alpha)
    assert early.dtype == torch.float32
    assert_angles_close(late.transporter, early.transporter, 1e-6)


def _set(name: str, index, value):
    def corrupt(graph: GaugeGraph) -> GaugeGraph:
        changed = getattr(graph, name).clone()
        changed[index] = value
        return replace(graph, **{name: changed})

    return corrupt


def _map(name: str, function):
    return lambda graph: replace(graph, **{name: function(getattr(graph, name))})


def _swap_first_edges(graph: GaugeGraph) -> GaugeGraph:
    order = torch.arange(graph.num_edges).roll(1)
    return replace(graph, src=graph.src[order], dst=graph.dst[order])


CORRUPT = {
    "src shape": (_map("src", lambda t: t[:-1]), "src has shape|dst has shape"),
    "radius shape": (_map("log_radius", lambda t: t[1:]), r"log_radius has shape \(359,\), expected \(360,\)"),
    "frames shape": (_map("frames", lambda t: t[:, :2]), r"frames has shape \(48, 2, 3\)"),
    "areas shape": (_map("areas", lambda t: t[:, None]), r"areas has shape \(48, 1\)"),
    "pointer shape": (_map("dst_ptr", lambda t: t[:-1]), r"dst_ptr has shape \(48,\), expected \(49,\)"),
    "int32": (_map("src_edge", lambda t: t.int()), "src_edge is torch.int32"),
    "NaN angle": (_set("log_angle", 7, float("nan")), r"log_angle is not finite in 1 places, first at \[7\]"),
    "inf transporter": (_set("transporter", 0, float("inf")), "transporter is not finite"),
    "NaN position": (_set("positions", (3, 1), float("nan")), r"positions is not finite.*\[3, 1\]"),
    "negative src": (_set("src", 0, -1), r"src has indices -1\.\.47, out of range for 48"),
    "large dst": (_set("dst", -1, 48), r"dst has indices 0\.\.48, out of range for 48"),
    "unsorted": (_swap_first_edges, "not sorted by dst"),
    "dst_ptr": (_set("dst_ptr", 5, 0), "dst_ptr does not belong to dst"),
    "src_edge repeated": (_set("src_edge", 0, 1), "src_edge is not a permutation"),
    "src_edge order": (_map("src_edge", lambda t: t.flip(0)), "do not belong to src"),
    "src_ptr": (_set("src_ptr", 5, 0), "do not belong to src"),
    "radius": (_set("log_radius", 2, -0.5), r"negative values, down to -0\.5"),
    "scale": (_set("scale", 2, 0.0), "scale has to be positive, found 0"),
    "frames": (_map("frames", lambda t: 1.1 * t), "not orthonormal"),
    "left-handed": (_map("frames", lambda t: t[:, [1, 0, 2]]), "right-handed"),
    "graph_ptr end": (_set("graph_ptr", 1, 47), r"graph_ptr \[0, 47\]"),
    "graph_ptr descends": (_map("graph_ptr", lambda t: torch.tensor([0, 30, 20, 48])), "does not ascend"),
    "graph_ptr crossing": (_map("graph_ptr", lambda t: torch.tensor([0, 24, 48])), "between two surfaces"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_validate_names_what_is_wrong(sphere, name):
    corrupt, message = CORRUPT[name]
    sphere.validate()
    with pytest.raises(ValueError, match=message):
        corrupt(sphere).validate()


def _edges(graph: GaugeGraph) -> dict:
    return {k: getattr(graph, k) for k in ("src", "dst", *EDGES, *POINTS)}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("src", lambda t: t - 1, "have to be >= 0, found -1"),
        ("dst", lambda t: t + 1, "48 is out of range for 48"),
        ("log_radius", lambda t: torch.cat([t, t]), r"one length.*\(720,\)"),
        ("transporter", lambda t: t[:-1], r"one length.*\(359,\)"),
        ("dst", lambda t: t[:1], r"one length.*\(1,\)"),
        ("frames", lambda t: -t, "right-handed"),
    ],
)
def test_from_edges_refuses(sphere, name, change, message):
    edges = _edges(sphere)
    edges[name] = change(edges[name])
    with pytest.raises(ValueError, match=message):
        GaugeGraph.from_edges(**edges)


def test_repr_shows_the_size():
    text = repr(HealpixSphere(1).gauge_graph())
    assert text.startswith("GaugeGraph(1 surfaces, 12 vertices, ") and "torch.float64" in text
