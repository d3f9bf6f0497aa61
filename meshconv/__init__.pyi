from . import (
    compress as compress,
    datasets as datasets,
    demo as demo,
    distributed as distributed,
    export as export,
    generative as generative,
    geometry as geometry,
    homogeneous as homogeneous,
    hybrid as hybrid,
    io as io,
    lie as lie,
    models as models,
    nn as nn,
    ops as ops,
    testing as testing,
    train as train,
    uncertainty as uncertainty,
    viz as viz,
)
from .errors import InputError as InputError
from .export import Preprocess as Preprocess
from .fields import FieldType as FieldType
from .geometry import (
    GaugeGraph as GaugeGraph,
    HealpixSphere as HealpixSphere,
    Hierarchy as Hierarchy,
    Neighbourhood as Neighbourhood,
    PointCloud as PointCloud,
    Pooling as Pooling,
    SurfaceComplex as SurfaceComplex,
    TriangleMesh as TriangleMesh,
)
from .io import load_mesh as load_mesh
from .train import (
    Predictor as Predictor,
    load_pretrained as load_pretrained,
)
from .train.training import fit as fit

__version__: str
