"""U-Net for regression at the vertices of meshes: scalars, tangent vectors, tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.models.invariants import InvariantLayers
from meshconv.models.unet import UNet
from meshconv.nn import Linear
from meshconv.nn.block import LayerName
from meshconv.nn.convolution.neighbours import Aggregation


class FieldUNet(UNet):
    r"""Gauge-equivariant U-Net with outputs of any field type.

    The outputs of a rotated mesh are the rotated outputs. The body is that of :class:`~meshconv.models.ShapeUNet`.
    Dense layers on the invariants of each vertex give scalars, and factors :math:`s_c` of the fields of order (angular
    frequency) >= 1: :math:`f_{out} = \sum_c w_c \, s_c \, (A f)_c` with equivariant linear A, w.

    Parameters
    ----------
    in_type : FieldType or str
        Type of the input fields.
    out_type : FieldType or str
        Type of the outputs: ``"1x0 + 1x1"`` for a scalar and a tangent vector.
    channels, max_order, blocks, num_radial, cutoff, width, layers, layer, context
        As in :class:`~meshconv.models.ShapeUNet`.
    aggregation
        How layers sum over neighbours (see :class:`~meshconv.nn.GaugeConv`). With ``"quadrature"`` pooling
        and unpooling are of second order as well.

    Raises
    ------
    ValueError
        Outputs of a higher order than ``max_order``.

    Notes
    -----
    ``tests/test_regression.py`` checks equivariance, and predictions of rotated meshes.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        channels: Sequence[int] = (16, 32, 64),
        max_order: int = 2,
        *,
        blocks: int | Sequence[int] = 1,
        num_radial: int = 2,
        cutoff: float = 2.0,
        width: int = 128,
        layers: int = 2,
        layer: LayerName = "conv",
        context: int = 16,
        aggregation: Aggregation = "mean",
    ):
        options = {"num_radial": num_radial, "cutoff": cutoff, "aggregation": aggregation}
        super().__init__(in_type, channels, max_order, blocks, layer, options, narrow=True, context=context)
        self.out_type = FieldType(out_type)
        self.out_type.check_group(self.in_type)
        if self.out_type.max_order > max_order:
            raise ValueError(f"outputs {self.out_type} have order {self.out_type.max_order}, max_order is {max_order}")
        self.invariants = InvariantLayers(self.seen, width, layers)
        # Fields of the outputs' orders, and the invariant features before them.
        wanted = [channels[0] if m and n else 0 for m, n in enumerate(self.out_type.multiplicities)]
        self.mixed = self.seen.like([width, *wanted[1:]])
        self.directed = self.seen.like([0, *wanted[1:]]) if any(wanted) else None
        if self.directed is not None:
            self.direct = Linear(self.seen, self.directed)
            self.factors = nn.Linear(width, self.directed.num_fields)
        self.head = Linear(self.mixed, self.out_type)

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """Fields ``[..., V, out_type.dim]`` for fields ``[..., V, in_type.dim]`` on the finest level."""
        both = self.fields(x, surface)
        features = self.invariants(both)
        if self.directed is None:
            return self.head(features)
        fields = self.directed.scale_fields(self.direct(both), self.factors(features))
        return self.head(torch.cat([features, fields], dim=-1))
