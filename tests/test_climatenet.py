"""The format of ClimateNet (Prabhat et al. 2021), from files as published to predictions.

A file holds one time, whose coordinate is the name of a file; ``LABELS`` has no time; several files of one time are
labels of several people. Every test writes its own: netCDF-C 4.10 crashes where one process has a file with texts open
twice and closes one.
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from meshconv import InputError
from meshconv.datasets import SphereMaps
from meshconv.io import open_fields

VARIABLES = ["TMQ", "U850", "V850", "UBOT", "VBOT", "QREFHT", "PS", "PSL", "T200", "T500", "PRECT", "TS", "TREFHT",
             "Z1000", "Z200", "ZBOT"]  # fmt: skip


def write(folder: Path, names: list[str], shape: tuple[int, int] = (48, 72)) -> dict[str, xr.Dataset]:
    """Files ``data-<date>-01-1_<person>.nc``: both poles, longitudes from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    lat, lon = np.linspace(-90, 90, shape[0]), np.arange(shape[1]) * 360.0 / shape[1]
    for name in names:
        step = f"{name.split('_')[0]}.nc"
        rng = np.random.default_rng(zlib.crc32(step.encode()))  # one weather a time
        data = {v: (("time", "lat", "lon"), rng.normal(size=(1, *shape)).astype(np.float32)) for v in VARIABLES}
        person = int(name.split("_")[1])
        label = np.where(data["TMQ"][1][0] > 1.5, 1, np.where(data["PSL"][1][0] > 1 + person, 2, 0))
        written[name] = xr.Dataset(
            {**data, "LABELS": (("lat", "lon"), label.astype(np.int64))},
            {"time": np.array([step], dtype=object), "lat": lat, "lon": lon},
        )
        written[name].to_netcdf(folder / f"{name}.nc", engine="netcdf4")
    return written


TRAIN = ["data-2009-07-01-01-1_0", "data-1996-06-03-01-1_0", "data-1996-06-03-01-1_1", "data-2010-12-30-01-1_0"]
TEST = ["data-2011-06-01-01-1_0", "data-2011-06-01-01-1_1", "data-2013-01-09-01-1_0"]


def module(folder: Path, **options) -> SphereMaps:
    given = {"label": "LABELS", "scalars": ["TMQ", "PSL"], "vectors": [["U850", "V850"]], "nside": 8,
             "classes": ["background", "tropical_cyclone", "atmospheric_river"],
             "splits": {"train": ["1996", "2010"], "test": ["2011", "2013"]}}  # fmt: skip
    return SphereMaps([str(folder / "train/*.nc"), str(folder / "test/*.nc")], **(given | options))


@pytest.fixture
def folder(tmp_path) -> Path:
    write(tmp_path / "train", TRAIN)
    write(tmp_path / "test", TEST)
    return tmp_path


def test_every_file_is_a_sample(tmp_path):
    """In the order of their dates; the labels of two people for one time are two samples with the same inputs."""
    given = write(tmp_path / "train", TRAIN) | write(tmp_path / "test", TEST)
    fields = open_fields([str(tmp_path / "test/*.nc"), str(tmp_path / "train/*.nc")])
    assert fields.dataset["LABELS"].dims == ("time", "lat", "lon") and fields.dataset.sizes["time"] == 7
    for k, name in enumerate(sorted(given)):
        np.testing.assert_array_equal(fields.values("LABELS", at={"time": k}), given[name]["LABELS"].values.ravel())
        np.testing.assert_array_equal(fields.values("TMQ", at={"time": k}), given[name]["TMQ"].values.ravel())
    assert (fields.values("TMQ", at={"time": 0}) == fields.values("TMQ", at={"time": 1})).all()
    assert (fields.values("LABELS", at={"time": 0}) != fields.values("LABELS", at={"time": 1})).any()


def test_split_by_year(folder):
    maps = module(folder)
    assert maps.steps == {"train": [0, 1, 2, 3], "val": [], "test": [4, 5, 6]}
    assert maps.class_names[2] == "atmospheric_river" and str(maps.in_type) == "2x0 + 1x1"


def test_no_year_for_training(folder):
    with pytest.raises(InputError, match=r"nothing of .* is for training; .* from 1996-06-03 .* to 2013-01-09"):
        module(folder, splits={"train": ["1980", "1990"]})


def test_default_split_keeps_a_time_together(folder):
    """Five times, of which the first and the fourth have two files."""
    assert module(folder, splits=None).steps == {"train": [0, 1, 2, 3], "val": [4, 5], "test": [6]}


def fit_test_predict(root: Path, nside: int, shape: tuple[int, int]) -> None:
    write(root / "data/climatenet/train", TRAIN, shape)
    given = write(root / "data/climatenet/test", TEST, shape)

    def run(*words: str) -> None:
        done = subprocess.run([sys.executable, "-m", "meshconv.cli", *words], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    small = ["--data.init_args.nside", str(nside), "--model.init_args.options", '{"channels": [2, 2, 2], "width": 4}']
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    run("fit", "--config", "climatenet", *small, *quiet)
    run("test", "--config", "runs/climatenet/config.yaml", "--ckpt_path", "runs/climatenet/last.ckpt")
    run("predict", "runs/climatenet/last.ckpt", *(f"data/climatenet/test/{name}.nc" for name in TEST))
    for name in TEST:
        with xr.open_dataset(root / f"predictions_{name}.nc") as found:
            assert found["label"].dims == ("time", "lat", "lon") and found["label"].shape == (1, *shape)
            assert found["label"].attrs["flag_meanings"] == "background tropical_cyclone atmospheric_river"
            assert set(np.unique(found["label"])) <= {0, 1, 2}
            for coordinate in ("time", "lat", "lon"):
                np.testing.assert_array_equal(found[coordinate], given[name][coordinate])


@pytest.mark.slow
def test_configuration(tmp_path):
    """The shipped configuration, on coarse maps."""
    fit_test_predict(tmp_path, 8, (48, 72))


@pytest.mark.slow
def test_full_size(tmp_path):
    """768 x 1152 points."""
    fit_test_predict(tmp_path, 64, (768, 1152))
