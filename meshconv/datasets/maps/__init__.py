"""Maps on the sphere."""

from meshconv.extras import require

require(__name__, "climate")
