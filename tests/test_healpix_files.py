"""HEALPix maps from NetCDF: orders, indices, and what is wrong with a file said in one line."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr

from meshconv import HealpixSphere, InputError
from meshconv.io.maps.fields import SphereFields, open_fields

NSIDE = 4
NPIX = 12 * NSIDE**2
NESTED_LAT = healpy.pix2ang(NSIDE, np.arange(NPIX), nest=True, lonlat=True)[1]


def _file(
    path: Path,
    values: np.ndarray | None = None,
    mapping: dict | None = None,
    dim: str = "cell",
    extra: dict | None = None,
    attrs: dict | None = None,
    file_format: str = "NETCDF4",
) -> Path:
    values = np.arange(NPIX, dtype=np.float64) if values is None else values
    variables = {"f": ((dim,), values, {"units": "K"}), **(extra or {})}
    if mapping is not None:
        variables["crs"] = ((), np.int32(0), mapping)
    xr.Dataset(variables, attrs=attrs).to_netcdf(path, format=file_format, engine="netcdf4")
    return path


def _cf(scheme: str, level: int = 2) -> dict:
    return {"grid_mapping_name": "healpix", "indexing_scheme": scheme, "refinement_level": level}


def _in_nested_order(fields: SphereFields, name: str = "f") -> np.ndarray:
    assert isinstance(fields.grid, HealpixSphere) and fields.grid.pixel_order == "nest"
    assert fields.grid.nside == NSIDE
    return fields.values(name)


@pytest.mark.parametrize("file_format", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_nested_file_is_read_as_it_is(tmp_path: Path, file_format: str) -> None:
    fields = open_fields(_file(tmp_path / "a.nc", mapping=_cf("nested"), file_format=file_format))
    assert np.array_equal(_in_nested_order(fields), np.arange(NPIX))
    assert fields.unit("f") == "K"


@pytest.mark.parametrize(
    ("mapping", "attrs", "extra"),
    [
        (_cf("ring"), None, {}),
        (
            {"grid_mapping_name": "healpix", "healpix_nside": NSIDE, "healpix_order": "ring"},
            None,
            {},
        ),
        (
            None,
            None,
            {
                "cell_ids": (
                    ("pix",),
                    np.arange(NPIX),
                    {"grid_name": "healpix", "level": 2, "indexing_scheme": "ring"},
                )
            },
        ),
        (None, {"ORDERING": "RING", "NSIDE": NSIDE}, {}),
    ],
    ids=["cf", "icon", "xdggs", "fits"],
)
def test_ring_file_becomes_nested(tmp_path: Path, mapping: dict | None, attrs: dict | None, extra: dict) -> None:
    in_ring_order = NESTED_LAT[healpy.ring2nest(NSIDE, np.arange(NPIX))]
    path = _file(tmp_path / "a.nc", in_ring_order, mapping, "pix", extra, attrs)
    fields = open_fields(path)
    assert np.array_equal(_in_nested_order(fields), NESTED_LAT)
    assert np.array_equal(fields.to_file_grid(NESTED_LAT), in_ring_order)


def test_months_keep_their_axis_and_shuffled_indices_are_sorted(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(NPIX)
    months = np.arange(12)[:, None] * 1000.0 + shuffled
    index = {"standard_name": "healpix_index"}
    extra = {"m": (("month", "x"), months), "id": (("x",), shuffled, index)}
    path = _file(tmp_path / "a.nc", shuffled * 1.0, _cf("nested"), "x", extra)
    fields = open_fields(path)
    assert np.array_equal(_in_nested_order(fields, "m"), np.arange(12)[:, None] * 1000.0 + np.arange(NPIX))
    assert np.array_equal(fields.to_file_grid(np.arange(NPIX)), shuffled)


def test_order_has_to_be_known(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.nc", mapping={"grid_mapping_name": "healpix"})
    with pytest.raises(InputError, match=r"no attribute gives the pixel order.*pixel_order="):
        open_fields(path)
    found = _in_nested_order(open_fields(path, pixel_order="ring"))
    assert np.array_equal(found, healpy.nest2ring(NSIDE, np.arange(NPIX)))
    with pytest.raises(InputError, match="'nested'"):
        open_fields(path, pixel_order="nested")


def _wrong_latitudes() -> dict:
    lat = NESTED_LAT[healpy.ring2nest(NSIDE, np.arange(NPIX))]
    return {"lat": (("cell",), lat, {"standard_name": "latitude", "units": "degrees_north"})}


def _indices(values: np.ndarray) -> dict:
    return {"cell_ids": (("cell",), values)}


BAD_FILES = {
    "count": ({"values": np.zeros(100), "mapping": _cf("nested")}, "100 pixels.*not 12 nside"),
    "nside 3": (
        {"values": np.zeros(108), "mapping": {"grid_mapping_name": "healpix", "indexing_scheme": "nested"}},
        "nside 3.*power of two",
    ),
    "level": ({"mapping": _cf("nested", 5)}, "refinement_level = 5 contradicts.*192 pixels"),
    "no number": ({"mapping": {"grid_mapping_name": "healpix", "nside": "four"}}, "nside = four"),
    "nuniq": ({"mapping": _cf("nuniq")}, "'nuniq' is not supported"),
    "two orders": (
        {"mapping": _cf("nested"), "attrs": {"healpix_order": "ring"}},
        "contradict each other.*nested.*ring",
    ),
    "latitudes": ({"mapping": _cf("nested"), "extra": _wrong_latitudes()}, "lat of .* contradicts"),
    "indices": (
        {"mapping": _cf("nested"), "extra": _indices(np.arange(NPIX) // 2)},
        "cell_ids holds 0 twice",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_is_one_line_with_its_name(tmp_path: Path, kind: str) -> None:
    arguments, message = BAD_FILES[kind]
    path = _file(tmp_path / "bad.nc", **arguments)
    with pytest.raises(InputError, match=message) as error:
        open_fields(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("said", ["nest", "ring"])
def test_argument_must_not_contradict_the_file(tmp_path: Path, said: str) -> None:
    written = {"nest": "ring", "ring": "nested"}[said]
    path = _file(tmp_path / "a.nc", mapping=_cf(written))
    with pytest.raises(InputError, match=f"'{said}' contradicts.*indexing_scheme = '{written}'"):
        open_fields(path, pixel_order=said)


def test_missing_variable_lists_the_maps(tmp_path: Path) -> None:
    extra = {"months": (("month", "cell"), np.zeros((12, NPIX))), "s": ((), 1.0)}
    fields = open_fields(_file(tmp_path / "a.nc", mapping=_cf("nested"), extra=extra))
    with pytest.raises(InputError, match=r"no variable t2m; the file has f, months$"):
        fields.values("t2m")
    with pytest.raises(InputError, match=r"variable s has dimensions \(\), a map needs \('cell',\)"):
        fields.values("s")
