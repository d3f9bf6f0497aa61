"""What data modules hand to networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.geometry.hierarchy import Hierarchy


def join_surfaces(surfaces: Sequence[GaugeGraph | Hierarchy]) -> GaugeGraph | Hierarchy:
    """Disjoint union of graphs, or of hierarchies with as many levels."""
    graphs = [s for s in surfaces if isinstance(s, GaugeGraph)]
    hierarchies = [s for s in surfaces if isinstance(s, Hierarchy)]
    if graphs and hierarchies:
        raise ValueError(f"a batch holds graphs or hierarchies, got {len(graphs)} and {len(hierarchies)}")
    return Hierarchy.batch(hierarchies) if hierarchies else GaugeGraph.batch(graphs)


@dataclass(frozen=True, eq=False)
class SurfaceBatch:
    """Features on a surface, and what is to be told of them.

    Attributes
    ----------
    x : Tensor [..., V, dim]
        Input fields.
    surface : GaugeGraph or Hierarchy
        Several meshes are one graph or hierarchy, their disjoint union.
    target : int64 Tensor [G] or [..., V]
        Class per surface or per point; -1 where unknown.
    mask : bool Tensor [..., V] or None
        Points that count in loss and metrics; None: all with a target.
    names : list of str
        Name of each surface, for people.
    """

    x: Tensor
    surface: GaugeGraph | Hierarchy
    target: Tensor
    mask: Tensor | None
    names: list[str]

    def to(self, *args: Any, **kwargs: Any) -> SurfaceBatch:
        """Move to a device (as Lightning does); targets keep their dtype."""
        mask = self.mask if self.mask is None else self.mask.to(*args, **kwargs)
        return replace(
            self,
            x=self.x.to(*args, **kwargs),
            surface=self.surface.to(*args, **kwargs),
            target=self.target.to(*args, **kwargs),
            mask=mask,
        )
