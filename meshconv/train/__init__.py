"""Tasks, which are Lightning modules, and their checkpoints; prediction, which does without Lightning."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
