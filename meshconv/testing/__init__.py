"""Equivariance errors of any module under changes of gauge, isometries, renumbering and batching.

Each measure is a function that returns a relative error, with the group acting in float64, and an ``assert_*`` form
with the tolerance that the module's precision deserves.
"""

from meshconv.testing.batches import assert_batch_consistent, batch_error
from meshconv.testing.gauge import assert_gauge_equivariant, gauge_equivariance_error
from meshconv.testing.surfaces import (
    assert_isometry_equivariant,
    assert_permutation_equivariant,
    isometry_error,
    permutation_error,
)

__all__ = [
    "assert_batch_consistent",
    "assert_gauge_equivariant",
    "assert_isometry_equivariant",
    "assert_permutation_equivariant",
    "batch_error",
    "gauge_equivariance_error",
    "isometry_error",
    "permutation_error",
]
