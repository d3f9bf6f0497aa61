"""What a residual block costs beside its two convolutions, in one pass and layer by layer.

    python benchmarks/blocks.py                      # 40,962 vertices, 64 channels of orders 0 to 2
    python benchmarks/blocks.py --level 4 --channels 16

Forward and backward on one thread, in the thread's processor time, which others on the machine change least; the three
take turns, and each has the least of its repeats. Layers that a hook listens to run one by one: so the same block is
timed both ways. `kept` is what is kept for the backward pass beside the block's input, parameters and graph, in
feature tensors of the block's output.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from entries import surface_graph
from torch import Tensor, nn

from meshconv import FieldType, GaugeGraph
from meshconv.nn import ResidualBlock
from meshconv.ops import gauge_conv


@contextmanager
def one_by_one(block: ResidualBlock) -> Iterator[None]:
    """A context in which every layer of the block is called."""
    layers = [m for m in block.modules() if m is not block and not isinstance(m, nn.ParameterDict)]
    handles = [layer.register_forward_hook(lambda *_: None) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def kept_bytes(call: Callable[[], Tensor], known: list[Tensor]) -> int:
    """Bytes of storages that a forward pass keeps, without those of tensors that are there anyway."""
    there, found = {t.untyped_storage().data_ptr() for t in known}, {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = call()
    assert kept.requires_grad
    return sum(found.values())


def seconds(call: Callable[[], None]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


def measure(block: ResidualBlock, graph: GaugeGraph, repeats: int) -> None:
    kind, gated = block.out_type, block.act1.in_type
    x = torch.randn(graph.num_vertices, kind.dim, requires_grad=True)
    of_block, of_conv = torch.randn_like(x), torch.randn(graph.num_vertices, gated.dim)
    radial = block.conv1.edge_functions(graph)[0].detach()
    geometry = (graph.log_angle, graph.transporter, graph.edges)
    leaves = [x, *block.parameters()]

    def convolutions() -> None:
        for conv in (block.conv1, block.conv2):
            y = gauge_conv(x, conv.weight, radial, *geometry, kind, gated)
            torch.autograd.grad(y, (x, conv.weight), of_conv)

    def whole() -> None:
        torch.autograd.grad(block(x, graph), leaves, of_block)

    def layers() -> None:
        with one_by_one(block):
            whole()

    known = [*leaves, *block.buffers(), *(t for t in vars(graph).values() if isinstance(t, Tensor))]
    unit = x.nbytes
    kept = {"in one pass": kept_bytes(lambda: block(x, graph), known) / unit}
    with one_by_one(block):
        kept["layer by layer"] = kept_bytes(lambda: block(x, graph), known) / unit
    calls = {"its two convolutions": convolutions, "in one pass": whole, "layer by layer": layers}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats + 1):
        for name, call in calls.items():
            best[name] = min(best[name], seconds(call))
    print(f"{graph.num_vertices} vertices, {kind}, {torch.get_num_threads()} thread, least of {repeats + 1}\n")
    print("| forward + backward | seconds | x its two convolutions | kept, feature tensors |")
    print("| --- | --- | --- | --- |")
    for name, found in best.items():
        ratio = found / best["its two convolutions"]
        print(f"| {name} | {found:.3f} | {ratio:.2f} | {f'{kept[name]:.2f}' if name in kept else ''} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", type=int, default=6, help="of the icosphere")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--max_order", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind = FieldType.uniform(given.channels, given.max_order)
    measure(ResidualBlock(kind, kind), surface_graph(f"icosphere {given.level}"), given.repeats)


if __name__ == "__main__":
    main()
