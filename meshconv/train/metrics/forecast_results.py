"""Results of a test of forecasts: tables, curves, spectra, and an animated map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.tables import write_table
from meshconv.train.metrics.forecast_errors import MODELS, ForecastErrors, energy_spectrum

_COLUMNS = ("model", "field", "step", "lead_hours", "rmse", "relative_l2", "vrmse", "acc", "length_rmse", "angle_deg",
            "mean_drift", "energy")  # fmt: skip


class ForecastResults:
    """What a test of forecasts keeps, and writes.

    Parameters
    ----------
    field_type, names
        Of the forecast's fields.
    data : SphereMaps
        Of the test.
    climatology : Tensor [V, dim], optional
        Mean state of the training.
    targets : dict
        :attr:`~meshconv.datasets.maps.targets.MapTargets.spec` of the training.
    """

    def __init__(
        self, field_type: FieldType, names: Sequence[str], data: Any, climatology: Tensor | None, targets: Mapping
    ):
        self.names, self.field_type = list(names), field_type
        self.steps = data.targets.test_steps or 1
        self.errors = ForecastErrors(field_type, self.steps)
        self.climatology = climatology
        self.hours = None if targets["seconds"] is None else targets["seconds"] / 3600
        self.units = [entry.get("units") or "" for entry in targets["statistics"]]
        self.surface = data.surface
        grid = data.surface.grid
        whole = data.surface.domain is None and isinstance(grid, HealpixSphere) and grid.pixel_order == "nest"
        self.nside = grid.nside if whole else None
        self.shown: list[tuple[NDArray, NDArray]] = []  # truth and forecast of the first sample
        self.spectra: dict[tuple[str, int], list[NDArray]] = {}

    def update(self, step: int, state: Tensor, truth: Tensor, start: Tensor, weights: Tensor) -> None:
        """Add samples ``[S, V, dim]`` at one lead, counted from 0."""
        mean = torch.full_like(truth[0], torch.nan) if self.climatology is None else self.climatology.to(truth)
        models = dict(zip(MODELS, (state, start, mean.expand_as(truth)), strict=True))
        self.errors.update(step, models, truth, start, mean, weights)
        if len(self.shown) == step:
            self.shown.append((truth[0].cpu().numpy(), state[0].cpu().numpy()))
        vectors = self.field_type.multiplicities[1:2] != () and self.nside is not None
        if vectors and step in (0, self.steps // 2, self.steps - 1):
            for name, fields in (("truth", truth), ("forecast", state)):
                for field in self._vectors(fields):
                    self.spectra.setdefault((name, step + 1), []).append(energy_spectrum(field, self.nside or 1))

    def _vectors(self, fields: Tensor) -> list[NDArray]:
        """The vectors of each sample, ``[V, 2]``, where none is missing."""
        x = fields[..., self.field_type.slice(1)].unflatten(-1, (2, -1)).cpu().numpy()
        each = [x[s, :, :, k] for s in range(len(x)) for k in range(x.shape[-1])]
        return [field for field in each if np.isfinite(field).all()]

    def write(self, folder: Path) -> None:
        """``forecast.csv``, ``forecast_<field>.png``; ``spectra.csv`` and ``.png`` of vectors; ``forecast.gif``."""
        from meshconv.viz.curves import draw_curves

        hours = self.hours or 1.0
        rows = [row | {"lead_hours": row["step"] * hours} for row in self.errors.rows(self.names)]
        write_table(folder / "forecast.csv", _COLUMNS, ([row.get(c, "") for c in _COLUMNS] for row in rows))
        leads = np.arange(1, self.steps + 1) * hours / (24 if self.hours else 1)
        axis = "days" if self.hours else "steps"
        for name, unit in zip(self.names, self.units, strict=True):
            curves = {m: [r["rmse"] for r in rows if (r["model"], r["field"]) == (m, name)] for m in MODELS}
            with atomic_write(folder / f"forecast_{name.replace('/', '_')}.png") as part:
                draw_curves(leads, curves, axis, f"RMSE of {name}, {unit}").savefig(part, format="png", dpi=150)
        if self.spectra:
            self._write_spectra(folder, hours)
        if self.nside is not None and self.shown:
            self._animate(folder, hours)

    def _write_spectra(self, folder: Path, hours: float) -> None:
        from meshconv.viz.curves import draw_curves

        means = {key: np.mean(values, axis=0) for key, values in self.spectra.items()}
        degrees = range(len(next(iter(means.values()))))
        table = ([n, *(f"{mean[n]:.6g}" for mean in means.values())] for n in degrees)
        write_table(folder / "spectra.csv", ["degree", *(f"{k}_{n * hours:g}h" for k, n in means)], table)
        figure = draw_curves(
            degrees[1:],
            {f"{name}, {step * hours:g} h": mean[1:] for (name, step), mean in means.items()},
            "degree", "kinetic energy, m2/s2",
        )  # fmt: skip
        figure.axes[0].set(xscale="log", yscale="log")
        with atomic_write(folder / "spectra.png") as part:
            figure.savefig(part, format="png", dpi=150)

    def _animate(self, folder: Path, hours: float) -> None:
        from meshconv.viz.forecasts import animate_forecast

        first = self.field_type.multiplicities[0]
        if first:
            truth, forecast = (np.stack([pair[k][:, 0] for pair in self.shown]) for k in (0, 1))
        else:
            truth, forecast = (
                self.field_type.norms(torch.from_numpy(np.stack([pair[k] for pair in self.shown])))[..., 0].numpy()
                for k in (0, 1)
            )
        titles = [f"{self.names[0]} after {(k + 1) * hours:g} h" for k in range(len(truth))]
        animate_forecast(folder / "forecast.gif", self.surface.grid, truth, forecast, titles, self.units[0])
