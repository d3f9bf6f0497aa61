"""Exported networks: the same answers as the network's on inputs that were not traced, whoever runs them."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from map_case import maps, save, weather
from meshes import icosphere
from planet import series, write_planet
from segments import body, write_bodies

import meshconv
from meshconv import GaugeGraph, InputError, Predictor, Preprocess, TriangleMesh
from meshconv.cli import main
from meshconv.datasets import MeshFields, MeshFolder, MeshSample, MeshSegments, Preparation, collate, write_shapes
from meshconv.export import open_program
from meshconv.export.layout import Layout
from meshconv.io import save_mesh
from meshconv.ops.plain import plain_operators, row_of
from meshconv.train import ClassificationTask, CorrespondenceTask, ForecastTask, RegressionTask, SegmentationTask

OPS = torch.ops.meshconv


def checkpoint(task, path: Path) -> Path:
    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, path)
    return path


def randomised(task):
    """With weights at which nothing vanishes."""
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return task.eval()


def exported(task, folder: Path, *to: str, like: Path | None = None) -> Path:
    path = checkpoint(randomised(task), folder / "last.ckpt")
    more = [] if like is None else ["--like", str(like)]
    assert main(["export", str(path), "--to", *to, "--output", str(folder / "out"), *more]) == 0
    return folder / "out"


def batch(levels: int, subdivisions: int = 2):
    how = Preparation(num_levels=levels)
    mesh = icosphere(subdivisions)
    x, surface = how.inputs(TriangleMesh(mesh.vertices * [1, 1.2, 0.8], mesh.faces, "ellipsoid"))
    return collate([MeshSample(x, surface, torch.tensor(0), "ellipsoid")])


@pytest.mark.parametrize("levels", [1, 3])
def test_batches_are_packed_by_name_and_unpacked(levels):
    given = batch(levels)
    layout = Layout.of(given)
    packed = layout.pack(given)
    assert list(packed) == [entry.name for entry in layout.inputs]
    again = Layout.from_spec(json.loads(json.dumps(layout.spec)))
    assert again.inputs == layout.inputs
    found = again.unpack(packed)
    torch.testing.assert_close(layout.pack(found), packed, rtol=0, atol=0)
    graph = found.surface.finest
    assert isinstance(graph, GaugeGraph) and graph.num_vertices == given.surface.finest.num_vertices
    names = [name for name in packed if name.endswith(("src", "dst_ptr")) or name == "x"]
    some = again.keep(names).unpack({name: packed[name] for name in names}).surface.finest
    assert some.sizes == graph.sizes and not some.positions.any()


def test_other_batches_than_the_program_takes():
    layout = Layout.of(batch(3))
    with pytest.raises(InputError, match="ellipsoid: 2 levels, the program takes 3"):
        layout.pack(batch(2))
    with pytest.raises(InputError, match="ellipsoid: the program takes 3 levels"):
        layout.pack(batch(1))
    with pytest.raises(InputError, match="the list of inputs is damaged"):
        Layout.from_spec({"levels": 0, "inputs": [{"name": "x"}]})


def edges(num_src: int, num_dst: int, count: int):
    """Random edges by target, some rows empty, and their transpose."""
    generator = torch.Generator().manual_seed(1)
    src = torch.randint(0, num_src, (count,), generator=generator)
    dst = torch.randint(0, num_dst - 1, (count,), generator=generator).sort().values
    order = src.argsort(stable=True)
    ptr = [torch.bincount(ends, minlength=n).cumsum(0) for ends, n in ((dst, num_dst), (src, num_src))]
    dst_ptr, src_ptr = (torch.nn.functional.pad(p, (1, 0)) for p in ptr)
    return dst_ptr, src, dst, src_ptr, order


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("matrices", [False, True])
def test_plain_operators_are_the_compiled_ones(transpose, matrices):
    plain, given = plain_operators(matrices), edges(9, 7, 40)
    angle, turn, radial = torch.randn(40), torch.randn(40), torch.rand(40, 3)
    rows = 7 if transpose else 9
    x = torch.randn(2, rows, 4 + 2 * 3)
    calls = {
        OPS.gauge_conv: (x, torch.randn(3, 10, 7), radial, angle, turn, *given, [4, 3], [5, 1], transpose),
        OPS.depthwise_conv: (torch.randn(2, rows, 6), torch.randn(3, 3, 3, 2), radial, angle, turn, *given, [2, 2],
                             [2, 2], transpose),
        OPS.transport_sum: (x[..., [0, 1, *range(4, 8)]], torch.rand(1, 40, 2), turn, *given, [2, 2], transpose),
    }  # fmt: skip
    if not transpose:
        y, logits = torch.randn(2, 7, 10), torch.randn(2, 40, 3)
        chosen = OPS.transport_argmax(x, *given, [4, 3], True)
        calls |= {
            OPS.transport_dot: (x, y, turn, *given, [4, 3], 1),
            OPS.transport_argmax: (x, *given, [4, 3], True),
            OPS.transport_select: (x, chosen, turn, *given, [4, 3], False),
            OPS.segment_softmax: (logits, given[0]),
            OPS.segment_total: (logits, given[0]),
            OPS.fourier_act: (torch.randn(6, 5, 3), 17, "silu"),
        }
    for operator, arguments in calls.items():
        torch.testing.assert_close(plain[operator.default](*arguments), operator(*arguments), rtol=1e-5, atol=1e-5)


def test_rows_of_members():
    ptr = torch.tensor([0, 0, 2, 2, 5, 5])
    assert row_of(ptr, 5).tolist() == [1, 1, 3, 3, 3]


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
def test_regression_and_embeddings(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for k in range(3):
        mesh = body(k)
        fields = {name: rng.normal(size=mesh.num_vertices) for name in ("h", "w_x", "w_y", "w_z")}
        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, f"{k}", fields), tmp_path / f"set/{k}.ply")
    data = MeshFields(str(tmp_path / "set"), ["h", "w"], cache=False, workers=0, num_levels=2)
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
    spec = {"data": "meshconv.datasets.MeshFolder", "features": ["default"]}
    options = {"channels": 2, "blocks": 1, "width": 4}
    in_type = str(Preparation.from_spec(spec).in_type)
    return checkpoint(ClassificationTask("ShapeClassifier", in_type, ["a", "b"], spec, options), tmp_path / "x.ckpt")


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
def test_a_program_in_cpp_runs_the_compiled_network(classes_checkpoint, tmp_path):
    """As examples/run_exported.cpp says."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler is here")
    assert main(["export", str(classes_checkpoint), "--to", "aoti", "--output", str(tmp_path / "out")]) == 0
    mesh = body(3)
    prepared = Preprocess(tmp_path / "out", cache=False)(mesh)
    torch.save(list(prepared.steps[0].values()), tmp_path / "inputs.pt")
    torch_folder = Path(torch.__path__[0])
    include = torch_folder / "include"
    source = Path(__file__).resolve().parents[1] / "examples" / "run_exported.cpp"
    flags = [f"-I{include}", f"-I{include / 'torch/csrc/api/include'}", f"-L{torch_folder / 'lib'}",
             f"-Wl,-rpath,{torch_folder / 'lib'}", "-Wl,--no-as-needed",
             "-ltorch", "-ltorch_cpu", "-lc10", "-ldl"]  # fmt: skip
    subprocess.run([compiler, "-std=c++20", str(source), "-o", str(tmp_path / "run"), *flags], check=True)
    library = find_spec("meshconv._C").origin
    words = [tmp_path / "run", tmp_path / "out/aoti.pt2", tmp_path / "inputs.pt", tmp_path / "output.pt", library]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = Predictor(classes_checkpoint, cache=False, workers=0)(mesh)
    found = torch.load(tmp_path / "output.pt", weights_only=True).softmax(-1)[0]
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-5)
    again = Predictor(tmp_path / "out/aoti.pt2", trust=("aoti",), cache=False, workers=0)(mesh)
    np.testing.assert_allclose(again.probabilities, expected.probabilities, atol=1e-5)
