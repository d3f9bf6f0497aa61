"""U-Net for the segmentation of maps on the sphere: a class per point."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.models.invariants import InvariantLayers
from meshconv.models.unet import UNet
from meshconv.models.upright import to_north
from meshconv.nn.block import LayerName
from meshconv.nn.convolution.neighbours import Aggregation


class SphereUNet(UNet):
    """Gauge-equivariant U-Net: residual blocks on every level, pooling and unpooling with transport, skip connections.

    Parameters
    ----------
    in_type : FieldType or str
        Type of the input fields.
    num_classes
    channels
        Fields of each order on every level, finest first; one level per entry.
    max_order
        Highest order (angular frequency m) inside the network.
    num_radial, cutoff
        Radial functions of every convolution (see :class:`~meshconv.nn.GaugeConv`).
    width, layers
        Units and number of the final dense layers; they also take the input fields of the point.
    dropout
        Share of the last features dropped in training.
    layer
        Layer over neighbours: ``"conv"``, ``"attention"`` or ``"message"``, as in
        :class:`~meshconv.nn.ResidualBlock`.
    north
        Add the unit vector to the north as an input field, which makes the latitude available: for tasks that depend on
        the axis of a planet. The network remains gauge-equivariant and is no longer rotation-equivariant.
    aggregation
        How layers sum over neighbours (see :class:`~meshconv.nn.GaugeConv`). With ``"quadrature"`` pooling
        and unpooling are of second order as well; it needs about 20 neighbours, as
        :class:`~meshconv.datasets.SphereMaps` and ``sphere.hierarchy(levels, 2.7 * sphere.spacing)`` have. ``"mean"``
        is for the eight around a pixel.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (16, 24),
        max_order: int = 1,
        *,
        num_radial: int = 2,
        cutoff: float = 2.0,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        layer: LayerName = "conv",
        north: bool = False,
        aggregation: Aggregation = "quadrature",
    ):
        in_type = FieldType(in_type)
        given = in_type + in_type.like([0, 1]) if north else in_type
        options = {"num_radial": num_radial, "cutoff": cutoff, "aggregation": aggregation}
        super().__init__(given, channels, max_order, layer=layer, options=options)
        self.in_type, self.north = in_type, north
        self.out_type = FieldType.from_multiplicities([num_classes])
        self.invariants = InvariantLayers(self.seen, width, layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """Logits ``[..., V, num_classes]`` for fields ``[..., V, in_type.dim]`` on the finest level."""
        if self.north:
            direction = to_north(surface.finest).to(x.dtype).expand(*x.shape[:-1], 2)
            x = concatenate_fields([self.in_type, self.in_type.like([0, 1])], [x, direction])
        return self.head(self.invariants(self.fields(x, surface)))
