"""Layers: torch modules with ``in_type`` and ``out_type``, called with features and the surface."""

from meshconv.nn.block import ResidualBlock
from meshconv.nn.conv import GaugeConv
from meshconv.nn.linear import Linear
from meshconv.nn.nonlinearity import FourierNonlinearity, GatedNonlinearity, NormNonlinearity
from meshconv.nn.norm import FieldBatchNorm
from meshconv.nn.pool import ClusterMaxPool, ClusterPool, ClusterUnpool, GlobalPool

__all__ = [
    "ClusterMaxPool",
    "ClusterPool",
    "ClusterUnpool",
    "FieldBatchNorm",
    "FourierNonlinearity",
    "GatedNonlinearity",
    "GaugeConv",
    "GlobalPool",
    "Linear",
    "NormNonlinearity",
    "ResidualBlock",
]
