"""The command ``calibrate`` and ``predict --uncertainty``: meshes, segments, fields and maps, from file to file."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from map_case import maps, save, weather
from meshes import icosphere
from segments import body, write_bodies

from meshconv import InputError, Predictor
from meshconv.cli import main
from meshconv.datasets import MeshFields, MeshFolder, MeshSegments, SphereMaps, write_shapes
from meshconv.io import read_mesh, save_mesh
from meshconv.train import ClassificationTask, MapPictures, RegressionTask, SegmentationTask, load_task
from meshconv.uncertainty import (
    UncertainPredictor,
    calibrate,
    conformal_threshold,
    evaluate,
    load_calibrated,
    uncertain,
)

SMALL = {"channels": [4, 4], "width": 8}


def checkpoint(task, path: Path) -> Path:
    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, path)
    return path


def config(path: Path, data: str, **options) -> str:
    path.write_text(yaml.safe_dump({"name": "any", "data": {"class_path": data, "init_args": options}}))
    return str(path)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A set with a configuration, and two networks that were not trained."""
    root = tmp_path_factory.mktemp("classes")
    write_shapes(root / "set", train=1, test=2, seed=1)
    options = {"root": str(root / "set"), "cache": False, "workers": 0}
    written = config(root / "config.yaml", "meshconv.datasets.MeshFolder", **options)
    data, made = MeshFolder(**options), []
    for seed in range(2):
        torch.manual_seed(seed)
        of_network = {"channels": 4, "blocks": 1, "width": 8}
        task = ClassificationTask("ShapeClassifier", str(data.in_type), data.class_names, data.spec, of_network)
        made.append(checkpoint(task.eval(), root / f"{seed}.ckpt"))
    return root, written, made, data


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ensemble", "dropout", "laplace"])
def test_classes_of_meshes(classes, method, tmp_path, capsys):
    root, written, made, data = classes
    given = made if method == "ensemble" else [made[0], "--method", method, "--samples", "3"]
    out = tmp_path / "calibrated.ckpt"
    words = [*map(str, given), "--config", written, "--split", "test", "--level", "0.8", "--evaluate", "test"]
    assert main(["calibrate", *words, "--output", str(out), "--device", "cpu"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {name: values for name, *values in lines}
    assert float(shown["coverage"][-1]) >= 0.8  # of the calibration data themselves
    task, calibration = load_calibrated(out)
    assert calibration.count == 16 and calibration.level == 0.8 and float(task.network.temperature) != 1
    with torch.no_grad():
        batch = next(iter(data.test_dataloader()))
        p = task(batch).exp()
    scores = 1 - p[torch.arange(len(p)), batch.target]
    assert calibration.thresholds[0] == pytest.approx(conformal_threshold(scores, 0.8), abs=1e-5)

    files = sorted((root / "set").rglob("test/*"))[:3]
    assert main(["predict", str(out), *map(str, files), "--uncertainty", "--output", str(tmp_path / "out")]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    predict = UncertainPredictor(out, "cpu", cache=False, workers=0)
    for row, result in zip(rows, predict(files), strict=True):
        assert row["set"].split() == result.members and row["class"] in result.members
        p = result.probabilities
        assert float(row["entropy"]) == pytest.approx(-(p * np.log(p)).sum(), abs=1e-5)
    # Without the option it is the first checkpoint.
    plain, first = Predictor(out, "cpu", cache=False)(files[0]), Predictor(made[0], "cpu", cache=False)(files[0])
    np.testing.assert_array_equal(plain.probabilities, first.probabilities)
    assert not np.array_equal(plain.probabilities, predict(files[0]).probabilities)


@pytest.mark.parametrize("element", ["vertices", "faces", pytest.param("edges", marks=pytest.mark.slow)])
def test_segments_of_meshes(element, tmp_path):
    write_bodies(tmp_path / "set", element, 5)
    data = MeshSegments(str(tmp_path / "set"), element=element, cache=False, workers=0, num_levels=2, test_fraction=0.8)
    task = SegmentationTask("ShapeUNet", str(data.in_type), data.class_names, data.spec, SMALL).eval()
    task = uncertain([task])
    calibration = calibrate(task, data, "test", 0.7)
    assert calibration.count == 4
    whole = calibrate(task, data, "test", 0.7, share=0.95)
    measures = evaluate(task, data, "test", whole)["calibrated"]
    assert measures["covered_surfaces"] >= 0.75 and whole.thresholds[0] > 0
    predict = UncertainPredictor((task, calibration), "cpu", cache=False, workers=0)
    save_mesh(body(9), tmp_path / "mine.ply")
    result = predict(tmp_path / "mine.ply")
    assert result.sets.shape == result.probabilities.shape and result.entropy.shape == result.labels.shape
    np.testing.assert_array_equal(result.sets, (1 - result.probabilities <= calibration.thresholds[0])
                                  | (np.arange(2) == result.classes[:, None]))  # fmt: skip
    predict.save(tmp_path / "mine.ply", tmp_path / "out")
    np.testing.assert_allclose(np.load(tmp_path / "out_mine_entropy.npy"), result.entropy, atol=1e-6)
    np.testing.assert_array_equal(np.load(tmp_path / "out_mine_sets.npy"), result.sets)
    assert (tmp_path / "out_mine_uncertainty.png").stat().st_size > 5000
    (row,) = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert row["entropy"] == pytest.approx(result.entropy.mean()) and row["sets"].endswith("sets.npy")


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Spheres with a scalar and a vector field of known noise, and a network that predicts nothing."""
    root, rng = tmp_path_factory.mktemp("fields"), np.random.default_rng(0)
    for k in range(12):
        mesh = icosphere(1)
        vertices = mesh.vertices * rng.uniform(0.9, 1.1, (len(mesh.vertices), 1))
        folder = root / ("train" if k < 2 else "test")
        folder.mkdir(exist_ok=True)
        noise = rng.normal(size=len(vertices))
        save_mesh(replace(mesh, vertices=vertices, vertex_data={"p": 5 + 2 * noise}), folder / f"{k:02}.ply")
        np.save(folder / f"{k:02}_w.npy", rng.normal(size=vertices.shape))
    data = MeshFields(str(root), ["p", "w"], num_levels=2, cache=False, workers=0)
    torch.manual_seed(0)
    task = RegressionTask("FieldUNet", str(data.in_type), data.field_names, data.spec, SMALL | {"max_order": 1})
    task.normalise(*data.target_statistics)
    return root, data, task.eval()


def test_fields_of_meshes(fields, tmp_path):
    root, data, task = fields
    made = checkpoint(task, tmp_path / "last.ckpt")
    written = config(tmp_path / "config.yaml", "meshconv.datasets.MeshFields", root=str(root), fields=["p", "w"],
                     num_levels=2, cache=False, workers=0)  # fmt: skip
    out = tmp_path / "calibrated.ckpt"
    words = ["--method", "laplace", "--samples", "8", "--split", "test", "--evaluate", "test"]
    assert main(["calibrate", str(made), "--config", written, *words, "--output", str(out), "--device", "cpu"]) == 0
    _, calibration = load_calibrated(out)
    assert calibration.count == 10 and len(calibration.thresholds) == len(calibration.noise) == 2
    predict = UncertainPredictor(out, "cpu", cache=False, workers=0)
    held, vectors = [], []
    for path in sorted((root / "test").glob("*.ply")):
        found = predict(path).fields
        assert set(found) == {"p", "w", "p_deviation", "p_radius", "w_deviation", "w_radius"}
        mesh = read_mesh(path)
        held.append(np.abs(mesh.vertex_data["p"] - found["p"]) <= found["p_radius"] * (1 + 1e-5))
        assert found["w_deviation"].shape == (len(mesh.vertices),)
        vectors.append(np.linalg.norm(found["w"], axis=1) < 10)
    assert np.mean(held) >= 0.89  # the calibration surfaces themselves, by area
    # One radius in standard deviations for all points of a single network with constant noise.
    single = uncertain([load_task(made)])
    constant = calibrate(single, data, "test")
    measures = evaluate(single, data, "test", constant)["p"]
    assert measures["coverage"] >= 0.9 and measures["deviation"] == pytest.approx(measures["rmse"], rel=1e-4)
    predict.save(root / "test" / "02.ply", tmp_path / "out")
    assert np.load(tmp_path / "out_02_p_radius.npy").shape == (42,)


@pytest.mark.slow
def test_maps_with_sets_and_pictures(tmp_path):
    data = maps(save(weather(), tmp_path / "a.nc"), splits="test")
    task = SegmentationTask("SphereUNet", str(data.in_type), data.class_names, _spec(tmp_path), SMALL).eval()
    task = uncertain([task])
    calibration = calibrate(task, data, "test", 0.8)
    assert calibration.count == 6
    predict = UncertainPredictor((task, calibration), "cpu", cache=False)
    found = predict(tmp_path / "a.nc")
    p = found["probability"].values
    known = np.isfinite(p).all(1)
    np.testing.assert_allclose(found["entropy"].values[known], -(p * np.log(p)).sum(1)[known], atol=1e-5)
    inside = (1 - p <= calibration.thresholds[0]) | (p == p.max(1, keepdims=True))
    np.testing.assert_array_equal(found["in_set"].values.astype(bool), inside)
    np.testing.assert_array_equal(found["set_size"].values[known], inside.sum(1)[known])
    written = predict.save(tmp_path / "a.nc", tmp_path / "out", pictures=MapPictures([0]))
    assert {path.name for path in written} == {"out.nc", "out_0.png", "out_0_entropy.png", "out_0_set_size.png"}
    with xr.open_dataset(tmp_path / "out.nc") as again:
        np.testing.assert_allclose(again["entropy"], found["entropy"], atol=1e-6)
        assert again["in_set"].dims == found["probability"].dims


def _spec(folder: Path) -> dict:
    """Of a training on the same maps."""
    return maps(folder / "a.nc").spec


def test_fields_of_maps(tmp_path):
    dataset = weather()
    save(dataset, tmp_path / "a.nc")
    options = {"scalars": ["t"], "nside": 4, "num_levels": 2, "targets": {"scalars": ["t"], "vectors": [["u", "v"]]}}
    data = SphereMaps(str(tmp_path / "a.nc"), splits={"train": ["2020-01", "2020-02"], "test": ["2020-03", "2020-06"]},
                      **options)  # fmt: skip
    task = RegressionTask("FieldUNet", str(data.in_type), data.field_names, data.spec, SMALL | {"max_order": 1})
    task.normalise(*data.target_statistics)
    task = uncertain([task])
    calibration = calibrate(task, data, "test", 0.8)
    found = UncertainPredictor((task, calibration), "cpu", cache=False)(tmp_path / "a.nc")
    extra = {name for name in found.data_vars if name.endswith(("_deviation", "_radius"))}
    assert len(extra) == 4 and "t_radius" in extra
    assert found["t_radius"].attrs["units"] == "K" and found["t_radius"].dims == found["t"].dims
    inside = np.abs(found["t"] - dataset["t"].values) <= found["t_radius"] * 1.0001
    assert 0.5 < float(inside.mean()) <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "test", "--level", "0.95"], "at least 19 calibration surfaces, there are 16"),
        ([], "no split val"),
        (["--split", "test", "--level", "1.5"], "level 1.5 is not between 0 and 1"),
        (["--split", "test", "--samples", "3"], "samples 3: not for the method ensemble"),
        (["--split", "test", "--method", "dropout", "--dropout", "1"], "dropout 1.0 is not between"),
        (["--split", "test", "--share", "0.5", "--unit", "point"], "share 0.5 is of surfaces"),
        (["--split", "everything"], "split"),
    ],
)
def test_bad_input_is_one_line(classes, words, said, tmp_path, capsys):
    _, written, made, _ = classes
    assert main(["calibrate", str(made[0]), "--config", written, "--output", str(tmp_path / "c.ckpt"), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and len(error.splitlines()) == 1
    assert not (tmp_path / "c.ckpt").exists()


def test_what_is_no_calibrated_checkpoint_is_refused(classes, tmp_path):
    _, _, made, _ = classes
    with pytest.raises(InputError, match="not calibrated; meshconv calibrate"):
        UncertainPredictor(made[0])
    content = torch.load(made[0], weights_only=True)
    damaged = {"members": [], "temperature": 0.0, "calibration": {}}
    torch.save({**content, "uncertainty": damaged}, tmp_path / "bad.ckpt")
    with pytest.raises(InputError, match="its calibration is damaged"):
        UncertainPredictor(tmp_path / "bad.ckpt")
    (tmp_path / "no.yaml").write_text("name: run\n")
    assert main(["calibrate", str(made[0]), "--config", str(tmp_path / "no.yaml")]) == 2
    with pytest.raises(InputError, match="of one checkpoint, 2 are given"):
        uncertain([load_task(path) for path in made], "laplace")
