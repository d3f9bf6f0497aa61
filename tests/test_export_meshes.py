"""Exported networks of meshes: the same answers as the network's on meshes that were not traced, whoever runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from export_case import exported
from segments import body, write_bodies

from meshconv import InputError, Predictor, Preprocess, TriangleMesh
from meshconv.datasets import MeshFields, MeshFolder, MeshSegments, write_shapes
from meshconv.export import open_program
from meshconv.io import save_mesh
from meshconv.train import ClassificationTask, CorrespondenceTask, RegressionTask, SegmentationTask


def alone(code: str, *hidden: str) -> str:
    """What code prints in a process without some packages."""
    hide = f"import sys\nsys.modules.update(dict.fromkeys({hidden}))\n"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", hide + code], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A classifier's exported files, its checkpoint, and meshes of other sizes than the traced one."""
    folder = tmp_path_factory.mktemp("classes")
    shapes = write_shapes(folder / "set", train=2, test=1, seed=1)[0].parents[2]
    data = MeshFolder(str(shapes), cache=False, workers=0)
    options = {"channels": 4, "blocks": 1, "width": 8}
    torch.manual_seed(0)
    task = ClassificationTask("ShapeClassifier", str(data.in_type), data.class_names, data.spec, options)
    return exported(task, folder, "torch", "onnx"), folder / "last.ckpt", sorted(shapes.rglob("test/*"))[:4]


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
def test_prediction_takes_exported_files(classes):
    folder, path, files = classes
    expected = Predictor(path, cache=False, workers=0)(files)
    for name in ("model.pt2", "plain.pt2", "model.onnx"):
        found = Predictor(folder / name, cache=False, workers=0)(files)
        for a, b in zip(found, expected, strict=True):
            assert (a.name, a.label) == (b.name, b.label)
            np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
    with pytest.raises(InputError, match=r"exported programs run on the CPU|cannot be used"):
        Predictor(folder / "model.onnx", device="cuda")


@pytest.mark.slow
def test_preprocessing_needs_no_lightning_and_plain_programs_torch_alone(classes, tmp_path):
    folder, path, files = classes
    code = f"""
import numpy as np, meshconv
preprocess = meshconv.Preprocess({str(folder)!r}, cache=False)
prepared = preprocess({str(files[0])!r})
np.savez({str(tmp_path / "inputs.npz")!r}, **prepared.arrays[0])
import onnxruntime
(logits,) = onnxruntime.InferenceSession({str(folder / "model.onnx")!r}).run(None, prepared.arrays[0])
results = prepared.results(logits)
print(preprocess.output["rows"], results["label"][0], results["probability"].max())
"""
    rows, label, probability = alone(code, "lightning", "torchmetrics", "jsonargparse", "xarray").split()
    expected = Predictor(path, cache=False, workers=0)(files[0])
    assert (rows, label) == ("surfaces", expected.label) and float(probability) == pytest.approx(expected.probability)
    code = f"""
import numpy, torch
program = torch.export.load({str(folder / "plain.pt2")!r}).module()
stored = numpy.load({str(tmp_path / "inputs.npz")!r})
logits = program({{name: torch.from_numpy(stored[name]) for name in stored}})
print(float(logits.softmax(-1).max()), "meshconv" in sys.modules)
"""
    probability, loaded = alone("import sys\n" + code, "lightning", "onnx").split()
    assert loaded == "False"
    assert float(probability) == pytest.approx(expected.probability, abs=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
def test_networks_are_exported_without_the_compiled_library(classes, tmp_path):
    folder, path, files = classes
    code = f"""
from meshconv import Predictor
from meshconv.cli import main
assert main(["export", {str(path)!r}, "--to", "torch", "--output", {str(tmp_path)!r}]) == 0
try:
    Predictor({str(folder / "model.pt2")!r})
except Exception as error:
    print(error)
"""
    assert "compiled operators, which are not installed; use plain.pt2" in alone(code, "meshconv._C")
    expected = Predictor(path, cache=False, workers=0)(files[0])
    for name in ("model.pt2", "plain.pt2"):
        found = Predictor(tmp_path / name, cache=False, workers=0)(files[0])
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


@pytest.mark.slow
def test_descriptions_name_inputs_and_outputs(classes):
    folder, path, files = classes
    preprocess = Preprocess(folder / "model.onnx", cache=False)
    prepared = preprocess(str(files[1]))
    assert [entry.name for entry in preprocess.inputs] == list(prepared.steps[0])
    sizes = {}
    for entry in preprocess.inputs:
        tensor = prepared.steps[0][entry.name]
        assert tensor.dtype == entry.like and tensor.ndim == len(entry.shape)
        for size, name in zip(tensor.shape, entry.shape, strict=True):
            if isinstance(name, int):
                assert size == name
            else:
                axis = name.removesuffix(" + 1")
                assert sizes.setdefault(axis, size - (axis != name)) == size - (axis != name)
    assert {"vertices0", "edges0"} <= set(sizes)
    assert (preprocess.output["kind"], preprocess.output["rows"]) == ("logits", "surfaces")
    assert preprocess.output["columns"] == list(Predictor(path, cache=False)(files[0]).class_names)
    with pytest.raises(InputError, match="select: an option of maps"):
        preprocess(str(files[1]), select={})
    with pytest.raises(InputError, match="no such file"):
        preprocess("nowhere.ply")
    content = json.loads((folder / "preprocess.json").read_text())
    for change, message in (({"format": 99}, "has format 99"), ({"inputs": 3}, "inputs is missing or damaged")):
        other = folder.parent / "other.json"
        other.write_text(json.dumps({**content, **change}))
        with pytest.raises(InputError, match=message):
            Preprocess(other)
    other.write_text("[" * 100000)
    with pytest.raises(InputError, match="no description"):
        Preprocess(other)


@pytest.mark.slow
@pytest.mark.parametrize("element", ["vertices", "faces", "edges"])
def test_segmentation(element, tmp_path):
    write_bodies(tmp_path / "set", element, 3)
    more = {"resolution": 0.1} if element == "faces" else {}
    data = MeshSegments(str(tmp_path / "set"), element=element, cache=False, workers=0, num_levels=2, **more)
    options = {"channels": [4, 4], "width": 8, "max_order": 1}
    task = SegmentationTask("ShapeUNet", str(data.in_type), data.class_names, data.spec, options)
    folder = exported(task, tmp_path, "torch", "onnx")
    mesh = body(7)
    given = TriangleMesh(np.append(mesh.vertices, [[0, 0, 9.0]], axis=0), mesh.faces, "mine")
    expected = Predictor(tmp_path / "last.ckpt", cache=False, workers=0)(given)
    for name in ("model.pt2", "plain.pt2", "model.onnx"):
        found = Predictor(folder / name, cache=False, workers=0)(given)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    prepared = Preprocess(folder, cache=False)(given)
    found = prepared.run(open_program(folder / "model.onnx"))
    np.testing.assert_allclose(found["probability"], expected.probabilities, atol=1e-5)
    names = [data.class_names[c] for c in expected.classes]
    assert found["label"].tolist() == names


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [None, 0.1])
def test_regression_and_embeddings(tmp_path, resolution):
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for k in range(3):
        mesh = body(k)
        fields = {name: rng.normal(size=mesh.num_vertices) for name in ("h", "w_x", "w_y", "w_z")}
        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, f"{k}", fields), tmp_path / f"set/{k}.ply")
    # The inputs have no vectors, the outputs have.
    scalars = {"features": ["coordinates"], "resolution": resolution}
    data = MeshFields(str(tmp_path / "set"), ["h", "w"], cache=False, workers=0, num_levels=2, **scalars)
    options = {"channels": [4, 4], "width": 8}
    task = RegressionTask("FieldUNet", str(data.in_type), data.field_names, data.spec, options)
    task.normalise(torch.tensor([3.0, 0.0]), torch.tensor([2.0, 0.5]))
    folder = exported(task, tmp_path, "torch", "onnx")
    given = body(9)
    expected = Predictor(tmp_path / "last.ckpt", cache=False, workers=0)(given)
    prepared = Preprocess(folder, cache=False)(given)
    for name in ("model.pt2", "plain.pt2", "model.onnx"):
        found = Predictor(folder / name, cache=False, workers=0)(given)
        results = prepared.run(open_program(folder / name))
        for field in ("h", "w"):
            np.testing.assert_allclose(found.fields[field], expected.fields[field], atol=1e-5)
            np.testing.assert_allclose(results[field], expected.fields[field], atol=1e-5)
    spec = {**data.spec, "data": "meshconv.datasets.MeshCorrespondence"}
    match = CorrespondenceTask("ShapeUNet", str(data.in_type), spec, options, embedding=6, refine=False)
    (tmp_path / "match").mkdir()
    folder = exported(match, tmp_path / "match", "onnx")
    files = [tmp_path / f"set/{k}.ply" for k in range(2)]
    expected, found = (
        Predictor(path, cache=False, workers=0)(files) for path in (tmp_path / "match/last.ckpt", folder / "model.onnx")
    )
    assert (found[0].matches == expected[0].matches).mean() > 0.99
    prepared = Preprocess(folder, cache=False)(files[0])
    embedding = prepared.run(open_program(folder / "model.onnx"))["embedding"]
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
