"""Prepared collections: small entries, filled ahead, read when they are needed."""

from __future__ import annotations

import logging
import multiprocessing
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import blob
from test_cache import assert_same
from torch.utils import _pytree as pytree

from meshconv import InputError, Neighbourhood
from meshconv.cli import main
from meshconv.datasets import MeshFolder, Preparation, write_shapes
from meshconv.datasets.meshes.collection import fill_cache
from meshconv.datasets.meshes.stored import EntryMemory
from meshconv.io import Cache
from meshconv.io.cache.records import decode_record, encode_record

FEW = {"nearest": 8, "max_faces": 100, "variants": 1, "augment": {"noise": 0.02}, "val_fraction": 0.0}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training mesh and one test mesh of each of eight classes."""
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, train=1, test=1, seed=3)
    return root


@pytest.mark.parametrize("num_levels", [1, 3])
def test_entries_take_about_half_of_what_is_in_memory(num_levels: int) -> None:
    x, surface = Preparation(neighbourhood=Neighbourhood(nearest=16), num_levels=num_levels).inputs(blob())
    content = encode_record({"x": x, "surface": surface}, {})
    (found, _) = decode_record(content)
    assert_same(found["surface"], surface)
    held = sum(leaf.nbytes for leaf in pytree.tree_leaves((x, surface)) if leaf is not None)
    assert len(content) < 0.54 * held


@pytest.mark.parametrize("top", [2**15 - 1, 2**15, 2**31 - 1, 2**31, -(2**40)])
def test_indices_come_back_as_they_were(top: int) -> None:
    arrays = {
        "small": torch.tensor([0, -5], dtype=torch.int32),
        "tensor": torch.tensor([0, top]),
        "array": np.array([[top, -1]]),
        "none": torch.zeros(0).long(),
    }
    found, _ = decode_record(encode_record(arrays, {}))
    assert_same(found, arrays)


def test_samples_are_read_again_where_memory_is_short(shapes: Path, tmp_path: Path) -> None:
    plain = MeshFolder(str(shapes), cache=False, workers=0, **FEW)
    data = MeshFolder(str(shapes), cache=str(tmp_path), workers=0, **FEW)
    data.memory = EntryMemory(data.cache, limit=100_000)
    for split in ("train", "test"):
        for a, b in zip(plain.samples(split), data.samples(split), strict=True):
            assert (a.name, int(a.target), a.num_points) == (b.name, int(b.target), b.num_points)
            assert_same(b.x, a.x)
            assert_same(b.surface, a.surface)
            assert_same(b.origin, a.origin)
            assert data.memory.taken <= 2 * 100_000
    sample = data.samples("train")[0]
    data.cache.clear()
    data.memory = EntryMemory(data.cache)
    assert_same(sample.x, plain.samples("train")[0].x)  # computed once more
    batches = [next(iter(module.train_dataloader())) for module in (plain, data)]
    assert sorted(batches[0].names) == sorted(batches[1].names)


def test_a_collection_is_prepared_ahead(shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = MeshFolder(str(shapes), cache=str(tmp_path), workers=0, **FEW)
    assert data.fill_cache() == (24, 0, [])
    assert data.fill_cache() == (0, 24, [])
    caplog.set_level(logging.INFO)
    MeshFolder(str(shapes), cache=str(tmp_path), workers=0, **FEW).train_dataloader()
    assert "computed" not in caplog.text
    with pytest.raises(InputError, match="there is none to fill"):
        MeshFolder(str(shapes), cache=False, **FEW).fill_cache()


def test_the_command_fills_the_cache(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prepare", str(shapes), "--config", "classify", "--workers", "0",
               f"--data.init_args.cache={tmp_path}", "--data.init_args.variants=1",
               "--data.init_args.max_faces=100"]  # fmt: skip
    for made, there in ((24, 0), (0, 24)):
        assert main(command) == 0
        assert f"{made} prepared, {there} were there, 0 cannot be used" in capsys.readouterr().out
    assert main([*command[:2], "--config", "sphere_maps"]) == 2
    assert main(["prepare", str(tmp_path / "none"), *command[2:]]) == 2
    assert main([*command, "--scheduler", "tcp://127.0.0.1:1"]) == 0  # nothing is left to do for it
    lines = capsys.readouterr().err.strip().splitlines()
    assert all(line.startswith("meshconv: error: ") for line in lines)


def fill(files: list, folder: Path) -> None:
    torch.set_num_threads(1)
    fill_cache(files, Cache(folder), workers=0)


def test_a_preparation_that_is_killed_goes_on(shapes: Path, tmp_path: Path) -> None:
    """kill -9 at ten moments: entries are whole or not there, and in the end the same."""
    how = Preparation(neighbourhood=Neighbourhood(nearest=8), max_faces=100)
    files = [(path, how) for path in sorted(shapes.rglob("*.*"))]
    start = time.perf_counter()
    fill(files, tmp_path / "whole")
    seconds, draw = time.perf_counter() - start, random.Random(0)
    for _ in range(10):
        process = multiprocessing.get_context("fork").Process(target=fill, args=(files, tmp_path / "killed"))
        process.start()
        time.sleep(draw.uniform(0, 0.4) * seconds)
        process.kill()
        process.join()
        for path in (tmp_path / "killed").glob("[0-9a-f]*.safetensors"):
            decode_record(path.read_bytes())
    fill(files, tmp_path / "killed")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert whole == {p.name: p.read_bytes() for p in (tmp_path / "killed").iterdir() if p.name in whole}


@pytest.mark.slow
def test_workers_of_a_cluster_prepare_the_same(shapes: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    files = [(path, Preparation(max_faces=100)) for path in sorted(shapes.rglob("*.*"))]
    fill(files, tmp_path / "here")
    how = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**how) as cluster:
        made, *_ = fill_cache(files, Cache(tmp_path / "there"), scheduler=cluster.scheduler_address)
    assert made == len(files)
    here, there = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("here", "there"))
    assert here == there
    with pytest.raises(InputError, match="nothing answers there"):
        fill_cache(files, Cache(tmp_path / "none"), scheduler="nowhere")
