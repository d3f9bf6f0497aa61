"""The U-Net of meshes: exact symmetries after training, elements, and a view of the whole body."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from meshes import blob, icosphere, moebius, torus
from test_equivariance import randomised
from torch import nn

from meshconv import FieldType, HealpixSphere, Hierarchy, TriangleMesh
from meshconv.geometry import surface_features
from meshconv.models import ShapeUNet, SphereUNet
from meshconv.testing import gauge_equivariance_error

IN = FieldType("2x0 + 1x1")
STORED = Path(__file__).parent / "data" / "sphere_unet_state.json"


def small(in_type: FieldType | str = IN, **options) -> ShapeUNet:
    return ShapeUNet(in_type, 3, **{"channels": (3, 4, 5), "width": 8, "context": 3, **options})


def trained(model: ShapeUNet, surface: Hierarchy) -> ShapeUNet:
    """After steps towards random classes, with every weight, bias and running statistic away from its start."""
    torch.manual_seed(0)
    model, surface = randomised(model), surface.to(torch.float32)
    with torch.no_grad():
        for p in model.parameters():
            p *= 0.3
    x = torch.randn(surface.num_vertices, model.in_type.dim)
    target = torch.randint(3, (surface.num_vertices,))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(5):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x, surface), target).backward()
        optimiser.step()
    assert all((p != before[name]).any() for name, p in model.named_parameters())
    return model.eval()


@pytest.fixture(scope="module")
def surfaces() -> list[Hierarchy]:
    return [mesh.hierarchy(3) for mesh in (blob(0), torus(), icosphere(2))]


@pytest.mark.parametrize("layer", ["conv", "attention", "message"])
def test_gauge_error_after_training(surfaces, layer):
    model = trained(small(layer=layer), surfaces[0])
    assert gauge_equivariance_error(model, surfaces[0]) < 1e-5
    assert gauge_equivariance_error(model.double(), surfaces[0]) < 1e-10


def test_gauge_error_under_reflections(surfaces):
    """Frames of half of the points turned over: normals and what lies along them change their sign."""
    model = trained(small("O(2): 2x0 + 1x0- + 1x1"), surfaces[0])
    assert gauge_equivariance_error(model, surfaces[0]) < 1e-5
    assert gauge_equivariance_error(model.double(), surfaces[0]) < 1e-10


def test_batch_and_alone_agree(surfaces):
    model = trained(small(), surfaces[0]).double()
    xs = [torch.randn(2, h.num_vertices, IN.dim, dtype=torch.float64) for h in surfaces]
    together = model(torch.cat(xs, dim=1), Hierarchy.batch(surfaces))
    alone = torch.cat([model(x, h) for x, h in zip(xs, surfaces, strict=True)], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


def test_a_mesh_that_is_turned_moved_and_scaled_gets_the_same_scores():
    mesh, names = blob(1), ["curvature", "default"]
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))[0]
    turn = (turn * turn.det()).numpy()
    logits, model = [], None
    for m in (mesh, TriangleMesh(3.0 * mesh.vertices @ turn.T + 5.0, mesh.faces)):
        surface = m.hierarchy(3)
        x, field_type = surface_features(m, surface.levels[0], names)
        model = model or trained(small(field_type), surface).double()
        logits.append(model(x, surface))
    torch.testing.assert_close(*logits, rtol=1e-7, atol=1e-7)


def test_scores_of_elements(surfaces):
    """An element sees the mean of its vertices' features; one of a single vertex is that vertex."""
    model, surface = trained(small(), surfaces[2]).double(), surfaces[2]
    x = torch.randn(surface.num_vertices, IN.dim, dtype=torch.float64)
    faces = torch.from_numpy(icosphere(2).faces)
    logits = model(x, surface, faces)
    assert logits.shape == (len(faces), 3)
    # The last layer is linear, so means of features give means of logits.
    torch.testing.assert_close(logits, model(x, surface)[faces].mean(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model(x, surface, faces[:, :1]), model(x, surface)[faces[:, 0]])


def test_context_tells_every_point_of_the_whole_body(surfaces):
    """One level of one block reaches four rings; with context every point hears of a change, in its body alone."""
    two = Hierarchy.batch([torus(40, 12).hierarchy(1), blob(0).hierarchy(1)])
    first = two.levels[0].graph_ptr.tolist()[1]
    for context, everywhere in ((3, True), (0, False)):
        model = trained(small(channels=(4,), context=context), two).double()
        x = torch.randn(two.num_vertices, IN.dim, dtype=torch.float64)
        changed = x.clone()
        changed[7] += 1
        moved = (model(x, two) - model(changed, two)).abs().amax(-1) > 1e-12
        assert moved[7] and not moved[first:].any()
        assert bool(moved[:first].all()) is everywhere


def test_directions_in_space_are_told():
    """Of a sphere with one marked point, all points at one distance look alike; two marks single out places."""
    surface = icosphere(2).hierarchy(1)
    graph = surface.levels[0]
    x = torch.zeros(graph.num_vertices, 1, dtype=torch.float64)
    x[0] = 1.0
    model = trained(small("1x0", channels=(4,)), surface).double()
    far = graph.positions @ graph.positions[0] < -0.5
    assert model(x, surface)[far].std(0).max() > 1e-6
    blind = trained(small("1x0", channels=(4,), context=0), surface).double()
    six = graph.dst_ptr.diff() == 6
    # Without a view of the whole, far from the mark only the grid itself is seen, the same up to its symmetry.
    assert blind(x, surface)[far & six].std(0).max() < blind(x, surface).std(0).max()


def test_on_surfaces_without_orientation():
    mesh = moebius()
    graph = mesh.gauge_graph(unoriented=True)
    surface = Hierarchy([graph], [])
    assert graph.reflected is not None and graph.reflected.any()
    model = trained(small("O(2): 1x0 + 1x0- + 1x1", channels=(4,)), surface).double()
    assert gauge_equivariance_error(model, surface) < 1e-10


@pytest.mark.parametrize("blocks", [0, (1, 2), (1, 0, 1)])
def test_wrong_numbers_of_blocks(blocks):
    with pytest.raises(ValueError, match="one for each of 3 levels"):
        small(blocks=blocks)


def test_blocks_per_level(surfaces):
    model = trained(small(blocks=(1, 2, 3)), surfaces[0])
    assert [len(part) if isinstance(part, nn.Sequential) else 1 for part in model.down] == [1, 2, 3]
    assert [len(part) if isinstance(part, nn.Sequential) else 1 for part in model.up] == [1, 2]
    assert gauge_equivariance_error(model, surfaces[0]) < 1e-5


def test_wrong_number_of_levels():
    with pytest.raises(ValueError, match="the network has 3 levels, the hierarchy 2"):
        small()(torch.zeros(162, IN.dim), icosphere(2).hierarchy(2).to(torch.float32))


@pytest.mark.slow
def test_compiles_into_one_graph(surfaces):
    torch._dynamo.reset()
    model, surface = trained(small(), surfaces[2]), surfaces[2].to(torch.float32)
    x = torch.randn(surface.num_vertices, IN.dim)
    fast = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(x, surface), model(x, surface))


@pytest.mark.slow
def test_spheres_of_all_sizes_take_one_program():
    """What is kept with one surface is no part of a program, which the next surface would not fit."""
    torch._dynamo.reset()
    network, programs = SphereUNet("2x0 + 1x1", 3, channels=(4, 5)), []

    def counting(graph, _):
        programs.append(graph)
        return graph

    fast = torch.compile(network, fullgraph=True, dynamic=True, backend=counting)
    for nside in (8, 4, 16):
        sphere = HealpixSphere(nside)
        surface = sphere.hierarchy(2, 2.7 * sphere.spacing).to(torch.float32)
        fast(torch.randn(sphere.npix, 4), surface).sum().backward()
    assert len(programs) == 1


def test_the_state_of_the_sphere_network_is_that_of_earlier_versions():
    state = SphereUNet("2x0 + 1x1", 3, channels=(4, 5)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == json.loads(STORED.read_text())
