"""Files of one grid that differ in rounding, and maps without time that have one of their own."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from map_case import LAT, LON, TIMES, maps, one_line, save, weather

from meshconv import InputError
from meshconv.io import open_fields


@pytest.mark.parametrize("two_dimensional", [False, True])
def test_coordinates_that_differ_by_rounding(two_dimensional, tmp_path, caplog):
    caplog.set_level("INFO")
    data = weather()
    data = data.assign_coords(lat=("lat", LAT + 0.1, data["lat"].attrs), lon=("lon", LON + 0.1, data["lon"].attrs))
    if two_dimensional:
        la, lo = np.meshgrid(data["lat"], data["lon"], indexing="ij")
        data = data.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
        data = data.assign_coords(lat=(("y", "x"), la), lon=(("y", "x"), lo))
    rough = data[["u", "v"]].assign_coords({n: data[n].astype("f4").astype("f8") for n in ("lat", "lon")})
    files = [save(data[["t", "event"]], tmp_path / "a.nc"), save(rough, tmp_path / "b.nc")]
    fields, wanted = open_fields(files), open_fields(save(data, tmp_path / "all.nc"))
    for name in "tuv":
        np.testing.assert_array_equal(fields.values(name), wanted.values(name))
    assert caplog.text.count("they are taken as the same") == 1
    moved = data[["u", "v"]].assign_coords({n: data[n] + 0.01 for n in ("lat", "lon")})
    with pytest.raises(InputError, match="do not go together") as error:
        open_fields([files[0], save(moved, tmp_path / "c.nc")])
    one_line(error)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_map_that_does_not_change_may_have_a_time_of_its_own(steps, tmp_path, caplog):
    caplog.set_level("INFO")
    height = np.random.default_rng(0).normal(size=(len(LAT), len(LON)))
    own = np.arange("1979", str(1979 + steps), dtype="datetime64[Y]").astype("datetime64[ns]")
    static = xr.Dataset(
        {"z": (("time", "lat", "lon"), np.stack([height] * steps), {"units": "m"})},
        {"time": own, "lat": weather()["lat"], "lon": weather()["lon"]},
    )
    first, second = save(weather(), tmp_path / "a.nc"), save(static, tmp_path / "z.nc")
    for files in ([first, second], [second, first]):
        data = maps(files, scalars=["t", "z"], vectors=[])
        assert data.fields.dataset["time"].values.tolist() == TIMES.tolist()
        np.testing.assert_array_equal(data.fields.values("z"), height.ravel())
    assert "z.nc (z): the same at every time, whatever its own" in caplog.text
    if steps > 1:
        static["z"][1] += 1
        with pytest.raises(InputError) as error:
            maps([first, save(static, tmp_path / "y.nc")], scalars=["t", "z"], vectors=[])
        one_line(error)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("parts", [2, 3])
def test_times_that_interleave_are_put_in_order(parts, apart, tmp_path, caplog):
    """Even and odd days in a file each; also with a variable in files of its own."""
    caplog.set_level("INFO")
    data = weather()
    files = []
    for k in range(parts):
        part = data.isel(time=slice(k, None, parts))
        if not apart:
            files.append(save(part, tmp_path / f"{k}.nc"))
            continue
        files += [save(part[["t", "event"]], tmp_path / f"a{k}.nc"), save(part[["u", "v"]], tmp_path / f"b{k}.nc")]
    fields = open_fields(files[::-1])
    assert fields.dataset["time"].values.tolist() == TIMES.tolist()
    for name in ("t", "u", "event"):
        np.testing.assert_array_equal(fields.values(name), data[name].values.reshape(len(TIMES), -1))
    assert caplog.text.count(f"interleaves with that of {parts - 1} other files") == (2 if apart else 1)
    with pytest.raises(InputError, match="is also in") as error:
        open_fields([*files, save(data.isel(time=[1, 5]), tmp_path / "again.nc")])
    one_line(error)
    height = [data.isel(time=slice(k, None, 2)).assign(z=data["t"][0] * 0 + k).drop_vars("event") for k in range(2)]
    with pytest.raises(InputError, match="do not go together") as error:  # of what has no time neither is right
        open_fields([save(part, tmp_path / f"z{k}.nc") for k, part in enumerate(height)])
    one_line(error)
