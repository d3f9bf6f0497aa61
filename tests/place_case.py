"""Maps whose values tell where they lie."""

from __future__ import annotations

import healpy
import numpy as np

from meshconv.io.maps.fields import SphereFields

LAT = {"units": "degrees_north", "standard_name": "latitude"}
LON = {"units": "degrees_east", "standard_name": "longitude"}


def unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    la, lo = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)], axis=-1)


def value(xyz: np.ndarray) -> np.ndarray:
    """A field that tells every place from every other."""
    return xyz @ np.array([1.0, 2.0, 4.0])


def t_at(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    return value(unit_vectors(lat, lon))


def check(fields: SphereFields, name: str = "t", tolerance: float = 1e-6) -> None:
    found, wanted = fields.values(name), value(fields.grid.xyz)
    known = np.isfinite(found)
    assert known.any()
    np.testing.assert_allclose(found[known], np.broadcast_to(wanted, found.shape)[known], atol=tolerance)


def patch(shape: tuple[int, int] = (21, 31)) -> tuple[np.ndarray, np.ndarray]:
    """A curvilinear region."""
    la, lo = np.meshgrid(np.linspace(30, 50, shape[0]), np.linspace(0, 30, shape[1]), indexing="ij")
    return la + 0.1 * np.sin(np.radians(9 * lo)), lo


def healpix_faces(nside: int) -> tuple[np.ndarray, np.ndarray]:
    f, y, x = np.meshgrid(np.arange(12), np.arange(nside), np.arange(nside), indexing="ij")
    lon, lat = healpy.pix2ang(nside, healpy.xyf2pix(nside, x, y, f, nest=True), nest=True, lonlat=True)
    return lat, lon
