"""How values become colours: a scale for numbers, a palette for categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, to_rgb

from meshconv.errors import InputError

__all__ = ["KOEPPEN_COLORS", "NO_DATA", "VIRIDIS", "Categorical", "Continuous", "zone_colors"]

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


@dataclass(frozen=True)
class Continuous:
    """Colours of numbers.

    Parameters
    ----------
    cmap
        Colour map of matplotlib.
    limits
        Numbers at its ends; default the 1st and 99th percentile of those that are finite.
    unit
        If given, a map gets a colour bar with this label.
    """

    cmap: str | Colormap = "viridis"
    limits: tuple[float, float] | None = None
    unit: str | None = None

    def mappable(self, values: np.ndarray) -> ScalarMappable:
        """Colour map with its limits, for these values and for a colour bar."""
        limits = self.limits
        if limits is None:
            finite = values[np.isfinite(values)]
            low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
            limits = float(low), float(high)
        return ScalarMappable(Normalize(*limits), colormaps[self.cmap] if isinstance(self.cmap, str) else self.cmap)

    def rgb(self, values: np.ndarray) -> np.ndarray:
        """Colours ``[n, 3]`` in 0 to 1; of NaN any."""
        return self.mappable(values).to_rgba(np.nan_to_num(values))[:, :3]


@dataclass(frozen=True)
class Categorical:
    """Colours of category numbers from 0.

    Parameters
    ----------
    colors
        One for each category; default :func:`zone_colors`.
    names
        Of the categories: a map gets a legend of those that occur.
    missing
        Whether the legend explains the grey of missing data.
    """

    colors: Sequence[str] | None = None
    names: Sequence[str] | None = None
    missing: bool = False

    def palette(self, count: int) -> list[str]:
        """Colours of ``count`` categories or more.

        Raises
        ------
        InputError
            If there are fewer colours.
        """
        if self.colors is None:
            return zone_colors(self.names or [str(k) for k in range(count)])
        if len(self.colors) < count:
            raise InputError(f"colors: {len(self.colors)} of them for {count} categories; give one colour for each")
        return list(self.colors)

    def rgb(self, values: np.ndarray) -> np.ndarray:
        """Colours ``[n, 3]`` in 0 to 1; of NaN and negative numbers :data:`NO_DATA`."""
        known = np.isfinite(values) & (values >= 0)
        found = np.tile(to_rgb(NO_DATA), (len(values), 1))
        numbers = values[known].astype(int)
        palette = self.palette(int(numbers.max(initial=-1)) + 1)
        if numbers.size:
            found[known] = np.array([to_rgb(color) for color in palette])[numbers]
        return found


#: Colours where none are given.
VIRIDIS = Continuous()
