"""Maps of fields on any grid of the sphere: every image pixel has the value of its cell.

matplotlib alone, by its object interface: no global state, no display, no map library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from meshconv.errors import InputError
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.viz.coastlines import Line
from meshconv.viz.colors import NO_DATA, VIRIDIS, Categorical, Continuous
from meshconv.viz.projections import WHOLE_SPHERE, MapView

__all__ = ["draw_field", "draw_healpix"]

_GRID = "#6b7280"


def _graticule(ax: Axes, view: MapView) -> None:
    if view.projection == "mollweide":  # the same lines whatever its middle
        view = WHOLE_SPHERE
    span = np.linspace(-1, 1, 181)
    lines = [(np.full(181, np.deg2rad(p)), 0.999999 * np.pi * span) for p in (-60, -30, 0, 30, 60)]
    lines += [(np.pi / 2 * span, np.full(181, np.deg2rad(m))) for m in range(-120, 180, 60)]
    for lat, lon in lines:
        ax.plot(*view.forward(lat, lon), color=_GRID, linewidth=0.35, alpha=0.55)
    turn = np.linspace(0, 2 * np.pi, 361)
    half_width = 2.0 if view.projection == "mollweide" else 1.0
    ax.plot(half_width * np.cos(turn), np.sin(turn), color=_GRID, linewidth=0.8)


def _local_graticule(ax: Axes, view: MapView) -> None:
    """Parallels and meridians of a part of a hemisphere, named inside its frame at the left and at the bottom."""
    half = view.half

    def step(width: float) -> int:
        return next((s for s in (1, 2, 5, 10, 15, 30) if 2 * width / s <= 5), 45)

    span = np.linspace(-1, 1, 1441)
    across = step(view.reach)
    along = step(min(view.reach / max(np.cos(np.deg2rad(view.center[0])), 0.1), 180))
    lines = [(np.full(1441, float(p)), 180 * span, 0) for p in range(-90 + across, 90, across)]
    lines += [(90 * span, np.full(1441, float(m)), 1) for m in range(-180, 180, along)]
    for lat, lon, axis in lines:
        x, y = view.forward(np.deg2rad(lat), np.deg2rad(lon))
        seen = np.maximum(np.abs(x), np.abs(y)) < half
        ax.plot(np.where(seen, x, np.nan), np.where(seen, y, np.nan), color=_GRID, linewidth=0.35, alpha=0.55)
        edge = (x, y)[axis]
        first = int(np.argmin(np.where(seen, edge, np.inf)))
        if seen[first] and edge[first] < -0.97 * half:
            value, sides = ((lat[0], "SN"), (lon[0], "WE"))[axis]
            name = f"{abs(value):g}\N{DEGREE SIGN}{sides[int(value > 0)] if value else ''}"
            place = {"ha": "left", "va": "center"} if axis == 0 else {"ha": "center", "va": "bottom"}
            box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8}
            ax.text(x[first], y[first], name, fontsize=7, color="#333333", bbox=box, **place)  # type: ignore[arg-type]
    ax.plot(half * np.array([-1, 1, 1, -1, -1]), half * np.array([-1, -1, 1, 1, -1]), color=_GRID, linewidth=0.8)


def _coast(ax: Axes, lines: Sequence[Line], view: MapView) -> None:
    for line in lines:
        x, y = view.forward(*np.radians(line.T))
        if view.projection == "mollweide":
            width = 4 * np.sqrt(np.maximum(1 - y[1:] ** 2, 0))
            x[1:][np.abs(np.diff(x)) > width / 2] = np.nan  # from one edge of the map to the other
        ax.plot(x, y, color="#333333", linewidth=0.5)


def _legend(ax: Axes, of: Categorical, values: np.ndarray, missing: bool) -> None:
    """Legend of the categories that occur, and of missing data."""
    names = of.names or ()
    present = np.unique(values[np.isfinite(values) & (values >= 0)]).astype(int)
    palette = of.palette(int(present.max(initial=-1)) + 1)
    patches = [Patch(facecolor=palette[i], label=names[i]) for i in present]
    if of.missing and missing:
        patches.append(Patch(facecolor=NO_DATA, edgecolor=_GRID, linewidth=0.4, label="missing"))
    ax.legend(
        handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=7, frameon=False, fontsize=8,
        handlelength=1.1, handleheight=1.0,
    )  # fmt: skip


def _color_bar(ax: Axes, of: Continuous, values: np.ndarray) -> None:
    bar = cast(Figure, ax.get_figure(root=True)).colorbar(
        of.mappable(values), ax=ax, orientation="horizontal", fraction=0.05, pad=0.03, shrink=0.6, extend="both"
    )
    bar.set_label(str(of.unit), fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_linewidth(0.4)


def draw_healpix(
    ax: Axes,
    values: np.ndarray,
    *,
    pixel_order: Literal["nest", "ring"] = "nest",
    **options: Any,
) -> AxesImage:
    """Draw a HEALPix field as a map.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its axes are switched off; the map keeps its aspect.
    values : array [12 nside^2]
        A field, or category numbers from 0. NaN, masked and negative categories are drawn in light
        grey: no data, ocean.
    pixel_order : {"nest", "ring"}
        Numbering of the pixels.
    **options
        As of :func:`draw_field`.

    Returns
    -------
    matplotlib.image.AxesImage

    Raises
    ------
    InputError
        If the pixel count is not 12 nside^2 or categories have no colours.

    Example
    -------
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot()
    >>> image = draw_healpix(ax, np.arange(12.0), colors=Continuous(unit="pixel number"), columns=40)
    >>> image.get_array().shape
    (20, 40, 4)
    """
    values = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    if values.ndim != 1 or values.size == 0 or 12 * round(np.sqrt(values.size / 12)) ** 2 != values.size:
        raise InputError(f"values: shape {values.shape} is not 12 nside^2 pixels of one field")
    return draw_field(ax, HealpixSphere.from_pixel_count(values.size, pixel_order), values, **options)


def draw_field(
    ax: Axes,
    grid: SphereGrid,
    values: np.ndarray,
    *,
    colors: Continuous | Categorical = VIRIDIS,
    view: MapView = WHOLE_SPHERE,
    pale: np.ndarray | None = None,
    coast: Sequence[Line] = (),
    columns: int = 900,
) -> AxesImage:
    """Draw a field on any grid of the sphere as a map.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its axes are switched off; the map keeps its aspect.
    grid : SphereGrid
        Image pixels outside of it are drawn as missing.
    values : array [grid.num_points]
        A field, or category numbers from 0. NaN, masked and negative categories are drawn in light
        grey: no data, ocean.
    colors
        How numbers become colours.
    view
        Projection and centre.
    pale : bool array [grid.num_points], optional
        Points to fade towards white, such as those that do not count.
    coast : list of array [n, 2]
        Lines of latitudes and longitudes in degrees, see :func:`~meshconv.viz.coastlines.coastlines`.
    columns
        Image pixels across the map.

    Returns
    -------
    matplotlib.image.AxesImage

    Raises
    ------
    InputError
        If there is not one value for each point of the grid or categories have too few colours.
    """
    values = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    if values.shape != (grid.num_points,):
        raise InputError(f"values: shape {values.shape} for {grid.num_points} points of the grid; give one each")
    points, inside, extent = view.pixels(columns)
    point = np.full(inside.shape, -1)
    point[inside] = grid.locate(points[inside])

    rgba = np.ones((values.size, 4))
    rgba[:, :3] = colors.rgb(values)
    rgba[np.isnan(values), :3] = to_rgb(NO_DATA)
    if pale is not None:
        fade = np.asarray(pale, dtype=bool) & ~np.isnan(values)
        rgba[fade, :3] = 0.72 + 0.28 * rgba[fade, :3]
    picture = rgba[point]
    picture[inside & (point < 0), :3] = to_rgb(NO_DATA)
    picture[~inside] = 0.0

    ax.set_axis_off()
    ax.set_aspect("equal")
    image = ax.imshow(picture, extent=extent, interpolation="antialiased")
    _coast(ax, coast, view)
    if view.projection == "orthographic" and view.reach < 90:
        _local_graticule(ax, view)
    else:
        _graticule(ax, view)
    ax.set(xlim=(extent[0] * 1.01, extent[1] * 1.01), ylim=(extent[2] * 1.02, extent[3] * 1.02))
    if isinstance(colors, Categorical):
        if colors.names is not None:
            _legend(ax, colors, values, bool(np.isnan(values).any() or (values < 0).any() or (point[inside] < 0).any()))
    elif colors.unit is not None:
        _color_bar(ax, colors, values)
    return image
