"""Bad input of maps: each is an error of one line with what to do, or is handled as the test says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
from map_case import LAT, LON, TIMES, maps, one_line, save, weather

from meshconv import HealpixSphere, InputError
from meshconv.cli import main
from meshconv.geometry import LatLonGrid
from meshconv.io import open_fields


def healpix(nside: int = 4, count: int | None = None, **attributes) -> xr.Dataset:
    pixels = np.arange(count or 12 * nside**2)
    crs = {"grid_mapping_name": "healpix", "indexing_scheme": "nested", "refinement_level": 2} | attributes
    return xr.Dataset({"t": (("cell",), pixels * 1.0), "crs": ((), 0, {k: v for k, v in crs.items() if v is not None})})


def times(dataset: xr.Dataset, **options) -> xr.Dataset:
    return dataset.assign_coords(time=xr.date_range("2020-07-01", periods=6, freq="MS", **options))


def two(change: Callable[[xr.Dataset], xr.Dataset]) -> Callable[[Path], list[Path]]:
    """A good file and one that does not fit it."""
    return lambda folder: [save(weather(), folder / "a.nc"), save(change(times(weather())), folder / "b.nc")]


def cut_short(folder: Path) -> Path:
    path = save(weather(), folder / "a.nc", format="NETCDF3_64BIT")
    path.write_bytes(path.read_bytes()[:20000])
    return path


FILES = {
    "cut short": (
        cut_short,
        "a.nc: not readable as NetCDF or Zarr .20000 bytes, its variables take .* copy or download it again",
    ),
    "no latitude": (lambda d: save(weather().drop_vars("lat"), d / "a.nc"), "Name a coordinate lat or give it"),
    "longitude twice": (
        lambda d: save(weather().assign_coords(lon=np.where(LON == 50, 40.0, LON)), d / "a.nc"),
        "longitude 40 degrees occurs twice; drop the copies",
    ),
    "latitudes out of order": (
        lambda d: save(weather().assign_coords(lat=np.roll(LAT, 3)), d / "a.nc"),
        "sort the data by latitude",
    ),
    "pixel count": (lambda d: save(healpix(count=190), d / "a.nc"), "190 pixels, which is not 12 nside.2 .* cell_ids"),
    "level": (
        lambda d: save(healpix(refinement_level=3), d / "a.nc"),
        "level = 3 contradicts .* correct the attribute",
    ),
    "no order": (lambda d: save(healpix(indexing_scheme=None), d / "a.nc"), "add indexing_scheme = 'nested' or 'ring'"),
    "nested needs a power of two": (
        lambda d: save(healpix(3, refinement_level=None), d / "a.nc"),
        "not a power of two .* store it as 'ring', or resample",
    ),
    "grids": (two(lambda d: d.isel(lat=slice(1, None))), "do not go together .* give files of one grid"),
    "calendars": (
        two(lambda d: times(d.drop_vars("time"), calendar="noleap", use_cftime=True)),
        "b.nc: time has the calendar 'noleap', in .*a.nc 'standard'; convert one of them with xarray's Data",
    ),
    "units": (
        two(lambda d: d.assign(t=d["t"].assign_attrs(units="degC"))),
        "b.nc: t is in 'degC', in .*a.nc in 'K'; convert the values of one",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path, name):
    make, message = FILES[name]
    with pytest.raises(InputError, match=message) as error:
        open_fields(make(tmp_path))
    assert str(tmp_path) in one_line(error)


OPTIONS = {
    "missing variable": (weather, {"scalars": ["rain"]}, "no variable rain; the file has t, u, v, event"),
    "level not chosen": (
        lambda: weather().assign(t=weather()["t"].expand_dims(level=[500, 850])),
        {},
        "t has also dimension level; select one value of it: {name: t, select: {level: ...}}",
    ),
    "other dimensions": (
        lambda: weather().assign(t=weather()["t"].isel(lon=0)),
        {},
        "a map needs .* choose a variable on the same grid",
    ),
    "never a value": (
        lambda: weather().assign(t=weather()["t"] * np.nan),
        {},
        "no training point has a value of input t .* leave the input out",
    ),
    "labels not whole": (
        lambda: weather().assign(event=weather()["event"] * 0.5),
        {},
        "event holds 0.5, classes are whole numbers: round it",
    ),
    "no class": (
        lambda: weather().assign(event=weather()["event"] * 0),
        {"ignore": [0]},
        "has no classes; name them in 'classes'",
    ),
    "label never seen": (
        weather,
        {"classes": {0: "calm", 2: "storm"}},
        r"holds 1, which is none of the classes \[0, 2\]; add it to classes or to ignore",
    ),
    "flags": (
        lambda: weather().assign(event=weather()["event"].assign_attrs(flag_values=[0, 1], flag_meanings="calm")),
        {},
        "2 flag_values and 1 flag_meanings; name the classes in 'classes'",
    ),
    "units of a vector": (
        lambda: weather().assign(v=weather()["v"].assign_attrs(units="knots")),
        {},
        "u is in 'm s-1', v in 'knots'; .* convert one",
    ),
    "splits of no time": (
        weather,
        {"splits": {"train": ["2001", "2002"]}},
        "nothing of .* which runs from 2020-01-01 .* give train values among them",
    ),
    "splits of no dates": (
        weather,
        {"splits": {"train": ["soon", "later"]}},
        "no values of time, which runs from 2020-01-01",
    ),
    "times without values": (
        lambda: weather().drop_vars("time"),
        {"splits": {"train": ["2020", "2021"]}},
        "time has no values .* give positions from 0 to 5, or a file with times",
    ),
    "no steps": (lambda: weather().isel(time=slice(0)), {}, "no steps along time; give a file that has some"),
    "too few steps": (
        lambda: weather().isel(time=slice(2)),
        {},
        "2 steps of time are too few to split; give at least 3",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_training_data(tmp_path, name):
    make, options, message = OPTIONS[name]
    path = save(make(), tmp_path / "a.nc")
    with pytest.raises(InputError, match=message) as error:
        maps(path, **options)
    one_line(error)


def test_labels_of_other_times(tmp_path):
    path = save(weather().drop_vars("event"), tmp_path / "a.nc")
    labels = save(times(weather()[["event"]]), tmp_path / "labels.nc")
    with pytest.raises(
        InputError, match=r"step 0 of time is 2020-07-01 .* in .*a.nc 2020-01-01 .*; cut both to the same"
    ):
        maps(path, labels=str(labels))
    noon = weather()[["event"]].assign_coords(time=TIMES + np.timedelta64(12, "h"))
    assert maps(path, labels=str(save(noon, tmp_path / "noon.nc"))).steps["test"] == [5]


def test_time_by_another_name(tmp_path):
    """As in the files of ERA5, NEMO and MPAS; numbers that are no dates stay numbers, and that is said."""
    for name in ("valid_time", "time_counter", "Time"):
        assert maps(save(weather().rename(time=name), tmp_path / f"{name}.nc")).dimension == name
    assert maps(save(weather().drop_vars("time").rename(time="Time"), tmp_path / "mpas.nc")).steps["test"] == [5]


def test_months_since(tmp_path, caplog):
    data = weather().assign_coords(
        time=("time", np.arange(6), {"units": "months since 2020-01-15", "calendar": "noleap"})
    )
    with caplog.at_level(logging.WARNING):
        found = maps(save(data, tmp_path / "a.nc"), splits={"train": [0, 3], "test": [4, 5]})
    assert found.steps["test"] == [4, 5]
    assert "times in 'months since 2020-01-15' cannot be read as dates; they stay numbers" in caplog.text


def test_no_leap_years(tmp_path):
    data = times(weather().drop_vars("time"), calendar="noleap", use_cftime=True)
    found = maps(
        save(data, tmp_path / "a.nc"), splits={"train": ["2020-07", "2020-10"], "test": ["2020-11", "2020-12"]}
    )
    assert found.steps == {"train": [0, 1, 2, 3], "val": [], "test": [4, 5]}


def test_a_step_without_values_does_not_count(tmp_path):
    data = weather()
    data["t"][1] = np.nan
    found = maps(save(data, tmp_path / "a.nc"))
    assert not found.sample(1, "train")[2].any() and found.sample(0, "train")[2].all()


def test_radians_that_are_not_declared(tmp_path):
    """MPAS gives latCell and lonCell in radians; older files do not say so."""
    theta, phi = healpy.pix2ang(4, np.arange(192))
    data = xr.Dataset({"t": ("nCells", phi), "latCell": ("nCells", np.pi / 2 - theta), "lonCell": ("nCells", phi)})
    xyz = open_fields(save(data, tmp_path / "a.nc")).grid.xyz
    np.testing.assert_allclose(xyz, np.stack(healpy.pix2vec(4, np.arange(192)), -1), atol=1e-12)


def test_any_nside_in_ring_order(tmp_path):
    xyz = np.stack(healpy.pix2vec(6, np.arange(432)), -1)
    data = healpix(6, indexing_scheme="ring", refinement_level=None).assign(t=("cell", xyz[:, 2]))
    fields = open_fields(save(data, tmp_path / "a.nc"))
    assert (fields.grid.nside, fields.grid.pixel_order) == (6, "ring")
    np.testing.assert_allclose(fields.values("t"), fields.grid.xyz[:, 2], atol=1e-12)


@pytest.mark.parametrize("order", ["nested", "ring"])
def test_part_of_a_healpix_map(tmp_path, order):
    """Indices and level are enough; pixels that are not in the file are missing, and stay out of what is written."""
    pixels = np.random.default_rng(0).permutation(192)[:60]
    z = healpy.pix2vec(4, pixels, nest=order == "nested")[2]
    attributes = {"grid_name": "healpix", "level": 2, "indexing_scheme": order}
    data = xr.Dataset({"t": ("cells", z)}, {"cell_ids": ("cells", pixels, attributes)})
    fields = open_fields(save(data, tmp_path / "a.nc"))
    values = fields.values("t")
    assert np.isfinite(values).sum() == 60
    np.testing.assert_allclose(values[np.isfinite(values)], fields.grid.xyz[np.isfinite(values), 2], atol=1e-12)
    np.testing.assert_array_equal(fields.to_file_grid(values), z)
    twice = data.assign_coords(cell_ids=("cells", np.r_[pixels[:-1], pixels[0]], attributes))
    with pytest.raises(InputError, match=f"cell_ids holds {pixels[0]} twice; drop the copies"):
        open_fields(save(twice, tmp_path / "b.nc"))


def test_dimensions_of_one(tmp_path):
    """Members, versions and heights of which a file has one are not chosen from."""
    data = weather().expand_dims(number=[0], expver=["0001"])
    assert maps(save(data, tmp_path / "a.nc")).sample(0, "train")[2].all()


def test_a_level_that_was_selected_before(tmp_path):
    data = weather().assign(t=weather()["t"].expand_dims(level=[500.0, 850.0])).sel(level=850.0)
    fields = open_fields(save(data, tmp_path / "a.nc"))
    assert fields.values("t", {"level": 850}).shape == (6, LAT.size * LON.size)
    with pytest.raises(InputError, match=r"level has no 500; it runs from 850\.0 \.\. 850\.0"):
        fields.values("t", {"level": 500})


def test_a_folder_of_files(tmp_path):
    save(weather(), tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"not a Zarr store; for the files in it, write '.*/.*nc'"):
        open_fields(tmp_path)


@pytest.mark.slow
def test_errors_of_a_training(tmp_path, capsys):
    """Levels that do not agree; a value that only a loader's process comes upon, whose traceback is not shown."""
    data = xr.concat([weather()] * 25, "time").assign_coords(time=np.arange(150)).compute()
    data["event"][1] = 7  # neither among the steps that are looked at for classes nor among those for statistics
    words = ["fit", "--config", "sphere_maps", "--runs", str(tmp_path), "--trainer.accelerator", "cpu"]
    words += ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
    given = {"inputs": str(save(data, tmp_path / "a.nc")), "label": "event", "scalars": "[t]", "nside": "4"}
    given |= {"num_levels": "2", "num_workers": "1", "splits": "{train: [0, 140]}"}
    words += [word for key, value in given.items() for word in (f"--data.init_args.{key}", value)]
    capsys.readouterr()
    strange = f"{tmp_path}/a.nc: label event holds 7, which is none of the classes [0, 1]; add it to classes or"
    levels = "the network has 3 levels, the data 2; give options.channels an entry for each of"
    for network, channels, wanted in (
        ("SphereUNet", "[2, 2, 2]", levels),
        ("IsotropicUNet", "[2, 2, 2]", levels),
        ("SphereUNet", "[2, 2]", strange),
    ):
        chosen = ["--model.init_args.network", network]
        chosen += ["--model.init_args.options", f"{{channels: {channels}, width: 4}}"]
        assert main([*words, *chosen]) == 2
        found = [line for line in capsys.readouterr().err.splitlines() if "rror" in line]
        assert len(found) == 1 and found[0].startswith(f"meshconv: error: {wanted}")


def test_latitude_longitude_grids_say_nothing_different(tmp_path):
    """Decreasing latitudes, another order of dimensions, -180 to 180: the same field at every point of the sphere."""
    points = HealpixSphere(4).xyz
    wanted = None
    for data in (weather(), weather().sortby("lat"), weather().transpose("lon", "time", "lat"),
                 weather().assign_coords(lon=(LON + 180) % 360 - 180)):  # fmt: skip
        fields = open_fields(save(data, tmp_path / "a.nc"))
        assert isinstance(fields.grid, LatLonGrid)
        values = fields.values("t")[:, fields.grid.locate(points)]
        wanted = values if wanted is None else wanted
        np.testing.assert_array_equal(values, wanted)
        fields.dataset.close()


