"""Maps of GRIB, both editions, written by ecCodes: names, levels, times, missing values, grids; what is damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import xarray as xr

from meshconv import InputError
from meshconv.geometry import LatLonGrid, PointSphere
from meshconv.io import open_fields

eccodes = pytest.importorskip("eccodes")
pytest.importorskip("cfgrib")

GRID = {"Ni": 12, "Nj": 7, "latitudeOfFirstGridPointInDegrees": 90, "latitudeOfLastGridPointInDegrees": -90,
        "longitudeOfFirstGridPointInDegrees": 0, "longitudeOfLastGridPointInDegrees": 330,
        "iDirectionIncrementInDegrees": 30, "jDirectionIncrementInDegrees": 30}  # fmt: skip


def write(
    file: BinaryIO, edition: int, name: str, values: np.ndarray, place: tuple[str, int] | None = None,
    sample: str = "regular_ll_sfc_grib", **keys: Any,
) -> None:  # fmt: skip
    handle = eccodes.codes_grib_new_from_samples(f"{sample}{edition}")
    if sample.startswith("regular"):
        keys = {**GRID, **({"numberOfDataPoints": 84} if edition == 2 else {}), **keys}
    for key, value in {"bitsPerValue": 24, **keys}.items():
        eccodes.codes_set(handle, key, value)
    if place is not None:
        eccodes.codes_set(handle, "typeOfLevel", place[0])
        eccodes.codes_set(handle, "level", place[1])
    eccodes.codes_set(handle, "shortName", name)
    if np.isnan(values).any():
        eccodes.codes_set(handle, "bitmapPresent", 1)
        eccodes.codes_set(handle, "missingValue", 9999)
    eccodes.codes_set_values(handle, np.nan_to_num(values, nan=9999.0))
    eccodes.codes_write(handle, file)
    eccodes.codes_release(handle)


def field(shift: float = 0.0) -> np.ndarray:
    return np.arange(84.0) + shift


@pytest.mark.parametrize("edition", [1, 2])
def test_fields_have_their_names_times_levels_and_units(edition: int, tmp_path: Path) -> None:
    path = tmp_path / "a.grib"
    missing = field()
    missing[3] = np.nan
    with path.open("wb") as file:
        for day in (1, 2):
            date = {"dataDate": 20200100 + day, "dataTime": 0}
            write(file, edition, "2t", field(day), ("heightAboveGround", 2), **date)
            for level in (850, 500):
                write(file, edition, "t", field(level + day), ("isobaricInhPa", level), **date)
            write(file, edition, "u", missing, ("isobaricInhPa", 500), **date)
            write(file, edition, "t", field(-day), ("surface", 0), **date)
    fields = open_fields(path)
    assert isinstance(fields.grid, LatLonGrid) and fields.grid.num_points == 84
    assert sorted(fields.variables) == ["t2m", "t_isobaricInhPa", "t_surface", "u"] and fields.unit("t2m") == "K"
    assert fields.dataset["time"].dt.day.values.tolist() == [1, 2]
    place = np.rint(np.degrees(np.arcsin(fields.grid.xyz[:, 2]))), np.rint(
        np.degrees(np.arctan2(fields.grid.xyz[:, 1], fields.grid.xyz[:, 0]))) % 360  # fmt: skip
    number = 12 * (90 - place[0]) / 30 + place[1] / 30
    inside = np.abs(place[0]) < 89  # at the poles one place has many points
    at_level = {"isobaricInhPa": 500}
    for name, select, shift in (("t2m", {}, 1), ("t_isobaricInhPa", at_level, 501), ("t_surface", {}, -1)):
        found = fields.values(name, select)
        assert found[0, inside] == pytest.approx(number[inside] + shift, abs=1e-4)
        assert found[1] - found[0] == pytest.approx(np.full(84, np.sign(shift)), abs=1e-4)
    assert np.isnan(fields.values("u")).sum() == 2
    assert not list(tmp_path.glob("*.idx"))


def test_reduced_grids_are_points(tmp_path: Path) -> None:
    path = tmp_path / "a.grb2"
    with path.open("wb") as file:
        write(file, 2, "t", np.arange(6114.0), sample="reduced_gg_pl_32_grib")
    fields = open_fields(path)
    assert isinstance(fields.grid, PointSphere) and fields.grid.num_points == 6114
    assert fields.values("t").ravel() == pytest.approx(np.arange(6114.0), abs=1e-2)


def test_what_is_damaged_is_one_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.grib"
    with whole.open("wb") as file:
        write(file, 2, "2t", field(), ("heightAboveGround", 2))
        write(file, 2, "t", field(), ("surface", 0))
    content = whole.read_bytes()
    half = int.from_bytes(content[8:16], "big")
    with (tmp_path / "grids.grib").open("wb") as file:
        write(file, 2, "2t", field(), ("heightAboveGround", 2))
        write(file, 2, "t", np.zeros(6114), sample="reduced_gg_pl_32_grib")
    with (tmp_path / "shifted.grib").open("wb") as file:
        write(file, 2, "2t", field(), ("heightAboveGround", 2))
        write(file, 2, "t", field(), ("surface", 0), longitudeOfFirstGridPointInDegrees=10,
              longitudeOfLastGridPointInDegrees=340)  # fmt: skip
    with (tmp_path / "steps.grib").open("wb") as file:
        write(file, 2, "2t", field(), ("heightAboveGround", 2))
        write(file, 2, "t", field(), ("surface", 0), stepRange="6")
    for name, bytes_, says in (
        ("cut.grib", content[:-9], "message 2 has .* it was cut short"),
        ("other.grib", content[:half] + b"x" * 300, f"no message begins at byte {half}"),
        ("end.grib", content[: half - 4] + b"0000" + content[half:], "message 1 does not end where it says"),
        ("text.grib", b"no grib at all", "no message begins at byte 0"),
        ("empty.grib", b"", "no messages"),
        ("shifted.grib", (tmp_path / "shifted.grib").read_bytes(), "its fields are on several grids"),
        ("steps.grib", (tmp_path / "steps.grib").read_bytes(), "not all of one step .t2m 0 h; t 6 h"),
        ("grids.grib", (tmp_path / "grids.grib").read_bytes(), "its fields are on several grids"),
    ):
        path = tmp_path / name
        path.write_bytes(bytes_)
        with pytest.raises(InputError, match=says) as error:
            open_fields(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def scanned(
    down: bool = True, right: bool = True, columns: bool = False, snake: bool = False
) -> tuple[dict, np.ndarray]:
    """Keys of a way to go through the grid, and the fields' numbers in that order."""
    rows = field().reshape(7, 12)[:: 1 if down else -1, :: 1 if right else -1]
    keys: dict[str, Any] = {"jScansPositively": int(not down), "iScansNegatively": int(not right),
                            "jPointsAreConsecutive": int(columns)}  # fmt: skip
    if not down:
        keys |= {"latitudeOfFirstGridPointInDegrees": -90, "latitudeOfLastGridPointInDegrees": 90}
    if not right:
        keys |= {"longitudeOfFirstGridPointInDegrees": 330, "longitudeOfLastGridPointInDegrees": 0}
    rows = rows.T if columns else rows
    if snake:
        keys["alternativeRowScanning"] = 1
        rows = np.where(np.arange(len(rows))[:, None] % 2 == 1, rows[:, ::-1], rows)
    return keys, rows.ravel()


WAYS: dict[str, tuple[int, dict[str, Any], dict[str, bool]]] = {
    **{f"{e} {' '.join(k for k, v in way.items()) or 'as usual'}": (e, {}, way) for e in (1, 2) for way in (
        {}, {"down": False})},
    **{f"{e} {packing}": (e, {"packingType": packing}, {}) for e, every in (
        (1, ("grid_simple", "grid_ieee", "grid_second_order")),
        (2, ("grid_simple", "grid_ieee", "grid_ccsds", "grid_second_order", "grid_complex_spatial_differencing")))
       for packing in every},
    **{f"{e} {bits} bits": (e, {"bitsPerValue": bits}, {}) for e in (1, 2) for bits in (7, 8, 12, 16, 32)},
    **{f"{e} missing": (e, {"missing": True}, {}) for e in (1, 2)},
    **{f"{e} scaled": (e, {"decimalScaleFactor": 2}, {}) for e in (1, 2)},
    **{f"2 {k}": (2, {k: v}, {}) for k, v in (("tablesVersion", 28), ("centre", "kwbc"), ("shapeOfTheEarth", 6))},
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_fields_in_every_packing_and_order(name: str, tmp_path: Path) -> None:
    edition, options, way = WAYS[name]
    keys, values = scanned(**way)
    options = dict(options)
    packing = options.pop("packingType", None)
    if options.pop("missing", False):
        values[[3, 20]] = np.nan
    path = tmp_path / "a.grib"
    with path.open("wb") as file:
        write(file, edition, "2t", values, ("heightAboveGround", 2), **keys, **options)
    if packing is not None:
        with path.open("rb") as file:
            handle = eccodes.codes_grib_new_from_file(file)
        eccodes.codes_set(handle, "packingType", packing)
        eccodes.codes_set_values(handle, values)
        with path.open("wb") as file:
            eccodes.codes_write(handle, file)
        eccodes.codes_release(handle)
    fields = open_fields(path)
    assert isinstance(fields.grid, LatLonGrid) and fields.grid.num_points == 84
    x, y, z = fields.grid.xyz.T
    latitude, longitude = np.rint(np.degrees(np.arcsin(z))), np.rint(np.degrees(np.arctan2(y, x))) % 360
    number = 12 * (90 - latitude) / 30 + longitude / 30
    inside = np.abs(latitude) < 89  # at the poles one place has many points
    wanted = np.where(np.isin(number, [3, 20]) & ("missing" in name), np.nan, number)
    assert fields.values("t2m").ravel()[inside] == pytest.approx(wanted[inside], abs=0.4 if "7 bits" in name else 0.05,
                                                                 nan_ok=True)  # fmt: skip


@pytest.mark.parametrize("edition", [1, 2])
@pytest.mark.parametrize("sample", ["regular_gg_ml_grib", "reduced_gg_pl_32_grib", "reduced_gg_sfc_grib",
                                    "rotated_ll_sfc_grib"])  # fmt: skip
def test_grids_of_other_kinds(sample: str, edition: int, tmp_path: Path) -> None:
    """Every point has the latitude that ecCodes gives it."""
    path = tmp_path / "a.grib"
    handle = eccodes.codes_grib_new_from_samples(f"{sample}{edition}")
    latitudes = eccodes.codes_get_array(handle, "latitudes")
    eccodes.codes_set(handle, "bitsPerValue", 24)
    eccodes.codes_set(handle, "shortName", "t")
    eccodes.codes_set_values(handle, latitudes)
    with path.open("wb") as file:
        eccodes.codes_write(handle, file)
    eccodes.codes_release(handle)
    fields = open_fields(path)
    assert fields.grid.num_points == len(latitudes)
    assert fields.values("t").ravel() == pytest.approx(np.degrees(np.arcsin(fields.grid.xyz[:, 2])), abs=1e-3)


@pytest.mark.parametrize(("way", "says"), [("right", "from east to west"), ("columns", "column by column"),
                                          ("snake", "back in every other row")])  # fmt: skip
@pytest.mark.parametrize("edition", [1, 2])
def test_points_in_other_orders_are_refused(edition: int, way: str, says: str, tmp_path: Path) -> None:
    if way == "snake" and edition == 1:
        return  # which has no such order
    path = tmp_path / "a.grib"
    keys, values = scanned(**{way: way != "right"})
    with path.open("wb") as file:
        write(file, edition, "2t", values, ("heightAboveGround", 2), **keys)
    with pytest.raises(InputError, match=f"its points go {says}; write them row by row from west to east"):
        open_fields(path)


def test_projections_work_beside_the_library_of_grib(tmp_path: Path) -> None:
    xr.Dataset({"t": ("x", [1.0])}).to_netcdf(tmp_path / "some.nc")
    code = (
        "from meshconv.io.maps.fields import open_fields; import xarray, eccodes\n"
        f"xarray.open_dataset({str(tmp_path / 'some.nc')!r}).close()\n"
        "import pyproj; print(pyproj.Transformer.from_crs(4326, 3857).transform(0, 180)[0])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(np.pi * 6378137)
