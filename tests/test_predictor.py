"""The predictor: what it returns is what the command writes, for meshes in memory, files, folders and data sets."""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import xarray as xr
from map_case import maps, save, weather
from segments import body, write_bodies

import meshconv
from meshconv import InputError, Predictor, TriangleMesh
from meshconv.cli import main
from meshconv.datasets import MeshCorrespondence, MeshFields, MeshFolder, MeshSegments, SphereMaps, write_shapes
from meshconv.datasets.protocol import ClassData, FieldData, PairData, PredictableData, TaskData
from meshconv.io import read_mesh, save_mesh
from meshconv.train import ClassificationTask, MapOptions, SegmentationTask
from meshconv.train.predict.meshes import Meshes


def checkpoint(task, path):
    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes") / "set", train=2, test=1, seed=1)[0].parents[2]


@pytest.fixture(scope="module")
def classifier(shapes, tmp_path_factory):
    data = MeshFolder(str(shapes), cache=False, workers=0)
    options = {"channels": 4, "blocks": 1, "width": 8}
    task = ClassificationTask("ShapeClassifier", str(data.in_type), data.class_names, data.spec, options)
    return checkpoint(task.eval(), tmp_path_factory.mktemp("run") / "last.ckpt")


def test_a_prediction_that_is_killed_leaves_whole_files(tmp_path):
    """kill -9 at moments that are drawn; files under their names are those of an uninterrupted prediction."""
    write_bodies(tmp_path / "bodies", count=6)
    data = MeshSegments(str(tmp_path / "bodies"), cache=False, workers=0, num_levels=2)
    task = SegmentationTask("ShapeUNet", str(data.in_type), data.class_names, data.spec, {"channels": [4, 4]}).eval()
    files, folder = sorted((tmp_path / "bodies").rglob("*.off")), tmp_path / "out"

    def save():
        torch.set_num_threads(1)
        Predictor(task, "cpu", cache=False, workers=0).save([str(path) for path in files], folder / "p")

    def found():
        return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}

    start = time.perf_counter()
    save()
    seconds, draw, whole = time.perf_counter() - start, random.Random(0), found()
    shutil.rmtree(folder)
    for _ in range(6):
        process = multiprocessing.get_context("fork").Process(target=save)
        process.start()
        time.sleep(draw.uniform(0.3, 1.0) * seconds)
        process.kill()
        process.join()
        assert found().items() <= whole.items()
    save()
    assert found() == whole


def test_classes_are_those_of_the_command_to_the_bit(classifier, shapes, tmp_path):
    files = sorted(shapes.rglob("test/*"))[:5]
    words = [str(classifier), *map(str, files), "--cache", "false", "--workers", "0"]
    assert main(["predict", *words, "--output", str(tmp_path / "out")]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    full = json.loads((tmp_path / "out.json").read_text())["predictions"]
    predict = Predictor(str(classifier), device="cpu", cache=False, workers=0)
    found = predict([str(path) for path in files])
    assert [r.name for r in found] == [row["file"] for row in rows] and found.skipped == []
    for result, row, entry in zip(found, rows, full, strict=True):
        assert (result.label, str(result.probability)) == (row["class"], row["probability"])
        assert dict(zip(result.class_names, result.probabilities.tolist(), strict=True)) == entry["probabilities"]
    alone = predict(files[0])
    assert alone.label == found[0].label
    np.testing.assert_allclose(alone.probabilities, found[0].probabilities, atol=1e-5)
    np.testing.assert_array_equal(predict(read_mesh(files[0])).probabilities, alone.probabilities)
    folder = predict(files[0].parent)
    assert len(folder) == 1 and folder[0].label == alone.label


def test_batches_hold_so_many_vertices_and_results_keep_their_order(classifier, shapes, monkeypatch):
    files = sorted(shapes.rglob("test/*"))
    predict = Predictor(classifier, cache=False, workers=0)
    whole = predict(files)
    sizes = [read_mesh(path).num_vertices for path in files]
    monkeypatch.setattr("meshconv.train.predict.meshes._BUDGET", max(sizes) + min(sizes))
    seen = []
    forward = predict.task.forward
    monkeypatch.setattr(predict.task, "forward", lambda batch: (seen.append(len(batch.x)), forward(batch))[1])
    parts = predict(files)
    assert len(seen) > 1 and max(seen) <= max(sizes) + min(sizes)
    assert [r.name for r in parts] == [r.name for r in whole] == [str(path) for path in files]
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)


def test_a_damaged_file_in_the_middle_stops_nothing(classifier, shapes, tmp_path):
    good = sorted(shapes.rglob("test/*"))[:2]
    (tmp_path / "bad.ply").write_bytes(b"ply\nnothing")
    files = [good[0], tmp_path / "bad.ply", good[1]]
    predict = Predictor(classifier, cache=False, workers=0)
    found = predict(files)
    assert [r.name for r in found] == [str(path) for path in good]
    assert len(found.skipped) == 1 and "bad.ply" in found.skipped[0]
    with pytest.raises(InputError, match=r"bad\.ply"):
        predict(files, strict=True)
    with pytest.raises(InputError, match=r"bad\.ply"):
        predict(tmp_path / "bad.ply")
    assert main(["predict", str(classifier), *map(str, files), "--output", str(tmp_path / "out")]) == 0
    assert len(json.loads((tmp_path / "out.json").read_text())["skipped"]) == 1


@pytest.mark.parametrize("element", ["vertices", "faces", "edges"])
def test_labels_are_for_the_elements_that_were_given(element, tmp_path):
    write_bodies(tmp_path / "set", element, 3)
    data = MeshSegments(str(tmp_path / "set"), element=element, cache=False, workers=0, num_levels=2)
    options = {"channels": [4, 4], "width": 8}
    task = SegmentationTask("ShapeUNet", str(data.in_type), data.class_names, data.spec, options).eval()
    predict = Predictor(task, cache=False, workers=0)
    mesh = body(7)
    # A vertex without a face and a face without an area: both have labels all the same.
    given = TriangleMesh(np.append(mesh.vertices, [[0, 0, 9.0]], axis=0), mesh.faces, "mine")
    save_mesh(given, tmp_path / "mine.ply")
    found = predict(given)
    counts = {"vertices": given.num_vertices, "faces": given.num_faces, "edges": 3 * mesh.num_faces // 2}
    assert found.name == "mine" and found.probabilities.shape == (counts[element], 2)
    assert set(found.labels.tolist()) <= {*data.class_values, -1}
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.classes, found.probabilities.argmax(1))
    predict.save(tmp_path / "mine.ply", tmp_path / "out")
    written = [int(line) for line in (tmp_path / "out_mine.txt").read_text().split()]
    assert written == predict(tmp_path / "mine.ply").labels.tolist()


def test_maps_are_those_of_the_command_to_the_bit_and_a_damaged_one_stops_nothing(tmp_path):
    data = maps(save(weather(), tmp_path / "a.nc"))
    options = {"channels": [2, 2], "width": 4}
    task = SegmentationTask("SphereUNet", str(data.in_type), data.class_names, data.spec, options).eval()
    path = checkpoint(task, tmp_path / "last.ckpt")
    shutil.copy(tmp_path / "a.nc", tmp_path / "c.nc")
    (tmp_path / "b.nc").write_bytes(b"no map")
    files = [str(tmp_path / f"{name}.nc") for name in "abc"]
    words = ["predict", str(path), *files, "--output", str(tmp_path / "out"), "--maps", "false", "--cache", "false"]
    assert main(words) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert len(report["skipped"]) == 1 and "b.nc" in report["skipped"][0]
    assert [row["file"] for row in report["predictions"]] == [files[0], files[2]]
    predict = Predictor(path, cache=False)
    found = predict(files)
    assert len(found) == 2 and len(found.skipped) == 1
    for result, name in zip(found, "ac", strict=True):
        with xr.open_dataset(tmp_path / f"out_{name}.nc", mask_and_scale=False) as written:
            np.testing.assert_array_equal(result["probability"], written["probability"])
            np.testing.assert_array_equal(result["label"], written["label"])
    with pytest.raises(InputError, match=r"b\.nc"):
        predict(files, strict=True)
    with xr.open_dataset(files[0]) as opened:
        np.testing.assert_array_equal(predict(opened)["label"], found[0]["label"])
    for options in (MapOptions(), MapOptions(dimension="time")):
        several = predict(str(tmp_path / "[ac].nc"), maps=options)
        assert [a["label"].equals(b["label"]) for a, b in zip(several, found, strict=True)] == [True, True]


def test_maps_from_wherever_they_are(tmp_path):
    """An open data set, a Zarr store, an address and joined files are the same input."""
    path = save(weather(), tmp_path / "a.nc")
    data = maps(path)
    task = SegmentationTask("PixelwiseNetwork", str(data.in_type), data.class_names, data.spec, {"width": 4}).eval()
    predict = Predictor(task, device="cpu", cache=False)
    wanted = predict(path)
    weather().to_zarr(tmp_path / "a.zarr", zarr_format=2)
    weather().to_zarr("memory://meshconv/predictor.zarr", zarr_format=2)
    parts = [save(weather()[names], tmp_path / f"{k}.nc") for k, names in enumerate((["t"], ["u", "v"]))]
    years = [save(weather().isel(time=some), tmp_path / f"{some.start}.nc") for some in (slice(3, 6), slice(2, 3))]
    for given, join in (
        (weather().chunk(time=4), False),
        (tmp_path / "a.zarr", False),
        ("memory://meshconv/predictor.zarr", False),
        (parts, True),
        ([path], True),
    ):
        found = predict(given, maps=MapOptions(join=join))
        np.testing.assert_array_equal(found["probability"], wanted["probability"])
    some = predict(years, maps=MapOptions(join=True))
    np.testing.assert_array_equal(some["probability"], wanted["probability"][2:])
    for given, name in (([weather()[["t"]], weather()[["u"]]], "dataset"), (["memory://a.zarr", path], "memory://a")):
        with pytest.raises(InputError, match=f"join: {name}.* is no file; open all with xarray"):
            predict(given, maps=MapOptions(join=True))


def test_several_steps_go_through_at_once(tmp_path, monkeypatch):
    data = maps(save(weather(), tmp_path / "a.nc"))
    task = SegmentationTask("PixelwiseNetwork", str(data.in_type), data.class_names, data.spec, {"width": 4}).eval()
    whole = Predictor(task, cache=False)(tmp_path / "a.nc")
    seen = []
    forward = task.forward
    monkeypatch.setattr(task, "forward", lambda batch: (seen.append(len(batch.x)), forward(batch))[1])
    points = data.surface.hierarchy(1).finest.num_vertices
    monkeypatch.setattr("meshconv.train.predict.maps._POINTS", 4 * points)
    parts = Predictor(task, cache=False)(tmp_path / "a.nc")
    assert seen == [4, 2]
    monkeypatch.setattr("meshconv.train.predict.maps._POINTS", points)
    single = Predictor(task, cache=False)(tmp_path / "a.nc")
    assert seen[2:] == [1] * 6
    for other in (parts, single):
        np.testing.assert_array_equal(other["probability"], whole["probability"])


def test_steps_are_counted_once_while_they_are_predicted(tmp_path, monkeypatch, caplog):
    data = maps(save(weather(), tmp_path / "a.nc"))
    task = SegmentationTask("PixelwiseNetwork", str(data.in_type), data.class_names, data.spec, {"width": 4}).eval()
    monkeypatch.setattr("meshconv.train.predict.maps._POINTS", 1)
    monkeypatch.setattr("meshconv.progress.SECONDS", 0.0)
    with caplog.at_level("INFO"):
        Predictor(task, cache=False).save(tmp_path / "a.nc", tmp_path / "out")
    said = [m for m in caplog.messages if m.startswith("predicting")]
    assert said == [f"predicting a.nc: {k} of 6 (step)" for k in range(1, 7)]


@pytest.mark.parametrize(("name", "message"), [("gpu", "cannot be used"), ("cuda:77", "cannot be used")])
def test_devices_that_are_not_there(classifier, name, message):
    with pytest.raises(InputError, match=message) as error:
        Predictor(classifier, device=name)
    assert "\n" not in str(error.value)


def test_inputs_of_another_kind_are_one_line(classifier, tmp_path):
    predict = Predictor(classifier, cache=False)
    for given, message in ((xr.Dataset(), "Dataset; give a path"), ([], "no inputs"), (3, "an input is a int")):
        with pytest.raises(InputError, match=message):
            predict(given)
    with pytest.raises(InputError, match="join is for maps"):
        predict(tmp_path, maps=MapOptions(join=True))


def test_every_data_module_has_what_tasks_ask(tmp_path, shapes):
    """At the class, so that nothing is computed."""
    asked = {MeshFolder: ClassData, MeshSegments: ClassData, SphereMaps: ClassData, MeshFields: FieldData,
             MeshCorrespondence: PairData}  # fmt: skip
    attributes = {"how", "class_names", "field_names", "out_type", "num_levels"}  # those that constructors set
    for cls, protocol in asked.items():
        for part in (TaskData, PredictableData, protocol):
            names = {name for name in dir(part) if not name.startswith("_")}
            assert {name for name in names if not hasattr(cls, name)} <= attributes, (cls, part)
    data = MeshFolder(str(shapes), cache=False)
    assert isinstance(data, TaskData) and isinstance(data, ClassData) and isinstance(data, PredictableData)
    assert not isinstance(data, FieldData)


@pytest.mark.slow
def test_importing_the_package_does_not_import_lightning():
    code = "import meshconv, sys; assert 'lightning' not in sys.modules; meshconv.Predictor; meshconv.fit"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"Predictor", "fit"} <= set(dir(meshconv))
    assert Meshes  # what tasks are handed is public
