"""The climate file that ships: right units, right places, right zones, and the same as an independent copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
import yaml

from meshconv import InputError
from meshconv.datasets import SphereMaps
from meshconv.io.maps.fields import open_fields
from meshconv.shipped import find_config, find_data

NPIX = 49152
PATH = find_data("koeppen_hp64.nc")


@pytest.fixture(scope="module")
def stored() -> xr.Dataset:
    with xr.open_dataset(PATH, engine="netcdf4") as dataset:
        return dataset.load()


def _at(dataset: xr.Dataset, name: str, lat: float, lon: float) -> np.ndarray:
    return dataset[name].values[..., healpy.ang2pix(64, lon, lat, nest=True, lonlat=True)]


def _names(labels: xr.DataArray) -> dict[int, str]:
    flags = labels.attrs["flag_values"].tolist()
    return dict(zip(flags, labels.attrs["flag_meanings"].split(), strict=True))


def test_conventions_and_credit(stored: xr.Dataset) -> None:
    assert PATH.stat().st_size <= 8 * 2**20
    mapping = stored["healpix"].attrs
    assert stored.attrs["Conventions"] == "CF-1.13"
    assert "Copernicus Climate Change Service" in stored.attrs["credit"]
    assert mapping["grid_mapping_name"] == "healpix"
    assert mapping["refinement_level"] == 6
    assert mapping["indexing_scheme"] == "nested"
    for name, variable in stored.data_vars.items():
        if name != "healpix":
            assert variable.attrs["grid_mapping"] == "healpix"
            assert variable.sizes["cell"] == NPIX
            assert "long_name" in variable.attrs
    assert np.array_equal(open_fields(PATH).positions, np.arange(NPIX))


def test_no_value_is_missing(stored: xr.Dataset) -> None:
    for name in ("t2m", "tp", "elevation", "land_fraction", "koeppen_share"):
        assert np.isfinite(stored[name].values).all()
    assert (stored["tp"].values >= 0).all()
    assert 0 <= stored["land_fraction"].min() < stored["land_fraction"].max() <= 1


def test_climate_is_that_of_the_earth(stored: xr.Dataset) -> None:
    area_mean = stored[["t2m", "tp"]].mean("cell")
    assert 13 < area_mean["t2m"].mean() < 17  # pixels have equal area
    assert 950 < area_mean["tp"].sum() < 1200  # mm a year
    assert 0.27 < stored["land_fraction"].mean() < 0.31
    novosibirsk, sydney = _at(stored, "t2m", 55.0, 83.0), _at(stored, "t2m", -33.9, 151.0)
    assert novosibirsk[0] < -12 < 15 < novosibirsk[6]
    assert sydney[0] > sydney[6] + 5  # seasons turn round
    assert _at(stored, "tp", 23.0, 12.0).sum() < 60  # Sahara
    assert _at(stored, "tp", 25.4, 91.5).sum() > 2000  # Khasi hills
    assert _at(stored, "elevation", 33.0, 88.0) > 4000  # Tibet
    assert abs(_at(stored, "elevation", 0.0, -150.0)) < 10  # Pacific


@pytest.mark.parametrize(
    ("lat", "lon", "zone"),
    [
        (-3.0, -65.0, "Af"),
        (23.0, 12.0, "BWh"),
        (37.4, -5.8, "Csa"),
        (51.5, 0.0, "Cfb"),
        (60.0, 100.0, "Dfc"),
        (75.0, -40.0, "EF"),
        (0.0, -150.0, "ocean"),
    ],
)
def test_zones_of_places(stored: xr.Dataset, lat: float, lon: float, zone: str) -> None:
    assert _names(stored["koeppen_zone"])[int(_at(stored, "koeppen_zone", lat, lon))] == zone


def test_two_letter_zones_are_the_first_letters(stored: xr.Dataset) -> None:
    full, short = stored["koeppen_zone"], stored["koeppen_two_letter"]
    pairs = np.unique(np.stack([full.values, short.values]), axis=1).T
    assert all(_names(full)[int(a)][:2] == _names(short)[int(b)][:2] for a, b in pairs)
    names = [n for n in _names(short).values() if n != "ocean"]
    assert " ".join(names) == "Af Am As Aw BS BW Cf Cs Cw Df Ds Dw EF ET"
    assert np.array_equal(stored["land_mask"].values == 1, short.values >= 0)
    assert sorted(np.unique(short)) == list(range(-1, 14))


def test_folds_are_blocks(stored: xr.Dataset) -> None:
    blocks = stored["fold"].values.reshape(192, 256)
    assert (blocks == blocks[:, :1]).all()
    assert np.array_equal(blocks[:, 0], np.random.default_rng(0).integers(0, 5, 192))


def test_the_configuration_that_ships(stored: xr.Dataset) -> None:
    """Annual means over the land outside a fold, normalised there; all land of that fold is for testing."""
    config = yaml.safe_load(find_config("climate_koeppen").read_text())
    data = SphereMaps(**config["data"]["init_args"])
    x, target, train = (t.numpy() for t in data.sample(0, "train"))
    land = stored["koeppen_two_letter"].values
    held_out = stored["fold"].values == config["data"]["init_args"]["splits"]["test"]
    assert (str(data.in_type), data.class_names) == ("4x0", list(_names(stored["koeppen_two_letter"]).values())[1:])
    near = data.surface.domain  # the land and three pixels around it
    assert near.sum() < 30_000 and near[stored["land_fraction"].values > 0].all()
    land, held_out = land[near], held_out[near]
    assert np.array_equal(target, land)
    assert np.array_equal(train, (land >= 0) & ~held_out)
    assert np.array_equal(data.sample(0, "test")[2].numpy(), (land >= 0) & held_out)
    assert (int(train.sum()), data.steps["val"]) == (11608, [])
    assert (np.bincount(land[(land >= 0) & held_out], minlength=14) > 0).all()
    assert data.class_counts.tolist() == np.bincount(land[train]).tolist()
    raw = [
        stored["t2m"].mean("month"),
        np.log1p(stored["tp"].mean("month")),
        stored["elevation"],
        stored["land_fraction"],
    ]
    for column, field in zip(x.T, raw, strict=True):
        values = field.values.astype(np.float64)[near]
        expected = (values - values[train].mean()) / values[train].std()
        np.testing.assert_allclose(column, expected, atol=2e-6)


def test_what_ships_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert PATH.is_absolute() and open_fields("koeppen_hp64.nc").path == PATH
    with pytest.raises(InputError, match=r"other\.nc: no such file"):
        open_fields("other.nc")
    assert find_config("classify").parent.name == "configs"
    with pytest.raises(InputError, match=r"classifi: no such configuration; .* ships: classify, climate_koeppen, "):
        find_config("classifi")
    # A file of one's own is that file.
    for name in ("classify", "koeppen_hp64.nc"):
        Path(name).write_text("mine")
    assert find_config("classify") == Path("classify") and find_data("koeppen_hp64.nc") == Path("koeppen_hp64.nc")
    with pytest.raises(InputError, match="not readable as NetCDF"):
        open_fields("koeppen_hp64.nc")


def test_agrees_with_an_independent_copy(stored: xr.Dataset, shared_data: Callable[[str], Path]) -> None:
    with np.load(shared_data("climate_koeppen") / "climate_hp64_nested.npz") as other:
        half_steps = {"t2m": 0.001, "tp": 0.03, "elevation": 0.126}
        fields = {
            "t2m": other["era5_t2m_degC"],
            "tp": other["era5_tp_mm_month"],
            "elevation": 1000.0 * other["itur_topo_km_P1511v1"],
        }
        for name, expected in fields.items():
            error = np.abs(stored[name].values - expected).max()
            assert error < 1.01 * half_steps[name], name
        assert np.array_equal(stored["fold"], other["spatial_fold5"])
        names = other["koeppen_names"][other["koeppen_rubel2017"]]
    mine = _names(stored["koeppen_zone"])
    assert [mine[z].capitalize() for z in stored["koeppen_zone"].values.tolist()] == [
        str(n).capitalize() for n in names
    ]
