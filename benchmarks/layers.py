"""Time and memory of one layer of each family, forward and forward + backward, beside a gauge convolution.

    python benchmarks/layers.py                     # 40,962 vertices, one ring, 64 channels of orders 0 to 2
    python benchmarks/layers.py --only attention --channels 16 --threads 2

Seconds of processor time, the best of several runs, each layer in a process of its own; memory is the peak of forward
and backward over what the process held before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from entries import peak, surface_graph
from torch import nn

from meshconv import FieldType, nn as layers

FAMILIES: dict[str, Callable[[FieldType], nn.Module]] = {
    "GaugeConv": lambda t: layers.GaugeConv(t, t),
    "DepthwiseGaugeConv": lambda t: layers.DepthwiseGaugeConv(t, t),
    "GaugeAttention, 4 heads": lambda t: layers.GaugeAttention(t, t),
    "GaugeAttention, 2 heads": lambda t: layers.GaugeAttention(t, t, heads=2),
    "GaugeMessage": lambda t: layers.GaugeMessage(t, t),
    "Linear": lambda t: layers.Linear(t, t),
    "NormNonlinearity": lambda t: layers.NormNonlinearity(t),
    "GatedNonlinearity": lambda t: layers.GatedNonlinearity(t),
    "FourierNonlinearity": lambda t: layers.FourierNonlinearity(t),
    "TensorProductNonlinearity": lambda t: layers.TensorProductNonlinearity(t),
    "FieldBatchNorm": lambda t: layers.FieldBatchNorm(t),
    "FieldLayerNorm": lambda t: layers.FieldLayerNorm(t),
    "FieldInstanceNorm": lambda t: layers.FieldInstanceNorm(t),
    "FieldDropout": lambda t: layers.FieldDropout(t),
    "GlobalPool": lambda t: layers.GlobalPool(t),
    "AttentionPool": lambda t: layers.AttentionPool(t),
}
ON_GRAPH = (
    layers.GaugeConv,
    layers.DepthwiseGaugeConv,
    layers.AttentionPool,
    layers.GaugeAttention,
    layers.GaugeMessage,
    layers.FieldInstanceNorm,
    layers.GlobalPool,
)


def seconds(run: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times[1:])


def measure(name: str, surface: str, kind: FieldType, threads: int, repeats: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    graph = surface_graph(surface)
    layer = FAMILIES[name](kind)
    x = torch.randn(graph.num_vertices, layer.in_type.dim, requires_grad=True)
    inputs = [x, *layer.parameters()]

    def forward() -> torch.Tensor:
        return layer(x, graph) if isinstance(layer, ON_GRAPH) else layer(x)

    def step() -> object:
        y = forward()
        return torch.autograd.grad(y, inputs, torch.ones_like(y))

    extra, _ = peak(step, graph.device)
    both = seconds(step, repeats)
    with torch.no_grad():
        return {"forward": seconds(forward, repeats), "both": both, "extra_mb": extra}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--surface", default="icosphere 6", help='"icosphere LEVEL" or "healpix NSIDE"')
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--max_order", type=int, default=2)
    parser.add_argument("--only", default="", help="part of the names to measure, beside GaugeConv")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    kind = FieldType.uniform(given.channels, given.max_order)
    print(f"{given.surface}, {kind}, {given.threads} threads\n")
    print("| layer | forward s | + backward s | of GaugeConv | extra MB |\n| --- | --- | --- | --- | --- |")
    unit = None
    for name in FAMILIES:
        if unit is not None and given.only.lower() not in name.lower():
            continue
        # A process each: the peak of memory is that of the process.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            row = pool.submit(measure, name, given.surface, kind, given.threads, given.repeats).result()
        unit = unit or row["both"]
        times = f"{row['forward']:.3f} | {row['both']:.3f} | {row['both'] / unit:.2f}"
        print(f"| `{name}` | {times} | {row['extra_mb']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
