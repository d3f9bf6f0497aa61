"""The kernels for older processors, which this one would not choose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHOW = "import torch; from meshconv import _C; print(_C.build()['instruction_set'])"


def run(instructions: str, *command: str) -> str:
    environment = {**os.environ, "MESHCONV_INSTRUCTIONS": instructions}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("instructions", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_agrees_with_the_references(instructions):
    if run(instructions, "-c", SHOW).strip() != instructions:
        pytest.skip(f"this processor has no {instructions} or is another kind")
    tests = [str(HERE / f"test_{name}.py") for name in ("gauge_conv", "fourier_op", "segment", "bad_input")]
    wanted = "equals_reference or equal_the_reference or any_valence or any_size or whole_range or belong"
    out = run(instructions, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", wanted, *tests)
    assert " passed" in out and "failed" not in out


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
def test_a_word_that_names_no_instruction_set_limits_nothing():
    assert run("abacus", "-c", SHOW) == run("", "-c", SHOW)
