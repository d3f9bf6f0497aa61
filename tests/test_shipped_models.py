"""Networks that ship: found by their names everywhere, small, with the scores that they claim, and predictions kept.

``python tests/test_shipped_models.py`` writes the predictions to ``tests/data/shipped_models.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import xarray as xr

import meshconv
from meshconv.cli import main
from meshconv.datasets import ShallowWaterRuns, generate_shape
from meshconv.shipped import find_data, find_model, shipped_models
from meshconv.train import SegmentationTask, load_task

STORED = Path(__file__).parent / "data" / "shipped_models.json"
NAMES = sorted(shipped_models())


def koeppen() -> np.ndarray:
    """Probabilities of the 14 zones at some pixels of the land."""
    found = meshconv.Predictor("koeppen", device="cpu")(find_data("koeppen_hp64.nc"))
    (name,) = [name for name in found if name.endswith("probability")]
    values = found[name].values.reshape(-1, 49152)
    return values[:, np.isfinite(values).all(0)][:, 600::1500]


def shapes() -> np.ndarray:
    """Probabilities of the four families for one shape of each of three."""
    meshes = [generate_shape(name, np.random.default_rng(77)) for name in ("apart", "dent_ahead", "ridges_abreast")]
    return np.array([found.probabilities for found in meshconv.Predictor("shapes", device="cpu", workers=0)(meshes)])


def start_of_a_planet(folder: str | Path) -> Path:
    """A day of weather that the network has not seen."""
    return ShallowWaterRuns(days=1, seed=77).write(folder, 1)[0]


def planet() -> np.ndarray:
    """Height in km and wind in 10 m/s at some pixels, six hours after the last step of a file."""
    with TemporaryDirectory() as folder:
        found = meshconv.Predictor("planet", device="cpu", cache=False)(start_of_a_planet(folder))
        return np.stack([found[name].values[-1, ::300] / size for name, size in (("h", 1e3), ("u", 10), ("v", 10))])


def rna() -> np.ndarray:
    """Probabilities of the places at some vertices of a shape that is no molecule."""
    mesh = generate_shape("apart", np.random.default_rng(77))
    (found,) = meshconv.Predictor("rna", device="cpu", workers=0, cache=False)([mesh])
    return found.probabilities[::400]


PREDICTIONS = {"koeppen": koeppen, "planet": planet, "rna": rna, "shapes": shapes}


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_ships_holds_weights_alone_and_says_what_it_is(name):
    path, about = find_model(name), shipped_models()[name]
    content = torch.load(path, weights_only=True)
    counts = {"pytorch-lightning_version", "epoch", "global_step"}
    assert set(content) == {"state_dict", "hyper_parameters", "meshconv", *counts}
    weights = sum(value.numel() * value.element_size() for value in content["state_dict"].values())
    assert path.stat().st_size < 1.5 * weights + 200_000
    assert about["data"] and about["licence"] and about["versions"]["torch"]
    assert about["scores"] and all(about["test"][score] == value for score, value in about["scores"].items())


def test_what_ships_is_at_most_8_megabytes():
    folder = find_model(NAMES[0]).parents[1]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.suffix != ".py") <= 8 * 2**20


def test_every_network_that_ships_has_predictions_that_are_kept():
    assert sorted(json.loads(STORED.read_text())) == NAMES and set(NAMES) <= set(PREDICTIONS)


@pytest.mark.parametrize("name", [n if n == "shapes" else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_predictions_are_those_that_are_kept(name):
    np.testing.assert_allclose(PREDICTIONS[name](), json.loads(STORED.read_text())[name], atol=1e-4)


def test_a_network_is_loaded_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "koeppen").mkdir()  # a folder of that name is in nobody's way
    task = meshconv.load_pretrained("koeppen")
    assert isinstance(task, SegmentationTask) and not task.training and not task.network.training
    assert " ".join(task.class_names) == "Af Am As Aw BS BW Cf Cs Cw Df Ds Dw EF ET"
    assert task.spec["data"] == "meshconv.datasets.SphereMaps"
    assert meshconv.load_pretrained(find_model("koeppen")).hparams == task.hparams
    with pytest.raises(meshconv.InputError, match=r"kopen: no such checkpoint; .* one that ships: koeppen"):
        meshconv.load_pretrained("kopen")
    # A file of one's own is that file.
    (tmp_path / "koeppen").rmdir()
    Path("koeppen").write_text("mine")
    with pytest.raises(meshconv.InputError, match="koeppen: not a readable checkpoint"):
        load_task("koeppen")


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert all(name in said and about["licence"] in said for name, about in shipped_models().items())
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == shipped_models()


def test_the_forecast_is_much_better_than_no_change(tmp_path):
    start = start_of_a_planet(tmp_path)
    found = meshconv.Predictor("planet", device="cpu", cache=False)(start)
    with xr.open_dataset(start) as truth:
        for name in ("h", "u", "v"):
            there = truth[name].values
            error, change = found[name].values[:-1] - there[1:], there[1:] - there[:-1]
            assert np.square(error).mean() < 0.1 * np.square(change).mean()


@pytest.mark.slow
def test_commands_take_the_name(tmp_path, monkeypatch):
    """The test is that of the training, to the digit; predictions are on the file's pixels."""
    monkeypatch.chdir(tmp_path)
    assert main(["test", "--config", "climate_koeppen", "--ckpt_path", "koeppen", "--trainer.accelerator", "cpu"]) == 0
    found = json.loads(Path("runs/climate_koeppen/test_metrics.json").read_text())
    assert abs(found["accuracy"] - shipped_models()["koeppen"]["scores"]["accuracy"]) < 1e-3
    assert main(["predict", "koeppen", "koeppen_hp64.nc", "--maps", "false"]) == 0
    with xr.open_dataset("predictions.nc", engine="netcdf4") as zones:
        assert zones.sizes["cell"] == 49152


if __name__ == "__main__":
    kept = {name: np.round(predict(), 6).tolist() for name, predict in PREDICTIONS.items() if name in NAMES}
    STORED.write_text(json.dumps(kept) + "\n")
