"""Inputs of a prediction: what a user gives, as meshes or as maps, with a name each."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshconv.datasets.meshes.files import MESH_SUFFIXES, meshes_below
from meshconv.datasets.meshes.sample import MeshSource
from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

log = logging.getLogger(__name__)

# A path, an address, an open xarray.Dataset, or files that are joined.
MapSource = Any

_MAP_SUFFIXES = (".nc", ".nc4", ".zarr", ".fits", ".fit", ".grib", ".grb", ".grib1", ".grb1", ".grib2", ".grb2")


def is_one(inputs: Any, join: bool) -> bool:
    """Whether inputs are one, whose result alone is returned: no list, and no folder of meshes."""
    if join:
        return True
    if not isinstance(inputs, str | os.PathLike):
        return not isinstance(inputs, list | tuple)
    return Path(inputs).suffix.lower() == ".zarr" or not Path(inputs).is_dir()


def mesh_sources(inputs: Any, strict: bool) -> tuple[list[MeshSource], list[str]]:
    """Meshes and mesh files, each an object of its own with a name; and a line for each folder without any.

    Raises
    ------
    InputError
        There is no mesh, or with ``strict`` a folder without any.
    """
    sources: list[MeshSource] = []
    empty = []
    for given in _listed(inputs):
        found = _meshes_of(given)
        sources += found
        if not found:
            empty.append(f"{given}: no mesh files below it")
            log.warning("skipped: %s", empty[-1])
    if not sources or (strict and empty):
        raise InputError(f"{empty[0]}; meshes are {', '.join(sorted(MESH_SUFFIXES))}")
    return [_named(source, k) for k, source in enumerate(sources)], empty


def template_source(template: MeshSource | str) -> MeshSource:
    """The one mesh that others are matched to."""
    if not isinstance(template, TriangleMesh) and _existing(template).is_dir():
        raise InputError(f"template {template}: a folder; give one mesh")
    return _named(_meshes_of(template)[0], 0)


def map_sources(inputs: Any, join: bool) -> list[MapSource]:
    """Maps: paths, addresses, data sets, or with ``join`` the one list of files that are joined.

    Raises
    ------
    InputError
        Something is no map, is not there, or cannot be joined.
    """
    from meshconv.io.maps.files import find_files
    from meshconv.io.maps.remote import remote_address

    sources: list[Any] = []
    for given in _listed(inputs):
        if isinstance(given, TriangleMesh):
            raise InputError("the network was trained on maps, not on meshes; give maps")
        if is_dataset(given) or (isinstance(given, str | Path) and remote_address(given) is not None):
            sources.append(given)
            continue
        _check_path(given)
        for path in find_files(given):
            if path.suffix.lower() in MESH_SUFFIXES:
                raise InputError(f"{path}: the network was trained on maps, which this file is not; use another")
            sources.append(path)
    if not join or len(sources) == 1:
        return sources
    for source in sources:
        if not isinstance(source, Path):
            raise InputError(
                f"join: {map_name(source)} is no file; open all with xarray, combine them (xarray.merge, "
                "xarray.concat) and give the one data set"
            )
    return [sources]


def is_dataset(given: Any) -> bool:
    """Whether it is an ``xarray.Dataset``; a network of meshes does without xarray."""
    return type(given).__module__.split(".")[0] == "xarray"


def map_name(source: MapSource) -> str:
    """Path or address, of joined files the first."""
    if isinstance(source, list):
        source = source[0]
    return str(source.encoding.get("source", "dataset")) if is_dataset(source) else str(source)


def map_targets(sources: Sequence[MapSource], output: Path) -> list[Path]:
    """A NetCDF file for each input, none of which is another's or an input.

    Raises
    ------
    InputError
        A file would be overwritten.
    """
    one = output.with_suffix(".nc")
    stems = [Path(map_name(source)).stem for source in sources]
    targets = [one] if len(sources) == 1 else [one.with_name(f"{one.stem}_{stem}.nc") for stem in stems]
    for k, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if target in targets[:k]:
            other = map_name(sources[targets.index(target)])
            raise InputError(
                f"{map_name(source)}: its prediction would overwrite that of {other}, {target}; give each an --output "
                "of its own"
            )
        files = [p for p in (source if isinstance(source, list) else [source]) if isinstance(p, Path)]
        if target.resolve() in [path.resolve() for path in files]:
            raise InputError(f"{target}: the prediction would overwrite its input; give another --output")
    return targets


def _listed(inputs: Any) -> list[Any]:
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not given:
        raise InputError("no inputs are given")
    return given


def _meshes_of(given: Any) -> list[MeshSource]:
    if isinstance(given, TriangleMesh):
        return [given]
    path = _existing(given)
    if path.suffix.lower() in _MAP_SUFFIXES:
        raise InputError(f"{path}: the network was trained on meshes, which this file is not; use another")
    return list(meshes_below(path)) if path.is_dir() else [path]


def _named(source: MeshSource, k: int) -> MeshSource:
    """An object of its own for each input, with a name: by it results find their places."""
    if isinstance(source, TriangleMesh):
        return replace(source, name=source.name or f"mesh{k}")
    return Path(str(source))


def _existing(given: Any) -> Path:
    _check_path(given)
    path = Path(given)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return path


def _check_path(given: Any) -> None:
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"an input is a {type(given).__name__}; give a path, a TriangleMesh or an xarray.Dataset")
