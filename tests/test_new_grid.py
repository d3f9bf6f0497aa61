"""A grid that the package has not, defined here alone: everything takes it. And parts of grids."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.spatial import cKDTree
from surfaces import assert_same_surface

from meshconv import InputError
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.surface import MapSurface
from meshconv.geometry import HealpixSphere, Hierarchy, LatLonGrid, PointSphere, Regridder, SphereGrid
from meshconv.geometry.sphere.regrid import pixels_near
from meshconv.io.maps.fields import SphereFields
from meshconv.io.maps.weights import grid_content
from meshconv.train import SegmentationTask
from meshconv.train.predict.maps import Maps, write


class FibonacciSphere(SphereGrid):
    """Points along a spiral, equally many to each part of the z axis, cells of equal area (Swinbank, Purser 2006)."""

    def __init__(self, count: int):
        self.count = count

    @functools.cached_property
    def xyz(self) -> np.ndarray:
        k = np.arange(self.count)
        z, turn = 1 - (2 * k + 1) / self.count, np.pi * (3 - 5**0.5) * k
        return np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=-1)

    @property
    def areas(self) -> np.ndarray:
        return np.full(self.count, 4 * np.pi / self.count)

    @property
    def content(self) -> tuple[str, ...]:
        return "fibonacci", str(self.count)

    def locate(self, xyz: np.ndarray) -> np.ndarray:
        return cKDTree(self.xyz).query(xyz)[1]

    def interpolation(self, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance, index = cKDTree(self.xyz).query(xyz, k=3)
        weight = 1 / np.maximum(distance, 1e-9)
        return index, weight / weight.sum(axis=1, keepdims=True)


def smooth(xyz: np.ndarray) -> np.ndarray:
    return 1 + xyz[:, 0] - 0.5 * xyz[:, 1] * xyz[:, 2]


def test_regridding_of_a_new_grid():
    grid, sphere = FibonacciSphere(3000), HealpixSphere(8)
    for method in ("bilinear", "nearest", "conservative"):
        for source, target in ((grid, sphere), (sphere, grid)):
            found = Regridder(source, target, method)(smooth(source.xyz))
            np.testing.assert_allclose(found, smooth(target.xyz), atol=0.12)
    assert grid_content(grid) != grid_content(FibonacciSphere(3001))


def test_levels_of_a_new_grid():
    grid = FibonacciSphere(2000)
    graph = grid.gauge_graph()
    graph.validate()
    assert graph.num_edges == 6 * 2000 - 12  # triangles all around, by Euler
    levels = grid.hierarchy(3)
    levels.validate()
    assert all(3 < a.num_vertices / b.num_vertices < 6 for a, b in zip(levels.levels, levels.levels[1:], strict=False))
    assert float(levels.levels[2].areas.sum()) == pytest.approx(4 * np.pi)
    assert grid.surface_complex() is not None


def fibonacci_fields(path: Path, count: int = 1500) -> SphereFields:
    grid, rng = FibonacciSphere(count), np.random.default_rng(0)
    t = smooth(grid.xyz) + 0.1 * rng.normal(size=(4, count))
    data = xr.Dataset(
        {"t": (("time", "cell"), t, {"units": "K"})},
        {
            "time": np.arange(4),
            "lat": ("cell", 90 - np.degrees(grid.theta), {"units": "degrees_north"}),
            "lon": ("cell", np.degrees(grid.phi), {"units": "degrees_east"}),
        },
    )
    return SphereFields(data, grid, ("cell",), path, coordinates=("lat", "lon"))


@pytest.mark.parametrize("nside", ["native", 8])
def test_a_network_on_a_new_grid(nside, tmp_path):
    fields = fibonacci_fields(tmp_path / "a.nc")
    inputs = MapInputs(["t"], [], nside, [{"mean": 1.0, "std": 0.5}])
    surface = MapSurface(inputs, fields)
    raw, known = surface.raw({"time": 2})
    assert known.all() and np.isfinite(raw).all()
    assert surface.hierarchy(2).num_vertices == len(raw)
    spec = {
        "data": "meshconv.datasets.SphereMaps",
        "class_names": ["a", "b"],
        "class_values": [0, 1],
        "dimension": "time",
        "inputs": inputs.spec,
    }
    task = SegmentationTask("SphereUNet", "1x0", ["a", "b"], spec, {"channels": [2, 2], "width": 4}).eval()
    maps = Maps(fields, spec, 2, torch.device("cpu"))
    write(task.predict_maps(maps), maps, tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert found["label"].dims == ("time", "cell") and np.isfinite(found["label"]).all()
        np.testing.assert_array_equal(found["lat"], fields.dataset["lat"])


def tilted_region(count: int = 60, step: float = 0.5) -> PointSphere:
    """A rotated grid as of regional climate models."""
    a, b = np.meshgrid(*[np.radians(step * (np.arange(count) - count / 2))] * 2, indexing="ij")
    xyz = np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], -1).reshape(-1, 3)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    return PointSphere(xyz @ turn)


REGIONS = {
    "curvilinear": tilted_region,
    "box": lambda: LatLonGrid(np.arange(30, 60, 0.5), np.arange(-20, 20, 0.5)),
    "at a pole": lambda: LatLonGrid(np.arange(60.25, 90, 0.5), np.arange(0, 360, 2.0)),
    "over the date line": lambda: LatLonGrid(np.arange(-20, 20, 0.5), np.arange(160, 200, 0.5)),
    "pixels": lambda: HealpixSphere(64).part(np.arange(5000, 9000)),
}


@pytest.mark.parametrize("name", REGIONS)
def test_weights_of_a_region_are_those_of_a_search_of_the_whole_sphere(name, monkeypatch):
    region, target = REGIONS[name](), HealpixSphere(32)
    found = Regridder(region, target, "conservative").weights
    near = pixels_near(region, 16)
    assert len(near) < 12 * 16**2 / 2
    monkeypatch.setattr("meshconv.geometry.sphere.regrid.pixels_near", lambda _, nside: np.arange(12 * nside**2))
    wanted = Regridder(region, target, "conservative").weights
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, part), getattr(wanted, part))
    samples = HealpixSphere(128)
    inside = region.locate(samples.xyz) >= 0
    assert inside.any() and np.isin(np.flatnonzero(inside) // 64, near).all()


def same(one: Hierarchy, two: Hierarchy) -> None:
    for a, b in zip([*one.levels, *one.pools], [*two.levels, *two.pools], strict=True):
        assert_same_surface(a, b)


@pytest.mark.parametrize("radius", [None, 2.5])
@pytest.mark.parametrize("whole", [HealpixSphere(16), HealpixSphere(16, "ring"), FibonacciSphere(1000)])
def test_levels_of_a_part_are_the_subset_of_the_whole(whole, radius):
    radius = radius and radius * whole.spacing
    mask = (whole.xyz[:, 0] > 0.3) & (np.arange(whole.num_points) % 5 > 0)
    part = whole.part(np.flatnonzero(mask))
    wanted = whole.hierarchy(3, radius).subset(torch.from_numpy(mask))
    same(part.hierarchy(3, radius), wanted)
    same(Hierarchy([part.gauge_graph(radius)], []), Hierarchy(wanted.levels[:1], []))
    half = np.flatnonzero(part.xyz[:, 2] > 0)
    again = torch.from_numpy(mask & (whole.xyz[:, 2] > 0))
    same(part.hierarchy(2, radius, half), whole.hierarchy(2, radius).subset(again))


def test_fields_on_a_part():
    whole = HealpixSphere(16)
    index = np.flatnonzero(whole.xyz[:, 2] > 0.4)
    part, target = whole.part(index), HealpixSphere(32)
    np.testing.assert_array_equal(part.xyz, whole.xyz[index])
    np.testing.assert_array_equal(part.frames, whole.frames[index])
    there = part.locate(target.xyz)
    np.testing.assert_array_equal(np.where(there >= 0, index[there], -1), np.where(
        np.isin(whole.locate(target.xyz), index), whole.locate(target.xyz), -1))  # fmt: skip
    values = np.full(whole.num_points, np.nan)
    values[index] = smooth(part.xyz)
    for least in (0.5, 1e-6):
        np.testing.assert_allclose(
            Regridder(part, target)(values[index], least), Regridder(whole, target)(values, least), atol=1e-12
        )


def test_a_small_region_does_not_build_the_sphere(tmp_path, caplog):
    """5 km: of nside 1024 the whole sphere would be 12 million points."""
    grid = tilted_region(40, 0.05)
    data = xr.Dataset({"t": ("cell", smooth(grid.xyz))})
    fields = SphereFields(data, grid, ("cell",), tmp_path / "a.nc")
    surface = MapSurface(MapInputs(["t"], [], 1024), fields)
    assert surface.grid.num_points < 4000
    levels = surface.hierarchy(3)
    assert 800 < levels.num_vertices < 2500 and "GB" not in caplog.text
    levels.levels[0].validate()


def test_memory_is_estimated_and_said(tmp_path, monkeypatch, caplog):
    fields = fibonacci_fields(tmp_path / "a.nc", 1000)
    surface = MapSurface(MapInputs(["t"], [], 64), fields)
    monkeypatch.setattr("meshconv.datasets.maps.surface._MUCH_MEMORY", 1e6)
    surface.hierarchy(1)
    assert "levels of 49152 points of the network (nside 64) take about 0.1 GB; if that is too much" in caplog.text
    monkeypatch.setattr("os.sysconf", lambda name: 1000)
    with pytest.raises(
        InputError, match=r"a\.nc: levels of 49152 points .* this machine has 0\.0; give a smaller nside"
    ):
        surface.hierarchy(1)
