"""The compiled library, and what an installation puts where."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def library() -> Path:
    spec = importlib.util.find_spec("meshconv._C")
    if spec is None or spec.origin is None:
        pytest.skip("the compiled extension is absent")
    return Path(spec.origin)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads an ELF symbol table")
def test_only_stable_symbols_are_imported(library):
    """Of torch only its C shim, of Python only the limited API: so one binary serves all versions."""
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    listing = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
    names = [line.split()[-1] for line in listing.stdout.splitlines()]
    assert any(name.startswith("aoti_torch_") for name in names)
    mangled = [n for n in names if re.match(r"_ZN?K?\w*(2at|3c10|5torch)\d", n)]
    assert mangled == []
    # Nor data of Python, which a program in C++ lacks; its functions are looked up when they are called.
    assert [n for n in names if n.startswith("_Py") and n.endswith("Struct")] == []
    # The runtime of CUDA is inside, hidden, so that the library loads on a machine without it.
    assert [n for n in names if n.startswith(("cuda", "cu", "__cuda"))] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads an ELF symbol table")
def test_only_the_module_entry_is_exported(library):
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    functions = [line.split()[-1] for line in listing.stdout.splitlines() if line.split()[-2] == "T"]
    assert functions == ["PyInit__C"]


def test_the_library_is_abi3(library):
    if os.name == "nt":
        assert library.name == "_C.pyd"
    else:
        assert library.name == "_C.abi3.so"


def test_the_library_says_how_it_was_built(library):
    found = run("import torch; from meshconv import _C; build = _C.build(); print(*sorted(build), build['cuda'])")
    assert re.fullmatch(r"cuda instruction_set (True|False)", found)


def test_healpy_is_not_imported_before_it_is_used():
    """It is GPL-2: nothing that does without it may pull it in."""
    modules = run("import sys, meshconv; print(' '.join(m for m in sys.modules if m.startswith('healpy')))")
    assert modules == ""


def test_the_package_version_is_the_modules():
    from importlib.metadata import version

    import meshconv

    assert version("meshconv") == meshconv.__version__


def build(kind: str, to: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    tree = to / "tree"
    skip = shutil.ignore_patterns(".*", "*.so", "build", "dist", "runs", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, tree, ignore=skip, symlinks=True)
    command = [sys.executable, "-c", f"from setuptools import build_meta as b; print(b.build_{kind}({str(to)!r}))"]
    return subprocess.run(command, cwd=tree, env=os.environ | environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_sdist_has_the_sources(tmp_path):
    import tarfile

    done = build("sdist", tmp_path)
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = [name.split("/", 1)[-1] for name in file.getnames()]
    tree = tmp_path / "tree"
    files = {p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file() and ".egg-info" not in str(p)}
    assert {"csrc/library.cpp", "data/koeppen_hp64.nc", "tests/data/geodesics.npz", "docs/shapes.md"} <= files
    assert files - set(names) == set()


@pytest.mark.slow
def test_without_a_compiler_the_wheel_is_built_with_one_warning(tmp_path):
    # A compiler that fails is what a missing one looks like to the build.
    broken = {"CC": "false", "CXX": "false", "MESHCONV_CUDA": "0"}
    done = build("wheel", tmp_path, **broken)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: meshconv is installed without compiled operators") == 1
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "meshconv/_build_note.txt" in names
    assert "meshconv/py.typed" in names
    assert not [n for n in names if n.endswith(".so") or n.startswith(("csrc", "tests", "data", "docs"))]
    folders = (ROOT / "meshconv/configs", ROOT / "data")
    paths = [p.relative_to(f.parent) for f in folders for p in f.rglob("*") if p.is_file() and p.suffix != ".py"]
    shipped = {f"meshconv/{path.as_posix()}" for path in paths}
    assert len(shipped) > 10 and shipped <= set(names)

    required = build("wheel", tmp_path / "required", MESHCONV_REQUIRE_EXTENSION="1", **broken)
    assert required.returncode != 0


@pytest.mark.slow
def test_without_the_extension_nothing_is_compiled(tmp_path):
    done = build("wheel", tmp_path, MESHCONV_EXTENSION="0", CC="false", CXX="false")
    assert done.returncode == 0 and "warning: meshconv" not in done.stderr
    (wheel,) = tmp_path.glob("*-py3-none-any.whl")
    assert "as MESHCONV_EXTENSION=0 asks" in zipfile.ZipFile(wheel).read("meshconv/_build_note.txt").decode()


@pytest.mark.slow
def test_the_wheel_has_the_library_and_no_sources(tmp_path, library):
    done = build("wheel", tmp_path, MESHCONV_CUDA="0", MESHCONV_REQUIRE_EXTENSION="1")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert re.search(r"-cp310-abi3-\w+\.whl$", wheel.name)
    names = zipfile.ZipFile(wheel).namelist()
    assert f"meshconv/{library.name}" in names
    assert not [n for n in names if n.endswith((".cpp", ".h", ".cu", ".cuh"))]


def test_the_conda_recipe_follows_the_package():
    import configparser

    import yaml

    import meshconv

    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text())
    assert recipe["context"]["version"] == meshconv.__version__
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = {re.split(r"[<>=; ]", line)[0] for line in setup["options"]["install_requires"].split("\n") if line}
    run = {line.split()[0].replace("lazy-loader", "lazy_loader") for line in recipe["requirements"]["run"]}
    assert (wanted - {"torch"}) | {"python", "pytorch"} == run


def test_the_release_builds_what_is_built_here():
    """The job of GitHub repairs wheels as `make wheel` does: with all of torch's libraries left out."""
    import yaml

    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert set(jobs["publish"]["needs"]) == {"wheels", "sdist"}
    (build,) = [step for step in jobs["wheels"]["steps"] if "env" in step]
    repair = build["env"]["CIBW_REPAIR_WHEEL_COMMAND"]
    excluded = re.findall(r"--exclude '([^']+)'", repair)
    assert excluded and excluded == re.findall(r"--exclude '([^']+)'", (ROOT / "Makefile").read_text())
