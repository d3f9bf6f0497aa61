"""Training on a store larger than memory: peak resident memory, throughput, and the share of time spent on data.

    python benchmarks/streaming.py make /tmp/big.zarr --gigabytes 20     # 6 fields and labels of 0.25 degrees per step
    python benchmarks/streaming.py train /tmp/big.zarr --batches 64      # steps from all over it, in random order
    python benchmarks/streaming.py train /tmp/big.zarr                   # every training step once
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import lightning
import numpy as np
import torch
import zarr
from torch.utils.data import DataLoader, RandomSampler

from meshconv.datasets import SphereMaps
from meshconv.train import SegmentationTask

ROWS, COLUMNS = 721, 1440
_DAYS = 5
SCALARS, VECTORS = ["t2m", "msl", "tcwv", "z500"], [["u10", "v10"]]


def make(path: Path, gigabytes: float) -> None:
    """Smooth weather with noise, and a label where its wind is strong; chunks of one step, not compressed."""
    names = [*SCALARS, *VECTORS[0]]
    cells = ROWS * COLUMNS
    steps = round(gigabytes * 1e9 / (cells * (4 * len(names) + 1)))
    lat, lon = np.linspace(90, -90, ROWS), np.arange(COLUMNS) * 0.25
    group = zarr.create_group(path)
    for name, values, unit in (("lat", lat, "degrees_north"), ("lon", lon, "degrees_east")):
        array = group.create_array(name, data=values, dimension_names=[name])
        array.attrs["units"] = unit
    days = group.create_array("time", data=np.arange(steps), dimension_names=["time"])
    days.attrs.update(units="days since 2000-01-01", calendar="standard")
    shape, dims = (steps, ROWS, COLUMNS), ["time", "lat", "lon"]
    chunk = {"chunks": (1, ROWS, COLUMNS), "compressors": None, "dimension_names": dims}
    fields = {n: group.create_array(n, shape=shape, dtype="float32", **chunk) for n in names}
    event = group.create_array("event", shape=shape, dtype="int8", **chunk)
    event.attrs.update(flag_values=[0, 1], flag_meanings="calm storm")
    # Weather of a few days, turned about the axis by another angle at each step.
    rng = np.random.default_rng(0)
    wave, x = np.cos(np.radians(lat))[:, None], np.radians(lon)[None]
    pool = {
        name: wave * np.sin((k % 3 + 1) * x + k + np.arange(_DAYS)[:, None, None])
        + 0.1 * rng.normal(size=(_DAYS, ROWS, COLUMNS))
        for k, name in enumerate(names)
    }
    storms = (np.hypot(*(pool[name] for name in VECTORS[0])) > 1).astype(np.int8)
    pool = {n: (10 * v + (0 if n in VECTORS[0] else 280)).astype(np.float32) for n, v in pool.items()}
    start = time.perf_counter()
    for step in range(steps):
        for name, array in fields.items():
            array[step] = np.roll(pool[name][step % _DAYS], 37 * step, axis=1)
        event[step] = np.roll(storms[step % _DAYS], 37 * step, axis=1)
    stored = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    seconds = time.perf_counter() - start
    print(f"{steps} steps of {len(names)} fields and labels, {stored / 1e9:.1f} GB in {seconds:.0f} s")


class Clock(lightning.Callback):
    """Seconds in training steps, and between them, which is what reading and regridding take."""

    def __init__(self) -> None:
        self.data: list[float] = []
        self.step: list[float] = []
        self._mark = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_start(self, *_: object) -> None:
        now = time.perf_counter()
        self.data.append(now - self._mark)
        self._mark = now

    def on_train_batch_end(self, *_: object) -> None:
        now = time.perf_counter()
        self.step.append(now - self._mark)
        self._mark = now
        if len(self.step) % 50 == 0:
            print(f"{len(self.step)} batches, peak {peak_gigabytes():.2f} GB", flush=True)


def peak_gigabytes() -> float:
    """Largest resident memory of this process since it began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024**2


def train(path: Path, batches: int | None, nside: int, channels: list[int]) -> None:
    start = time.perf_counter()
    maps = SphereMaps(str(path), "event", scalars=SCALARS, vectors=VECTORS, nside=nside, batch_size=1,
                      num_levels=len(channels), dimension="time", radius=None)  # fmt: skip
    opened = time.perf_counter() - start
    lightning.seed_everything(0, verbose=False)
    options = {"channels": channels, "aggregation": "mean"}
    task = SegmentationTask("SphereUNet", str(maps.in_type), maps.class_names, maps.spec, options)
    clock = Clock()
    trainer = lightning.Trainer(
        max_epochs=1, limit_train_batches=batches, callbacks=[clock], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", num_sanity_val_steps=0,
    )  # fmt: skip
    loader = maps.train_dataloader()
    assert isinstance(loader, DataLoader) and isinstance(loader.sampler, RandomSampler)
    trainer.fit(task, loader)
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 1e9
    data, step = sum(clock.data), sum(clock.step)
    bytes_read = size * len(clock.step) / maps.fields.dataset.sizes["time"]
    print(f"store {size:.1f} GB, {maps.fields.dataset.sizes['time']} steps of {ROWS} x {COLUMNS}; nside {nside}, "
          f"channels {channels}, {torch.get_num_threads()} thread(s)")  # fmt: skip
    print(f"opened, weights and statistics of 64 steps: {opened:.0f} s")
    print(f"{len(clock.step)} training steps, {bytes_read:.1f} GB read: {data + step:.0f} s, "
          f"{len(clock.step) / (data + step):.2f} steps/s, share of data {data / (data + step):.0%}")  # fmt: skip
    print(f"peak resident memory {peak_gigabytes():.2f} GB, processor time {time.process_time():.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("make", "train"))
    parser.add_argument("store", type=Path)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--batches", type=int, help="default: all of the training steps")
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 12])
    given = parser.parse_args()
    if given.action == "make":
        make(given.store, given.gigabytes)
    else:
        train(given.store, given.batches, given.nside, given.channels)


if __name__ == "__main__":
    main()
