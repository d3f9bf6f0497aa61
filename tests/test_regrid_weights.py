"""Regridding weights in the cache."""

from __future__ import annotations

import time

import numpy as np
import pytest

from meshconv import HealpixSphere
from meshconv.geometry import LatLonGrid, PointSphere, Regridder, icosahedral_sphere
from meshconv.io import Cache, cached_regridder
from meshconv.io.maps.weights import grid_content

GRIDS = [
    LatLonGrid(np.arange(-80, 81, 10.0), np.arange(0, 360, 10.0)),
    HealpixSphere(4),
    HealpixSphere(4, "ring"),
    icosahedral_sphere(2),
]


@pytest.mark.parametrize("method", ["bilinear", "nearest", "conservative"])
@pytest.mark.parametrize("source", GRIDS)
def test_weights_from_the_cache_are_the_same_bits(source, method, tmp_path, monkeypatch):
    cache, target = Cache(tmp_path), HealpixSphere(2)
    wanted = Regridder(source, target, method)
    first = cached_regridder(source, target, method, cache)
    monkeypatch.setattr("meshconv.io.maps.weights.Regridder.__init__", _only_with_weights(Regridder.__init__))
    second = cached_regridder(source, target, method, cache)
    assert cache.size[0] == 1
    values = np.random.default_rng(0).normal(size=source.num_points)
    values[:5] = np.nan
    for found in (first, second):
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(found.weights, part), getattr(wanted.weights, part))
        np.testing.assert_array_equal(found(values), wanted(values))


def _only_with_weights(init):
    def check(self, *args, weights=None, **options):
        assert weights is not None, "computed again"
        init(self, *args, weights=weights, **options)

    return check


def test_other_grids_have_other_entries(tmp_path):
    cache = Cache(tmp_path)
    moved = [*GRIDS, LatLonGrid(np.arange(-80, 81, 10.0), np.arange(1, 361, 10.0)), PointSphere(-GRIDS[3].xyz)]
    assert len({grid_content(grid) for grid in moved}) == len(moved)
    for grid in moved:
        cached_regridder(grid, HealpixSphere(2), "nearest", cache)
        cached_regridder(HealpixSphere(2), grid, "nearest", cache)
    assert cache.size[0] == 2 * len(moved)


def test_without_a_cache_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MESHCONV_CACHE", str(tmp_path))
    cached_regridder(GRIDS[0], GRIDS[1])
    assert not list(tmp_path.iterdir())


def test_weights_of_other_grids():
    weights = Regridder(GRIDS[0], GRIDS[1]).weights
    with pytest.raises(ValueError, match=r"weights have shape \(192, 612\), the grids \(48, 612\)"):
        Regridder(GRIDS[0], HealpixSphere(2), weights=weights)


@pytest.mark.slow
def test_a_quarter_degree_takes_seconds(tmp_path):
    """The grid of ERA5: a million cells."""
    source = LatLonGrid(np.linspace(90, -90, 721), np.arange(1440) / 4)
    start = time.process_time()
    regrid = cached_regridder(source, HealpixSphere(64), "conservative", Cache(tmp_path))
    assert time.process_time() - start < 60
    assert regrid(np.ones(source.num_points)) == pytest.approx(1)


@pytest.mark.parametrize("method", ["conservative", "nearest"])
def test_points_on_borders_go_where_they_go_whatever_rounds(method, monkeypatch):
    """Sines and cosines of other processors differ in the last digit."""
    grid, sphere = LatLonGrid(np.arange(80, -81, -10.0), np.arange(0, 360, 10.0)), HealpixSphere(4)
    expected = Regridder(grid, sphere, method).weights.toarray()
    exact, rng = HealpixSphere.points, np.random.default_rng(0)

    def rounded(self, pixels):
        points = exact(self, pixels)
        return points * (1 + rng.choice([-2e-16, 0, 2e-16], size=points.shape))

    monkeypatch.setattr(HealpixSphere, "points", rounded)
    monkeypatch.setattr(HealpixSphere, "xyz", property(lambda self: rounded(self, np.arange(self.num_points))))
    np.testing.assert_array_equal(Regridder(grid, sphere, method).weights.toarray(), expected)
