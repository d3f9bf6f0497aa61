from .ambient import (
    from_ambient as from_ambient,
    to_ambient as to_ambient,
)
from .block import ResidualBlock as ResidualBlock
from .calculus.differential import (
    Curl as Curl,
    Divergence as Divergence,
    Gradient as Gradient,
    Laplacian as Laplacian,
)
from .calculus.exterior import (
    CotangentLaplacian as CotangentLaplacian,
    FaceCurl as FaceCurl,
    FaceDivergence as FaceDivergence,
    FaceGradient as FaceGradient,
    HodgeParts as HodgeParts,
    ToFaces as ToFaces,
    ToVertices as ToVertices,
)
from .convolution.attention import GaugeAttention as GaugeAttention
from .convolution.conv import GaugeConv as GaugeConv
from .convolution.depthwise import DepthwiseGaugeConv as DepthwiseGaugeConv
from .convolution.message import GaugeMessage as GaugeMessage
from .dropout import FieldDropout as FieldDropout
from .linear import Linear as Linear
from .nonlinearity import (
    FourierNonlinearity as FourierNonlinearity,
    GatedNonlinearity as GatedNonlinearity,
    NormNonlinearity as NormNonlinearity,
)
from .norm import (
    FieldBatchNorm as FieldBatchNorm,
    FieldInstanceNorm as FieldInstanceNorm,
    FieldLayerNorm as FieldLayerNorm,
)
from .pool import (
    AttentionPool as AttentionPool,
    ClusterInterpolation as ClusterInterpolation,
    ClusterMaxPool as ClusterMaxPool,
    ClusterPool as ClusterPool,
    ClusterUnpool as ClusterUnpool,
    GlobalPool as GlobalPool,
)
from .sequential import Sequential as Sequential
from .surface_module import SurfaceModule as SurfaceModule
from .tensor_product import TensorProductNonlinearity as TensorProductNonlinearity
