"""Training: Lightning modules, checkpoints, prediction and the demonstration."""

from meshconv.train.base import Task
from meshconv.train.checkpoint import load_task
from meshconv.train.correspondence import CorrespondenceTask
from meshconv.train.regression import RegressionTask
from meshconv.train.tasks import ClassificationTask, SegmentationTask

__all__ = ["ClassificationTask", "CorrespondenceTask", "RegressionTask", "SegmentationTask", "Task", "load_task"]
