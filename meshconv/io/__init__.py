"""Bytes to geometry and back: mesh files, climate fields, the cache, other libraries' meshes and graphs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
