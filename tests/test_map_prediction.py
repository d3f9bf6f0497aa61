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
from map_case import DIMS, LAT, LON, TIMES, maps, one_line, save, weather

from meshconv import HealpixSphere, InputError
from meshconv.io import open_fields
from meshconv.io.maps.units import conversion, same_unit
from meshconv.train import MapOptions, Predictor, SegmentationTask


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> SegmentationTask:
    data = maps(save(weather(), tmp_path_factory.mktemp("train") / "a.nc"))
    return SegmentationTask(
        "SphereUNet", str(data.in_type), data.class_names, data.spec, {"channels": [2, 2], "width": 4}
    ).eval()


def test_units_of_training_and_prediction(task, tmp_path, caplog):
    caplog.set_level("INFO")
    data = weather()
    Predictor(task, cache=False).save(save(data, tmp_path / "k.nc"), tmp_path / "one")
    warm = (data["t"] - 273.15).drop_attrs()
    knots = [(data[n] / 0.514444444444444).assign_attrs(units="knots") for n in ("u", "v")]
    for spelling in ("degC", "Celsius", "degrees Celsius", "deg_C", "°C", "C"):
        given = data.assign(t=warm.assign_attrs(units=spelling), u=knots[0], v=knots[1])
        Predictor(task, cache=False).save(save(given, tmp_path / f"{len(spelling)}.nc"), tmp_path / "out")
        with xr.open_dataset(tmp_path / "one.nc") as wanted, xr.open_dataset(tmp_path / "out.nc") as found:
            np.testing.assert_allclose(found["probability"], wanted["probability"], atol=1e-5)
    assert "t is converted from 'C' to 'K', in which the network was trained" in caplog.text
    assert "compare the units" not in caplog.text
    (tmp_path / "out.nc").unlink()
    for name, unit in (("t", "m"), ("t", "my unit"), ("u", "K")):
        wrong = data.assign({n: data[n].assign_attrs(units=unit) for n in ([name] if name == "t" else ["u", "v"])})
        with pytest.raises(InputError, match=f"{name} is in '{unit}', the network was trained on '.*'; conv") as error:
            Predictor(task, cache=False).save(save(wrong, tmp_path / f"{name}{unit[:2]}.nc"), tmp_path / "out")
        one_line(error)
    assert not (tmp_path / "out.nc").exists()
    Predictor(task, cache=False).save(save(data.assign(t=warm), tmp_path / "c.nc"), tmp_path / "out")
    assert "in training: compare the units" in caplog.text


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("kelvin", "K", (1, 0)), ("m s**-1", "m/s", (1, 0)), ("kg m-2", "kg/m^2", (1, 0)), ("(0 - 1)", "1", (1, 0)),
        ("gpm", "m", (1, 0)), ("mbar", "Pa", (100, 0)), ("%", "1", (0.01, 0)), ("g/kg", "kg kg**-1", (1e-3, 0)),
        ("degF", "K", (5 / 9, 255.372222222)), ("mm/day", "m s-1", (1e-3 / 86400, 0)),
        ("mm/day", "kg m-2 s-1", (1 / 86400, 0)), ("kg m**-2 s**-1", "mm/d", (86400, 0)), ("kg m-2", "m", (1e-3, 0)),
        ("kg m-3", "m", None), ("m", "K", None),
        ("C", "A s", None), ("days since 2000-01-01", "s", None), ("xyz", "K", None),
    ],
)  # fmt: skip
def test_units_as_people_spell_them(one, other, wanted):
    found = conversion(one, other)
    assert found == (wanted and pytest.approx(wanted)) and same_unit(one, other) == (wanted == (1, 0))


def test_prediction_of_missing_steps(task, tmp_path, caplog):
    data = weather()
    data["t"][0] = np.nan
    Predictor(task, cache=False).save(save(data, tmp_path / "a.nc"), tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert np.isnan(found["label"][0]).all() and np.isfinite(found["label"][1:]).all()
    assert "1 of 6 steps lack an input everywhere and have no labels" in caplog.text
    (tmp_path / "out.nc").unlink()
    with pytest.raises(InputError, match="nothing to predict; give the missing variables") as error:
        Predictor(task, cache=False).save(save(data.isel(time=[0]), tmp_path / "b.nc"), tmp_path / "out")
    one_line(error)
    assert {p.name for p in tmp_path.iterdir()} == {"a.nc", "b.nc"}


def test_prediction_without_steps(task, tmp_path):
    with pytest.raises(InputError, match="no steps along time, there is nothing to predict"):
        Predictor(task, cache=False).save(save(weather().isel(time=slice(0)), tmp_path / "a.nc"), tmp_path / "out")


def test_prediction_of_a_store_with_attributes_that_netcdf_has_not(task, tmp_path):
    data = weather().assign_attrs(origin={"model": ["a", 1]}, final=True, parts=["a", "b"])
    data["lat"].attrs["note"] = None
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    Predictor(task, cache=False).save(tmp_path / "a.zarr", tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        kept = [found.attrs["origin"], found.attrs["final"], found.attrs["parts"], found["lat"].attrs["note"]]
        assert kept == ['{"model": ["a", 1]}', "true", ["a", "b"], "null"]


def test_coordinates_named_as_the_results(task, tmp_path):
    data = weather().assign_coords(label=("time", np.arange(6)), probability=2.0, place="here")
    Predictor(task, cache=False).save(save(data, tmp_path / "a.nc"), tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert found["label"].dims == DIMS and found["probability"].ndim == 4 and found["place"] == "here"


def test_prediction_to_a_full_disk(task, tmp_path):
    """A limit on the size of files is what stops the writing here."""
    resource = pytest.importorskip("resource")
    path, before = save(weather(), tmp_path / "a.nc"), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))
        with pytest.raises(InputError, match=r"out\.nc: cannot be written .*; see to space and permissions") as error:
            Predictor(task, cache=False).save(path, tmp_path / "out")
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
    pixel_order = "nest" if nest else "ring"
    Predictor(task, cache=False).save(
        save(data, tmp_path / "a.nc"), tmp_path / "out", maps=MapOptions(pixel_order=pixel_order)
    )
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
    Predictor(task, cache=False).save(save(data, tmp_path / "a.nc"), tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        np.testing.assert_array_equal(found["nav_lat"], la)
        assert found["label"].dims == ("time", "y", "x")


def ensemble() -> xr.Dataset:
    """The weather of four members, of which the third is that of :func:`weather`."""
    parts = [weather() + shift for shift in (-3.0, 2.0, 0.0, 5.0)]
    members = xr.concat(parts, "member").assign_coords(member=[0, 1, 2, 7]).drop_vars("event")
    for name in ("t", "u", "v"):
        members[name].attrs.update(weather()[name].attrs)
    return members


def test_a_member_is_selected_where_training_had_none(task, tmp_path):
    Predictor(task, cache=False).save(save(weather(), tmp_path / "a.nc"), tmp_path / "one")
    many = save(ensemble(), tmp_path / "b.nc")
    with pytest.raises(InputError, match="variable t has also dimension member; select one value") as error:
        Predictor(task, cache=False).save(many, tmp_path / "out")
    one_line(error)
    Predictor(task, cache=False).save(many, tmp_path / "out", maps=MapOptions(select={"member": 2}))
    with xr.open_dataset(tmp_path / "one.nc") as wanted, xr.open_dataset(tmp_path / "out.nc") as found:
        xr.testing.assert_equal(found["label"].drop_vars("member"), wanted["label"])
        assert found["member"] == 2
    Predictor(task, cache=False).save(many, tmp_path / "all", maps=MapOptions(dimension=["time", "member"]))
    with xr.open_dataset(tmp_path / "one.nc") as wanted, xr.open_dataset(tmp_path / "all.nc") as found:
        assert found["probability"].dims == ("time", "member", "class", "lat", "lon")
        xr.testing.assert_equal(found["probability"].sel(member=2, drop=True), wanted["probability"])
        assert not found["probability"].sel(member=7, drop=True).equals(wanted["probability"])
        assert found["member"].values.tolist() == [0, 1, 2, 7]
    for wrong, message in (({"member": 5}, r"member has no 5; it runs from 0 \.\. 7"),
                           ({"lat": 10}, "no dimension lat to select from; there is"),
                           ({"number": 0}, "no dimension number")):  # fmt: skip
        with pytest.raises(InputError, match=message) as error:
            Predictor(task, cache=False).save(many, tmp_path / "no", maps=MapOptions(select=wrong))
        one_line(error)
    with pytest.raises(InputError, match="no dimension step to predict along; there is"):
        Predictor(task, cache=False).save(many, tmp_path / "no", maps=MapOptions(dimension=["step"]))


def test_a_forecast_is_predicted_along_its_steps(task, tmp_path):
    data = weather().drop_vars("event")
    Predictor(task, cache=False).save(save(data, tmp_path / "a.nc"), tmp_path / "one")
    hours = data.rename(time="step").assign_coords(
        step=np.arange(0, 36, 6).astype("timedelta64[h]").astype("timedelta64[ns]")
    )
    path = save(hours.expand_dims(time=TIMES[:1], height=[2.0]), tmp_path / "b.nc")
    Predictor(task, cache=False).save(path, tmp_path / "out", maps=MapOptions(dimension=["step"]))
    with xr.open_dataset(tmp_path / "one.nc") as wanted, xr.open_dataset(tmp_path / "out.nc") as found:
        np.testing.assert_array_equal(found["label"], wanted["label"])
        assert found["label"].dims == ("step", "lat", "lon") and found["height"] == 2 and found["time"] == TIMES[0]
    for select in ({"step": "12h"}, {"step": 12}):
        Predictor(task, cache=False).save(path, tmp_path / "out", maps=MapOptions(select=select))
        with xr.open_dataset(tmp_path / "one.nc") as wanted, xr.open_dataset(tmp_path / "out.nc") as found:
            np.testing.assert_array_equal(found["label"][0], wanted["label"][2])


def test_what_training_selected_is_selected_otherwise(tmp_path):
    data = maps(save(ensemble().assign(event=weather()["event"]), tmp_path / "a.nc"),
                scalars=[{"name": "t", "select": {"member": 2}}], vectors=[])  # fmt: skip
    task = SegmentationTask("PixelwiseNetwork", str(data.in_type), data.class_names, data.spec, {"width": 4}).eval()
    Predictor(task, cache=False).save(tmp_path / "a.nc", tmp_path / "one")
    other = ensemble().assign_coords(member=[3, 4, 5, 6])
    Predictor(task, cache=False).save(
        save(other, tmp_path / "b.nc"), tmp_path / "out", maps=MapOptions(select={"member": 5})
    )
    with xr.open_dataset(tmp_path / "one.nc") as wanted, xr.open_dataset(tmp_path / "out.nc") as found:
        np.testing.assert_array_equal(found["probability"], wanted["probability"])
    two = maps(tmp_path / "a.nc", scalars=[{"name": "t", "select": {"member": m}} for m in (0, 7)], vectors=[])
    task = SegmentationTask("PixelwiseNetwork", str(two.in_type), two.class_names, two.spec, {"width": 4}).eval()
    with pytest.raises(InputError, match="the network was trained on member 0, 7 together") as error:
        Predictor(task, cache=False).save(tmp_path / "b.nc", tmp_path / "out", maps=MapOptions(select={"member": 5}))
    one_line(error)


@pytest.mark.parametrize(
    ("coordinate", "value", "place"),
    [
        (np.array([0.995, 0.85, 0.2], np.float32), 0.85, 1),
        (np.array([1000, 850, 500]), 850.0, 1),
        (np.array(["r1i1p1f1", "r2i1p1f1", "r10i1p1f1"]), "r10i1p1f1", 2),
        (np.array(["1", "5", "10"]), 5, 1),
        (np.array(["0001", "0005", "0010"]), 5, 1),
        (np.array([1, 5, 10]), "5", 1),
        (np.array(["2000-01-01", "2001-01-01", "2002-01-01"], "datetime64[ns]"), "2001-01-01", 1),
        (None, 2, 2),
    ],
)
def test_values_as_people_write_them(coordinate, value, place, tmp_path):
    data = xr.concat([weather()["t"] + k for k in range(3)], "level").to_dataset()
    data = data if coordinate is None else data.assign_coords(level=coordinate)
    fields = open_fields(save(data, tmp_path / "a.nc"))
    wanted = fields.dataset["t"].isel(level=place).transpose("time", "lat", "lon").values.reshape(6, -1)
    np.testing.assert_array_equal(fields.values("t", {"level": value}), wanted)
    np.testing.assert_array_equal(fields.select({"level": value}).values("t"), wanted)
    with pytest.raises(InputError, match="level has no 'none'"):
        fields.values("t", {"level": "none"})


def test_selection_on_the_command_line(task, tmp_path, capsys):
    import torch

    from meshconv.cli import main

    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, tmp_path / "last.ckpt")
    path = str(save(ensemble(), tmp_path / "a.nc"))
    words = ["predict", str(tmp_path / "last.ckpt"), path, "--output", str(tmp_path / "out"), "--maps", "false"]
    assert main([*words, "--select", "member=2"]) == 0
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert found["label"].dims == DIMS and found["member"] == 2
    words[-1] = "true"
    assert main([*words, "--dimension", "member", "--select", "time=2020-03", "--step", "3"]) == 0
    assert (tmp_path / "out_3.png").exists()
    assert main([*words, "--select", "member"]) == 2
    assert "write a dimension and a value, member=3" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_prediction_leaves_nothing_under_its_name(task, tmp_path, how):
    """While the file is being written; Ctrl-C is answered in a line, and leaves nothing under any name."""
    import torch

    save(xr.concat([weather()] * 200, "time").assign_coords(time=np.arange(1200)), tmp_path / "a.nc")
    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, tmp_path / "last.ckpt")
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
    Predictor(task, cache=False).save(tmp_path / "a.nc", tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        known = np.isfinite(found["label"].values)
        assert (known == (np.isfinite(box["t"]) & np.isfinite(box["u"])).values).all()
        assert np.isfinite(found["probability"]).all("class").equals(np.isfinite(found["label"]))


def test_labels_end_where_the_domain_ends(tmp_path):
    data = maps(save(weather(), tmp_path / "a.nc"), domain={"lat": [-30, 40]})
    task = SegmentationTask("PixelwiseNetwork", str(data.in_type), data.class_names, data.spec, {"width": 4}).eval()
    Predictor(task, cache=False).save(tmp_path / "a.nc", tmp_path / "out")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        known = np.isfinite(found["label"].values)
    assert (known == ((LAT >= -30) & (LAT <= 40))[:, None]).all()


def test_region_within_a_pixel_and_domain_beside_it(tmp_path):
    tiny = save(weather().sel(lat=slice(80, 70), lon=slice(40, 50)), tmp_path / "a.nc")
    assert maps(tiny, nside=1, num_levels=1).surface.domain.sum() == 1
    with pytest.raises(InputError, match="holds no point of the network; change it, or raise") as error:
        maps(tiny, domain={"lat": [-30, 0]})
    one_line(error)
