"""Maps on the sphere in NetCDF and Zarr."""

from meshconv.extras import require

require(__name__, "climate")
