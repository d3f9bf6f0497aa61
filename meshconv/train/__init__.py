"""Training: Lightning modules, checkpoints, prediction and the demonstration."""

from meshconv.train.checkpoint import load_task
from meshconv.train.tasks.base import Task
from meshconv.train.tasks.classes import ClassificationTask, SegmentationTask
from meshconv.train.tasks.correspondence import CorrespondenceTask
from meshconv.train.tasks.regression import RegressionTask

__all__ = ["ClassificationTask", "CorrespondenceTask", "RegressionTask", "SegmentationTask", "Task", "load_task"]
