"""Compressed networks: size, time, accuracy, calibration and gauge error, by method.

    python benchmarks/compress.py CKPT --data CONFIG --out compress.jsonl --methods int8 int4 l0 jeffreys magnitude
    python benchmarks/compress.py --out compress.jsonl --print
    python benchmarks/compress.py --products      # int8 and float32 matrix products of torch at the sizes of layers

A line of JSON for each method and seed is appended to the file; those that are there are not run again. ``l0`` and
``jeffreys`` are trained with gates for half of the epochs, trained without for the other half, and rounded to 8
bits without data; ``magnitude`` keeps the share of fields that ``l0`` of the same seed kept, has all epochs after
pruning, and is rounded in the same way: same size, same training. ``trained on`` is the full network after as many more
epochs, for what these do by themselves.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from meshconv.compress import Measures, Pruning, measure, quantise, table
from meshconv.compress.checkpoint import data_of, samples_of, saved_state, train
from meshconv.train import Task, load_task
from meshconv.train.loop.run import quiet

METHODS = ("full", "trained on", "int8", "int4", "int4, samples", "l0", "jeffreys", "magnitude")


def compressed(task: Task, method: str, data: Any, options: argparse.Namespace, seed: int, kept: float) -> Task:
    """The task after one method."""
    torch.manual_seed(seed)
    if method == "full":
        return task
    if method.startswith("int"):
        samples = samples_of(data, options.samples) if method.endswith("samples") else None
        return quantise(task, int(method[3]), samples)
    rate = options.learning_rate
    if method == "trained on":
        longer = copy.deepcopy(task)
        train(longer, data, options.epochs, rate)
        return longer
    return quantise(Pruning(method, options.sparsity, kept, options.epochs, rate, seed)(task, data), 8)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(options: argparse.Namespace) -> None:
    task = load_task(options.checkpoint)
    data = data_of(options.data, task)
    for seed in options.seeds:
        for method in options.methods:
            done = {(row["method"], row["seed"]): row for row in rows(options.out)}
            if (method, seed) in done:
                continue
            kept = options.keep
            full = next((row["fields"] for (name, _), row in done.items() if name == "full"), None)
            if method == "magnitude" and full and ("l0", seed) in done:
                kept = done["l0", seed]["fields"] / full
            start = time.perf_counter()
            small = compressed(task, method, data, options, seed, kept)
            found = dataclasses.asdict(measure(small, saved_state(small), data))
            line = {"method": method, "seed": seed, "seconds": time.perf_counter() - start, **found}
            with options.out.open("a") as stream:
                print(json.dumps(line), file=stream)
            print(json.dumps(line), flush=True)


def show(path: Path) -> None:
    """Means over the seeds of each method, then the standard deviations of those with several."""
    names = [field.name for field in dataclasses.fields(Measures)]
    by_method: dict[str, list[dict[str, Any]]] = {}
    for row in rows(path):
        by_method.setdefault(row["method"], []).append(row)
    means, deviations = {}, {}
    for method, found in by_method.items():
        values = {name: [row[name] for row in found] for name in names}
        label = f"{method}, {len(found)} seeds" if len(found) > 1 else method
        means[label] = Measures(**{name: statistics.fmean(v) for name, v in values.items()})
        if len(found) > 1:
            deviations[label] = Measures(**{name: statistics.stdev(v) for name, v in values.items()})
    print(table(means), table(deviations), sep="\n\n")


def products() -> None:
    """Times of products, which are the only kernels of int8 that torch has and a layer could use."""
    from torch.ao.nn.quantized.dynamic import Linear

    print("| rows x inputs x outputs | float32, ms | int8, ms |\n| --- | ---: | ---: |")
    for count, inputs, outputs in ((750, 80, 112), (750, 240, 64), (12_000, 64, 64), (12_000, 128, 128)):
        dense = torch.nn.Linear(inputs, outputs)
        dense.qconfig = torch.ao.quantization.default_dynamic_qconfig
        layers = {"float32": dense, "int8": Linear.from_float(dense)}
        x, times = torch.randn(count, inputs), {}
        with torch.no_grad():
            for name, layer in layers.items():
                spent = []
                for _ in range(31):
                    start = time.process_time()
                    layer(x)
                    spent.append(time.process_time() - start)
                times[name] = 1e3 * sorted(spent)[15]
        print(f"| {count} x {inputs} x {outputs} | {times['float32']:.3f} | {times['int8']:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("compress.jsonl"))
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--sparsity", type=float, default=Pruning.sparsity)
    parser.add_argument("--keep", type=float, default=0.3, help="of magnitude where l0 was not run")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--products", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    if options.products:
        products()
    elif options.print:
        show(options.out)
    else:
        run(options)


if __name__ == "__main__":
    main()
