"""Losses and metrics."""

from meshconv.extras import require

require(__name__, "train")
