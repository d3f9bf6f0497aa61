"""Where the time of one training epoch of the configuration ``classify`` goes, on generated meshes.

    OMP_NUM_THREADS=1 python benchmarks/epoch_profile.py

Preparation (files, geometry, inputs) happens once and is kept in the cache; it is listed beside one epoch, for a first
run and for one that finds everything in the cache. Inside the epoch: joining meshes to batches, the convolution's own
operators forward and backward, the rest of the network and loss, the optimiser. Wall time of one thread, so let nothing
else run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
import yaml
from torch.profiler import ProfilerActivity, profile, record_function

from meshconv import models
from meshconv.datasets import MeshFolder, write_shapes
from meshconv.shipped import find_config

CONFIG = find_config("classify")


def module_folder(folder: Path, options: dict) -> MeshFolder:
    """The data module of the configuration on generated meshes, prepared in this process."""
    return MeshFolder(**{**options, "root": str(folder / "shapes"), "cache": str(folder / "cache"), "workers": 0})


def epoch(data: MeshFolder, model: dict) -> list[tuple[str, float]]:
    """Seconds of each kind of work in one epoch."""
    network = getattr(models, model["network"])(data.in_type, len(data.class_names), **model["options"])
    optimizer = torch.optim.AdamW(network.parameters(), model["learning_rate"])
    loss = torch.nn.CrossEntropyLoss()
    batches = iter(data.train_dataloader())
    first = next(batches)  # warm
    loss(network(first.x, first.surface), first.target).backward()
    loader = data.train_dataloader()
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        iterator = iter(loader)
        for _ in range(len(loader)):
            with record_function("batches"):
                batch = next(iterator)
            with record_function("forward"):
                value = loss(network(batch.x, batch.surface), batch.target)
            with record_function("backward"):
                value.backward()
            with record_function("optimiser"):
                optimizer.step()
                optimizer.zero_grad()
    spent: dict[str, float] = defaultdict(float)
    for event in trace.key_averages():
        if event.key in ("batches", "forward", "backward", "optimiser"):
            spent[event.key] = event.cpu_time_total / 1e6
        elif event.key.startswith("meshconv::"):
            spent["operators"] += event.self_cpu_time_total / 1e6
    rest = spent["forward"] + spent["backward"] - spent["operators"]
    return [("joining meshes to batches", spent["batches"]), ("gauge convolution", spent["operators"]),
            ("rest of the network, loss", rest), ("optimiser", spent["optimiser"])]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per_class", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = yaml.safe_load(CONFIG.read_text())
    options, model = config["data"]["init_args"], config["model"]["init_args"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shapes(folder / "shapes", train=given.per_class, test=1)
        times = {}
        for what in ("first run", "from the cache"):
            data, start = module_folder(folder, options), time.process_time()
            data.train_dataloader()
            times[what] = time.process_time() - start
        parts = epoch(data, model)
        count = len(data.samples("train"))
    total = sum(seconds for _, seconds in parts)
    epochs = config["trainer"]["max_epochs"]
    print(f"{count} training meshes, {options.get('variants', 0)} variants of each\n")
    print("| once | seconds | epochs of the same time |\n| --- | --- | --- |")
    for what, seconds in times.items():
        print(f"| preparation, {what} | {seconds:.2f} | {seconds / total:.2f} of {epochs} |")
    print("\n| one epoch | seconds | share |\n| --- | --- | --- |")
    for what, seconds in parts:
        print(f"| {what} | {seconds:.2f} | {100 * seconds / total:.0f} % |")
    print(f"| all | {total:.2f} | 100 % |")


if __name__ == "__main__":
    main()
