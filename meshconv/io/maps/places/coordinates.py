"""Latitudes and longitudes of selected variables."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from meshconv.errors import InputError
from meshconv.io.maps.declared import check_points
from meshconv.io.maps.places.healpix_netcdf import on_faces
from meshconv.io.maps.places.projections import NOT_TRUE, grid_mapping, is_cylindrical, project
from meshconv.io.maps.places.ugrid import face_centres, topologies

Pair = tuple[str, str]

# Usual names of latitude and longitude in lower case; centres of cells before their edges and corners, true places
# before nominal ones.
_PAIRS: tuple[Pair, ...] = tuple(
    tuple(pair.split())  # type: ignore[misc]
    for pair in (
        "lat lon", "latitude longitude", "lats lons", "latitudes longitudes", "nav_lat nav_lon",
        "nav_lat_grid_t nav_lon_grid_t", "gphit glamt", "lat_rho lon_rho", "tlat tlong", "tlat tlon", "lat_t lon_t",
        "geolat_t geolon_t", "geolat geolon", "grid_latt grid_lont", "xlat xlong", "xlat xlon", "xlat_m xlong_m",
        "clat clon", "latcell loncell", "grid_center_lat grid_center_lon", "grid_lat grid_lon", "plat plon", "yc xc",
        "lat2d lon2d", "lat_2d lon_2d", "clat clong", "gridlat gridlon", "g0_lat g0_lon",
        "ulat ulong", "ulat ulon", "lat_u lon_u", "lat_v lon_v", "lat_psi lon_psi", "xlat_u xlong_u", "xlat_v xlong_v",
        "xlat_c xlong_c", "geolat_u geolon_u", "geolat_v geolon_v", "geolat_c geolon_c", "gphiu glamu", "gphiv glamv",
        "gphif glamf", "nav_lat_grid_u nav_lon_grid_u", "nav_lat_grid_v nav_lon_grid_v", "vlat vlon", "elat elon",
        "latvertex lonvertex", "latedge lonedge", "latc lonc", "yg xg", "slat slon",
        "grid_yt grid_xt", "yt_ocean xt_ocean", "yu_ocean xu_ocean", "yh xh", "yq xq",
    )
)  # fmt: skip
_STANDARD = ("latitude", "longitude")
_UNITS = (
    {"degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"},
    {"degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"},
)
_TIMES = {"time", "times", "valid_time", "time_counter", "ocean_time", "time_instant"}
_STILL_DEG = 1e-5  # coordinates that move less along time do not move


def find_coordinates(dataset: xr.Dataset, asked: Sequence[str], path: Path) -> tuple[xr.Dataset, str, str]:
    """The data set with latitude and longitude of the first of the ``asked`` variables' grid, and their names.

    In this order: what CF's attribute ``coordinates`` or a UGRID mesh names, what has the standard names, the usual
    names or the units of latitude and longitude along the variable's dimensions, what follows from ``grid_mapping``.
    Without ``asked`` the grid is that of most variables. Coordinates that the file has at each time lose that dimension
    where they do not change.

    Raises
    ------
    InputError
        None found, or such as change with time.
    """
    meshes = topologies(dataset)
    alike = Counter(_key(dataset, name) for name in _maps(dataset))  # files of a thousand variables have few grids
    names = list(asked) or list({_key(dataset, name): name for name in reversed(_maps(dataset))}.values())[::-1]
    found: Counter[Pair] = Counter()
    for name in names:
        pair = _of_variable(dataset, name, meshes)
        if pair is not None:
            found[pair] += alike[_key(dataset, name)]
            if asked:
                break
    if found:
        pair = found.most_common(1)[0][0]
        along = {d for name in pair for d in _spatial(dataset, dataset.variables[name])}
        check_points(math.prod(dataset.sizes[d] for d in along), path)
        return _at_one_time(dataset, pair, path)
    for name in names:
        computed = face_centres(dataset, dataset[name].dims, meshes, path) or project(dataset, name, path)
        if computed is not None:
            return computed
    raise InputError(f"{path}: {_nothing_found(dataset, asked)}")


def _key(dataset: xr.Dataset, name: str) -> tuple:
    """What a variable's coordinates follow from: dimensions and attributes."""
    variable = dataset.variables[name]
    said = [a.get(k) for a in (variable.attrs, variable.encoding) for k in ("coordinates", "grid_mapping")]
    return variable.dims, *map(str, said)


def _nothing_found(dataset: xr.Dataset, asked: Sequence[str]) -> str:
    if any(on_faces(dataset[name]) for name in asked or _maps(dataset)):
        return (
            "faces of HEALPix pixels without their places, and no attribute says in which order a face has them; add "
            "latitude and longitude along the same three dimensions, or store one dimension of pixels in nested order"
        )
    have = ", ".join(str(n) for n in dataset.variables) or "nothing"
    of = f" along the dimensions {dataset[asked[0]].dims} of {asked[0]}" if asked else ""
    return (
        f"no latitude found{of} and no HEALPix attributes; the file has {have}. Name a coordinate lat or give it the "
        "standard_name 'latitude', and longitude alike; true ones, not those of a rotated or projected grid. If they "
        "are in another file, give both: [DATA.nc, GRID.nc]"
    )


def _maps(dataset: xr.Dataset) -> list[str]:
    """Variables that are neither places nor what belongs to them."""
    corners = {str(v.attrs.get(key)) for v in dataset.variables.values() for key in ("bounds", "climatology")}
    return [
        str(name)
        for name, v in dataset.data_vars.items()
        if v.ndim and name not in corners and not any(_rank(str(name), v.variable, kind) is not None for kind in (0, 1))
    ]


def _of_variable(dataset: xr.Dataset, name: str, meshes: Sequence[str]) -> Pair | None:
    variable = dataset[name]
    named = " ".join(str(a.get("coordinates", "")) for a in (variable.attrs, variable.encoding)).split()
    for mesh in meshes:
        named += [n for k, v in dataset[mesh].attrs.items() if str(k).endswith("_coordinates") for n in str(v).split()]
    for group in ([n for n in dict.fromkeys(named) if n in dataset.variables], [str(n) for n in dataset.variables]):
        pairs = sorted(_pairs(dataset, name, group))
        if pairs:
            return pairs[0][-2:]
    return None


def _pairs(dataset: xr.Dataset, name: str, group: Sequence[str]) -> Iterator[tuple[int, int, int, int, str, str]]:
    """Latitudes and longitudes among a group of variables that a variable's points may have, the best the least."""
    dims = set(dataset[name].dims)
    mapping = grid_mapping(dataset, name)
    places: tuple[list[tuple[int, str]], ...] = ([], [])
    for candidate in group:
        variable = dataset.variables[candidate]
        for kind in (0, 1):
            rank = _rank(candidate, variable, kind) if candidate != name else None
            if rank is not None and set(_spatial(dataset, variable)) <= dims:
                places[kind].append((rank, candidate))
    for (i, lat), (j, lon) in ((a, b) for a in places[0] for b in places[1]):
        if lat == lon:
            continue  # its name and its unit contradict each other
        one, two = (dataset.variables[n] for n in (lat, lon))
        crossed = one.ndim == two.ndim == 1 and one.dims != two.dims
        if not crossed and set(one.dims) != set(two.dims):
            continue
        if crossed and (mapping is not None and not is_cylindrical(dataset, mapping)):
            continue  # along the axes of a rotated or projected grid no true latitude is constant
        usual = _pair_rank(lat, lon)
        yield i + j, usual, -one.ndim, group.index(lat), lat, lon


def _pair_rank(lat: str, lon: str) -> int:
    pair = (_plain(lat), _plain(lon))
    return _PAIRS.index(pair) if pair in _PAIRS else len(_PAIRS)


def _plain(name: str) -> str:
    return re.sub(r"_\d+$", "", name.lower())


def _rank(name: str, variable: xr.Variable, kind: int) -> int | None:
    """How well a variable is marked as latitude (kind 0) or longitude (1): the less the better, None if not."""
    if not variable.ndim or variable.dtype.kind not in "fiu":
        return None
    standard = str(variable.attrs.get("standard_name", ""))
    if standard in NOT_TRUE:
        return None
    if standard == _STANDARD[kind]:
        return 0
    units = str(variable.attrs.get("units", ""))
    named = [_plain(name) in {pair[k] for pair in _PAIRS} for k in (kind, 1 - kind)]
    if named[0] and units not in ("m", "km") and units.lower() not in _UNITS[1 - kind]:
        return 1
    return 2 if units.lower() in _UNITS[kind] and not named[1] else None


def _spatial(dataset: xr.Dataset, variable: xr.Variable) -> tuple[str, ...]:
    """Dimensions of a coordinate without those of time, unless it has no other (a ship's track)."""
    dims = tuple(str(d) for d in variable.dims)
    return tuple(d for d in dims if not _is_time(dataset, d)) or dims


def _is_time(dataset: xr.Dataset, dim: str) -> bool:
    if dim.lower() in _TIMES:
        return True
    variable = dataset.variables.get(dim)
    return variable is not None and (variable.dtype.kind == "M" or variable.attrs.get("standard_name") == "time")


def _at_one_time(dataset: xr.Dataset, pair: Pair, path: Path) -> tuple[xr.Dataset, str, str]:
    """The coordinates without time, as WRF has them at each; refused where they move."""
    for name in pair:
        variable = dataset[name]
        for dim in (str(d) for d in variable.dims if d not in _spatial(dataset, variable.variable)):
            first = variable.isel({dim: 0}, drop=True)
            turned = np.abs((variable - first + 180) % 360 - 180)
            if variable.sizes[dim] > 1 and float(turned.max()) > _STILL_DEG:
                raise InputError(
                    f"{path}: {name} changes along {dim}; moving grids are not supported: regrid it, or keep one "
                    f"value of {dim}"
                )
            variable = first
        dataset = dataset.assign_coords({name: variable})
    return dataset, *pair
