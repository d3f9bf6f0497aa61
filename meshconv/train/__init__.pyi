from .checkpoints.load import load_task as load_task
from .checkpoints.pretrained import load_pretrained as load_pretrained
from .predict.meshes import (
    Meshes as Meshes,
    MeshResult as MeshResult,
)
from .predict.predictor import (
    MapOptions as MapOptions,
    MapPictures as MapPictures,
    Predictions as Predictions,
    Predictor as Predictor,
)
from .tasks.base import Task as Task
from .tasks.classes import ClassTask as ClassTask
from .tasks.classification import ClassificationTask as ClassificationTask
from .tasks.correspondence import CorrespondenceTask as CorrespondenceTask
from .tasks.forecast import ForecastTask as ForecastTask
from .tasks.reconstruction import ReconstructionTask as ReconstructionTask
from .tasks.regression import RegressionTask as RegressionTask
from .tasks.segmentation import SegmentationTask as SegmentationTask
from .tasks.shape_regression import ShapeRegressionTask as ShapeRegressionTask
