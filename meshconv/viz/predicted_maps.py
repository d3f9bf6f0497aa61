"""Pictures of predicted classes: the whole sphere and both hemispheres, or the region that a file covers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.maps.fields import SphereFields, open_fields
from meshconv.viz.coastlines import coastlines
from meshconv.viz.colors import Categorical, Continuous, zone_colors
from meshconv.viz.projections import MapView, compass
from meshconv.viz.sphere import draw_field

_REGION_DEG = 60.0  # largest radius of a map that is drawn as a region
# Variables of a calibrated prediction, ends of their colours (the upper one at least), and what they are.
_UNCERTAINTY = (("entropy", 0.0, 0.1, "entropy, nats"), ("set_size", 1.0, 2.0, "classes in the set"))


def write_maps(path: Path, steps: list[int] | None = None, probability: str | None = None) -> list[Path]:
    """Draw what ``meshconv predict`` wrote: a PNG beside it for each step, with a legend of the classes.

    Of a region alone, what lies within 60 degrees of its centre, there is a map of it, and where it is on the sphere.
    Grey is missing; coastlines are drawn where cartopy is installed.

    Parameters
    ----------
    path
        NetCDF file with ``label`` and ``probability``, on any grid; ``entropy`` and ``set_size`` are drawn if there.
    steps
        Positions along its further dimension, negative ones from the end; None: the first and the last.
    probability
        Name of a class whose probability is drawn too.

    Returns
    -------
    list of Path
        ``<name>.png``, or ``<name>_<step>.png`` where there are several steps; ``..._<class>.png`` for probabilities,
        ``..._entropy.png`` and ``..._set_size.png`` of a calibrated prediction.

    Raises
    ------
    InputError
        No such step or class, or no label in the file.
    """
    fields = open_fields(path, variables=["label"])
    label = fields.dataset.get("label")
    if label is None or "flag_meanings" not in label.attrs:
        raise InputError(f"{path}: no variable label with flag_meanings; give a file that meshconv predict wrote")
    names = str(label.attrs["flag_meanings"]).split()
    if probability is not None and probability not in names:
        raise InputError(f"{path}: no class {probability!r}; it has {', '.join(names)}")
    values = np.atleast_1d(label.attrs["flag_values"])
    # Steps are counted through all dimensions but those of the map, the last one fastest.
    sizes = {str(d): n for d, n in label.sizes.items() if d not in fields.dims}
    count = math.prod(sizes.values())
    written = []
    for step in _steps(path, count, steps):
        at = dict(zip(sizes, map(int, np.unravel_index(step, tuple(sizes.values()))), strict=True)) if sizes else {}
        stem = path.with_name(f"{path.stem}_{step}" if count > 1 else path.stem)
        title = f"{path.name}{''.join(_place(fields, dimension, k) for dimension, k in at.items())}"
        raw = fields.values("label", at=at, allow_missing=True)
        known = np.isfinite(raw)
        category = np.where(known, np.searchsorted(values, np.where(known, raw, values[0])), -1)
        written.append(_draw(stem.with_name(f"{stem.name}.png"), fields, category, title, names))
        if probability is not None:
            share = fields.values("probability", {"class": names.index(probability)} if "class" not in
                                  fields.dataset.indexes else {"class": probability}, at, True)  # fmt: skip
            target = stem.with_name(f"{stem.name}_{probability}.png")
            written.append(_draw(target, fields, share, title, None, f"probability of {probability}"))
        for name, low, high, unit in _UNCERTAINTY:
            if name in fields.dataset:
                found = fields.values(name, at=at, allow_missing=True)
                target = stem.with_name(f"{stem.name}_{name}.png")
                limits = low, float(np.nanmax(found, initial=high))
                written.append(_draw(target, fields, found, title, None, unit, limits))
    fields.dataset.close()
    return written


def _steps(path: Path, count: int, steps: list[int] | None) -> list[int]:
    chosen = [0, count - 1] if steps is None else steps
    wrong = [step for step in chosen if not -count <= step < count]
    if wrong:
        raise InputError(f"{path}: no step {wrong[0]}; it has {count}, counted from 0")
    return list(dict.fromkeys(step % count for step in chosen))


def _place(fields: SphereFields, dimension: str, position: int) -> str:
    if dimension not in fields.dataset.indexes:
        return f", {dimension} {position}"
    return f", {dimension} {str(fields.dataset[dimension].values[position]).removesuffix('.000000000')}"


def _draw(
    target: Path, fields: SphereFields, values: NDArray, title: str, names: list[str] | None, unit: str | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Path:  # fmt: skip
    region, coast = _region(fields), coastlines()
    figure = Figure(figsize=(9, 9.2) if region is None else (11, 5.2), dpi=110, layout="compressed")

    def panel(place: SubplotSpec, first: bool, view: MapView) -> None:
        colors: Continuous | Categorical
        if names is None:
            colors = Continuous("cividis", limits, unit if first else None)
        else:
            colors = Categorical(zone_colors(names), names if first else None, missing=True)
        draw_field(figure.add_subplot(place), fields.grid, values, colors=colors, view=view, coast=coast)

    figure.suptitle(title, fontsize=10)
    if region is None:
        grid = figure.add_gridspec(2, 2)
        panel(grid[0, :], True, MapView())
        # Mollweide shows areas; the poles, where it squeezes shapes, are the middles of the hemispheres.
        panel(grid[1, 0], False, MapView("orthographic", (90.0, 0.0)))
        panel(grid[1, 1], False, MapView("orthographic", (-90.0, 0.0)))
    else:
        grid = figure.add_gridspec(1, 2, width_ratios=[0.9, 1.1])
        panel(grid[0, 0], True, region)
        panel(grid[0, 1], False, MapView())
    with atomic_write(target) as part:
        figure.savefig(part, format="png")
    return target


def _region(fields: SphereFields) -> MapView | None:
    """View of what the file covers; None for more than a region."""
    xyz = fields.grid.xyz
    x, y, z = xyz.mean(axis=0)
    center = float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))
    east, north, depth = (xyz @ compass(center).T).T
    if depth.min() < np.cos(np.radians(_REGION_DEG)):
        return None
    half = float(np.maximum(np.abs(east), np.abs(north)).max())
    return MapView("orthographic", center, 1.05 * max(float(np.degrees(np.arcsin(half))), 1.0))
