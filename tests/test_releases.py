"""Checkpoints and exported files of every release give the predictions that they gave then.

``python tests/test_releases.py`` writes those of the current version.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from map_case import maps, save, weather
from segments import body, write_bodies

import meshconv
from meshconv import InputError, Predictor
from meshconv.datasets import MeshFields, MeshFolder, MeshSegments, write_shapes
from meshconv.io import save_mesh
from meshconv.models import SphereUNet
from meshconv.train import ClassificationTask, RegressionTask, SegmentationTask, load_task

RELEASES = Path(__file__).parent / "data" / "releases"
FOLDERS = sorted(path for path in RELEASES.glob("*") if path.is_dir())
FILES = [path for folder in FOLDERS for path in sorted(folder.iterdir()) if path.suffix in (".ckpt", ".onnx", ".pt2")]


def predicted(path: Path, scratch: Path) -> np.ndarray:
    """Numbers that a file predicts of the same input every time."""
    predict = Predictor(path, device="cpu", cache=False, workers=0)
    if "maps" in path.stem:
        return predict(save(weather(), scratch / "a.nc"))["probability"].values[0, :, ::4, ::6]
    found = predict(body(7))
    return found.fields["height"] if hasattr(found, "fields") else found.probabilities


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_predictions_of_releases(path, tmp_path):
    if path.suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    stored = json.loads((path.parent / "predictions.json").read_text())
    if path.suffix == ".pt2" and version(torch.__version__) < version(stored["torch"]):
        pytest.skip(f"torch {stored['torch']} wrote it: older ones need not read it")
    expected = stored[path.name]
    np.testing.assert_allclose(predicted(path, tmp_path).ravel()[:64], expected, atol=1e-5, rtol=1e-5)


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("+")[0].split(".")[:2]))


def test_this_version_has_its_files():
    assert meshconv.__version__ in [folder.name for folder in FOLDERS]
    kinds = {path.name for path in FILES if path.parent.name == meshconv.__version__}
    assert kinds >= {"classes.ckpt", "faces.ckpt", "fields.ckpt", "maps.ckpt", "model.onnx", "model.pt2"}


def test_networks_stay_what_they_were_when_defaults_change(monkeypatch, tmp_path):
    folder, name = RELEASES / "0.2.0", "maps.ckpt"
    assert load_task(folder / name).hparams["options"]["aggregation"] == "quadrature"  # which nobody gave
    monkeypatch.setitem(SphereUNet.__init__.__kwdefaults__, "aggregation", "mean")
    expected = json.loads((folder / "predictions.json").read_text())[name]
    np.testing.assert_allclose(predicted(folder / name, tmp_path).ravel()[:64], expected, atol=1e-5, rtol=1e-5)


def test_checkpoints_of_later_versions_are_refused(tmp_path):
    content = torch.load(RELEASES / "0.2.0" / "classes.ckpt", weights_only=True)
    assert content["meshconv"]["format"] == 1
    content["meshconv"] |= {"format": 2, "version": "9.9"}
    torch.save(content, tmp_path / "later.ckpt")
    with pytest.raises(InputError, match=r"later\.ckpt: has format 2, written by meshconv 9\.9; this is .*install"):
        load_task(tmp_path / "later.ckpt")


def tasks(scratch: Path) -> dict[str, object]:
    """A small network of each kind, by the name of its file."""
    torch.manual_seed(0)
    shapes = write_shapes(scratch / "shapes", train=2, test=1, seed=1)[0].parents[2]
    data = MeshFolder(str(shapes), cache=False, workers=0)
    given = str(data.in_type), data.class_names, data.spec
    classes = ClassificationTask("ShapeClassifier", *given, {"channels": 2, "blocks": 1, "width": 4})
    write_bodies(scratch / "faces", "faces", 3)
    data = MeshSegments(str(scratch / "faces"), element="faces", cache=False, workers=0, num_levels=2)
    given = str(data.in_type), data.class_names, data.spec
    faces = SegmentationTask("ShapeUNet", *given, {"channels": [2, 2], "width": 4, "max_order": 1})
    (scratch / "fields").mkdir()
    for k in range(3):
        save_mesh(body(k), scratch / f"fields/{k}.ply")
        np.save(scratch / f"fields/{k}_height.npy", body(k).vertices[:, 2])
    data = MeshFields(str(scratch / "fields"), ["height"], cache=False, workers=0, num_levels=2)
    options = {"channels": [2, 2], "width": 4, "max_order": 1}
    fields = RegressionTask("FieldUNet", str(data.in_type), data.field_names, data.spec, options)
    data = maps(save(weather(), scratch / "a.nc"))
    given = str(data.in_type), data.class_names, data.spec
    on_maps = SegmentationTask("SphereUNet", *given, {"channels": [2, 2], "width": 4})
    return {"classes": classes, "faces": faces, "fields": fields, "maps": on_maps}


def write_release(folder: Path, scratch: Path) -> None:
    from meshconv.datasets.class_path import class_path
    from meshconv.export import export_network

    folder.mkdir(parents=True)
    made = tasks(scratch)
    for name, task in made.items():
        content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
        task.on_save_checkpoint(content)
        torch.save(content, folder / f"{name}.ckpt")
    classes = made["classes"].eval()
    export_network(classes, class_path(type(classes)), meshconv.__version__, ["torch", "onnx"], folder)
    (folder / "plain.pt2").unlink()  # torch's operations alone: its compatibility is torch's
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".ckpt", ".onnx", ".pt2")]
    values = {path.name: predicted(path, scratch).ravel()[:64].astype(float).tolist() for path in files}
    values["torch"] = torch.__version__
    (folder / "predictions.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        write_release(RELEASES / meshconv.__version__, Path(place))
    sys.exit(0)
