"""Maps on the sphere in NetCDF and Zarr."""
