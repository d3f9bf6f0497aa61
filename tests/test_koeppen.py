"""The Koeppen data module: splits, normalisation, and inputs for prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
import torch
import xarray as xr

from meshconv import InputError
from meshconv.datasets import SurfaceBatch
from meshconv.datasets.maps.climate import CLIMATE_INPUTS, KoeppenClimate, find_climate_file, load_inputs

NSIDE = 8
NPIX = 12 * NSIDE**2
ZONES = ["Af", "As", "BW", "ET"]
MAPPING = {"grid_mapping_name": "healpix", "indexing_scheme": "nested", "refinement_level": 3}


def _climate() -> xr.Dataset:
    """A climate that is wrong but complete: zones of random blocks, five folds of nside-4 blocks."""
    rng = np.random.default_rng(0)
    label = rng.integers(-1, len(ZONES), NPIX).astype(np.int8)
    flags = {"flag_values": np.arange(-1, 4, dtype=np.int8), "flag_meanings": "ocean Af As BW ET"}
    return xr.Dataset(
        {
            "healpix": ((), 0, MAPPING),
            "t2m": (("month", "cell"), rng.normal(5, 20, (12, NPIX)), {"units": "degC"}),
            "tp": (("month", "cell"), rng.gamma(1, 80, (12, NPIX)), {"units": "mm"}),
            "elevation": ("cell", rng.normal(300, 100, NPIX), {"units": "m"}),
            "land_fraction": ("cell", np.ones(NPIX), {"units": "1"}),
            "koeppen_two_letter": ("cell", label, flags),
            "fold": ("cell", np.repeat(rng.integers(0, 5, 192), 4).astype(np.int8)),
        }
    )


@pytest.fixture
def climate(tmp_path: Path) -> Callable[..., Path]:
    """``climate(change)``: path of a small climate file, ``change(dataset)`` applied to it."""

    def write(change: Callable[[xr.Dataset], xr.Dataset] = lambda d: d) -> Path:
        path = tmp_path / "climate.nc"
        change(_climate()).to_netcdf(path, engine="netcdf4")
        return path

    return write


def test_splits_are_disjoint_and_cover_the_land(climate: Callable[..., Path]) -> None:
    path = climate()
    fold = torch.from_numpy(_climate()["fold"].values)
    tested = torch.zeros(NPIX, dtype=torch.int64)
    for k in range(5):
        data = KoeppenClimate(str(path), fold=k, val_fraction=0.2, num_levels=2)
        parts = torch.stack([data.masks[s] for s in ("train", "val", "test")]).sum(0)
        assert torch.equal(parts, (data.target >= 0).long())
        assert (fold[data.masks["test"]] == k).all()
        assert (fold[data.masks["train"] | data.masks["val"]] != k).all()
        tested += data.masks["test"]
    assert torch.equal(tested, (data.target >= 0).long())


def test_validation_takes_whole_blocks(climate: Callable[..., Path]) -> None:
    data = KoeppenClimate(str(climate()), val_fraction=0.2, num_levels=2)
    block = torch.arange(NPIX) // 4
    train, val = (set(block[data.masks[s]].tolist()) for s in ("train", "val"))
    assert not train & val
    assert len(val) == round(0.2 * len(train | val))
    assert KoeppenClimate(str(climate()), num_levels=2).val_dataloader() == []


def test_normalisation_knows_training_pixels_only(climate: Callable[..., Path]) -> None:
    data = KoeppenClimate(str(climate()), inputs=["t2m_mean", "tp_mean", "elevation"], num_levels=2)
    x = data.x[data.masks["train"]].double()
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)

    outside = ~data.masks["train"].numpy()

    def disturb(dataset: xr.Dataset) -> xr.Dataset:
        for name in ("t2m", "tp", "elevation"):
            dataset[name].values[..., outside] += 1000.0
        return dataset

    disturbed = KoeppenClimate(str(climate(disturb)), inputs=data.input_names, num_levels=2)
    assert disturbed.spec == data.spec
    assert torch.equal(disturbed.x[~outside], data.x[~outside])


def test_inputs_are_what_their_names_say(climate: Callable[..., Path]) -> None:
    data = KoeppenClimate(str(climate()), inputs=list(CLIMATE_INPUTS), num_levels=2)
    source = _climate()
    tp, t2m = np.log1p(source["tp"].values), source["t2m"].values
    expected = {
        "t2m_jan": t2m[0],
        "t2m_jul": t2m[6],
        "t2m_mean": t2m.mean(0),
        "tp_jan": tp[0],
        "tp_jul": tp[6],
        "tp_mean": np.log1p(source["tp"].values.mean(0)),
        "elevation": source["elevation"].values,
        "land_fraction": source["land_fraction"].values,
    }
    for entry, column in zip(data.spec["inputs"], data.x.T.double().numpy(), strict=True):
        restored = column * entry["std"] + entry["mean"]
        np.testing.assert_allclose(restored, expected[entry["name"]], rtol=1e-4, atol=1e-3)
    assert str(data.in_type) == "8x0"


def test_loader_yields_the_sphere_once(climate: Callable[..., Path]) -> None:
    data = KoeppenClimate(str(climate()), fold=2, num_levels=3)
    loaders = {"train": data.train_dataloader(), "test": data.test_dataloader()}
    for split, loader in {**loaders, "predict": data.predict_dataloader()}.items():
        (batch,) = list(loader)
        assert isinstance(batch, SurfaceBatch)
        assert batch.x.shape == (1, NPIX, data.in_type.dim)
        assert batch.x.dtype == torch.float32
        assert batch.target.shape == batch.mask.shape == (1, NPIX)
        assert batch.target.dtype == torch.int64
        assert (batch.target[batch.mask] >= 0).all()
        assert torch.equal(batch.mask[0], data.masks[split])
        assert [g.num_vertices for g in batch.surface.levels] == [NPIX, NPIX // 4, NPIX // 16]
        assert batch.surface.levels[0].transporter.dtype == torch.float32


def test_main_zones_merge_the_first_letters(climate: Callable[..., Path]) -> None:
    fine = KoeppenClimate(str(climate()), num_levels=2)
    main = KoeppenClimate(str(climate()), zones="main", num_levels=2)
    assert fine.class_names == ZONES
    assert (main.class_names, main.num_classes) == (["A", "B", "E"], 3)
    assert torch.equal(main.target, torch.tensor([0, 0, 1, 2, -1])[fine.target])


def test_prediction_sees_what_training_saw(climate: Callable[..., Path]) -> None:
    data = KoeppenClimate(str(climate()), num_levels=2)
    spec = json.loads(json.dumps(data.spec))
    assert spec["kind"] == "healpix"
    assert spec["class_names"] == ZONES
    x, maps = load_inputs(data.maps.path, spec)
    assert torch.equal(x[0], data.x)
    assert x.shape == (1, NPIX, 4)

    def to_ring(dataset: xr.Dataset) -> xr.Dataset:
        dataset["healpix"].attrs["indexing_scheme"] = "ring"
        return dataset.isel(cell=healpy.ring2nest(NSIDE, np.arange(NPIX)))

    ring, maps = load_inputs(climate(to_ring), spec)
    assert maps.pixel_order == "ring"
    assert torch.equal(ring, x)


def _without(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda d: d.drop_vars(name)


def _with_nan(dataset: xr.Dataset) -> xr.Dataset:
    dataset["tp"].values[3, :5] = np.nan
    dataset["tp"].values[4, 4:6] = np.inf
    return dataset


def _kelvin(dataset: xr.Dataset) -> xr.Dataset:
    dataset["t2m"].attrs["units"] = "K"
    return dataset


def _negative(dataset: xr.Dataset) -> xr.Dataset:
    dataset["tp"].values[:, 7] = -1.0
    return dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("tp"), "no variable tp; the file has elevation, "),
        (lambda d: d.isel(cell=slice(100)), "100 pixels"),
        (_with_nan, "variable tp has no finite value in 6 of 768 cells"),
        (_kelvin, "t2m is in 'K', training was in 'degC'"),
        (_negative, "tp is negative in 1 cells"),
        (lambda d: d.isel(month=slice(6)), r"t2m has shape \(6, 768\).*12 months"),
        (lambda d: d.assign(elevation=d["t2m"].assign_attrs(units="m")), r"elevation has shape.*has to be \[cell\]"),
    ],
    ids=["variable", "count", "nan", "unit", "negative", "months", "too many months"],
)
def test_bad_file_for_prediction(
    climate: Callable[..., Path], change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    spec = KoeppenClimate(str(climate()), num_levels=2).spec
    path = climate(change)
    with pytest.raises(InputError, match=message) as error:
        load_inputs(path, spec)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_contradictory_order_for_prediction(climate: Callable[..., Path]) -> None:
    data = KoeppenClimate(str(climate()), num_levels=2)
    with pytest.raises(InputError, match="'ring' contradicts the file"):
        load_inputs(data.maps.path, data.spec, pixel_order="ring")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": ["t2m_mean", "wind"]}, "inputs: wind; use some of t2m_mean,"),
        ({"inputs": []}, "inputs: none given"),
        ({"fold": 5}, "no fold 5; it has 0, 1, 2, 3, 4"),
        ({"zones": "three"}, "zones 'three'"),
        ({"val_fraction": 1.0}, "val_fraction 1.0"),
    ],
)
def test_bad_arguments(climate: Callable[..., Path], arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KoeppenClimate(str(climate()), **arguments)


def test_labels_without_flags(climate: Callable[..., Path]) -> None:
    def strip(dataset: xr.Dataset) -> xr.Dataset:
        dataset["koeppen_two_letter"].attrs.clear()
        return dataset

    with pytest.raises(InputError, match="flag_values and flag_meanings"):
        KoeppenClimate(str(climate(strip)))


def test_file_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_climate_file("data/koeppen_hp64.nc").is_file()
    with pytest.raises(InputError, match=r"data/other\.nc: no such file.*build_koeppen\.py"):
        find_climate_file("data/other.nc")
