"""Build of the compiled operators, meshconv._C; everything else about the package stands in setup.cfg.

The library uses the LibTorch stable ABI and Python's limited API: one binary serves every Python >= 3.10 and
torch >= 2.10. CUDA kernels go in where nvcc is found, whatever the installed torch was built for. Environment:

MESHCONV_EXTENSION=0            compile nothing; the references in plain torch run
MESHCONV_CUDA=0|1               leave the CUDA kernels out | fail if they cannot be built
MESHCONV_REQUIRE_EXTENSION=1    fail, instead of warning, if there is no working C++ compiler
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CSRC = Path("csrc")
TORCH_TARGET = "0x020a000000000000"
PYTHON_TARGET = "0x030a0000"
NVCC_ARCHITECTURES = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=[sm_90,compute_90]",
]
NOTE = "_build_note.txt"  # what could not be built, and why: pip hides what a build prints


def find_nvcc():
    """Path of nvcc, or None; only Linux has a recipe."""
    wanted = os.environ.get("MESHCONV_CUDA", "")
    if wanted not in ("", "0", "1"):
        raise SystemExit(f"MESHCONV_CUDA={wanted!r}: expected 0, 1 or nothing")
    if wanted == "0" or not sys.platform.startswith("linux"):
        return None
    home = os.environ.get("CUDA_HOME")
    nvcc = shutil.which("nvcc", path=f"{home}/bin") if home else shutil.which("nvcc")
    if nvcc is None and wanted == "1":
        raise SystemExit("MESHCONV_CUDA=1, but nvcc is not in PATH; set CUDA_HOME, or MESHCONV_CUDA=0")
    return nvcc


class PackageWithData(build_py):
    """``data/`` goes into the package as ``meshconv/data``; an editable installation finds it where it is."""

    def run(self):
        super().run()
        if not self.editable_mode:
            to = Path(self.build_lib, "meshconv/data")
            shutil.copytree(ROOT / "data", to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py"))


class WheelOfWhatWasBuilt(bdist_wheel):
    """A wheel without the compiled library serves every machine and says so in its tag: ``py3-none-any``."""

    def get_tag(self):
        compiled = any(Path(self.bdist_dir, "meshconv").glob("_C*"))
        return super().get_tag() if compiled else ("py3", "none", "any")


def required(cuda):
    names = ["MESHCONV_REQUIRE_EXTENSION"] + (["MESHCONV_CUDA"] if cuda else [])
    return any(os.environ.get(name) == "1" for name in names)


class BuildOperators(build_ext):
    """Compiles sources in parallel, keeps objects that are newer than their sources, survives a failure."""

    def build_extension(self, ext):
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A library of an older state of the sources must not be found in place of this one.
        folders = {target.parent, ROOT / "meshconv"} if self.editable_mode else {target.parent}
        for folder in folders:
            (folder / target.name).unlink(missing_ok=True)
            (folder / NOTE).unlink(missing_ok=True)

        def note(text):
            for folder in folders:
                (folder / NOTE).write_text(f"meshconv is installed without {text}\n", encoding="utf-8")

        if os.environ.get("MESHCONV_EXTENSION") == "0":
            note("compiled operators, as MESHCONV_EXTENSION=0 asks")
            return
        nvcc = find_nvcc()
        for compiler in [nvcc, None] if nvcc else [None]:
            try:
                self.build_with(ext, target, compiler)
                return
            except Exception as error:  # distutils, subprocess and an absent torch fail in ways of their own
                if required(cuda=compiler is not None):
                    raise
                lost = "CUDA kernels" if compiler else "compiled operators"
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                print(f"warning: meshconv is installed without {lost}: {reason}", file=sys.stderr)
                note(f"{lost}, which could not be built ({reason})")

    def build_with(self, ext, target, nvcc):
        import torch

        torch_home = Path(torch.__file__).parent
        includes = [str(torch_home / "include")]
        macros = [("TORCH_TARGET_VERSION", TORCH_TARGET), ("Py_LIMITED_API", PYTHON_TARGET)]
        if nvcc:
            macros.append(("MESHCONV_WITH_CUDA", "1"))
        flags = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden"]
        asked = [os.environ.get(name) for name in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")]
        fingerprint = repr((macros, flags, asked, NVCC_ARCHITECTURES, torch.__version__, platform.machine()))
        objects = ROOT / "build" / "objects" / hashlib.sha256(fingerprint.encode()).hexdigest()[:12]
        objects.mkdir(parents=True, exist_ok=True)
        headers = [p for p in CSRC.rglob("*") if p.suffix in (".h", ".cuh")]
        newest_header = max(p.stat().st_mtime for p in [*headers, Path(__file__)])

        def compile_one(source):
            made = objects / source.with_suffix(".o" if source.suffix == ".cpp" else ".cu.o")
            if made.exists() and made.stat().st_mtime > max(newest_header, source.stat().st_mtime):
                return str(made)
            if source.suffix == ".cu":
                made.parent.mkdir(parents=True, exist_ok=True)
                system = [f"-isystem={path}" for path in includes]
                defines = [f"-D{name}={value}" for name, value in macros]
                host = ["-Xcompiler=-fPIC,-fvisibility=hidden,-Wall", "-std=c++17", "-O3"]
                command = [nvcc, "-c", str(source), "-o", str(made), *host, *NVCC_ARCHITECTURES]
                run([*command, "--threads=2", *defines, *system])
                return str(made)
            (built,) = self.compiler.compile(
                [str(source)],
                output_dir=str(objects),
                macros=macros,
                extra_postargs=[*flags, *(f"-isystem{path}" for path in includes)],
            )
            return built

        sources = [CSRC / "library.cpp", *sorted((CSRC / "cpu").glob("*.cpp"))]
        if nvcc:
            sources = sorted((CSRC / "cuda").glob("*.cu")) + sources  # the slowest first
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            made = list(pool.map(compile_one, sources))

        libraries, folder = ["torch", "torch_cpu"], str(torch_home / "lib")
        if nvcc:
            # nvcc knows where its static runtime lies; its symbols stay inside, or torch's own runtime would
            # be bound in their place.
            hide = ["-Xlinker=--exclude-libs,ALL"]
            run([nvcc, "-shared", "-cudart=static", *NVCC_ARCHITECTURES, *made, "-o", str(target), f"-L{folder}"]
                + [f"-l{name}" for name in libraries] + hide)
        else:
            self.compiler.link_shared_object(
                made, str(target), libraries=libraries, library_dirs=[folder], target_lang="c++",
                export_symbols=self.get_export_symbols(ext),
            )


def run(command):
    print(" ".join(command), flush=True)
    done = subprocess.run(command, capture_output=True, text=True)
    sys.stderr.write(done.stdout + done.stderr)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()}")


setup(
    ext_modules=[Extension("meshconv._C", sources=[], py_limited_api=True, optional=not required(cuda=True))],
    cmdclass={"build_ext": BuildOperators, "build_py": PackageWithData, "bdist_wheel": WheelOfWhatWasBuilt},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
