"""Forecasts and regressions of maps: rollouts, losses, training, prediction."""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from planet import TARGETS, series, write_planet
from torch import nn

from meshconv import InputError, fit
from meshconv.cli import main
from meshconv.datasets.batch import SeriesBatch
from meshconv.train import ForecastTask, Predictor, RegressionTask

SMALL = {"channels": [4, 6], "max_order": 1, "context": 0, "width": 8}


@pytest.fixture(scope="module")
def planet(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_planet(tmp_path_factory.mktemp("planet"))


class Halves(nn.Module):
    """A network whose dynamics are known: half of the state's first scalar, as a change."""

    def __init__(self, in_type: str, out_type: str):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor, surface: object) -> torch.Tensor:
        return torch.cat([self.factor * x[..., :1], torch.zeros_like(x[..., :2])], dim=-1)


def task_of(data, cls=ForecastTask, network: str = "FieldUNet", options: dict | None = SMALL, **given):
    task = cls(network, str(data.in_type), data.field_names, data.spec, options, data=data, **given)
    mean, size = data.target_statistics
    task.normalise(mean, data.change_sizes if task.residual else size)
    return task.eval()


def test_a_rollout_is_the_network_on_its_own_output(planet: list[Path]) -> None:
    data = series(planet, targets=TARGETS | {"steps": 3})
    task = task_of(data, network="test_forecast.Halves", options=None)
    batch = next(iter(data.train_dataloader()))
    height = data.inputs.statistics[0]
    h = batch.x[..., 0].double() * height["std"] + height["mean"]
    for state in task.roll(batch, 3):
        h = h + 0.5 * data.targets.statistics[0]["change"] * (h - height["mean"]) / height["std"]
        assert torch.allclose(state[..., 0].double(), h, rtol=1e-5)
    task.error(state, batch.target[:, 2], torch.ones(192)).backward()
    # Gradients pass through all steps: s_3 = s_0 + ((1 + c f)^3 - 1) (s_0 - mean).
    assert task.network.factor.grad.abs() > 0


def test_forcings_of_a_rollout_are_those_of_the_data(planet: list[Path]) -> None:
    data = series(planet, targets=TARGETS | {"steps": 2, "history": 2})
    task = task_of(data)
    batch = next(iter(data.train_dataloader()))
    states = list(task.roll(batch, 2))
    # Another state ahead changes nothing, another forcing does.
    other = batch.ahead.clone()
    other[..., [0, 2, 3]] += 1
    again = list(task.roll(SeriesBatch(batch.x, batch.surface, batch.target, batch.mask, batch.names, ahead=other), 2))
    assert torch.equal(states[1], again[1])
    other[..., 1] += 1
    again = list(task.roll(SeriesBatch(batch.x, batch.surface, batch.target, batch.mask, batch.names, ahead=other), 2))
    assert torch.equal(states[0], again[0]) and not torch.equal(states[1], again[1])


def test_losses_by_hand(planet: list[Path]) -> None:
    data = series(planet[:1], splits={"train": ["2000-01-01", "2000-01-09"]})
    truth, weights = torch.tensor([[[1.0, 0.0, 2.0], [3.0, 4.0, 0.0]]]), torch.tensor([1.0, 3.0])
    found = truth + torch.tensor([[[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]])
    known = truth.clone()
    known[0, 1, 0] = torch.nan
    task = task_of(data, field_weights={"h": 2.0})
    task.size.fill_(1.0)
    # Weighted squares 2 (1 + 0) + 4 + 3, over weights 2 * 4 + 2 * 4; without the unknown one 2 * 1 + 2 * 4.
    assert float(task.error(found, truth, weights)) == pytest.approx((2 + 4 + 3) / 16)
    assert float(task.error(found, known, weights)) == pytest.approx((2 + 4 + 3) / 10)
    task = task_of(data, relative=True)
    task.size.fill_(1.0), task.mean.fill_(0.0)
    # Height (1) / (1 + 27), wind (4 + 3) / (4 + 48).
    assert float(task.error(found, truth, weights)) == pytest.approx((1 / 28 + 7 / 52) / 2)


def test_the_curriculum_lengthens_rollouts(planet: list[Path]) -> None:
    data = series(planet)
    task = task_of(data, rollout={0: 1, 3: 2})
    assert [task.rollout_steps(epoch) for epoch in (0, 2, 3, 9)] == [1, 1, 2, 2]
    with pytest.raises(InputError, match=r"rollout \{1: 2\}: write"):
        task_of(data, rollout={1: 2})


def test_a_forecast_does_not_depend_on_the_gauge(planet: list[Path]) -> None:
    data = series(planet)
    task = task_of(data)
    batch = next(iter(data.train_dataloader()))
    state = list(task.roll(batch, 2))[1]
    alpha = torch.rand(192) * 6
    surface = batch.surface.change_gauge([alpha, torch.rand(48) * 6])
    x, ahead = (data.inputs.in_type.change_gauge(v, alpha) for v in (batch.x, batch.ahead))
    turned = list(task.roll(SeriesBatch(x, surface, batch.target, batch.mask, batch.names, ahead=ahead), 2))[1]
    wanted = data.out_type.change_gauge(state, alpha)
    off = (turned - wanted) / task.size
    assert off.abs().max() < 1e-3


def test_training_tests_and_predicts(planet: list[Path], tmp_path: Path) -> None:
    options = {"model.init_args.options": SMALL, "trainer.max_epochs": 2, "trainer.accelerator": "cpu",
               "model.init_args.rollout": {0: 1, 1: 2}, "data.init_args.num_levels": 2,
               "data.init_args.splits": {"train": ["2000-01-01", "2000-01-05"], "val": ["2000-01-06", "2000-01-10"],
                                         "test": ["2000-01-11", "2000-01-15"]}}  # fmt: skip
    predict = fit("forecast", inputs=[str(p) for p in planet], name="f", runs=str(tmp_path), cache=False,
                  targets=TARGETS, **options)  # fmt: skip
    rows = (tmp_path / "f" / "metrics.csv").read_text().splitlines()
    assert "val/relative_l2/u+v" in rows[0] and (tmp_path / "f" / "last.ckpt").is_file()
    with xr.open_dataset(planet[2]) as start:
        result = predict(start)
        assert result.h.dims == ("time", "cell") and set(result.data_vars) >= {"h", "u", "v"}
        assert result.u.attrs["units"] == "m s-1"
        assert (result.time.values - start.time.values == np.timedelta64(12, "h")).all()  # when it will be so
        # Two epochs are enough for changes of the right size.
        off = float(np.abs(result.h.values - start.h.values).mean())
        assert 0 < off < 5 * float(np.abs(start.h.diff("time").values).mean())
    # A test writes tables, curves and a film.
    config = tmp_path / "f" / "config.yaml"
    assert main(["test", f"--config={config}", "--ckpt_path=last"]) == 0
    table = list(csv.DictReader((tmp_path / "f" / "forecast.csv").read_text().splitlines()))
    assert len(table) == 3 * 2 * 2 and {row["lead_hours"] for row in table} == {"12.0", "24.0"}
    assert all(float(row["rmse"]) > 0 for row in table)
    for name in ("forecast_h.png", "forecast_u+v.png", "spectra.csv", "spectra.png", "forecast.gif"):
        assert (tmp_path / "f" / name).stat().st_size > 100
    report = (tmp_path / "f" / "report.html").read_text()
    assert "RMSE by lead" in report and "<th>persistence</th>" in report and 'alt="spectra"' in report
    # The same network step by step, from the last map of the file.
    checkpoint, output = str(tmp_path / "f" / "last.ckpt"), tmp_path / "ahead"
    command = ["predict", checkpoint, str(planet[2]), "--device=cpu", "--cache=false", f"--output={output}"]
    assert main([*command, "--steps=3"]) == 0
    with xr.open_dataset(tmp_path / "ahead.nc") as ahead, xr.open_dataset(planet[2]) as start:
        last = start.time.values[-1]
        assert list(ahead.time.values - last) == [np.timedelta64(12 * k, "h") for k in (1, 2, 3)]
        assert ahead.h.dims == ("time", "cell") and ahead.healpix.attrs["grid_mapping_name"] == "healpix"
        assert np.array_equal(ahead.u.values[0], result.u.values[-1])
        second = predict(ahead.isel(time=[0]).assign(coriolis=start.coriolis.variable).load())
        assert np.abs(ahead.u.values[1] - second.u.values[0]).max() < 1e-3


def still(planet: list[Path], factor: float = 0.0, **options) -> Predictor:
    data = series(planet, **options)
    task = task_of(data, network="test_forecast.Halves", options=None)
    nn.init.constant_(task.network.factor, factor)
    return Predictor(task, "cpu", cache=False)


def test_a_stopped_forecast_goes_on(planet: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = still(planet, 0.1)
    for whole, part in ((tmp_path / "a.nc", tmp_path / "b.nc"), (tmp_path / "a.zarr", tmp_path / "b.zarr")):
        predictor.save(str(planet[0]), whole, horizon=4)
        step, calls = predictor.task.step, []

        def stops(*given, step=step, calls=calls):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return step(*given)

        monkeypatch.setattr(predictor.task, "step", stops)
        with pytest.raises(KeyboardInterrupt):
            predictor.save(str(planet[0]), part, horizon=4)
        engine = "zarr" if part.suffix == ".zarr" else "netcdf4"
        with xr.open_dataset(part, engine=engine) as there:
            assert there.sizes["time"] == 2  # what was written is valid
        predictor.save(str(planet[0]), part, horizon=4)
        assert len(calls) == 5  # two before, one stopped, two after
        monkeypatch.undo()
        with xr.open_dataset(part, engine=engine) as one, xr.open_dataset(whole, engine=engine) as other:
            assert one.equals(other) and one.sizes["time"] == 4
    assert not list(tmp_path.glob("*.state.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.nc", "out.zarr"])
def test_a_forecast_that_is_killed_goes_on(planet: list[Path], tmp_path: Path, name: str) -> None:
    """kill -9 at moments that are drawn: a NetCDF file is whole or not there, and in the end the same."""
    predictor, horizon, (whole, target) = still(planet, 0.1), 12, (tmp_path / "whole" / name, tmp_path / name)

    def save(place: Path) -> None:
        torch.set_num_threads(1)
        predictor.save(str(planet[0]), place, horizon=horizon)

    start = time.perf_counter()
    save(whole)
    seconds, draw = time.perf_counter() - start, random.Random(0)
    engine = "zarr" if target.suffix == ".zarr" else "netcdf4"
    for _ in range(6):
        process = multiprocessing.get_context("fork").Process(target=save, args=(target,))
        process.start()
        time.sleep(draw.uniform(0.1, 0.6) * seconds)
        process.kill()
        process.join()
        if engine == "netcdf4" and target.exists():
            with xr.open_dataset(target, engine=engine) as there:
                assert there.sizes["time"] == horizon
    save(target)
    with xr.open_dataset(target, engine=engine) as one, xr.open_dataset(whole, engine=engine) as other:
        assert one.equals(other) and one.sizes["time"] == horizon


def test_an_unstable_forecast_stops(planet: list[Path], tmp_path: Path) -> None:
    predictor = still(planet, 5.0)
    with pytest.raises(InputError, match=r"unstable: at step \d+ \(2000.*\) h is .* off the mean") as error:
        predictor.save(str(planet[0]), tmp_path / "out", horizon=40)
    assert "\n" not in str(error.value)
    with xr.open_dataset(tmp_path / "out.nc") as there:
        assert 1 <= there.sizes["time"] < 40 and np.isfinite(there.h.values).all()


def test_a_regression_on_maps_corrects_the_interpolation(tmp_path: Path) -> None:
    coarse = write_planet(tmp_path / "coarse", 1, nside=2)
    fine = write_planet(tmp_path / "fine", 1)
    targets = {"scalars": ["h"], "vectors": [["u", "v"]]}
    predict = fit(
        "downscale", inputs=str(coarse[0]), labels=str(fine[0]), nside=4, name="d", runs=str(tmp_path), cache=False,
        targets=targets, **{"model.init_args.options": SMALL, "trainer.max_epochs": 1, "trainer.accelerator": "cpu"},
    )  # fmt: skip
    assert isinstance(predict.task, RegressionTask)
    result = predict(coarse[0])
    assert result.u.shape == (8, 48) and np.isfinite(result.u.values).all()
    # A test says how far off the interpolation is.
    assert main(["test", "--config", str(tmp_path / "d" / "config.yaml"), "--ckpt_path", "last"]) == 0
    measured = json.loads((tmp_path / "d" / "test_metrics.json").read_text())
    data = series(str(coarse[0]), labels=str(fine[0]), nside=4, targets=targets)
    off = [data.targets.fields.raw(data.label_fields, None, {"time": k})[0] - data.arrays(k)[0][:, [0, 2, 3]]
           for k in data.steps["test"]]  # fmt: skip
    height, wind = (np.sqrt(np.square(part).sum(-1).mean()) for part in np.split(np.array(off), [1], axis=-1))
    assert measured["unchanged/rmse/h"] == pytest.approx(height, rel=1e-4)
    assert measured["unchanged/rmse/u+v"] == pytest.approx(wind, rel=1e-4)
    page = (tmp_path / "d" / "report.html").read_text()
    assert "the input, unchanged" in page and "unchanged/" not in page and "time 2000-01-" in page


def test_vectors_come_out_as_they_went_in(planet: list[Path], tmp_path: Path) -> None:
    """From latitudes and longitudes to pixels and back, with a network that changes nothing."""
    (path,) = write_planet(tmp_path, 1, nside=16, grid="latlon")
    data = series(str(path), nside=16)
    task = task_of(data, network="test_forecast.Halves", options=None)
    nn.init.zeros_(task.network.factor)
    result = Predictor(task, cache=False)(str(path))
    with xr.open_dataset(path) as start:
        for name in ("u", "v", "h"):
            off = result[name].values - start[name].values
            assert np.abs(off).max() < 0.05 * np.ptp(start[name].values)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"targets": TARGETS, "scalars": ["coriolis"]}, "a forecast needs targets with a lead|name all targets among"),
        ({"targets": {"scalars": ["h"]}}, "a forecast needs targets with a lead"),
    ],
)
def test_a_forecast_needs_its_state(planet: list[Path], options: dict, said: str) -> None:
    data = series(planet, **options)
    with pytest.raises(InputError, match=said):
        task_of(data)


def test_rollouts_are_no_longer_than_samples(planet: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rollout: 4 steps, the data have 2; give the data targets.steps"):
        fit("forecast", inputs=str(planet[0]), targets=TARGETS, runs=str(tmp_path), cache=False,
            **{"model.init_args.options": SMALL, "model.init_args.rollout": 4, "trainer.accelerator": "cpu",
               "data.init_args.num_levels": 2, "trainer.max_epochs": 1})  # fmt: skip
