"""Maps on the sphere in NetCDF, Zarr, GRIB and FITS."""

from meshconv.extras import is_installed, require

require(__name__, "climate")
if is_installed("eccodes"):
    # Both have a library of PROJ of their own, and pyproj crashes unless it is the first. xarray imports the other with
    # the first file that it opens, of whatever kind.
    import pyproj  # noqa: F401
