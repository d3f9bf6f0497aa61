"""Demonstration: training on the data in this repository, and a report."""

import lazy_loader

from meshconv.extras import require

require(__name__, "train", "climate")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
