"""Installations of what ``make wheel`` wrote, in a clean environment and run from an empty folder.

    python tests/clean_environments.py dist --python python3.13 --torch torch==2.14.1

The states come one after the other in one environment: sdist without the extension, sdist without a compiler, wheel,
wheel with extras. A command whose extra is not there has to name it. A row is printed for each, of the table in
``docs/compatibility.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CORE = """
import warnings; warnings.filterwarnings("ignore", message="meshconv runs on plain-torch")
import torch, trimesh, meshconv
ball = trimesh.creation.icosphere(subdivisions=2)
mesh = meshconv.TriangleMesh(ball.vertices * [1, 1.2, 0.8], ball.faces)
graph = mesh.gauge_graph().to(torch.float32)
conv = meshconv.nn.GaugeConv("1x0", "2x0 + 2x1")
conv(torch.ones(graph.num_vertices, 1), graph).square().sum().backward()
assert all(p.grad.isfinite().all() for p in conv.parameters())
meshconv.io.save_mesh(mesh, "ball.ply")
"""


# A segmentation of faces on two levels.
SEGMENTS = Path(__file__).parent / "data/releases/0.2.0/faces.ckpt"


class Environment:
    """A new virtual environment; what it runs stands in an empty folder and sees no other package."""

    def __init__(self, python: str, folder: Path, constraints: Path | None):
        self.folder, self.bin = folder / "empty", folder / "venv" / "bin"
        self.folder.mkdir()
        self.constraints = [] if constraints is None else ["-c", str(constraints)]
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)

    def install(self, *words: str, **environment: str) -> None:
        self.run("python", "-m", "pip", "install", "-q", "--no-compile", *self.constraints, *words, **environment)

    def run(self, program: str, *words: str, fails: str = "", **environment: str) -> str:
        """What a program prints; ``fails`` is what it has to say where it cannot work."""
        hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "MESHCONV_EXTENSION")
        here = {k: v for k, v in os.environ.items() if k not in hidden} | environment
        here |= {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "MESHCONV_CACHE": str(self.folder / "cache")}
        done = subprocess.run([self.bin / program, *words], cwd=self.folder, env=here, text=True,
                              capture_output=True, check=False)  # fmt: skip
        said = done.stdout + done.stderr
        expected = done.returncode == 2 and fails in said if fails else done.returncode == 0
        if not expected:
            raise SystemExit(f"{program} {' '.join(words)}: ended with {done.returncode}\n{said}")
        return said


def check(env: Environment, compiled: bool, extras: bool) -> None:
    """Run commands that need no data of one's own."""
    env.run("meshconv", "--help")
    info = env.run("meshconv", "info")
    assert ("compiled extension" in info) == compiled, info
    env.run("python", "-c", CORE)
    assert "koeppen" in env.run("meshconv", "models")
    assert "vertices" in env.run("meshconv", "check", "ball.ply")
    lacks = "" if extras else "pip install 'meshconv["
    env.run("meshconv", "view", "ball.ply", fails=lacks)
    short = ("--data.init_args.nside", "8", "--trainer.max_epochs", "1")
    env.run("meshconv", "fit", "--config", "climate_koeppen", *short, fails=lacks)
    env.run("meshconv", "export", "shapes", "--to", "onnx", fails=lacks)
    env.run("meshconv", "predict", "shapes", "ball.ply", "--workers", "0")
    env.run("meshconv", "export", "shapes", "--to", "torch")
    env.run("meshconv", "predict", "exported/plain.pt2", "ball.ply", "--workers", "0")
    env.run("meshconv", "demo", "--help")
    if extras:
        env.run("meshconv", "predict", "koeppen", "koeppen_hp64.nc")
        env.run("meshconv", "predict", "exported/model.onnx", "ball.ply", "--workers", "0")
        env.run("meshconv", "export", str(SEGMENTS), "--to", "onnx", "--output", "segments")
        env.run("meshconv", "predict", "segments/model.onnx", "ball.ply", "--workers", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dist", type=Path, help="folder with the compiled wheel and the sdist")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--torch", default="torch", help="requirement, or a folder that pip install --target filled")
    parser.add_argument("--constraints", type=Path, help="of pip")
    parser.add_argument("--extras", default="train,climate,formats,planet,export,serve,viz")
    given = parser.parse_args()
    (wheel,), (sdist,) = (list(given.dist.resolve().glob(p)) for p in ("*-abi3-*.whl", "*.tar.gz"))
    constraints = given.constraints and given.constraints.resolve()
    with tempfile.TemporaryDirectory() as place:
        env = Environment(given.python, Path(place), constraints)
        if Path(given.torch).is_dir():
            (site,) = env.bin.parent.glob("lib/python*/site-packages")
            (site / "torch_folder.pth").write_text(f"{Path(given.torch).resolve()}\n")
        else:
            env.install(given.torch)
        env.install("setuptools>=77", "wheel")  # of the builds below, which use the torch that is here
        version = env.run("python", "-c", "import sys, torch; print(*sys.version_info[:2], torch.__version__)").split()
        row = f"Python {version[0]}.{version[1]}, torch {version[2]}"

        def state(name: str, compiled: bool, extras: bool = False) -> None:
            check(env, compiled, extras)
            print(f"| {row} | {name} | works |", flush=True)

        build = ("--no-build-isolation", "--no-deps", "--force-reinstall")
        env.install("--no-build-isolation", str(sdist), MESHCONV_EXTENSION="0")
        state("sdist, `MESHCONV_EXTENSION=0`", compiled=False)
        env.install(*build, str(sdist), MESHCONV_CUDA="0", CC="false", CXX="false")
        state("sdist, no compiler", compiled=False)
        env.install("--no-deps", "--force-reinstall", str(wheel))
        state("wheel", compiled=True)
        env.install(f"{wheel}[{given.extras}]")
        state(f"wheel with `[{given.extras}]`", compiled=True, extras=True)


if __name__ == "__main__":
    main()
