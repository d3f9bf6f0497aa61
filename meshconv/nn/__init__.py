"""Gauge-equivariant layers: torch modules with ``in_type`` and ``out_type``, called with features and the surface."""

from meshconv.nn.ambient import from_ambient, to_ambient
from meshconv.nn.attention import GaugeAttention
from meshconv.nn.block import ResidualBlock
from meshconv.nn.conv import GaugeConv
from meshconv.nn.depthwise import DepthwiseGaugeConv
from meshconv.nn.differential import Curl, Divergence, Gradient, Laplacian
from meshconv.nn.dropout import FieldDropout
from meshconv.nn.exterior import (
    CotangentLaplacian,
    FaceCurl,
    FaceDivergence,
    FaceGradient,
    HodgeParts,
    ToFaces,
    ToVertices,
)
from meshconv.nn.linear import Linear
from meshconv.nn.message import GaugeMessage
from meshconv.nn.nonlinearity import FourierNonlinearity, GatedNonlinearity, NormNonlinearity
from meshconv.nn.norm import FieldBatchNorm, FieldInstanceNorm, FieldLayerNorm
from meshconv.nn.pool import (
    AttentionPool,
    ClusterInterpolation,
    ClusterMaxPool,
    ClusterPool,
    ClusterUnpool,
    GlobalPool,
)
from meshconv.nn.sequential import Sequential
from meshconv.nn.surface_module import SurfaceModule
from meshconv.nn.tensor_product import TensorProductNonlinearity

__all__ = [
    "AttentionPool",
    "ClusterInterpolation",
    "ClusterMaxPool",
    "ClusterPool",
    "ClusterUnpool",
    "CotangentLaplacian",
    "Curl",
    "DepthwiseGaugeConv",
    "Divergence",
    "FaceCurl",
    "FaceDivergence",
    "FaceGradient",
    "FieldBatchNorm",
    "FieldDropout",
    "FieldInstanceNorm",
    "FieldLayerNorm",
    "FourierNonlinearity",
    "GatedNonlinearity",
    "GaugeAttention",
    "GaugeConv",
    "GaugeMessage",
    "GlobalPool",
    "Gradient",
    "HodgeParts",
    "Laplacian",
    "Linear",
    "NormNonlinearity",
    "ResidualBlock",
    "Sequential",
    "SurfaceModule",
    "TensorProductNonlinearity",
    "ToFaces",
    "ToVertices",
    "from_ambient",
    "to_ambient",
]
