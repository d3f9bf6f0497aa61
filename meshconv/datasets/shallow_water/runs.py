"""Series of shallow-water weather as CF NetCDF or Zarr: one file or store a run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import healpy
import numpy as np
import xarray as xr

from meshconv.datasets.shallow_water.solver import ROTATION, Rings, ShallowWater
from meshconv.errors import InputError, PlaceError
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.cache.atomic import atomic_write
from meshconv.progress import Progress

_START = np.datetime64("2000-01-01", "ns")
# Between two runs: no sample may reach from one into the next.
_GAP_DAYS = 1


@dataclass(frozen=True)
class ShallowWaterRuns:
    """Runs of :class:`ShallowWater` from random balanced states, on a grid, at equal times.

    Run k covers its own days of one calendar, with a day between runs: all files together are one series with gaps.

    Parameters
    ----------
    days
        Length of a run.
    step_hours
        Between two maps; divides a day.
    spin_up_days
        Of each run, before its first map: the balanced state radiates its imbalance.
    grid : "healpix" | "latlon"
        HEALPix in nested order, or latitudes and longitudes.
    nside
        Of HEALPix; a latitude-longitude grid has ``2 nside`` rows.
    truncation, axis, rotation
        Largest degree, direction of the axis, and rotation in rates of the Earth (0: none), see :class:`ShallowWater`.
    speed
        Largest wind of the initial states, m/s.
    seed
        Run k depends on it and on k alone.

    Raises
    ------
    InputError
        Numbers that are not positive, or a step that does not divide a day.

    Examples
    --------
    >>> ShallowWaterRuns(days=2, nside=8).write("planet", runs=3)  # doctest: +SKIP
    [PosixPath('planet/run_0000.nc'), PosixPath('planet/run_0001.nc'), PosixPath('planet/run_0002.nc')]
    """

    days: int = 40
    step_hours: float = 6.0
    spin_up_days: int = 1
    grid: Literal["healpix", "latlon"] = "healpix"
    nside: int = 16
    truncation: int = 42
    axis: Sequence[float] = (0.0, 0.0, 1.0)
    rotation: float = 1.0
    speed: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.grid not in ("healpix", "latlon"):
            raise InputError(f"grid {self.grid!r} is not known; use healpix or latlon")
        for name in ("days", "step_hours", "speed"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)} is not a positive number")
        if self.spin_up_days < 0 or self.seed < 0:
            raise InputError(f"spin_up_days {self.spin_up_days} and seed {self.seed} have to be at least 0")
        if abs(24 / self.step_hours - round(24 / self.step_hours)) > 1e-9:
            raise InputError(f"step_hours {self.step_hours} does not divide a day; give 1, 3, 6, 12 or 24")
        HealpixSphere(self.nside)  # says what is wrong with it
        object.__setattr__(self, "axis", [float(a) for a in self.axis])
        self.planet()

    def planet(self) -> ShallowWater:
        """The solver of all runs."""
        return ShallowWater(self.truncation, axis=self.axis, rotation=self.rotation * ROTATION)

    def run(self, number: int, bar: Progress | None = None) -> xr.Dataset:
        """All maps of one run: ``h``, ``u``, ``v`` over time, and ``coriolis``, float32."""
        water = self.planet()
        rings = Rings.healpix(self.nside) if self.grid == "healpix" else Rings.regular(2 * self.nside)
        order = healpy.nest2ring(self.nside, np.arange(12 * self.nside**2)) if self.grid == "healpix" else slice(None)
        random = np.random.default_rng([self.seed, number])
        state = water.advance(water.balanced_state(random, self.speed), 86400 * self.spin_up_days)
        count = round(self.days * 24 / self.step_hours)
        maps = []
        for k in range(count):
            state = water.advance(state, 3600 * self.step_hours) if k else state
            maps.append(np.stack([field[order] for field in water.maps(state, rings)]).astype(np.float32))
            if bar is not None:
                bar.update()
        values = np.stack(maps, axis=1)  # [field, time, point]
        first = _START + np.timedelta64(number * (self.days + _GAP_DAYS), "D")
        times = first + (np.arange(count) * self.step_hours * 3600).astype("timedelta64[s]")
        return self._dataset(values, times.astype("datetime64[ns]"))

    def write(self, folder: str | Path, runs: int, form: Literal["netcdf", "zarr"] = "netcdf") -> list[Path]:
        """Write ``folder/run_0000.nc`` or ``.zarr`` and so on; runs that are there are kept, so that it can go on.

        Raises
        ------
        InputError
            The folder holds a run of other options, or cannot be written to.
        """
        if runs < 1:
            raise InputError(f"runs {runs} is not a positive number")
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlaceError.of(error, folder) from error
        suffix = {"netcdf": "nc", "zarr": "zarr"}[form]
        files = [folder / f"run_{k:04d}.{suffix}" for k in range(runs)]
        missing = [k for k, path in enumerate(files) if not self._is_there(path)]
        total = len(missing) * round(self.days * 24 / self.step_hours)
        with Progress(total, f"shallow water, {runs} runs", "map") as bar:
            for k in missing:
                dataset = self.run(k, bar)
                dataset.time.encoding = {"units": "hours since 2000-01-01", "dtype": "f8"}
                with atomic_write(files[k]) as part:
                    if form == "zarr":
                        dataset.to_zarr(part, zarr_format=2, consolidated=True)
                    else:
                        packed = {name: {"zlib": True, "complevel": 2, "shuffle": True} for name in ("h", "u", "v")}
                        dataset.to_netcdf(part, engine="netcdf4", encoding=packed)
        return files

    def _is_there(self, path: Path) -> bool:
        if not path.exists():
            return False
        with xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else "netcdf4") as there:
            given = there.attrs.get("options")
        if given != self._options:
            raise InputError(f"{path}: a run with other options ({given}); give another folder, or the same options")
        return True

    @property
    def _options(self) -> str:
        return json.dumps(asdict(self))

    def _dataset(self, values: np.ndarray, times: np.ndarray) -> xr.Dataset:
        about = {
            "h": ("height of the surface", "m"), "u": ("eastward wind", "m s-1"), "v": ("northward wind", "m s-1"),
        }  # fmt: skip
        standard = {"u": "eastward_wind", "v": "northward_wind"}
        sphere = HealpixSphere(self.nside)
        rows = 2 * self.nside
        theta, phi = sphere.theta, sphere.phi
        if self.grid == "latlon":
            theta = np.repeat((np.arange(rows) + 0.5) * np.pi / rows, 2 * rows)
            phi = np.tile(np.arange(2 * rows) * np.pi / rows, rows)
        normal = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
        axis = np.asarray(self.axis) / np.linalg.norm(self.axis)
        coriolis = (2 * self.rotation * ROTATION * axis @ normal).astype(np.float32)
        if self.grid == "healpix":
            space, shape = ["cell"], [sphere.npix]
            level = np.int32(self.nside.bit_length() - 1)
            mapping = {"grid_mapping_name": "healpix", "refinement_level": level, "indexing_scheme": "nested"}
            index = {"standard_name": "healpix_index", "units": "1"}
            coords = {
                "cell_ids": ("cell", np.arange(sphere.npix), index),
                "healpix": ((), np.int32(0), mapping),
            }
        else:
            space, shape = ["lat", "lon"], [rows, 2 * rows]
            coords = {
                "lat": ("lat", 90 - np.degrees(theta[:: 2 * rows]), {"units": "degrees_north"}),
                "lon": ("lon", np.degrees(phi[: 2 * rows]), {"units": "degrees_east"}),
            }  # type: ignore[dict-item]
        mapped = {"grid_mapping": "healpix"} if self.grid == "healpix" else {}
        variables = {}
        for (name, (long_name, unit)), field in zip(about.items(), values, strict=True):
            named = {"standard_name": standard[name]} if name in standard else {}
            attributes = {"long_name": long_name, "units": unit, **named, **mapped}
            variables[name] = (["time", *space], field.reshape(len(times), *shape), attributes)
        attributes = {"long_name": "Coriolis parameter", "units": "s-1", **mapped}
        variables["coriolis"] = (space, coriolis.reshape(shape), attributes)
        about_all = {
            "Conventions": "CF-1.13",
            "title": "shallow water on the rotating sphere",
            "source": "meshconv generate shallow_water",
            "options": self._options,
        }
        return xr.Dataset(variables, {"time": ("time", times, {"standard_name": "time"}), **coords}, about_all)
