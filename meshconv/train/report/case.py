"""One surface of a test, and surfaces of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from numpy.typing import NDArray

from meshconv.datasets.batch import SurfaceBatch

__all__ = ["Case", "each_surface"]


@dataclass(frozen=True, eq=False)
class Case:
    """One surface of a test, with truth and prediction.

    Attributes
    ----------
    name : str
        Of the surface, as the batch has it.
    error : float
        How bad it is, by the task's own measure; the largest are the worst.
    said, note : str
        What was predicted and how bad it is, in words.
    truth, prediction : dict of arrays
        By field: labels, numbers ``[n]`` or vectors ``[n, 3]`` of the surface's elements; empty where it has one value.
    at : "vertices" | "faces" | "points"
    names : tuple of str
        Of labels.
    units : dict of str
        By field.
    """

    name: str
    error: float
    said: str
    note: str
    truth: dict[str, NDArray] = field(default_factory=dict)
    prediction: dict[str, NDArray] = field(default_factory=dict)
    at: str = "vertices"
    names: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)


def each_surface(batch: SurfaceBatch) -> Iterator[tuple[str, int | slice]]:
    """Name of each surface of a batch, and its place in targets and outputs of points or elements: the first axis."""
    if batch.x.ndim > 2:  # maps on one surface
        yield from zip(batch.names, range(len(batch.names)), strict=True)
        return
    ends = torch.bincount(batch.member, minlength=len(batch.names)).cumsum(0).tolist()
    for name, start, end in zip(batch.names, [0, *ends], ends, strict=False):
        yield name, slice(start, end)
