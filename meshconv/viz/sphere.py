"""Maps of fields on any grid of the sphere: every image pixel has the value of its cell.

matplotlib alone, by its object interface: no global state, no display, no map library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from meshconv.errors import InputError
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.viz.coastlines import Line

__all__ = ["KOEPPEN_COLORS", "NO_DATA", "draw_field", "draw_healpix", "view", "zone_colors"]

#: Customary colours of the two-letter Koeppen-Geiger zones: after Peel et al. 2007, made darker or
#: lighter where two of them would be hard to tell apart.
KOEPPEN_COLORS: dict[str, str] = {
    "Af": "#0000c8",
    "Am": "#0078ff",
    "Aw": "#5fb4fa",
    "As": "#8fd0ff",
    "BW": "#ff2a1a",
    "BS": "#f5a500",
    "Cs": "#f2ee00",
    "Cw": "#86e08a",
    "Cf": "#46b400",
    "Ds": "#d800d8",
    "Dw": "#8f83d8",
    "Df": "#00a5b5",
    "ET": "#a8a8a8",
    "EF": "#5c5c5c",
}
# Paul Tol's sets for all kinds of colour vision: "bright" without its grey, which is for missing data, and "muted".
_BRIGHT = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
_MUTED = ("#88ccee", "#cc6677", "#ddcc77", "#117733", "#332288", "#aa4499", "#44aa99", "#999933", "#882255")
_PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#e07b39", "#6b4c9a",
    "#1b9e77", "#a6761d", "#e7298a", "#66a61e", "#7570b3", "#b15928", "#17becf", "#bcbd22",
)  # fmt: skip
#: Colour of the ocean, or where there is no data.
NO_DATA = "#d9dde2"
_GRID = "#6b7280"


def zone_colors(names: Sequence[str]) -> list[str]:
    """Colours for named categories: the customary ones for Koeppen zones, else a palette.

    Up to 9 are safe for colour-vision deficiency (P. Tol, Colour Schemes, SRON 2021); more than 16 repeat.

    Example
    -------
    >>> zone_colors(["Af", "EF"])
    ['#0000c8', '#5c5c5c']
    """
    if all(name in KOEPPEN_COLORS for name in names):
        return [KOEPPEN_COLORS[name] for name in names]
    palette = next((p for p in (_BRIGHT, _MUTED) if len(names) <= len(p)), _PALETTE)
    return [palette[i % len(palette)] for i in range(len(names))]


def _mollweide(columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """Latitude, longitude [rows, columns] in radians, inside-mask, and the image's extent."""
    rows = columns // 2
    x = (np.arange(columns) + 0.5) / columns * 4 - 2
    y = 1 - (np.arange(rows) + 0.5) / rows * 2
    x, y = np.meshgrid(x, y)
    inside = (x / 2) ** 2 + y**2 < 1
    angle = np.arcsin(y)
    lat = np.arcsin(np.clip((2 * angle + np.sin(2 * angle)) / np.pi, -1, 1))
    lon = np.pi * x / (2 * np.maximum(np.cos(angle), 1e-9))
    return lat, lon, inside, (-2, 2, -1, 1)


def _mollweide_forward(lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map x, y; Newton steps in the variable whose root is simple everywhere but at the poles."""
    angle = lat.copy()
    for _ in range(30):
        slope = np.maximum(2 + 2 * np.cos(2 * angle), 1e-9)
        angle = angle - (2 * angle + np.sin(2 * angle) - np.pi * np.sin(lat)) / slope
    return 2 * lon / np.pi * np.cos(angle), np.sin(angle)


def _unit(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def view(center: tuple[float, float]) -> np.ndarray:
    """Rows: east, north and outward at a point (latitude, longitude in degrees), ``[3, 3]``."""
    lat, lon = np.deg2rad(center)
    outward = _unit(lat, lon)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    return np.stack([east, np.cross(outward, east), outward])


def _orthographic(
    columns: int, center: tuple[float, float], half: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    x = half * ((np.arange(columns) + 0.5) / columns * 2 - 1)
    x, y = np.meshgrid(x, -x)
    inside = x**2 + y**2 < 1
    depth = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    points = np.stack([x, y, depth], axis=-1) @ view(center)
    lat = np.arctan2(points[..., 2], np.hypot(points[..., 0], points[..., 1]))
    return lat, np.arctan2(points[..., 1], points[..., 0]), inside, (-half, half, -half, half)


def _orthographic_forward(
    lat: np.ndarray, lon: np.ndarray, center: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Map x, y; NaN on the far side."""
    x, y, depth = (_unit(lat, lon) @ view(center).T).T
    return np.where(depth > 0, x, np.nan), np.where(depth > 0, y, np.nan)


def _graticule(ax: Axes, projection: str, center: tuple[float, float]) -> None:
    span = np.linspace(-1, 1, 181)
    lines = [(np.full(181, np.deg2rad(p)), np.pi * span) for p in (-60, -30, 0, 30, 60)]
    lines += [(np.pi / 2 * span, np.full(181, np.deg2rad(m))) for m in range(-120, 180, 60)]
    for lat, lon in lines:
        if projection == "mollweide":
            x, y = _mollweide_forward(lat, lon)
        else:
            x, y = _orthographic_forward(lat, lon, center)
        ax.plot(x, y, color=_GRID, linewidth=0.35, alpha=0.55)
    turn = np.linspace(0, 2 * np.pi, 361)
    half_width = 2.0 if projection == "mollweide" else 1.0
    ax.plot(half_width * np.cos(turn), np.sin(turn), color=_GRID, linewidth=0.8)


def _local_graticule(ax: Axes, center: tuple[float, float], reach: float) -> None:
    """Parallels and meridians of a part of a hemisphere, named inside its frame at the left and at the bottom."""
    half = np.sin(np.deg2rad(reach))

    def step(width: float) -> int:
        return next((s for s in (1, 2, 5, 10, 15, 30) if 2 * width / s <= 5), 45)

    span = np.linspace(-1, 1, 1441)
    across = step(reach)
    along = step(min(reach / max(np.cos(np.deg2rad(center[0])), 0.1), 180))
    lines = [(np.full(1441, float(p)), 180 * span, 0) for p in range(-90 + across, 90, across)]
    lines += [(90 * span, np.full(1441, float(m)), 1) for m in range(-180, 180, along)]
    for lat, lon, axis in lines:
        x, y = _orthographic_forward(np.deg2rad(lat), np.deg2rad(lon), center)
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


def _coast(ax: Axes, lines: Sequence[Line], projection: str, center: tuple[float, float]) -> None:
    for line in lines:
        lat, lon = np.radians(line.T)
        if projection == "mollweide":
            lon = (lon - np.deg2rad(center[1]) + np.pi) % (2 * np.pi) - np.pi
            x, y = _mollweide_forward(lat, lon)
            x[1:][np.abs(np.diff(lon)) > np.pi] = np.nan  # from one edge of the map to the other
        else:
            x, y = _orthographic_forward(lat, lon, center)
        ax.plot(x, y, color="#333333", linewidth=0.5)


def _legend(ax: Axes, names: Sequence[str], colors: Sequence[str], present: np.ndarray, missing: bool) -> None:
    patches = [Patch(facecolor=colors[i], label=names[i]) for i in present]
    if missing:
        patches.append(Patch(facecolor=NO_DATA, edgecolor=_GRID, linewidth=0.4, label="missing"))
    ax.legend(
        handles=patches,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=7,
        frameon=False,
        fontsize=8,
        handlelength=1.1,
        handleheight=1.0,
    )


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
    >>> image = draw_healpix(ax, np.arange(12.0), unit="pixel number", columns=40)
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
    projection: Literal["mollweide", "orthographic"] = "mollweide",
    kind: Literal["continuous", "categorical"] = "continuous",
    center: tuple[float, float] = (0.0, 0.0),
    reach: float = 90.0,
    colors: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
    unit: str | None = None,
    pale: np.ndarray | None = None,
    columns: int = 900,
    coast: Sequence[Line] = (),
    legend_missing: bool = False,
) -> AxesImage:
    """Draw a field on any grid of the sphere as a map.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its axes are switched off; the map keeps its aspect.
    grid : HealpixSphere, LatLonGrid or PointSphere
        Image pixels outside of it are drawn as missing.
    values : array [grid.num_points]
        A field, or category numbers from 0. NaN, masked and negative categories are drawn in light
        grey: no data, ocean.
    projection : {"mollweide", "orthographic"}
        Whole sphere, equal area; or one hemisphere.
    kind : {"continuous", "categorical"}
        How numbers become colours.
    center : (float, float)
        Latitude and longitude in degrees; Mollweide uses the longitude alone.
    reach : float
        Degrees from the centre of an orthographic map to its edges; below 90 it is a square with named parallels and
        meridians.
    colors : sequence of str, optional
        A colour per category, needed for ``categorical``.
    names : sequence of str, optional
        Names of the categories: if given, a legend of those that occur is put under the map.
    cmap, limits
        Colour map of a continuous field and its ends (default: 1st and 99th percentile).
    unit : str, optional
        If given, a continuous field gets a colour bar with this label.
    pale : bool array [grid.num_points], optional
        Pixels to fade towards white, such as those that do not count.
    columns : int
        Image pixels across the map.
    coast : list of array [n, 2]
        Lines of latitudes and longitudes in degrees, see :func:`~meshconv.viz.coastlines.coastlines`.
    legend_missing : bool
        Whether the legend of categories explains the grey of missing data.

    Returns
    -------
    matplotlib.image.AxesImage

    Raises
    ------
    InputError
        If there is not one value for each point of the grid or categories have no colours.
    """
    values = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    if values.shape != (grid.num_points,):
        raise InputError(f"values: shape {values.shape} for {grid.num_points} points of the grid; give one each")
    if projection == "mollweide":
        lat, lon, inside, extent = _mollweide(columns)
        lon = lon + np.deg2rad(center[1])
    else:
        lat, lon, inside, extent = _orthographic(columns, center, float(np.sin(np.deg2rad(reach))))
    pixel = np.full(inside.shape, -1)
    pixel[inside] = grid.locate(_unit(lat, lon)[inside])

    scale: Colormap
    norm: Normalize
    if kind == "categorical":
        values = np.where(values < 0, np.nan, values)
        present = np.unique(values[np.isfinite(values)]).astype(int)
        if colors is None or present.max(initial=-1) >= len(colors):
            raise InputError("colors: a categorical map needs one colour for each category")
        scale = ListedColormap(list(colors))
        norm = BoundaryNorm(np.arange(len(colors) + 1) - 0.5, len(colors))
        if names is not None:
            missing = legend_missing and (np.isnan(values).any() or (pixel[inside] < 0).any())
            _legend(ax, names, colors, present, bool(missing))
    else:
        scale = colormaps[cmap]
        if limits is None:
            finite = values[np.isfinite(values)]
            low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
            limits = float(low), float(high)
        norm = Normalize(*limits)
    rgba = np.ones((values.size, 4))
    rgba[:, :3] = scale(norm(np.nan_to_num(values)))[:, :3]
    rgba[np.isnan(values), :3] = to_rgb(NO_DATA)
    if pale is not None:
        fade = np.asarray(pale, dtype=bool) & ~np.isnan(values)
        rgba[fade, :3] = 0.72 + 0.28 * rgba[fade, :3]
    picture = rgba[pixel]
    picture[inside & (pixel < 0), :3] = to_rgb(NO_DATA)
    picture[~inside] = 0.0

    ax.set_axis_off()
    ax.set_aspect("equal")
    image = ax.imshow(picture, extent=extent, interpolation="antialiased")
    _coast(ax, coast, projection, center)
    if projection == "orthographic" and reach < 90:
        _local_graticule(ax, center, reach)
    else:
        _graticule(ax, projection, center if projection == "orthographic" else (0.0, 0.0))
    ax.set(xlim=(extent[0] * 1.01, extent[1] * 1.01), ylim=(extent[2] * 1.02, extent[3] * 1.02))
    if kind == "continuous" and unit is not None:
        bar = cast(Figure, ax.get_figure(root=True)).colorbar(
            ScalarMappable(norm, scale),
            ax=ax,
            orientation="horizontal",
            fraction=0.05,
            pad=0.03,
            shrink=0.6,
            extend="both",
        )
        bar.set_label(unit, fontsize=8)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_linewidth(0.4)
    return image
