"""A small planet of shallow water, and data of it: what the tests of forecasts share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshconv.datasets import ShallowWaterRuns, SphereMaps

TARGETS: dict[str, Any] = {"scalars": ["h"], "vectors": [["u", "v"]], "lead": "12h", "steps": 2}


def write_planet(folder: Path, runs: int = 3, **options: Any) -> list[Path]:
    given = {"days": 4, "step_hours": 12, "nside": 4, "truncation": 8, "spin_up_days": 0}
    return ShallowWaterRuns(**(given | options)).write(folder, runs)


def series(files: Any, **options: Any) -> SphereMaps:
    given: dict[str, Any] = {"scalars": ["h", "coriolis"], "vectors": [["u", "v"]], "targets": TARGETS,
                             "num_levels": 2, "batch_size": 4, "cache": False}  # fmt: skip
    paths = [str(f) for f in files] if isinstance(files, list) else files
    return SphereMaps(paths, **(given | options))
