from .groups import MatrixGroup as MatrixGroup, rotation as rotation, tilt as tilt, translation as translation
from .kernels import double_coset_basis as double_coset_basis, kernel_basis as kernel_basis, stabiliser as stabiliser
from .representations import (
    Representation as Representation,
    quotient_representation as quotient_representation,
    regular_representation as regular_representation,
)
