"""Operators: compiled kernels and, beside each, its plain-torch reference."""

from meshconv.ops.backend import BACKEND, is_compiled
from meshconv.ops.gauge_conv import gauge_conv
from meshconv.ops.reference import gauge_conv_reference

__all__ = ["BACKEND", "gauge_conv", "gauge_conv_reference", "is_compiled"]
