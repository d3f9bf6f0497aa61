"""Predictions of maps: bad input is an error of one line, output is declared and whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
from map_case import DIMS, LAT, LON, maps, one_line, save, weather

from meshconv import HealpixSphere, InputError
from meshconv.io import open_fields
from meshconv.train import SegmentationTask
from meshconv.train.predict.maps import predict_maps


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> SegmentationTask:
    data = maps(save(weather(), tmp_path_factory.mktemp("train") / "a.nc"))
    return SegmentationTask(
        "SphereUNet", str(data.in_type), data.class_names, data.spec, {"channels": [2, 2], "width": 4}
    ).eval()


def test_units_of_training_and_prediction(task, tmp_path, caplog):
    data = weather()
    warm = data.assign(t=(data["t"] - 273.15).assign_attrs(units="degC"))
    with pytest.raises(InputError, match="t is in 'degC', the network was trained on 'K'; convert the values") as error:
        predict_maps(task, save(warm, tmp_path / "a.nc"), tmp_path / "out.nc")
    one_line(error)
    assert not (tmp_path / "out.nc").exists()
    same = data.assign(t=data["t"].assign_attrs(units="kelvin"))
    predict_maps(task, save(same, tmp_path / "b.nc"), tmp_path / "out.nc")
    assert "compare the units" not in caplog.text
    predict_maps(task, save(warm.assign(t=warm["t"].drop_attrs()), tmp_path / "c.nc"), tmp_path / "out.nc")
    assert "in training: compare the units" in caplog.text


def test_prediction_of_missing_steps(task, tmp_path, caplog):
    data = weather()
    data["t"][0] = np.nan
    predict_maps(task, save(data, tmp_path / "a.nc"), tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert np.isnan(found["label"][0]).all() and np.isfinite(found["label"][1:]).all()
    assert "1 of 6 steps lack an input everywhere and have no labels" in caplog.text
    (tmp_path / "out.nc").unlink()
    with pytest.raises(InputError, match="nothing to predict; give the missing variables") as error:
        predict_maps(task, save(data.isel(time=[0]), tmp_path / "b.nc"), tmp_path / "out.nc")
    one_line(error)
    assert {p.name for p in tmp_path.iterdir()} == {"a.nc", "b.nc"}


def test_prediction_without_steps(task, tmp_path):
    with pytest.raises(InputError, match="no steps along time, there is nothing to predict"):
        predict_maps(task, save(weather().isel(time=slice(0)), tmp_path / "a.nc"), tmp_path / "out.nc")


def test_prediction_of_a_store_with_attributes_that_netcdf_has_not(task, tmp_path):
    data = weather().assign_attrs(origin={"model": ["a", 1]}, final=True, parts=["a", "b"])
    data["lat"].attrs["note"] = None
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    predict_maps(task, tmp_path / "a.zarr", tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        kept = [found.attrs["origin"], found.attrs["final"], found.attrs["parts"], found["lat"].attrs["note"]]
        assert kept == ['{"model": ["a", 1]}', "true", ["a", "b"], "null"]


def test_coordinates_named_as_the_results(task, tmp_path):
    data = weather().assign_coords(label=("time", np.arange(6)), probability=2.0, place="here")
    predict_maps(task, save(data, tmp_path / "a.nc"), tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert found["label"].dims == DIMS and found["probability"].ndim == 4 and found["place"] == "here"


def test_prediction_to_a_full_disk(task, tmp_path):
    """A limit on the size of files is what stops the writing here."""
    resource = pytest.importorskip("resource")
    path, before = save(weather(), tmp_path / "a.nc"), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))
        with pytest.raises(InputError, match=r"out\.nc: cannot be written .*; see to space and permissions") as error:
            predict_maps(task, path, tmp_path / "out.nc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    one_line(error)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.parametrize("order", ["nested", "ring"])
def test_healpix_output_is_declared(task, tmp_path, order):
    """Re-read by CF alone: grid mapping and index; also where the input has no attributes."""
    nest = order == "nested"
    rng = np.random.default_rng(0)
    data = xr.Dataset({n: ("cell", rng.normal(size=192) + (280 if n == "t" else 0)) for n in "tuv"})
    predict_maps(task, save(data, tmp_path / "a.nc"), tmp_path / "out.nc", "nest" if nest else "ring")
    with xr.open_dataset(tmp_path / "out.nc", decode_coords="all") as found:
        mapping, index = found["healpix"].attrs, found["cell_ids"]
        assert mapping == {"grid_mapping_name": "healpix", "indexing_scheme": order, "refinement_level": 2}
        assert index.attrs["standard_name"] == "healpix_index"
        assert found.attrs["Conventions"] == "CF-1.13"
        np.testing.assert_array_equal(index, np.arange(192))
    again = open_fields(tmp_path / "out.nc")
    assert isinstance(again.grid, HealpixSphere) and again.grid.nside == 4


def test_coordinates_that_are_no_coordinates_are_kept(task, tmp_path):
    """Ocean models have two-dimensional latitudes as ordinary variables."""
    la, lo = np.meshgrid(LAT, LON, indexing="ij")
    data = weather().drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    data = data.assign(nav_lat=(("y", "x"), la), nav_lon=(("y", "x"), lo))
    predict_maps(task, save(data, tmp_path / "a.nc"), tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        np.testing.assert_array_equal(found["nav_lat"], la)
        assert found["label"].dims == ("time", "y", "x")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_prediction_leaves_nothing_under_its_name(task, tmp_path, how):
    """While the file is being written; Ctrl-C is answered in a line, and leaves nothing under any name."""
    import torch

    save(xr.concat([weather()] * 200, "time").assign_coords(time=np.arange(1200)), tmp_path / "a.nc")
    torch.save({"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}, tmp_path / "last.ckpt")
    words = [sys.executable, "-m", "meshconv.cli", "predict", "last.ckpt", "a.nc", "--maps", "false"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    before = {"a.nc", "last.ckpt"}
    try:
        for _ in range(4000):
            begun = {p.name for p in tmp_path.iterdir()} - before
            if begun or process.poll() is not None:
                break
            time.sleep(0.05)
        assert process.poll() is None and begun, "the prediction was over, or never began to write"
    finally:
        process.send_signal(how)
        said = process.communicate()[1]
    assert not (tmp_path / "predictions.nc").exists()
    if how == signal.SIGINT:
        assert process.returncode == 130 and said.splitlines()[-1] == "meshconv: interrupted"
        assert "Traceback" not in said and {p.name for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("network", ["SphereUNet", "IsotropicUNet", "PlanarUNet", "PixelwiseNetwork"])
def test_every_point_with_all_inputs_has_a_label_and_no_other(tmp_path, network):
    # Of a box at nside 4 (pixels of 15 degrees) whole rows lie beyond the centres of the outermost pixels.
    box = weather().sel(lat=slice(50, -10), lon=slice(20, 100))
    box["u"][0, 2, 3] = np.nan
    box["t"][0, 4:, :3] = np.nan
    data = maps(save(box, tmp_path / "a.nc"))
    assert data.surface.domain is not None and data.surface.domain.sum() < 40
    options = {} if network == "PixelwiseNetwork" else {"channels": [2, 2]}
    task = SegmentationTask(network, str(data.in_type), data.class_names, data.spec, {**options, "width": 4}).eval()
    predict_maps(task, tmp_path / "a.nc", tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        known = np.isfinite(found["label"].values)
        assert (known == (np.isfinite(box["t"]) & np.isfinite(box["u"])).values).all()
        assert np.isfinite(found["probability"]).all("class").equals(np.isfinite(found["label"]))


def test_labels_end_where_the_domain_ends(tmp_path):
    data = maps(save(weather(), tmp_path / "a.nc"), domain={"lat": [-30, 40]})
    task = SegmentationTask("PixelwiseNetwork", str(data.in_type), data.class_names, data.spec, {"width": 4}).eval()
    predict_maps(task, tmp_path / "a.nc", tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        known = np.isfinite(found["label"].values)
    assert (known == ((LAT >= -30) & (LAT <= 40))[:, None]).all()


def test_region_within_a_pixel_and_domain_beside_it(tmp_path):
    tiny = save(weather().sel(lat=slice(80, 70), lon=slice(40, 50)), tmp_path / "a.nc")
    assert maps(tiny, nside=1, num_levels=1).surface.domain.sum() == 1
    with pytest.raises(InputError, match=r"no point of the network \(nside 4\) lies in what the file covers") as error:
        maps(tiny, domain={"lat": [-30, 0]})
    one_line(error)
