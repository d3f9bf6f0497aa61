from .checkpoints.load import (
    load_inference as load_inference,
    load_task as load_task,
)
from .checkpoints.pretrained import load_pretrained as load_pretrained
from .inference.base import Inference as Inference
from .inference.classes import ClassInference as ClassInference
from .inference.classification import ClassificationInference as ClassificationInference
from .inference.correspondence import CorrespondenceInference as CorrespondenceInference
from .inference.fields import FieldInference as FieldInference
from .inference.forecast import ForecastInference as ForecastInference
from .inference.joint import JointInference as JointInference
from .inference.reconstruction import ReconstructionInference as ReconstructionInference
from .inference.regression import RegressionInference as RegressionInference
from .inference.segmentation import SegmentationInference as SegmentationInference
from .inference.shape_regression import ShapeRegressionInference as ShapeRegressionInference
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
from .tasks.joint import JointTask as JointTask
from .tasks.reconstruction import ReconstructionTask as ReconstructionTask
from .tasks.regression import RegressionTask as RegressionTask
from .tasks.segmentation import SegmentationTask as SegmentationTask
from .tasks.shape_regression import ShapeRegressionTask as ShapeRegressionTask
