"""Exported files that would run code or are damaged, and what cannot be exported: one line."""

from __future__ import annotations

import json
import pickle
import zipfile

import pytest
import torch
from export_case import small_classifier

import meshconv
from meshconv import InputError, Predictor
from meshconv.cli import main
from meshconv.export import open_program


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        import os

        return os.mkdir, (self.place,)


@pytest.mark.parametrize("name", ["sample_inputs/model.pt", "weights/model_weights_config.json", "constants/x.pt"])
def test_programs_that_would_run_code_are_refused(tmp_path, name):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/archive_format", "pt2")
        content = '{"use_pickle": true}' if name.endswith("json") else pickle.dumps(Payload(tmp_path / "touched"))
        archive.writestr(f"model/data/{name}", content)
    with pytest.raises(InputError, match="objects that could run code") as error:
        open_program(path)
    assert "\n" not in str(error.value) and not (tmp_path / "touched").exists()


def test_packages_of_machine_code_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "aoti.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("aoti/data/aotinductor/model/x.so", b"\x7fELF")
    with pytest.raises(InputError, match="machine code, which would run; if you trust it, give --trust aoti"):
        open_program(path)
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    for name in ("bad.pt2", "bad.onnx", "missing.onnx"):
        with pytest.raises(InputError, match=name) as error:
            open_program(tmp_path / name)
        assert "\n" not in str(error.value)


def test_class_paths_of_a_description_are_not_imported(classes_checkpoint, tmp_path):
    """Not even those of a network or a loss, which an exported file has no use for."""
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "model.onnx").write_bytes(b"")
    hparams = torch.load(classes_checkpoint, weights_only=True)["hyper_parameters"]
    content = {"format": 1, "task": "meshconv.train.ClassificationTask", "hyper_parameters": hparams, "inputs": [],
               "levels": 0, "maps": None, "output": dict.fromkeys(("name", "rows", "columns", "kind"))}  # fmt: skip
    for change in (
        {"task": "evil.Task"},
        {"hyper_parameters": {**hparams, "loss": "evil.Loss"}},
        {"hyper_parameters": {**hparams, "spec": {**hparams["spec"], "data": "evil.Data"}}},
    ):
        (tmp_path / "preprocess.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(InputError, match=r"the checkpoint needs evil\.") as error:
            Predictor(tmp_path / "model.onnx", trust=())
        assert "\n" not in str(error.value)


def test_what_cannot_be_exported_is_one_line(classes_checkpoint, tmp_path, capsys):
    assert main(["export", str(classes_checkpoint), "--to", "onnx", "--like", "x.nc"]) == 2
    assert capsys.readouterr().err.startswith("meshconv: error: like x.nc: the network was trained on meshes")
    assert main(["export", str(classes_checkpoint), "--to", "coreml"]) == 2
    assert "invalid choice: 'coreml'" in capsys.readouterr().err
    assert meshconv.export.export_network


@pytest.fixture
def classes_checkpoint(tmp_path):
    return small_classifier(tmp_path)
