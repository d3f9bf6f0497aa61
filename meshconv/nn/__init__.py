"""Gauge-equivariant layers: torch modules with ``in_type`` and ``out_type``, called with features and the surface."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
