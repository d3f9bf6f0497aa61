"""Gauge-equivariant layers: torch modules with ``in_type`` and ``out_type``, called with features and the surface."""

from meshconv.nn.ambient import from_ambient, to_ambient
from meshconv.nn.block import ResidualBlock
from meshconv.nn.calculus.differential import Curl, Divergence, Gradient, Laplacian
from meshconv.nn.calculus.exterior import (
    CotangentLaplacian,
    FaceCurl,
    FaceDivergence,
    FaceGradient,
    HodgeParts,
    ToFaces,
    ToVertices,
)
from meshconv.nn.convolution.attention import GaugeAttention
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.convolution.depthwise import DepthwiseGaugeConv
from meshconv.nn.convolution.message import GaugeMessage
from meshconv.nn.dropout import FieldDropout
from meshconv.nn.linear import Linear
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
