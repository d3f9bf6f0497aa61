"""Pictures of confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["draw_confusion"]

_WRITTEN = 20  # maximum number of classes with written percentages


def draw_confusion(confusion: NDArray, names: Sequence[str]) -> Figure:
    """Picture of a confusion matrix: each row shows where the points of a class went, in percent.

    Parameters
    ----------
    confusion : float array [classes, classes]
        Rows are the truth.
    names : sequence of str

    Returns
    -------
    Figure

    Example
    -------
    >>> [t.get_text() for t in draw_confusion(np.array([[3.0, 1.0], [0.0, 2.0]]), ["a", "b"]).axes[0].texts]
    ['75', '25', '', '100']
    """
    count = len(names)
    total = confusion.sum(1, keepdims=True)
    share = np.where(total > 0, confusion / np.where(total > 0, total, 1), np.nan)
    side = 2.2 + max(0.38 * min(count, _WRITTEN), 0.16 * count)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    ax = figure.add_subplot()
    ax.set_facecolor("0.92")  # of classes that do not occur
    image = ax.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    size = 8 if count <= _WRITTEN else 5
    ax.set_xticks(range(count), names, rotation=90, fontsize=size)
    ax.set_yticks(range(count), names, fontsize=size)
    ax.set(xlabel="prediction", ylabel="truth")
    for i, j in np.ndindex(count, count) if count <= _WRITTEN else ():
        text = f"{100 * share[i, j]:.0f}" if share[i, j] > 0 else ""
        ax.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if share[i, j] > 0.6 else "k")
    bar = figure.colorbar(image, ax=ax, shrink=0.7, label="percent of the class")
    bar.ax.tick_params(labelsize=8)
    return figure
