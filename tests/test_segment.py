"""Transport and reduce: compiled against reference, definitions by hand, derivatives, odd rows, errors."""

from __future__ import annotations

import pytest
import torch
from segment_case import OPERATORS, Case
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from meshconv import FieldType
from meshconv.nn import ClusterMaxPool, ClusterPool, ClusterUnpool, GlobalPool
from meshconv.ops import segment_softmax, transport_dot, transport_max, transport_sum
from meshconv.ops.references.segment import segment_softmax_reference

TYPES = [("1x0", 1), ("1x3", 1), ("4x0 + 6x1 + 2x4", 2), ("3x0 + 9x1 + 6x2", 3), ("17x0 + 33x1", 1), ("2x2 + 4x8", 2)]
BOUND = {torch.float64: 1e-13, torch.float32: 3e-6}


def rotated(t: FieldType, f: Tensor, angle: Tensor) -> Tensor:
    """rho(angle) f of one vector, with explicit complex numbers."""
    parts = []
    for m in t.orders:
        block = f[t.slice(m)]
        if m:
            z = torch.complex(*block.chunk(2)) * torch.exp(1j * m * angle)
            block = torch.cat([z.real, z.imag])
        parts.append(block)
    return torch.cat(parts)


@pytest.mark.parametrize("compiled", [True, False])
def test_they_compute_their_definitions(random_graph, compiled):
    case = Case.random(random_graph(6, 17), "2x0 + 2x1 + 2x3", heads=2, batch=1)
    g, t, x, y, w = case.graph, case.type, case.x[0], case.y[0], case.weight[0]
    total, back = torch.zeros(2, 6, t.dim, dtype=torch.float64)
    longest, seen, products = torch.zeros(6, t.dim).double(), torch.zeros(6, t.num_fields).double(), []
    for e in range(g.num_edges):
        q, p, a = int(g.src[e]), int(g.dst[e]), g.transporter[e]
        moved, factor = rotated(t, x[q], a), t.per_component(w[e].repeat(3))  # two fields of each of three orders
        total[p] += factor * moved
        back[q] += factor * rotated(t, y[p], -a)
        product = moved * y[p]
        products.append(torch.stack([product[h::2].sum() for h in range(2)]))
        better = t.norms(x[q]) > seen[p]
        seen[p] = torch.where(better, t.norms(x[q]), seen[p])
        longest[p] = torch.where(t.per_component(better.double()) > 0, moved, longest[p])
    for name, expected in {"sum": total, "adjoint": back, "dot": torch.stack(products), "max": longest}.items():
        torch.testing.assert_close(case.run(name, compiled)[0], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(("field_type", "heads"), TYPES)
@pytest.mark.parametrize("shared", [False, True])
def test_compiled_equals_reference_with_gradients(random_graph, name, field_type, heads, shared):
    case = Case.random(random_graph(70, 400), field_type, heads, shared=shared)
    case.x = case.to(torch.float32).x.double()  # so that both precisions take the same member
    expected = gradients(case, name, False)
    for dtype, bound in BOUND.items():
        for found, exact in zip(gradients(case.to(dtype), name, True), expected, strict=True):
            assert (found.double() - exact).norm() <= bound * exact.norm()


def gradients(case: Case, name: str, compiled: bool) -> list[Tensor]:
    leaves = case.leaves()
    value = case.run(name, compiled, leaves)
    g = torch.linspace(0, 9, value.numel(), dtype=torch.float64).cos().reshape(value.shape).to(value.dtype)
    wanted = [leaves[k] for k in OPERATORS[name]]
    return [value.detach(), *torch.autograd.grad(value, wanted, g, materialize_grads=True)]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", OPERATORS)
def test_first_and_second_derivatives(random_graph, name, compiled):
    case = Case.random(random_graph(4, 7), "2x0 + 2x2", heads=2, shared=True)
    leaves = case.leaves()
    names = OPERATORS[name]

    def f(*values: Tensor) -> Tensor:
        return case.run(name, compiled, {**leaves, **dict(zip(names, values, strict=True))})

    assert gradcheck(f, [leaves[k] for k in names])
    assert gradgradcheck(f, [leaves[k] for k in names])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("transpose", [False, True])
def test_operators_obey_the_rules_of_torch(random_graph, transpose):
    case = Case.random(random_graph(5, 9), "2x0 + 2x2", heads=2)
    a, tail, ops = case.leaves(), (*case.edges, case.type.multiplicities), torch.ops.meshconv
    chosen = ops.transport_argmax(case.x, *tail, False)
    opcheck = torch.library.opcheck
    opcheck(ops.transport_sum.default, (a["x"], a["weight"], a["transporter"], *tail, transpose))
    opcheck(ops.transport_select.default, (a["x"], chosen, a["transporter"], *tail, transpose))
    if transpose:
        return
    opcheck(ops.transport_dot.default, (a["x"], a["y"], a["transporter"], *tail, 2))
    opcheck(ops.transport_argmax.default, (case.x, *tail, True))
    opcheck(ops.segment_softmax.default, (a["weight"], case.graph.dst_ptr))
    opcheck(ops.segment_total.default, (a["weight"], case.graph.dst_ptr))


def test_selecting_has_itself_as_adjoint(random_graph, compiled):
    case = Case.random(random_graph(40, 300), "3x0 + 2x1 + 1x5")
    tail, ops = (case.graph.transporter, *case.edges, case.type.multiplicities), torch.ops.meshconv
    chosen = ops.transport_argmax(case.x, *tail[1:], False)
    forward, back = (ops.transport_select(v, chosen, *tail, t) for v, t in ((case.x, False), (case.y, True)))
    torch.testing.assert_close((forward * case.y).sum(), (back * case.x).sum(), rtol=1e-12, atol=0)


# --- softmax


@pytest.mark.parametrize("function", [segment_softmax, segment_softmax_reference])
def test_softmax_of_rows(function):
    ptr, logits = torch.tensor([0, 0, 3, 4, 4, 9]), 5 * torch.randn(2, 9, 3, dtype=torch.float64)
    p = function(logits, ptr)
    for a, b in ((0, 3), (3, 4), (4, 9)):
        torch.testing.assert_close(p[:, a:b], logits[:, a:b].softmax(1), rtol=1e-13, atol=0)


@pytest.mark.parametrize("function", [segment_softmax, segment_softmax_reference])
def test_softmax_derivatives(function):
    ptr = torch.tensor([0, 0, 3, 4, 4, 6])
    logits = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(function, (logits, ptr))
    assert gradgradcheck(function, (logits, ptr))


@pytest.mark.parametrize("function", [segment_softmax, segment_softmax_reference])
@pytest.mark.parametrize("dtype", BOUND)
def test_softmax_of_odd_logits(function, dtype):
    inf, nan = float("inf"), float("nan")
    rows = {  # logits, weights
        (1e4, 1e4 + 1): (0.2689414213699951, 0.7310585786300049),
        (-inf, 0.0, -inf): (0, 1, 0),
        (-inf, -inf): (0, 0),
        (nan, 0.0): (nan, nan),
        (inf, 0.0): (nan, nan),  # as in torch.softmax
        (-1e30,): (1,),
    }
    logits, expected = (torch.tensor([v for row in side for v in row], dtype=dtype) for side in (rows, rows.values()))
    ptr = torch.tensor([0, 2, 5, 7, 9, 11, 12])
    found = function(logits[None, :, None], ptr)[0, :, 0]
    torch.testing.assert_close(found, expected, equal_nan=True)


# --- rows, numbers, precisions


@pytest.mark.parametrize(("vertices", "edges"), [(0, 0), (3, 0), (1, 4)])
@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_almost_nothing(random_graph, name, vertices, edges, batch):
    case = Case.random(random_graph(vertices, edges), "2x0 + 2x1", heads=2, batch=batch)
    leaves = case.leaves()
    value = case.run(name, True, leaves)
    torch.testing.assert_close(value, case.run(name, False), rtol=1e-13, atol=1e-13)
    wanted = [leaves[k] for k in OPERATORS[name]]
    for leaf, grad in zip(wanted, torch.autograd.grad(value.sum(), wanted, materialize_grads=True), strict=True):
        assert grad.shape == leaf.shape
        assert edges or not grad.any()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", ["sum", "max"])
def test_a_bad_number_reaches_neighbours_alone(random_graph, name, compiled):
    case = Case.random(random_graph(60, 150), "2x0 + 2x1", batch=1)
    clean = case.run(name, compiled)
    case.x[0, 17, case.type.slice(1).start] = float("nan")  # the cosine of the first vector
    y = case.run(name, compiled)
    hit = torch.zeros(60, dtype=torch.bool)
    hit[case.graph.dst[case.graph.src == 17]] = True
    assert 0 < hit.sum() < 20
    assert y[0, hit][:, [2, 4]].isnan().all()
    rest = y.clone()
    rest[0, hit] = torch.where(torch.tensor([True, True, False, True, False, True]), y[0, hit], clean[0, hit])
    torch.testing.assert_close(rest, clean, rtol=0, atol=0)


@pytest.mark.parametrize("compiled", [True, False])
def test_of_equals_the_first_wins_and_takes_the_gradient(random_graph, compiled):
    case = Case.random(random_graph(5, 30), "3x0", batch=1)
    case.x.fill_(-2.0)
    leaves = case.leaves()
    case.run("max", compiled, leaves).sum().backward()
    first = case.graph.src[case.graph.dst_ptr[:-1]]
    assert torch.equal(leaves["x"].grad[0, :, 0], torch.bincount(first, minlength=5).double())


@pytest.mark.parametrize("compiled", [True, False])
def test_lengths_beyond_the_range_of_squares_are_compared(random_graph, compiled):
    case = Case.random(random_graph(5, 30), "2x1", batch=1).to(torch.float32)
    small = case.run("max", compiled)
    big = Case(case.x * 2.0**100, case.y, case.weight, case.graph, case.type).run("max", compiled)
    assert torch.equal(big, small * 2.0**100)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2**-10), (torch.bfloat16, 2**-7)])
@pytest.mark.parametrize("name", ["sum", "adjoint", "dot", "max"])
def test_half_precision_rounds_only_the_features(random_graph, name, dtype, bound):
    case = Case.random(random_graph(60, 400), "6x0 + 4x1 + 2x8", heads=2)
    half = case.to(dtype)
    y = half.run(name, True, {k: t.detach() for k, t in half.leaves().items()})
    exact = half.to(torch.float64)
    exact.graph = half.graph.to(torch.float64)
    exact = exact.run(name, False)
    assert y.dtype == dtype
    assert 0 < (y.double() - exact).norm() < bound * exact.norm()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", OPERATORS)
def test_bits_do_not_depend_on_threads(random_graph, name):
    case = Case.random(random_graph(900, 9000), "8x0 + 16x1", heads=4).to(torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(gradients(case, name, True))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("compiled")
def test_long_rows_keep_their_digits():
    """Each sum in float32 rounds; only a few dozen of them may follow one another."""
    members = 200_000
    points, zeros = torch.arange(members + 1), torch.zeros(members, dtype=torch.int64)
    edges = (torch.tensor([0, members]), points[:-1], zeros, points, points[:-1])
    x, ones, g = torch.full((members, 3), 0.1), torch.ones(members), torch.zeros(members)
    y = transport_sum(x, ones, g, edges, FieldType("1x0 + 1x1")).double()
    expected = torch.full((1, 3), members * float(x[0, 0]), dtype=torch.float64)
    torch.testing.assert_close(y, expected, rtol=5e-6, atol=0)


def test_weights_of_every_shape(random_graph):
    case = Case.random(random_graph(20, 60), "2x0 + 2x1", heads=2, batch=6)
    x, edges, g, t = case.x.reshape(2, 3, 20, -1), case.edges, case.graph.transporter, case.type
    full = transport_sum(x, case.weight.reshape(2, 3, 60, 2), g, edges, t)
    torch.testing.assert_close(full[1, 2], transport_sum(x[1, 2], case.weight[5], g, edges, t))
    plain = transport_sum(x, case.weight[0, :, 0], g, edges, t)
    torch.testing.assert_close(plain, transport_sum(x, case.weight[0, :, :1].expand(60, 2), g, edges, t))


# --- pooling


def test_pooling_has_the_same_bits_for_any_number_of_threads(hierarchy):
    pooling, graph = hierarchy.to(torch.float32).pools[0], hierarchy.to(torch.float32).levels[0]
    t, before, results = FieldType("40x0 + 40x1"), torch.get_num_threads(), []
    fine, coarse = torch.randn(3, 192, t.dim), torch.randn(3, 48, t.dim)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            pooled = [ClusterPool(t)(fine, pooling), ClusterMaxPool(t)(fine, pooling)]
            pooled += [GlobalPool(t, r)(fine, graph) for r in ("mean", "area", "max")]
            results.append([*pooled, ClusterUnpool(t)(coarse, pooling)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_max_pooling_takes_the_longest_arrow_in_any_gauge(hierarchy):
    pooling, t = hierarchy.pools[0], FieldType("2x0 + 3x1 + 2x2")
    fine, coarse = (g.random_gauge() for g in hierarchy.levels[:2])
    x = torch.randn(192, t.dim, dtype=torch.float64)
    y = ClusterMaxPool(t)(x, pooling)
    turned = ClusterMaxPool(t)(t.rotate(x, -fine), pooling.change_gauge(fine, coarse))
    torch.testing.assert_close(turned, t.rotate(y, -coarse), rtol=1e-12, atol=1e-12)
    values = t.invariants(x)
    for c in (0, 7, 47):
        torch.testing.assert_close(t.invariants(y)[c], values[pooling.parent == c].amax(0))


def test_pooling_by_area(hierarchy):
    pooling, t = hierarchy.pools[0], FieldType("2x0 + 1x1")
    x, areas = torch.randn(192, t.dim, dtype=torch.float64), torch.rand(192, dtype=torch.float64)
    y = ClusterPool(t)(x, pooling, areas)
    moved = t.rotate(x, pooling.transporter)
    for c in (0, 20, 47):
        member = pooling.parent == c
        expected = (areas[member, None] * moved[member]).sum(0) / areas[member].sum()
        torch.testing.assert_close(y[c], expected)
    torch.testing.assert_close(ClusterPool(t)(x, pooling, 0 * areas + 3), ClusterPool(t)(x, pooling))


@pytest.mark.parametrize("layer", [ClusterPool, ClusterMaxPool, ClusterUnpool])
def test_pooling_compiles_without_graph_breaks(hierarchy, layer):
    module, pooling = layer("2x0 + 1x1"), hierarchy.to(torch.float32).pools[0]
    x = torch.randn(48 if layer is ClusterUnpool else 192, 4, requires_grad=True)
    fast = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(x, pooling), module(x, pooling))
    grads = [torch.autograd.grad(f(x, pooling).square().sum(), x)[0] for f in (fast, module)]
    torch.testing.assert_close(*grads)


def test_attention_of_these_parts_is_equivariant(sphere):
    """Logits, softmax, weighted sum: what an attention layer does, in two gauges."""
    t = FieldType("4x0 + 4x1 + 2x2")
    alpha, (q, k, v) = sphere.random_gauge(), torch.randn(3, 48, t.dim, dtype=torch.float64)

    def attend(q, k, v, g):
        edges = g.edges
        weight = segment_softmax(transport_dot(k, q, g.transporter, edges, t, heads=2), g.dst_ptr)
        return transport_sum(v, weight, g.transporter, edges, t)

    turned = attend(*(t.rotate(f, -alpha) for f in (q, k, v)), sphere.change_gauge(alpha))
    torch.testing.assert_close(turned, t.rotate(attend(q, k, v, sphere), -alpha), rtol=1e-12, atol=1e-12)


# --- errors


def test_bad_arguments_are_errors_with_the_numbers(random_graph, compiled):
    case = Case.random(random_graph(5, 9), "2x0 + 4x1", batch=1)
    x, w, g, e, t = case.x, case.weight, case.graph.transporter, case.edges, case.type

    def fails(message: str, *arguments, function=transport_sum, **options) -> None:
        with pytest.raises((ValueError, RuntimeError), match=message):
            function(*arguments, **options)

    fails(r"last axis of 10, got \(1, 5, 9\)", x[..., :9], w, g, e, t)
    fails(r"vertex axis and a feature axis, got shape \(10,\)", x[0, 0], w, g, e, t)
    fails("x has 4 vertices, the graph 5", x[:, :4], w, g, e, t)
    fails(r"weight has shape \(2, 9, 1\), its leading axes have to be \(1,\)", x, w.expand(2, 9, 1), g, e, t)
    fails(r"weight has shape \[1, 8, 1\], expected \[-1, 9, -1\]", x, w[:, :8], g, e, t)
    fails(r"3 heads do not divide the multiplicities \[2, 4\]", x, w.expand(1, 9, 3), g, e, t)
    fails(r"transporter has shape \[8\], expected \[9\]", x, w, g[:8], e, t)
    fails("dst has to be int64", x, w, g, (*e[:2], e[2].int(), *e[3:]), t)
    fails(r"src_edge has shape \[8\], expected \[9\]", x, w, g, (*e[:4], e[4][:8]), t)
    fails("3 heads do not divide", x, x, g, e, t, 3, function=transport_dot)
    fails("0 heads, at least one", x, x, g, e, t, 0, function=transport_dot)
    fails("do not go together", x, x.float(), g, e, t, function=transport_dot)
    fails("scalars 'length' is not 'norm' or 'value'", x, g, e, t, "length", function=transport_max)
    fails(r"got shape \(3,\)", torch.zeros(3), e[0], function=segment_softmax)
    fails("ptr has to be int64", torch.zeros(3, 1), e[0].int(), function=segment_softmax)
    fails("orders between 0 and 32, got 34", torch.zeros(5, 2), w[0], g, e, FieldType("1x33"))
    ops, tail = torch.ops.meshconv, (*e, [2, 4])
    fails("x has to be float32 or float64", x.half(), w, g, *tail, False, function=ops.transport_sum)
    fails("weight has to have the dtype of x", x, w.float(), g, *tail, False, function=ops.transport_sum)
    fails(r"y has shape \[1, 4, 10\], expected \[1, 5, 10\]", x, x[:, :4], g, *tail, 1, function=ops.transport_dot)
    chosen = torch.zeros(1, 5, 5, dtype=torch.int64)
    select = ops.transport_select
    fails(r"chosen has shape \[1, 5, 5\], expected \[1, 5, 6\]", x, chosen, g, *tail, False, function=select)
