"""Insolation against astronomy: solstices, equinoxes, the equation of time, means; as a forcing of forecasts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from planet import TARGETS, series, write_planet

from meshconv import HealpixSphere, InputError
from meshconv.datasets.maps.insolation import SOLAR_CONSTANT, insolation
from meshconv.train import ForecastTask, Predictor

SCALARS = ["h", {"name": "insolation", "computed": True}]
SMALL = {"channels": [4, 6], "max_order": 1, "context": 0, "width": 8}


def sun(time: object) -> tuple[float, float, float]:
    """Declination and longitude of the point below the sun in degrees, and the power there."""
    # The power is linear in the direction where the sun shines: three points around give it.
    sphere = HealpixSphere(16).xyz
    power = insolation(time, sphere)
    lit = power > 0.5 * SOLAR_CONSTANT
    direction = np.linalg.lstsq(sphere[lit], power[lit], rcond=None)[0]
    size = np.linalg.norm(direction)
    x, y, z = direction / size
    return np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x)), size


@pytest.mark.parametrize(
    ("time", "declination"),
    [("2021-03-20 09:37", 0.0), ("2021-06-21 03:32", 23.44), ("2021-09-22 19:21", 0.0), ("2021-12-21 15:59", -23.44)],
)
def test_seasons(time: str, declination: float) -> None:
    assert sun(pd.Timestamp(time))[0] == pytest.approx(declination, abs=0.02)


@pytest.mark.parametrize(("day", "minutes"), [("02-11", -14.2), ("05-14", 3.7), ("07-26", -6.5), ("11-03", 16.4)])
def test_equation_of_time(day: str, minutes: float) -> None:
    # A sundial is ahead by so much: at noon in Greenwich the sun has passed to the west.
    longitude = sun(pd.Timestamp(f"2021-{day} 12:00"))[1]
    assert -longitude * 4 == pytest.approx(minutes, abs=0.15)
    assert sun(pd.Timestamp(f"2021-{day} 18:00"))[1] == pytest.approx(longitude - 90, abs=0.1)


def test_means_over_the_globe_and_the_year() -> None:
    sphere = HealpixSphere(16)
    hours = pd.date_range("2023-01-01", "2024-01-01", freq="5h", inclusive="left")
    every = np.stack([insolation(time, sphere.xyz) for time in hours])
    # A quarter of the sphere's area is that of the disc; the ellipse brings 1 / sqrt(1 - e^2) of it in a year.
    assert every.mean() == pytest.approx(SOLAR_CONSTANT / 4 / np.sqrt(1 - 0.0167**2), rel=1e-3)
    pole = np.mean([insolation(time, np.array([[0.0, 0, 1]])) for time in hours])
    assert pole == pytest.approx(SOLAR_CONSTANT * np.sin(np.radians(23.44)) / np.pi, rel=5e-3)
    nearest, farthest = (sun(pd.Timestamp(t))[2] for t in ("2021-01-02", "2021-07-05"))
    assert nearest / farthest == pytest.approx(((1 + 0.0167) / (1 - 0.0167)) ** 2, rel=1e-3)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_other_calendars_have_the_same_seasons(calendar: str) -> None:
    days = xr.date_range("2001-01-01", "2001-12-30", calendar=calendar, use_cftime=True)
    months = [day for day in days if day.day == 15]
    ours = [sun(pd.Timestamp(f"2001-{month:02d}-15"))[0] for month in range(1, 13)]
    close = 0.02 if calendar == "standard" else 1.0
    assert [sun(time)[0] for time in months] == pytest.approx(ours, abs=close)


def test_a_forecast_knows_it_beyond_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_planet(tmp_path / "planet")
    data = series(files, scalars=SCALARS, targets=TARGETS | {"steps": 2})
    assert data.inputs.variables == ["h", "u", "v"]
    entry = data.inputs.statistics[1]
    assert entry["units"] == "W m-2" and 300 < entry["mean"] < 380
    batch = next(iter(data.train_dataloader()))
    power = batch.x[0, :, 1] * entry["std"] + entry["mean"]
    index = pd.Timestamp(batch.names[0].removeprefix("time "))
    points = HealpixSphere(4).xyz
    assert np.allclose(power, insolation(index, points), atol=0.1)

    task = ForecastTask("FieldUNet", str(data.in_type), data.field_names, data.spec, SMALL, data=data)
    task.normalise(*(data.target_statistics[0], data.change_sizes))
    seen: list[torch.Tensor] = []
    step = task.step

    def watch(frames: torch.Tensor, batch: object) -> torch.Tensor:
        seen.append(frames[0, -1, :, 1] * entry["std"] + entry["mean"])
        return step(frames, batch)

    monkeypatch.setattr(task, "step", watch)
    Predictor(task.eval(), "cpu").save(str(files[0]), tmp_path / "ahead", horizon=3)
    last = data.fields.dataset.indexes["time"][7]  # of the first file
    for k, power in enumerate(seen):
        assert np.allclose(power, insolation(last + pd.Timedelta(hours=12 * k), points), atol=0.1)
    assert len(seen) == 3
    with xr.open_dataset(tmp_path / "ahead.nc") as ahead:
        assert "insolation" not in ahead and ahead.sizes["time"] == 3


def test_bad_input(tmp_path: Path) -> None:
    (file,) = write_planet(tmp_path, runs=1)
    with pytest.raises(InputError, match="what is computed is"):
        series([file], scalars=["h", {"name": "moonlight", "computed": True}])
    with pytest.raises(InputError, match="known at all times"):
        series([file], targets=TARGETS | {"scalars": SCALARS})
    with xr.open_dataset(file) as whole:
        undated = whole.drop_vars("time").load()
    undated.to_netcdf(tmp_path / "undated.nc")
    with pytest.raises(InputError, match="insolation needs the date"):
        series([tmp_path / "undated.nc"], scalars=SCALARS, targets=TARGETS | {"lead": 1})
