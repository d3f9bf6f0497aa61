"""Networks for classification, segmentation and regression on meshes and the sphere."""

from meshconv.models.field_unet import FieldUNet
from meshconv.models.isotropic_unet import IsotropicUNet
from meshconv.models.planar_unet import PlanarUNet
from meshconv.models.pointwise import PixelwiseNetwork, PointwiseClassifier
from meshconv.models.shape_classifier import ShapeClassifier
from meshconv.models.shape_regressor import ShapeRegressor
from meshconv.models.shape_unet import ShapeUNet
from meshconv.models.sphere_unet import SphereUNet

__all__ = [
    "FieldUNet",
    "IsotropicUNet",
    "PixelwiseNetwork",
    "PlanarUNet",
    "PointwiseClassifier",
    "ShapeClassifier",
    "ShapeRegressor",
    "ShapeUNet",
    "SphereUNet",
]
