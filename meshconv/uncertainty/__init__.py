"""Calibrated predictions: ensembles, dropout, Laplace approximation, temperature, conformal sets, measures."""

import lazy_loader

from meshconv.extras import require

require(__name__, "train")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
