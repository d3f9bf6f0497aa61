"""Remote Zarr stores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import xarray as xr

from meshconv.errors import InputError

# A path has one slash of two left.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.]+):/+(?=[^/])(.*)")


def remote_address(paths: str | Path | Sequence[str | Path]) -> str | None:
    """The address that a name is, such as ``https://place/maps.zarr``; None for files.

    Examples
    --------
    >>> remote_address("memory://maps"), remote_address(Path("https://a.org/b.zarr")), remote_address("a.nc")
    ('memory://maps', 'https://a.org/b.zarr', None)
    """
    if not isinstance(paths, str | Path):
        paths = list(paths)
        if len(paths) != 1:
            return None
        paths = paths[0]
    found = _ADDRESS.fullmatch(str(paths))
    return None if found is None else f"{found[1]}://{found[2]}"


def open_remote(address: str) -> xr.Dataset:
    """The content of a Zarr store, lazy.

    Raises
    ------
    InputError
        No fsspec, or nothing readable there.
    """
    if find_spec("fsspec") is None:
        raise InputError(f"{address}: reading from an address needs fsspec: pip install fsspec, and aiohttp for https")
    try:
        return xr.open_dataset(address, engine="zarr", chunks={})
    except Exception as error:  # of the store's own kind
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{address}: not readable as a Zarr store ({reason}); check the address") from error
