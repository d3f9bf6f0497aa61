"""A small series of maps, written and opened: what the tests of maps and of their bad input share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from meshconv import InputError
from meshconv.datasets import SphereMaps

LAT, LON = np.arange(80, -81, -10.0), np.arange(0, 360, 10.0)
TIMES = np.arange("2020-01", "2020-07", dtype="datetime64[M]").astype("datetime64[ns]")
DIMS = ("time", "lat", "lon")


def weather() -> xr.Dataset:
    rng = np.random.default_rng(0)
    shape = (len(TIMES), len(LAT), len(LON))
    t = 280 + 10 * rng.normal(size=shape)
    return xr.Dataset(
        {
            "t": (DIMS, t, {"units": "K"}),
            "u": (DIMS, rng.normal(size=shape), {"units": "m s-1"}),
            "v": (DIMS, rng.normal(size=shape), {"units": "m/s"}),
            "event": (DIMS, (t > 285).astype(np.int16)),
        },
        {
            "time": TIMES,
            "lat": ("lat", LAT, {"units": "degrees_north"}),
            "lon": ("lon", LON, {"units": "degrees_east"}),
        },
    )


def save(dataset: xr.Dataset, path: Path, **options) -> Path:
    dataset.to_netcdf(path, engine="netcdf4", **options)
    return path


def maps(path: str | Path | list[Path] | xr.Dataset, **options) -> SphereMaps:
    given = {"label": "event", "scalars": ["t"], "vectors": [["u", "v"]], "nside": 4, "num_levels": 2}
    files = [str(p) for p in path] if isinstance(path, list) else path if isinstance(path, xr.Dataset) else str(path)
    return SphereMaps(files, **(given | options))


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)
