"""Hierarchies: disjoint unions on every level, and what makes one valid."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from meshes import DEFECTIVE, blob, bumpy_sheet, icosphere, single_triangle

from meshconv import GaugeGraph, HealpixSphere, Hierarchy, Pooling
from meshconv.datasets import MeshSample, collate
from meshconv.datasets.batch import join_surfaces
from meshconv.models import SphereUNet


def same(a: object, b: object) -> bool:
    """Equal bit for bit."""
    if isinstance(a, Hierarchy) and isinstance(b, Hierarchy):
        return all(same(x, y) for x, y in zip([*a.levels, *a.pools], [*b.levels, *b.pools], strict=True))
    pairs = ((getattr(a, f.name), getattr(b, f.name)) for f in fields(a))  # type: ignore[arg-type]
    return all(x is y is None or torch.equal(x, y) for x, y in pairs)


@pytest.fixture(scope="module")
def several() -> list[Hierarchy]:
    """Large, of one triangle, with isolated points, with a boundary, and a sphere of pixels."""
    meshes = [blob(), single_triangle(), DEFECTIVE["isolated_vertices"](), bumpy_sheet()]
    return [*(m.hierarchy(3) for m in meshes), HealpixSphere(4).hierarchy(3)]


def test_batches_are_disjoint_unions_on_every_level(several: list[Hierarchy]) -> None:
    batch = Hierarchy.batch(several)
    batch.validate()
    assert batch.num_graphs == 5
    for k, level in enumerate(batch.levels):
        assert same(level, GaugeGraph.batch([h.levels[k] for h in several]))
    for k, pool in enumerate(batch.pools):
        for c in range(pool.num_coarse):
            members = pool.child[pool.child_ptr[c] : pool.child_ptr[c + 1]]
            assert members.tolist() == (pool.parent == c).nonzero()[:, 0].tolist()
        owner = batch.levels[k + 1].batch_index[pool.parent]
        assert torch.equal(owner, batch.levels[k].batch_index)


def test_unbatch_is_the_inverse(several: list[Hierarchy]) -> None:
    again = Hierarchy.batch(several).unbatch()
    assert len(again) == len(several)
    assert all(same(a, b) for a, b in zip(again, several, strict=True))
    assert same(Hierarchy.batch([Hierarchy.batch(several[:2]), Hierarchy.batch(several[2:])]), Hierarchy.batch(several))


def test_pools_that_reflect_batch_with_those_that_do_not(several: list[Hierarchy]) -> None:
    first = several[0]
    flips = [torch.rand(g.num_vertices) < 0.5 for g in first.levels]
    mirrored = first.change_gauge(first.random_gauge(), flips)
    batch = Hierarchy.batch([mirrored, several[3]])
    batch.validate()
    n = first.num_vertices
    assert torch.equal(batch.pools[0].reflected[:n], mirrored.pools[0].reflected)
    assert not batch.pools[0].reflected[n:].any()
    assert same(batch.unbatch()[0], mirrored)


def test_surfaces_alone_and_in_a_batch(several: list[Hierarchy]) -> None:
    model = SphereUNet("1x0 + 1x1", 4, channels=(4, 5, 6)).eval()
    single = [h.to(torch.float32) for h in several]
    xs = [torch.randn(h.num_vertices, 3) for h in single]
    samples = [MeshSample(x, h, torch.tensor(k), str(k)) for k, (x, h) in enumerate(zip(xs, single, strict=True))]
    batch = collate(samples)
    assert isinstance(batch.surface, Hierarchy)
    double = batch.to(torch.float64)
    assert double.surface.num_graphs == 5
    assert (double.x.dtype, double.target.dtype) == (torch.float64, torch.int64)
    together = model(batch.x, batch.surface)
    alone = torch.cat([model(x, h) for x, h in zip(xs, single, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_joined_is_named(several: list[Hierarchy]) -> None:
    with pytest.raises(ValueError, match=r"one number of levels, got \[3, 2\]"):
        Hierarchy.batch([several[0], icosphere().hierarchy(2)])
    with pytest.raises(ValueError, match=r"one number of levels, got \[\]"):
        Hierarchy.batch([])
    with pytest.raises(ValueError, match="graphs or hierarchies, got 1 and 1"):
        join_surfaces([several[0].levels[0], several[0]])
    assert isinstance(join_surfaces([h.levels[0] for h in several]), GaugeGraph)


def broken(hierarchy: Hierarchy, **changes: torch.Tensor) -> Hierarchy:
    return Hierarchy(hierarchy.levels, [hierarchy.pools[0], replace(hierarchy.pools[1], **changes)])


def test_validate_names_what_is_wrong() -> None:
    good = icosphere().hierarchy(3)
    good.validate()
    pool: Pooling = good.pools[1]
    nan, negative, short = (pool.log_radius.clone() for _ in range(3))
    nan[3], negative[2] = torch.nan, -1.0
    outside, other = pool.parent.clone(), pool.parent.clone()
    outside[0] = pool.num_coarse
    other[0] = (other[0] + 1) % pool.num_coarse
    lone = torch.where(pool.parent == 0, 1, pool.parent)
    wrong = {
        r"level 1 to 2: transporter has shape \(5,\), expected \(41,\)": {"transporter": short[:5]},
        r"level 1 to 2: log_angle is not finite in 1 places, first at \[3\]": {"log_angle": nan},
        r"level 1 to 2: parent has indices 0..11, out of range for 11 clusters": {"parent": outside},
        "level 1 to 2: child does not belong to parent": {"parent": other},
        "level 1 to 2: log_radius has negative values, down to -1": {"log_radius": negative},
        "level 1 to 2: child_ptr does not belong": {"parent": lone, "child": torch.argsort(lone, stable=True)},
        "level 1 to 2: a cluster has no members": {"child_ptr": torch.cat([pool.child_ptr[:1], pool.child_ptr[:-1]])},
        r"level 1 to 2: reflected is torch.float64 with shape .* torch.bool": {"reflected": nan},
    }
    for message, change in wrong.items():
        with pytest.raises(ValueError, match=message):
            broken(good, **change).validate()
    level = replace(good.levels[2], scale=-good.levels[2].scale)
    with pytest.raises(ValueError, match="level 2: scale has to be positive"):
        Hierarchy([*good.levels[:2], level], good.pools).validate()


def test_parents_on_another_surface_are_found() -> None:
    one = icosphere().hierarchy(2)
    batch = Hierarchy.batch([one, one])
    parent = (batch.pools[0].parent + one.levels[1].num_vertices) % batch.levels[1].num_vertices
    crossed = Pooling.from_parents(parent, batch.levels[1].num_vertices, *[torch.zeros(len(parent))] * 3)
    with pytest.raises(ValueError, match="level 0 to 1: 324 points have their parent on another surface"):
        Hierarchy(batch.levels, [crossed]).validate()
    alone = replace(batch.levels[1], graph_ptr=batch.levels[1].graph_ptr[[0, 2]])
    with pytest.raises(ValueError, match=r"levels have \[2, 1\] surfaces"):
        Hierarchy([batch.levels[0], alone], batch.pools).validate()
