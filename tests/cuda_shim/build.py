"""Compiles csrc/cuda for the host, with the shim in this folder and with sanitizers.

    python tests/cuda_shim/build.py FOLDER     # writes FOLDER/kernels_on_fibers.so and what to preload beside it

Needs g++ on x86-64 Linux. Two thirds of a minute on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
CUDA = HERE.parents[1] / "csrc" / "cuda"
SOURCES = [*sorted(CUDA.glob("*.cu")), *(HERE / name for name in ("faults.cu", "fibers.cpp", "library.cpp"))]
# Variables start as garbage. Grids and chunks are small, so that small graphs take many turns and many chunks.
FLAGS = [
    "-std=c++17", "-O1", "-g1", "-fPIC", "-fno-omit-frame-pointer", "-ftrivial-auto-var-init=pattern",
    "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-attributes",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-sanitize=vptr",
    "-DMESHCONV_MAX_BLOCKS=2", "-DMESHCONV_CHUNK_BYTES=4096", "-DTORCH_TARGET_VERSION=0x020a000000000000",
]  # fmt: skip


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    sys.stderr.write(done.stdout + done.stderr)
    if done.returncode:
        raise SystemExit(f"{Path(command[-1]).name} does not compile")


def build(folder: Path) -> Path:
    """The library; objects that are newer than all sources are kept."""
    compiler = os.environ.get("CXX", "g++")
    torch_home = Path(torch.__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    headers = [p for where in (HERE, CUDA.parent) for p in where.rglob("*") if p.suffix in (".h", ".cuh", ".py")]
    newest = max(p.stat().st_mtime for p in headers)

    def compile_one(source: Path) -> str:
        made = folder / f"{source.name}.o"
        if not made.exists() or made.stat().st_mtime < max(newest, source.stat().st_mtime):
            includes = [f"-I{HERE}", f"-isystem{torch_home / 'include'}", "-include", "cuda_runtime.h"]
            run([compiler, *FLAGS, *includes, "-o", str(made), "-c", "-x", "c++", str(source)])
        return str(made)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, SOURCES))
    library = folder / "kernels_on_fibers.so"
    where = torch_home / "lib"
    run([compiler, *FLAGS, "-shared", *objects, f"-L{where}", "-ltorch", "-ltorch_cpu", "-ldl", "-o", str(library)])
    return library


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
