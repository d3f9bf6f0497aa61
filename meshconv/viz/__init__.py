"""Pictures of meshes and spheres."""

import lazy_loader

from meshconv.extras import require

require(__name__, "viz")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
