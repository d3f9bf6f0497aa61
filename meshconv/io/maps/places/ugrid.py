"""UGRID meshes: centres of faces where a file has only their corners."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from meshconv.errors import InputError
from meshconv.io.maps.places.degrees import degrees


def topologies(dataset: xr.Dataset) -> list[str]:
    """Names of the variables that describe UGRID meshes."""
    return [str(n) for n, v in dataset.variables.items() if v.attrs.get("cf_role") == "mesh_topology"]


def face_centres(
    dataset: xr.Dataset, dims: Sequence[Hashable], meshes: Sequence[str], path: Path
) -> tuple[xr.Dataset, str, str] | None:
    """The data set with latitude and longitude of the faces that lie along one of ``dims``; their names.

    The centre of a face is the mean of its corners as unit vectors, back on the sphere. None where no mesh has faces
    there.

    Raises
    ------
    InputError
        Corners that do not exist.
    """
    for mesh in meshes:
        attributes = dataset[mesh].attrs
        corners, nodes = str(attributes.get("face_node_connectivity")), str(attributes.get("node_coordinates")).split()
        if corners not in dataset.variables or len(nodes) != 2 or not set(nodes) <= {str(n) for n in dataset.variables}:
            continue
        table = dataset[corners]
        face = str(attributes.get("face_dimension", table.dims[0]))
        if face not in dims or face not in table.dims:
            continue
        nodes.sort(key=lambda n: "lat" not in f"{dataset[n].attrs.get('standard_name', '')} {n}".lower())
        index = np.asarray(table.transpose(face, ...).values, dtype=np.float64)
        index -= float(table.attrs.get("start_index", 0))
        try:
            node_lat, node_lon = (np.radians(v) for v in degrees(*(dataset[n] for n in nodes)))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        lat, lon = _centres(index, node_lat, node_lon, path)
        names = (f"{mesh}_face_lat", f"{mesh}_face_lon")
        new = {
            names[0]: (face, lat, {"standard_name": "latitude", "units": "degrees_north"}),
            names[1]: (face, lon, {"standard_name": "longitude", "units": "degrees_east"}),
        }
        return dataset.assign_coords(new), *names
    return None


def _centres(index: np.ndarray, lat: np.ndarray, lon: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    corner = np.isfinite(index) & (index >= 0)  # shorter faces are filled up
    if (index[corner] >= len(lat)).any() or not corner.any(axis=1).all():
        raise InputError(f"{path}: faces have corners that are none of the {len(lat)} nodes; correct start_index")
    xyz = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    chosen = xyz[np.where(corner, index, 0).astype(np.int64)]
    x, y, z = (chosen * corner[..., None]).sum(axis=1).T
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
