from .checkpoint import load_task as load_task
from .tasks.base import Task as Task
from .tasks.classes import (
    ClassificationTask as ClassificationTask,
    SegmentationTask as SegmentationTask,
)
from .tasks.correspondence import CorrespondenceTask as CorrespondenceTask
from .tasks.regression import RegressionTask as RegressionTask
