"""U-Net for the segmentation of meshes: a class per vertex, face or edge."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.models.invariants import InvariantLayers
from meshconv.models.unet import UNet
from meshconv.nn.block import LayerName
from meshconv.nn.convolution.neighbours import Aggregation


class ShapeUNet(UNet):
    """Gauge-equivariant U-Net on meshes with global context and invariant logits of points or elements.

    Residual blocks on every level of a hierarchy, pooling and unpooling with transport, skip connections. A few levels
    have a receptive field smaller than a body, so the features of every level are conditioned on learnt means over the
    surface, invariants and vectors in space (:mod:`meshconv.models.context`). Logits are independent of the gauge, of
    the pose of a mesh, of the numbering of vertices and of the other meshes in a batch (batch norm in training
    excepted).

    Parameters
    ----------
    in_type : FieldType or str
        Type of the input fields (:data:`~meshconv.geometry.features.moments.MESH_FEATURES` for meshes).
    num_classes
    channels
        Fields of each order on every level, finest first; one level per entry (``Preparation.num_levels``).
    max_order
        Highest order (angular frequency m) inside the network.
    blocks
        Residual blocks of two convolutions on every level, down and up again; a number, or one for each level.
    num_radial, cutoff
        Radial functions of every convolution (see :class:`~meshconv.nn.GaugeConv`).
    width, layers
        Units and number of the final dense layers; they also take the input fields of the point.
    dropout
        Share of the last features dropped in training.
    layer
        Layer over neighbours: ``"conv"``, ``"attention"`` or ``"message"``, as in
        :class:`~meshconv.nn.ResidualBlock`.
    context
        Number of vectors, and a quarter of the number of invariants, of the global context; 0: none.
    aggregation
        How layers sum over neighbours (see :class:`~meshconv.nn.GaugeConv`). With ``"quadrature"`` pooling
        and unpooling are of second order as well.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (16, 32, 64, 64),
        max_order: int = 2,
        *,
        blocks: int | Sequence[int] = 1,
        num_radial: int = 2,
        cutoff: float = 2.0,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        layer: LayerName = "conv",
        context: int = 16,
        aggregation: Aggregation = "mean",
    ):
        options = {"num_radial": num_radial, "cutoff": cutoff, "aggregation": aggregation}
        super().__init__(in_type, channels, max_order, blocks, layer, options, narrow=True, context=context)
        self.out_type = FieldType.from_multiplicities([num_classes])
        self.invariants = InvariantLayers(self.seen, width, layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(
        self, x: Tensor, surface: Hierarchy, elements: Tensor | None = None, shares: Tensor | None = None
    ) -> Tensor:
        """Logits of every point, or of elements.

        Parameters
        ----------
        x : Tensor [..., V, in_type.dim]
            Fields on the finest level.
        surface : Hierarchy
        elements : int64 Tensor [n, k], optional
            Points of each face or edge; the last layer takes the mean of their invariant features.
        shares : Tensor [n, k], optional
            Weights of that mean, which add up to 1; by default all points weigh the same.

        Returns
        -------
        Tensor [..., V, num_classes] or [..., n, num_classes]
        """
        features = self.invariants(self.fields(x, surface))
        if elements is not None:
            chosen = features[..., elements, :]
            features = chosen.mean(-2) if shares is None else (chosen * shares[..., None].to(chosen.dtype)).sum(-2)
        return self.head(features)
