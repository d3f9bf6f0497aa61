"""Inputs of exported programs, and operators in plain torch."""

from __future__ import annotations

import json

import pytest
import torch
from meshes import icosphere

from meshconv import FieldType, GaugeGraph, InputError, TriangleMesh
from meshconv.datasets import MeshSample, Preparation, collate
from meshconv.export.layout import Layout
from meshconv.ops.plain import plain_operators, row_of
from meshconv.ops.references.gauge_conv import point_terms_reference

OPS = torch.ops.meshconv


def batch(levels: int, subdivisions: int = 2):
    how = Preparation(num_levels=levels)
    mesh = icosphere(subdivisions)
    x, surface = how.inputs(TriangleMesh(mesh.vertices * [1, 1.2, 0.8], mesh.faces, "ellipsoid"))
    return collate([MeshSample(x, surface, torch.tensor(0), "ellipsoid")])


@pytest.mark.parametrize("levels", [1, 3])
def test_batches_are_packed_by_name_and_unpacked(levels):
    given = batch(levels)
    layout = Layout.of(given)
    packed = layout.pack(given)
    assert list(packed) == [entry.name for entry in layout.inputs]
    again = Layout.from_spec(json.loads(json.dumps(layout.spec)))
    assert again.inputs == layout.inputs
    found = again.unpack(packed)
    torch.testing.assert_close(layout.pack(found), packed, rtol=0, atol=0)
    graph = found.surface.finest
    assert isinstance(graph, GaugeGraph) and graph.num_vertices == given.surface.finest.num_vertices
    names = [name for name in packed if name.endswith(("src", "dst_ptr")) or name == "x"]
    some = again.keep(names).unpack({name: packed[name] for name in names}).surface.finest
    assert some.sizes == graph.sizes and not some.positions.any()


def test_other_batches_than_the_program_takes():
    layout = Layout.of(batch(3))
    with pytest.raises(InputError, match="ellipsoid: 2 levels, the program takes 3"):
        layout.pack(batch(2))
    with pytest.raises(InputError, match="ellipsoid: the program takes 3 levels"):
        layout.pack(batch(1))
    with pytest.raises(InputError, match="the list of inputs is damaged"):
        Layout.from_spec({"levels": 0, "inputs": [{"name": "x"}]})


def edges(num_src: int, num_dst: int, count: int):
    """Random edges by target, some rows empty, and their transpose."""
    generator = torch.Generator().manual_seed(1)
    src = torch.randint(0, num_src, (count,), generator=generator)
    dst = torch.randint(0, num_dst - 1, (count,), generator=generator).sort().values
    order = src.argsort(stable=True)
    ptr = [torch.bincount(ends, minlength=n).cumsum(0) for ends, n in ((dst, num_dst), (src, num_src))]
    dst_ptr, src_ptr = (torch.nn.functional.pad(p, (1, 0)) for p in ptr)
    return dst_ptr, src, dst, src_ptr, order


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("form", ["edges", "matrices", "neighbours"])
def test_plain_operators_are_the_compiled_ones(transpose, form):
    given = edges(9, 7, 40)
    longest = {(7, 40): int(given[0].diff().max()), (9, 40): int(given[3].diff().max())}
    degrees = longest if form == "neighbours" else {}
    plain = plain_operators(form == "matrices", degrees)
    angle, turn, radial = torch.randn(40), torch.randn(40), torch.rand(40, 3)
    rows = 7 if transpose else 9
    x = torch.randn(2, rows, 4 + 2 * 3)
    calls = {
        OPS.gauge_conv: (x, torch.randn(3, 10, 7), radial, angle, turn, *given, [4, 3], [5, 1], transpose),
        OPS.depthwise_conv: (torch.randn(2, rows, 6), torch.randn(3, 3, 3, 2), radial, angle, turn, *given, [2, 2],
                             [2, 2], transpose),
        OPS.transport_sum: (x[..., [0, 1, *range(4, 8)]], torch.rand(1, 40, 2), turn, *given, [2, 2], transpose),
    }  # fmt: skip
    if not transpose:
        y, logits = torch.randn(2, 7, 10), torch.randn(2, 40, 3)
        chosen = OPS.transport_argmax(x, *given, [4, 3], True)
        calls |= {
            OPS.transport_dot: (x, y, turn, *given, [4, 3], 1),
            OPS.transport_argmax: (x, *given, [4, 3], True),
            OPS.transport_select: (x, chosen, turn, *given, [4, 3], False),
            OPS.segment_softmax: (logits, given[0]),
            OPS.segment_total: (logits, given[0]),
            OPS.fourier_act: (torch.randn(6, 5, 3), 17, "silu"),
        }
    for operator, arguments in calls.items():
        torch.testing.assert_close(plain[operator.default](*arguments), operator(*arguments), rtol=1e-5, atol=1e-5)


def test_rows_of_members():
    ptr = torch.tensor([0, 0, 2, 2, 5, 5])
    assert row_of(ptr, 5).tolist() == [1, 1, 3, 3, 3]


def test_programs_have_no_products_over_nothing():
    """Inputs of scalars alone: runtimes of ONNX refuse arrays without elements that are reshaped."""
    kinds = FieldType("3x0"), FieldType("2x0 + 2x1")

    class Point(torch.nn.Module):
        def forward(self, x, point, bias):
            return point_terms_reference(x, point, bias, *kinds)

    given = torch.randn(1, 5, 3), torch.randn(3, 6), torch.randn(2)
    program = torch.export.export(Point(), given)
    values = [node.meta["val"] for node in program.graph.nodes if "val" in node.meta]
    assert [value.shape for value in values if value.numel() == 0] == []
    expected = torch.cat([given[0] @ given[1][:, :2] + given[2], torch.zeros(1, 5, 4)], -1)
    torch.testing.assert_close(program.module()(*given), expected)
