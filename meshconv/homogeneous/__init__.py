"""Homogeneous spaces: kernels on double cosets, spin-weighted convolutions on the sphere, group convolutions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
