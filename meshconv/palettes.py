"""Colours of categories; matplotlib is not needed for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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


def rgb_of(colors: Sequence[str]) -> NDArray[np.uint8]:
    """Red, green and blue of hexadecimal colours, uint8 ``[n, 3]``.

    Example
    -------
    >>> rgb_of(["#0000c8"]).tolist()
    [[0, 0, 200]]
    """
    return np.array([list(bytes.fromhex(color.removeprefix("#"))) for color in colors], dtype=np.uint8)
