"""Checkpoints from elsewhere: none runs code, none takes memory that its weights do not, each ends in one line."""

from __future__ import annotations

import http.server
import pickle
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch

from meshconv.cli import main
from meshconv.datasets.generated import write_shapes
from meshconv.errors import InputError
from meshconv.train import ClassificationTask, load_task

SPEC = {"data": "meshconv.datasets.MeshFolder", "features": ["default"]}


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        import os

        return os.mkdir, (self.place,)


def write_payload(path: Path, form: str, place: Path) -> Path:
    content = {"state_dict": {}, "hyper_parameters": {"spec": SPEC, "x": Payload(place)}}
    if form == "raw":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes") / "set", train=2, test=1, seed=1)[0].parents[2]


def arguments(command, shapes, runs):
    return [command, "--config", "classify", "--data.init_args.root", str(shapes), "--runs", str(runs),
            "--trainer.max_steps", "1", "--trainer.enable_progress_bar", "false", "--data.init_args.variants", "0",
            "--data.init_args.augment", "null"]  # fmt: skip


def refused(capsys, args):
    """The one line of a refusal."""
    assert main(args) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert err[-1].startswith("meshconv: error: ")
    assert not any("Traceback" in line for line in err)
    return err[-1]


@pytest.mark.parametrize("form", ["zip", "raw", "legacy"])
def test_a_payload_runs_when_it_is_trusted(tmp_path, form):
    """The test's own test: such a file does run code where nobody looks."""
    path = write_payload(tmp_path / "evil.ckpt", form, tmp_path / "touched")
    if form == "raw":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert (tmp_path / "touched").is_dir()


@pytest.mark.parametrize("form", ["zip", "raw", "legacy"])
@pytest.mark.parametrize("command", ["fit", "test", "validate", "predict", "export"])
def test_no_command_runs_code_of_a_checkpoint(shapes, tmp_path, capsys, command, form):
    path = write_payload(tmp_path / "evil.ckpt", form, tmp_path / "touched")
    mesh = next(shapes.rglob("*.ply"))
    args = [*arguments(command, shapes, tmp_path / "runs"), "--ckpt_path", str(path)]
    own = {"predict": ["predict", str(path), str(mesh)], "export": ["export", str(path), "--to", "torch"]}
    assert "not a readable checkpoint" in refused(capsys, own.get(command, args))
    assert not (tmp_path / "touched").exists()
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_task(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "named", ["config", "last", "best", "hpc", "registry", "registry:me/model", "http", "file", "chain"]
)
def test_no_name_of_a_checkpoint_runs_its_code(shapes, tmp_path, capsys, named):
    """In the configuration, by the words of Lightning, by addresses."""
    folder = tmp_path / "runs" / "classify"
    folder.mkdir(parents=True)
    for name in ("evil.ckpt", "last.ckpt", "hpc_ckpt_1.ckpt"):
        write_payload(folder / name, "zip", tmp_path / "touched")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/evil.ckpt"
    name = {"http": address, "file": f"file://{folder / 'evil.ckpt'}", "chain": f"simplecache::{address}"}.get(
        named, named
    )
    args = arguments("fit", shapes, tmp_path / "runs")
    if named == "config":
        (tmp_path / "more.yaml").write_text(f"ckpt_path: {folder / 'evil.ckpt'}\nweights_only: false\n")
        # Nobody is asked whether to trust it.
        assert "weights_only" in refused(capsys, [*args, "--config", str(tmp_path / "more.yaml")])
        (tmp_path / "more.yaml").write_text(f"ckpt_path: {folder / 'evil.ckpt'}\n")
        args += ["--config", str(tmp_path / "more.yaml")]
    else:
        args += ["--ckpt_path", name]
    try:
        line = refused(capsys, args)
    finally:
        server.shutdown()
        server.server_close()
    assert "checkpoint" in line
    assert not (tmp_path / "touched").exists()


def task():
    options = {"channels": 4, "blocks": 1, "width": 8}
    return ClassificationTask("ShapeClassifier", "3x0", ["a", "b"], SPEC, options)


SAID = {"task": "meshconv.train.ClassificationTask"}


def content(**hparams):
    model = task()
    kept = dict(model.hparams) | hparams
    return {"hyper_parameters": kept, "state_dict": model.state_dict(), "meshconv": SAID}


WRONG = {
    "a list": [1, 2],
    "a tensor": torch.zeros(3),
    "no weights": {"hyper_parameters": dict(task().hparams)},
    "weights of another kind": {"hyper_parameters": dict(task().hparams), "state_dict": [torch.zeros(1)]},
    "weights that are numbers": {"hyper_parameters": dict(task().hparams), "state_dict": {"a": 1.0}},
    "no hyperparameters": {"state_dict": task().state_dict()},
    "hyperparameters that are a list": {"hyper_parameters": [1], "state_dict": task().state_dict()},
    "spec that is a text": content(spec="meshes"),
    "data that are a list": content(spec={"data": ["meshes"]}),
    "data that are no class of data": content(spec={**SPEC, "data": "meshconv.nn.GaugeConv"}),
    "a task that is none": content() | {"meshconv": {"task": "meshconv.nn.GaugeConv"}},
    "a task that is a list": content() | {"meshconv": {"task": ["meshconv.train.Task"]}},
    "nearest that is a text": content(spec={**SPEC, "nearest": "many"}),
    "levels that are no number": content(spec={**SPEC, "num_levels": 1.5}),
    "features that are numbers": content(spec={**SPEC, "features": [1]}),
    "classes that are numbers": content(class_names=[1, 2]),
    "classes that are a text": content(class_names="ab"),
    "one class more": content(class_names=["a", "b", "c"]),
    "options that are a list": content(options=[1]),
    "options that do not exist": content(options={"colour": 1}),
    "options of another kind": content(options={"channels": "many"}),
    "negative options": content(options={"channels": -4}),
    "a network that is none": content(network="os.system"),
    "a network that is a number": content(network=3),
    "a type that is none": content(in_type="3y0"),
    "two hundred thousand channels": content(options={"channels": 200_000}),
    "channels that would just fit": content(options={"channels": 3_000}),
    "a billion blocks": content(options={"channels": 4, "blocks": 10**9}),
    "a billion radial functions": content(options={"channels": 4, "num_radial": 10**9}),
    "a width without end": content(options={"channels": 4, "width": 10**12}),
    "a weight that only claims to be large": content() | {"state_dict": {"w": torch.zeros(1).expand(10**12)}},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_checkpoint_is_one_line_and_takes_no_memory(tmp_path, what):
    path = tmp_path / "wrong.ckpt"
    torch.save(WRONG[what], path)
    before = peak_memory()
    with pytest.raises(InputError) as error:
        load_task(path)
    grown = peak_memory() - before
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))
    assert grown < 200e6


def peak_memory() -> int:
    """Bytes of this process, at most so far."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(shapes, tmp_path, capsys, value):
    saved = content()
    name = next(k for k, v in saved["state_dict"].items() if v.is_floating_point())
    saved["state_dict"] = {k: v.clone() for k, v in saved["state_dict"].items()}
    saved["state_dict"][name].view(-1)[0] = value
    torch.save(saved, tmp_path / "diverged.ckpt")
    mesh = next(shapes.rglob("*.ply"))
    assert f"{name} is not finite" in refused(capsys, ["predict", str(tmp_path / "diverged.ckpt"), str(mesh)])
    args = [*arguments("test", shapes, tmp_path), "--ckpt_path", str(tmp_path / "diverged.ckpt")]
    assert f"{name} is not finite" in refused(capsys, args)


def test_a_packed_checkpoint_is_not_unpacked(tmp_path):
    torch.save(content() | {"zeros": torch.zeros(1 << 22)}, tmp_path / "plain.ckpt")
    with zipfile.ZipFile(tmp_path / "plain.ckpt") as plain, zipfile.ZipFile(tmp_path / "bomb.ckpt", "w") as bomb:
        for entry in plain.namelist():
            bomb.writestr(entry, plain.read(entry), zipfile.ZIP_DEFLATED)
    load_task(tmp_path / "plain.ckpt")
    with pytest.raises(InputError, match="would unpack to 17 MB"):
        load_task(tmp_path / "bomb.ckpt")


def test_a_large_network_is_built_where_its_weights_are_there(tmp_path):
    """The bound on memory is one on networks larger than their weights, whatever their layers and types."""
    from meshconv.nn.block import LAYERS

    for layer in LAYERS:
        options = {"channels": 6, "blocks": 1, "max_order": 2, "layer": layer, "width": 8}
        model = ClassificationTask("ShapeClassifier", "3x0", ["a", "b"], SPEC, options)
        saved = {"hyper_parameters": dict(model.hparams), "state_dict": model.state_dict(), "meshconv": SAID}
        torch.save(saved, tmp_path / "x.ckpt")
        assert options.items() <= load_task(tmp_path / "x.ckpt").hparams["options"].items()
        torch.save(content(options=options | {"channels": 20_000}), tmp_path / "x.ckpt")
        with pytest.raises(InputError):
            load_task(tmp_path / "x.ckpt")
    assert peak_memory() < 4e9
