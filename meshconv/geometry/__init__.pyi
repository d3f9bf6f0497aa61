from .features.curvature import (
    gauss_curvature as gauss_curvature,
    principal_curvatures as principal_curvatures,
    shape_operator as shape_operator,
)
from .features.functional_map import refine_map as refine_map
from .features.inputs import (
    SURFACE_FEATURES as SURFACE_FEATURES,
    surface_feature_type as surface_feature_type,
    surface_features as surface_features,
)
from .features.moments import (
    MESH_FEATURES as MESH_FEATURES,
    mesh_features as mesh_features,
)
from .features.smoothed import (
    SMOOTHED_FEATURES as SMOOTHED_FEATURES,
    smoothed_features as smoothed_features,
)
from .features.spectral import (
    Spectrum as Spectrum,
    heat_kernel_signature as heat_kernel_signature,
    laplacian_spectrum as laplacian_spectrum,
    wave_kernel_signature as wave_kernel_signature,
)
from .graph.complex import SurfaceComplex as SurfaceComplex
from .graph.gauge_graph import GaugeGraph as GaugeGraph
from .graph.hierarchy import (
    Hierarchy as Hierarchy,
    Pooling as Pooling,
    Rings as Rings,
)
from .graph.holonomy import (
    face_holonomies as face_holonomies,
    loop_holonomy as loop_holonomy,
)
from .graph.patches import geodesic_patches as geodesic_patches
from .mesh.distances import surface_distances as surface_distances
from .mesh.neighbourhood import Neighbourhood as Neighbourhood
from .mesh.surface import Surface as Surface
from .mesh.triangle_mesh import TriangleMesh as TriangleMesh
from .point_cloud import PointCloud as PointCloud
from .repair.augmentation import Augmentation as Augmentation
from .repair.counts import Defects as Defects
from .repair.origin import (
    Changes as Changes,
    Origin as Origin,
)
from .repair.simplification import simplify as simplify
from .sphere.grid import SphereGrid as SphereGrid
from .sphere.healpix import HealpixSphere as HealpixSphere
from .sphere.latlon import LatLonGrid as LatLonGrid
from .sphere.points import (
    PointSphere as PointSphere,
    icosahedral_sphere as icosahedral_sphere,
)
from .sphere.registration import SphericalRegistration as SphericalRegistration
from .sphere.regrid import Regridder as Regridder
