"""Indices and numbers that are wrong: a clear error or the right result, for every operator and in every direction."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph
from meshconv.ops import fourier_act, gauge_conv, segment_softmax, transport_dot, transport_max, transport_sum

V, E = 7, 19
IN, OUT = FieldType("2x0 + 1x1 + 1x3"), FieldType("1x0 + 2x1")
WIDE = FieldType("40x0 + 24x1")  # so much wider than its output that the products come first
NAMES = ("dst_ptr", "src", "dst", "src_ptr", "src_edge")
READ = {False: {"dst_ptr", "src", "dst"}, True: {"src_ptr", "src_edge", "src", "dst"}}
"""The index arrays that a direction reads, by ``transpose``."""

Edges = dict[str, Tensor]


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def conv(operator: str, in_type: FieldType, out_type: FieldType, transpose: bool) -> Callable[[Edges], Tensor]:
    x, y = normal(2, V, in_type.dim), normal(2, V, out_type.dim)
    weight, radial, angles = normal(2, in_type.dim, out_type.dim), normal(E, 2), normal(2, E)
    first = {"gauge_conv": (x, weight, radial), "gauge_conv_weight": (x, y, radial),
             "gauge_conv_edge": (x, y, weight)}[operator]  # fmt: skip
    types = (in_type.multiplicities, out_type.multiplicities, transpose)
    return lambda e: getattr(torch.ops.meshconv, operator)(*first, *angles, *(e[n] for n in NAMES), *types)


def segment(operator: str, *first: Tensor, tail: tuple = ()) -> Callable[[Edges], Tensor]:
    return lambda e: getattr(torch.ops.meshconv, operator)(*first, *(e[n] for n in NAMES), IN.multiplicities, *tail)


def operators() -> dict[str, tuple[Callable[[Edges], Tensor], bool]]:
    """Every operator that walks along edges, and whether it does so backwards."""
    x, weight, angle = normal(2, V, IN.dim), normal(2, E, 1), normal(E)
    chosen = torch.arange(2 * V * IN.num_fields).reshape(2, V, IN.num_fields) % E
    found: dict[str, tuple[Callable[[Edges], Tensor], bool]] = {}
    for t in (False, True):
        mark = " backwards" if t else ""
        for name in ("gauge_conv", "gauge_conv_weight", "gauge_conv_edge"):
            found[name + mark] = conv(name, IN, OUT, t), t
        found["gauge_conv, products first" + mark] = conv("gauge_conv", WIDE, OUT, t), t
        found["transport_sum" + mark] = segment("transport_sum", x, weight, angle, tail=(t,)), t
        found["transport_select" + mark] = segment("transport_select", x, chosen, angle, tail=(t,)), t
    found["transport_dot"] = segment("transport_dot", x, x, angle, tail=(1,)), False
    found["transport_argmax"] = segment("transport_argmax", x, tail=(False,)), False
    return found


OPERATORS = operators()


def edges_of(graph: GaugeGraph) -> Edges:
    return {n: getattr(graph, n).clone() for n in NAMES}


def put(name: str, place: int, value: int) -> Callable[[Edges], None]:
    def corrupt(e: Edges) -> None:
        e[name][place] = value

    return corrupt


def swap(name: str, a: int, b: int) -> Callable[[Edges], None]:
    def corrupt(e: Edges) -> None:
        e[name][[a, b]] = e[name][[b, a]]

    return corrupt


FAR = (2**62, -(2**63), 2**63 - 1)
CORRUPT: dict[str, tuple[Callable[[Edges], None], str]] = {
    **{f"src {v}": (put("src", 3, v), r"src\[3\] is|src_ptr, but src") for v in (-1, V, *FAR)},
    **{f"dst {v}": (put("dst", 18, v), r"dst\[18\] is") for v in (-1, V, *FAR)},
    **{f"src_edge {v}": (put("src_edge", 5, v), r"src_edge\[5\] is .* for 19 edges") for v in (-1, E, *FAR)},
    **{f"{n} {v}": (put(n, 2, v), f"{n} does not ascend") for n in ("dst_ptr", "src_ptr") for v in (-1, E + 1, *FAR)},
    "dst_ptr starts late": (put("dst_ptr", 0, 1), "dst_ptr goes from 1 to 19, expected 0 to 19"),
    "src_ptr ends early": (put("src_ptr", -1, E - 1), "src_ptr goes from 0 to 18, expected 0 to 19"),
    "src_ptr ends late": (put("src_ptr", -1, E + 1), "src_ptr goes from 0 to 20, expected 0 to 19"),
    "dst unsorted": (swap("dst", 0, 18), r"edge 0 stands in row 0 of dst_ptr, but dst\[0\] is 6; .*from_edges"),
    "src_edge unsorted": (swap("src_edge", 0, 18), "stands in row 0 of src_ptr, but src"),
}


FAULTS = [
    (name, fault)
    for name, (_, transpose) in OPERATORS.items()
    for fault in CORRUPT
    # Targets that are swapped make another graph, as good as the first, for one who collects by source.
    if not (transpose and fault == "dst unsorted")
    # All operators share the check: numbers at the ends of the range are left to one of them.
    and (name.startswith("transport_sum") or not any(fault.endswith(str(v)) for v in FAR))
]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_wrong_indices_are_an_error_or_are_not_read(random_graph, name, fault):
    (operator, transpose), (corrupt, message) = OPERATORS[name], CORRUPT[fault]
    good = edges_of(random_graph(V, E))
    bad = {n: t.clone() for n, t in good.items()}
    corrupt(bad)
    changed = {n for n in NAMES if not torch.equal(good[n], bad[n])}
    if changed & READ[transpose]:
        with pytest.raises(RuntimeError, match=message):
            operator(bad)
    else:
        assert torch.equal(operator(bad), operator(good))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("operator", ["segment_softmax", "segment_total"])
def test_rows_of_values_have_to_cover_them(operator):
    run, values = getattr(torch.ops.meshconv, operator), normal(1, 5, 2)
    run(values, torch.tensor([0, 2, 2, 5]))
    for ptr, message in {
        (0, 2, 6): "ptr goes from 0 to 6, expected 0 to 5",
        (1, 2, 5): "ptr goes from 1 to 5, expected 0 to 5",
        (0, 4, 2, 5): "ptr does not ascend: 4 at 1, then 2",
        (0, 9, 5): "ptr does not ascend: 0 at 0, then 9",
        (0, -3, 5): "ptr does not ascend: 0 at 0, then -3",
        (0,): "ptr goes from 0 to 0, expected 0 to 5",
    }.items():
        with pytest.raises(RuntimeError, match=message):
            run(values, torch.tensor(ptr))


@pytest.mark.usefixtures("compiled")
def test_a_wrong_index_in_many_rows_is_found_by_any_thread():
    """The rows are checked in runs of some thousands, on all threads."""
    count = 100_000
    points = torch.arange(count + 1)
    edges = {"dst_ptr": points, "src": points[:-1].clone(), "dst": points[:-1], "src_ptr": points,
             "src_edge": points[:-1]}  # fmt: skip
    x, ones = torch.zeros(1, count, 1), torch.ones(1, count, 1)
    for place in (0, count // 2, count - 1):
        edges["src"][place] = count
        with pytest.raises(RuntimeError, match=rf"src\[{place}\] is {count}, out of range for {count} vertices"):
            torch.ops.meshconv.transport_sum(x, ones, ones[0, :, 0], *(edges[n] for n in NAMES), [1], False)
        edges["src"][place] = place


@pytest.mark.usefixtures("compiled")
def test_sizes_that_would_overflow_are_errors(random_graph):
    e, ops = edges_of(random_graph(V, E)), torch.ops.meshconv
    x, weight, angle = torch.zeros(1, V, 1), torch.zeros(1, E, 1), torch.zeros(E)
    for counts in ([-1], [2**31], [1, 2**62]):
        with pytest.raises(RuntimeError, match=f"multiplicity {counts[-1]} in"):
            ops.transport_sum(x, weight, angle, *e.values(), counts, False)
        with pytest.raises(RuntimeError, match=f"multiplicity {counts[-1]} in"):
            ops.gauge_conv(x, weight, weight[0], angle, angle, *e.values(), [1], counts, False)
    samples = (2**64 + 4) // 5  # times 5 components it is 4 in 64 bits
    with pytest.raises(RuntimeError, match="samples are more than 1048576"):
        ops.fourier_act(torch.zeros(2, 5, 1), samples, "relu")


# --- tensors that lie elsewhere or otherwise


def strided(t: Tensor) -> Tensor:
    """The same values, the last axis first in memory, and of that every other element."""
    view = t.new_empty(t.shape[-1], *t.shape[:-1], 2)[..., 0].movedim(0, -1)
    view.copy_(t)
    assert not view.is_contiguous()
    return view


def calls(graph: GaugeGraph) -> dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]]:
    """The public functions, and all tensors that they take, indices last."""
    edges = (graph.dst_ptr, graph.src, graph.dst, graph.src_ptr, graph.src_edge)
    x, y, w = normal(2, V, IN.dim), normal(2, V, IN.dim), normal(2, E, 1)
    angles = (graph.log_angle, graph.transporter)
    return {
        "conv": (lambda x, w, r, a, g, *e: gauge_conv(x, w, r, a, g, e, IN, OUT),
                 (x, normal(2, IN.dim, OUT.dim), normal(E, 2), *angles, *edges)),
        "sum": (lambda x, w, g, *e: transport_sum(x, w, g, e, IN), (x, w, graph.transporter, *edges)),
        "adjoint": (lambda x, w, g, *e: transport_sum(x, w, g, e, IN, transpose=True),
                    (x, w, graph.transporter, *edges)),
        "dot": (lambda x, y, g, *e: transport_dot(x, y, g, e, IN), (x, y, graph.transporter, *edges)),
        "max": (lambda x, g, *e: transport_max(x, g, e, IN), (x, graph.transporter, *edges)),
        "softmax": (segment_softmax, (w, graph.dst_ptr)),
        "fourier": (lambda x: fourier_act(x, 9), (normal(4, 5, 6),)),
    }  # fmt: skip


FUNCTIONS = ("conv", "sum", "adjoint", "dot", "max", "softmax", "fourier")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_strides_do_not_matter(random_graph, name):
    function, tensors = calls(random_graph(V, E))[name]
    expected = function(*tensors)
    for i in range(len(tensors)):
        assert torch.equal(function(*tensors[:i], strided(tensors[i]), *tensors[i + 1 :]), expected)
    assert torch.equal(function(*map(strided, tensors)), expected)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "fourier"])
def test_a_graph_on_another_device_is_an_error(random_graph, name):
    """The device without memory stands for any other."""
    function, tensors = calls(random_graph(V, E))[name]
    elsewhere = [t.to("meta") if t.dtype == torch.int64 else t for t in tensors]
    with pytest.raises(ValueError, match="on meta, the features on cpu"):
        function(*elsewhere)
    if name != "softmax":
        with pytest.raises(ValueError, match="on meta, the features on cpu"):
            function(tensors[0], *(t.to("meta") if t.is_floating_point() else t for t in tensors[1:]))


# --- numbers that are not finite


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("in_type", "out_type"), [(IN, OUT), (WIDE, OUT)], ids=["moments first", "products first"])
def test_the_convolution_keeps_bad_numbers_where_they_belong(random_graph, value, in_type, out_type):
    """In one point of one batch entry: there the targets of its edges, and its own gradient's sources, nothing else."""
    graph = random_graph(60, 150)
    edges = (graph.dst_ptr, graph.src, graph.dst, graph.src_ptr, graph.src_edge)
    x, g = normal(3, 60, in_type.dim), normal(3, 60, out_type.dim)
    weight, radial = normal(2, in_type.dim, out_type.dim), normal(graph.num_edges, 2)

    def both(x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        y = gauge_conv(leaf, weight, radial, graph.log_angle, graph.transporter, edges, in_type, out_type)
        return y.detach(), torch.autograd.grad(y, leaf, g)[0]

    clean_y, clean_dx = both(x, g)
    bad_x, bad_g = x.clone(), g.clone()
    bad_x[1, 17], bad_g[2, 23] = value, value
    y, dx = both(bad_x, bad_g)
    targets, sources = torch.zeros(3, 60, dtype=torch.bool), torch.zeros(3, 60, dtype=torch.bool)
    targets[1, graph.dst[graph.src == 17]] = True
    sources[2, graph.src[graph.dst == 23]] = True
    assert targets.any() and sources.any()
    assert not torch.isfinite(y[targets]).any()
    assert not torch.isfinite(dx[sources]).any()
    assert torch.equal(y[~targets], clean_y[~targets])
    assert torch.equal(dx[~sources], clean_dx[~sources])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["sum", "adjoint", "dot", "max"])
def test_transport_keeps_bad_numbers_where_they_belong(random_graph, value, name):
    """A bad sine of the vector reaches this vector's two components (for dot: the edge), of one batch entry."""
    graph = random_graph(V, E)
    function, tensors = calls(graph)[name]
    clean, x = function(*tensors), tensors[0].clone()
    x[1, 3, IN.slice(1).stop - 1] = value
    y = function(x, *tensors[1:])
    hit = torch.zeros_like(clean, dtype=torch.bool)
    if name == "dot":
        hit[1, graph.src == 3] = True
    else:
        reached = graph.src[graph.dst == 3] if name == "adjoint" else graph.dst[graph.src == 3]
        hit[1, reached, IN.slice(1)] = True
    assert hit.any()
    assert not torch.isfinite(y[hit]).any()
    assert torch.equal(y[~hit], clean[~hit])


@pytest.mark.usefixtures("compiled")
def test_softmax_and_totals_keep_bad_numbers_in_their_row():
    ptr, values = torch.tensor([0, 3, 3, 7, 9]), normal(2, 9, 2)
    for run in (segment_softmax, torch.ops.meshconv.segment_total):
        clean, bad = run(values, ptr), values.clone()
        bad[1, 4, 0] = float("nan")
        y = run(bad, ptr)
        hit = torch.zeros_like(y, dtype=torch.bool)
        hit[1, 3:7, 0] = True
        assert y[hit].isnan().all()
        assert torch.equal(y[~hit], clean[~hit])
