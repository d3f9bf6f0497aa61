"""Coastlines for maps, where cartopy is installed."""

from __future__ import annotations

import functools
import logging
import socket
import warnings

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

#: Latitudes and longitudes in degrees, ``[n, 2]``.
Line = NDArray[np.float64]


@functools.cache
def coastlines(resolution: str = "110m") -> tuple[Line, ...]:
    """Natural Earth's coastlines through cartopy, which fetches them once; none, and said so, where that fails.

    Without cartopy there are none, silently: it is optional.
    """
    try:
        from cartopy.io import shapereader
    except ImportError:
        return ()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # a node without a network must not wait for minutes
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Downloading: ")  # a failure is reported below
            path = shapereader.natural_earth(resolution=resolution, category="physical", name="coastline")
            shapes = list(shapereader.Reader(path).geometries())
    except Exception as error:  # whatever the network, the file or a missing library of cartopy's raises
        log.warning("maps without coastlines: cartopy has no Natural Earth data and cannot fetch them (%s)", error)
        return ()
    finally:
        socket.setdefaulttimeout(before)
    lines = [part for shape in shapes for part in getattr(shape, "geoms", [shape])]
    return tuple(np.asarray(line.coords, dtype=np.float64)[:, 1::-1] for line in lines)
