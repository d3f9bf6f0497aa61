"""Residual network for the classification of meshes."""

from __future__ import annotations

from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.models.invariants import InvariantLayers
from meshconv.nn import GlobalPool, ResidualBlock, SurfaceModule
from meshconv.nn.block import LayerName, surface_layer
from meshconv.nn.convolution.neighbours import Aggregation


class ShapeClassifier(SurfaceModule):
    """Gauge-equivariant residual network on a surface at its own resolution, with invariant class logits.

    A convolution (or attention, or message passing), residual blocks, a dense layer on the scalars and field norms of
    each point, the mean over the surface, and a linear classifier. Logits are independent of the gauge, of the
    numbering of vertices and of the other meshes in a batch (batch norm in training excepted).

    Parameters
    ----------
    in_type : FieldType or str
        Type of the input features (:data:`~meshconv.geometry.features.moments.MESH_FEATURES` for meshes).
    num_classes
    channels
        Fields of each order inside the network; or the type of its fields, ``"8x0 + 4x1"``.
    max_order
        Highest order (angular frequency m) inside the network, where ``channels`` is a number.
    blocks
        Residual blocks of two convolutions each; every convolution extends the receptive field by one ring.
    num_radial, cutoff
        Radial functions of every convolution (see :class:`~meshconv.nn.GaugeConv`).
    width
        Units of the dense layer before the mean.
    dropout
        Share of pooled features dropped in training.
    layer
        Layer over neighbours: ``"conv"``, ``"attention"`` or ``"message"``, as in
        :class:`~meshconv.nn.ResidualBlock`.
    aggregation
        How layers sum over neighbours (see :class:`~meshconv.nn.GaugeConv`).
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: int | FieldType | str = 16,
        max_order: int = 2,
        *,
        blocks: int = 4,
        num_radial: int = 2,
        cutoff: float = 2.0,
        width: int = 64,
        dropout: float = 0.2,
        layer: LayerName = "conv",
        aggregation: Aggregation = "mean",
    ):
        super().__init__()
        self.in_type = FieldType(in_type)
        self.out_type = FieldType.from_multiplicities([num_classes])
        kind = FieldType.uniform(channels, max_order) if isinstance(channels, int) else FieldType(channels)
        hidden = self.in_type.like(kind.multiplicities, kind.odd_scalars)
        options = {"num_radial": num_radial, "cutoff": cutoff, "aggregation": aggregation}
        self.stem = surface_layer(layer, self.in_type, hidden, **options)
        self.blocks = nn.ModuleList(ResidualBlock(hidden, hidden, layer, **options) for _ in range(blocks))
        self.invariants = InvariantLayers(hidden, width)
        self.pool = GlobalPool(self.invariants.out_type, "area")
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """Logits ``[..., G, num_classes]`` for features ``[..., V, in_type.dim]``."""
        x = self.stem(x, graph)
        for block in self.blocks:
            x = block(x, graph)
        return self.head(self.pool(self.invariants(x), graph))
