"""The demonstration from end to end, for one step of each network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from meshconv.demo import run_demo
from meshconv.shipped import find_config


@pytest.mark.slow
def test_the_climate_networks_are_the_shipped_configuration_and_one_without_neighbours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = run_demo(tmp_path / "demo", Path("koeppen_hp64.nc"), climate_steps=1, shape_epochs=1)
    shipped = yaml.safe_load(find_config("climate_koeppen").read_text())
    for network, options in (("SphereUNet", shipped["model"]["init_args"]["options"]), ("PixelwiseNetwork", None)):
        used = yaml.safe_load((tmp_path / "demo" / network / "config.yaml").read_text())
        assert used["model"]["init_args"]["network"] == network
        assert used["model"]["init_args"]["options"] == options
        assert used["model"]["init_args"]["learning_rate"] == shipped["model"]["init_args"]["learning_rate"]
        given = shipped["data"]["init_args"]
        assert {k: used["data"]["init_args"][k] for k in given} | {"inputs": given["inputs"]} == given
    scores = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert [s["network"] for s in scores["climate"]] == ["SphereUNet", "PixelwiseNetwork"]
    assert scores["climate"][0]["gauge_error"] < 1e-5 and scores["shapes"][0]["gauge_error"] < 1e-5
    fold = given["splits"]["test"]
    assert f"fold {fold} is the test set" in report.read_text()
