"""Batches of surfaces with features and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.graph.record import Record
from meshconv.inference_mode import outside_inference_mode


def join_surfaces(surfaces: Sequence[GaugeGraph | Hierarchy]) -> GaugeGraph | Hierarchy:
    """Disjoint union of graphs, or of hierarchies with as many levels."""
    graphs = [s for s in surfaces if isinstance(s, GaugeGraph)]
    hierarchies = [s for s in surfaces if isinstance(s, Hierarchy)]
    if graphs and hierarchies:
        raise ValueError(f"a batch holds graphs or hierarchies, got {len(graphs)} and {len(hierarchies)}")
    return Hierarchy.batch(hierarchies) if hierarchies else GaugeGraph.batch(graphs)


@dataclass(frozen=True, eq=False)
class SurfaceBatch(Record):
    """Features on a surface, and targets.

    Attributes
    ----------
    x : Tensor [..., V, dim]
        Input fields.
    surface : GaugeGraph or Hierarchy
        Several meshes are one graph or hierarchy, their disjoint union.
    target : int64 Tensor [G], [..., V] or [n]
        Class per surface, per point or per element; -1 where unknown.
    mask : bool Tensor [..., V] or None
        Points that count in loss and metrics; None: all with a target.
    names : list of str
        Name of each surface, for people.
    elements : int64 Tensor [n, k] or None
        Points of each vertex, face or edge that has a class.
    shares : float Tensor [n, k] or None
        Their weights in its value; None: all alike.
    """

    x: Tensor
    surface: GaugeGraph | Hierarchy
    target: Tensor
    mask: Tensor | None
    names: list[str]
    elements: Tensor | None = None
    shares: Tensor | None = None

    @property
    def member(self) -> Tensor:
        """Surface of each point, int64 ``[V]``, or of each element ``[n]``; ascending."""
        member = self.surface.finest.batch_index
        return member if self.elements is None else member[self.elements[:, 0]]


class Resident:
    """A surface that all batches share: moved to each device once."""

    def __init__(self, surface: GaugeGraph | Hierarchy):
        self.surface = surface
        self._copies: dict[torch.device, GaugeGraph | Hierarchy] = {}

    def on(self, device: torch.device) -> GaugeGraph | Hierarchy:
        """The surface there, the same object every time."""
        if device not in self._copies:
            with outside_inference_mode():
                self._copies[device] = self.surface.to(device)
        return self._copies[device]


@dataclass(frozen=True, eq=False)
class SeriesBatch(SurfaceBatch):
    """Features on a surface, and targets at several times after them.

    Attributes
    ----------
    target : Tensor [S, K, V, out]
        At K times, NaN where unknown.
    ahead : Tensor [S, K - 1, V, dim]
        Inputs of one map at all but the last of these times, of which forcings are known ahead.
    """

    ahead: Tensor | None = None
