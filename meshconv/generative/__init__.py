"""Generative models of fields on surfaces: a variational auto-encoder whose latent variables are fields."""

import lazy_loader

from meshconv.extras import require

require(__name__, "train")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
