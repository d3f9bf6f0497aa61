"""One epoch of every training that ships, on small generated data: does it run on this device, and how long it takes.

    python benchmarks/gpu_epochs.py prepare FOLDER                 # data: no GPU needed
    python benchmarks/gpu_epochs.py run FOLDER --device cuda       # seconds of a run of one epoch, preparation included

Sizes are those of the configurations, numbers of files are small: what is measured is that a training works, and what a
step costs beside the reading of data.
"""

from __future__ import annotations

import argparse
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import meshconv
from meshconv.datasets import PotentialFlowBodies, ShallowWaterRuns, write_shapes
from meshconv.io import load_mesh
from meshconv.shipped import find_config


def bodies(folder: Path) -> None:
    """Bodies with fields; segments by the sign of the pressure; areas in a table."""
    paths = PotentialFlowBodies().write(folder, 12, 4)
    rows = ["name,area"]
    for path in paths:
        mesh = load_mesh(path)
        rows.append(f"{path.relative_to(folder).as_posix()},{mesh.area:.6f}")
        np.savetxt(path.with_suffix(".seg"), mesh.vertices[:, 0] > 0, fmt="%d")
    (folder / "areas.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def climatenet(folder: Path) -> None:
    """Two steps of noise with the names that the configuration asks for."""
    import xarray

    data = yaml.safe_load(Path(find_config("climatenet")).read_text())["data"]["init_args"]
    names = [*data["scalars"], *(name for pair in data["vectors"] for name in pair)]
    rng = np.random.default_rng(0)
    axes = {"lat": np.linspace(-89, 89, 90), "lon": np.arange(0, 360, 2.0)}
    for part, year in (("train", 2000), ("test", 2012)):
        for month in (1, 2):
            shape = (1, 90, 180)
            dims = ("time", "lat", "lon")
            fields = {name: (dims, rng.normal(size=shape).astype(np.float32)) for name in names}
            fields[data["label"]] = (dims, rng.integers(0, 3, shape))
            when = np.array([f"{year}-{month:02d}-01"], "datetime64[ns]")
            (folder / part).mkdir(parents=True, exist_ok=True)
            xarray.Dataset(fields, {"time": when, **axes}).to_netcdf(folder / part / f"{month}.nc", engine="netcdf4")


MAKERS: dict[str, Callable[[Path], object]] = {
    "shapes": lambda folder: write_shapes(folder, train=6, test=2),
    "bodies": bodies,
    "planet": lambda folder: ShallowWaterRuns(days=8).write(folder, 5),
    "coarse": lambda folder: ShallowWaterRuns(days=1, nside=16).write(folder, 4),
    "fine": lambda folder: ShallowWaterRuns(days=1, nside=64).write(folder, 4),
    "climatenet": climatenet,
}


def trainings(folder: Path) -> dict[str, dict[str, Any]]:
    """Options of every configuration that ships; the longest preparations last."""
    planet = f"{folder}/planet/*.nc"
    return {
        "regress": {"root": f"{folder}/bodies", "fields": ["cp"]},
        "regress_mesh": {"root": f"{folder}/bodies", "targets": ["area"]},
        "potential_flow": {"root": f"{folder}/bodies"},
        "generate_shapes": {"root": f"{folder}/bodies"},
        "climate_koeppen": {},
        "climatenet": {"inputs": [f"{folder}/climatenet/{part}/*.nc" for part in ("train", "test")]},
        "sphere_maps": {
            "inputs": f"{folder}/climatenet/train/*.nc",
            "label": "LABELS",
            "scalars": ["TMQ"],
            "nside": 32,
        },
        "forecast": {"inputs": planet},
        "downscale": {"inputs": f"{folder}/coarse/*.nc", "labels": f"{folder}/fine/*.nc"},
        "generate_maps": {"inputs": planet, "field": "h"},
        "reconstruct": {"inputs": planet, "field": "h"},
        "correspond": {"root": f"{folder}/bodies"},
        "classify": {"root": f"{folder}/shapes"},
        "segment": {"root": f"{folder}/bodies"},
    }


def run(folder: Path, device: str, only: list[str]) -> int:
    """Train each for one epoch; the number of those that fail."""
    accelerator = "gpu" if device == "cuda" else device
    common = {"trainer.max_epochs": 1, "trainer.accelerator": accelerator, "trainer.enable_progress_bar": False}
    failed = 0
    for name, options in trainings(folder).items():
        if only and name not in only:
            continue
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        try:
            meshconv.fit(name, runs=str(folder / "runs"), **options, **common)
            said = "trained"
        except Exception as error:  # what fails is what is asked
            failed += 1
            logging.getLogger(__name__).debug("%s", traceback.format_exc())
            said = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        memory = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else float("nan")
        print(f"{name:16} {time.perf_counter() - start:6.1f} s  {memory:7.0f} MB  {said}", flush=True)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--only", nargs="+", default=[], help="names of configurations")
    given = parser.parse_args()
    if given.what == "prepare":
        for name, make in MAKERS.items():
            make(given.folder / name)
            print(
                f"{name}: {sum(f.stat().st_size for f in (given.folder / name).rglob('*.*')) / 2**20:.1f} MB",
                flush=True,
            )
        return
    failed = run(given.folder.resolve(), given.device, given.only)
    if failed:
        raise SystemExit(f"{failed} fail")


if __name__ == "__main__":
    main()
