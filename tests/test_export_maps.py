"""Exported networks of maps: the same answers as the network's, on the points that they were exported for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from export_case import exported
from map_case import maps, save, weather
from planet import series, write_planet

from meshconv import InputError, Predictor, Preprocess
from meshconv.export import open_program
from meshconv.train import ForecastTask, SegmentationTask


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"radius": 2.7}, {"nside": "native"}], ids=["mean", "quadrature", "native"])
def test_maps(more, tmp_path):
    pytest.importorskip("xarray")
    given = weather() if "nside" not in more else healpix_weather()
    file = save(given, tmp_path / "a.nc")
    data = maps(file, **more)
    aggregation = "quadrature" if "radius" in more else "mean"
    options = {"channels": [2, 2], "width": 4, "north": True, "aggregation": aggregation}
    task = SegmentationTask("SphereUNet", str(data.in_type), data.class_names, data.spec, options)
    if "nside" in more:
        with pytest.raises(AssertionError):
            exported(task, tmp_path, "onnx")
    folder = exported(task, tmp_path, "torch", "onnx", like=file if more.get("nside") else None)
    expected = Predictor(tmp_path / "last.ckpt", cache=False)(file)
    prepared = Preprocess(folder, cache=False)(file)
    for name in ("model.pt2", "plain.pt2", "model.onnx"):
        found = Predictor(folder / name, cache=False)(file)
        results = prepared.run(open_program(folder / name))["probability"]
        wanted = expected["probability"].transpose("time", ..., "class").values
        np.testing.assert_allclose(found["probability"], expected["probability"], atol=1e-5)
        np.testing.assert_allclose(results, wanted, atol=1e-5)
    north = save(given.isel({d: slice(0, 6) for d in ("lat",) if d in given.sizes}), tmp_path / "b.nc")
    if "nside" not in more:
        with pytest.raises(InputError, match="export again with --like"):
            Predictor(folder / "model.onnx", cache=False)(north)
        with pytest.raises(InputError, match="export again with --like"):
            Preprocess(folder, cache=False)(north)


def healpix_weather():
    """The weather on HEALPix pixels."""
    import xarray as xr

    rng = np.random.default_rng(0)
    shape = (3, 192)
    data = {name: (("time", "cell"), rng.normal(size=shape)) for name in ("t", "u", "v")}
    data["event"] = (("time", "cell"), (rng.random(shape) > 0.5).astype(np.int16))
    crs = xr.DataArray(0, attrs={"grid_mapping_name": "healpix", "healpix_nside": 4, "healpix_order": "nest"})
    times = np.arange("2020-01", "2020-04", dtype="datetime64[M]").astype("datetime64[ns]")
    made = xr.Dataset(data, {"crs": crs, "time": times})
    for name in ("t", "u", "v", "event"):
        made[name].attrs["grid_mapping"] = "crs"
    return made


@pytest.mark.slow
def test_forecasts(tmp_path):
    pytest.importorskip("ducc0")
    files = write_planet(tmp_path / "planet", 3)
    data = series(files)
    options = {"channels": [4, 4], "max_order": 1, "context": 0, "width": 8}
    torch.manual_seed(0)
    task = ForecastTask("FieldUNet", str(data.in_type), data.field_names, data.spec, options)
    folder = exported(task, tmp_path, "onnx", like=files[0])
    for name, path in (("a", tmp_path / "last.ckpt"), ("b", folder / "model.onnx")):
        Predictor(path, cache=False).save([files[-1]], tmp_path / name, horizon=3)
    import xarray as xr

    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        assert a.sizes["time"] == 3
        for field in ("h", "u", "v"):
            np.testing.assert_allclose(b[field], a[field], rtol=1e-4, atol=1e-4 * float(abs(a[field]).max()))
    assert Preprocess(folder).output["columns"] == ["h", "u", "v"]
