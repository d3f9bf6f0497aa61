"""Training: Lightning modules, checkpoints, prediction and the demonstration."""

from meshconv.train.checkpoint import load_task
from meshconv.train.tasks import ClassificationTask, SegmentationTask

__all__ = ["ClassificationTask", "SegmentationTask", "load_task"]
