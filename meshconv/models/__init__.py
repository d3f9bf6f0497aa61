"""Networks that a user trains."""

from meshconv.models.pointwise import PixelwiseNetwork, PointwiseClassifier
from meshconv.models.shape_classifier import ShapeClassifier
from meshconv.models.sphere_unet import SphereUNet

__all__ = ["PixelwiseNetwork", "PointwiseClassifier", "ShapeClassifier", "SphereUNet"]
