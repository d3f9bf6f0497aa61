"""Every example runs as a script, says what it does, and does it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


def custom_surface(said: str) -> None:
    assert said.count("equivariance_error") == 2
    assert all(float(e) < 1e-5 for e in re.findall(r"_error[^:\n]*: (\S+)", said))
    assert number(r"(\d+) edges reflect", said) > 0


def lightning_model(said: str) -> None:
    assert number(r"relative error (\S+)", said) < 0.9


def pyg_model(said: str) -> None:
    assert number(r"accuracy on 32 new spheres: (\S+)", said) > 0.9


def pytorch3d_autoencoder(said: str) -> None:
    assert number(r"through the features: norm (\S+)", said) > 0
    begin, end = map(float, re.findall(r"reconstruction loss (\S+?),.* (\S+)$", said, re.MULTILINE)[0])
    assert end < 0.5 * begin


CASES: dict[str, tuple[Callable[[str], None], list[str], str]] = {
    "custom_surface": (custom_surface, ["--rows", "12"], "meshconv"),
    "lightning_model": (lightning_model, ["--epochs", "2", "--nside", "4"], "lightning"),
    "pyg_model": (pyg_model, ["--epochs", "8"], "torch_geometric"),
    "pytorch3d_autoencoder": (pytorch3d_autoencoder, ["--steps", "40"], "pytorch3d"),
}


def test_every_example_is_run_and_named_in_the_readme():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == set(CASES)
    assert all(f"examples/{name}.py" in readme for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_example(name):
    check, settings, needs = CASES[name]
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    path = os.pathsep.join([str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *settings]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=600)
    assert done.returncode == 0, done.stderr
    check(done.stdout)
