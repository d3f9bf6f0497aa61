"""Baselines without neighbours: dense networks on the features of each point."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.models.invariants import InvariantLayers
from meshconv.nn import GlobalPool, Linear, SurfaceModule


class PixelwiseNetwork(SurfaceModule):
    """Dense network on each point alone, with the interface of :class:`~meshconv.models.SphereUNet`.

    Parameters
    ----------
    in_type, num_classes
    width, layers
        Hidden units and hidden layers.
    """

    def __init__(self, in_type: FieldType | str, num_classes: int, width: int = 128, layers: int = 3):
        super().__init__()
        self.in_type = FieldType(in_type)
        self.out_type = FieldType.from_multiplicities([num_classes])
        self.body = InvariantLayers(self.in_type, width, layers)
        self.head = Linear(self.body.out_type, self.out_type)

    def forward(self, x: Tensor, surface: Any) -> Tensor:
        """Logits ``[..., V, num_classes]``; ``surface`` is not used."""
        return self.head(self.body(x))


class PointwiseClassifier(SurfaceModule):
    """Dense network on each point alone and a pool, with the interface of
    :class:`~meshconv.models.ShapeClassifier`.

    Parameters
    ----------
    in_type, num_classes
    width, layers
        Hidden units and hidden layers.
    dropout
        As in :class:`~meshconv.models.ShapeClassifier`.
    """

    def __init__(
        self, in_type: FieldType | str, num_classes: int, width: int = 64, layers: int = 4, dropout: float = 0.3
    ):
        super().__init__()
        self.in_type = FieldType(in_type)
        self.out_type = FieldType.from_multiplicities([num_classes])
        self.body = InvariantLayers(self.in_type, width, layers)
        self.pool = GlobalPool(self.body.out_type, "area")
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Logits ``[..., G, num_classes]``; of the graph only areas and membership are used."""
        return self.head(self.pool(self.body(x), graph))
