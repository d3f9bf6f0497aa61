"""Folders of meshes."""

from meshconv.extras import require

require(__name__, "train")
