"""The residual block that the models are made of."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.nn.conv import GaugeConv
from meshconv.nn.linear import Linear
from meshconv.nn.nonlinearity import GatedNonlinearity
from meshconv.nn.norm import FieldBatchNorm


class ResidualBlock(nn.Module):
    """Two gauge convolutions with batch norm and gated nonlinearity, beside an equivariant shortcut.

    The shortcut is the identity if the types are equal and the complete linear map otherwise; it carries no bias on
    orders >= 1. Everything is exactly equivariant.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    conv_options
        Passed to both :class:`GaugeConv`.
    """

    def __init__(self, in_type: FieldType | str, out_type: FieldType | str, **conv_options: Any):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.act1, self.act2 = GatedNonlinearity(self.out_type), GatedNonlinearity(self.out_type)
        gated = self.act1.in_type
        self.conv1 = GaugeConv(self.in_type, gated, bias=False, **conv_options)
        self.norm1 = FieldBatchNorm(gated)
        self.conv2 = GaugeConv(self.out_type, gated, bias=False, **conv_options)
        self.norm2 = FieldBatchNorm(gated)
        same = self.in_type == self.out_type
        self.shortcut = nn.Identity() if same else Linear(self.in_type, self.out_type)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        y = self.act1(self.norm1(self.conv1(x, graph)))
        y = self.act2(self.norm2(self.conv2(y, graph)))
        return self.shortcut(x) + y
