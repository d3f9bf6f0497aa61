"""What is missing in a map: declared or not, out of range, in labels and times; files that are no NetCDF."""

from __future__ import annotations

import gzip
import io
import logging
import zipfile
from pathlib import Path

import healpy
import netCDF4
import numpy as np
import pytest
from map_case import DIMS, maps, one_line, save, weather

from meshconv import InputError
from meshconv.io.maps.fields import open_fields

FILLS = [healpy.UNSEEN, 1e20, 9.969209968386869e36, -9.99e33, 1e37, float(np.finfo(np.float32).max)]


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_fill_values_that_are_not_declared(tmp_path, caplog, fill, kind):
    """In an input and in the label: missing, said, and the statistics are those of the rest."""
    clean = weather()
    data = weather().assign(event=clean["event"].astype(kind))
    for name in ("t", "event"):
        data[name][:, 3:6, 4:9] = fill
        clean[name] = clean[name].where(np.abs(data[name]) < 1e19)
    encoding = {name: {"dtype": kind, "_FillValue": None} for name in ("t", "event")}
    with caplog.at_level(logging.WARNING):
        found = maps(save(data, tmp_path / "a.nc", encoding=encoding))
    assert f"a.nc: t holds {np.array(fill, kind):g}, which counts as missing; declare it as _FillValue" in caplog.text
    wanted = maps(save(clean, tmp_path / "b.nc"))
    assert found.inputs.statistics[0]["std"] == pytest.approx(wanted.inputs.statistics[0]["std"], rel=1e-5)
    assert found.class_names == ["0", "1"] and found.class_counts.equal(wanted.class_counts)


@pytest.mark.parametrize("fill", [-9999.0, -999.0, -999.9, 99999.0, -32768.0])
def test_small_numbers_far_from_all_others(tmp_path, caplog, fill):
    clean, data = weather(), weather()
    data = data.assign(t=data["t"].astype("float32"), event=data["event"].astype("int32"))
    data["t"][:, 3:6, 4:9] = fill
    data["event"][:, 3:6, 4:9] = int(fill)
    clean["t"][:, 3:6, 4:9] = np.nan
    found = maps(save(data, tmp_path / "a.nc", encoding={"t": {"_FillValue": None}}))
    wanted = maps(save(clean, tmp_path / "b.nc"))
    assert found.inputs.statistics[0]["std"] == pytest.approx(wanted.inputs.statistics[0]["std"], rel=1e-5)
    assert f"a.nc: t holds {fill:g}, which counts as missing; declare it as _FillValue" in caplog.text
    if fill == int(fill):  # labels are whole numbers
        assert found.class_names == ["0", "1"] and f"a.nc: {fill:.0f} of label event does not count" in caplog.text
        named = maps(tmp_path / "a.nc", classes={0: "no", 1: "yes", int(fill): "far"})
        assert named.class_names == ["no", "yes", "far"]


OTHER_WORDS = ["FillValue", "fill_value", "nodata", "NODATA_value", "missing_data", "missingValue"]


@pytest.mark.parametrize("name", OTHER_WORDS)
@pytest.mark.parametrize("value", [279.0, "279", "279.f"])
def test_other_words_for_what_is_missing(tmp_path, name, value):
    """A number among the others, which nothing but the attribute tells from them."""
    data = weather()
    data["t"][:, 3:6, 4:9] = 279.0
    data["t"].attrs[name] = value
    found = open_fields(save(data, tmp_path / "a.nc")).values("t").reshape(data["t"].shape)
    np.testing.assert_array_equal(np.isnan(found), data["t"].values == 279.0)


@pytest.mark.parametrize("fill", [1e10, 1e15, -9e33, 1.7e308, 65535.0, 2147483647.0, -888.88])
def test_more_numbers_for_nothing(tmp_path, fill):
    data = weather()
    data["t"][:, 3:6, 4:9] = fill
    found = open_fields(save(data, tmp_path / "a.nc", encoding={"t": {"_FillValue": None}})).values("t")
    np.testing.assert_array_equal(np.isnan(found.reshape(data["t"].shape)), data["t"].values == fill)


def test_small_numbers_among_others(tmp_path):
    """The sea floor at 999 and 9999 metres below the surface."""
    data = weather()
    data["t"] = -11000 * np.abs(np.sin(data["t"]))
    data["t"][0, 0, :4] = [-999, -9999, -999.9, 0]
    found = open_fields(save(data, tmp_path / "a.nc")).values("t", at={"time": 0})
    assert found[:4].tolist() == [-999, -9999, -999.9, 0]


def test_large_values_are_no_fill_values(tmp_path):
    """Column densities of hydrogen are about 1e20 to 1e22."""
    data = weather()
    data["t"] = data["t"] * 1e18 + 1e20
    np.testing.assert_allclose(open_fields(save(data, tmp_path / "a.nc")).values("t").max(), data["t"].max())


@pytest.mark.parametrize("kind", ["int32", "int64", "int16"])
def test_whole_numbers_that_netcdf_fills_with(tmp_path, kind):
    data = weather()
    data["event"] = data["event"].astype(kind)
    data["event"][:, 0] = netCDF4.default_fillvals[np.dtype(kind).str[1:]]
    found = maps(save(data, tmp_path / "a.nc"))
    assert found.class_names == ["0", "1"]
    data["event"][:, 0] = np.iinfo(kind).min if kind != "int16" else -32767  # what NaN becomes
    assert maps(save(data, tmp_path / "b.nc")).class_names == ["0", "1"]


def raw(path: Path, kind: str, stored: list, **attributes) -> np.ndarray:
    """What is read of four numbers as they are stored, along two latitudes and two longitudes."""
    with netCDF4.Dataset(path, "w") as file:
        for name, values in (("lat", [-10.0, 10.0]), ("lon", [0.0, 90.0])):
            file.createDimension(name, 2)
            axis = file.createVariable(name, "f8", (name,))
            axis.units, axis[:] = "degrees", values
        variable = file.createVariable("t", kind, ("lat", "lon"), fill_value=attributes.pop("_FillValue", False))
        variable.set_auto_maskandscale(False)
        variable.setncatts(attributes)
        variable[:] = np.array(stored, kind).reshape(2, 2)
    return open_fields(path).values("t")


NAN = np.nan
STORED = {
    "missing_value": ("f4", [1, -999, 3, 4], {"missing_value": np.float32(-999)}, [1, NAN, 3, 4]),
    "of another precision": ("f4", [1, -9999.9, 3, 4], {"missing_value": np.float64(-9999.9)}, [1, NAN, 3, 4]),
    "as text": ("f4", [1, -999, 3, 4], {"missing_value": "-999."}, [1, NAN, 3, 4]),
    "two of them": ("f4", [1, -999, -998, 4], {"missing_value": np.float32([-999, -998])}, [1, NAN, NAN, 4]),
    "beside _FillValue": ("f4", [1, -9, -8, 4], {"missing_value": -8, "_FillValue": np.float32(-9)}, [1, NAN, NAN, 4]),
    "valid_min": ("f4", [0.1, 0.09, 3, 4], {"valid_min": 0.1}, [0.1, NAN, 3, 4]),
    "valid_max": ("f8", [1, 2, 3, 4], {"valid_max": 3}, [1, 2, 3, NAN]),
    "valid_range": ("f4", [1, 2, 3, 4], {"valid_range": np.float32([2, 3])}, [NAN, 2, 3, NAN]),
    "valid_range as text": ("f4", [1, 2, 3, 4], {"valid_range": "2., 3."}, [NAN, 2, 3, NAN]),
    "valid_range of whole numbers": ("i2", [1, 2, 3, 4], {"valid_range": np.int16([2, 3])}, [NAN, 2, 3, NAN]),
    "of packed numbers": (
        "i2", [0, 100, 500, 501],
        {"valid_range": np.int16([100, 500]), "scale_factor": 0.1, "add_offset": 200.0}, [NAN, 210, 250, NAN],
    ),
    "in unpacked units": (
        "i2", [0, 100, 500, 501],
        {"valid_range": np.array([210.0, 250.0]), "scale_factor": 0.1, "add_offset": 200.0}, [NAN, 210, 250, NAN],
    ),
    "of a negative scale": (
        "i2", [1, 2, 3, 4], {"valid_range": np.int16([2, 3]), "scale_factor": -2.0}, [NAN, -4, -6, NAN]
    ),
    "unsigned": ("i1", [1, -1, -2, 0], {"_Unsigned": "true", "valid_range": np.int8([0, -2])}, [1, NAN, 254, 0]),
    "packed and filled": ("i2", [1, -32767, 3, 4], {"scale_factor": 0.5}, [0.5, NAN, 1.5, 2]),
    "a range upside down": ("f4", [1, 2, 3, 4], {"valid_range": np.float32([3, 2])}, [1, 2, 3, 4]),
    "flags": (
        "i2", [0, 1, 7, 300],
        {"flag_values": np.int16([0, 1, 7]), "flag_meanings": "a b c", "valid_max": np.int16(1)}, [0, 1, 7, NAN],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STORED)
def test_declared_values_and_ranges(tmp_path, name):
    kind, stored, attributes, wanted = STORED[name]
    np.testing.assert_allclose(raw(tmp_path / "a.nc", kind, stored, **attributes).ravel(), wanted, rtol=1e-6)


def test_a_mean_is_missing_where_a_value_is(tmp_path):
    data = weather()
    data["t"][2, 3, 4] = 1e20
    mean = open_fields(save(data, tmp_path / "a.nc", encoding={"t": {"_FillValue": None}})).values("t", mean="time")
    assert np.isnan(mean).sum() == 1 and np.nanmax(mean) < 400


def test_steps_without_a_time(tmp_path):
    days = np.r_[0, 1, np.nan, 3, 4, 5]
    for k, calendar in enumerate(("standard", "noleap")):
        times = ("time", days, {"units": "days since 2000-01-01", "calendar": calendar})
        data = weather().assign_coords(time=times)
        with pytest.raises(InputError, match=r"time is missing at 1 of 6 steps, first at step 2 .* complete the coord"):
            open_fields(save(data, tmp_path / f"{k}.nc"))
    units = {"units": "days since 2000-01-01"}
    data = weather().assign_coords(time=("time", np.r_[np.arange(5.0), 9.969209968386869e36], units))
    with pytest.raises(InputError, match="time is missing at 1 of 6 steps, first at step 5"):
        open_fields(save(data, tmp_path / "c.nc", encoding={"time": {"_FillValue": None}}))
    for k, fill in enumerate((1e20, 9.969209968386869e36)):
        data = weather().assign_coords(time=("time", np.r_[0.0, fill, 2:6], units))
        with pytest.raises(InputError, match="time is missing at 1 of 6 steps, first at step 1"):
            open_fields(save(data, tmp_path / f"fill{k}.nc"))


@pytest.mark.parametrize("shared", [1, 2, 4])
@pytest.mark.parametrize("backwards", [False, True])
def test_steps_that_two_files_share(tmp_path, shared, backwards):
    order = slice(None, None, -1) if backwards else slice(None)
    one, two = weather().isel(time=slice(0, 4)), weather().isel(time=slice(4 - shared, 6))
    paths = [save(d.isel(time=order), tmp_path / f"{k}.nc") for k, d in enumerate((one, two))]
    for files in (paths, paths[::-1]):
        with pytest.raises(InputError, match=r"time 2020-0.* is also in .*nc; files of one series share no step"):
            open_fields(files)


def test_a_file_given_by_two_names(tmp_path):
    paths = [save(weather(), tmp_path / f"{k}.nc") for k in range(2)]
    with pytest.raises(InputError, match=r"time 2020-01-01 00:00:00 is also in .*0.nc; files of one series share no"):
        open_fields(paths)


def test_steps_that_a_file_has_twice(tmp_path, caplog):
    path = save(weather().isel(time=[0, 1, 1, 2, 3, 3]), tmp_path / "a.nc")
    assert open_fields(path).dataset.sizes["time"] == 6
    assert "2 of 6 steps of time are there twice, the first is 2020-02-01 00:00:00; each counts" in caplog.text


def test_places_in_which_files_differ(tmp_path):
    one, two = weather().isel(time=slice(3)), weather().isel(time=slice(3, 6))
    first = save(one, tmp_path / "a.nc")
    for name, lat, apart in (("b", two["lat"] + 1e-3, "0.001"), ("c", -two["lat"], "160")):
        paths = [first, save(two.assign_coords(lat=lat), tmp_path / f"{name}.nc")]
        message = rf"lat in .*{name}\.nc differs by up to {apart} from that in .*a\.nc"
        with pytest.raises(InputError, match=message) as error:
            open_fields(paths)
        one_line(error)


def test_steps_of_different_variables_may_be_the_same(tmp_path):
    parts = [weather()[["t", "u", "v"]], weather()[["event"]]]
    north, south = weather().isel(lat=slice(0, 8)), weather().isel(lat=slice(8, None))
    for k, pair in enumerate((parts, [north, south])):
        fields = open_fields([save(d, tmp_path / f"{k}{i}.nc") for i, d in enumerate(pair)])
        assert fields.dataset.sizes["time"] == 6 and fields.grid.shape == (17, 36)
        np.testing.assert_array_equal(fields.to_file_grid(fields.values("t")), weather()["t"])


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.nc", b"CDF\x01")
    return stream.getvalue()


BYTES = {
    "GRIB": (b"GRIB\x00\x00\x00\x02", "GRIB, not NetCDF or Zarr; let its name end in .grib"),
    "GRIB of a bulletin": (b"\n\x00HTXX85 ECMF\r\r\nGRIB\x00\x00\x00\x02", "GRIB, .*, or convert it: cdo"),
    "FITS": (b"SIMPLE  =                    T", "FITS, .* called .fits"),
    "ZIP": (_zip(), "a ZIP archive, .* unpack it"),
    "gzip": (gzip.compress(b"CDF\x01"), "packed with gzip, .* gunzip"),
    "bzip2": (b"BZh91AY&SY", "bunzip2"),
    "HDF4": (b"\x0e\x03\x13\x01\x00", "HDF4, .* h4tonccf_nc4"),
    "kerchunk": (b' {"version": 1, "refs": {".zgroup": "{}"}}', "references of kerchunk, .* engine='kerchunk'"),
    "JSON": (b"\xef\xbb\xbf[1, 2]", "this is JSON"),
    "TIFF": (b"II*\x00\x08\x00\x00\x00", "rioxarray"),
    "web page": (b"\n<!DOCTYPE html><html>", "a web page or XML, .* get the file again"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS, .* git lfs pull"),
    "CDL": (b"netcdf a {\ndimensions:", "ncgen"),
    "NumPy": (b"\x93NUMPY\x01\x00", "a NumPy array"),
    "TAR": (b"a.nc".ljust(257, b"\0") + b"ustar\x0000", "a TAR archive"),
    "empty": (b"", "it is empty"),
}


@pytest.mark.parametrize("name", BYTES)
def test_other_formats_by_this_name(tmp_path, name):
    content, message = BYTES[name]
    path = tmp_path / "a.nc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        open_fields(path)
    assert str(path) in one_line(error) and ("download it again" not in str(error.value) or name == "empty")


def test_dimensions_stay_in_any_order(tmp_path):
    data = weather().transpose("lon", "lat", "time")
    data["t"][0, 0, 0] = 1e20
    values = open_fields(save(data, tmp_path / "a.nc", encoding={"t": {"_FillValue": None}})).values("t")
    assert values.shape == (6, 17 * 36) and np.isnan(values[0, 0]) and DIMS[0] == "time"
