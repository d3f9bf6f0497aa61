"""Convolutional networks on triangle meshes and on the sphere, equivariant under changes of gauge."""

from meshconv import nn
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.exterior import SurfaceComplex
from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.geometry.healpix import HealpixSphere
from meshconv.geometry.hierarchy import Hierarchy, Pooling
from meshconv.geometry.mesh import TriangleMesh
from meshconv.geometry.point_cloud import PointCloud
from meshconv.io.meshes import load_mesh

__version__ = "0.1.0"

__all__ = [
    "FieldType",
    "GaugeGraph",
    "HealpixSphere",
    "Hierarchy",
    "InputError",
    "PointCloud",
    "Pooling",
    "SurfaceComplex",
    "TriangleMesh",
    "load_mesh",
    "nn",
]
