"""Forecasts of many steps from a file, written as they are made."""

from __future__ import annotations

import copy
import datetime
import hashlib
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.maps.insolation import insolation
from meshconv.datasets.maps.steps import step_values
from meshconv.errors import InputError, PlaceError
from meshconv.io.cache.atomic import atomic_write
from meshconv.progress import Progress
from meshconv.train.inference.forecast import ForecastInference
from meshconv.train.predict.maps import Maps

log = logging.getLogger(__name__)

# Values may leave the training's, but not by this factor.
_UNSTABLE = 10.0


class Forecast:
    """A forecast from the last step of a file at which all variables of the state are there.

    Every step is written when it is made, beside it a small file from which a stopped forecast goes on; memory does
    not grow with the number of steps. Forcings that change in time are read from the file at the times of the forecast.

    Parameters
    ----------
    task : ForecastInference
    maps : Maps
        The file on the points of the network.
    source
        Name of the file, for people.

    Raises
    ------
    InputError
        A file without time, without the history that the network sees, or without a step that has a state.
    """

    def __init__(self, task: ForecastInference, maps: Maps, source: str):
        self.task, self.maps, self.source = task, maps, source
        fields = maps.fields
        if len(maps.leading) != 1:
            raise InputError(f"{source}: a forecast starts at a time, the file has none; add a dimension time")
        (self.dimension,) = maps.leading
        self.targets: Mapping[str, Any] = task.spec["targets"]
        times = step_values(fields, self.dimension)
        self.times = np.arange(fields.dataset.sizes[self.dimension], dtype=np.float64) if times is None else times
        seconds = self.targets["seconds"]
        self.lead = float(seconds if seconds is not None else self.targets["lead"])
        self.start = self._start()
        self.known = self.present = np.ones(0, dtype=bool)
        frames = [self._frame(self._position(-k)) for k in reversed(range(task.layout.history))]
        self.frames = torch.stack(frames)[None]
        self._key = self._digest()
        self._zarr, self._file = False, Path()
        self._single = copy.copy(maps)
        self._single.fields = fields.steps(self.dimension, [self.start])

    def write(self, target: Path, steps: int) -> None:
        """Write ``steps`` steps to a NetCDF file or, by the suffix ``.zarr``, a Zarr store.

        A NetCDF file grows beside its place and is moved there at the end, or where an error ends it: a process that is
        killed amid a step leaves no damaged file. The same call again goes on.

        Raises
        ------
        InputError
            A value that is ten times as far from the training's mean as any of the training: what was written before
            stays; or a forcing that the file does not have.
        """
        self._zarr = target.suffix == ".zarr"
        kept = target.with_name(f"{target.name}.state.npz")
        self._file = target if self._zarr else target.with_name(f".{target.name}.growing")
        done = self._resume(target, kept)
        if done:
            log.info("%s: goes on after step %d", target, done)
        try:
            self._write(target, kept, done, steps)
        except PlaceError:
            raise  # what is there may be cut off
        except BaseException:
            self._publish(target)
            raise
        self._publish(target)
        kept.unlink(missing_ok=True)

    def _publish(self, target: Path) -> None:
        if self._file != target and self._file.exists():
            os.replace(self._file, target)

    def _write(self, target: Path, kept: Path, done: int, steps: int) -> None:
        surface = self.maps.hierarchy
        with Progress(steps, f"forecast from {Path(self.source).name}", "step") as bar, torch.no_grad():
            bar.update(min(done, steps))
            for k in range(done + 1, steps + 1):
                x = self.task.layout.join(self.frames)
                state = self.task.step(self.frames, SurfaceBatch(x, surface, x.new_empty(0), None, [self.source]))
                self._check(state[0], k, target, kept)
                self._append(target, state[0], k)
                if k < steps:
                    following = self.task.layout.with_state(self._forcings(k)[None], state)
                    self.frames = torch.cat([self.frames[:, 1:], following[:, None]], dim=1)
                    with atomic_write(kept) as part, part.open("wb") as stream:
                        np.savez(stream, frames=self.frames.cpu().numpy(), step=k, key=self._key)
                bar.update()

    def _start(self) -> int:
        """The last position with a state."""
        for position in np.argsort(self.times)[::-1].tolist():
            raw, _ = self.maps.surface.raw({self.dimension: position})
            if np.isfinite(raw[:, self.targets["state"]]).all(axis=1).any():
                return position
        raise InputError(f"{self.source}: no step has a value of every variable of the state; there is no start")

    def _position(self, leads: int) -> int:
        """Position of a time some leads after the start."""
        wanted = self.times[self.start] + leads * self.lead
        found = np.flatnonzero(np.abs(self.times - wanted) < 1e-6 * max(self.lead, 1.0))
        if len(found):
            return int(found[0])
        what = f"step {leads}" if leads > 0 else "the history"
        raise InputError(
            f"{self.source}: {what} needs {self.dimension} {self._time(leads)}, which the file does not have; give "
            f"{'its forcings' if leads > 0 else 'an earlier step'} too"
        )

    def _frame(self, position: int) -> Tensor:
        raw, known = self.maps.surface.raw({self.dimension: position})
        x, present = self.maps.inputs.normalise(raw)
        first = not len(self.known)
        self.known = known if first else self.known & known
        self.present = present if first else self.present & present
        return torch.from_numpy(x).to(self.maps.device)

    def _forcings(self, step: int) -> Tensor:
        """The frame at a step of the forecast; its state does not count."""
        state = set(self.targets["state"])
        inputs, dataset = self.maps.inputs, self.maps.fields.dataset
        computed = [k for k, entry in enumerate(inputs.scalars) if "computed" in entry]
        names = [[s["name"]] for s in inputs.scalars] + [v["names"] for v in inputs.vectors]
        ours = [k for k in range(len(names)) if k not in state and k not in computed]
        moving = [k for k in ours if any(self.dimension in dataset[n].dims for n in names[k])]
        if not moving and not computed:
            return self.frames[0, -1]
        raw, _ = self.maps.surface.raw({self.dimension: self._position(step) if moving else self.start})
        for k in computed:
            raw[:, k] = insolation(self._time(step), self.maps.surface.points)
        for k in moving:
            if not np.isfinite(raw[self.present, k]).all():
                raise InputError(
                    f"{self.source}: step {step}: {names[k][0]} is missing at {self._time(step)}; give the forcings of "
                    "all steps"
                )
        return torch.from_numpy(inputs.normalise(raw)[0]).to(self.maps.device)

    def _time(self, leads: int) -> Any:
        """The value of the time coordinate some leads after the start."""
        index = self.maps.fields.dataset.indexes.get(self.dimension)
        if index is None:
            return float(self.times[self.start] + leads * self.lead)
        first = index[self.start]
        if self.targets["seconds"] is not None:
            return first + datetime.timedelta(seconds=leads * self.lead)
        return first + leads * self.lead

    def _check(self, state: Tensor, step: int, target: Path, kept: Path) -> None:
        kind = self.task.out_type
        first = kind.multiplicities[0]
        given = self.targets["statistics"]
        inside = torch.from_numpy(self.present).to(state.device)
        centre = kind.per_component(torch.tensor([float(e["centre"]) for e in given])).to(state)
        off = kind.norms((state - centre)[inside])
        for k, (name, entry) in enumerate(zip(self.task.field_names, given, strict=True)):
            most = off[:, k].abs().max() if off[:, k].isfinite().all() else torch.tensor(torch.inf)
            if not bool(most <= _UNSTABLE * entry["reach"]):
                kept.unlink(missing_ok=True)
                what = "off the mean" if k < first else "long"
                raise InputError(
                    f"{self.source}: the forecast is unstable: at step {step} ({self._time(step)}) {name} is "
                    f"{float(most):.4g} {what}, in training at most {entry['reach']:.4g}; {step - 1} steps are in "
                    f"{target}: train with a longer rollout"
                )

    def _append(self, target: Path, state: Tensor, step: int) -> None:
        values = np.where(self.present[:, None], state.cpu().numpy(), np.nan)
        on_grid = self.maps.surface.fields_to_file(values, self.task.out_type, self.known).astype(np.float32)
        dataset = self._dataset(on_grid[:, None], step)
        first = step == 1
        try:
            if self._zarr:
                self._append_zarr(dataset, target, first)
            elif first:
                with atomic_write(self._file) as part:
                    dataset.to_netcdf(part, engine="netcdf4", unlimited_dims=[self.dimension])
            else:
                self._append_netcdf(dataset, self._file, step)
        except (OSError, RuntimeError) as error:
            if isinstance(error, PlaceError):
                raise
            raise PlaceError(f"{target}: cannot be written ({error}); see to space and permissions there") from error

    def _append_zarr(self, dataset: xr.Dataset, target: Path, first: bool) -> None:
        if first:
            dataset.to_zarr(target, mode="w", zarr_format=2, consolidated=True)
            return
        for variable in dataset.variables.values():
            variable.encoding = {}
        moving = [n for n, v in dataset.variables.items() if self.dimension not in v.dims]
        dataset.drop_vars(moving).to_zarr(target, append_dim=self.dimension, consolidated=True)

    def _append_netcdf(self, dataset: xr.Dataset, target: Path, step: int) -> None:
        with netCDF4.Dataset(target, "a") as file:
            for name in dataset.data_vars:
                if self.dimension in dataset[name].dims:
                    file[str(name)][step - 1] = dataset[name].values[0]
            time = file[self.dimension]
            value = self._time(step)
            if self.targets["seconds"] is None:
                time[step - 1] = float(value)
            else:
                time[step - 1] = (step - 1) * self.lead

    def _dataset(self, values: NDArray[np.float32], step: int) -> xr.Dataset:
        """One step as a data set on the file's grid; values ``[variables, 1, *grid]``."""
        single = self._single
        names, units = single.names_of(self.targets)
        variables = {}
        for k, (name, unit) in enumerate(zip(names, units, strict=True)):
            attributes = {} if unit is None else {"units": unit}
            dims = (self.dimension, *self.maps.fields.dims)
            zarr = {} if self._zarr else {"zlib": True, "complevel": 4}
            packed = {**zarr, "_FillValue": np.float32(np.nan)}
            variables[name] = xr.Variable(dims, values[k], attributes, packed)
        time = xr.Variable((self.dimension,), [self._time(step)], {"standard_name": "time"})
        if self.targets["seconds"] is not None:
            begin = str(self._time(1)).replace("T", " ")
            time.attrs, time.encoding = {"standard_name": "time"}, {"units": f"seconds since {begin}", "dtype": "f8"}
            calendar = getattr(self._time(1), "calendar", None)
            if calendar is not None:
                time.encoding["calendar"] = calendar
        return single.dataset(variables, {self.dimension: time}, "forecast by meshconv")

    def _resume(self, target: Path, kept: Path) -> int:
        """Steps that an earlier, stopped forecast from the same start has written; its state is taken."""
        if not kept.is_file():
            return 0
        try:
            with np.load(kept) as stored:
                frames, step, key = stored["frames"], int(stored["step"]), str(stored["key"])
        except (OSError, ValueError, KeyError):
            return 0
        if key != self._key or frames.shape != tuple(self.frames.shape):
            return 0
        for file in dict.fromkeys((self._file, target)):  # a killed one left the first, a stopped one the second
            written = self._steps_in(file)
            if self._zarr and written > step:  # a step more than the state: it would be there twice
                return 0
            if written >= step:
                if file != self._file:
                    shutil.copy2(file, self._file)
                self.frames = torch.from_numpy(frames).to(self.frames)
                return step
        return 0

    def _steps_in(self, file: Path) -> int:
        if not file.exists():
            return 0
        try:
            with xr.open_dataset(file, engine="zarr" if self._zarr else "netcdf4") as there:
                return there.sizes[self.dimension]
        except (OSError, ValueError, KeyError):
            return 0

    def _digest(self) -> str:
        """Of what a forecast depends on: weights, first frames and their time."""
        digest = hashlib.sha256(str(self._time(0)).encode())
        for name, value in sorted(self.task.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        digest.update(self.frames.cpu().numpy().tobytes())
        return digest.hexdigest()


def forecast_target(output: Path, sources: Sequence[Any]) -> Path:
    """``output.nc``, or ``output`` where it ends in ``.zarr``."""
    if len(sources) > 1:
        raise InputError(f"a forecast has one start, {len(sources)} files are given; give --join if they are its parts")
    return output if output.suffix == ".zarr" else output.with_suffix(".nc")
