"""Tasks, a file each."""

from meshconv.extras import require

require(__name__, "train")
