"""Errors of forecasts on values worked out by hand, and spectra of fields whose spectrum is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meshconv import HealpixSphere
from meshconv.train.metrics.forecast_errors import ForecastErrors, energy_spectrum


def test_errors_by_hand() -> None:
    """Two points of weights 1 and 3: a number and a vector."""
    weights = torch.tensor([[1.0, 3.0]])
    truth = torch.tensor([[[2.0, 3.0, 4.0], [4.0, 0.0, 1.0]]])
    forecast = torch.tensor([[[3.0, 0.0, 5.0], [4.0, 1.0, 0.0]]])
    start = torch.tensor([[[1.0, 3.0, 4.0], [1.0, 0.0, 1.0]]])
    mean = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    errors = ForecastErrors("1x0 + 1x1", 1)
    models = {"forecast": forecast, "persistence": start, "climatology": mean[None]}
    errors.update(0, models, truth, start, mean, weights)
    found = {(row["model"], row["field"]): row for row in errors.rows(["h", "w"])}
    height, wind = found["forecast", "h"], found["forecast", "w"]
    assert height["rmse"] == pytest.approx(math.sqrt(1 / 4))
    assert height["relative_l2"] == pytest.approx(math.sqrt(1 / (4 + 3 * 16)))
    # The mean of the truth is 3.5: deviations -1.5 and 0.5.
    assert height["vrmse"] == pytest.approx(math.sqrt(1 / (2.25 + 0.75)))
    # Anomalies 2, 2 of the forecast and 1, 2 of the truth.
    assert height["acc"] == pytest.approx((2 + 3 * 4) / math.sqrt((4 + 12) * (1 + 12)))
    assert height["mean_drift"] == pytest.approx(15 / 4 - 1)
    assert wind["rmse"] == pytest.approx(math.sqrt((10 + 3 * 2) / 4)) and wind["length_rmse"] == pytest.approx(0)
    assert wind["angle_deg"] == pytest.approx(math.degrees(math.acos((0.8 + 3 * 0) / 4)))
    assert wind["energy"] == pytest.approx(1) and wind["vrmse"] == pytest.approx(wind["relative_l2"])
    assert found["persistence", "w"]["rmse"] == 0 and found["climatology", "w"]["energy"] == 0


def test_unknown_targets_do_not_count() -> None:
    truth = torch.tensor([[[1.0], [torch.nan]]])
    errors = ForecastErrors("1x0", 2)
    state = torch.tensor([[[3.0], [9.0]]])
    errors.update(1, {"forecast": state}, truth, state, torch.full((2, 1), torch.nan), torch.ones(1, 2))
    row = next(r for r in errors.rows(["h"]) if (r["model"], r["step"]) == ("forecast", 2))
    assert row["rmse"] == pytest.approx(2) and math.isnan(row["acc"])


def test_errors_do_not_depend_on_the_frames() -> None:
    errors, turned = ForecastErrors("1x1", 1), ForecastErrors("1x1", 1)
    truth, state, start, mean = (torch.randn(2, 5, 2) for _ in range(4))
    angle = torch.rand(5) * 6

    def turn(x: torch.Tensor) -> torch.Tensor:
        return errors.field_type.rotate(x, angle)

    weights = torch.rand(2, 5)
    errors.update(0, {"forecast": state}, truth, start, mean[0], weights)
    turned.update(0, {"forecast": turn(state)}, turn(truth), turn(start), turn(mean[0]), weights)
    assert torch.allclose(errors.sums, turned.sums, atol=1e-5)


def test_the_spectrum_of_kinetic_energy() -> None:
    sphere = HealpixSphere(16)
    # Rotation about the axis is of degree 1; the gradient of the Legendre polynomial of degree 3 is of that degree.
    theta = sphere.theta
    gradient = -np.sin(theta) * (15 * np.cos(theta) ** 2 - 3) / 2
    field = np.stack([gradient, np.sin(theta)], axis=1)
    spectrum = energy_spectrum(field, 16)
    assert spectrum[1] == pytest.approx(1 / 3, rel=1e-3)
    assert spectrum[3] == pytest.approx(12 / 7 / 2, rel=1e-3)
    assert spectrum.sum() == pytest.approx((field**2).sum(1).mean() / 2, rel=1e-3)
    assert np.delete(spectrum, [1, 3]).sum() < 1e-3
