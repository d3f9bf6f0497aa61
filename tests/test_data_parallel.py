"""Trainings on two processes: the numbers of one process with the joint batch."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
import trimesh
import xarray as xr

from meshconv import FieldType, GaugeGraph, HealpixSphere, InputError, TriangleMesh
from meshconv.datasets.loader import Loader
from meshconv.datasets.vertex_budget import VertexBudget
from meshconv.nn import FieldBatchNorm, ResidualBlock
from meshconv.ranks import check_same, mean_over_ranks
from meshconv.train.metrics.losses import ClassLoss
from meshconv.train.metrics.point_contrast import PointContrast

pytestmark = pytest.mark.slow


def contrast(rank=None):
    """Gradients of a step of correspondence: of a process' two surfaces, or of both processes' batches in one."""
    surfaces = []
    for k in range(4):
        shape = trimesh.creation.icosphere(1)
        surfaces.append(TriangleMesh(shape.vertices * [1, 1, 1 + 0.2 * k], shape.faces).gauge_graph())
    torch.manual_seed(0)
    network = ResidualBlock("3x0", "4x0 + 2x1").double()
    batch = GaugeGraph.batch(surfaces if rank is None else surfaces[2 * rank : 2 * rank + 2])
    y = torch.nn.functional.normalize(network(batch.positions, batch), dim=-1)
    halves = zip(y.split(84), batch.positions.split(84), strict=True)
    common = torch.arange(84).reshape(2, 42)
    torch.stack([PointContrast()(a, common, p) for a, p in halves]).mean().backward()
    return [p.grad for p in network.parameters()]


def shares(rank, store, out):
    """What a process gets of loaders of all kinds, and its part of a layer and a loss."""
    torch.distributed.init_process_group("gloo", f"file://{store}", world_size=2, rank=rank)
    torch.manual_seed(0)
    sizes = [30, 20, 50, 60, 10, 40, 70]
    loaders = {
        "train": Loader(range(7), 2, True, collate_fn=list),
        "few": Loader(range(5), 2, True, collate_fn=list),
        "evaluate": Loader(range(7), 2, collate_fn=list),
        "one batch": Loader(range(3), 8, collate_fn=list),
        "budget": Loader(range(7), train=True, batches=VertexBudget(sizes, 100, True), collate_fn=list),
        "budget, evaluate": Loader(range(7), batches=VertexBudget(sizes, 100), collate_fn=list),
    }
    batches = {name: [list(loader), list(loader)] for name, loader in loaders.items()}
    lengths = {name: len(loader) for name, loader in loaders.items()}
    with pytest.raises(InputError, match="1 samples for 2 processes"):
        list(Loader(range(1), train=True, collate_fn=list))
    assert list(Loader(range(1), collate_fn=list)) == [[0]]  # in both: means are the same
    check_same({"configuration": "a", "train": "b"})
    with pytest.raises(InputError, match=f"train: that of process {1 - rank} is another one than that of"):
        check_same({"configuration": "a", "train": f"b{rank}"})
    kind, generator = FieldType("2x0 + 1x1"), torch.Generator().manual_seed(1)
    x = torch.randn(9, kind.dim, generator=generator, dtype=torch.float64)
    x = x[:3] if rank == 0 else x[3:]
    norm = FieldBatchNorm(kind).double()
    y = norm(x.requires_grad_())
    (y[:, 0] ** 3).sum().backward()
    logits = torch.linspace(-1, 1, 10).reshape(5, 2)[rank * 2 : rank * 2 + 2 + rank].requires_grad_()
    loss = ClassLoss(2)(logits, torch.tensor([0, 1, 1])[: len(logits)])
    slopes = [mean_over_ranks(g) for g in contrast(rank)]  # as of all parameters in a training
    found = {"contrast": slopes, "y": y.detach(), "grad": x.grad, "var": norm.running_var, "loss": loss.detach()}
    torch.save({"batches": batches, "lengths": lengths, **found}, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shares")
    mp.spawn(shares, (folder / "store", folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", ["train", "few", "evaluate", "one batch", "budget", "budget, evaluate"])
def test_no_sample_is_lost_and_none_comes_twice(both, name):
    for epoch in range(2):
        parts = [found["batches"][name][epoch] for found in both]
        assert [len(part) for part in parts] == [found["lengths"][name] for found in both]
        assert all(batch for part in parts for batch in part)
        if name in ("train", "few", "budget"):
            assert len(parts[0]) == len(parts[1])  # else the processes would wait for each other
        count = {"few": 5, "one batch": 3}.get(name, 7)
        assert sorted(i for part in parts for batch in part for i in batch) == list(range(count))


def test_epochs_differ(both):
    assert both[0]["batches"]["train"][0] != both[0]["batches"]["train"][1]


def test_normalisation_and_loss_are_those_of_the_joint_batch(both):
    kind = FieldType("2x0 + 1x1")
    x = torch.randn(9, kind.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    norm = FieldBatchNorm(kind).double()
    y = norm(x)
    (y[:, 0] ** 3).sum().backward()
    torch.testing.assert_close(torch.cat([found["y"] for found in both]), y.detach())
    torch.testing.assert_close(torch.cat([found["grad"] for found in both]), x.grad)
    torch.testing.assert_close(both[0]["var"], norm.running_var)
    joint = ClassLoss(2)(torch.linspace(-1, 1, 10).reshape(5, 2), torch.tensor([0, 1, 0, 1, 1]))
    torch.testing.assert_close((both[0]["loss"] + both[1]["loss"]) / 2, joint)


def test_pairs_are_compared_within_a_process_and_normalised_over_all(both):
    """A step of correspondence is that of both batches in one network, each with its own pairs."""
    expected = contrast()
    assert len(expected) > 5
    for found in both:
        for a, b in zip(found["contrast"], expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Eight meshes in two categories, with classes by vertex, a field and a number, and a map of sixteen steps."""
    root = tmp_path_factory.mktemp("data")
    for name in ("ball", "egg"):
        for part in ("classes", "segments", "fields", "poses"):
            (root / part / name).mkdir(parents=True)
        for k in range(4):
            mesh = trimesh.creation.icosphere(1)
            mesh.vertices = mesh.vertices * [1, 1 + 0.1 * k, 1 + (name == "egg")]
            for part in ("classes", "segments", "fields", "poses"):
                mesh.export(root / part / name / f"{name}{k}.ply")
            z = mesh.vertices[:, 2]
            np.savetxt(root / "segments" / name / f"{name}{k}.txt", (z > 0).astype(int), fmt="%d")
            np.save(root / "fields" / name / f"{name}{k}_z.npy", z)
    ages = [f"{name}{k},{'' if k == 1 else 10 * k + len(name)}" for name in ("ball", "egg") for k in range(4)]
    (root / "fields" / "ages.csv").write_text("\n".join(["mesh,age", *ages]))
    sphere, rng = HealpixSphere(4), np.random.default_rng(0)
    wave = rng.normal(size=(16, 1)) * sphere.xyz[:, 0] + rng.normal(size=(16, 1)) * sphere.xyz[:, 1]
    fields = {"t": (("time", "cell"), wave), "label": (("time", "cell"), (wave > 0).astype(np.int16))}
    time = np.datetime64("2000-01-01", "ns") + np.arange(16) * np.timedelta64(1, "D")
    xr.Dataset(fields, {"time": time}, {"healpix_order": "nest"}).to_netcdf(root / "map.nc")
    return root


RUNS = {
    "classify": ["--data.init_args.root", "{root}/classes", "--data.init_args.variants", "0"],
    "segment": [
        *("--data.init_args.root", "{root}/segments", "--data.init_args.variants", "0"),
        *("--data.init_args.val_fraction", "0", "--data.init_args.resolution", "0.2"),
    ],
    "regress": [
        *("--data.init_args.root", "{root}/fields", "--data.init_args.fields", "[z]"),
        *("--data.init_args.val_fraction", "0"),
    ],
    "joint": [
        *("--data.init_args.root", "{root}/fields", "--data.init_args.fields", "[z]"),
        *("--data.init_args.labels", "[]", "--data.init_args.numbers", "[age]", "--data.init_args.val_fraction", "0"),
    ],
    "sphere_maps": [
        *("--data.init_args.inputs", "{root}/map.nc", "--data.init_args.label", "label"),
        *("--data.init_args.scalars", "[t]"),
    ],
}
OPTIONS = {
    "classify": "{channels: 4, blocks: 1, max_order: 1, dropout: 0.0}",
    "segment": "{channels: [4, 4, 4, 4], max_order: 1, context: 0, dropout: 0.0}",
    "regress": "{channels: [4, 4, 4], max_order: 1}",
    "joint": "{channels: [4, 4, 4], max_order: 1}",
    "sphere_maps": "{channels: [4, 4, 4], max_order: 1, dropout: 0.0}",
    "correspond": "{channels: [4, 4, 4, 4], max_order: 1, context: 0}",
}


def test_correspondence_trains_and_tests_on_two_processes(shapes, tmp_path):
    """Of a batch of pairs in each process; the errors of all pairs are those that one process finds."""
    run = ["--runs", str(tmp_path), "--trainer.accelerator", "cpu"]
    given = ["--config", "correspond", "--name", "two", "--data.init_args.root", f"{shapes}/poses", *run,
             "--data.init_args.batch_size", "2", "--trainer.max_steps", "6", "--trainer.devices", "2",
             "--model.init_args.options", OPTIONS["correspond"]]  # fmt: skip
    command = [sys.executable, "-m", "meshconv.cli"]
    done = subprocess.run([*command, "fit", *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = []
    for devices in (1, 2):
        test = ["--config", str(tmp_path / "two" / "config.yaml"), "--ckpt_path", "last", *run]
        done = subprocess.run([*command, "test", *test, f"--trainer.devices={devices}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(json.loads((tmp_path / "two" / "test_metrics.json").read_text()))
    assert found[0]["error_x100"] == pytest.approx(found[1]["error_x100"], rel=1e-4)
    assert found[0]["error_x100"] > 0


@pytest.mark.parametrize("ended", [0, 1])
def test_where_a_process_ends_the_others_stop_and_name_it(shapes, tmp_path, ended):
    given = ["--config", "classify", "--runs", str(tmp_path), "--data.init_args.variants", "0", "--trainer.max_epochs",
             "100000", "--trainer.max_steps", "-1", "--trainer.accelerator", "cpu", "--trainer.devices", "2",
             "--data.init_args.root", f"{shapes}/classes", "--data.init_args.batch_size", "2"]  # fmt: skip
    command = [sys.executable, "-m", "meshconv.cli", "fit", *given, "--model.init_args.options", OPTIONS["classify"]]
    with (tmp_path / "said").open("w") as said:
        first = subprocess.Popen(command, stdout=said, stderr=said)
    table = tmp_path / "classify" / "metrics.csv"
    while not table.is_file() and first.poll() is None:
        time.sleep(0.1)
    (second,) = map(int, Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()[:1])
    os.kill((first.pid, second)[ended], signal.SIGKILL)
    first.wait(60)
    for _ in range(600):
        if f"process {ended} of 2 has ended" in (tmp_path / "said").read_text():
            break
        time.sleep(0.1)
    lines = (tmp_path / "said").read_text().splitlines()
    assert f"meshconv: error: process {ended} of 2 has ended, process {1 - ended} stops; go on with --resume" in lines
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_as_one_with_the_joint_batch(shapes, tmp_path, name):
    """Twenty steps: the loss of every epoch, and that of the test."""
    one, two = (curve(name, shapes, tmp_path / str(devices), devices, 20) for devices in (1, 2))
    np.testing.assert_allclose(two, one, atol=1e-4)


def curve(name, shapes, runs, devices, steps, *more):
    """Losses of the epochs of a training with four samples a batch in all."""
    given = ["--config", name, "--runs", str(runs), *RUNS[name], "--model.init_args.options", OPTIONS[name]]
    given += ["--data.init_args.batch_size", str(4 // devices), "--trainer.accelerator", "cpu"]
    given += ["--trainer.devices", str(devices), "--trainer.max_steps", str(steps), *more]
    given = [text.format(root=shapes) if "{root}" in text else text for text in given]
    if name == "segment":
        given += ["--data.init_args.batch_vertices", "null"]
    done = subprocess.run([sys.executable, "-m", "meshconv.cli", "fit", *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = csv.DictReader((runs / name / "metrics.csv").read_text().splitlines())
    return [float(row["train/loss"]) for row in rows if row.get("train/loss")]


def test_a_training_goes_on_with_another_number_of_processes(shapes, tmp_path):
    """Four steps of two processes, then four of one: the losses of four and four of one."""
    found = []
    for devices in (1, 2):
        first = curve("classify", shapes, tmp_path / str(devices), devices, 4)
        found.append(curve("classify", shapes, tmp_path / str(devices), 1, 8, "--resume"))
        assert len(found[-1]) == 2 * len(first)
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)


@pytest.mark.parametrize("differs", ["configuration", "data"])
def test_processes_that_disagree_are_refused(shapes, tmp_path, differs):
    """Started by hand, as a cluster does, one with another learning rate, or another mesh."""
    shutil.copytree(shapes / "classes", tmp_path / "other")
    trimesh.creation.icosphere(1).export(tmp_path / "other" / "egg" / "egg0.ply")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = []
    for rank in range(2):
        odd = differs if rank == 1 else ""
        folder = tmp_path / str(rank)
        folder.mkdir()
        (folder / "data").symlink_to(tmp_path / "other" if odd == "data" else shapes / "classes")
        given = ["--config", "classify", "--runs", str(tmp_path / "runs"), "--data.init_args.root", "data",
                 "--data.init_args.variants", "0", "--trainer.accelerator", "cpu", "--trainer.devices", "2",
                 "--trainer.max_steps", "2", "--data.init_args.batch_size", "2", "--data.init_args.val_fraction", "0",
                 "--model.init_args.learning_rate", "0.002" if odd == "configuration" else "0.001",
                 "--model.init_args.options", OPTIONS["classify"]]  # fmt: skip
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
        command = [sys.executable, "-m", "meshconv.cli", "fit", *given]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, cwd=folder, env={**os.environ, **place}, **pipes))
    said = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [2, 2]
    what = "configuration" if differs == "configuration" else "train|val|test"
    for rank in range(2):
        line = f"error: ({what}): that of process {1 - rank} is another one than that of process {rank}; start all of "
        assert re.search(line, said[rank]), said[rank]
        assert "Traceback" not in said[rank]
