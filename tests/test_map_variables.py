"""Inputs from a climatology on HEALPix: months selected and averaged, functions, merged classes, validation blocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
import torch
import xarray as xr
from map_case import maps as series, save, weather

from meshconv import InputError
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.module import SphereMaps
from meshconv.datasets.maps.surface import MapSurface
from meshconv.io.maps.fields import open_fields

NSIDE = 8
NPIX = 12 * NSIDE**2
ZONES = ["Af", "As", "BW", "ET"]
ANNUAL = [{"name": "t", "mean": "month"}, {"name": "rain", "mean": "month", "function": "log1p"}, "height"]
Change = Callable[[xr.Dataset], xr.Dataset]


def climatology() -> xr.Dataset:
    """Twelve months, random zones of which -1 is the sea, five folds of blocks of nside 4."""
    rng = np.random.default_rng(0)
    flags = {"flag_values": np.arange(-1, 4, dtype=np.int8), "flag_meanings": "sea Af As BW ET"}
    mapping = {"grid_mapping_name": "healpix", "indexing_scheme": "nested", "refinement_level": 3}
    return xr.Dataset(
        {
            "healpix": ((), 0, mapping),
            "t": (("month", "cell"), rng.normal(5, 20, (12, NPIX)), {"units": "degC"}),
            "rain": (("month", "cell"), rng.gamma(1, 80, (12, NPIX)), {"units": "mm"}),
            "height": ("cell", rng.normal(300, 100, NPIX), {"units": "m"}),
            "zone": ("cell", rng.integers(-1, len(ZONES), NPIX).astype(np.int8), flags),
            "fold": ("cell", np.repeat(rng.integers(0, 5, 192), 4).astype(np.int8)),
        },
        {"month": np.arange(1, 13)},
    )


@pytest.fixture
def climate(tmp_path: Path) -> Callable[..., Path]:
    """``climate(change)``: path of the climatology, ``change(dataset)`` applied to it."""

    def write(change: Change = lambda d: d) -> Path:
        path = tmp_path / f"climate{len(list(tmp_path.iterdir()))}.nc"  # an open file cannot be written over
        change(climatology()).to_netcdf(path, engine="netcdf4")
        return path

    return write


def module(path: Path, **options: Any) -> SphereMaps:
    given = {"scalars": ANNUAL, "ignore": [-1], "splits": {"variable": "fold", "test": 0}, "num_levels": 2}
    return SphereMaps(str(path), "zone", **(given | options))


def masks(data: SphereMaps) -> dict[str, torch.Tensor]:
    return {split: data.sample(0, split)[2] for split in ("train", "val", "test")}


def test_inputs_are_what_they_say(climate):
    scalars = [
        {"name": "t", "select": {"month": [1, 7]}},
        {"name": "rain", "select": {"month": 7}, "function": "log1p"},
        *ANNUAL,
        {"name": "t", "select": {"month": [12, 1, 2]}, "mean": "month"},
        {"name": "rain", "mean": "month", "function": "sqrt"},
        {"name": "rain", "mean": "month", "function": "log"},
    ]
    data, source = module(climate(), scalars=scalars), climatology()
    t, rain = source["t"].values, source["rain"].values
    expected = [t[0], t[6], np.log1p(rain[6]), t.mean(0), np.log1p(rain.mean(0)), source["height"].values]
    expected += [t[[11, 0, 1]].mean(0), np.sqrt(rain.mean(0)), np.log(rain.mean(0))]
    assert str(data.in_type) == "9x0"
    statistics = data.spec["inputs"]["statistics"]
    assert [s["units"] for s in statistics] == ["degC", "degC", "mm", "degC", "mm", "m", "degC", "mm", "mm"]
    for entry, column, wanted in zip(statistics, data.sample(0, "train")[0].T.double().numpy(), expected, strict=True):
        np.testing.assert_allclose(column * entry["std"] + entry["mean"], wanted, rtol=1e-4, atol=1e-3)


def test_statistics_are_of_the_training_points(climate):
    data = module(climate())
    x, _, train = data.sample(0, "train")
    torch.testing.assert_close(x[train].double().mean(0), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(x[train].double().std(0, correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)

    def disturb(dataset: xr.Dataset) -> xr.Dataset:
        for name in ("t", "rain", "height"):
            dataset[name].values[..., ~train.numpy()] += 1000.0
        return dataset

    disturbed = module(climate(disturb))
    assert disturbed.spec["inputs"] == data.spec["inputs"]
    assert torch.equal(disturbed.sample(0, "train")[0][train], x[train])


def test_folds_are_disjoint_and_cover_the_labels(climate):
    path, fold = climate(), torch.from_numpy(climatology()["fold"].values)
    tested = torch.zeros(NPIX, dtype=torch.int64)
    for k in range(5):
        data = module(path, splits={"variable": "fold", "test": k, "val_fraction": 0.2})
        parts = masks(data)
        labelled = data.sample(0, "train")[1] >= 0
        assert torch.equal(sum(m.long() for m in parts.values()), labelled.long())
        assert (fold[parts["test"]] == k).all() and (fold[parts["train"] | parts["val"]] != k).all()
        tested += parts["test"]
    assert torch.equal(tested, labelled.long())


def test_validation_takes_whole_blocks(climate):
    block = torch.arange(NPIX) // 4  # of nside 4
    chosen = []
    for seed in (0, 1):
        data = module(climate(), splits={"variable": "fold", "test": 0, "val_fraction": 0.2, "seed": seed})
        train, val = (set(block[masks(data)[s]].tolist()) for s in ("train", "val"))
        assert not train & val and len(val) == round(0.2 * len(train | val))
        chosen.append(val)
    assert chosen[0] != chosen[1]
    assert module(climate()).val_dataloader() == []


def test_values_of_one_name_are_one_class(climate):
    fine, main = module(climate()), module(climate(), classes={0: "A", 1: "A", 2: "B", 3: "E"})
    assert fine.class_names == ZONES and main.class_names == ["A", "B", "E"]
    target = torch.tensor([0, 0, 1, 2, -1])[fine.sample(0, "train")[1]]
    assert torch.equal(main.sample(0, "train")[1], target)
    assert main.class_counts.tolist() == torch.bincount(target[masks(main)["train"]]).tolist()
    assert main.spec["class_values"] == [0, 2, 3]  # what predictions write
    # One class is enough for a test of what was trained on more.
    assert module(climate(), classes=dict.fromkeys(range(4), "land")).class_names == ["land"]


def test_prediction_sees_what_training_saw(climate):
    data = module(climate())
    inputs = MapInputs(**json.loads(json.dumps(data.spec))["inputs"])
    assert inputs.spec == data.spec["inputs"]

    def to_ring(dataset: xr.Dataset) -> xr.Dataset:
        dataset["healpix"].attrs["indexing_scheme"] = "ring"
        return dataset.isel(cell=healpy.ring2nest(NSIDE, np.arange(NPIX)))

    for path in (climate(), climate(to_ring)):
        raw, _ = MapSurface(inputs, open_fields(path)).raw({})
        np.testing.assert_allclose(inputs.normalise(raw)[0], data.sample(0, "train")[0], atol=1e-6)


def test_a_function_is_of_the_regridded_amount(climate):
    """A coarser sphere has averages of pixels: the mean rain there, not the mean of its logarithms."""
    fields = open_fields(climate())
    raw, _ = MapSurface(MapInputs([ANNUAL[1]], [], 4), fields).raw({})
    wanted = np.log1p(climatology()["rain"].values.mean(0).reshape(-1, 4).mean(1))
    np.testing.assert_allclose(raw[:, 0], wanted, rtol=1e-6)


def test_a_mean_needs_all_its_values(climate):
    def gap(dataset: xr.Dataset) -> xr.Dataset:
        dataset["rain"].values[3, :5] = np.nan
        return dataset

    raw, known = MapSurface(MapInputs(ANNUAL, [], 8), open_fields(climate(gap))).raw({})
    assert np.isnan(raw[:5, 1]).all() and np.isfinite(raw[5:]).all()
    assert not known[:5].any() and known[5:].all()


def test_amounts_that_packing_brought_below_zero_are_zero(climate):
    def packed(dataset: xr.Dataset) -> xr.Dataset:
        dataset["rain"].values[:, 7] = -1e-3
        return dataset

    raw, _ = MapSurface(MapInputs([ANNUAL[1]], [], 8), open_fields(climate(packed))).raw({})
    assert raw[7, 0] == 0


def test_vectors_of_several_months(tmp_path):
    data = weather().rename(time="month").assign_coords(month=np.arange(1, 7))
    fields = open_fields(save(data, tmp_path / "wind.nc"))
    vectors = [
        {"names": ["u", "v"], "select": {"month": [2, 5]}},
        {"names": ["u", "v"], "mean": "month"},
        *({"names": ["u", "v"], "select": {"month": m}} for m in range(1, 7)),
    ]
    raw = MapSurface(MapInputs([], vectors, 4), fields).raw({})[0].reshape(-1, 2, 9)
    assert np.array_equal(raw[..., [0, 1]], raw[..., [4, 7]])
    np.testing.assert_allclose(raw[..., 2], raw[..., 3:].mean(-1), atol=1e-12)


def test_a_mean_over_samples_is_refused(tmp_path):
    path = save(weather(), tmp_path / "a.nc")
    with pytest.raises(InputError, match="each step of time is a sample, there is no mean over it"):
        series(path, scalars=[{"name": "t", "mean": "time"}])
    whole = weather().drop_vars("event").assign(event=weather()["event"].isel(time=0, drop=True))
    one = series(save(whole, tmp_path / "b.nc"), scalars=[{"name": "t", "mean": "time"}], vectors=[], dimension=None)
    assert one.sample(0, "train")[0].shape == (192, 1)


@pytest.mark.parametrize(
    ("scalar", "message"),
    [
        ({"name": "t", "function": "cube"}, "scalar input t: function 'cube' is not known; use log1p, log, sqrt"),
        ({"name": "t", "mean": ["month"]}, r"write select: {level: 850} and mean: month"),
        ({"name": "t", "average": "month"}, "write a variable's name"),
        ({"name": "t"}, r"has also dimension month; select one value of it.*or take the mean: {name: t, mean: month}"),
        ({"name": "t", "mean": "level"}, "variable t has no dimension level to average over, but month"),
        ({"name": "t", "mean": "cell"}, "no dimension cell to average over, but month"),
        ({"name": "t", "select": {"month": [1, 13]}}, "month has no 13; it runs from 1 .. 12"),
        ({"name": "t", "select": {"month": [1, 13]}, "mean": "month"}, r"month has no \[1, 13\]"),
        (
            {"name": "t", "mean": "month", "function": "log1p"},
            r"variable t is negative in \d+ of 768 points, of which log1p has no value; set them to 0",
        ),
        ({"name": "zero", "function": "log"}, "variable zero is not positive in 768 of 768 points"),
    ],
)
def test_bad_scalars(climate, scalar, message):
    path = climate(lambda d: d.assign(zero=("cell", np.zeros(NPIX))))
    with pytest.raises(InputError, match=message) as error:
        module(path, scalars=[scalar])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"test": 5}, r"value 5 of fold is named twice or does not occur; it has \[0, 1, 2, 3, 4\]"),
        ({"test": 0, "val_fraction": 1.0}, r"val_fraction 1.0 is not in \[0, 1\)"),
        ({"test": 0, "val": 1, "val_fraction": 0.1}, r"val: \[1\] or val_fraction: 0.2"),
        ({"test": 0, "seeds": 1}, "write {variable: fold, test: 0}"),
    ],
)
def test_bad_splits(climate, splits, message):
    with pytest.raises(InputError, match=message):
        module(climate(), splits={"variable": "fold"} | splits)


def test_labels_without_a_name_each(climate):
    def short(dataset: xr.Dataset) -> xr.Dataset:
        dataset["zone"].attrs["flag_meanings"] = "sea Af"
        return dataset

    with pytest.raises(InputError, match="label zone has 5 flag_values and 2 flag_meanings"):
        module(climate(short))


def test_a_function_is_of_the_amount_in_the_unit_of_the_training(climate):
    data = module(climate())
    inputs = MapInputs(**data.spec["inputs"])

    def metres(dataset: xr.Dataset) -> xr.Dataset:
        dataset["rain"] = (dataset["rain"] / 1000).assign_attrs(units="m")
        return dataset

    raw, _ = MapSurface(inputs, open_fields(climate(metres))).raw({})
    np.testing.assert_allclose(inputs.normalise(raw)[0], data.sample(0, "train")[0], atol=1e-6)
    degrees = climate(lambda d: d.assign(rain=d["rain"].assign_attrs(units="degC")))
    with pytest.raises(InputError, match="rain is in 'degC', the network was trained on 'mm'"):
        inputs.check_units(open_fields(degrees))
