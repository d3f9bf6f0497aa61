"""Ctrl-C and SIGTERM while meshes are prepared, tested, predicted or checked, and maps trained on and predicted.

Status 130 or 143, one line, nothing half-written.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
import torch
import trimesh
import xarray as xr

from meshconv.cli import main

pytestmark = pytest.mark.slow

PLAIN = ["--data.init_args.variants", "0", "--data.init_args.augment", "null", "--data.init_args.val_fraction", "0",
         "--model.init_args.options", '{"channels": 4, "blocks": 1, "max_order": 1}',
         "--trainer.accelerator", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder of many meshes, and the run of a network that was trained on a few."""
    root = tmp_path_factory.mktemp("interrupted")
    ball, box = trimesh.creation.icosphere(4), trimesh.creation.box().subdivide().subdivide().subdivide().subdivide()
    for folder, count in (("few", 2), ("many", 40)):
        for name, mesh in (("ball", ball), ("box", box)):
            (root / folder / name).mkdir(parents=True)
            for k in range(count):
                copy = mesh.copy()
                copy.vertices = copy.vertices * [1, 1 + 0.02 * k, 1]
                copy.export(root / folder / name / f"{k}.ply")
    few = ["--data.init_args.root", str(root / "few"), "--runs", str(root / "runs"), "--data.init_args.cache", "false"]
    assert main(["fit", "--config", "classify", *PLAIN, *few, "--trainer.max_steps", "1"]) == 0
    times = np.datetime64("2020-01-01", "ns") + np.arange(400) * np.timedelta64(6, "h")
    lat, lon = np.arange(89, -90, -2.0), np.arange(0, 360, 2.0)
    t = np.random.default_rng(0).normal(size=(len(times), len(lat), len(lon))).astype(np.float32)
    dims = ("time", "lat", "lon")
    maps = xr.Dataset({"t": (dims, t, {"units": "K"}), "event": (dims, (t > 0).astype(np.int16))},
                      {"time": times, "lat": lat, "lon": lon})  # fmt: skip
    maps.to_netcdf(root / "maps.nc", engine="netcdf4")
    few = ["--data.init_args.inputs", str(root / "maps.nc"), "--runs", str(root / "runs"),
           "--data.init_args.cache", "false", "--trainer.max_steps", "1"]  # fmt: skip
    assert main(["fit", "--config", "sphere_maps", *MAPS, *few]) == 0
    return root


MAPS = ["--data.init_args.label", "event", "--data.init_args.scalars", "[t]", "--data.init_args.nside", "16",
        "--data.init_args.num_levels", "2", "--data.init_args.radius", "null", "--data.init_args.splits",
        "{train: ['2020-01-01', '2020-04-01'], test: ['2020-04-02', '2020-04-09']}",
        "--model.init_args.options", '{"channels": [4, 4], "max_order": 1}',
        "--trainer.accelerator", "cpu"]  # fmt: skip

COMMANDS = {
    "fit": lambda root, out: ["fit", "--config", "classify", *PLAIN, "--data.init_args.root",
                              str(root / "many"), "--runs", str(out / "runs"), "--trainer.max_steps", "1",
                              "--data.init_args.cache", str(out / "cache")],
    "test": lambda root, out: ["test", "--config", str(root / "runs/classify/config.yaml"), "--ckpt_path",
                               str(root / "runs/classify/last.ckpt"), "--data.init_args.root", str(root / "many"),
                               "--data.init_args.test_fraction", "0.9", "--runs", str(out / "runs"),
                               "--data.init_args.cache", str(out / "cache")],
    "predict": lambda root, out: ["predict", str(root / "runs/classify/last.ckpt"), str(root / "many"), "--output",
                                  str(out / "p"), "--cache", str(out / "cache")],
    "predict in processes": lambda root, out: [*COMMANDS["predict"](root, out), "--workers", "2"],
    "fit maps": lambda root, out: ["fit", "--config", "sphere_maps", *MAPS, "--data.init_args.inputs",
                                   str(root / "maps.nc"), "--runs", str(out / "runs"),
                                   "--data.init_args.cache", str(out / "cache")],
    "predict maps": lambda root, out: ["predict", str(root / "runs/sphere_maps/last.ckpt"), str(root / "maps.nc"),
                                       "--output", str(out / "p"), "--cache", str(out / "cache")],
    "check": lambda root, out: ["check", *map(str, sorted((root / "many" / "ball").iterdir())), "--repair",
                                str(out / "cache")],
}  # fmt: skip


@pytest.mark.parametrize("to_all", [False, True], ids=["the process", "its group"])
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_signals(places, tmp_path, name, to_all, number):
    """A terminal sends Ctrl-C to the whole group, ``kill`` a signal to the process alone."""
    command = [sys.executable, "-m", "meshconv.cli", *COMMANDS[name](places, tmp_path)]
    begun = tmp_path / "cache"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        while process.poll() is None and not (begun.is_dir() and any(p.is_file() for p in begun.rglob("*"))):
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()
        (os.killpg if to_all else os.kill)(process.pid, number)
        try:
            _, said = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 128 + number, said
    ends = ("meshconv: interrupted",) if number == signal.SIGINT else ("meshconv: terminated", "stopped by SIGTERM")
    assert said.strip().splitlines()[-1].startswith(ends)
    assert "Traceback" not in said and "Error" not in said
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not [p for p in left if p.name.startswith(".")]
    kept = {".txt", ".yaml"} | ({".ckpt", ".csv"} if name == "fit maps" else set())  # a log, a configuration, a state
    assert {p.suffix for p in left if begun not in p.parents and p.name != "provenance.json"} <= kept
    assert not [p for p in left if p.stat().st_size == 0]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes_write_one_log(places, tmp_path):
    command = [sys.executable, "-m", "meshconv.cli", "fit", "--config", "classify", *PLAIN,
               "--data.init_args.root", str(places / "few"), "--runs", str(tmp_path), "--data.init_args.cache", "false",
               "--data.init_args.batch_size", "1", "--trainer.devices", "2", "--trainer.strategy", "ddp",
               "--trainer.max_epochs", "2"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "classify" / "log.txt").read_text().splitlines()
    said = Counter(re.sub(r"^[\d-]+ [\d:,]+ ", "", line) for line in lines)
    assert [line for line in said if line.startswith("epoch ")] and max(said.values()) == 1, lines
    assert [line.split(":")[0] for line in said if line.startswith("epoch ")] == ["epoch 0", "epoch 1"]
    rows = (tmp_path / "classify" / "metrics.csv").read_text().splitlines()
    assert len(rows) == len(set(rows))
