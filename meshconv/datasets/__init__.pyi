from .batch import SurfaceBatch as SurfaceBatch
from .generated import (
    generate_shape as generate_shape,
    generate_shapes as generate_shapes,
    write_shapes as write_shapes,
)
from .maps.fields import MapFields as MapFields
from .maps.module import SphereMaps as SphereMaps
from .meshes.artery_walls import ArteryWalls as ArteryWalls
from .meshes.bids_surfaces import BidsSurfaces as BidsSurfaces
from .meshes.classes import MeshFolder as MeshFolder
from .meshes.collation import collate as collate
from .meshes.collection import (
    prepare_mesh as prepare_mesh,
    prepare_meshes as prepare_meshes,
)
from .meshes.correspondence import MeshCorrespondence as MeshCorrespondence
from .meshes.fields import MeshFields as MeshFields
from .meshes.fields_and_labels import MeshFieldsAndLabels as MeshFieldsAndLabels
from .meshes.module import MeshData as MeshData
from .meshes.numbers import MeshNumbers as MeshNumbers
from .meshes.preparation import (
    Preparation as Preparation,
)
from .meshes.sample import (
    MeshSample as MeshSample,
)
from .meshes.segments import MeshSegments as MeshSegments
from .meshes.shapenet_car import ShapeNetCar as ShapeNetCar
from .potential_flow.bodies import PotentialFlowBodies as PotentialFlowBodies
from .potential_flow.solver import (
    BodyFlow as BodyFlow,
    SurfaceFlow as SurfaceFlow,
)
from .shallow_water.runs import ShallowWaterRuns as ShallowWaterRuns
from .shallow_water.solver import (
    Rings as Rings,
    ShallowWater as ShallowWater,
)
from .vertex_budget import VertexBudget as VertexBudget
