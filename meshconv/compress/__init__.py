"""Compression of trained networks: fields that are pruned, weights of few bits, and what both cost."""

import lazy_loader

from meshconv.extras import require

require(__name__, "train")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
