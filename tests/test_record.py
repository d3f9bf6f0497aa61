"""Records of tensors: cut, joined and split by the roles of their fields; pytrees that keep what did not change."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from meshconv import GaugeGraph, HealpixSphere, PointCloud, nn
from meshconv.datasets import SurfaceBatch
from meshconv.geometry.graph.record import Record, numbers, order, pointers, values


@dataclass(frozen=True, eq=False)
class Library(Record):
    """Books on shelves; each names another one, and they are listed by author as well."""

    weight: Tensor = values("books")
    cites: Tensor = numbers("books", of="books")
    shelf_ptr: Tensor = pointers("shelves", of="books")
    author_ptr: Tensor = pointers("authors", of="books", by="by_author")
    by_author: Tensor = order("books")
    lent: Tensor | None = values("books", dtype=torch.bool, default=None)

    @property
    def sizes(self) -> dict[str, int]:
        return {"books": len(self.weight), "shelves": len(self.shelf_ptr) - 1, "authors": len(self.author_ptr) - 1}


def library(**changes: Any) -> Library:
    made = Library(
        weight=torch.tensor([1.0, 2.0, 3.0, 4.0]),
        cites=torch.tensor([2, 2, 0, 3]),
        shelf_ptr=torch.tensor([0, 3, 4]),
        author_ptr=torch.tensor([0, 1, 3, 4]),
        by_author=torch.tensor([2, 0, 3, 1]),
    )
    return replace(made, **changes)


def same(a: Record, b: Record) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]  # type: ignore[arg-type]
    return all(x is y if x is None or y is None else x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


def lopsided() -> GaugeGraph:
    """Edges that are not the same both ways."""
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).numpy()
    return PointCloud(points, points).gauge_graph(nearest=5)


def test_a_part_numbers_and_points_to_what_is_left():
    lent = library(lent=torch.tensor([True, False, False, True]))
    part = lent.take({"books": torch.tensor([True, False, True, True])})
    assert part.weight.tolist() == [1.0, 3.0, 4.0] and part.cites.tolist() == [1, 0, 2]
    assert part.shelf_ptr.tolist() == [0, 2, 3] and part.lent is not None and part.lent.tolist() == [True, False, True]
    # By author: the third book, then the first and the last, and nothing of who wrote the second.
    assert part.by_author.tolist() == [1, 0, 2] and part.author_ptr.tolist() == [0, 1, 3, 3]
    upper = part.take({"books": torch.tensor([False, False, True]), "shelves": torch.tensor([False, True])})
    assert upper.shelf_ptr.tolist() == [0, 1] and upper.cites.tolist() == [0]
    part.check_fields()


def test_a_graph_whose_edges_go_one_way_stays_valid():
    graph = lopsided()
    part = graph.subset(torch.arange(40) % 3 > 0)
    part.validate()
    assert part.num_edges < graph.num_edges
    parts = GaugeGraph.batch([graph, part]).unbatch()
    assert same(parts[0], graph) and same(parts[1], part)


def test_batch_and_split_are_inverse():
    lent = library(lent=torch.tensor([True, False, False, True]))
    both = Library.batch([library(), lent])
    both.check_fields()
    assert both.cites.tolist() == [2, 2, 0, 3, 6, 6, 4, 7] and both.shelf_ptr.tolist() == [0, 3, 4, 7, 8]
    assert both.lent is not None and both.lent.tolist() == [False] * 4 + [True, False, False, True]
    one, two = both.split({"books": [0, 4, 8], "shelves": [0, 2, 4], "authors": [0, 3, 6]})
    assert same(two, lent) and same(one, library(lent=torch.zeros(4, dtype=torch.bool)))
    assert Library.batch([library(), library()]).lent is None
    with pytest.raises(ValueError, match="empty list of Library"):
        Library.batch([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.ones(4, 1)}, r"weight has shape \(4, 1\), expected \(4,\)"),
        ({"cites": torch.tensor([0, 1, 2, 4])}, r"cites has indices 0\.\.4, out of range for 4 books"),
        ({"by_author": torch.tensor([0, 0, 1, 2])}, "by_author is not a permutation of the books"),
        ({"shelf_ptr": torch.tensor([0.0, 3.0, 4.0])}, "shelf_ptr is torch.float32 with shape"),
        ({"weight": torch.tensor([1.0, torch.inf, 3.0, 4.0])}, r"weight is not finite in 1 places, first at \[1\]"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Tensor], message: str):
    with pytest.raises(ValueError, match=message):
        library(**changes).check_fields()


def surfaces() -> dict[str, Any]:
    hierarchy = HealpixSphere(2).hierarchy(2)
    x = torch.zeros(hierarchy.num_vertices, 1, dtype=torch.float64)
    return {
        "graph": lopsided(),
        "pooling": hierarchy.pools[0],
        "hierarchy": hierarchy,
        "complex": HealpixSphere(2).surface_complex(),
        "batch": SurfaceBatch(x, hierarchy, torch.zeros(1, dtype=torch.int64), None, ["sphere"]),
    }


@pytest.mark.parametrize("name", surfaces())
def test_nothing_moved_is_the_record_itself(name: str):
    record = surfaces()[name]
    assert record.to("cpu") is record and record.to(torch.float64) is record
    assert record.to("cpu", torch.float64) is record
    single = record.to(torch.float32)
    assert single is not record and single.to(torch.float32, non_blocking=True) is single
    kinds = {leaf.dtype for leaf in pytree.tree_leaves(single) if isinstance(leaf, Tensor)}
    assert torch.float32 in kinds and torch.float64 not in kinds
    assert all(t.device.type == "meta" for t in pytree.tree_leaves(record.to("meta")) if isinstance(t, Tensor))


def test_what_was_computed_from_a_graph_survives_a_move_to_where_it_is():
    graph = lopsided()
    graph = graph.change_gauge(torch.zeros(40), torch.arange(40) % 2 == 0)
    x = torch.zeros(40, 1, dtype=torch.float64)
    kind = nn.Linear("O(2): 1x0", "O(2): 1x0").in_type
    assert graph.to("cpu").sources(x, kind)[1] is graph.sources(x, kind)[1]


@pytest.mark.parametrize("name", surfaces())
def test_records_are_pytrees(name: str):
    record = surfaces()[name]
    leaves, structure = pytree.tree_flatten(record)
    again = pytree.tree_unflatten(leaves, structure)
    assert type(again) is type(record)
    assert all(a is b for a, b in zip(leaves, pytree.tree_leaves(again), strict=True))
    assert pytree.treespec_loads(pytree.treespec_dumps(structure)) == structure  # as an exported program is stored
    # Anything may stand in the place of tensors.
    assert set(pytree.tree_leaves(pytree.tree_map(lambda leaf: 0, record))) == {0}


@pytest.mark.parametrize("name", surfaces())
def test_records_are_stored_without_code(name: str, tmp_path):
    record = surfaces()[name]
    torch.save(record, tmp_path / "record.pt")
    again = torch.load(tmp_path / "record.pt", weights_only=True)
    pairs = zip(pytree.tree_leaves(record), pytree.tree_leaves(again), strict=True)
    assert all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


@pytest.mark.slow
def test_an_exported_program_takes_the_surface_as_an_argument(tmp_path):
    net = nn.GaugeConv("3x0", "4x0").double().eval()
    small, large = lopsided(), HealpixSphere(2).gauge_graph()
    x, y = (torch.randn(g.num_vertices, 3, dtype=torch.float64) for g in (small, large))
    sizes = torch.export.AdditionalInputs()
    sizes.add((y, large))
    program = torch.export.export(net, (x, small), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "net.pt2")
    loaded = torch.export.load(tmp_path / "net.pt2").module()
    torch.testing.assert_close(loaded(y, large), net(y, large))
    torch.testing.assert_close(loaded(x, small), net(x, small))
