"""Surfaces and their gauge graphs: triangle meshes, points, grids on the sphere; features, repair, regridding."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
