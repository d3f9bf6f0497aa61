"""Files of maps that only declare their sizes: refused in one line, before anything of that size is read."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

from meshconv import InputError
from meshconv.io.maps.fields import open_fields


def declared(path, sizes, chunks, **coordinates):
    """A file of a few kilobytes whose variables have these sizes, none of them written."""
    with netCDF4.Dataset(path, "w") as content:
        for name, size in sizes.items():
            content.createDimension(name, size)
        for name, dims in ({"t": tuple(sizes)} | coordinates).items():
            pieces = [min(chunks, sizes[d]) for d in dims]
            variable = content.createVariable(name, "f8", dims, zlib=True, chunksizes=pieces)
            variable.units = {"lat": "degrees_north", "lon": "degrees_east"}.get(name, "1")
    return path


@pytest.mark.parametrize(
    ("sizes", "chunks", "coordinates", "says"),
    [
        ({"lat": 3 * 10**9, "lon": 4}, 10**6, {"lat": ("lat",), "lon": ("lon",)}, "coordinate lat declares 3000000000"),
        ({"n": 3 * 10**9}, 10**6, {"lat": ("n",), "lon": ("n",)}, "maps of 3000000000 points take 192 GB"),
        ({"y": 10**5, "x": 10**5}, 10**3, {"lat": ("y", "x"), "lon": ("y", "x")}, "maps of 10000000000 points take"),
        ({"y": 10**4, "x": 10**4}, 1, {"lat": ("y", "x"), "lon": ("y", "x")}, "is in 100000000 chunks"),
    ],
)
@pytest.mark.parametrize("store", ["netcdf", "zarr"])
def test_sizes_that_maps_only_declare(tmp_path, sizes, chunks, coordinates, says, store):
    path = tmp_path / "a.nc"
    if store == "netcdf":
        declared(path, sizes, chunks, **coordinates)
    else:
        path = tmp_path / "a.zarr"
        group = zarr.open_group(path, mode="w", zarr_format=2)
        for name, dims in ({"t": tuple(sizes)} | coordinates).items():
            array = group.create_array(name, shape=[sizes[d] for d in dims], chunks=[chunks] * len(dims), dtype="f8")
            array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
            array.attrs["units"] = {"lat": "degrees_north", "lon": "degrees_east"}.get(name, "1")
        zarr.consolidate_metadata(path, zarr_format=2)
    with pytest.raises(InputError, match=says) as error:
        open_fields(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("said", [{"refinement_level": 28}, {"healpix_nside": 2**40}, {"refinement_level": 10**6}])
def test_a_part_of_the_finest_spheres_takes_no_memory(tmp_path, said):
    """Of 12 4^28 pixels the file's are kept; finer spheres do not exist."""
    mapping = {"grid_mapping_name": "healpix", "healpix_order": "nest"} | said
    data = xr.Dataset({"t": ("cell", np.arange(9.0)), "crs": ((), 0, mapping)}, {"cell_ids": ("cell", np.arange(9))})
    data.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    if said == {"refinement_level": 28}:
        fields = open_fields(tmp_path / "a.nc")
        np.testing.assert_array_equal(fields.values("t"), np.arange(9.0))
    else:
        with pytest.raises(InputError, match="9 pixels, which is not 12 nside"):
            open_fields(tmp_path / "a.nc")
