"""Body of all U-Nets: levels, pooling and unpooling with transport, skip connections, and global context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.graph.hierarchy import Hierarchy, Rings, check_levels
from meshconv.models.context import ContextConditioning, GlobalContext
from meshconv.nn import (
    ClusterInterpolation,
    ClusterPool,
    ClusterUnpool,
    Linear,
    ResidualBlock,
    Sequential as SurfaceSequential,
    SurfaceModule,
)
from meshconv.nn.block import LayerName, surface_layer


class UNet(SurfaceModule):
    """U-Net body from fields to fields on the finest level, over all levels of a hierarchy.

    Parameters
    ----------
    in_type : FieldType or str
    channels
        Fields of each order on every level, finest first; one level per entry.
    max_order
        Highest order inside the network.
    blocks
        Residual blocks on every level on the way down, and as many on the way up; a number, or one for each level.
    layer, options
        Kind and options of all layers over neighbours (:func:`~meshconv.nn.block.surface_layer`).
    narrow
        Map coarse fields to the width of the finer level before unpooling, which is cheaper than after it.
    context
        Number of vectors, and a quarter of the number of invariants, of the global context; 0: none.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        channels: Sequence[int],
        max_order: int,
        blocks: int | Sequence[int] = 1,
        layer: LayerName = "conv",
        options: dict[str, Any] | None = None,
        narrow: bool = False,
        context: int = 0,
    ):
        super().__init__()
        if not channels:
            raise ValueError("channels needs one entry per level, got none")
        counts = [blocks] * len(channels) if isinstance(blocks, int) else list(blocks)
        if len(counts) != len(channels) or min(counts) < 1:
            raise ValueError(f"blocks {blocks} has to be a number from 1, or one for each of {len(channels)} levels")
        self.in_type = self.given = FieldType(in_type)
        options = options or {}
        types = [self.in_type.like([c] * (max_order + 1)) for c in channels]

        def level(start: FieldType, end: FieldType, count: int) -> nn.Module:
            first = ResidualBlock(start, end, layer, **options)
            more = [ResidualBlock(end, end, layer, **options) for _ in range(count - 1)]
            return SurfaceSequential(first, *more) if more else first

        self.seen = types[0] + self.given
        self.stem = surface_layer(layer, self.in_type, types[0], **options)
        self.down = nn.ModuleList(map(level, [types[0], *types[:-1]], types, counts))
        below = types[:-1] if narrow else types[1:]
        self.up = nn.ModuleList(map(level, map(FieldType.__add__, types, below), types, counts))
        self.types, self.below = types, below
        # Pooling and unpooling have the order of accuracy of the layers.
        self.smooth = options.get("aggregation") == "quadrature"
        self.pools = nn.ModuleList(ClusterPool(t, centred=self.smooth) for t in types[:-1])
        self.unpools = nn.ModuleList((ClusterInterpolation if self.smooth else ClusterUnpool)(t) for t in below)
        self.narrow = nn.ModuleList(map(Linear, types[1:], below)) if narrow else None
        size = (4 * context, context)
        self.context = GlobalContext(types[-1], *size) if context else None
        self.conditioning = nn.ModuleList(ContextConditioning(t, *size) for t in types) if context else None

    @property
    def num_levels(self) -> int:
        """Number of levels of the hierarchy."""
        return len(self.down)

    @property
    def reach(self) -> list[Rings] | None:
        """How far an output sees on each level; None: a global context sees everything."""
        if self.context is not None:
            return None
        layers = [2 * sum(isinstance(m, ResidualBlock) for m in level.modules()) for level in self.down]
        # Smooth unpooling takes derivatives on the coarser level.
        smooth = [0, *[int(self.smooth)] * (len(layers) - 1)]
        down, up = [layers[0] + 1, *layers[1:]], [*layers[:-1], 0]
        return [Rings(d, u + s) for d, u, s in zip(down, up, smooth, strict=True)]

    def fields(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """Learnt and input fields ``[..., V, seen.dim]`` for input fields ``[..., V, given.dim]``, finest level."""
        check_levels(surface, self.num_levels)
        given = x
        x = self.stem(x, surface.finest)
        skips = []
        for k, block in enumerate(self.down):
            x = block(x, surface.levels[k])
            if k < len(self.pools):
                skips.append(x)
                x = self.pools[k](x, surface.pools[k])
        context = None if self.context is None else self.context(x, surface.levels[-1])
        x = self._conditioned(x, surface, context, -1)
        for k in reversed(range(len(self.up))):
            if self.narrow is not None:
                x = self.narrow[k](x)
            fine = self.unpools[k](x, surface.pools[k], *([surface.levels[k + 1]] if self.smooth else []))
            x = self.up[k](concatenate_fields([self.types[k], self.below[k]], [skips[k], fine]), surface.levels[k])
            x = self._conditioned(x, surface, context, k)
        return concatenate_fields([self.types[0], self.given], [x, given])

    def _conditioned(self, x: Tensor, surface: Hierarchy, context: Any, level: int) -> Tensor:
        return x if self.conditioning is None else self.conditioning[level](x, surface.levels[level], context)
