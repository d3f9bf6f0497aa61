"""Irreducible representations learned from pairs of transformed signals, and the field types that data ask for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
