"""Operators: compiled kernels and, beside each, its plain-torch reference."""

# These register derivatives.
from meshconv.ops import gauge_autograd as _of_convolutions, segment_autograd as _of_reductions  # noqa: F401
from meshconv.ops.backend import BACKEND, has_kernel, is_compiled
from meshconv.ops.depthwise import depthwise_conv, depthwise_conv_reference
from meshconv.ops.fourier import fourier_act, fourier_act_reference
from meshconv.ops.gauge_conv import gauge_conv
from meshconv.ops.geodesics import geodesics
from meshconv.ops.norm_gate import field_moments, norm_gate
from meshconv.ops.quadrature import matched_weights
from meshconv.ops.references.gauge_conv import gauge_conv_reference
from meshconv.ops.references.norm_gate import norm_gate_reference
from meshconv.ops.segment import segment_softmax, transport_dot, transport_max, transport_sum

LAYER_OPERATORS = (
    "gauge_conv",
    "gauge_conv_weight",
    "gauge_conv_edge",
    "depthwise_conv",
    "depthwise_conv_weight",
    "depthwise_conv_edge",
    "transport_sum",
    "transport_dot",
    "transport_argmax",
    "transport_select",
    "segment_softmax",
    "segment_total",
    "fourier_act",
    "fourier_act_grad",
    "fourier_act_curvature",
)
"""Operators of layers, for tensors of any device."""

BLOCK_OPERATORS = (
    "gauge_conv_point",
    "field_moments",
    "norm_gate",
    "norm_gate_grad",
)
"""Operators of layers that are compiled for the CPU and composed of others elsewhere."""

GEOMETRY_OPERATORS = (
    "geodesics",
    "farthest_points",
    "geodesic_cells",
    "half_edges",
    "transposed_rows",
    "signed_volume",
    "face_geometry",
    "vertex_geometry",
    "one_ring",
    "aligned_frames",
    "levi_civita",
    "normal_aligning",
    "matched_weights",
)
"""Operators of geometry, which is computed on the CPU in float64."""

OPERATORS = LAYER_OPERATORS + BLOCK_OPERATORS + GEOMETRY_OPERATORS
"""Every operator of the extension, ``torch.ops.meshconv.<name>``."""

__all__ = [
    "BACKEND",
    "BLOCK_OPERATORS",
    "GEOMETRY_OPERATORS",
    "LAYER_OPERATORS",
    "OPERATORS",
    "depthwise_conv",
    "depthwise_conv_reference",
    "field_moments",
    "fourier_act",
    "fourier_act_reference",
    "gauge_conv",
    "gauge_conv_reference",
    "geodesics",
    "has_kernel",
    "is_compiled",
    "matched_weights",
    "norm_gate",
    "norm_gate_reference",
    "segment_softmax",
    "transport_dot",
    "transport_max",
    "transport_sum",
]
