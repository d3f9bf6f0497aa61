"""Files from elsewhere that would multiply, read other files, or run: each refused in one line."""

from __future__ import annotations

import pickle
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from export_case import small_classifier

from meshconv import InputError, Predictor, load_mesh
from meshconv.cli import main
from meshconv.export import open_program

MB = 2**20
# Root of a file of each format that is XML, with a place for text.
ROOTS = {
    "vtp": "<VTKFile type='PolyData'>{}</VTKFile>",
    "vtu": "<VTKFile type='UnstructuredGrid'>{}</VTKFile>",
    "vtm": "<VTKFile type='vtkMultiBlockDataSet'><vtkMultiBlockDataSet>{}</vtkMultiBlockDataSet></VTKFile>",
    "3mf": "<model><resources><object id='1'><mesh>{}</mesh></object></resources></model>",
    "3dxml": "<Model_3dxml><Reference3D>{}</Reference3D></Model_3dxml>",
    "xaml": "<MeshGeometry3D Positions='{}'/>",
    "gii": "<GIFTI Version='1.0' NumberOfDataArrays='1'><DataArray><Data>{}</Data></DataArray></GIFTI>",
    "dae": "<COLLADA version='1.4.1'><asset><unit name='{}'/></asset></COLLADA>",
    "amf": "<amf><metadata>{}</metadata></amf>",
    "x3d": "<X3D><Scene><Shape>{}</Shape></Scene></X3D>",
}
LAUGHS = "<!ENTITY e0 '{}'>".format("ha" * 50) + "".join(f"<!ENTITY e{k + 1} '{f'&e{k};' * 10}'>" for k in range(9))


def write_xml(path: Path, declared: str, text: str, before: str = "") -> None:
    kind = path.suffix[1:]
    root = ROOTS[kind].format(text)
    name = root[1:].split()[0].split(">")[0]
    content = f"<?xml version='1.0'?>{before}<!DOCTYPE {name} [{declared}]>{root}".encode()
    if kind not in ("3mf", "3dxml"):
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model" if kind == "3mf" else "a.3drep", content)


@pytest.mark.parametrize("before", ["", f"<!--{'x' * 10_000}-->"], ids=["first", "after a long comment"])
@pytest.mark.parametrize("kind", ROOTS)
def test_xml_bombs(kind: str, before: str, tmp_path: Path) -> None:
    """Ten thousand million words by entities of entities."""
    path = tmp_path / f"bomb.{kind}"
    write_xml(path, LAUGHS, "&e9;", before)
    with pytest.raises(InputError):
        load_mesh(path)  # imports what it needs
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(InputError) as error:
        load_mesh(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * MB and time.process_time() - start < 5
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("kind", ROOTS)
def test_xml_reads_no_other_file(kind: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("the secret")
    path = tmp_path / f"mesh.{kind}"
    entity = "" if kind in ("xaml", "dae") else "&x;"  # which XML forbids in attributes
    write_xml(path, f"<!ENTITY x SYSTEM '{(tmp_path / 'secret.txt').as_uri()}'>", entity)
    with pytest.raises(InputError) as error:
        load_mesh(path)
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["../weights.bin", "/etc/passwd", "a/../../weights.bin"])
def test_onnx_reads_no_file_outside_of_its_folder(place: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    (tmp_path / "in").mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.TensorProto(name="w", data_type=kind, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", place), ("offset", "0"), ("length", "16")):
        weight.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, kind, [4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "in" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError) as error:
        open_program(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path):
        self.place = str(place)

    def __reduce__(self) -> tuple:
        import os

        return os.mkdir, (self.place,)


@pytest.mark.slow
def test_the_service_runs_no_code_of_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"state_dict": {}, "x": Payload(tmp_path / "touched")}))
    assert main(["serve", str(tmp_path / "evil.ckpt"), "--port", "0"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "not a readable checkpoint" in line and not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["labels.npy", "mesh.npz", "mesh.pkl"])
def test_arrays_with_objects_are_not_unpickled(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    evil = np.array([Payload(tmp_path / "touched")], dtype=object)
    if name.endswith("pkl"):
        path.write_bytes(pickle.dumps(evil))
    else:
        (np.save if name.endswith("npy") else np.savez)(path, evil, allow_pickle=True)  # type: ignore[operator]
    predict = Predictor(small_classifier(tmp_path), cache=False, workers=0)
    with pytest.raises(InputError) as error:
        predict(path)
    assert "\n" not in str(error.value) and not (tmp_path / "touched").exists()
