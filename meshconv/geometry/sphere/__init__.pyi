from .grid import SphereGrid as SphereGrid
from .healpix import HealpixSphere as HealpixSphere
from .latlon import LatLonGrid as LatLonGrid
from .points import (
    PointSphere as PointSphere,
    distinct_points as distinct_points,
    icosahedral_sphere as icosahedral_sphere,
)
from .regrid import Regridder as Regridder
