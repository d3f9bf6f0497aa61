"""Lightning's data module, which all others extend; what prepares inputs does without Lightning."""

from meshconv.extras import require

require("a data module", "train")

from lightning import LightningDataModule  # noqa: E402

__all__ = ["LightningDataModule"]
