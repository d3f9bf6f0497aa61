"""Residual network for numbers of whole meshes."""

from __future__ import annotations

from torch import nn

from meshconv.fields import FieldType
from meshconv.models.shape_classifier import ShapeClassifier
from meshconv.nn.block import LayerName
from meshconv.nn.convolution.conv import Aggregation


class ShapeRegressor(ShapeClassifier):
    """Gauge-equivariant residual network on a surface at its own resolution, with invariant numbers.

    The body of a :class:`~meshconv.models.ShapeClassifier` and its mean over the surface, then a dense layer and the
    numbers, which have no bounds.

    Parameters
    ----------
    in_type : FieldType or str
    out_type : FieldType or str
        As many scalars as there are numbers: ``"2x0"``.
    channels, max_order, blocks, num_radial, cutoff, width, layer, aggregation
        As in :class:`~meshconv.models.ShapeClassifier`; nothing is dropped unless ``dropout`` says so.

    Raises
    ------
    ValueError
        Outputs that are not scalars.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        channels: int = 16,
        max_order: int = 2,
        *,
        blocks: int = 4,
        num_radial: int = 2,
        cutoff: float = 2.0,
        width: int = 64,
        dropout: float = 0.0,
        layer: LayerName = "conv",
        aggregation: Aggregation = "mean",
    ):
        wanted = FieldType(out_type)
        if wanted.scalars != wanted.dim:
            raise ValueError(f"outputs {wanted} have a direction, which a whole surface has none for; write 'Nx0'")
        super().__init__(
            in_type, wanted.dim, channels, max_order, blocks=blocks, num_radial=num_radial, cutoff=cutoff, width=width,
            dropout=dropout, layer=layer, aggregation=aggregation,
        )  # fmt: skip
        dense = nn.Linear(width, width)
        self.head = nn.Sequential(nn.Dropout(dropout), dense, nn.SiLU(), nn.Linear(width, wanted.dim))
