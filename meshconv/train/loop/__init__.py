"""Around a training: schedule, precision, processes, and what a run keeps in its folder."""

from meshconv.extras import require

require(__name__, "train")
