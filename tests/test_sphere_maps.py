"""Segmentation of a user's maps: samples, splits, vectors, masks, and predictions on the user's grid."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
import xarray as xr

from meshconv import HealpixSphere, InputError
from meshconv.cli import main
from meshconv.datasets import SphereMaps
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.surface import MapSurface
from meshconv.io import open_fields
from meshconv.train import MapOptions, Predictor, SegmentationTask, load_task

LAT, LON = np.arange(88, -90, -4.0), np.arange(-180, 180, 4.0)
TIMES = np.arange("2020-01", "2021-01", dtype="datetime64[M]").astype("datetime64[ns]")


def weather(steps: int = 12) -> xr.Dataset:
    """A vortex that wanders; its label is where it is."""
    la, lo = np.radians(np.meshgrid(LAT, LON, indexing="ij"))
    xyz = np.stack([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)], axis=-1)
    east = np.stack([-np.sin(lo), np.cos(lo), 0 * lo], axis=-1)
    north = np.stack([-np.sin(la) * np.cos(lo), -np.sin(la) * np.sin(lo), np.cos(la)], axis=-1)
    u, v, t, label = [], [], [], []
    rng = np.random.default_rng(0)
    for _ in range(steps):
        centre = rng.normal(size=3)
        centre /= np.linalg.norm(centre)
        near = np.exp(8 * (xyz @ centre - 1))
        wind = np.cross(centre, xyz) * near[..., None]
        u.append((wind * east).sum(-1))
        v.append((wind * north).sum(-1))
        t.append(280 + 10 * xyz[..., 2] + rng.normal(size=near.shape))
        label.append((near > 0.3).astype(np.int16))
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {
            "u": (dims, np.array(u), {"units": "m s-1"}),
            "v": (dims, np.array(v), {"units": "m s-1"}),
            "t": (dims, np.array(t, dtype=np.float32), {"units": "K"}),
            "event": (
                dims,
                np.array(label),
                {"flag_values": np.array([0, 1], np.int16), "flag_meanings": "quiet vortex"},
            ),
            "height": (("lat", "lon"), 100 * xyz[..., 2] ** 2),
        },
        {
            "time": TIMES[:steps],
            "lat": ("lat", LAT, {"units": "degrees_north"}),
            "lon": ("lon", LON, {"units": "degrees_east"}),
        },
        {"institution": "nowhere"},
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("maps") / "weather.nc"
    weather().to_netcdf(file, engine="netcdf4")
    return file


def module(path: Path, **options) -> SphereMaps:
    given = {"label": "event", "scalars": ["t", "height"], "vectors": [["u", "v"]], "nside": 8, "num_levels": 2}
    return SphereMaps(str(path), **(given | options))


def test_samples(path):
    maps = module(path)
    assert str(maps.in_type) == "2x0 + 1x1" and maps.class_names == ["quiet", "vortex"]
    assert {k: len(v) for k, v in maps.steps.items()} == {"train": 9, "val": 1, "test": 2}
    batches = list(maps.train_dataloader())
    x = torch.cat([b.x for b in batches])
    assert x.shape == (9, 768, 4) and all(b.mask.all() for b in batches)
    np.testing.assert_allclose(x[..., :2].mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(x[..., :2].std((0, 1)), 1, atol=1e-3)
    np.testing.assert_allclose(x[..., 2:].square().mean(), 1, atol=1e-3)
    share = float(torch.cat([b.target for b in batches]).float().mean())
    assert 0.02 < share < 0.2


@pytest.mark.parametrize("options", [{}, {"dimension": None, "vectors": []}])
def test_class_counts_are_those_of_the_training_samples(path, tmp_path, monkeypatch, options):
    if options:
        weather().isel(time=0, drop=True).to_netcdf(tmp_path / "one.nc", engine="netcdf4")
        path = tmp_path / "one.nc"
    maps = module(path, **options)
    targets = [target[mask] for _, target, mask in (maps.sample(k, "train") for k in maps.steps["train"])]
    assert maps.class_counts.tolist() == torch.cat(targets).bincount(minlength=2).tolist()
    monkeypatch.setattr("meshconv.datasets.maps.module.KEPT_BYTES", 0)  # as where the data are larger than memory
    maps = module(path, **options)
    assert maps.class_counts.tolist() == torch.cat(targets).bincount(minlength=2).tolist()


def test_vectors_are_fields_in_the_frame(path):
    """Components along south and east, whose vectors in space turn about the vortex's centre."""
    fields = open_fields(path)
    inputs = MapInputs([], [["u", "v"]], 16)
    raw = MapSurface(inputs, fields).raw({"time": 3})[0]
    sphere = HealpixSphere(16)
    ambient = np.einsum("vk,vki->vi", raw, sphere.frames[:, :2])
    rng = np.random.default_rng(0)
    for step in range(4):
        centre = rng.normal(size=3)
        if step < 3:
            rng.normal(size=(len(LAT), len(LON)))
    centre /= np.linalg.norm(centre)
    wanted = np.cross(centre, sphere.xyz) * np.exp(8 * (sphere.xyz @ centre - 1))[:, None]
    assert np.abs(ambient - wanted).max() < 0.02


@pytest.mark.parametrize("kind", ["netcdf4", "classic", "zarr"])
def test_worker_processes(path, tmp_path, kind):
    """They read what the main process reads: no thread of it is waited for, no place in a file is shared."""
    given = {"netcdf4": path, "classic": tmp_path / "a.nc", "zarr": tmp_path / "a.zarr"}[kind]
    if kind == "classic":
        weather().to_netcdf(given, engine="netcdf4", format="NETCDF3_64BIT")
    if kind == "zarr":
        weather().to_zarr(given, zarr_format=2)
    wanted = {b.names[0]: b.x for b in module(given, batch_size=1).train_dataloader()}
    loader = module(given, batch_size=1, num_workers=2).train_dataloader()
    loader.timeout = 60
    found = {b.names[0]: b.x for b in loader}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_any_whole_number_is_a_class(path, tmp_path):
    """-1 as well, and what is no int16; a prediction keeps them and marks missing points otherwise."""
    data = weather()
    data["event"] = (("time", "lat", "lon"), data["event"].values.astype(np.int32) * 70000 - (data["t"].values < 275))
    data["t"][:, :10] = np.nan
    data.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    maps = module(tmp_path / "a.nc", scalars=["t"])
    assert maps.class_names == ["-1", "0", "69999", "70000"]
    assert module(tmp_path / "a.nc", scalars=["t"], ignore=[-1]).class_names == ["0", "69999", "70000"]
    options = {"channels": [2, 2], "width": 4}
    task = SegmentationTask("SphereUNet", str(maps.in_type), maps.class_names, maps.spec, options).eval()
    Predictor(task, cache=False).save(tmp_path / "a.nc", tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert set(np.unique(found["label"][:, 15:])) <= {-1, 0, 69999, 70000}
        assert np.isnan(found["label"][:, :8]).all() and not np.isnan(found["label"][:, 15:]).any()


def test_a_fill_value_that_is_a_class(path, tmp_path, caplog):
    """Zarr's default of 0: a class where it is named as one, else missing, and that is said."""
    weather().to_netcdf(tmp_path / "a.nc", engine="netcdf4", encoding={"event": {"_FillValue": 0}})
    wanted, found = module(path), module(tmp_path / "a.nc")
    assert found.class_names == wanted.class_names
    assert torch.equal(wanted.sample(0, "train")[1], found.sample(0, "train")[1])
    bare = weather()
    bare["event"] = bare["event"].drop_attrs() + 2 * (bare["t"] < 270).astype(np.int16)
    bare.to_netcdf(tmp_path / "b.nc", engine="netcdf4", encoding={"event": {"_FillValue": 0, "dtype": "int16"}})
    assert "0" not in module(tmp_path / "b.nc").class_names
    assert "0 is the fill value of label event and does not count; if it is a class, name all" in caplog.text


def test_a_network_of_one_map_predicts_series(path, tmp_path):
    weather(1).isel(time=0, drop=True).to_netcdf(tmp_path / "one.nc", engine="netcdf4")
    maps = module(tmp_path / "one.nc")
    options = {"channels": [2, 2], "width": 4}
    task = SegmentationTask("SphereUNet", str(maps.in_type), maps.class_names, maps.spec, options).eval()
    Predictor(task, cache=False).save(path, tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert found["label"].dims == ("time", "lat", "lon") and found.sizes["time"] == 12


def test_splits_by_time(path):
    maps = module(
        path, splits={"train": ["2020-01", "2020-06"], "val": ["2020-07", "2020-07"], "test": ["2020-08", "2020-12"]}
    )
    assert maps.steps == {"train": list(range(6)), "val": [6], "test": list(range(7, 12))}
    for splits, message in (
        (
            {"train": ["2020-01", "2020-06"], "test": ["2020-05", "2020-12"]},
            "2 steps are for training and for something",
        ),
        ({"test": ["2020-05", "2020-12"]}, "nothing of .* is for training"),
        ({"training": ["2020-05", "2020-12"]}, "write train, val or test"),
        ({"train": ["soon", "later"]}, "no values of time"),
    ):
        with pytest.raises(InputError, match=message):
            module(path, splits=splits)


def test_a_single_map_is_split_into_blocks(path, tmp_path):
    weather(1).isel(time=0).drop_vars("time").to_netcdf(tmp_path / "one.nc", engine="netcdf4")
    maps = module(tmp_path / "one.nc")
    masks = [next(iter(getattr(maps, f"{s}_dataloader")())).mask[0] for s in ("train", "val", "test")]
    assert (sum(m.int() for m in masks) == 1).all()
    assert [round(float(m.float().mean()), 2) for m in masks] == [0.7, 0.1, 0.2]


def test_missing_inputs_do_not_count(path, tmp_path):
    data = weather()
    data["t"][:, 10:20, 20:50] = np.nan
    data.to_netcdf(tmp_path / "gaps.nc", engine="netcdf4")
    batch = next(iter(module(tmp_path / "gaps.nc").train_dataloader()))
    share = float(batch.mask.float().mean())
    assert torch.isfinite(batch.x).all() and 0.88 < share < 0.97
    assert (batch.x[..., 0][~batch.mask] == 0).all()


def test_labels_of_another_grid_and_file(path, tmp_path):
    data = weather()
    data.drop_vars("event").to_netcdf(tmp_path / "in.nc", engine="netcdf4")
    coarse = data[["event"]].isel(lat=slice(None, None, 2), lon=slice(None, None, 2))
    coarse.to_netcdf(tmp_path / "labels.nc", engine="netcdf4")
    one = module(tmp_path / "in.nc", labels=str(tmp_path / "labels.nc"))
    two = module(path)
    agree = np.mean([(one.sample(k, "train")[1] == two.sample(k, "train")[1]).float().mean() for k in range(9)])
    assert agree > 0.97
    coarse.isel(time=slice(5)).drop_vars("time").to_netcdf(tmp_path / "few.nc", engine="netcdf4")
    with pytest.raises(InputError, match=r"few\.nc: 5 steps of time for 12"):
        module(tmp_path / "in.nc", labels=str(tmp_path / "few.nc"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scalars": [], "vectors": []}, "no input variables"),
        ({"scalars": ["rain"]}, "no variable rain; the file has event, height, t, u, v|no variable rain"),
        ({"scalars": [{"name": "t", "select": {"level": 850}}]}, "no dimension level"),
        ({"scalars": [{"variable": "t"}]}, "write a variable's name"),
        ({"vectors": ["u", "v"]}, r"vector input 'u': write \[eastward, northward\]"),
        ({"label": "height"}, "holds .*, classes are whole numbers"),
        ({"label": "t"}, "whole numbers"),
        ({"classes": {0: "quiet"}}, r"label event holds 1, which is none of the classes \[0\]"),
        ({"classes": {0: "quiet", 2: "storm"}}, r"label event holds 1, which is none of the classes \[0, 2\]"),
        ({"dimension": "month"}, "select one value|a map and month"),
        ({"nside": 12}, "12 is not a power of two"),
    ],
)
def test_bad_options(path, options, message):
    with pytest.raises(InputError, match=message) as error:
        module(path, **options)
    assert "\n" not in str(error.value)


def test_train_and_predict(path, tmp_path):
    """From a file to labels on its own grid, with coordinates and attributes kept; what is missing stays so."""
    lightning.seed_everything(0)
    maps = module(path, scalars=["t"])
    task = SegmentationTask(
        "SphereUNet",
        str(maps.in_type),
        maps.class_names,
        maps.spec,
        {"channels": [6, 8], "width": 16},
        learning_rate=1e-2,
    )
    trainer = lightning.Trainer(
        max_epochs=8,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(task, maps)
    measured = trainer.test(task, maps, verbose=False)[0]
    assert measured["test/mean_iou"] > 0.8  # all quiet would be 0.46
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert isinstance(load_task(tmp_path / "last.ckpt"), SegmentationTask)

    data = weather()
    data["u"][:, 10:15, 20:30] = np.nan
    data.drop_vars("event").to_netcdf(tmp_path / "new.nc", engine="netcdf4")
    written = Predictor(tmp_path / "last.ckpt", cache=False).save([tmp_path / "new.nc"], tmp_path / "out")
    assert written == [tmp_path / "out.nc"]
    with xr.open_dataset(written[0]) as found:
        assert found["label"].dims == ("time", "lat", "lon") and found["probability"].sizes["class"] == 2
        for name in ("time", "lat", "lon"):
            np.testing.assert_array_equal(found[name], data[name])
        assert found["lat"].attrs["units"] == "degrees_north" and found.attrs["institution"] == "nowhere"
        assert found["label"].attrs["flag_meanings"] == "quiet vortex"
        missing = np.isnan(found["label"].values)
        assert missing[:, 11:14, 22:28].all() and not missing[:, 20:].any()
        np.testing.assert_allclose(found["probability"].sum("class").values[~missing], 1, atol=1e-5)
        same = found["label"].values == data["event"].values
        assert same[~missing].mean() > 0.95
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name or "tmp" in p.name] == []


def test_prediction_of_an_unfit_file_and_of_files_that_belong_together(path, tmp_path):
    maps = module(path, scalars=["t"])
    task = SegmentationTask(
        "SphereUNet", str(maps.in_type), maps.class_names, maps.spec, {"channels": [4, 4], "width": 8}
    )
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(task, maps)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    weather(2).drop_vars("u").to_netcdf(tmp_path / "new.nc", engine="netcdf4")
    with pytest.raises(InputError, match=r"new\.nc: no variable u"):
        Predictor(tmp_path / "last.ckpt", cache=False).save([tmp_path / "new.nc"], tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    weather(2)[["u"]].to_netcdf(tmp_path / "u.nc", engine="netcdf4")
    apart = [tmp_path / "new.nc", tmp_path / "u.nc"]
    Predictor(tmp_path / "last.ckpt", cache=False).save(apart, tmp_path / "joined", maps=MapOptions(join=True))
    weather(2).to_netcdf(tmp_path / "all.nc", engine="netcdf4")
    Predictor(tmp_path / "last.ckpt", cache=False).save([tmp_path / "all.nc"], tmp_path / "whole")
    with xr.open_dataset(tmp_path / "joined.nc") as one, xr.open_dataset(tmp_path / "whole.nc") as other:
        xr.testing.assert_identical(one["probability"], other["probability"])
    with pytest.raises(InputError, match=r"new\.nc: no folder to write to \(.*; give another --output"):
        Predictor(tmp_path / "last.ckpt", cache=False).save([tmp_path / "all.nc"], tmp_path / "new.nc" / "out")


def test_own_maps_from_the_command_line(path, tmp_path, capsys):
    options = {"inputs": str(path), "label": "event", "vectors": "[[u, v]]", "scalars": "[t]", "nside": "8"}
    given = [word for key, value in options.items() for word in (f"--data.init_args.{key}", value)]
    small = ["--model.init_args.options", '{"channels": [2, 2, 2], "width": 4}', "--runs", str(tmp_path)]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    assert main(["fit", "--config", "sphere_maps", *given, *small, *quiet]) == 0
    assert (tmp_path / "sphere_maps/last.ckpt").is_file()
    capsys.readouterr()
    assert main(["fit", "--config", "sphere_maps", *given, "--data.init_args.label", "storm", *small]) == 2
    assert "no variable storm; the file has" in capsys.readouterr().err
