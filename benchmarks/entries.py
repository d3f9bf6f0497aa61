"""Entries of gauge_conv.py in a process of their own: builds each, measures it, prints one line of JSON."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import peers
import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph, HealpixSphere, TriangleMesh, ops
from meshconv.ops.references import segment as reference


@cache
def surface_graph(surface: str) -> GaugeGraph:
    """The graph of a case; two rings have made-up logs, which cost the same."""
    kind, size, *more = surface.split(maxsplit=2)
    if kind == "healpix":
        return HealpixSphere(int(size)).gauge_graph().to(torch.float32)
    import scipy.sparse
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=int(size))
    graph = TriangleMesh(mesh.vertices, mesh.faces).gauge_graph()
    if more == ["two rings"]:
        shape = (graph.num_vertices, graph.num_vertices)
        ones = torch.ones(graph.num_edges).numpy()
        one_ring = scipy.sparse.coo_array((ones, (graph.dst.numpy(), graph.src.numpy())), shape=shape).tocsr()
        two = (one_ring + one_ring @ one_ring).tocoo()
        off = two.row != two.col
        src, dst = torch.from_numpy(two.col[off]).long(), torch.from_numpy(two.row[off]).long()
        angles = torch.rand(2, len(src), dtype=torch.float64) * 2 * math.pi
        kept = {k: getattr(graph, k) for k in ("frames", "positions", "areas", "scale")}
        graph = GaugeGraph.from_edges(src, dst, torch.ones(len(src)), *angles, **kept)
    return graph.to(torch.float32)


def operator_layer(case: dict[str, Any], graph: GaugeGraph, plain: bool) -> peers.Layer:
    """The operator alone, compiled or in plain torch, from features and weights."""
    kind = FieldType.uniform(case["channels"], case["max_order"])
    rows, edges, count, turn = graph.num_vertices, graph.edges, graph.num_edges, graph.transporter
    ends = (graph.src, graph.dst)
    on = {"device": graph.device}
    x, y = (torch.randn(1, rows, kind.dim, **on, requires_grad=True) for _ in range(2))
    if case["operator"] == "conv":
        weight = torch.randn(case["num_radial"], kind.dim, kind.dim, **on, requires_grad=True)
        moving = (x, weight, torch.rand(count, case["num_radial"], **on), graph.log_angle, turn)
        if plain:
            return lambda: ops.gauge_conv_reference(*moving, *ends, rows, kind, kind), (x, weight)
        return lambda: ops.gauge_conv(*moving, edges, kind, kind), (x, weight)
    if case["operator"] == "fourier":
        parts, samples = x.unflatten(-1, (-1, case["channels"])), 8 * case["max_order"] + 1
        act = ops.fourier_act_reference if plain else ops.fourier_act
        return lambda: act(parts, samples), (x,)
    heads = torch.rand(1, count, 8, **on, requires_grad=True)

    def longest() -> Tensor:
        taken = reference.transport_argmax_reference(x.detach(), *ends, rows, kind, False)
        return reference.transport_select_reference(x, taken, turn, graph.src, kind)

    both: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor], tuple[Tensor, ...]]] = {
        "sum": (
            lambda: ops.transport_sum(x, heads, turn, edges, kind),
            lambda: reference.transport_sum_reference(x, heads, turn, *ends, rows, kind),
            (x, heads),
        ),
        "max": (lambda: ops.transport_max(x, turn, edges, kind), longest, (x,)),
        "dot": (
            lambda: ops.transport_dot(x, y, turn, edges, kind, 8),
            lambda: reference.transport_dot_reference(x, y, turn, *ends, kind, 8),
            (x, y),
        ),
        "softmax": (
            lambda: ops.segment_softmax(heads, graph.dst_ptr),
            lambda: reference.segment_softmax_reference(heads, graph.dst_ptr),
            (heads,),
        ),
    }
    compiled, in_torch, inputs = both[case["operator"]]
    return in_torch if plain else compiled, inputs


def limit_layer(case: dict[str, Any], graph: GaugeGraph) -> peers.Layer:
    """The forward products alone, in blocks of vertices; or a copy of the bytes that have to move."""
    on = {"device": graph.device}
    block = 128 if graph.device.type == "cpu" else 65536  # what stays in cache, or what fills the device
    orders = case["max_order"]
    dim = case["channels"] * (2 * orders + 1)
    if case["operator"] != "conv":
        members = torch.empty((graph.num_edges + graph.num_vertices) * dim // 2, **on)  # read once, written once
        return lambda: torch.clone(members), ()
    shapes = [(block, case["channels"])] + [(2 * block, 2 * case["channels"])] * orders
    depth = case["num_radial"] * dim
    pairs = [(torch.randn(rows, depth, **on), torch.randn(depth, columns, **on)) for rows, columns in shapes]

    def run() -> Tensor:
        for _ in range(math.ceil(graph.num_vertices / block)):
            for a, b in pairs:
                out = a @ b
        return out

    return run, ()


def best(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def memory_mb(name: str) -> float:
    """A figure of /proc/self/status; nan where the system has none."""
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


def peak(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Peak of one run over what was held before, and of the whole process."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        top = torch.cuda.max_memory_allocated()
        return (top - before) / 2**20, top / 2**20
    held = memory_mb("VmRSS")
    counter = Path("/proc/self/clear_refs")
    if counter.exists():
        counter.write_text("5")  # peak memory counts from here
    run()
    return memory_mb("VmHWM") - held, memory_mb("VmHWM")


def asked_for(only: list[str] | None, *names: str) -> bool:
    """Whether one of the words occurs in the names; without words all are meant."""
    return not only or any(word.lower() in " ".join(names).lower() for word in only)


def operations(case: dict[str, Any], graph: GaugeGraph) -> tuple[float, float]:
    """Of a convolution forward + backward, a multiply-add counted as two: the products, and moments and rotations.

    ``2 R (2M + 1) C^2 (1 + 4M)`` and ``2 d (2M + 1) C (R (2M + 1) + 2)`` a vertex forward, three times as much in all,
    for C channels of each order up to M, R radial functions and d neighbours.
    """
    if case["operator"] != "conv":
        return 0.0, 0.0
    radial, channels, order = case["num_radial"], case["channels"], case["max_order"]
    numbers = (2 * order + 1) * channels
    products = 2 * radial * numbers * channels * (1 + 4 * order) * graph.num_vertices
    moments = 2 * numbers * (radial * (2 * order + 1) + 2) * graph.num_edges
    return 3.0 * products, 3.0 * moments


def entry(case: dict[str, Any], peer: str, gem_cnn: str | None, device: torch.device) -> dict[str, float]:
    """Seconds and memory of one entry."""
    torch.manual_seed(0)
    graph = surface_graph(case["surface"]).to(device)
    if peer == "limit":
        forward, inputs = limit_layer(case, graph)
    elif peer in ("meshconv", "reference"):
        forward, inputs = operator_layer(case, graph, peer == "reference")
    else:
        forward, inputs = peers.layer(peer, case, graph, str(gem_cnn))
    repeats = case["repeats"] if peer in ("meshconv", "limit") else 1
    if inputs:
        gradient = torch.randn_like(forward())

        def step() -> object:
            return torch.autograd.grad(forward(), inputs, gradient)

        extra, whole = peak(step, device)
        seconds = {"forward": best(forward, repeats, device), "both": best(step, repeats, device)}
    else:
        extra, whole = peak(forward, device)
        seconds = {"forward": best(forward, repeats, device)}
        seconds["both"] = 3 * seconds["forward"]
    products, moments = operations(case, graph)
    # A peer's own operations are others.
    counted = {"meshconv": products + moments, "limit": products}.get(peer, 0.0)
    rates = {"us_point": 1e6 * seconds["both"] / graph.num_vertices, "gflops": counted / seconds["both"] / 1e9}
    return {**seconds, **rates, "extra_mb": extra, "peak_mb": whole}


def main() -> None:
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    torch.backends.cuda.matmul.allow_tf32 = order["tf32"]
    for case, peer in order["entries"]:
        try:
            found: dict[str, Any] = entry(case, peer, order["gem_cnn"], torch.device(order["device"]))
        except Exception as error:  # whatever a peer raises is the answer for this entry
            found = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
