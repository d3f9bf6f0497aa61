"""Maps on a part of the sphere, on their own points, and split by places."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
import xarray as xr

from meshconv import HealpixSphere, InputError
from meshconv.datasets import SphereMaps
from meshconv.datasets.maps.inputs import MapInputs
from meshconv.datasets.maps.surface import MapSurface
from meshconv.geometry import icosahedral_sphere
from meshconv.io import open_fields
from meshconv.train import Predictor, SegmentationTask

LAT, LON = np.arange(87.5, -90, -5.0), np.arange(0, 360, 5.0)
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
         "accelerator": "cpu"}  # fmt: skip


def ocean(xyz: np.ndarray) -> np.ndarray:
    return xyz[..., 0] < 0.5


def content(xyz: np.ndarray, dims: tuple[str, ...], steps: int = 6) -> dict[str, tuple]:
    """Temperature with land cut out, what is warm in it, a mask, and four numbered quarters of the globe."""
    rng = np.random.default_rng(0)
    field = 290 + 20 * xyz[..., 2] + rng.normal(size=(steps, *xyz.shape[:-1]))
    sst = np.where(ocean(xyz), field, np.nan)
    event = np.where(ocean(xyz), field > 290, -1).astype(np.int16)
    flags = {"flag_values": np.array([0, 1], np.int16), "flag_meanings": "cold warm", "_FillValue": np.int16(-1)}
    return {
        "sst": (("time", *dims), sst.astype(np.float32), {"units": "K"}),
        "event": (("time", *dims), event, flags),
        "land": (dims, 1.0 - ocean(xyz)),
        "quarter": (dims, (2 * (xyz[..., 0] > 0) + (xyz[..., 1] > 0)).astype(np.int32)),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("maps")
    la, lo = np.radians(np.meshgrid(LAT, LON, indexing="ij"))
    xyz = np.stack([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)], axis=-1)
    axes = {"lat": ("lat", LAT, {"units": "degrees_north"}), "lon": ("lon", LON, {"units": "degrees_east"})}
    time = {"time": np.arange("2020-01", "2020-07", dtype="datetime64[M]").astype("datetime64[ns]")}
    sets = {"regular": xr.Dataset(content(xyz, ("lat", "lon")), time | axes)}
    points = icosahedral_sphere(4)
    places = {
        "clat": ("cell", np.pi / 2 - points.theta, {"units": "radian", "standard_name": "latitude"}),
        "clon": ("cell", points.phi, {"units": "radian", "standard_name": "longitude"}),
    }
    sets["cells"] = xr.Dataset(content(points.xyz, ("cell",)), time | places)
    for name, data in sets.items():
        data.to_netcdf(folder / f"{name}.nc", engine="netcdf4")
    return {name: folder / f"{name}.nc" for name in sets}


def module(path: Path, **options) -> SphereMaps:
    given = {"label": "event", "scalars": ["sst"], "nside": 16, "num_levels": 2, "cache": False}
    return SphereMaps(str(path), **(given | options))


@pytest.mark.parametrize(
    "domain",
    [{"variable": "sst"}, {"variable": "land", "below": 0.5}, {"variable": "land", "below": 0.5, "lat": [90, 0]}],
)
def test_the_ocean_alone(files, domain):
    maps = module(files["regular"], domain=domain)
    sphere = HealpixSphere(16)
    batch = next(iter(maps.train_dataloader()))
    index = np.flatnonzero(maps.surface.domain)
    inside = ocean(sphere.xyz) & ((sphere.xyz[:, 2] >= 0) | ("lat" not in domain))
    assert np.mean(maps.surface.domain != inside) < 0.03
    assert batch.x.shape[1] == batch.target.shape[1] == batch.surface.num_vertices == len(index)
    np.testing.assert_allclose(batch.surface.levels[0].positions, sphere.xyz[index], atol=1e-6)
    whole = module(files["regular"])
    for wanted, found in zip(whole.sample(0, "train"), maps.sample(0, "train"), strict=True):
        if wanted.dtype == torch.float32:  # normalised by the statistics of the points that count, here and there
            one, two = (m.inputs.statistics[0] for m in (whole, maps))
            wanted, found = wanted * one["std"] + one["mean"], found * two["std"] + two["mean"]
            present = whole.sample(0, "train")[2][index]
            torch.testing.assert_close(wanted[index][present], found[present], rtol=1e-6, atol=1e-4)
        else:
            assert torch.equal(wanted[index], found)


def test_a_margin_is_seen_and_does_not_count(files):
    """Points within two steps, whose labels are neither learnt nor tested; nothing else changes."""
    box = {"lat": [-30, 30]}
    plain, wide = (module(files["regular"], domain=d) for d in (box, {**box, "margin": 2}))
    graph = HealpixSphere(16).gauge_graph()
    near = np.zeros(graph.num_vertices, dtype=bool)
    near[graph.src[torch.from_numpy(plain.surface.domain)[graph.dst]]] = True
    near[graph.src[torch.from_numpy(near)[graph.dst]]] = True
    assert plain.surface.core.all() and (wide.surface.domain == (near | plain.surface.domain)).all()
    core = torch.from_numpy(wide.surface.core)
    assert (wide.surface.domain.nonzero()[0][core] == plain.surface.domain.nonzero()[0]).all()
    for one, two in zip(plain.sample(0, "train"), wide.sample(0, "train"), strict=True):
        torch.testing.assert_close(one, two[core])
    assert not wide.sample(0, "train")[2][~core].any()


def test_boxes(files):
    fields = open_fields(files["regular"])
    sphere = HealpixSphere(16)
    lon = np.degrees(sphere.phi)

    def domain(box: dict) -> np.ndarray:
        return MapSurface(MapInputs(["sst"], [], 16, None, box), fields).domain

    np.testing.assert_array_equal(domain({"lat": [-30, 30]}), np.abs(90 - np.degrees(sphere.theta)) <= 30 + 1e-9)
    np.testing.assert_array_equal(domain({"lon": [100, 280]}), (lon >= 100) & (lon <= 280))
    np.testing.assert_array_equal(domain({"lon": [-40, 60]}), (lon >= 320) | (lon <= 60))
    assert domain({"lon": [-180, 180]}) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": {"lat": [0, 30], "margin": -1}}, r"with a margin: 3 or without"),
        ({"domain": {"margin": 3}}, r"write \{lat: \[south, north\], lon"),
        ({"domain": {"lat": 30}}, r"write \{lat: \[south, north\], lon"),
        ({"domain": {}}, "write {lat"),
        ({"domain": {"below": 3}}, "write {lat"),
        ({"domain": {"variable": "land"}}, r"regular\.nc: domain: land has a value everywhere; write above or below"),
        ({"domain": {"variable": "land", "above": 2}}, "holds no point"),
        ({"domain": {"variable": "mask"}}, "no variable mask"),
        ({"nside": "native"}, "crowd at the poles: give nside"),
        ({"radius": 0.1}, "radius 0.1 is not between 1 and 20"),
        ({"splits": {"variable": "quarter"}}, r"write \{variable: quarter, test: 0"),
        ({"splits": {"variable": "quarter", "test": 7}}, r"value 7 of quarter .* it has \[0, 1, 2, 3\]"),
        ({"splits": {"variable": "quarter", "test": [0, 1], "val": 1}}, "value 1 of quarter is named twice"),
        ({"splits": {"variable": "quarter", "test": [0, 1, 2, 3]}}, "no value of quarter is left for training"),
    ],
)
def test_bad_options(files, options, message):
    with pytest.raises(InputError, match=message) as error:
        module(files["regular"], **options)
    assert "\n" not in str(error.value)


def test_a_network_of_native_points_on_another_grid(files):
    """Where nside comes from a checkpoint no remedy can be to give it."""
    trained = MapInputs(["sst"], [], "native", [{"mean": 0.0, "std": 1.0}])
    with pytest.raises(InputError, match=r"network was trained with nside: native, .* bring the file onto such"):
        MapSurface(trained, open_fields(files["regular"]))


def test_splits_by_the_values_of_a_map(files):
    maps = module(files["cells"], nside="native", splits={"variable": "quarter", "test": 0, "val": [1]})
    quarter = open_fields(files["cells"]).values("quarter")
    for split, values in (("train", [2, 3]), ("val", [1]), ("test", [0])):
        batches = list(getattr(maps, f"{split}_dataloader")())
        assert sum(len(b.x) for b in batches) == 6
        for mask, target in ((b.mask, b.target) for b in batches):
            assert torch.equal(mask, (torch.from_numpy(np.isin(quarter, values)) & (target >= 0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("regular", {"domain": {"variable": "sst"}}),
        ("cells", {"nside": "native"}),
        ("cells", {"nside": "native", "domain": {"variable": "land", "below": 0.5}, "radius": 2.0}),
    ],
)
def test_train_and_predict(name, options, files, tmp_path):
    """Predictions come back on the whole grid of the file, missing outside of the domain."""
    lightning.seed_everything(0)
    maps = module(files[name], **options)
    task = SegmentationTask("SphereUNet", str(maps.in_type), maps.class_names, maps.spec,
                            {"channels": [4, 6], "width": 16}, learning_rate=2e-2)  # fmt: skip
    trainer = lightning.Trainer(max_epochs=10, **QUIET)
    trainer.fit(task, maps.train_dataloader())
    assert trainer.test(task, maps.test_dataloader(), verbose=False)[0]["test/accuracy"] > 0.85
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    (written,) = Predictor(tmp_path / "last.ckpt", cache=False).save([files[name]], tmp_path / "out")
    with xr.open_dataset(written) as found, xr.open_dataset(files[name]) as given:
        assert found["label"].shape == given["sst"].shape
        missing, land = np.isnan(found["label"].values), np.isnan(given["sst"].values)
        assert np.mean(missing != land) < (0.05 if name == "regular" else 1e-9)
        both = ~missing & ~land
        assert np.mean(found["label"].values[both] == given["event"].values[both]) > 0.85
        assert np.isnan(found["probability"].values[:, 0][missing]).all()


def test_native_points_are_not_regridded(files):
    maps = module(files["cells"], nside="native", num_levels=3)
    fields = open_fields(files["cells"])
    x, target, _ = maps.sample(2, "train")
    sst, statistics = fields.values("sst", at={"time": 2}), maps.inputs.statistics[0]
    known = np.isfinite(sst)
    np.testing.assert_allclose(x[known, 0], (sst[known] - statistics["mean"]) / statistics["std"], atol=1e-5)
    assert np.array_equal(target[known], fields.values("event", at={"time": 2})[known])
    sizes = [level.num_vertices for level in next(iter(maps.train_dataloader())).surface.levels]
    assert sizes[0] == 2562 and 3 < sizes[0] / sizes[1] < 5.5


def test_weights_are_computed_once(files, tmp_path, monkeypatch):
    module(files["regular"], cache=str(tmp_path), nside=8)
    entries = {p.name for p in tmp_path.iterdir()}
    assert len(entries) == 1  # input to sphere; the labels' weights are the same, both conservative

    def fail(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr("meshconv.geometry.sphere.regrid._overlaps", fail)
    module(files["regular"], cache=str(tmp_path), nside=8)


def test_a_fine_region_is_averaged_however_few_points_it_has(tmp_path):
    # 1600 cells of one degree on pixels of 3.7 degrees: fewer than the sphere has pixels, more than the region has.
    lat, lon = np.arange(-19.5, 20), np.arange(0.5, 40)
    checks = (-1.0) ** (np.arange(40)[:, None] + np.arange(40))
    xr.Dataset({"t": (("lat", "lon"), checks)}, {"lat": lat, "lon": lon}).to_netcdf(tmp_path / "a.nc")
    fields = open_fields(tmp_path / "a.nc")
    raw, known = MapSurface(MapInputs(["t"], [], 16), fields).raw({})
    assert known.all() and np.isfinite(raw).all() and 80 < len(raw) < 160
    assert np.median(np.abs(raw)) < 0.1  # a pixel at the rim may meet one cell alone
