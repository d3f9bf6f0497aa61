"""Isometry, numbering and batch: what breaks them is caught, and our own layers and features pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from meshes import blob, icosphere, torus
from torch import Tensor, nn

from meshconv import FieldType, GaugeGraph, HealpixSphere, TriangleMesh
from meshconv.geometry import MESH_FEATURES, mesh_features
from meshconv.nn import GaugeConv, GlobalPool, Linear, ResidualBlock
from meshconv.testing import (
    assert_batch_consistent,
    assert_isometry_equivariant,
    assert_permutation_equivariant,
    batch_error,
    gauge_equivariance_error,
    isometry_error,
    permutation_error,
)

MIXED = FieldType("3x0 + 2x1 + 1x2")
MIRRORED = FieldType("2x0 + 2x0- + 2x1 + 1x2")


class Spoiled(nn.Module):
    """A convolution that sees a wrong graph, or adds something to its output."""

    def __init__(self, graph=lambda g: g, output=lambda y, g: y, field_type=MIXED):
        super().__init__()
        self.in_type = self.out_type = field_type
        self.conv = GaugeConv(field_type, field_type, num_radial=3)
        self.graph, self.output = graph, output

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        return self.output(self.conv(x, self.graph(graph)), graph)


def scalars_plus(values):
    """Adds a value per point to all scalars."""
    return {"output": lambda y, g: torch.cat([y[:, :3] + values(y, g)[:, None], y[:, 3:]], dim=1)}


def in_units_of_the_longest_edge(graph: GaugeGraph) -> GaugeGraph:
    return replace(graph, scale=graph.log_radius.max().expand_as(graph.scale))


def ones_on_vectors(y: Tensor, graph: GaugeGraph) -> Tensor:
    return torch.cat([y[:, :3], y[:, 3:5] + 1, y[:, 5:]], dim=1)


WRONG = {
    "forgets the transporter": ({"graph": lambda g: replace(g, transporter=0 * g.transporter)}, {"gauge"}),
    "has a flipped sign": ({"graph": lambda g: replace(g, transporter=-g.transporter)}, {"gauge"}),
    "has a bias on order 1": ({"output": ones_on_vectors}, {"gauge"}),
    "reads the vertex index": (scalars_plus(lambda y, g: torch.arange(len(y)) / 10), {"permutation", "batch"}),
    "normalises by the batch's largest radius": ({"graph": in_units_of_the_longest_edge}, {"batch"}),
    "subtracts the batch's mean": (scalars_plus(lambda y, g: -y[:, 0].mean().expand(len(y))), {"batch"}),
    "reads a coordinate": (scalars_plus(lambda y, g: g.positions[:, 2]), {"isometry"}),
    "reads a normal": (scalars_plus(lambda y, g: g.frames[:, 2, 0]), {"isometry"}),
    "reads a direction of the frame": (scalars_plus(lambda y, g: g.frames[:, 0, 0]), {"gauge", "isometry"}),
}


@pytest.fixture(scope="module")
def graphs() -> list[GaugeGraph]:
    return [blob().gauge_graph(), HealpixSphere(2).gauge_graph(), torus().gauge_graph()]


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_caught_by_its_own_measures(graphs, name):
    options, caught = WRONG[name]
    module = Spoiled(**options).double()
    measures = {
        "gauge": gauge_equivariance_error(module, graphs[0]),
        "isometry": isometry_error(module, graphs[0]),
        "permutation": permutation_error(module, graphs[0]),
        "batch": batch_error(module, graphs),
    }
    for measure, error in measures.items():
        assert error > 1e-2 if measure in caught else error < 1e-12, (measure, error)


RIGHT = [Spoiled(), ResidualBlock(MIXED, "2x0 + 2x1"), Linear(MIXED, MIXED), GlobalPool(MIXED)]


@pytest.mark.parametrize("layer", RIGHT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_right_modules_pass(graphs, layer, dtype):
    assert assert_isometry_equivariant(layer.to(dtype), graphs[0]) < 1e-15
    assert_permutation_equivariant(layer, graphs[0])
    assert_permutation_equivariant(layer, GaugeGraph.batch(graphs))
    assert_batch_consistent(layer, graphs)


def test_mirror_images_need_the_group_that_reflects(graphs):
    """The same layers: of O(2) they see no difference between a surface and its mirror image, of SO(2) they do."""
    assert_isometry_equivariant(Spoiled(field_type=MIRRORED).double(), graphs[0], reflect=True)
    handed = nn.ModuleList([GaugeConv("2x0", "2x0 + 2x1"), GaugeConv("2x0 + 2x1", "3x0")]).double()

    class Handed(nn.Module):
        in_type, out_type = FieldType("2x0"), FieldType("3x0")

        def __init__(self):
            super().__init__()
            self.layers = handed

        def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
            return self.layers[1](self.layers[0](x, graph), graph)

    assert assert_isometry_equivariant(Handed(), graphs[0]) < 1e-15
    assert isometry_error(Handed(), graphs[0], reflect=True) > 1e-2
    with pytest.raises(ValueError, match=r"fields of type 3x0 \+ 2x1 \+ 1x2 are of SO\(2\)"):
        isometry_error(Spoiled(), graphs[0], reflect=True)


def intrinsic(mesh: TriangleMesh) -> tuple[Tensor, GaugeGraph]:
    graph = mesh.gauge_graph()
    return mesh_features(mesh, graph), graph


def coordinates(mesh: TriangleMesh) -> tuple[Tensor, GaugeGraph]:
    graph = mesh.gauge_graph()
    return graph.positions, graph


@pytest.mark.parametrize("surface", [blob(), torus(), icosphere()], ids=lambda m: m.name)
def test_features_and_layers_from_a_mesh_on(surface):
    """Built again from moved or renumbered vertices, frames may be others; the outputs are the same vectors."""
    conv = GaugeConv(MESH_FEATURES, "3x0 + 2x1").double()
    assert_isometry_equivariant(conv, surface, intrinsic, 1e-7)
    assert_permutation_equivariant(conv, surface, intrinsic, 1e-7)


def test_features_of_coordinates_are_caught():
    conv = GaugeConv("3x0", "3x0 + 2x1").double()
    assert isometry_error(conv, blob(), coordinates) > 0.1
    assert_permutation_equivariant(conv, blob(), coordinates)


def test_frames_that_are_built_anew_are_accounted_for():
    """Vectors in frames that are drawn anew for each mesh: without the turn between frames they would differ."""

    def random_frames(mesh: TriangleMesh) -> tuple[Tensor, GaugeGraph]:
        x, graph = intrinsic(mesh)
        alpha = graph.random_gauge()
        return MESH_FEATURES.change_gauge(x, alpha), graph.change_gauge(alpha)

    conv = GaugeConv(MESH_FEATURES, "2x1").double()
    y, z = (conv(*random_frames(blob())) for _ in range(2))
    assert (y - z).norm() > 0.1 * y.norm()
    assert isometry_error(conv, blob(), random_frames) < 1e-7
    assert permutation_error(conv, blob(), random_frames) < 1e-7


def test_points_stay_inside_their_surface(graphs):
    """A module that numbers the surfaces of a batch is consistent under renumbering of their points."""
    module = Spoiled(**scalars_plus(lambda y, g: g.batch_index.to(y))).double()
    assert permutation_error(module, GaugeGraph.batch(graphs)) < 1e-12
    assert batch_error(module, graphs) > 0.1


def test_what_cannot_be_measured_is_an_error(graphs):
    conv = GaugeConv(MIXED, MIXED)
    with pytest.raises(ValueError, match="a mesh takes prepare="):
        isometry_error(conv, blob())
    with pytest.raises(TypeError, match="expected a GaugeGraph or a TriangleMesh, got str"):
        permutation_error(conv, "bunny")
    with pytest.raises(ValueError, match="at least two surfaces, got 1"):
        batch_error(conv, graphs[:1])
    for output, message in ((lambda y, g: 0 * y, "zero everywhere"), (lambda y, g: y / 0, "not finite")):
        for measure, surface in ((isometry_error, graphs[0]), (permutation_error, graphs[0]), (batch_error, graphs)):
            with pytest.raises(ValueError, match=message):
                measure(Spoiled(output=output), surface)
    with pytest.raises(ValueError, match="neither a row for each of 978 vertices nor one for each of 3 surfaces"):
        batch_error(Spoiled(output=lambda y, g: y[:7]), graphs)


def test_assertions_say_what_is_wrong(graphs):
    wrong = {key: Spoiled(**WRONG[name][0]) for key, name in (("isometry", "reads a normal"),
             ("permutation", "reads the vertex index"), ("batch", "subtracts the batch's mean"))}  # fmt: skip
    for check, surface, what in (
        (assert_isometry_equivariant, graphs[0], "isometry"),
        (assert_permutation_equivariant, graphs[0], "permutation"),
        (assert_batch_consistent, graphs, "batch"),
    ):
        with pytest.raises(AssertionError, match=rf"Spoiled has a relative {what} error of .*, above 1e-05"):
            check(wrong[what], surface)
        assert wrong[what].training
