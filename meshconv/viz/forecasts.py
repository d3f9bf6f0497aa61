"""Animated maps of a forecast beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.io.cache.atomic import atomic_write
from meshconv.viz.colors import Continuous
from meshconv.viz.sphere import draw_field

__all__ = ["animate_forecast"]


def animate_forecast(
    path: Path,
    grid: SphereGrid,
    truth: NDArray,
    forecast: NDArray,
    titles: Sequence[str],
    unit: str,
    columns: int = 300,
) -> None:
    """Write a GIF of truth and forecast, one frame a step, in the colours of the truth.

    Parameters
    ----------
    path
    grid : SphereGrid
        Of V points.
    truth, forecast : [steps, V]
    titles
        Of each frame.
    unit
        Label of the colours.
    columns
        Pixels across a map.
    """
    limits = (float(np.nanpercentile(truth, 1)), float(np.nanpercentile(truth, 99)))
    figure = Figure(figsize=(8, 2.9), dpi=80)
    axes = figure.subplots(1, 2)

    def draw(k: int) -> list:
        for ax, name, values in zip(axes, ("truth", "forecast"), (truth, forecast), strict=True):
            ax.clear()
            draw_field(ax, grid, values[k], colors=Continuous(limits=limits), columns=columns)
            ax.set_title(name, fontsize=9)
        figure.suptitle(f"{titles[k]}, {unit}: {limits[0]:.4g} to {limits[1]:.4g}", fontsize=9)
        return []

    movie = FuncAnimation(figure, draw, frames=len(truth), init_func=list)
    with atomic_write(path.with_suffix(".gif")) as part:
        whole = part.with_name(f"{part.name}.gif")
        movie.save(whole, writer=PillowWriter(fps=4))
        whole.replace(part)
