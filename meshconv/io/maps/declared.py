"""Sizes that files of maps declare, before anything of that size is read: a small file may declare any."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import netCDF4
import numpy as np
import zarr

from meshconv.errors import InputError

# Coordinates of a map, its values in float64 and what regridding needs, at least.
_BYTES_A_POINT = 64
# More than a compressed coordinate has: deflate packs at most 1032 to 1, others even numbers somewhat more.
_PACKED = 4096
_SLACK = 16 << 20
# A list of more takes memory and hours by itself.
_MOST_CHUNKS = 10**7


class Declared(NamedTuple):
    """A variable of a file, and bytes of what it may be read from."""

    name: str
    axis: bool
    shape: tuple[int, ...]
    itemsize: int
    chunks: tuple[int, ...] | None
    stored: int


def check_points(count: int, path: Path) -> None:
    """Raise an :class:`InputError` where maps of so many points do not fit into this machine."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    if count * _BYTES_A_POINT > there:
        raise InputError(
            f"{path}: maps of {count} points take {count * _BYTES_A_POINT / 1e9:.0f} GB at least, this machine has "
            f"{there / 1e9:.1f}; write a part or a coarser map of it to another file"
        )


def check_declared(path: Path) -> None:
    """Raise an :class:`InputError` where a file declares coordinates that it cannot hold, or endless chunks."""
    for found in _of_store(path) if path.is_dir() else _of_file(path):
        size = math.prod(found.shape)
        if found.axis and size * found.itemsize > _PACKED * found.stored + _SLACK:
            raise InputError(
                f"{path}: coordinate {found.name} declares {size} values, which the {found.stored} bytes of its file "
                "cannot hold; it is damaged or was never written: get it again"
            )
        chunks = math.prod(-(-n // c) for n, c in zip(found.shape, found.chunks or found.shape, strict=True) if c)
        if chunks > _MOST_CHUNKS:
            raise InputError(f"{path}: {found.name} is in {chunks} chunks; write it in larger ones")


def _of_file(path: Path) -> Iterator[Declared]:
    stored = path.stat().st_size
    with netCDF4.Dataset(path) as content:
        for name, variable in content.variables.items():
            said: Any = variable.chunking()
            shape, itemsize = tuple(map(int, variable.shape)), getattr(variable.dtype, "itemsize", 1)
            chunks = tuple(said) if isinstance(said, list) else None
            yield Declared(name, variable.dimensions == (name,), shape, itemsize, chunks, stored)


def _of_store(path: Path) -> Iterator[Declared]:
    for name, array in zarr.open_group(path, mode="r").arrays():
        dims: Any = array.metadata.to_dict().get("dimension_names") or array.attrs.get("_ARRAY_DIMENSIONS") or ()
        axis, itemsize = tuple(dims) == (name,), np.dtype(array.dtype).itemsize
        stored = sum(file.stat().st_size for file in (path / name).rglob("*") if file.is_file()) if axis else 0
        yield Declared(name, axis, tuple(array.shape), itemsize, tuple(array.chunks), stored)
