from .groups import MatrixGroup as MatrixGroup, rotation as rotation, tilt as tilt, translation as translation
from .kernels import double_coset_basis as double_coset_basis, kernel_basis as kernel_basis, stabiliser as stabiliser
from .networks import (
    MixedUNet as MixedUNet,
    SpinBlock as SpinBlock,
    SpinClassifier as SpinClassifier,
    SpinUNet as SpinUNet,
)
from .planar import GroupConv2d as GroupConv2d, PlanarType as PlanarType, planar_basis as planar_basis
from .representations import (
    Representation as Representation,
    quotient_representation as quotient_representation,
    regular_representation as regular_representation,
)
from .rotations import (
    from_alm as from_alm,
    rotate_coefficients as rotate_coefficients,
    to_alm as to_alm,
)
from .spin_conv import SpinConv as SpinConv
from .spin_layers import (
    PowerSpectrum as PowerSpectrum,
    SpinBatchNorm as SpinBatchNorm,
    SpinNonlinearity as SpinNonlinearity,
    SpinQuadratic as SpinQuadratic,
    SpinResample as SpinResample,
    power_spectrum as power_spectrum,
)
from .transform import SphereTransform as SphereTransform
