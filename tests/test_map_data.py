"""Data modules of maps: labels of some of the steps, selections, separate test files, other ways to give data."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
import xarray as xr
from map_case import TIMES, maps, one_line, save, weather

from meshconv import HealpixSphere, InputError
from meshconv.cli import main
from meshconv.io import open_fields
from meshconv.train import Predictor, SegmentationTask


def apart(tmp_path: Path, labels: xr.Dataset, **options):
    inputs = save(weather().drop_vars("event"), tmp_path / "in.nc")
    return maps(inputs, labels=str(save(labels, tmp_path / "labels.nc")), **options)


@pytest.mark.parametrize("chosen", [[1, 2, 4, 5], [5, 2, 1, 4]])
@pytest.mark.parametrize("shift", [0, 12])
def test_labels_of_some_of_the_steps(chosen, shift, tmp_path, caplog):
    caplog.set_level("INFO")
    labels = weather()[["event"]].isel(time=chosen)
    labels = labels.assign_coords(time=labels["time"] + np.timedelta64(shift, "h"))
    data = apart(tmp_path, labels)
    assert "4 of 6 steps of the inputs have labels, of which there are 4; those are the samples" in caplog.text
    whole = maps(save(weather(), tmp_path / "all.nc"))
    assert sorted(k for steps in data.steps.values() for k in steps) == [0, 1, 2, 3]
    for k, step in enumerate(sorted(chosen)):
        np.testing.assert_array_equal(data.arrays(k)[0], whole.arrays(step)[0])
        np.testing.assert_array_equal(data.arrays(k)[1], whole.arrays(step)[1])


def test_inputs_of_some_of_the_labelled_steps(tmp_path):
    later = weather()[["event"]].isel(time=slice(2, 6))
    extra = later.isel(time=[0, 1]).assign_coords(time=np.array(["2021-01-01", "2021-02-01"], "datetime64[ns]"))
    data = apart(tmp_path, xr.concat([later, extra], "time"))
    assert data.fields.dataset["time"].values.tolist() == TIMES[2:].tolist()


def test_labels_that_cannot_be_matched(tmp_path):
    labels = weather()[["event"]]
    twice = xr.concat([labels.isel(time=[0, 0]), labels.isel(time=[3])], "time")
    for wrong, message in (
        (twice, "3 steps of time for 6 of the inputs .* some of one time; cut both to the same"),
        (labels.isel(time=[0, 1]).drop_vars("time"), "2 steps of time for 6 .* no times that tell which"),
        (labels.assign_coords(time=TIMES + np.timedelta64(3000, "D")), "no step is the same; cut both to the same"),
    ):
        with pytest.raises(InputError, match=message) as error:
            apart(tmp_path, wrong)
        one_line(error)


def test_one_of_several_labels(tmp_path):
    people = xr.concat([weather()["event"], 1 - weather()["event"]], "person").assign_coords(person=["ann", "bob"])
    data = weather().assign(event=people.astype(np.int16))
    path = save(data, tmp_path / "a.nc")
    one, two = (maps(path, label={"name": "event", "select": {"person": p}}) for p in ("ann", "bob"))
    wanted = maps(save(weather(), tmp_path / "b.nc"))
    np.testing.assert_array_equal(one.arrays(0)[1], wanted.arrays(0)[1])
    known = wanted.arrays(0)[1] >= 0
    assert (one.arrays(0)[1] != two.arrays(0)[1])[known].mean() > 0.9  # a tie may go either way
    for label, message in (
        ("event", "select one value of the others"),
        ({"name": "event", "mean": "person"}, "write a var"),
    ):
        with pytest.raises(InputError, match=message) as error:
            maps(path, label=label)
        one_line(error)


@pytest.mark.parametrize("order", ["nest", "ring"])
def test_pixels_whose_order_no_attribute_tells(order, tmp_path):
    sphere = HealpixSphere(4, order)
    t = 280 + 10 * sphere.xyz[:, 2] + np.arange(6)[:, None]
    data = xr.Dataset({"t": (("time", "cell"), t)}, {"time": TIMES})
    event = weather()[["event"]]
    event["event"].values[:] = event["lat"].values[:, None] > 0
    labels = str(save(event, tmp_path / "labels.nc"))
    given = {"vectors": [], "labels": labels}
    path = save(data, tmp_path / "a.nc")
    with pytest.raises(InputError):
        maps(path, **given)
    found = maps(path, pixel_order=order, **given)
    nested = HealpixSphere(4)
    np.testing.assert_allclose(found.arrays(0)[0][:, 0], 280 + 10 * nested.xyz[:, 2], atol=1e-4)
    away = np.abs(nested.xyz[:, 2]) > 0.2
    np.testing.assert_array_equal(found.arrays(0)[1][away], (nested.xyz[:, 2] > 0)[away])


QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
         "accelerator": "cpu"}  # fmt: skip


def other_year() -> xr.Dataset:
    """Warmer, in other units, on another grid, and with one of the classes alone."""
    data = weather().isel(lat=slice(1, None))
    data = data.assign_coords(time=TIMES + np.timedelta64(365, "D")).isel(time=slice(4))
    data["event"][:] = 1
    return data.assign(t=(data["t"] - 273.15).assign_attrs(units="degC"))


def test_a_separate_file_to_test_on(tmp_path):
    path, other = save(weather(), tmp_path / "a.nc"), save(other_year(), tmp_path / "b.nc")
    data = maps(path, test_inputs=str(other), batch_size=1)
    batches = list(data.test_dataloader())
    assert len(batches) == 4 and len(list(data.train_dataloader())) == len(data.steps["train"]) == 4
    assert (torch.cat([b.target for b in batches]).unique().tolist()) == [1] or -1 in batches[0].target
    raw = open_fields(other).values("t", at={"time": 0}) + 273.15
    mean, std = data.inputs.statistics[0]["mean"], data.inputs.statistics[0]["std"]
    assert float(batches[0].x[0, :, 0].mean()) == pytest.approx((raw.mean() - mean) / std, abs=0.15)
    task = SegmentationTask("PixelwiseNetwork", str(data.in_type), data.class_names, data.spec, {"width": 4})
    found = lightning.Trainer(max_epochs=1, **QUIET).test(task, data, verbose=False)[0]
    assert "test/accuracy" in found
    with pytest.raises(InputError, match="test_labels are given without test_inputs"):
        maps(path, test_labels=str(other))
    with pytest.raises(InputError, match="splits: nothing is for training"):
        maps(path, splits="test").train_dataloader()
    with pytest.raises(InputError, match="splits 'all': write test, or"):
        maps(path, splits="all")


@pytest.mark.slow
def test_a_separate_file_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(weather(), tmp_path / "a.nc"), save(other_year(), tmp_path / "b.nc")
    words = ["--data.init_args.inputs", "a.nc", "--data.init_args.label", "event", "--data.init_args.scalars", "[t]",
             "--data.init_args.nside", "4", "--data.init_args.num_levels", "2", "--trainer.max_epochs", "1",
             "--model.init_args.options", "{channels: [2, 2], width: 4}",
             "--data.init_args.cache", "false"]  # fmt: skip
    assert main(["fit", "--config", "sphere_maps", *words]) == 0
    run = ["test", "--config", "runs/sphere_maps/config.yaml", "--ckpt_path", "runs/sphere_maps/last.ckpt"]
    results = tmp_path / "runs" / "sphere_maps" / "test_metrics.json"
    assert main([*run, "--data.init_args.test_inputs", "b.nc"]) == 0
    separate = results.read_text()
    classes = ["--data.init_args.classes", '{"0": "0", "1": "1"}']
    assert main([*run, "--data.init_args.inputs", "b.nc", "--data.init_args.splits", "test", *classes]) == 0
    assert results.read_text() == separate


def test_an_open_data_set(tmp_path):
    data, path = weather(), save(weather(), tmp_path / "a.nc")
    wanted, found = maps(path), maps(data)
    np.testing.assert_array_equal(found.arrays(3)[0], wanted.arrays(3)[0])
    task = SegmentationTask("PixelwiseNetwork", str(found.in_type), found.class_names, found.spec, {"width": 4}).eval()
    Predictor(task, cache=False).save(path, tmp_path / "one")
    Predictor(task, cache=False).save(data.chunk(time=1), tmp_path / "two")
    with xr.open_dataset(tmp_path / "one.nc") as one, xr.open_dataset(tmp_path / "two.nc") as two:
        xr.testing.assert_equal(one["probability"], two["probability"])
    assert data["t"].shape == (6, 17, 36)


def test_a_zarr_store_elsewhere(tmp_path):
    pytest.importorskip("fsspec")
    weather().to_zarr("memory://meshconv/maps.zarr", zarr_format=2)
    wanted, found = maps(save(weather(), tmp_path / "a.nc")), maps("memory://meshconv/maps.zarr")
    np.testing.assert_array_equal(found.arrays(3)[0], wanted.arrays(3)[0])
    with pytest.raises(InputError, match=r"none\.zarr: not readable as a Zarr store .*; check") as error:
        open_fields("memory://meshconv/none.zarr")
    one_line(error)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_surface_of_all_batches_is_one_and_moved_once(workers, tmp_path):
    """Worker processes do not send it; a transfer that changes nothing gives the same tensors."""
    data = maps(save(weather(), tmp_path / "x.nc"), batch_size=1, num_workers=workers)
    batches = list(data.train_dataloader())
    assert len(batches) > 1
    assert all(batch.surface is data.hierarchy for batch in batches)
    for name in ("cpu", "meta"):
        device = torch.device(name)
        moved = [data.transfer_batch_to_device(batch, device, 0) for batch in batches]
        assert all(batch.surface is moved[0].surface for batch in moved)
        assert {batch.x.device for batch in moved} == {device}
    here = data.transfer_batch_to_device(batches[0], torch.device("cpu"), 0)
    assert here.surface is data.hierarchy and here.x is batches[0].x


def test_hashes_are_those_of_the_files(tmp_path):
    path = save(weather(), tmp_path / "x.nc")
    same = save(weather(), tmp_path / "y.nc")
    assert maps(path).hashes()["data"] == maps(same).hashes()["data"]
    changed = weather()
    changed["t"][0] += 1
    assert not {*maps(path).hashes().values()} & {*maps(save(changed, tmp_path / "z.nc")).hashes().values()}
