"""A U-Net on a hierarchy of surfaces that gives each point a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.hierarchy import Hierarchy
from meshconv.models.invariants import InvariantLayers
from meshconv.nn import ClusterPool, ClusterUnpool, ResidualBlock
from meshconv.nn.block import LayerName, surface_layer


class SphereUNet(nn.Module):
    """Gauge-equivariant U-Net: residual blocks on every level, pooling and unpooling with transport, skips.

    Parameters
    ----------
    in_type : FieldType or str
        Type of the input fields.
    num_classes
    channels
        Fields of each order on every level, finest first; one level per entry.
    max_order
        Highest order inside the network.
    rings, cutoff
        Radial functions of every convolution (see :class:`~meshconv.nn.GaugeConv`).
    width, layers
        Units and number of the dense layers that end the network; they see the input fields of the point as well.
    dropout
        Share of the last features dropped in training.
    layer
        What looks at neighbours: ``"conv"``, ``"attention"`` or ``"message"``, as in
        :class:`~meshconv.nn.ResidualBlock`.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (16, 24),
        max_order: int = 1,
        rings: int = 2,
        cutoff: float = 2.0,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        layer: LayerName = "conv",
    ):
        super().__init__()
        if not channels:
            raise ValueError("channels needs one entry per level, got none")
        self.in_type = FieldType(in_type)
        self.out_type = FieldType.from_multiplicities([num_classes])
        options: dict[str, Any] = {"rings": rings, "cutoff": cutoff}
        types = [self.in_type.like([c] * (max_order + 1)) for c in channels]
        self.stem = surface_layer(layer, self.in_type, types[0], **options)
        self.down = nn.ModuleList(
            ResidualBlock(a, b, layer, **options) for a, b in zip([types[0], *types[:-1]], types, strict=True)
        )
        self.up = nn.ModuleList(
            ResidualBlock(a + b, a, layer, **options) for a, b in zip(types[:-1], types[1:], strict=True)
        )
        self.types = types
        self.pools = nn.ModuleList(ClusterPool(t) for t in types[:-1])
        self.unpools = nn.ModuleList(ClusterUnpool(t) for t in types[1:])
        self.invariants = InvariantLayers(types[0] + self.in_type, width, layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """Scores ``[..., V, num_classes]`` for fields ``[..., V, in_type.dim]`` on the finest level."""
        if len(surface.levels) != len(self.down):
            raise ValueError(f"the network has {len(self.down)} levels, the hierarchy {len(surface.levels)}")
        given = x
        x = self.stem(x, surface.levels[0])
        skips = []
        for k, block in enumerate(self.down):
            x = block(x, surface.levels[k])
            if k < len(self.pools):
                skips.append(x)
                x = self.pools[k](x, surface.pools[k])
        for k in reversed(range(len(self.up))):
            fine = self.unpools[k](x, surface.pools[k])
            both = concatenate_fields(self.types[k : k + 2], [skips[k], fine])
            x = self.up[k](both, surface.levels[k])
        return self.head(self.invariants(concatenate_fields([self.types[0], self.in_type], [x, given])))
