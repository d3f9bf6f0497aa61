"""Views as figures of matplotlib, for print and where there is no display."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from meshconv.viz.colors import NO_DATA, Categorical, Continuous
from meshconv.viz.interactive.fields import Field, Legend
from meshconv.viz.interactive.panels import GlobeSurface, MeshSurface, spread
from meshconv.viz.mesh import MeshView, draw_mesh
from meshconv.viz.sphere import draw_field

__all__ = ["draw_panels"]

_ARROWS = 500


def draw_panels(
    title: str,
    panels: Sequence[tuple[str, str, MeshSurface | GlobeSurface, Field | None]],
    legend: Legend | None,
    cmap: str,
) -> Figure:
    """Panels of a view at the first step, with the legend of a field.

    Parameters
    ----------
    title
    panels
        Title, note, surface and field of each.
    legend
        Of the field; None: surfaces alone.
    cmap
    """
    columns = int(np.ceil(np.sqrt(len(panels)))) if len(panels) > 3 else len(panels)
    rows = -(-len(panels) // columns)
    wide = 6.2 if isinstance(panels[0][2], GlobeSurface) else 4.4
    high = 3.4 if isinstance(panels[0][2], GlobeSurface) else 4.4
    figure = Figure(figsize=(wide * columns, high * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (name, note, surface, field) in zip(axes, panels, strict=False):
        if isinstance(surface, GlobeSurface):
            _globe(ax, surface, field, legend, cmap)
        else:
            _mesh(ax, surface, field, legend, cmap)
        ax.set_title("\n".join(text for text in (name, note) if text), fontsize=10)
    if title:
        figure.suptitle(title, fontsize=11)
    if legend is not None:
        _explain(figure, list(axes), legend, cmap)
    return figure


def _globe(ax: Axes, surface: GlobeSurface, field: Field | None, legend: Legend | None, cmap: str) -> None:
    if field is None or legend is None or field.kind == "color":
        draw_field(ax, surface.grid, np.full(surface.grid.num_points, np.nan), coast=surface.coast)
    else:
        colors = _colors(field, legend, cmap)
        draw_field(ax, surface.grid, legend.codes(field)[0], colors=colors, coast=surface.coast)


def _mesh(ax: Axes, surface: MeshSurface, field: Field | None, legend: Legend | None, cmap: str) -> None:
    mesh = surface.mesh
    if field is None or legend is None or field.kind == "color":
        draw_mesh(ax, mesh)
        return
    draw_mesh(ax, mesh, legend.codes(field)[0], colors=_colors(field, legend, cmap))
    if field.kind == "vector":
        _arrows(ax, surface, field, legend.limits[1])


def _arrows(ax: Axes, surface: MeshSurface, field: Field, longest: float) -> None:
    """Arrows on the side that shows."""
    turn = MeshView().of(surface.vertices, surface.faces)
    places, normals = surface.places(field.at)
    seen = np.flatnonzero(normals @ turn[2] > 0.1)
    chosen = seen[spread(places[seen], _ARROWS)]
    # As draw_mesh places them.
    shown = (surface.vertices - surface.middle) / surface.radius @ turn.T
    low, high = shown.min(axis=0), shown.max(axis=0)
    width = max(float((high - low)[:2].max()), 1e-300)
    start = (places[chosen] @ turn.T - (low + high) / 2) / width
    along = np.nan_to_num(field.values[0, chosen]) @ turn.T / max(longest, 1e-300) * 0.06
    ax.quiver(*start[:, :2].T, *along[:, :2].T, angles="xy", scale_units="xy", scale=1, width=0.003, color="#14181f",
              zorder=3)  # fmt: skip


def _colors(field: Field, legend: Legend, cmap: str) -> Continuous | Categorical:
    return Categorical(_hex(legend)) if field.kind == "label" else Continuous(cmap, legend.limits)


def _hex(legend: Legend) -> list[str]:
    return [to_hex(color / 255) for color in legend.colors]


def _explain(figure: Figure, axes: Sequence[Axes], legend: Legend, cmap: str) -> None:
    if legend.of.kind == "color":
        return
    if legend.of.kind == "label":
        patches = [Patch(facecolor=c, label=n) for c, n in zip(_hex(legend), legend.names, strict=True)]
        if legend.missing:
            patches.append(Patch(facecolor=NO_DATA, label="no value"))
        figure.legend(handles=patches, loc="outside lower center", ncols=7, frameon=False, fontsize=8)
        return
    shown = ScalarMappable(Normalize(*legend.limits), cmap)
    name, unit = legend.of.name, legend.of.unit
    bar = figure.colorbar(shown, ax=list(axes), orientation="horizontal", shrink=0.5, fraction=0.05, pad=0.03)
    bar.set_label(f"{name}, {unit}" if unit else name, fontsize=8)
    bar.ax.tick_params(labelsize=8)
