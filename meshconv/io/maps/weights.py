"""Cache of regridding weights between pairs of grids."""

from __future__ import annotations

from scipy.sparse import csr_array

from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.regrid import Method, Regridder
from meshconv.io.cache.cache import Cache, Computation, cache_key
from meshconv.io.cache.content import array_content

_WEIGHTS = Computation("regridding weights", 2, ("healpy", "scipy"))


def cached_regridder(
    source: SphereGrid, target: SphereGrid, method: Method = "bilinear", cache: Cache | None = None
) -> Regridder:
    """A :class:`~meshconv.geometry.sphere.regrid.Regridder` whose weights come from the cache if they are there.

    Parameters
    ----------
    source, target, method
        As of the regridder; the key is the coordinates of both grids and the method, whatever the files are called.
    cache : Cache, optional
        None: nothing is kept.

    Notes
    -----
    ``tests/test_regrid_weights.py`` checks that weights from the cache are the same bits.

    Examples
    --------
    >>> from meshconv.geometry import HealpixSphere, LatLonGrid
    >>> one = cached_regridder(LatLonGrid([60, 0, -60], range(0, 360, 30)), HealpixSphere(1))
    >>> one.weights.shape
    (12, 36)
    """
    key = cache_key(_WEIGHTS, f"{grid_content(source)} {grid_content(target)}", {"regridding": method})
    shape = (target.num_points, source.num_points)

    def build() -> dict:
        weights = Regridder(source, target, method).weights
        return {"data": weights.data, "indices": weights.indices, "indptr": weights.indptr}

    kept = (cache or Cache(None)).fetch(key, build)
    weights = csr_array((kept["data"], kept["indices"], kept["indptr"]), shape=shape)
    return Regridder(source, target, method, weights=weights)


def grid_content(grid: SphereGrid) -> str:
    """Name of a grid: equal for grids of one kind with the same cells."""
    return " ".join(part if isinstance(part, str) else array_content(part) for part in grid.content)
