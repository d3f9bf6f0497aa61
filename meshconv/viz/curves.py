"""Pictures of curves."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

__all__ = ["draw_curves"]


def draw_curves(x: ArrayLike, curves: Mapping[str, ArrayLike], x_label: str, y_label: str) -> Figure:
    """Lines over one axis, with a legend.

    Example
    -------
    >>> figure = draw_curves([0, 1], {"a": [0, 1], "b": [1, 1]}, "radius", "share")
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['a', 'b']
    """
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    ax = figure.add_subplot()
    for name, values in curves.items():
        ax.plot(x, values, label=name, linewidth=1.5)
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.grid(alpha=0.3)
    ax.margins(x=0)
    ax.legend(frameon=False, fontsize=8)
    return figure
