"""Convolutional networks on triangle meshes and on the sphere, equivariant under changes of gauge."""

from meshconv import nn
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.point_cloud import PointCloud
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.meshes.load import load_mesh

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
