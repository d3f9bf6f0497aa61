"""HEALPix fields from and to NetCDF: orders, and what is wrong with a file said in one line."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr

from meshconv import InputError
from meshconv.io.maps.climate import open_healpix, write_labels

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


@pytest.mark.parametrize("file_format", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_nested_file_is_read_as_it_is(tmp_path: Path, file_format: str) -> None:
    maps = open_healpix(_file(tmp_path / "a.nc", mapping=_cf("nested"), file_format=file_format))
    assert (maps.nside, maps.pixel_order) == (NSIDE, "nest")
    assert np.array_equal(maps.dataset["f"], np.arange(NPIX))
    assert maps.dataset["f"].attrs["units"] == "K"


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
    maps = open_healpix(path, ["f"])
    assert maps.pixel_order == "ring"
    assert maps.dataset["f"].dims == ("cell",)
    assert np.array_equal(maps.dataset["f"], NESTED_LAT)
    assert np.array_equal(maps.to_file_order(NESTED_LAT), in_ring_order)


def test_months_keep_their_axis_and_shuffled_indices_are_sorted(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(NPIX)
    months = np.arange(12)[:, None] * 1000.0 + shuffled
    index = {"standard_name": "healpix_index"}
    extra = {"m": (("month", "x"), months), "id": (("x",), shuffled, index)}
    path = _file(tmp_path / "a.nc", shuffled * 1.0, _cf("nested"), "x", extra)
    maps = open_healpix(path)
    assert np.array_equal(maps.dataset["m"], np.arange(12)[:, None] * 1000.0 + np.arange(NPIX))
    assert np.array_equal(maps.to_file_order(np.arange(NPIX)), shuffled)


def test_order_has_to_be_known(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"no attribute gives the pixel order.*pixel_order="):
        open_healpix(path)
    assert open_healpix(path, pixel_order="ring").pixel_order == "ring"
    with pytest.raises(InputError, match="'nested'"):
        open_healpix(path, pixel_order="nested")


def _wrong_latitudes() -> dict:
    lat = NESTED_LAT[healpy.ring2nest(NSIDE, np.arange(NPIX))]
    return {"lat": (("cell",), lat, {"standard_name": "latitude", "units": "degrees_north"})}


def _indices(values: np.ndarray) -> dict:
    return {"cell_ids": (("cell",), values)}


BAD_FILES = {
    "count": ({"values": np.zeros(100), "mapping": _cf("nested")}, "100 pixels.*not 12 nside"),
    "nside 3": ({"values": np.zeros(108), "mapping": _cf("ring")}, r"contradicts .*\(nside 3\)"),
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
        open_healpix(path, ["f"])
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("said", ["nest", "ring"])
def test_argument_must_not_contradict_the_file(tmp_path: Path, said: str) -> None:
    written = {"nest": "ring", "ring": "nested"}[said]
    path = _file(tmp_path / "a.nc", mapping=_cf(written))
    with pytest.raises(InputError, match=f"'{said}' contradicts.*indexing_scheme = '{written}'"):
        open_healpix(path, pixel_order=said)


def test_missing_variable_lists_what_is_there(tmp_path: Path) -> None:
    extra = {"months": (("month", "cell"), np.zeros((12, NPIX)))}
    path = _file(tmp_path / "a.nc", mapping=_cf("nested"), extra=extra)
    with pytest.raises(InputError, match=r"no variable t2m; the file has crs, f, months$"):
        open_healpix(path, ["f", "t2m"])


def test_scalar_is_not_a_map(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.nc", mapping=_cf("nested"), extra={"s": ((), 1.0)})
    with pytest.raises(InputError, match="variable s has no dimension 'cell'"):
        open_healpix(path, ["f", "s"])


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_healpix(tmp_path / "none.nc")
    with pytest.raises(InputError, match="no such file"):
        open_healpix(tmp_path)
    whole = _file(tmp_path / "whole.nc", mapping=_cf("nested")).read_bytes()
    contents = {"empty": b"", "text": b"lat,lon\n1,2\n", "cut": whole[: len(whole) // 2]}
    for name, content in contents.items():
        path = tmp_path / f"{name}.nc"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.nc: not a readable NetCDF file \(.+\)"):
            open_healpix(path)


@pytest.mark.parametrize("scheme", ["nested", "ring"])
def test_labels_come_back_in_the_order_of_the_input(tmp_path: Path, scheme: str) -> None:
    maps = open_healpix(_file(tmp_path / "in.nc", mapping=_cf(scheme)))
    scores = np.random.default_rng(0).dirichlet(np.ones(3), NPIX)
    path = tmp_path / "out.nc"
    write_labels(path, scores, ["Af", "tundra zone", "EF"], maps)
    with xr.open_dataset(path, engine="netcdf4") as stored:
        assert stored["healpix"].attrs["indexing_scheme"] == scheme
        assert stored["label"].attrs["flag_meanings"] == "Af tundra_zone EF"
        assert stored["label"].attrs["flag_values"].tolist() == [0, 1, 2]
        assert stored["label"].dtype == np.int16
        assert np.array_equal(stored["cell_ids"], np.arange(NPIX))
        lat = healpy.pix2ang(NSIDE, np.arange(NPIX), nest=scheme == "nested", lonlat=True)[1]
        np.testing.assert_allclose(stored["lat"], lat, atol=1e-9)
        assert stored["class"].values.tolist() == ["Af", "tundra_zone", "EF"]
    back = open_healpix(path, ["label", "probability"])  # also checks latitudes and indices
    assert back.pixel_order == maps.pixel_order
    assert np.array_equal(back.dataset["label"], scores.argmax(axis=1))
    np.testing.assert_allclose(back.dataset["probability"].T, scores, rtol=1e-6)


def test_writing_leaves_nothing_half_done(tmp_path: Path) -> None:
    maps = open_healpix(_file(tmp_path / "in.nc", mapping=_cf("nested")))
    with pytest.raises(InputError, match="cannot be written"):
        write_labels(tmp_path / "nowhere" / "out.nc", np.ones((NPIX, 1)), ["a"], maps)
    with pytest.raises(ValueError, match="192 pixels, 2 classes"):
        write_labels(tmp_path / "out.nc", np.ones((NPIX, 1)), ["a", "b"], maps)
    (tmp_path / "out.nc").mkdir()
    with pytest.raises(InputError, match=r"out\.nc: cannot be written"):
        write_labels(tmp_path / "out.nc", np.ones((NPIX, 1)), ["a"], maps)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.nc", "out.nc"]
