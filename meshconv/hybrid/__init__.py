"""Hybrid inference: a known model and a learned one in the same message passing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
