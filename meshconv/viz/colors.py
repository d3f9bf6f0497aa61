"""How values become colours: a scale for numbers, a palette for categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, to_rgb

from meshconv.errors import InputError
from meshconv.palettes import KOEPPEN_COLORS, zone_colors

__all__ = ["KOEPPEN_COLORS", "NO_DATA", "VIRIDIS", "Categorical", "Continuous", "zone_colors"]

#: Colour of the ocean, or where there is no data.
NO_DATA = "#d9dde2"


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
