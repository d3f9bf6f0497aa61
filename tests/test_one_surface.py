"""One surface over several processes: the numbers of one process."""

from __future__ import annotations

import functools
import os
import signal
import time

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
import trimesh
from surfaces import assert_same_surface

from meshconv import FieldType, GaugeGraph, HealpixSphere, Hierarchy, InputError, TriangleMesh, nn as layers
from meshconv.distributed import (
    DistributedGraph,
    collect,
    companions,
    distribute,
    partition,
    partition_healpix,
    sum_gradients,
    traffic,
)
from meshconv.models import FieldUNet, ShapeClassifier, ShapeUNet, SphereUNet

KIND, MIRRORED = "2x0 + 2x1 + 2x2", "O(2): 1x0 + 1x0- + 2x1"


@functools.cache
def sphere() -> Hierarchy:
    grid = HealpixSphere(8)
    return grid.hierarchy(3, 2.7 * grid.spacing)


@functools.cache
def meshes() -> Hierarchy:
    """A batch of a torus and an egg."""
    torus = trimesh.creation.torus(1.0, 0.4, major_sections=16, minor_sections=10)
    egg = trimesh.creation.icosphere(2)
    found = [TriangleMesh(m.vertices * [1, 1.2, 0.9], m.faces).hierarchy(3) for m in (torus, egg)]
    return Hierarchy.batch(found)


@functools.cache
def mirrored() -> GaugeGraph:
    """A graph with transporters that reflect."""
    graph = meshes().finest
    flip = torch.rand(graph.num_vertices, generator=torch.Generator().manual_seed(0)) < 0.5
    return graph.change_gauge(torch.zeros(graph.num_vertices), flip)


def conv(aggregation, kind=layers.GaugeConv, in_type=KIND, **options):
    return lambda: kind(in_type, in_type, aggregation=aggregation, **options)


def finest(make):
    return lambda: (make(), sphere().finest)


CASES = {
    **{f"convolution by {name}": finest(conv(name)) for name in ("mean", "sum", "area", "quadrature")},
    **{f"depthwise by {name}": finest(conv(name, layers.DepthwiseGaugeConv)) for name in ("area", "quadrature")},
    **{f"attention by {name}": finest(conv(name, layers.GaugeAttention)) for name in ("mean", "area", "quadrature")},
    **{f"message by {name}": finest(conv(name, layers.GaugeMessage)) for name in ("mean", "area", "quadrature")},
    "mirrored convolution": lambda: (conv("mean", in_type=MIRRORED)(), mirrored()),
    "mirrored attention": lambda: (conv("mean", layers.GaugeAttention, MIRRORED)(), mirrored()),
    "mirrored message": lambda: (conv("mean", layers.GaugeMessage, MIRRORED)(), mirrored()),
    "gradient": lambda: (layers.Gradient("3x0"), meshes().finest),
    "divergence": lambda: (layers.Divergence("3x1"), meshes().finest),
    "laplacian": lambda: (layers.Laplacian(KIND), meshes().finest),
    "instance norm": lambda: (layers.FieldInstanceNorm(KIND), meshes().finest),
    "block": lambda: (layers.ResidualBlock(KIND, "3x0 + 2x1"), meshes().finest),
    "mean of a surface": lambda: (layers.GlobalPool(KIND, "mean"), meshes().finest),
    "mean by area": lambda: (layers.GlobalPool(KIND, "area"), meshes().finest),
    "maximum of a surface": lambda: (layers.GlobalPool(KIND, "max"), meshes().finest),
    "attention of a surface": lambda: (layers.AttentionPool(KIND, 2), meshes().finest),
    "classifier": lambda: (ShapeClassifier(KIND, 3, 4, 1, blocks=1, dropout=0.0), meshes().finest),
    "shape u-net": lambda: (ShapeUNet(KIND, 3, (4, 4, 4), 1, context=2, dropout=0.0), meshes()),
    "field u-net": lambda: (FieldUNet(KIND, "1x0 + 1x1", (4, 4, 4), 1, layer="message"), meshes()),
    "sphere u-net": lambda: (SphereUNet(KIND, 3, (4, 4, 4), north=True, dropout=0.0), sphere()),
    "sphere u-net of attention": lambda: (
        SphereUNet(KIND, 3, (4, 4, 4), layer="attention", aggregation="mean", dropout=0.0), sphere()
    ),
}  # fmt: skip
PRECISIONS = {"double": torch.float64, "single": torch.float32}


def prepared(name, dtype):
    """Network, surface, features, and the derivative of the loss with respect to the outputs at the points."""
    torch.manual_seed(0)
    network, surface = CASES[name]()
    network, surface = network.to(dtype), surface.to(dtype)
    x = torch.randn(surface.finest.num_vertices, network.in_type.dim, dtype=torch.float64).to(dtype)
    generator = torch.Generator().manual_seed(1)
    return network, surface, x, lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def of_points(y, graph):
    return y.shape[-2] == graph.num_vertices


def one(name, dtype):
    network, surface, x, slopes = prepared(name, dtype)
    y = network(x.requires_grad_(), surface)
    y.backward(slopes(y.shape))
    return [y.detach(), x.grad, *(p.grad for p in network.parameters())]


def several(name, dtype, rank, world):
    network, surface, x, slopes = prepared(name, dtype)
    part = partition(surface, world)[rank]
    graph = part.finest
    x = x[graph.index].requires_grad_()
    with traffic() as sent:
        y = network(x, part)
        if of_points(y, graph):
            slope = slopes((surface.finest.num_vertices, y.shape[-1]))[graph.index]
        else:
            slope = slopes(y.shape) / world
        y.backward(slope)
    sum_gradients(network)
    whole = collect(y, graph) if of_points(y, graph) else y.detach()
    return [whole, collect(x.grad, graph), *(p.grad for p in network.parameters())], sent


def start(rank, world, store):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{store}", world_size=world, rank=rank)


def two_processes(rank, store, out):
    start(rank, 2, store)
    found, sent = {}, {}
    for name in CASES:
        for precision, dtype in PRECISIONS.items():
            found[name, precision], sent[name, precision] = several(name, dtype, rank, 2)
    torch.save((found, sent), f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    mp.spawn(two_processes, (folder / "store", folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_processes_compute_what_one_does(both, name, precision):
    """Outputs, and derivatives with respect to features and to parameters, of the largest of each."""
    y, slope, *gradients = one(name, PRECISIONS[precision])
    bound = {"double": 1e-10, "single": 1e-5}[precision]
    for found, _ in both:
        for given, expected in ((found[name, precision][:1], [y]), (found[name, precision][1:2], [slope]),
                                (found[name, precision][2:], gradients)):  # fmt: skip
            assert [t.shape for t in given] == [t.shape for t in expected]
            largest = max((float(t.abs().max()) for t in expected), default=0.0)
            errors = [float((a - b).abs().max()) for a, b in zip(given, expected, strict=True)]
            assert max(errors, default=0.0) <= bound * largest


@pytest.mark.slow
def test_volume_is_the_halo_s_in_both_directions(both):
    """A convolution sends the features of the others' halos forward, and receives as many rows' gradients backward."""
    parts = partition(sphere().finest.to(torch.float32), 2)
    width = FieldType(KIND).dim * 4
    for rank, (_, sent) in enumerate(both):
        forward, backward = (len(parts[r].halo_areas) for r in (1 - rank, rank))
        found = sent["convolution by mean", "single"]
        assert (found.exchanges, found.exchanged) == (2, (forward + backward) * width)
        assert (found.reductions, found.reduced) == (0, 0)


def three_processes(rank, store, out):
    """Graphs with few points, a graph from one process, and what is refused."""
    start(rank, 3, store)
    tiny = HealpixSphere(2).hierarchy(2)
    part = distribute(tiny if rank == 0 else None)
    torch.save(part, f"{out}/part{rank}.pt")
    network = SphereUNet("1x0 + 1x1", 2, (2, 2), aggregation="mean", dropout=0.0).double()
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(tiny.num_vertices, 3, dtype=torch.float64)
    y = network(x[part.finest.index], part)
    torch.save(collect(y, part.finest), f"{out}/{rank}.pt")
    alpha = [torch.randn(level.num_vertices, dtype=torch.float64) for level in part.levels]
    kind, graph = FieldType("1x0 + 1x1"), part.finest
    turned = network(kind.change_gauge(x[graph.index], alpha[0]), part.change_gauge(alpha))
    torch.testing.assert_close(turned, y)  # invariant logits, frames of all processes turned
    with pytest.raises(InputError, match="process 0 is to distribute a surface and has none"):
        distribute(None)
    with pytest.raises(InputError, match=r"^2 points on the coarsest level cannot be divided into 3 parts"):
        distribute(tiny.levels[1].subset(torch.arange(12) < 2) if rank == 0 else None)
    conv, one = layers.GaugeConv("1x0", "1x0").double(), torch.ones(16, 1, dtype=torch.float64)
    for wrong, said in (
        (partition(tiny, 3)[(rank + 1) % 3], "process 0 has part 1; give every process the part of its number"),
        (partition(tiny, 2)[rank % 2], f"the graph is part {rank % 2} of 2, there are 3 processes"),
        (partition(other_sphere(rank), 3)[rank], "has a part of another surface, or of another division"),
    ):
        graph = wrong.finest
        with pytest.raises(InputError, match=said):
            conv(one[:1].expand(graph.num_vertices, 1), graph)
    torch.distributed.destroy_process_group()


def other_sphere(rank):
    return HealpixSphere(2).hierarchy(2, 1.0 if rank == 2 else 0.9)


@pytest.mark.slow
def test_three_processes_with_few_points(tmp_path):
    mp.spawn(three_processes, (tmp_path / "store", tmp_path), nprocs=3)
    tiny = HealpixSphere(2).hierarchy(2)
    outputs = [torch.load(tmp_path / f"{rank}.pt") for rank in range(3)]
    network = SphereUNet("1x0 + 1x1", 2, (2, 2), aggregation="mean", dropout=0.0).double()
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    y = network(torch.randn(tiny.num_vertices, 3, dtype=torch.float64), tiny)
    for output in outputs:
        torch.testing.assert_close(output, y.detach())
    parts = [torch.load(tmp_path / f"part{rank}.pt", weights_only=True) for rank in range(3)]
    assert [part.finest.num_vertices for part in parts] == [16, 16, 16]
    assert torch.equal(torch.cat([part.finest.index for part in parts]), torch.arange(48))


def one_is_killed(rank, store, out):
    os.dup2(os.open(f"{out}/{rank}.txt", os.O_CREAT | os.O_WRONLY), 2)
    start(rank, 2, store)
    part = partition(HealpixSphere(4).gauge_graph(), 2)[rank]
    conv, x = layers.GaugeConv("1x0", "1x0").double(), torch.ones(96, 1, dtype=torch.float64)
    with companions():
        for step in range(100_000):
            if rank == 1 and step == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            conv(x, part)


@pytest.mark.slow
def test_where_a_process_ends_the_other_stops_and_names_it(tmp_path):
    context = mp.get_context("spawn")
    running = [context.Process(target=one_is_killed, args=(rank, tmp_path / "store", tmp_path)) for rank in range(2)]
    for process in running:
        process.start()
    running[1].join(120)
    ended = time.perf_counter()
    running[0].join(60)
    assert time.perf_counter() - ended < 60
    assert [process.exitcode for process in running] == [1, -signal.SIGKILL]
    said = (tmp_path / "0.txt").read_text()
    assert said == "meshconv: error: process 1 of 2 has ended, process 0 stops; start all of them again\n"


@pytest.mark.parametrize("ranks", [1, 2, 5, 12])
@pytest.mark.parametrize("surface", [sphere, meshes])
def test_parts_are_the_whole(surface, ranks):
    """Every point once; of each its edges with what they measure, from the points that the whole has there."""
    whole = surface()
    parts = list(partition(whole, ranks))
    for k, level in enumerate(whole.levels):
        graphs = [part.levels[k] for part in parts]
        assert torch.equal(torch.cat([g.index for g in graphs]).sort().values, torch.arange(level.num_vertices))
        for graph in graphs:
            graph.validate()
            assert isinstance(graph, DistributedGraph)
            assert torch.equal(graph.positions, level.positions[graph.index])
            assert torch.equal(graph.dst_ptr.diff(), level.dst_ptr.diff()[graph.index])
            # Own points and halo, by the numbers that their owners have them under.
            of_halo = [g.index[g.send[g.send_ptr[rank] : g.send_ptr[rank + 1]]] for rank, g in at(graphs, graph)]
            number = torch.cat([graph.index, *of_halo])
            mine = torch.isin(level.dst, graph.index)
            assert torch.equal(number[graph.src], level.src[mine])
            assert torch.equal(graph.log_angle, level.log_angle[mine])
            assert torch.equal(graph.source_areas, level.areas[number])
    for k, pool in enumerate(whole.pools):
        for part in parts:
            fine, coarse = part.levels[k].index, part.levels[k + 1].index
            assert torch.equal(coarse[part.pools[k].parent], pool.parent[fine])
            part.pools[k].validate()


def at(graphs, graph):
    rank = int(graph.origin[0])
    return [(rank, other) for other in graphs]


def test_parts_have_about_the_same_number_of_points():
    for surface, ranks in ((sphere(), 5), (meshes(), 4)):
        sizes = [part.num_vertices for part in partition(surface, ranks)]
        largest_cluster = surface.num_vertices / surface.levels[-1].num_vertices * 4
        assert max(sizes) - min(sizes) <= largest_cluster


def test_curve_keeps_parts_together():
    """Of a torus in eight parts fewer edges are cut than by numbers of points, and few."""
    shape = trimesh.creation.torus(1.0, 0.4, major_sections=64, minor_sections=24)
    order = np.random.default_rng(0).permutation(len(shape.vertices))
    mesh = TriangleMesh(shape.vertices[np.argsort(order)], order[shape.faces])
    graph = mesh.gauge_graph()
    parts = partition(graph, 8)
    halo = sum(len(part.halo_areas) for part in parts)
    assert halo < 0.6 * graph.num_vertices


@pytest.mark.parametrize(("levels", "ranks", "radius"), [(3, 2, None), (2, 5, 2.7), (1, 3, 2.5), (4, 12, None)])
def test_parts_of_a_sphere_are_built_without_the_whole(levels, ranks, radius):
    """Those of the whole, but for its hash, and rounding: symmetries of the whole are computed once."""
    grid = HealpixSphere(16)
    radius = radius and radius * grid.spacing
    own = partition_healpix(grid, levels, ranks, radius)
    share = np.repeat(np.arange(ranks), np.diff(own.bounds))
    for rank, expected in enumerate(partition(grid.hierarchy(levels, radius), ranks, share)):
        found = own[rank]
        for a, b in zip([*found.levels, *found.pools], [*expected.levels, *expected.pools], strict=True):
            assert_same_surface(a, b, leave=("origin",))


def test_bad_divisions_are_one_line():
    tiny = HealpixSphere(2).hierarchy(2)
    for call, said in (
        (lambda: partition(tiny, 13), "^12 points on the coarsest level cannot be divided into 13 parts; use 1 to"),
        (lambda: partition(tiny, 0), "cannot be divided into 0 parts"),
        (lambda: partition(tiny, 2, np.zeros(12)), r"owner has shape \(12,\) and parts \[0\]; expected \(12,\)"),
        (lambda: partition(partition(tiny, 2)[0], 2), "a part already"),
        (lambda: partition_healpix(HealpixSphere(4, "ring"), 1, 2), "nested order"),
        (lambda: partition_healpix(HealpixSphere(4), 4, 2), "nside 4 has no 4 nested levels"),
        (lambda: partition_healpix(HealpixSphere(4), 3, 13), "12 pixels on the coarsest level"),
        (lambda: DistributedGraph.batch([partition(tiny, 2)[0].finest] * 2), "partition the batch instead"),
        (lambda: partition(tiny, 2)[0].subset(torch.ones(24, dtype=torch.bool)), "no subsets"),
    ):
        with pytest.raises(InputError, match=said) as raised:
            call()
        assert "\n" not in str(raised.value)


def test_a_part_alone_says_what_it_lacks():
    graph = partition(HealpixSphere(4).gauge_graph(), 2)[0]
    with pytest.raises(InputError, match="part 0 of 2, there are 1 processes; partition for 1"):
        layers.GaugeConv("1x0", "1x0").double()(torch.ones(96, 1, dtype=torch.float64), graph)
