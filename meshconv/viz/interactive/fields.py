"""Fields of a view: what values are, where they are, and how they are coloured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike, NDArray

from meshconv.errors import InputError
from meshconv.viz.colors import zone_colors

__all__ = ["Field", "Legend", "Values", "as_field", "legend_of"]

Kind = Literal["scalar", "label", "vector", "color"]
#: What a user gives: values, or several by name.
Values = ArrayLike | Mapping[str, ArrayLike]

_CLASSES = 64  # whole numbers with more distinct values are quantities


@dataclass(frozen=True, eq=False)
class Field:
    """Values on the elements of a surface, at one step or several.

    Attributes
    ----------
    name : str
    kind : "scalar" | "label" | "vector" | "color"
    at : "vertices" | "faces" | "points"
    values : [steps, n] or [steps, n, 3]
        Numbers, NaN for none; labels, int or str; vectors in space; colours, uint8.
    unit : str
    names : tuple of str
        Of the labels 0, 1, ...; negative labels are none. Empty: labels are called as they are.
    steps : tuple of str
        A name of each step.
    """

    name: str
    kind: Kind
    at: str
    values: NDArray
    unit: str = ""
    names: tuple[str, ...] = ()
    steps: tuple[str, ...] = ("",)

    @property
    def size(self) -> NDArray:
        """Numbers that are coloured: of vectors their lengths, ``[steps, n]``."""
        return np.linalg.norm(self.values, axis=-1) if self.kind == "vector" else self.values


def as_field(
    name: str,
    given: ArrayLike,
    counts: Mapping[str, int],
    frames: NDArray | None,
    unit: str = "",
    names: Sequence[str] = (),
    steps: Sequence[str] | None = None,
) -> Field:
    """A field from an array, by its type and shape; see :func:`~meshconv.viz.interactive.view.show`.

    Parameters
    ----------
    name
    given
        ``[n]``, ``[n, 2]``, ``[n, 3]`` or ``[n, 4]``, or with steps before: ``[steps, n]``, ``[steps, n, 3]``.
    counts
        Number of elements by their kind, the likelier kind first.
    frames : [n, 3, 3], optional
        Of the first kind of elements, for vectors with two components.
    unit, names, steps

    Raises
    ------
    InputError
        Another shape or type, or a label without a name.
    """
    values = np.ma.filled(given.astype(float), np.nan) if isinstance(given, np.ma.MaskedArray) else np.asarray(given)
    shape = values.shape
    if values.ndim == 1 or (steps is None and values.ndim > 1 and shape[0] in counts.values()):
        values = values[None]
    at = next((at for at, n in counts.items() if values.ndim > 1 and values.shape[1] == n), None)
    if at is None or values.ndim > 3 or (values.ndim == 3 and not 1 <= values.shape[2] <= 4):
        has = " or ".join(f"{n} {what}" for what, n in counts.items())
        raise InputError(f"{name}: shape {shape} for {has}; give a number, label or vector for each")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if steps is None or len(steps) != len(values):
        steps = [str(k) for k in range(len(values))] if len(values) > 1 else [""]
    about: dict[str, Any] = {"unit": unit, "steps": tuple(steps)}
    if values.dtype.kind not in "biufSUO":
        raise InputError(f"{name}: values of type {values.dtype}; give real numbers, labels or vectors")
    if values.ndim == 3:
        return _with_components(name, values, at, frames if at == next(iter(counts)) else None, about)
    if values.dtype.kind in "SUO":
        words = np.array([str(v) for v in values.reshape(-1)], dtype=str).reshape(values.shape)
        return Field(name, "label", at, words, steps=about["steps"])
    if values.dtype.kind == "b" and not names:
        return Field(name, "label", at, values.astype(np.int64), names=("false", "true"), steps=about["steps"])
    whole = values.dtype.kind in "iub" or bool(names)
    if whole and (names or len(np.unique(values)) <= _CLASSES):
        labels = np.where(np.isfinite(values), values, -1).astype(np.int64)
        if names and labels.max(initial=-1) >= len(names):
            raise InputError(f"{name}: label {labels.max()} has no name; there are {len(names)}, counted from 0")
        return Field(name, "label", at, labels, names=tuple(names), steps=about["steps"])
    return Field(name, "scalar", at, np.where(np.isfinite(values), values, np.nan).astype(np.float64), **about)


def _with_components(name: str, values: NDArray, at: str, frames: NDArray | None, about: dict[str, Any]) -> Field:
    components = values.shape[2]
    if values.dtype == np.uint8 and components >= 3:
        return Field(name, "color", at, values[..., :3], steps=about["steps"])
    if "color" in name.lower() and values.dtype.kind == "f" and np.nanmin(values) >= 0 and np.nanmax(values) <= 1:
        return Field(name, "color", at, np.round(255 * values[..., :3]).astype(np.uint8), steps=about["steps"])
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if components == 2:
        if frames is None:
            raise InputError(f"{name}: two components at {at}, which have no frames; give vectors in space, [n, 3]")
        values = np.einsum("snk,nki->sni", values, frames[:, :2])
    elif components != 3:
        raise InputError(f"{name}: {components} components for each of the {at}; give one, two or three")
    return Field(name, "vector", at, values, **about)


@dataclass(frozen=True, eq=False)
class Legend:
    """How the values of a field become colours, the same in all panels.

    Attributes
    ----------
    of : Field
        The first one of its name.
    limits : (float, float)
        Values at the ends of the colours.
    classes : array of int or str
        Labels in the order of the legend.
    names : list of str
    colors : uint8 [colours, 3]
    missing : bool
        Whether there are places without value.
    """

    of: Field
    limits: tuple[float, float] = (0.0, 1.0)
    classes: NDArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    names: tuple[str, ...] = ()
    colors: NDArray = field(default_factory=lambda: np.empty((0, 3), dtype=np.uint8))
    missing: bool = False

    def codes(self, given: Field) -> NDArray:
        """Numbers that the page colours, ``[steps, n]`` (colours ``[steps, n, 3]``): places in the legend, or sizes."""
        if given.kind != "label":
            return given.size.astype(np.float32) if given.kind != "color" else given.values
        place = np.minimum(np.searchsorted(self.classes, given.values), max(len(self.classes) - 1, 0))
        if not len(self.classes):
            return np.full(given.values.shape, -1, dtype=np.int32)
        return np.where(self.classes[place] == given.values, place, -1).astype(np.int32)


def legend_of(fields: Sequence[Field], cmap: str, limits: tuple[float, float] | None) -> Legend:
    """Legend of the fields that have one name in several panels.

    Raises
    ------
    InputError
        They are not of one kind, or there is no such colour map.
    """
    first = fields[0]
    if {f.kind for f in fields} != {first.kind}:
        raise InputError(f"{first.name}: {', '.join(f.kind for f in fields)} under one name; name them differently")
    if first.kind == "color":
        return Legend(first)
    if first.kind == "label":
        every = np.concatenate([f.values.reshape(-1) for f in fields])
        classes = np.unique(every[every >= 0] if every.dtype.kind == "i" else every[every != ""])
        names = [first.names[c] if first.names else str(c) for c in classes.tolist()]
        # Colours of all names, so that they stay where some do not occur.
        palette = zone_colors(first.names or names)
        colors = [palette[c] for c in classes.tolist()] if first.names else palette
        rgb = np.round(255 * np.array([to_rgb(c) for c in colors]).reshape(-1, 3)).astype(np.uint8)
        return Legend(first, classes=classes, names=tuple(names), colors=rgb,
                      missing=bool(len(every) > np.isin(every, classes).sum()))  # fmt: skip
    try:
        table = matplotlib.colormaps[cmap](np.linspace(0, 1, 256))[:, :3]
    except KeyError as error:
        raise InputError(f"cmap: no colour map {cmap!r} in matplotlib; viridis and cividis are for all eyes") from error
    sizes = np.concatenate([f.size.reshape(-1) for f in fields])
    known = sizes[np.isfinite(sizes)]
    if limits is None:
        low, high = np.percentile(known, [1, 99]) if len(known) else (0.0, 1.0)
        if not high > low and len(known):
            low, high = known.min(), known.max()
        limits = (0.0 if first.kind == "vector" else float(low), float(high))
    rgb = np.round(255 * table).astype(np.uint8)
    return Legend(first, limits, colors=rgb, missing=len(known) < len(sizes))
