"""The direction of dependency, without circles; what is private, and what packages export."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "meshconv"
FILES = sorted(PACKAGE.rglob("*.py"))
USERS = [p for name in ("tests", "benchmarks", "examples", "docs") for p in sorted((ROOT / name).rglob("*.py"))]
PARTS = [p for p in FILES if p != PACKAGE / "__init__.py"]  # the root re-exports from everywhere
OUTSIDE_OPS = [p for p in FILES if PACKAGE / "ops" not in p.parents]
PACKAGES = ["meshconv", *(f"meshconv.{p.parent.name}" for p in sorted(PACKAGE.glob("*/__init__.py")))]

EVERYWHERE = {"errors", "progress", "extras", "fields", "inference_mode", "blas", "ranks", "shipped", "palettes"}
# What each part may import besides itself and EVERYWHERE.
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "extras": set(),
    "inference_mode": set(),
    "blas": set(),
    "ranks": set(),
    "shipped": set(),
    "palettes": set(),
    "fields": set(),
    "ops": set(),
    "geometry": {"ops"},
}
BELOW["io"] = {"geometry", "ops"}
BELOW["nn"] = {"geometry", "ops"}
BELOW["distributed"] = {"geometry", "ops"}
BELOW["testing"] = {"geometry", "ops"}
BELOW["lie"] = BELOW["nn"]
BELOW["models"] = {"nn", *BELOW["nn"]}
BELOW["datasets"] = {"nn", "io", *BELOW["nn"]}
BELOW["viz"] = {"nn", "io", *BELOW["nn"]}
BELOW["homogeneous"] = {"models", *BELOW["models"]}
# Nothing of the core imports hybrid, but its task.
BELOW["hybrid"] = {"models", "nn", "geometry", "ops"}
# Programs of networks, and their inputs: a task is handed over, nothing here imports one.
BELOW["export"] = {"datasets", *BELOW["datasets"]}
BELOW["train"] = {"models", "distributed", "hybrid", "datasets", "viz", "testing", "export", *BELOW["datasets"]}
BELOW["serve"] = {"train", *BELOW["train"]}
BELOW["demo"] = {"train", *BELOW["train"]}
BELOW["uncertainty"] = {"train", *BELOW["train"]} - {"hybrid"}
BELOW["generative"] = BELOW["uncertainty"]
BELOW["compress"] = {"uncertainty", "train", *BELOW["train"]}
BELOW["commands"] = {"demo", "serve", "compress", "uncertainty", *BELOW["demo"]}
BELOW["cli"] = {"commands", *BELOW["commands"]}
BELOW["__main__"] = {"cli"}
# Layers see the gauge graph, never the kind of surface it came from.
GRAPH_TYPES = {f"meshconv.geometry.graph.{name}" for name in ("gauge_graph", "hierarchy", "complex")}


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Full names of what a module imports from this package, ``from`` imports with the name appended."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "meshconv")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, *([base] if base else [])])
            if base.split(".")[0] == "meshconv":
                yield from (f"{base}.{a.name}" for a in node.names)


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Imports of ``module`` that point upwards or past what it may see."""
    part = module.split(".")[1]
    found = []
    for name in imported(ast.parse(source), module, is_package):
        target = name.split(".")[1] if "." in name else ""
        allowed = target in BELOW[part] | EVERYWHERE | {part}
        if part in {"train", "demo", "commands"} and target in {"", "__version__"}:
            allowed = True  # programs write down the version they are
        if part in {"nn", "models"} and target == "geometry":
            allowed = any(name == t or name.startswith(f"{t}.") for t in GRAPH_TYPES)
        if part == "fields" and target != "errors":
            allowed = target == part
        if not allowed:
            found.append(f"{module} imports {name}")
    return found


def name_of(path: Path) -> tuple[str, bool]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


@pytest.mark.parametrize("path", PARTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    module, is_package = name_of(path)
    assert module.split(".")[1] in BELOW, f"{module} has no place in the order of parts"
    assert violations(module, path.read_text(encoding="utf-8"), is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("meshconv.nn.convolution.conv", "from meshconv.models import ShapeClassifier"),
        ("meshconv.nn.convolution.conv", "from meshconv.geometry.mesh.triangle_mesh import TriangleMesh"),
        ("meshconv.nn.convolution.conv", "import meshconv.train.tasks.classes"),
        ("meshconv.nn.convolution.conv", "def f():\n    from ...datasets import batch"),
        ("meshconv.models.unet", "from meshconv.geometry.sphere.healpix import HealpixSphere"),
        ("meshconv.geometry.mesh.triangle_mesh", "from meshconv import nn"),
        ("meshconv.ops.gauge_conv", "from meshconv.geometry.graph.gauge_graph import GaugeGraph"),
        ("meshconv.fields", "from meshconv.ops import gauge_conv"),
        ("meshconv.io.meshes.load", "from meshconv import TriangleMesh"),
        ("meshconv.io.meshes.load", "import meshconv"),
        ("meshconv.viz.mesh", "from meshconv.train.tasks.classes import ClassificationTask"),
        ("meshconv.nn.conv", "from meshconv.homogeneous import kernel_basis"),
        ("meshconv.train.tasks.base", "from meshconv import homogeneous"),
        ("meshconv.train.predict.predictor", "from meshconv.uncertainty import UncertainPredictor"),
        ("meshconv.homogeneous.networks", "from meshconv.train.tasks.base import Task"),
    ],
)
def test_upward_imports_are_found(module, source):
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("meshconv.nn.convolution.conv", "from meshconv.geometry.graph.gauge_graph import GaugeGraph"),
        ("meshconv.nn.calculus.exterior", "from meshconv.geometry.graph.complex import SurfaceComplex"),
        ("meshconv.nn.convolution.conv", "from ..linear import Linear\nfrom ...fields import FieldType\nimport torch"),
        ("meshconv.geometry.mesh.triangle_mesh", "from meshconv.errors import InputError"),
        ("meshconv.train.tasks.classes", "from meshconv.datasets.batch import SurfaceBatch"),
        ("meshconv.commands.info", "from meshconv import __version__\nfrom meshconv.train import load_task"),
    ],
)
def test_downward_imports_pass(module, source):
    assert violations(module, source) == []


def links(sources: Mapping[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """The files that each file imports from, those for types alone and those inside of functions included."""
    graph: dict[str, set[str]] = {}
    for module, (source, is_package) in sources.items():
        graph[module] = set()
        for name in imported(ast.parse(source), module, is_package):
            while name not in sources and "." in name:
                name = name.rpartition(".")[0]
            # What the root is asked for is its version: all else it imports when it is used.
            graph[module] |= {name} & sources.keys() - {module, "meshconv"}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Files that import each other, by whatever way."""
    modules = sorted(graph)
    number = {module: k for k, module in enumerate(modules)}
    pairs = [(number[a], number[b]) for a in modules for b in graph[a]]
    rows, columns = zip(*pairs, strict=True)
    matrix = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(modules),) * 2)
    part = connected_components(matrix, directed=True, connection="strong")[1]
    return [[m for m in modules if part[number[m]] == k] for k in np.flatnonzero(np.bincount(part) > 1)]


def test_no_files_import_each_other():
    sources = {}
    for path in FILES:
        stub = path.with_suffix(".pyi")  # what a package exports, imported when it is first used
        module, is_package = name_of(path)
        sources[module] = (stub if stub.exists() else path).read_text(encoding="utf-8"), is_package
    assert circles(links(sources)) == []


def test_circles_of_types_and_functions_are_found():
    sources = {
        "meshconv.nn.one": ("def f():\n    from meshconv.nn.two import g", False),
        "meshconv.nn.two": ("from . import three", False),
        "meshconv.nn.three": ("if TYPE_CHECKING:\n    from meshconv.nn.one import f\nimport meshconv.fields", False),
        "meshconv.nn.four": ("from meshconv.nn.one import f", False),
        "meshconv.fields": ("", False),
    }
    assert circles(links(sources)) == [["meshconv.nn.one", "meshconv.nn.three", "meshconv.nn.two"]]


# Of named tuples, and what notebooks ask for.
PUBLIC_IN_SPITE = {"_replace", "_asdict", "_fields", "_repr_html_"}


def private_names(source: str) -> list[str]:
    """Names of other files that begin with an underscore: imported, or attributes that this file gives to nothing.

    Other packages answer for theirs, and a class may have inherited what it asks itself for.
    """
    nodes = list(ast.walk(ast.parse(source)))
    own = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    inherits = any(isinstance(n, ast.ClassDef) and n.bases for n in nodes)
    found, others = [], {"self", "cls"} if inherits else set()
    for node in nodes:
        if isinstance(node, ast.Import):
            others |= {(a.asname or a.name).split(".")[0] for a in node.names if a.name.split(".")[0] != "meshconv"}
        elif isinstance(node, ast.ImportFrom):
            if node.level or (node.module or "").split(".")[0] == "meshconv":
                found += [a.name for a in node.names if is_private(a.name)]
            else:
                others |= {a.asname or a.name for a in node.names}
    for node in nodes:
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own | PUBLIC_IN_SPITE:
            root = node.value
            while isinstance(root, ast.Attribute) and ast.unparse(root.value) != "self":
                root = root.value
            if not (isinstance(root, ast.Name) and root.id in others):
                found.append(ast.unparse(node))
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize("path", FILES + USERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_private_names_stay_in_their_file(path):
    assert private_names(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from meshconv.ops.gauge_conv import _setup, setup", ["_setup"]),
        ("from .gauge_conv import _setup", ["_setup"]),
        ("def f(mesh):\n    return mesh._points, mesh.__dict__", ["mesh._points"]),
        ("class A:\n    def f(self, other):\n        self._x = other._x\n        return self._g", ["self._g"]),
        ("class A(B):\n    def f(self):\n        return self._x, point._replace(x=1), self.a._y", ["self.a._y"]),
        ("import torch\nfrom lxml import etree\ndef f(x: etree._Element):\n    torch._C.f(x)", []),
    ],
)
def test_private_names_of_others_are_found(source, found):
    assert private_names(source) == found


@pytest.mark.parametrize("path", OUTSIDE_OPS, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_extension_is_seen_by_ops_alone(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Constant) and node.value == "meshconv._C")
        assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.ops.meshconv")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_export_is_there(name):
    package = importlib.import_module(name)
    assert package.__doc__
    for export in package.__all__:
        assert getattr(package, export) is not None


def test_the_root_imports_no_program_s_libraries():
    """Nor does the list of commands; not even torch."""
    heavy = {"torch", "numpy", "scipy", "lightning", "matplotlib", "trimesh", "xarray", "healpy", "torchmetrics"}
    heavy |= {"jsonargparse", "pandas", "dask", "netCDF4", "robust_laplacian", "fast_simplification"}
    code = f"import sys, meshconv.cli as c; c.main(['--help']); sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
