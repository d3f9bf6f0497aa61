"""Report of a test: a page with metrics, learning curves, and the worst cases."""

from meshconv.extras import require

require(__name__, "train")
