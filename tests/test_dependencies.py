"""What is imported is declared, and the core works where nothing but the core is installed."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch
from map_case import save, weather

from meshconv.datasets import write_shapes
from meshconv.extras import MODULES, MissingExtraError, require

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "meshconv"
RELEASE = ROOT / "tests" / "data" / "releases" / "0.2.0"
FILES = sorted(PACKAGE.rglob("*.py"))
DISTRIBUTIONS = packages_distributions()
# Names that no program imports, which others read files with.
FOR_OTHERS = {"lxml", "netcdf4", "zarr", "pycollada", "onnxscript"}
# Files whose callers ask for the extra.
ASKED_BEFORE = {"train/checkpoints/fine_tuning.py": "train", "train/checkpoints/resuming.py": "train",
                "io/interop/surface_data.py": "pyg", "io/meshes/readers/libraries.py": "formats",
                "io/meshes/readers/freesurfer.py": "formats", "io/meshes/readers/points.py": "formats"}  # fmt: skip
# Commands with the extras that they lack where there is only the core.
COMMANDS = {"fit --config classify": "train", "test": "train", "predict last.ckpt box.ply --uncertainty": "train",
            "compress last.ckpt": "train", "demo": "train,climate", "export x --to onnx": "export", "view x.ply": "viz",
            "serve x": "serve",
            "generate shallow_water out": "planet,climate"}  # fmt: skip


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, set[str]]:
    """Distributions by extra, the core's as ``""``."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lists = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    return {extra: {normal(re.match(r"[\w.-]+", line.strip())[0]) for line in text.split("\n") if line.strip()
                    and not line.startswith("#")} for extra, text in lists.items()}  # fmt: skip


DECLARED = declared()


def imported(tree: ast.AST, optional: bool = False) -> Iterator[tuple[str, bool]]:
    """Top-level names that are imported at run time from outside, and whether their absence is handled on the spot."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        handled = isinstance(node, ast.Try) and any("ImportError" in ast.unparse(h.type or node) for h in node.handlers)
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in {n.split(".")[0] for n in names} - set(sys.stdlib_module_names) - {"meshconv"}:
            yield name, optional
        yield from imported(node, optional or handled)


def required(tree: ast.AST) -> set[str]:
    """Extras that a file asks for by :func:`meshconv.extras.require`."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "require"]
    return {ast.literal_eval(a) for call in calls for a in call.args[1:]}


def asked(folder: Path) -> set[str]:
    """Extras that importing a package asks for."""
    packages = [f / "__init__.py" for f in (folder, *folder.parents)]
    found = [required(ast.parse(p.read_text(encoding="utf-8"))) for p in packages if ROOT in p.parents and p.is_file()]
    return set().union(*found)


def undeclared(path: Path) -> list[str]:
    """Imports that are neither of the core nor of extras that the file, its packages or those it imports ask for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    extras = required(tree) | asked(path.parent)
    extras |= {extra for file, extra in ASKED_BEFORE.items() if path == PACKAGE / file}
    for module in (m for m in modules if m.startswith("meshconv.")):
        extras |= asked((ROOT / Path(*module.split("."))).parent)
    allowed = set().union(*(DECLARED[e] for e in {"", *extras}))
    anywhere = set().union(*DECLARED.values())
    return [
        name
        for name, optional in imported(tree)
        if not {normal(d) for d in DISTRIBUTIONS.get(name, [name])} & (anywhere if optional else allowed)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_imported_is_declared(path: Path) -> None:
    assert undeclared(path) == []


def test_what_tests_and_examples_import_is_declared() -> None:
    own = {p.stem for folder in ("tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")} | {"oracles"}
    allowed = set().union(*DECLARED.values(), {"setuptools"})
    for path in [*(ROOT / "tests").glob("*.py"), *(ROOT / "examples").glob("*.py")]:
        names = {name for name, optional in imported(ast.parse(path.read_text(encoding="utf-8"))) if not optional}
        assert [n for n in names - own if not {normal(d) for d in DISTRIBUTIONS.get(n, [n])} & allowed] == [], path


def test_undeclared_imports_are_found() -> None:
    source = "import torch\nimport xarray as xr\ntry:\n    import cartopy\nexcept ImportError:\n    pass\n"
    assert dict(imported(ast.parse(source))) == {"torch": False, "xarray": False, "cartopy": True}
    assert required(ast.parse("require(__name__, 'train', 'viz')")) == {"train", "viz"}
    assert asked(PACKAGE / "io" / "maps") == {"climate"} and asked(PACKAGE / "geometry") == set()


def test_what_is_declared_is_imported() -> None:
    everything = [t for p in FILES for t in imported(ast.parse(p.read_text(encoding="utf-8")))]
    used = {normal(d) for name, _ in everything for d in DISTRIBUTIONS.get(name, [name])}
    parts = {name for extra, names in DECLARED.items() if extra not in ("all", "test", "dev") for name in names}
    assert parts - used - FOR_OTHERS == set()


@pytest.mark.parametrize("extra", MODULES)
def test_an_extra_brings_the_modules_that_are_asked_for(extra: str) -> None:
    for module in MODULES[extra]:
        assert {normal(d) for d in DISTRIBUTIONS.get(module, [module])} & DECLARED[extra]
        require("the test", extra, only=module)
    require("the test", extra)
    with pytest.raises(KeyError):
        require("the test", "no extra")


def test_all_is_all() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    text = parser["options.extras_require"]["all"].strip()
    assert text == f"meshconv[{','.join(MODULES)}]"


def alone(code: str, *extras: str) -> subprocess.CompletedProcess:
    """Run code in a process that has nothing but the core and these extras."""
    kept = {m for extra in extras for m in MODULES[extra]}
    absent = sorted({m for modules in MODULES.values() for m in modules} - kept)
    hide = f"import sys\nsys.modules.update(dict.fromkeys({absent}))\n"
    return subprocess.run([sys.executable, "-c", hide + code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_core_works_alone(tmp_path: Path) -> None:
    """Layers, networks, geometry, the sphere, mesh files and ``meshconv check`` need no extra; others say which."""
    code = f"""
import contextlib, io as text, torch, trimesh, meshconv
from meshconv import cli, datasets, geometry, io, models, nn, testing, train
for module in (datasets, geometry, io, models, nn, testing, train):
    for name in module.__all__:
        try:
            getattr(module, name)
        except ImportError as error:
            assert module in (datasets, io, train) and "pip install 'meshconv[" in str(error), error
sphere = meshconv.HealpixSphere(2).hierarchy(2).to(torch.float32)
network = models.SphereUNet("1x0", 2, channels=(2, 2), width=4)
assert network(torch.randn(48, 1), sphere).shape == (48, 2)
box = io.from_trimesh(trimesh.creation.box())
io.save_mesh(box, "{tmp_path}/box.ply")
geometry.surface_features(box, box.gauge_graph(), ["default", "hks"])
assert cli.main(["check", "{tmp_path}/box.ply"]) == cli.main(["cache"]) == cli.main(["info"]) == 0
for command, extra in {COMMANDS}.items():
    with contextlib.redirect_stderr(text.StringIO()) as said:
        assert cli.main(command.split()) == 2
    line = said.getvalue()
    assert line.startswith(f"meshconv: error: meshconv {{command.split()[0]}} ") and " needs " in line, line
    assert line.endswith(f"pip install 'meshconv[{{extra}}]'\\n") and line.count("\\n") == 1, line
"""
    done = alone(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_data_of_meshes_need_no_climate() -> None:
    code = """
from meshconv import datasets
assert datasets.MeshFolder and datasets.MeshFields and datasets.MeshCorrespondence
try:
    datasets.SphereMaps
except ImportError as error:
    print(error)
"""
    done = alone(code, "train")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("pip install 'meshconv[climate]'")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classes.ckpt", "faces.ckpt", "fields.ckpt"])
def test_predictions_of_meshes_and_export_need_no_extra(tmp_path: Path, name: str) -> None:
    mesh, trained = write_shapes(tmp_path / "shapes", train=1, test=1, seed=1)[0], RELEASE / name
    code = f"""
from meshconv import Predictor, cli
words = [{str(mesh)!r}, "--output", {str(tmp_path / "out")!r}, "--cache", "false", "--workers", "0"]
assert cli.main(["predict", {str(trained)!r}, *words]) == 0
assert Predictor({str(trained)!r}, cache=False, workers=0)({str(mesh)!r})
if {name!r} == "classes.ckpt":
    assert cli.main(["export", {str(trained)!r}, "--to", "torch", "--output", {str(tmp_path / "made")!r}]) == 0
    assert cli.main(["predict", {str(tmp_path / "made/model.pt2")!r}, *words]) == 0
"""
    done = alone(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_prediction_of_maps_needs_climate_alone_and_pictures_viz(tmp_path: Path) -> None:
    file = save(weather(), tmp_path / "a.nc")
    code = f"""
import contextlib, io as text
from meshconv import cli
trained, output = {str(RELEASE / "maps.ckpt")!r}, {str(tmp_path / "out")!r}
words = ["predict", trained, {str(file)!r}, "--output", output, "--cache", "false"]
assert cli.main([*words, "--maps", "false"]) == 0
with contextlib.redirect_stderr(text.StringIO()) as said:
    assert cli.main(words) == 2
print(said.getvalue(), end="")
"""
    done = alone(code, "climate")
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith("meshconv: error: ") and line.endswith("pip install 'meshconv[viz]'") and "--maps" in line


@pytest.mark.slow
def test_a_task_of_ones_own_needs_lightning(tmp_path: Path) -> None:
    content = torch.load(RELEASE / "classes.ckpt", weights_only=True)
    content["meshconv"]["task"] = "my_package.Task"
    torch.save(content, tmp_path / "own.ckpt")
    code = f"""
from meshconv import cli
assert cli.main(["predict", {str(tmp_path / "own.ckpt")!r}, "x.ply", "--trust", "my_package"]) == 2
"""
    done = alone(code)
    assert done.returncode == 0 and done.stderr.strip().endswith("pip install 'meshconv[train]'"), done.stderr


def test_the_error_is_an_import_error_and_names_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lightning", "xarray", "dask"):
        monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=r"^maps needs dask, lightning, xarray, which are not installed") as error:
        require("maps", "train", "climate", "viz")
    assert isinstance(error.value, MissingExtraError)
    assert str(error.value).endswith("pip install 'meshconv[train,climate]'")
