"""Every tutorial runs from top to bottom in an empty folder, and what it prints is what it says.

The eight of them take about four minutes of one core. Each is a script in the percent format of notebooks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"


def number(pattern: str, said: str) -> float:
    found = re.search(pattern, said)
    assert found, said
    return float(found[1])


def classify(said: str) -> None:
    assert number(r"largest change of a probability: (\S+)", said) < 1e-3
    assert number(r"accuracy on 15 new meshes: (\S+)", said) >= 0.8


def segment(said: str) -> None:
    assert number(r"accuracy on a new body: (\S+)", said) > number(r"everything called body: (\S+)", said) + 0.05


def match(said: str) -> None:
    assert number(r"vertices within a tenth of it: (\S+)", said) > 0.8


def climate(said: str) -> None:
    assert number(r"accuracy on fold 3: (\S+)", said) == pytest.approx(0.726, abs=2e-3)
    assert number(r"from the coarse grid: (\S+)", said) > 0.4


def forecast(said: str) -> None:
    errors = re.findall(r"error of the height (\S+) m, of persistence (\S+) m", said)
    assert len(errors) == 4 and all(float(ours) < float(persistence) for ours, persistence in errors)


def gauge(said: str) -> None:
    assert number(r"of the arrows in space: (\S+)", said) < 1e-12
    assert number(r"dense layer on the components: (\S+)", said) > 0.3
    assert number(r"error of the convolution: (\S+)", said) < 1e-12


def own_convolution(said: str) -> None:
    assert number(r"gauge error of the convolution: (\S+)", said) < 1e-12
    assert number(r"without transport: (\S+)", said) > 0.1
    assert number(r"relative error on four new fields: (\S+)", said) < 0.5


def elsewhere(said: str) -> None:
    assert [line.split(":")[0] for line in said.splitlines() if ":" in line] == [
        "torch", "two surfaces", "five features on one", "Lightning", "PyTorch Geometric", "PyTorch3D", "trained"
    ]  # fmt: skip
    assert "Lightning: 4 steps" in said


CHECKS: dict[str, Callable[[str], None]] = {
    "classify": classify, "segment": segment, "match": match, "climate": climate, "forecast": forecast, "gauge": gauge,
    "own_convolution": own_convolution, "elsewhere": elsewhere,
}  # fmt: skip


def test_every_tutorial_is_checked_and_listed():
    names = {path.stem for path in TUTORIALS.glob("*.py")}
    index = (TUTORIALS / "index.md").read_text(encoding="utf-8")
    assert names == set(CHECKS) and all(re.search(rf"^{name}$", index, re.M) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_tutorial(name, tmp_path):
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    here = {"PYTHONPATH": search, "MESHCONV_CACHE": str(tmp_path / "cache"), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(TUTORIALS / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | here, timeout=600)
    assert done.returncode == 0, done.stderr
    CHECKS[name](done.stdout)
