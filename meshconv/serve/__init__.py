"""Service: predictions over HTTP, and a page to try them."""

import lazy_loader

from meshconv.extras import require

require(__name__, "serve")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
